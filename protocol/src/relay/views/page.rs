//! Pages and counts of messages: only what is shown is put together, so that whoever looks holds up nobody.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{Entry, InboxRow, ReceivedView, Relay, SentView};
use crate::{
    ids::MessageId,
    message::{body::Word, header::Precedence},
    time::Timestamp,
};

/// Messages of one precedence that nobody here has seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// How many.
    pub count: u64,
    /// When the oldest of them came, and which it is.
    pub oldest: (Timestamp, MessageId),
}

impl Relay {
    /// The ids of all messages that this node sent or received and remembers, in no order that matters; none of
    /// statements.
    pub fn ids(&self) -> impl Iterator<Item = MessageId> {
        let sent = self.machines.outbox.entries().filter(|(_, entry)| entry.row.statement.is_none());
        self.machines.inbox.rows().map(|(id, _)| *id).chain(sent.map(|(id, _)| *id))
    }

    /// The first `limit` of [`Relay::inbox`]; without `all` only what is neither acknowledged here nor withdrawn.
    #[must_use]
    pub fn inbox_page(&self, all: bool, limit: usize) -> Vec<ReceivedView> {
        let rows = self.machines.inbox.rows().filter(|(id, row)| all || self.is_open(id, row));
        let keys = rows.map(|(id, row)| Reverse((!row.drill, row.precedence, row.received, *id))).collect();
        let first = first(keys, limit).into_iter();
        let row = |id: MessageId| self.machines.inbox.row(&id).map(|row| self.received(id, row));
        first.filter_map(|Reverse((_, _, _, id))| row(id)).collect()
    }

    /// The first `limit` of [`Relay::outbox`] that are no statements; without `all` only those whose content is
    /// kept and that a recipient has not acknowledged.
    #[must_use]
    pub fn outbox_page(&self, all: bool, limit: usize) -> Vec<SentView> {
        let entries = self.machines.outbox.entries().filter(|(id, entry)| {
            entry.row.statement.is_none() && (all || self.is_unacknowledged(id, entry))
        });
        let keys = entries.map(|(id, entry)| Reverse((entry.row.created, *id))).collect();
        let first = first(keys, limit).into_iter();
        let entry = |id: MessageId| self.machines.outbox.entry(&id).map(|entry| self.sent(id, entry));
        first.filter_map(|Reverse((_, id))| entry(id)).collect()
    }

    /// What nobody here has seen to, by precedence; drills and what was withdrawn do not count.
    #[must_use]
    pub fn unseen(&self) -> BTreeMap<Precedence, Unseen> {
        let mut unseen: BTreeMap<Precedence, Unseen> = BTreeMap::new();
        let rows = self.machines.inbox.rows().filter(|(id, row)| !row.drill && self.is_open(id, row));
        for (id, row) in rows {
            let this = (row.received, *id);
            let of = unseen.entry(row.precedence).or_insert(Unseen { count: 0, oldest: this });
            (of.count, of.oldest) = (of.count + 1, of.oldest.min(this));
        }
        unseen
    }

    /// How many drills nobody here has seen to.
    #[must_use]
    pub fn unseen_drills(&self) -> u64 {
        self.machines.inbox.rows().filter(|(id, row)| row.drill && self.is_open(id, row)).count() as u64
    }

    /// Whether a received message is open: nobody here has seen to it, and it was not withdrawn. What a stolen key may have
    /// signed ends nothing; one that is not in memory counts as open.
    #[must_use]
    pub fn is_unseen(&self, id: &MessageId) -> bool {
        self.machines.inbox.row(id).is_none_or(|row| self.is_open(id, row))
    }

    fn is_open(&self, id: &MessageId, row: &InboxRow) -> bool {
        !self.machines.statements.of(id).iter().any(|said| match said.row.statement.word {
            Word::Acknowledged => said.row.is_acknowledgement() && said.row.member == self.own.member,
            Word::Withdrawn => said.row.member == row.sender,
            _ => false,
        })
    }

    fn is_unacknowledged(&self, id: &MessageId, entry: &Entry) -> bool {
        let acknowledged = self.machines.statements.acknowledged(id);
        entry.row.content && entry.row.recipients.iter().any(|member| !acknowledged.contains(member))
    }
}

/// The first `limit` in order, without putting the rest in order.
fn first<T: Ord>(mut keys: Vec<T>, limit: usize) -> Vec<T> {
    if keys.len() > limit {
        keys.select_nth_unstable(limit);
        keys.truncate(limit);
    }
    keys.sort_unstable();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_the_beginning_of_the_whole_in_order() {
        let keys: Vec<u32> = (0..1_000).map(|number| number * 7_919 % 1_009).collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        for limit in [0, 1, 10, 999, 1_000, 2_000] {
            let expected: Vec<u32> = sorted.iter().copied().take(limit).collect();
            assert_eq!(first(keys.clone(), limit), expected, "{limit}");
        }
    }
}
