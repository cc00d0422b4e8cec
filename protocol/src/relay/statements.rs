//! What people said of messages, by the message that they said it of.
//!
//! A statement about a message that is not known here is kept, and counts once the message is known. Whether
//! its speaker is a party to the message is asked when it is used, since the message may come later.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::StatementRow;
use crate::{
    ids::{MemberCode, MessageId},
    limits::{ORPHAN_STATEMENTS_MAX, STATEMENTS_PER_MEMBER_MAX},
    message::body::Word,
};

/// One statement in memory; its text stays on the disk.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) id: MessageId,
    pub(super) row: StatementRow,
}

/// All statements.
#[derive(Default)]
pub(super) struct Statements {
    by_message: BTreeMap<MessageId, Vec<Said>>,
    /// Messages that are spoken of and not known here.
    orphans: BTreeSet<MessageId>,
    orphaned: usize,
}

impl Statements {
    /// Whether another statement by this member about this message would be kept.
    pub(super) fn has_room(&self, message: MessageId, member: &MemberCode, known: bool) -> bool {
        let by_member = self.of(&message).iter().filter(|said| said.row.member == *member).count();
        by_member < STATEMENTS_PER_MEMBER_MAX && (known || self.orphaned < ORPHAN_STATEMENTS_MAX)
    }

    /// Keeps a statement, in the order of its making.
    pub(super) fn insert(&mut self, id: MessageId, mut row: StatementRow, known: bool) {
        row.text = None;
        let message = row.statement.answers;
        let all = self.by_message.entry(message).or_default();
        let at = all.partition_point(|said| (said.row.created, said.id) < (row.created, id));
        all.insert(at, Said { id, row });
        if !known {
            self.orphans.insert(message);
            self.orphaned += 1;
        }
    }

    /// Takes a statement back that could not be stored.
    pub(super) fn remove(&mut self, id: MessageId) {
        let Some((message, all)) =
            self.by_message.iter_mut().find(|(_, all)| all.iter().any(|said| said.id == id))
        else {
            return;
        };
        let message = *message;
        all.retain(|said| said.id != id);
        let empty = all.is_empty();
        if self.orphans.contains(&message) {
            self.orphaned = self.orphaned.saturating_sub(1);
        }
        if empty {
            self.by_message.remove(&message);
            self.orphans.remove(&message);
        }
    }

    /// A message is known from now on: what was said of it counts.
    pub(super) fn on_known(&mut self, message: MessageId) {
        if self.orphans.remove(&message) {
            self.orphaned = self.orphaned.saturating_sub(self.of(&message).len());
        }
    }

    /// A message is forgotten, and what was said of it; returns the statements' ids.
    pub(super) fn forget(&mut self, message: MessageId) -> Vec<MessageId> {
        self.on_known(message);
        self.by_message.remove(&message).unwrap_or_default().into_iter().map(|said| said.id).collect()
    }

    /// What was said of a message, oldest first.
    pub(super) fn of(&self, message: &MessageId) -> &[Said] {
        self.by_message.get(message).map_or(&[], Vec::as_slice)
    }

    /// The members that acknowledged a message.
    pub(super) fn acknowledged(&self, message: &MessageId) -> BTreeSet<MemberCode> {
        let acknowledged = |said: &&Said| said.row.statement.word == Word::Acknowledged;
        self.of(message).iter().filter(acknowledged).map(|said| said.row.member.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::{message::body::Statement, redact::Redacted, relay::event::Marks, time::Timestamp};

    fn id(number: u16) -> MessageId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        MessageId::from_bytes(bytes)
    }

    fn row(answers: MessageId, member: &str, created: u64) -> StatementRow {
        StatementRow {
            member: member.parse().unwrap(),
            statement: Statement {
                answers,
                word: Word::Acknowledged,
                role: Redacted("duty".into()),
                will: None,
                form: None,
                by: None,
            },
            text: Some(Redacted("text".into())),
            created: Timestamp::from_millis(created),
            received: Timestamp::from_millis(created),
            marks: Marks::default(),
        }
    }

    #[test]
    fn statements_are_bounded_for_each_member_and_for_unknown_messages() {
        let mut statements = Statements::default();
        let (ke, jo) = ("KE".parse().unwrap(), "JO".parse().unwrap());
        for number in 0..32 {
            assert!(statements.has_room(id(999), &ke, true));
            statements.insert(id(number), row(id(999), "KE", 5), true);
        }
        assert!(!statements.has_room(id(999), &ke, true));
        assert!(statements.has_room(id(999), &jo, true));
        for number in 0..u16::try_from(ORPHAN_STATEMENTS_MAX).unwrap() {
            statements.insert(id(number + 2_000), row(id(number + 10_000), "KE", 5), false);
        }
        assert!(!statements.has_room(id(1), &jo, false));
        statements.on_known(id(10_000));
        assert!(statements.has_room(id(1), &jo, false));
    }

    #[test]
    fn statements_stand_in_the_order_of_their_making_without_their_text() {
        let mut statements = Statements::default();
        for (number, created) in [(1, 30), (2, 10), (3, 20)] {
            statements.insert(id(number), row(id(9), "KE", created), false);
        }
        let order: Vec<_> = statements.of(&id(9)).iter().map(|said| said.id).collect();
        assert_eq!(order, [id(2), id(3), id(1)]);
        assert!(statements.of(&id(9)).iter().all(|said| said.row.text.is_none()));
        assert_eq!(statements.acknowledged(&id(9)).len(), 1);
        statements.remove(id(2));
        assert_eq!(statements.forget(id(9)), [id(3), id(1)]);
        assert_eq!(statements.orphaned, 0);
    }
}
