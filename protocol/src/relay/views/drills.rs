//! Drills that this node started: for each member whether and when it answered, without content and roles.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{DeliveredView, Entry, RecipientState, Relay, node_views, recipient_state};
use crate::{
    ids::{MemberCode, MessageId},
    message::{body::Word, drill::DrillId, header::Precedence},
    time::Timestamp,
};

/// A drill that this node started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrillRun {
    /// Its id.
    pub id: DrillId,
    /// When its first message was made, by this node's clock.
    pub started: Timestamp,
    /// When its last message stops waiting.
    pub ends: Timestamp,
    /// How urgent its messages are.
    pub precedence: Precedence,
    /// Each member asked, by code.
    pub recipients: Vec<DrillRecipient>,
}

/// How one member answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrillRecipient {
    /// The member.
    pub member: MemberCode,
    /// The message that asked it.
    pub message: MessageId,
    /// When that was made, by this node's clock: times count from here.
    pub created: Timestamp,
    /// The best of its nodes' states. A machine's word.
    pub state: RecipientState,
    /// When the first of its nodes said `delivered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Heard>,
    /// When a person there first said something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Heard>,
}

/// When something was said, by the two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// By the speaker's clock: a claim.
    pub said: Timestamp,
    /// When word of it came, by this node's clock; absent where an earlier program did not keep it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
}

impl Relay {
    /// The newest `limit` drills that this node started and remembers, newest first.
    #[must_use]
    pub fn drills(&self, limit: usize) -> Vec<DrillRun> {
        let mut starts: BTreeMap<DrillId, Timestamp> = BTreeMap::new();
        for (id, entry) in self.drill_messages() {
            let start = starts.entry(id).or_insert(entry.1.row.created);
            *start = entry.1.row.created.min(*start);
        }
        let mut newest: Vec<(Timestamp, DrillId)> = starts.into_iter().map(|(id, at)| (at, id)).collect();
        newest.sort_unstable_by_key(|key| std::cmp::Reverse(*key));
        newest.truncate(limit);
        let mut runs: BTreeMap<DrillId, DrillRun> = BTreeMap::new();
        for (id, (message, entry)) in self.drill_messages() {
            let Some((started, _)) = newest.iter().find(|(_, chosen)| *chosen == id) else { continue };
            let row = &entry.row;
            let run = runs.entry(id).or_insert_with(|| DrillRun {
                id,
                started: *started,
                ends: row.expires,
                precedence: row.precedence,
                recipients: Vec::new(),
            });
            run.ends = run.ends.max(row.expires);
            run.recipients.extend(row.recipients.iter().map(|member| self.asked(*message, entry, member)));
        }
        for run in runs.values_mut() {
            run.recipients.sort_by(|one, next| (&one.member, one.message).cmp(&(&next.member, next.message)));
        }
        newest.into_iter().filter_map(|(_, id)| runs.remove(&id)).collect()
    }

    fn drill_messages(&self) -> impl Iterator<Item = (DrillId, (&MessageId, &Entry))> {
        let entries = self.machines.outbox.entries();
        entries.filter_map(|(message, entry)| Some((entry.row.drill_id?, (message, entry))))
    }

    fn asked(&self, message: MessageId, entry: &Entry, member: &MemberCode) -> DrillRecipient {
        let row = &entry.row;
        let answers = row.answers.iter().filter(|answer| answer.member == *member && answer.late.is_some());
        let delivered =
            answers.map(|answer| Heard { said: answer.at, heard: answer.heard }).min_by_key(order);
        let state = match delivered {
            Some(_) => RecipientState::Delivered,
            None => recipient_state(entry, member, None::<DeliveredView>, &node_views(entry, member)),
        };
        let said = self.machines.statements.of(&message).iter();
        let said = said.filter(|said| said.row.member == *member);
        let said = said.filter(|said| said.row.statement.word != Word::Unacknowledged);
        let acknowledged = said
            .map(|said| Heard { said: said.row.created, heard: Some(said.row.received) })
            .min_by_key(order);
        DrillRecipient {
            member: member.clone(),
            message,
            created: row.created,
            state,
            delivered,
            acknowledged,
        }
    }
}

/// What came first, by this node's clock where it is known.
fn order(heard: &Heard) -> Timestamp {
    heard.heard.unwrap_or(heard.said)
}
