//! Messages in numbers, for whoever watches many nodes: states and precedences, no ids and no members.

use std::collections::BTreeMap;

use super::{DeliveredView, Entry, InboxRow, RecipientState, Relay, node_views, recipient_state};
use crate::{
    ids::{MemberCode, MessageId},
    message::{body::Word, header::Precedence},
    time::Timestamp,
};

/// How many messages this node remembers in which state. Statements are none; drills count apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that this node sent, once for each recipient.
    pub sent: BTreeMap<(Precedence, Drill, RecipientState), u64>,
    /// Messages that this node received.
    pub received: BTreeMap<(Precedence, Drill, ReceivedState), u64>,
}

/// Whether a message is a test: a drill never counts as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Drill(pub bool);

/// What became of a message that this node received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReceivedState {
    /// No person here has acknowledged it.
    Unacknowledged,
    /// A person here has.
    Acknowledged,
    /// The sender took it back before that.
    Withdrawn,
}

/// What a figure about a sent message needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentLabel {
    /// When it was made, by this node's clock.
    pub created: Timestamp,
    /// How urgent.
    pub precedence: Precedence,
    /// Whether it is a test.
    pub drill: Drill,
}

impl Relay {
    /// Counts all messages that this node remembers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let sent = self.machines.outbox.entries().map(|(_, entry)| entry);
        for entry in sent.filter(|entry| entry.row.statement.is_none()) {
            for member in &entry.row.recipients {
                let key = (entry.row.precedence, Drill(entry.row.drill), state_with(entry, member));
                *tally.sent.entry(key).or_default() += 1;
            }
        }
        for (id, row) in self.machines.inbox.rows() {
            let key = (row.precedence, Drill(row.drill), self.received_state(id, row));
            *tally.received.entry(key).or_default() += 1;
        }
        tally
    }

    /// What is known of a message that this node sent; `None` for a statement and for what it does not remember.
    #[must_use]
    pub fn sent_label(&self, id: &MessageId) -> Option<SentLabel> {
        let row = &self.machines.outbox.entry(id)?.row;
        let label = SentLabel { created: row.created, precedence: row.precedence, drill: Drill(row.drill) };
        row.statement.is_none().then_some(label)
    }

    fn received_state(&self, id: &MessageId, row: &InboxRow) -> ReceivedState {
        let said = |word: Word, member: &MemberCode| {
            let mut statements = self.machines.statements.of(id).iter();
            statements.any(|said| said.row.statement.word == word && said.row.member == *member)
        };
        if said(Word::Acknowledged, &self.own.member) {
            ReceivedState::Acknowledged
        } else if said(Word::Withdrawn, &row.sender) {
            ReceivedState::Withdrawn
        } else {
            ReceivedState::Unacknowledged
        }
    }
}

/// As the view of one message says, without putting together what is not counted.
fn state_with(entry: &Entry, member: &MemberCode) -> RecipientState {
    let mut answers = entry.row.answers.iter().filter(|answer| answer.member == *member);
    let delivered = answers.find_map(|answer| Some(DeliveredView { at: answer.at, late: answer.late? }));
    if delivered.is_some() {
        return RecipientState::Delivered;
    }
    recipient_state(entry, member, delivered, &node_views(entry, member))
}
