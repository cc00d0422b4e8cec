//! What people said of messages, by the message that they said it of.
//!
//! A statement about a message that is not known here is kept, and counts once the message is known. Whether
//! its speaker is a party to the message is asked when it is used, since the message may come later.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    rows::StatementRow,
    share::{ShareBounds, Shares},
};
use crate::{
    ids::{MemberCode, MessageId},
    limits::{
        ORPHAN_STATEMENTS_MAX, ORPHAN_STATEMENTS_PER_MEMBER_MAX, ORPHAN_STATEMENTS_PER_MEMBER_MIN,
        STATEMENTS_MAX, STATEMENTS_PER_MEMBER_MAX, STATEMENTS_PER_SPEAKER_MAX, STATEMENTS_PER_SPEAKER_MIN,
    },
};

/// One statement in memory; its text and its proof stay on the disk.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) id: MessageId,
    pub(super) row: StatementRow,
}

/// All statements.
#[derive(Default)]
pub(super) struct Statements {
    by_message: BTreeMap<MessageId, Vec<Said>>,
    /// Of which message each is.
    about: BTreeMap<MessageId, MessageId>,
    shares: Shares<MemberCode>,
    /// Statements about messages that are not known here, with the message.
    orphans: BTreeMap<MessageId, MessageId>,
    orphan_shares: Shares<MemberCode>,
}

impl Statements {
    /// Whether another statement by this member about this message would be kept.
    pub(super) fn has_room(&self, message: MessageId, member: &MemberCode, known: bool) -> bool {
        let by_member = self.of(&message).iter().filter(|said| said.row.member == *member).count();
        by_member < STATEMENTS_PER_MEMBER_MAX
            && self.shares.has_room(ALL, member, 1)
            && (known || self.orphan_shares.has_room(ORPHANS, member, 1))
    }

    /// Whether this statement is here.
    pub(super) fn has(&self, id: &MessageId) -> bool {
        self.about.contains_key(id)
    }

    /// Keeps a statement, in the order of its making.
    pub(super) fn insert(&mut self, id: MessageId, row: StatementRow, known: bool) {
        let row = row.in_memory();
        let message = row.statement.answers;
        self.shares.add(&row.member, 1);
        self.about.insert(id, message);
        if !known {
            self.orphans.insert(id, message);
            self.orphan_shares.add(&row.member, 1);
        }
        let all = self.by_message.entry(message).or_default();
        let at = all.partition_point(|said| (said.row.created, said.id) < (row.created, id));
        all.insert(at, Said { id, row });
    }

    /// Takes a statement back that could not be stored.
    pub(super) fn remove(&mut self, id: MessageId) {
        if let Some(message) = self.about.get(&id).copied() {
            self.take(message, id);
        }
    }

    /// A statement's own id is forgotten: if the message that it is about never came, so is the statement, and
    /// that message is returned.
    pub(super) fn forget_orphan(&mut self, id: MessageId) -> Option<MessageId> {
        let message = self.orphans.get(&id).copied()?;
        self.take(message, id);
        Some(message)
    }

    /// A message is known from now on: what was said of it counts.
    pub(super) fn on_known(&mut self, message: MessageId) {
        let Self { by_message, orphans, orphan_shares, .. } = self;
        for said in by_message.get(&message).map_or(&[][..], Vec::as_slice) {
            if orphans.remove(&said.id).is_some() {
                orphan_shares.remove(&said.row.member, 1);
            }
        }
    }

    /// A message is forgotten, and what was said of it; returns the statements' ids.
    pub(super) fn forget(&mut self, message: MessageId) -> Vec<MessageId> {
        self.on_known(message);
        let all = self.by_message.remove(&message).unwrap_or_default();
        for said in &all {
            self.shares.remove(&said.row.member, 1);
            self.about.remove(&said.id);
        }
        all.into_iter().map(|said| said.id).collect()
    }

    /// Every statement.
    pub(super) fn all(&self) -> impl Iterator<Item = &Said> {
        self.by_message.values().flatten()
    }

    fn take(&mut self, message: MessageId, id: MessageId) {
        let Some(all) = self.by_message.get_mut(&message) else { return };
        let Some(at) = all.iter().position(|said| said.id == id) else { return };
        let said = all.remove(at);
        self.about.remove(&id);
        if all.is_empty() {
            self.by_message.remove(&message);
        }
        self.shares.remove(&said.row.member, 1);
        if self.orphans.remove(&id).is_some() {
            self.orphan_shares.remove(&said.row.member, 1);
        }
    }

    /// What was said of a message, oldest first.
    pub(super) fn of(&self, message: &MessageId) -> &[Said] {
        self.by_message.get(message).map_or(&[], Vec::as_slice)
    }

    /// The members that acknowledged a message. What a key signed that is declared stolen ends nobody's work.
    pub(super) fn acknowledged(&self, message: &MessageId) -> BTreeSet<MemberCode> {
        let acknowledged = |said: &&Said| said.row.is_acknowledgement();
        self.of(message).iter().filter(acknowledged).map(|said| said.row.member.clone()).collect()
    }
}

const ALL: ShareBounds =
    ShareBounds { all: STATEMENTS_MAX, each: STATEMENTS_PER_SPEAKER_MAX, floor: STATEMENTS_PER_SPEAKER_MIN };

const ORPHANS: ShareBounds = ShareBounds {
    all: ORPHAN_STATEMENTS_MAX,
    each: ORPHAN_STATEMENTS_PER_MEMBER_MAX,
    floor: ORPHAN_STATEMENTS_PER_MEMBER_MIN,
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::{
        message::body::{Statement, Word},
        redact::Redacted,
        relay::{event::Marks, rows::SignedStatement},
        time::Timestamp,
    };

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
            signed: Some(SignedStatement {
                header: ByteBuf::from(vec![1]),
                key: [2; 32],
                body: ByteBuf::from(vec![3]),
            }),
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
        for number in 0..u16::try_from(ORPHAN_STATEMENTS_PER_MEMBER_MAX).unwrap() {
            assert!(statements.has_room(id(number + 10_000), &ke, false));
            statements.insert(id(number + 2_000), row(id(number + 10_000), "KE", 5), false);
        }
        assert!(!statements.has_room(id(1), &ke, false), "its share is used up");
        assert!(statements.has_room(id(1), &jo, false), "and nobody else's");
        statements.on_known(id(10_000));
        assert!(statements.has_room(id(1), &ke, false));
        assert_eq!(statements.forget_orphan(id(2_000)), None, "its message is known");
        assert_eq!(statements.forget_orphan(id(2_001)), Some(id(10_001)));
        assert!(statements.of(&id(10_001)).is_empty());
    }

    #[test]
    fn statements_stand_in_the_order_of_their_making_without_text_and_proof() {
        let mut statements = Statements::default();
        for (number, created) in [(1, 30), (2, 10), (3, 20)] {
            statements.insert(id(number), row(id(9), "KE", created), false);
        }
        let order: Vec<_> = statements.of(&id(9)).iter().map(|said| said.id).collect();
        assert_eq!(order, [id(2), id(3), id(1)]);
        assert!(
            statements.of(&id(9)).iter().all(|said| said.row.text.is_none() && said.row.signed.is_none())
        );
        assert_eq!(statements.acknowledged(&id(9)).len(), 1);
        statements.remove(id(2));
        assert_eq!(statements.forget(id(9)), [id(3), id(1)]);
        assert_eq!((statements.orphan_shares.total(), statements.shares.total()), (0, 0));
    }
}
