//! What commands and the API show of messages: states and times, no content.
//!
//! Content is read from storage by the shell ([`super::rows::decode_outbox_content`],
//! [`super::rows::decode_inbox_content`], [`super::rows::decode_row`] of a statement for its text).

mod counts;
mod custody;
mod drills;
mod page;
mod tally;

use serde::Serialize;

pub use self::{
    counts::RelayCounts,
    drills::{DrillRecipient, DrillRun, Heard},
    page::Unseen,
    tally::{Drill, ReceivedState, SentLabel, Tally},
};

use custody::custodians;
pub use custody::{CustodianView, HeldView};

use super::{
    Relay,
    event::{Marks, StatementLabel, StopReason},
    outbox::{Entry, Progress},
    receipt::RefusalReason,
    rows::InboxRow,
    statements::Said,
};
use crate::{
    ids::{MemberCode, MessageId, NodeKey},
    message::{
        body::{Tlp, Word},
        header::Precedence,
    },
    redact::Redacted,
    time::Timestamp,
};

/// A message that this node sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SentView {
    /// The message.
    pub id: MessageId,
    /// How urgent.
    pub precedence: Precedence,
    /// Who may see it further.
    pub tlp: Tlp,
    /// Whether it is a test.
    pub drill: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When the sender stops waiting.
    pub expires: Timestamp,
    /// Bytes of the ciphertext.
    pub size: u64,
    /// Whether its content is still kept.
    pub content: bool,
    /// For a statement: what it says of which message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<StatementLabel>,
    /// Each recipient's state.
    pub recipients: Vec<RecipientView>,
    /// What people said of it, oldest first.
    pub statements: Vec<StatementView>,
}

/// How far a message got with one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecipientView {
    /// The member.
    pub member: MemberCode,
    /// The best of its nodes' states. A machine's word: a person's stands in `acknowledged`.
    pub state: RecipientState,
    /// For `delivered`: when the first node said so, and whether that was late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<DeliveredView>,
    /// For `stopped`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopReason>,
    /// Whether one of its nodes is connected now.
    pub connected: bool,
    /// Each node's state.
    pub nodes: Vec<NodeView>,
    /// The first acknowledgement by a person there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<StatementView>,
}

/// When a member had a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeliveredView {
    /// When, by the recipient node's clock.
    pub at: Timestamp,
    /// Whether the sender had stopped waiting.
    pub late: bool,
}

/// States of a message towards a member or node, the better the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecipientState {
    /// It expired, and no node of the recipient could open it: its key was gone.
    Undeliverable,
    /// The sender stopped waiting, and nobody said that it arrived.
    Expired,
    /// It is not sent on.
    Stopped,
    /// Refused for good.
    Refused,
    /// Durable here, waiting.
    Queued,
    /// Sent, not answered yet.
    Sent,
    /// Kept by other members' nodes for one that is out of reach. This is no delivery.
    Custody,
    /// On its disk.
    Delivered,
}

/// How far a message got with one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeView {
    /// The node.
    pub node: NodeKey,
    /// Its state.
    pub state: RecipientState,
    /// When it answered for good, by its clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The last refusal, passing or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusalReason>,
    /// When it is tried again, if it rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Whether it waits because no sealing key of the node is known.
    pub keyless: bool,
    /// Whether it could not open what was last sealed for it: it waits for the node's new sealing key.
    pub unopened: bool,
    /// The nodes that keep a parcel for it, by the order of their word.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custodians: Vec<CustodianView>,
    /// How many nodes keep a parcel or were asked to.
    pub custodians_asked: usize,
}

/// A message that this node received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReceivedView {
    /// The message.
    pub id: MessageId,
    /// From whom.
    pub sender: MemberCode,
    /// The node key that signed it.
    pub signer: NodeKey,
    /// For whom.
    pub recipients: Vec<MemberCode>,
    /// How urgent.
    pub precedence: Precedence,
    /// Who may see it further.
    pub tlp: Tlp,
    /// Whether it is a test.
    pub drill: bool,
    /// When it was made, by the sender's clock.
    pub created: Timestamp,
    /// When the sender stops waiting.
    pub expires: Timestamp,
    /// When it came.
    pub received: Timestamp,
    /// Bytes of the ciphertext.
    pub size: u64,
    /// What a reader must know of its times and signer.
    #[serde(flatten)]
    pub marks: Marks,
    /// The first acknowledgement by a person of this member, here or at another of its nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<StatementView>,
    /// Whether the sender took it back.
    pub withdrawn: bool,
    /// What people said of it, oldest first.
    pub statements: Vec<StatementView>,
}

/// A person's word about a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatementView {
    /// The statement's own id.
    pub id: MessageId,
    /// Who says it.
    pub member: MemberCode,
    /// The word.
    pub word: Word,
    /// The speaker's duty role.
    pub role: Redacted<String>,
    /// Whether it will be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub will: Option<bool>,
    /// In what form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Redacted<String>>,
    /// By when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Timestamp>,
    /// When it was said, by the speaker's clock.
    pub created: Timestamp,
    /// What a reader must know of its times and signer.
    #[serde(flatten)]
    pub marks: Marks,
}

/// A message, either way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "direction", rename_all = "kebab-case")]
pub enum MessageView {
    /// This node sent it.
    Sent(SentView),
    /// This node received it.
    Received(ReceivedView),
}

/// A lasting answer of a node. The signed receipt lies in [`crate::storage::Table::Receipts`] under
/// [`super::rows::receipt_key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReceiptView {
    /// The member whose node spoke.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
    /// `delivered`, or `refused` with its reason.
    pub refused: Option<RefusalReason>,
    /// When, by its clock.
    pub at: Timestamp,
    /// Whether the sender had stopped waiting.
    pub late: bool,
}

impl Relay {
    /// Messages that this node sent and remembers, newest first; statements carry their label.
    #[must_use]
    pub fn outbox(&self) -> Vec<SentView> {
        let mut views: Vec<_> =
            self.machines.outbox.entries().map(|(id, entry)| self.sent(*id, entry)).collect();
        views.sort_by_key(|view| std::cmp::Reverse((view.created, view.id)));
        views
    }

    /// Messages that this node received and remembers, the most urgent first and of those the newest, drills after
    /// all others: no flood of lesser ones hides what is urgent from whoever reads the beginning.
    #[must_use]
    pub fn inbox(&self) -> Vec<ReceivedView> {
        let mut views: Vec<_> = self.machines.inbox.rows().map(|(id, row)| self.received(*id, row)).collect();
        views.sort_by_key(|view| std::cmp::Reverse((!view.drill, view.precedence, view.received, view.id)));
        views
    }

    /// Messages that this node received at `since` or later and remembers, in no order that matters.
    #[must_use]
    pub fn received_since(&self, since: Timestamp) -> Vec<ReceivedView> {
        let rows = self.machines.inbox.rows().filter(|(_, row)| row.received >= since);
        rows.map(|(id, row)| self.received(*id, row)).collect()
    }

    /// One message.
    #[must_use]
    pub fn message(&self, id: &MessageId) -> Option<MessageView> {
        let received = self.machines.inbox.row(id).map(|row| MessageView::Received(self.received(*id, row)));
        received
            .or_else(|| self.machines.outbox.entry(id).map(|entry| MessageView::Sent(self.sent(*id, entry))))
    }

    /// When a message that this node sends was made, and when it stops sending it.
    pub(crate) fn sent_between(&self, id: &MessageId) -> Option<(Timestamp, Timestamp)> {
        self.machines.outbox.entry(id).map(|entry| (entry.row.created, entry.row.expires))
    }

    /// The lasting answers to a message that this node sent, by node.
    #[must_use]
    pub fn receipts(&self, id: &MessageId) -> Vec<ReceiptView> {
        let answers =
            self.machines.outbox.entry(id).map(|entry| entry.row.answers.as_slice()).unwrap_or_default();
        let view = |answer: &super::rows::AnswerRow| ReceiptView {
            member: answer.member.clone(),
            node: answer.node,
            refused: answer.reason,
            at: answer.at,
            late: answer.late == Some(true),
        };
        answers.iter().map(view).collect()
    }

    fn sent(&self, id: MessageId, entry: &Entry) -> SentView {
        let row = &entry.row;
        let own = &self.own.member;
        let party = |said: &&Said| said.row.member == *own || row.recipients.contains(&said.row.member);
        let statements: Vec<_> =
            self.machines.statements.of(&id).iter().filter(party).map(statement).collect();
        let recipients =
            row.recipients.iter().map(|member| self.recipient(entry, member, &statements)).collect();
        SentView {
            id,
            precedence: row.precedence,
            tlp: row.tlp,
            drill: row.drill,
            created: row.created,
            expires: row.expires,
            size: row.size,
            content: row.content,
            statement: row.statement,
            recipients,
            statements,
        }
    }

    fn recipient(&self, entry: &Entry, member: &MemberCode, statements: &[StatementView]) -> RecipientView {
        let nodes = node_views(entry, member);
        let answers = entry.row.answers.iter().filter(|answer| answer.member == *member);
        let delivered = answers
            .filter_map(|answer| Some(DeliveredView { at: answer.at, late: answer.late? }))
            .min_by_key(|delivered| (delivered.late, delivered.at));
        let stopped =
            entry.row.stopped.iter().find(|stopped| stopped.member == *member).map(|stopped| stopped.why);
        let state = recipient_state(entry, member, delivered, &nodes);
        let first = |said: &&StatementView| said.word == Word::Acknowledged && said.member == *member;
        RecipientView {
            member: member.clone(),
            state,
            delivered,
            stopped: stopped.filter(|_| state == RecipientState::Stopped),
            connected: nodes.iter().any(|node| self.machines.outbox.is_connected(&node.node)),
            nodes,
            acknowledged: statements.iter().find(first).cloned(),
        }
    }

    fn received(&self, id: MessageId, row: &InboxRow) -> ReceivedView {
        let own = &self.own.member;
        let party = |said: &&Said| said.row.member == *own || said.row.member == row.sender;
        let statements: Vec<_> =
            self.machines.statements.of(&id).iter().filter(party).map(statement).collect();
        let first = |said: &&StatementView| said.word == Word::Acknowledged && said.member == *own;
        ReceivedView {
            id,
            sender: row.sender.clone(),
            signer: row.signer,
            recipients: row.recipients.clone(),
            precedence: row.precedence,
            tlp: row.tlp,
            drill: row.drill,
            created: row.created,
            expires: row.expires,
            received: row.received,
            size: row.size,
            marks: row.marks,
            acknowledged: statements.iter().find(first).cloned(),
            withdrawn: statements
                .iter()
                .any(|said| said.word == Word::Withdrawn && said.member == row.sender),
            statements,
        }
    }
}

/// The best of what is known of a member's nodes.
fn recipient_state(
    entry: &Entry,
    member: &MemberCode,
    delivered: Option<DeliveredView>,
    nodes: &[NodeView],
) -> RecipientState {
    let row = &entry.row;
    if delivered.is_some() {
        RecipientState::Delivered
    } else if row.stopped.iter().any(|stopped| stopped.member == *member) {
        RecipientState::Stopped
    } else if row.expired && row.key_lost.iter().any(|lost| lost.member == *member) {
        RecipientState::Undeliverable
    } else if row.expired {
        RecipientState::Expired
    } else {
        nodes.iter().map(|node| node.state).max().unwrap_or(RecipientState::Queued)
    }
}

fn node_views(entry: &Entry, member: &MemberCode) -> Vec<NodeView> {
    let answers = entry.row.answers.iter().filter(|answer| answer.member == *member);
    let mut nodes: Vec<NodeView> = answers
        .map(|answer| {
            let state =
                if answer.late.is_some() { RecipientState::Delivered } else { RecipientState::Refused };
            let (node, at, refused) = (answer.node, Some(answer.at), answer.reason);
            let (custodians, custodians_asked) = (custodians(entry, &node), entry.custody_of(&node).1);
            NodeView {
                node,
                state,
                at,
                refused,
                retry_at: None,
                keyless: false,
                unopened: false,
                custodians,
                custodians_asked,
            }
        })
        .collect();
    for (node, target) in entry.targets.iter().filter(|(_, target)| target.member == *member) {
        if nodes.iter().any(|known| known.node == *node) {
            continue;
        }
        let custodians = custodians(entry, node);
        let (state, retry_at) = match target.progress {
            Progress::Resting(at) if !custodians.is_empty() => (RecipientState::Custody, Some(at)),
            Progress::Done if entry.row.key_lost.iter().any(|lost| lost.node == *node) => {
                (RecipientState::Undeliverable, None)
            }
            Progress::Done if entry.row.expired => (RecipientState::Expired, None),
            Progress::Done => (RecipientState::Stopped, None),
            _ if !custodians.is_empty() => (RecipientState::Custody, None),
            Progress::Sent(_) if !target.returned.is_under_way() => (RecipientState::Sent, None),
            Progress::Resting(at) => (RecipientState::Queued, Some(at)),
            Progress::Waiting | Progress::Keyless | Progress::Sealing(_) | Progress::Sent(_) => {
                (RecipientState::Queued, None)
            }
        };
        let keyless = target.progress == Progress::Keyless;
        nodes.push(NodeView {
            node: *node,
            state,
            at: None,
            refused: target.refused,
            retry_at,
            keyless,
            unopened: target.is_unopened(),
            custodians,
            custodians_asked: entry.custody_of(node).1,
        });
    }
    nodes
}

fn statement(said: &Said) -> StatementView {
    let Said { id, row } = said;
    let statement = &row.statement;
    StatementView {
        id: *id,
        member: row.member.clone(),
        word: statement.word,
        role: statement.role.clone(),
        will: statement.will,
        form: statement.form.clone(),
        by: statement.by,
        created: row.created,
        marks: row.marks,
    }
}
