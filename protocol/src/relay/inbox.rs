//! What this node receives: each message once, durable before it is confirmed.
//!
//! It owns the ids that were seen, the received messages and the parcels that are being opened or wait for
//! their signer's key set. A parcel that does not open, or is refused, leaves no trace under its message's id.

mod accept;
mod opening;

use std::collections::{BTreeMap, BTreeSet};

use opening::{Held, Opening};

use super::{
    exchange::{Outgoing, Ticket},
    parcel::Class,
    receipt::{Receipt, ReceiptWord, RefusalReason},
    retry::Timer,
    rows::{IdRow, InboxRow, statement_key},
    statements::Statements,
    turn::{Turn, Write},
};
use crate::{
    ids::{MessageId, NodeKey, SealingKeyId},
    limits::{INBOX_ROWS_MAX, MESSAGE_IDS_MAX},
    storage::{Change, Table},
    time::Timestamp,
};

/// Everything that this node received.
#[derive(Default)]
pub(super) struct Inbox {
    /// Ids seen, and until when they are kept: what makes a message appear once.
    ids: BTreeMap<MessageId, Seen>,
    rows: BTreeMap<MessageId, InboxRow>,
    /// Acknowledged messages, oldest first: the first to leave memory when it is full.
    settled: BTreeSet<(Timestamp, MessageId)>,
    opening: BTreeMap<Ticket, Opening>,
    /// Parcels being opened, by who handed them over.
    opening_from: BTreeSet<(NodeKey, MessageId)>,
    opening_bytes: usize,
    held: BTreeMap<MessageId, Held>,
    held_bytes: usize,
}

/// An id that was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    until: Timestamp,
    /// The write that made it durable, in this run: a receipt rests on it.
    write: Option<Ticket>,
}

impl Inbox {
    pub(super) fn row(&self, message: &MessageId) -> Option<&InboxRow> {
        self.rows.get(message)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&MessageId, &InboxRow)> {
        self.rows.iter()
    }

    /// Whether a message or statement is here, or about to be.
    pub(super) fn has(&self, message: &MessageId) -> bool {
        self.ids.contains_key(message) || self.held.contains_key(message)
    }

    pub(super) fn restore_id(&mut self, turn: &mut Turn<'_>, message: MessageId, row: IdRow) {
        self.ids.insert(message, Seen { until: row.until, write: None });
        turn.timers.set(row.until, Timer::ForgetReceived(message));
    }

    pub(super) fn restore_row(&mut self, message: MessageId, row: InboxRow) {
        self.rows.insert(message, row);
    }

    /// All rows are back: what does not fit in memory stays on the disk.
    pub(super) fn restored(&mut self) {
        self.make_room();
    }

    /// A person here, or at a sibling node, took a message: it may leave memory when that is full.
    pub(super) fn on_acknowledged(&mut self, message: MessageId) {
        if let Some(row) = self.rows.get(&message) {
            self.settled.insert((row.received, message));
        }
    }

    /// There was no room to store a message: nothing of it remains, and its sender keeps it.
    pub(super) fn on_refused_write(
        &mut self,
        turn: &mut Turn<'_>,
        write: Write,
        statements: &mut Statements,
    ) {
        let Write::Received { message, from, class } = write else { return };
        if let Some(seen) = self.ids.remove(&message) {
            turn.timers.clear(seen.until, Timer::ForgetReceived(message));
        }
        if let Some(row) = self.rows.remove(&message) {
            self.settled.remove(&(row.received, message));
        } else {
            statements.remove(message);
        }
        refuse(turn, from, class, message, RefusalReason::NoRoom);
    }

    /// A timer of the inbox's is due.
    pub(super) fn on_timer(&mut self, turn: &mut Turn<'_>, timer: Timer, statements: &mut Statements) {
        match timer {
            Timer::ForgetReceived(message) => self.forget(turn, message, statements),
            Timer::DropHeld(message) => {
                if let Some(held) = self.held.remove(&message) {
                    self.held_bytes = self.held_bytes.saturating_sub(held.bytes());
                }
            }
            Timer::Retry(..) | Timer::Expire(_) | Timer::DropContent(_) | Timer::ForgetSent(_) => {}
        }
    }

    fn forget(&mut self, turn: &mut Turn<'_>, message: MessageId, statements: &mut Statements) {
        self.ids.remove(&message);
        let key = *message.as_bytes();
        let mut changes = vec![Change::delete(Table::MessageIds, key)];
        if let Some(row) = self.rows.remove(&message) {
            self.settled.remove(&(row.received, message));
            changes.push(Change::delete(Table::Inbox, key));
            changes.push(Change::delete(Table::InboxContent, key));
            let forgotten = statements.forget(message).into_iter();
            changes.extend(forgotten.map(|id| Change::delete(Table::Statements, statement_key(message, id))));
        }
        turn.persist(changes);
    }

    /// Lets acknowledged messages leave memory when it is full; `false` if there is no room. Ids never leave
    /// early: that would let a message appear twice.
    fn make_room(&mut self) -> bool {
        while self.rows.len() >= INBOX_ROWS_MAX {
            let Some((_, message)) = self.settled.pop_first() else { return false };
            self.rows.remove(&message);
        }
        self.ids.len() < MESSAGE_IDS_MAX
    }
}

/// Answers `delivered`, resting on the write that made it true.
fn confirm(turn: &mut Turn<'_>, to: NodeKey, class: Class, message: MessageId, after: Option<Ticket>) {
    let frame = Outgoing::Receipt(receipt(turn, message, ReceiptWord::Delivered, None, None));
    turn.effects.push(super::exchange::RelayEffect::Send { to, frame, class, after });
}

fn refuse(turn: &mut Turn<'_>, to: NodeKey, class: Class, message: MessageId, reason: RefusalReason) {
    let frame = Outgoing::Receipt(receipt(turn, message, ReceiptWord::Refused, Some(reason), None));
    turn.send(to, class, frame);
}

fn reseal(turn: &mut Turn<'_>, to: NodeKey, class: Class, message: MessageId) {
    let key = turn.book.sealing_key(&turn.own.member, &turn.own.node, turn.now).map(|key| key.id());
    let frame = Outgoing::Receipt(receipt(turn, message, ReceiptWord::Reseal, None, key));
    turn.send(to, class, frame);
}

fn receipt(
    turn: &Turn<'_>,
    message: MessageId,
    word: ReceiptWord,
    reason: Option<RefusalReason>,
    sealing_key: Option<SealingKeyId>,
) -> Receipt {
    let (member, node, at) = (turn.own.member.clone(), turn.own.node, turn.now);
    Receipt { message, member, node, word, at, reason, sealing_key }
}
