//! What this node receives: each message once, durable before it is confirmed.
//!
//! It owns the ids that were seen, the received messages and the parcels that are being opened or wait for
//! their signer's key set. A parcel that does not open, or is refused, leaves no trace under its message's id.

mod accept;
mod opening;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use opening::{Held, Opening};

use super::{
    exchange::{Outgoing, Ticket},
    parcel::Class,
    rate::ClassRates,
    receipt::{Receipt, ReceiptWord, RefusalReason},
    retry::Timer,
    rows::{IdRow, InboxRow, statement_key},
    share::{ShareBounds, Shares},
    statements::Statements,
    turn::{Turn, Write},
};
use crate::{
    ids::{MemberCode, MessageId, NodeKey, SealingKeyId},
    limits::{
        INBOX_ROWS_MAX, INBOX_ROWS_PER_SENDER_MAX, INBOX_ROWS_PER_SENDER_MIN, MESSAGE_IDS_MAX,
        MESSAGE_IDS_PER_SENDER_MAX, MESSAGE_IDS_PER_SENDER_MIN,
    },
    storage::{Change, Table},
    time::Timestamp,
};

/// Everything that this node received.
#[derive(Default)]
pub(super) struct Inbox {
    /// Ids seen, and until when they are kept: what makes a message appear once.
    ids: BTreeMap<MessageId, Seen>,
    id_shares: Shares<SenderIndex>,
    senders: BTreeMap<MemberCode, SenderIndex>,
    rows: BTreeMap<MessageId, InboxRow>,
    row_shares: Shares<MemberCode>,
    /// Acknowledged messages of each sender, oldest first: the first to leave memory when it is full.
    settled: BTreeMap<MemberCode, BTreeSet<(Timestamp, MessageId)>>,
    opening: BTreeMap<Ticket, Opening>,
    /// Parcels being opened, by who handed them over.
    opening_from: BTreeSet<(NodeKey, MessageId)>,
    opening_bytes: usize,
    /// Parcels that each member may have opened, normal and urgent ones apart: no flood takes a flash message's
    /// turn.
    rates: ClassRates,
    held: BTreeMap<MessageId, Held>,
    held_shares: Shares<NodeKey>,
    held_bytes: Shares<NodeKey>,
}

/// A sender's number in this run: a million ids name it in two bytes.
type SenderIndex = u16;

/// An id that was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    until: Timestamp,
    /// The write that made it durable, in this run: a receipt rests on it.
    write: Option<Ticket>,
    /// Who counts for it; `None` while rows are being restored.
    sender: Option<SenderIndex>,
}

impl Inbox {
    pub(super) fn row(&self, message: &MessageId) -> Option<&InboxRow> {
        self.rows.get(message)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&MessageId, &InboxRow)> {
        self.rows.iter()
    }

    /// Whether a message or statement is here. One that is held may be a copy that nobody's signature makes good.
    pub(super) fn has(&self, message: &MessageId) -> bool {
        self.ids.contains_key(message)
    }

    pub(super) fn restore_id(&mut self, turn: &mut Turn<'_>, message: MessageId, row: IdRow) {
        self.ids.insert(message, Seen { until: row.until, write: None, sender: None });
        turn.timers.set(row.until, Timer::ForgetReceived(message));
    }

    pub(super) fn restore_row(&mut self, message: MessageId, row: InboxRow) {
        self.insert_row(message, row);
    }

    /// All rows are back: each id counts for its sender, and what does not fit in memory stays on the disk.
    pub(super) fn restored(&mut self, statements: &Statements) {
        let said = statements.all().map(|said| (said.id, said.row.member.clone()));
        let owned = self.rows.iter().map(|(message, row)| (*message, row.sender.clone())).chain(said);
        for (message, sender) in owned.collect::<Vec<_>>() {
            let sender = self.sender_index(&sender);
            if let Some(seen) = self.ids.get_mut(&message).filter(|seen| seen.sender.is_none()) {
                seen.sender = Some(sender);
                self.id_shares.add(&sender, 1);
            }
        }
        while self.rows.len() > INBOX_ROWS_MAX && self.drop_settled(None) {}
    }

    /// A person here, or at a sibling node, took a message: it may leave memory when that is full.
    pub(super) fn on_acknowledged(&mut self, message: MessageId) {
        if let Some(row) = self.rows.get(&message) {
            self.settled.entry(row.sender.clone()).or_default().insert((row.received, message));
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
        if let Some(seen) = self.remove_id(message) {
            turn.timers.clear(seen.until, Timer::ForgetReceived(message));
        }
        if !self.remove_row(message) {
            statements.remove(message);
        }
        refuse(turn, from, class, message, RefusalReason::NoRoom);
    }

    /// A timer of the inbox's is due.
    pub(super) fn on_timer(&mut self, turn: &mut Turn<'_>, timer: Timer, statements: &mut Statements) {
        match timer {
            // While the clock is not to be trusted, a parcel is never too late: its id is needed.
            Timer::ForgetReceived(message) if !turn.book.applies_expiry() => {
                turn.timers.set(turn.look_again(), Timer::ForgetReceived(message));
            }
            Timer::ForgetReceived(message) => self.forget(turn, message, statements),
            Timer::DropHeld(message) => drop(self.take_held(message)),
            Timer::Retry(..)
            | Timer::Offer(_)
            | Timer::Custody(..)
            | Timer::HandOver(_)
            | Timer::PassBack(_)
            | Timer::CustodyExpires(_)
            | Timer::ForgetAnswer(_)
            | Timer::Expire(_)
            | Timer::DropContent(_)
            | Timer::ForgetSent(_) => {}
        }
    }

    /// An id is not needed any more: with it goes the message, or a statement about a message that never came.
    fn forget(&mut self, turn: &mut Turn<'_>, message: MessageId, statements: &mut Statements) {
        if self.remove_id(message).is_none() {
            return;
        }
        self.remove_row(message);
        // Whether it was a message is not known once it left memory; deleting what is not there does no harm.
        let key = *message.as_bytes();
        let tables = [Table::MessageIds, Table::Inbox, Table::InboxContent];
        let mut changes: Vec<Change> = tables.into_iter().map(|table| Change::delete(table, key)).collect();
        let forgotten = statements.forget(message).into_iter().map(|id| (message, id));
        let orphan = statements.forget_orphan(message).map(|answers| (answers, message));
        let statements = forgotten.chain(orphan);
        changes.extend(
            statements.map(|(answers, id)| Change::delete(Table::Statements, statement_key(answers, id))),
        );
        turn.persist(changes);
    }

    /// Whether another id of this sender's would be kept. Ids never leave early: that would let a message appear
    /// twice.
    fn has_id_room(&mut self, sender: &MemberCode) -> bool {
        let sender = self.sender_index(sender);
        self.id_shares.has_room(IDS, &sender, 1)
    }

    /// Lets acknowledged messages leave memory when it is full, the sender's own when its share is; `false` if
    /// there is no room for another of this sender's.
    fn make_room(&mut self, sender: &MemberCode) -> bool {
        let own_settled = self.settled.get(sender).map_or(0, BTreeSet::len);
        let settled: usize = self.settled.values().map(BTreeSet::len).sum();
        // Nothing is put aside that would not make enough room.
        let could =
            self.row_shares.of(sender) - own_settled < ROWS.each && self.rows.len() - settled < ROWS.all;
        while could && !self.row_shares.has_room(ROWS, sender, 1) {
            let own = self.row_shares.of(sender) >= ROWS.each;
            if !self.drop_settled(own.then_some(sender)) {
                break;
            }
        }
        self.row_shares.has_room(ROWS, sender, 1)
    }

    /// Lets the oldest acknowledged message leave memory, of one sender or of all; `false` if there is none.
    fn drop_settled(&mut self, sender: Option<&MemberCode>) -> bool {
        let oldest = match sender {
            Some(sender) => self.settled.get(sender).and_then(BTreeSet::first),
            None => self.settled.values().filter_map(BTreeSet::first).min(),
        };
        oldest.copied().is_some_and(|(_, message)| self.remove_row(message))
    }

    fn insert_row(&mut self, message: MessageId, row: InboxRow) {
        self.row_shares.add(&row.sender, 1);
        self.rows.insert(message, row);
    }

    fn remove_row(&mut self, message: MessageId) -> bool {
        let Some(row) = self.rows.remove(&message) else { return false };
        self.row_shares.remove(&row.sender, 1);
        if let Some(settled) = self.settled.get_mut(&row.sender) {
            settled.remove(&(row.received, message));
            if settled.is_empty() {
                self.settled.remove(&row.sender);
            }
        }
        true
    }

    fn insert_id(&mut self, message: MessageId, until: Timestamp, write: Ticket, sender: &MemberCode) {
        let sender = self.sender_index(sender);
        self.id_shares.add(&sender, 1);
        self.ids.insert(message, Seen { until, write: Some(write), sender: Some(sender) });
    }

    fn remove_id(&mut self, message: MessageId) -> Option<Seen> {
        let seen = self.ids.remove(&message)?;
        if let Some(sender) = seen.sender {
            self.id_shares.remove(&sender, 1);
        }
        Some(seen)
    }

    fn take_held(&mut self, message: MessageId) -> Option<Held> {
        let held = self.held.remove(&message)?;
        self.held_shares.remove(&held.from, 1);
        self.held_bytes.remove(&held.from, held.bytes());
        Some(held)
    }

    /// Senders are members of charters: a few hundred in all the years.
    fn sender_index(&mut self, sender: &MemberCode) -> SenderIndex {
        if let Some(index) = self.senders.get(sender) {
            return *index;
        }
        let index = SenderIndex::try_from(self.senders.len()).unwrap_or(SenderIndex::MAX);
        self.senders.insert(sender.clone(), index);
        index
    }
}

/// Messages in memory, by sender.
const ROWS: ShareBounds =
    ShareBounds { all: INBOX_ROWS_MAX, each: INBOX_ROWS_PER_SENDER_MAX, floor: INBOX_ROWS_PER_SENDER_MIN };

/// Ids of messages and statements, by sender.
const IDS: ShareBounds =
    ShareBounds { all: MESSAGE_IDS_MAX, each: MESSAGE_IDS_PER_SENDER_MAX, floor: MESSAGE_IDS_PER_SENDER_MIN };

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
