//! What waits, for `status`: drills apart.

use serde::Serialize;

use super::{Entry, Relay};
use crate::{ids::MemberCode, time::Timestamp};

/// What `status` shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RelayCounts {
    /// Messages and statements that some recipient has not got yet and that still wait; drills left out.
    pub waiting: usize,
    /// Drills that some recipient has not got yet and that still wait, and what was said of drills.
    pub waiting_drills: usize,
    /// When the oldest of them was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
    /// Parcels kept for other nodes.
    pub held: usize,
    /// Bytes of them.
    pub held_bytes: u64,
    /// Since when the oldest of them is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Timestamp>,
    /// Received messages that no person here acknowledged; drills left out.
    pub unacknowledged: usize,
    /// When the oldest of them came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unacknowledged_since: Option<Timestamp>,
}

impl Relay {
    /// What waits, for `status`.
    #[must_use]
    pub fn counts(&self) -> RelayCounts {
        let mut counts = RelayCounts::default();
        for entry in self.machines.outbox.entries().map(|(_, entry)| entry).filter(|entry| is_waiting(entry))
        {
            if entry.row.drill {
                counts.waiting_drills += 1;
                continue;
            }
            counts.waiting += 1;
            let since = counts.waiting_since.unwrap_or(Timestamp::MAX);
            counts.waiting_since = Some(since.min(entry.row.created));
        }
        for (_, kept) in self.machines.custody.kept().filter(|(_, kept)| kept.holds_parcel()) {
            counts.held += 1;
            counts.held_bytes += kept.row.size;
            let since = counts.held_since.unwrap_or(Timestamp::MAX);
            counts.held_since = Some(since.min(kept.row.since));
        }
        for (id, row) in self.machines.inbox.rows().filter(|(_, row)| !row.drill) {
            if self.machines.statements.acknowledged(id).contains(&self.own.member) {
                continue;
            }
            counts.unacknowledged += 1;
            let since = counts.unacknowledged_since.unwrap_or(Timestamp::MAX);
            counts.unacknowledged_since = Some(since.min(row.received));
        }
        counts
    }
}

fn is_waiting(entry: &Entry) -> bool {
    let row = &entry.row;
    let got = |member: &MemberCode| {
        let delivered = row.answers.iter().any(|answer| answer.member == *member && answer.late.is_some());
        delivered || row.stopped.iter().any(|stopped| stopped.member == *member)
    };
    row.content && !row.expired && !row.recipients.iter().all(got)
}
