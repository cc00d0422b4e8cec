//! What this node keeps for others: parcels for nodes that are away, which it cannot read.
//!
//! A parcel is durable here before its `custody` is signed; it is handed over at once when its recipient is
//! connected, and dropped on that node's own signed `delivered`, or when it expires. What the recipient answered
//! is passed back to whoever handed the parcel over, until that node hands the same receipt here in turn. It
//! refuses what exceeds a member's share, and is believed by nobody about delivery: only the recipient's own
//! signature is.

mod answers;
mod hand_over;
mod intake;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    book::{Book, MemberStatus},
    event::{CustodyEnd, RelayEvent},
    exchange::{Outgoing, Ticket},
    lane::{Bounds, Lane, Place},
    parcel::Class,
    rate::ClassRates,
    receipt::{Receipt, ReceiptWord, RefusalReason},
    retry::{Timer, doubled},
    rows::{CustodyKey, CustodyRow, encode_row},
    turn::{Turn, change},
};
use crate::{
    ids::{MemberCode, MessageId, NodeKey},
    limits::{
        CUSTODY_ANSWER_KEPT, HAND_OVER_IN_FLIGHT_BYTES_MAX, HAND_OVER_IN_FLIGHT_MAX, RETRY_MAX,
        UNOPENED_PAUSE_MAX,
    },
    message::header::Precedence,
    storage::{Change, Table},
    time::Timestamp,
};

/// Everything that this node keeps for others.
#[derive(Default)]
pub(super) struct Custody {
    kept: BTreeMap<CustodyKey, Kept>,
    /// The nodes that handed a message's parcel for a node over.
    handers: BTreeMap<(MessageId, NodeKey), BTreeSet<NodeKey>>,
    /// What has an answer to be passed back.
    answered: BTreeSet<CustodyKey>,
    /// What was passed back on this connection and not echoed yet.
    passed: BTreeSet<CustodyKey>,
    /// Nodes that an echo is awaited from: one timer each.
    awaiting: BTreeSet<NodeKey>,
    lanes: BTreeMap<NodeKey, Lane<CustodyKey, MemberCode>>,
    /// Parcels that a recipient out of reach left resting, by recipient: tried at once when it connects.
    resting: BTreeMap<NodeKey, BTreeSet<CustodyKey>>,
    loading: BTreeMap<Ticket, CustodyKey>,
    connected: BTreeSet<NodeKey>,
    shares: BTreeMap<MemberCode, Share>,
    bytes: u64,
    rates: ClassRates,
    /// Of hand-overs after the first on a connection, by recipient: what a member handed here uses up no recipient's
    /// time for others.
    repeats: BTreeMap<NodeKey, ClassRates>,
    /// Parcels that are gone and were handed over without an answer: until when that may still come.
    strays: BTreeMap<(MessageId, NodeKey), Timestamp>,
}

/// One parcel in custody, or the answer that it got.
pub(super) struct Kept {
    pub(super) row: CustodyRow,
    progress: Progress,
    attempts: u32,
    /// Whether it was handed over since its recipient connected.
    handed: bool,
    /// Times that it was handed over, less the answers to it.
    unanswered: u32,
    /// Times that its recipient could not open it.
    unopened: u32,
    unreadable: u32,
    /// When its expiry and its forgetting are due: later than its row says, while the clock is not to be trusted.
    expiry_due: Timestamp,
    forget_due: Timestamp,
    /// The write that made it durable, in this run: a receipt rests on it.
    write: Option<Ticket>,
}

/// What one member has in custody here.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    all: Amount,
    /// Of it, what is urgent.
    urgent: Amount,
}

/// Parcels, or the answers that they got, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    rows: u64,
    bytes: u64,
}

impl Amount {
    const fn less(self, less: Self) -> Self {
        Self { rows: self.rows.saturating_sub(less.rows), bytes: self.bytes.saturating_sub(less.bytes) }
    }

    const fn more(self, more: Self) -> Self {
        Self { rows: self.rows.saturating_add(more.rows), bytes: self.bytes.saturating_add(more.bytes) }
    }

    const fn is_within(self, bound: Self) -> bool {
        self.rows <= bound.rows && self.bytes <= bound.bytes
    }
}

impl Share {
    const fn add(&mut self, class: Class, more: Amount) {
        self.all = self.all.more(more);
        if class.is_urgent() {
            self.urgent = self.urgent.more(more);
        }
    }

    const fn remove(&mut self, class: Class, less: Amount) {
        self.all = self.all.less(less);
        if class.is_urgent() {
            self.urgent = self.urgent.less(less);
        }
    }
}

/// Where a kept parcel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// In its recipient's queue.
    Waiting,
    /// Behind another node's parcel of the same message for the same node: an answer does not say to which of them it
    /// is, so only one is on its way.
    Behind,
    /// In back-off until then.
    Resting(Timestamp),
    /// Being read from the disk.
    Loading(Ticket),
    /// Handed to the recipient's connection, to be answered by then.
    Sent(Timestamp),
    /// Nothing to be handed over: answered.
    Done,
}

impl Progress {
    /// Whether its recipient has it, or is about to, and has not answered.
    const fn is_on_its_way(self) -> bool {
        matches!(self, Self::Loading(_) | Self::Sent(_))
    }
}

impl Kept {
    fn new(row: CustodyRow, write: Option<Ticket>) -> Self {
        Self {
            expiry_due: row.expires,
            forget_due: row.expires.after(CUSTODY_ANSWER_KEPT),
            row,
            progress: Progress::Done,
            attempts: 0,
            handed: false,
            unanswered: 0,
            unopened: 0,
            unreadable: 0,
            write,
        }
    }

    /// Whether the parcel itself is still here: one that could not be opened is, until it expires.
    pub(super) fn holds_parcel(&self) -> bool {
        self.row.answer.as_ref().is_none_or(|it| it.word == ReceiptWord::Reseal && self.row.size > 0)
    }

    /// Whether nobody can open it as it is: the recipient said so, or its member has put another node in its
    /// place. That the charter suspends a member says nothing of its keys.
    pub(super) fn is_key_lost(&self, key: &CustodyKey, book: &dyn Book) -> bool {
        let replaced = || {
            book.member_status(&self.row.member) == MemberStatus::Active
                && !book.active_nodes(&self.row.member).contains(&key.node)
        };
        self.holds_parcel() && (self.row.answer.is_some() || replaced())
    }

    /// How long it rests when its recipient could not open it once more.
    fn unopened_pause(&mut self) -> Duration {
        let pause = doubled(RETRY_MAX, self.unopened, UNOPENED_PAUSE_MAX);
        self.unopened = self.unopened.saturating_add(1);
        pause
    }

    /// Its place in its recipient's queue, where the members that handed something over go by turns.
    fn place(&self, key: CustodyKey) -> Place<CustodyKey, MemberCode> {
        // A custodian learns the class alone.
        let precedence = match self.row.class {
            Class::Urgent => Precedence::Flash,
            Class::Normal => Precedence::Routine,
        };
        let size = usize::try_from(self.row.size).unwrap_or(usize::MAX);
        Place { key, owner: self.row.by.clone(), precedence, since: self.row.since, size }
    }

    fn stored(&self, key: CustodyKey) -> Option<Change> {
        change(encode_row(&self.row).map(|row| Change::put(Table::Custody, key.to_bytes(), row)))
    }
}

impl Custody {
    pub(super) fn kept(&self) -> impl Iterator<Item = (&CustodyKey, &Kept)> {
        self.kept.iter()
    }

    /// Takes a stored row back after a start.
    pub(super) fn restore(&mut self, turn: &mut Turn<'_>, key: CustodyKey, row: CustodyRow) {
        let held = Kept::new(row, None);
        if held.row.answer.is_some() {
            self.answered.insert(key);
        }
        self.set_timers(turn, key, &held);
        let holds = held.holds_parcel();
        self.insert(key, held);
        if holds {
            self.queue(turn, key);
        }
    }

    pub(super) fn on_connected(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        self.connected.insert(node);
        for (_, kept) in self.kept.iter_mut().filter(|(key, _)| key.node == node) {
            kept.handed = false;
        }
        for key in self.resting.remove(&node).unwrap_or_default() {
            if let Some(kept) = self.kept.get_mut(&key) {
                kept.attempts = 0;
            }
            self.queue(turn, key);
        }
        self.pump(turn, node, None);
        self.pass_back_to(turn, node);
    }

    pub(super) fn on_disconnected(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        self.connected.remove(&node);
        self.repeats.remove(&node);
        let (first, last) = range_of(node);
        self.passed.retain(|key| *key < first || *key > last);
        let in_flight = self.lanes.get(&node).map(Lane::in_flight).unwrap_or_default();
        for key in in_flight {
            // What is still being read comes back by its ticket.
            if self.kept.get(&key).is_some_and(|kept| matches!(kept.progress, Progress::Sent(_))) {
                self.queue(turn, key);
            }
        }
    }

    /// A timer of custody's is due.
    pub(super) fn on_timer(&mut self, turn: &mut Turn<'_>, at: Timestamp, timer: Timer) {
        match timer {
            Timer::HandOver(key) => self.on_hand_over_timer(turn, at, key),
            Timer::CustodyExpires(key) => self.on_expiry(turn, key),
            Timer::ForgetAnswer(key) => self.on_forgetting(turn, key),
            Timer::PassBack(node) => self.on_pass_back_timer(turn, node),
            Timer::Retry(..)
            | Timer::Offer(_)
            | Timer::Custody(..)
            | Timer::Expire(_)
            | Timer::DropContent(_)
            | Timer::ForgetSent(_)
            | Timer::ForgetReceived(_)
            | Timer::DropHeld(_) => {}
        }
    }

    /// There was no room to store a parcel: it is not kept, and its sender hears why.
    pub(super) fn on_refused_write(&mut self, turn: &mut Turn<'_>, ticket: Ticket, key: CustodyKey) {
        let Some(kept) = self.kept.get(&key).filter(|kept| kept.write == Some(ticket)) else { return };
        let class = kept.row.class;
        self.remove(turn, key);
        refuse(turn, key, class, RefusalReason::NoRoom);
        self.pump(turn, key.node, None);
    }

    fn on_expiry(&mut self, turn: &mut Turn<'_>, key: CustodyKey) {
        let Some(kept) = self.kept.get_mut(&key).filter(|kept| kept.holds_parcel()) else { return };
        if !turn.book.applies_expiry() {
            kept.expiry_due = turn.look_again();
            return turn.timers.set(kept.expiry_due, Timer::CustodyExpires(key));
        }
        let lost = kept.is_key_lost(&key, turn.book);
        let why = if lost { CustodyEnd::KeyLost } else { CustodyEnd::Expired };
        let resealed = kept.row.answer.is_some();
        self.drop_parcel(turn, key, why);
        if !resealed {
            self.forget(turn, key);
        }
        self.pump(turn, key.node, None);
    }

    /// Its sender has not come for the answer in time. A clock that is not to be trusted ends nothing.
    fn on_forgetting(&mut self, turn: &mut Turn<'_>, key: CustodyKey) {
        let Some(kept) = self.kept.get_mut(&key) else { return };
        if !turn.book.applies_expiry() {
            kept.forget_due = turn.look_again();
            return turn.timers.set(kept.forget_due, Timer::ForgetAnswer(key));
        }
        // What was postponed may be due later than this, and says what became of the parcel.
        self.on_expiry(turn, key);
        self.forget(turn, key);
    }

    /// The parcel itself is kept no longer; an answer that waits for its sender stays.
    fn drop_parcel(&mut self, turn: &mut Turn<'_>, key: CustodyKey, why: CustodyEnd) {
        self.unqueue(turn, key);
        self.note_stray(turn, key);
        let Some(kept) = self.kept.get_mut(&key) else { return };
        kept.progress = Progress::Done;
        let dropped = Amount { rows: 0, bytes: std::mem::take(&mut kept.row.size) };
        self.bytes = self.bytes.saturating_sub(dropped.bytes);
        if let Some(share) = self.shares.get_mut(&kept.row.by) {
            share.remove(kept.row.class, dropped);
        }
        let (by, member) = (kept.row.by.clone(), kept.row.member.clone());
        let mut changes = vec![Change::delete(Table::CustodyParcels, key.to_bytes())];
        changes.extend(kept.stored(key));
        turn.persist(changes);
        let CustodyKey { message, node, .. } = key;
        turn.emit(RelayEvent::CustodyEnded { message, by, member, node, why });
    }

    /// Nothing of it is kept any longer.
    fn forget(&mut self, turn: &mut Turn<'_>, key: CustodyKey) {
        if self.remove(turn, key).is_some() {
            let changes = [Table::Custody, Table::CustodyParcels];
            turn.persist(changes.map(|table| Change::delete(table, key.to_bytes())).to_vec());
        }
    }

    fn insert(&mut self, key: CustodyKey, kept: Kept) {
        let share = self.shares.entry(kept.row.by.clone()).or_default();
        share.add(kept.row.class, Amount { rows: 1, bytes: kept.row.size });
        self.bytes += kept.row.size;
        self.handers.entry((key.message, key.node)).or_default().insert(key.hander);
        self.kept.insert(key, kept);
    }

    /// Takes it out of memory, with its timers.
    fn remove(&mut self, turn: &mut Turn<'_>, key: CustodyKey) -> Option<Kept> {
        self.unqueue(turn, key);
        self.note_stray(turn, key);
        let kept = self.kept.remove(&key)?;
        let Kept { row, .. } = &kept;
        turn.timers.clear(kept.expiry_due, Timer::CustodyExpires(key));
        turn.timers.clear(kept.forget_due, Timer::ForgetAnswer(key));
        self.bytes = self.bytes.saturating_sub(row.size);
        if let Some(share) = self.shares.get_mut(&row.by) {
            share.remove(row.class, Amount { rows: 1, bytes: row.size });
            if share.all.rows == 0 {
                self.shares.remove(&row.by);
            }
        }
        self.answered.remove(&key);
        self.passed.remove(&key);
        let parcel = (key.message, key.node);
        if let Some(handers) = self.handers.get_mut(&parcel) {
            handers.remove(&key.hander);
            if handers.is_empty() {
                self.handers.remove(&parcel);
            }
        }
        Some(kept)
    }

    fn set_timers(&self, turn: &mut Turn<'_>, key: CustodyKey, kept: &Kept) {
        if kept.holds_parcel() {
            turn.timers.set(kept.expiry_due, Timer::CustodyExpires(key));
        }
        turn.timers.set(kept.forget_due, Timer::ForgetAnswer(key));
    }

    /// Puts a parcel into its recipient's queue.
    fn enqueue(&mut self, key: CustodyKey) {
        let Some(kept) = self.kept.get_mut(&key) else { return };
        kept.progress = Progress::Waiting;
        let place = kept.place(key);
        self.lane(key.node).queue(place);
    }

    fn lane(&mut self, node: NodeKey) -> &mut Lane<CustodyKey, MemberCode> {
        let bounds = Bounds { count: HAND_OVER_IN_FLIGHT_MAX, bytes: HAND_OVER_IN_FLIGHT_BYTES_MAX };
        self.lanes.entry(node).or_insert_with(|| Lane::new(bounds))
    }
}

/// Answers `custody`, resting on the write that made it true.
fn confirm(turn: &mut Turn<'_>, key: CustodyKey, class: Class, after: Option<Ticket>) {
    let receipt = receipt(turn, key, ReceiptWord::Custody, None);
    let (to, frame) = (key.hander, Outgoing::Receipt(receipt));
    turn.effects.push(super::exchange::RelayEffect::Send { to, frame, class, after });
}

/// Tells whoever handed a parcel over that it is not kept.
fn refuse(turn: &mut Turn<'_>, key: CustodyKey, class: Class, reason: RefusalReason) {
    let receipt = receipt(turn, key, ReceiptWord::Refused, Some(reason));
    turn.send(key.hander, class, Outgoing::Receipt(receipt));
}

fn receipt(turn: &Turn<'_>, key: CustodyKey, word: ReceiptWord, reason: Option<RefusalReason>) -> Receipt {
    let (message, node, member, at) = (key.message, key.node, turn.own.member.clone(), turn.now);
    Receipt { message, member, node, word, at, reason, sealing_key: None }
}

/// The first and last key that a node can have handed over.
const fn range_of(hander: NodeKey) -> (CustodyKey, CustodyKey) {
    (
        CustodyKey { hander, message: MessageId::from_bytes([0; 32]), node: NodeKey::from_bytes([0; 32]) },
        CustodyKey {
            hander,
            message: MessageId::from_bytes([0xFF; 32]),
            node: NodeKey::from_bytes([0xFF; 32]),
        },
    )
}
