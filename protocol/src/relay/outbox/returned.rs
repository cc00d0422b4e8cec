//! What a recipient's people said of a message, returned to those of their own nodes that lack it: one that was set up
//! anew, or whose disk was put back. It goes there before the message, so that nobody is woken for what is acknowledged.
//!
//! The statements stay what their makers signed. This side keeps them with the message, says nothing of its own, and lets
//! no statement hold up a message for long.

use std::collections::BTreeSet;

use super::{
    Outbox,
    entry::{Entry, Progress},
};
use crate::{
    ids::{MemberCode, MessageId, NodeKey},
    relay::{
        exchange::RelayFault,
        receipt::{Receipt, ReceiptWord},
        turn::Turn,
    },
};

/// The statements of its own people that a node is handed.
pub(in crate::relay) struct ReturnedStatements {
    /// What goes before the message, if that goes at all.
    owed: BTreeSet<MessageId>,
    /// What went in vain so often that the message goes first.
    later: BTreeSet<MessageId>,
    /// The one that is sealed or sent.
    under_way: Option<MessageId>,
    /// How often one went in vain since the last that did not.
    tries: u32,
    /// How often one may, before the message goes without them.
    patience: u32,
}

impl Default for ReturnedStatements {
    fn default() -> Self {
        let (owed, later) = (BTreeSet::new(), BTreeSet::new());
        Self { owed, later, under_way: None, tries: 0, patience: TRIES_MAX }
    }
}

impl ReturnedStatements {
    pub(super) fn owe(&mut self, statements: impl IntoIterator<Item = MessageId>) {
        self.owed.extend(statements);
    }

    /// Whether what is on its way is a statement, and not the message.
    pub(in crate::relay) const fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// The next to be sealed, which is under way from now on.
    pub(super) fn next(&mut self) -> Option<MessageId> {
        self.under_way = self.owed.first().copied();
        self.under_way
    }

    /// All that the node has not got.
    pub(super) fn missing(&mut self) -> Vec<MessageId> {
        self.owed.append(&mut self.later);
        std::mem::take(&mut self.owed).into_iter().collect()
    }

    /// This one is not owed any more: the node has it, or never takes it. Says whether it was.
    fn settle(&mut self, statement: MessageId) -> bool {
        self.tries = 0;
        self.under_way.take_if(|it| *it == statement);
        self.later.remove(&statement) | self.owed.remove(&statement)
    }

    /// What was under way went in vain; says whether the message goes now, which is due. The statements hold it up for a
    /// few tries, and then for one before each of the message's own.
    fn gives_way(&mut self, is_message_due: bool) -> bool {
        if self.under_way.take().is_none() {
            self.owed.append(&mut self.later);
            return false;
        }
        self.tries += 1;
        let gives_way = is_message_due && self.tries >= self.patience;
        if gives_way {
            self.later.append(&mut self.owed);
            (self.tries, self.patience) = (0, 1);
        }
        gives_way
    }
}

impl Outbox {
    /// A recipient's statement came: it goes to those of that member's nodes that have the message, but to its maker.
    pub(in crate::relay) fn on_statement(
        &mut self,
        turn: &mut Turn<'_>,
        (message, statement): (MessageId, MessageId),
        member: &MemberCode,
        maker: NodeKey,
    ) {
        self.on_said(message, statement, member);
        let Some(entry) = self.entries.get(&message) else { return };
        let others: Vec<NodeKey> = entry.holders(member).filter(|node| *node != maker).collect();
        for node in others {
            self.go_again(turn, message, node, vec![statement], false);
            self.pump(turn, node);
        }
    }

    /// A recipient's statement of a message is known: its member's nodes are offered it while the message is kept, and
    /// those that have yet to get the message get it first.
    pub(in crate::relay) fn on_said(
        &mut self,
        message: MessageId,
        statement: MessageId,
        member: &MemberCode,
    ) {
        let Some(entry) = self.entries.get_mut(&message).filter(|entry| entry.is_open()) else { return };
        if !entry.row.recipients.contains(member) {
            return;
        }
        entry.said.entry(member.clone()).or_default().insert(statement);
        self.said_of.insert(statement, message);
        for (node, target) in &mut entry.targets {
            if target.member == *member && entry.row.answers.iter().all(|answer| answer.node != *node) {
                target.returned.owe([statement]);
            }
        }
        for node in entry.holders(member) {
            self.peers.entry(node).or_default().kept.insert(statement);
        }
    }

    /// There was no room to store a statement: it is not known after all.
    pub(in crate::relay) fn unsay(&mut self, statement: MessageId) {
        let Some(message) = self.said_of.remove(&statement) else { return };
        let Some(entry) = self.entries.get_mut(&message) else { return };
        for said in entry.said.values_mut() {
            said.remove(&statement);
        }
        for target in entry.targets.values_mut() {
            target.returned.settle(statement);
        }
        for peer in self.peers.values_mut() {
            peer.kept.remove(&statement);
        }
    }

    /// Whether this is a statement that is kept for nodes of its maker's.
    pub(in crate::relay) fn is_said(&self, statement: &MessageId) -> bool {
        self.said_of.contains_key(statement)
    }

    /// The message whose parcel this is, or goes before.
    pub(super) fn message_of(&self, parcel: MessageId) -> MessageId {
        self.said_of.get(&parcel).copied().unwrap_or(parcel)
    }

    /// Whether what is under way to a node is a statement, and not the message.
    pub(super) fn is_returning(&self, message: &MessageId, node: &NodeKey) -> bool {
        self.target(message, node).is_some_and(|target| target.returned.is_under_way())
    }

    /// A node answered a statement that is returned to it, or may have been. `delivered` is proven by its signature,
    /// whoever bears it.
    pub(super) fn on_statement_answer(&mut self, turn: &mut Turn<'_>, from: NodeKey, receipt: &Receipt) {
        let (statement, node) = (receipt.message, receipt.node);
        let message = self.message_of(statement);
        let Some(target) = self.target_mut(message, node).filter(|it| it.member == receipt.member) else {
            return turn.fault(from, RelayFault::ReceiptDoubled(statement));
        };
        let was_under_way = target.returned.under_way == Some(statement);
        let is_awaited = was_under_way && matches!(target.progress, Progress::Sent(_)) && from == node;
        let is_taken = receipt.word == ReceiptWord::Delivered;
        let is_refused =
            receipt.word == ReceiptWord::Refused && receipt.reason.is_none_or(|reason| !reason.is_passing());
        if is_taken || is_awaited && is_refused {
            if !target.returned.settle(statement) && !was_under_way {
                return turn.fault(from, RelayFault::ReceiptDoubled(statement));
            }
            // What it never takes is not offered to it either.
            if let Some(peer) = self.peers.get_mut(&node).filter(|_| is_refused) {
                peer.kept.remove(&statement);
            }
            if was_under_way {
                self.requeue(turn, message, node);
            }
        } else if is_awaited {
            self.on_vain(turn, message, node);
        } else {
            return turn.fault(from, RelayFault::ReceiptDoubled(statement));
        }
        self.pump(turn, node);
    }

    /// What was under way to a node went in vain: it rests, or the message goes that statements have held up long enough.
    pub(super) fn on_vain(&mut self, turn: &mut Turn<'_>, message: MessageId, node: NodeKey) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let is_due = entry.is_due(&node);
        let Some(target) = entry.targets.get_mut(&node) else { return };
        if target.returned.gives_way(is_due) {
            self.requeue(turn, message, node);
        } else {
            self.rest(turn, message, node, None);
        }
    }

    /// A message's content is kept no longer, and so are its statements for those who made them.
    pub(super) fn forget_said(&mut self, message: MessageId) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let said = std::mem::take(&mut entry.said).into_values().flatten();
        for statement in said {
            self.said_of.remove(&statement);
            for answer in &entry.row.answers {
                if let Some(peer) = self.peers.get_mut(&answer.node) {
                    peer.kept.remove(&statement);
                    peer.repeated.remove(&statement);
                }
            }
        }
    }
}

impl Entry {
    /// What a recipient's people said of it.
    pub(super) fn said_by(&self, member: &MemberCode) -> impl Iterator<Item = MessageId> {
        self.said.get(member).into_iter().flatten().copied()
    }

    /// The nodes of a member that have it.
    fn holders(&self, member: &MemberCode) -> impl Iterator<Item = NodeKey> {
        let answers = self.row.answers.iter().filter(move |it| it.member == *member && it.late.is_some());
        answers.map(|answer| answer.node)
    }
}

/// Times that statements go in vain to a connected node before the message goes without them.
const TRIES_MAX: u32 = 3;
