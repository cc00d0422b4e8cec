//! Which other members' nodes keep a parcel while its recipient is out of reach.
//!
//! Up to [`CUSTODIANS_MAX`] reachable nodes of other members are asked, in different working groups where there
//! are any; never the recipient's own member, never this one. What a custodian says is its word about its own
//! disk and no delivery; the content stays here all the same.

mod choice;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Outbox,
    entry::{Asked, Entry, Progress},
};
use crate::{
    document::{Envelope, Verified, encode},
    ids::{MessageId, NodeKey, SealingKeyId},
    limits::{
        CUSTODIAN_REST, CUSTODIANS_MAX, CUSTODY_AFTER, CUSTODY_AFTER_URGENT, CUSTODY_AGAIN,
        CUSTODY_IN_FLIGHT_BYTES_MAX, CUSTODY_IN_FLIGHT_MAX,
    },
    message::header::Precedence,
    relay::{
        event::RelayEvent,
        exchange::{Outgoing, RelayFault, Ticket},
        lane::{Bounds, Window},
        parcel::Parcel,
        receipt::{Receipt, ReceiptWord, RefusalReason},
        retry::{Timer, receipt_wait},
        rows::{CustodianRow, KeyLostRow, custody_receipt_key},
        sealing::SealError,
        turn::{Turn, change},
    },
    storage::{Change, Table},
    time::Timestamp,
};

/// What the outbox remembers of custodians, beside each message's own row.
#[derive(Default)]
pub(super) struct Custodians {
    /// Parcels that are handed to a custodian and not answered yet.
    windows: BTreeMap<NodeKey, Window<(MessageId, NodeKey)>>,
    /// Parcels being sealed for custodians.
    sealing: BTreeMap<Ticket, Round>,
    /// Parcels that have fewer custodians than they should: looked at when a node connects.
    lacking: BTreeSet<(Reverse<Precedence>, Timestamp, MessageId, NodeKey)>,
    /// Since when nodes that are custodians are away.
    away: BTreeMap<NodeKey, Timestamp>,
}

struct Round {
    message: MessageId,
    node: NodeKey,
    custodians: Vec<NodeKey>,
}

impl Outbox {
    /// Arms the look for custodians: when the recipient stays out of reach for a while.
    pub(super) fn watch(&mut self, turn: &mut Turn<'_>, message: MessageId, node: NodeKey) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let wait = patience(entry.row.precedence);
        if entry.targets.get(&node).is_some_and(|target| target.look_at.is_none()) {
            look_again(entry, turn, message, node, turn.now.after(wait));
        }
    }

    /// It is time to see whether a parcel needs custodians.
    pub(super) fn on_custody_timer(
        &mut self,
        turn: &mut Turn<'_>,
        at: Timestamp,
        message: MessageId,
        node: NodeKey,
    ) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let Some(target) = entry.targets.get_mut(&node).filter(|target| target.look_at == Some(at)) else {
            return;
        };
        target.look_at = None;
        if !entry.is_open() || entry.answer(&node).is_some() {
            return;
        }
        let Some(target) = entry.targets.get(&node) else { return };
        let reachable = self.peers.get(&node).is_some_and(|peer| peer.connected)
            // One that refuses for now answers; one that leaves a parcel unanswered does not.
            && !(matches!(target.progress, Progress::Resting(_)) && target.refused.is_none());
        let wait = if reachable || target.progress == Progress::Done {
            patience(entry.row.precedence)
        } else {
            CUSTODY_AGAIN
        };
        look_again(entry, turn, message, node, turn.now.after(wait));
        if !reachable {
            self.ask_custodians(turn, message, node);
        }
    }

    /// A node connected: parcels that lack custodians look at it.
    pub(super) fn on_custodian_connected(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        self.custodians.away.remove(&node);
        let lacking: Vec<_> = self.custodians.lacking.iter().take(LOOKS_MAX).copied().collect();
        for (.., message, target) in lacking {
            self.ask_custodians(turn, message, target);
        }
    }

    /// A node is gone: what it was handed and did not answer is handed to it again, or to others.
    pub(super) fn on_custodian_disconnected(&mut self, turn: &mut Turn<'_>, custodian: NodeKey) {
        self.custodians.away.insert(custodian, turn.now);
        while self.custodians.away.len() > AWAY_MAX {
            let longest = self.custodians.away.iter().min_by_key(|(_, since)| **since).map(|(node, _)| *node);
            longest.and_then(|node| self.custodians.away.remove(&node));
        }
        let Some(window) = self.custodians.windows.remove(&custodian) else { return };
        for (message, node) in window.keys() {
            if let Some(target) = self.target_mut(message, node) {
                target.asked.remove(&custodian);
            }
            self.mark_lacking(message, node);
        }
    }

    /// A parcel could not be handed to a custodian's connection.
    pub(super) fn on_custody_send_failed(
        &mut self,
        turn: &mut Turn<'_>,
        custodian: NodeKey,
        message: MessageId,
    ) {
        let keys = self.custodians.windows.get(&custodian).map(Window::keys).unwrap_or_default();
        for (_, node) in keys.into_iter().filter(|(handed, _)| *handed == message) {
            let again = Some(turn.now.after(CUSTODY_AGAIN));
            self.decline(message, node, custodian, again, None);
        }
    }

    /// A parcel is sealed for custodians, or could not be. Returns whether the ticket was one of theirs.
    pub(super) fn on_sealed_for_custodians(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        result: &Result<Box<Parcel>, SealError>,
    ) -> bool {
        let Some(Round { message, node, custodians }) = self.custodians.sealing.remove(&ticket) else {
            return false;
        };
        let open = self.entries.get(&message).is_some_and(|it| it.is_open() && it.answer(&node).is_none());
        let write = self.entries.get(&message).and_then(|it| it.write);
        for custodian in custodians {
            let still =
                self.progress_of(&message, &node, &custodian).is_some() && self.is_connected(&custodian);
            match result {
                Ok(parcel) if open && still => {
                    let until = turn.now.after(receipt_wait(parcel.ciphertext.len()));
                    self.set_asked(message, node, custodian, Asked::Handed(until));
                    if let Some(target) = self.target_mut(message, node) {
                        target.sealed_for_custodians(parcel.sealing_key);
                    }
                    turn.send_after(custodian, parcel.label.class, Outgoing::Parcel(parcel.clone()), write);
                }
                Ok(_) | Err(_) => self.unask(message, node, custodian),
            }
        }
        true
    }

    /// A custodian says that it keeps a parcel, or not.
    pub(super) fn on_custodian_word(
        &mut self,
        turn: &mut Turn<'_>,
        custodian: NodeKey,
        verified: &Verified<Receipt>,
    ) {
        let receipt = verified.payload();
        let Receipt { message, node, .. } = *receipt;
        let honest = turn.member_of(&custodian) == Some(&receipt.member);
        let asked = self.progress_of(&message, &node, &custodian).is_some()
            || self.is_custodian(&message, &node, &custodian);
        if !honest || !asked {
            return turn.fault(custodian, RelayFault::CustodyUnknown(message));
        }
        match receipt.word {
            ReceiptWord::Custody => self.on_custody(turn, custodian, receipt, verified.envelope()),
            ReceiptWord::Refused => {
                let reason = receipt.reason.unwrap_or(RefusalReason::Invalid);
                let target = self.target_mut(message, node);
                let rest = target.and_then(|target| target.rest_after(custodian, reason));
                let until = rest.map(|rest| turn.now.after(rest));
                self.on_custody_over(turn, custodian, receipt, reason, until);
            }
            ReceiptWord::Delivered | ReceiptWord::Reseal => {}
        }
        self.look_for_lacking(turn);
    }

    /// The recipient's own word, borne by a custodian, that the kept parcel is of no use there.
    pub(super) fn on_borne_refusal(
        &mut self,
        turn: &mut Turn<'_>,
        custodian: NodeKey,
        verified: &Verified<Receipt>,
    ) {
        let receipt = verified.payload();
        let Receipt { message, node, word, .. } = *receipt;
        if !self.entries.contains_key(&message) {
            // An answer to what is not known here would be answered for the same reason, and so without end.
            return turn.fault(custodian, RelayFault::ReceiptUnknown(message));
        }
        if word == ReceiptWord::Refused {
            // So the custodian knows that it was heard.
            turn.send_borne(custodian, self.class_of(&message), verified.envelope());
        }
        let asked = self.progress_of(&message, &node, &custodian).is_some();
        if !asked && !self.is_custodian(&message, &node, &custodian) {
            return turn.fault(custodian, RelayFault::ReceiptBearer(message));
        }
        match word {
            // A custodian may have damaged what it kept: this ends its custody, never the message.
            ReceiptWord::Refused => {
                let reason = receipt.reason.unwrap_or(RefusalReason::Invalid);
                self.on_custody_over(turn, custodian, receipt, reason, None);
            }
            ReceiptWord::Reseal => self.on_borne_reseal(turn, custodian, receipt),
            ReceiptWord::Custody | ReceiptWord::Delivered => {}
        }
        self.ask_custodians(turn, message, node);
    }

    /// What a node said for good is handed to its message's custodians: they keep the parcel no longer.
    pub(super) fn release_custodians(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        node: NodeKey,
        from: NodeKey,
        envelope: &Envelope,
    ) {
        self.stop_watching(turn, message, node);
        let Some(entry) = self.entries.get(&message) else { return };
        let class = entry.row.precedence.class();
        let custodians = entry.row.custodians.iter().filter(|row| row.node == node).map(|row| row.custodian);
        let custodians: BTreeSet<NodeKey> =
            custodians.filter(|it| *it != from && self.is_connected(it)).collect();
        for custodian in custodians {
            turn.send_borne(custodian, class, envelope);
        }
    }

    /// Nothing more is looked for or handed over for this node.
    pub(super) fn stop_watching(&mut self, turn: &mut Turn<'_>, message: MessageId, node: NodeKey) {
        if let Some(entry) = self.entries.get_mut(&message) {
            self.custodians.forget(turn, entry, message, node);
        }
    }

    fn on_custody(
        &mut self,
        turn: &mut Turn<'_>,
        custodian: NodeKey,
        receipt: &Receipt,
        envelope: &Envelope,
    ) {
        let Receipt { message, node, ref member, at, .. } = *receipt;
        self.custodians.land(custodian, message, node);
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let Some(target) = entry.targets.get_mut(&node) else { return };
        if target.asked.remove(&custodian).is_none() {
            return;
        }
        let (Some(key), to) = (target.custody_key, target.member.clone()) else { return };
        let row = CustodianRow { node, custodian, member: member.clone(), key, at };
        entry.row.custodians.retain(|known| known.node != node || known.custodian != custodian);
        entry.row.custodians.push(row);
        let mut changes: Vec<Change> = entry.stored(message).into_iter().collect();
        let stored = encode(envelope);
        let key = custody_receipt_key(message, node, custodian);
        changes.extend(change(stored.map(|bytes| Change::put(Table::Receipts, key, bytes))));
        turn.persist(changes);
        let (held, asked) = entry.custody_of(&node);
        let step = entry.step(message, &to, node);
        let custodian_member = member.clone();
        turn.emit(RelayEvent::MessageInCustody { step, custodian, custodian_member, held, asked });
        self.mark_lacking(message, node);
    }

    fn on_custody_over(
        &mut self,
        turn: &mut Turn<'_>,
        custodian: NodeKey,
        receipt: &Receipt,
        reason: RefusalReason,
        until: Option<Timestamp>,
    ) {
        let Receipt { message, node, .. } = *receipt;
        self.end_custody(turn, message, node, custodian);
        self.decline(message, node, custodian, until, None);
        let Some(entry) = self.entries.get(&message) else { return };
        let Some(target) = entry.targets.get(&node) else { return };
        let step = entry.step(message, &target.member, node);
        let custodian_member = turn.member_of(&custodian).unwrap_or(&receipt.member).clone();
        turn.emit(RelayEvent::CustodyRefused { step, custodian, custodian_member, reason });
    }

    /// The kept parcel does not open: it is sealed anew for that custodian once there is another key, or after a
    /// pause in which the directory may catch up.
    fn on_borne_reseal(&mut self, turn: &mut Turn<'_>, custodian: NodeKey, receipt: &Receipt) {
        let Receipt { message, node, ref member, .. } = *receipt;
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let known = entry.answer(&node).is_some() || entry.row.key_lost.iter().any(|lost| lost.node == node);
        if entry.row.expired && !known {
            entry.row.key_lost.push(KeyLostRow { node, member: member.clone() });
            turn.persist(entry.stored(message).into_iter().collect());
        }
        let known = entry.row.custodians.iter().find(|row| row.node == node && row.custodian == custodian);
        let key = known.map(|row| row.key);
        let bearer = turn.member_of(&custodian).cloned();
        if let (Some(target), Some(bearer)) = (entry.targets.get_mut(&node), bearer)
            && key.is_some_and(|key| target.custody_key == Some(key))
        {
            target.borne_reseals.insert(bearer, turn.now);
        }
        self.end_custody(turn, message, node, custodian);
        self.decline(message, node, custodian, Some(turn.now.after(CUSTODIAN_REST)), key);
    }

    /// A custodian's word holds no more.
    fn end_custody(&mut self, turn: &mut Turn<'_>, message: MessageId, node: NodeKey, custodian: NodeKey) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let before = entry.row.custodians.len();
        entry.row.custodians.retain(|row| row.node != node || row.custodian != custodian);
        if entry.row.custodians.len() != before {
            let key = custody_receipt_key(message, node, custodian);
            let mut changes = vec![Change::delete(Table::Receipts, key)];
            changes.extend(entry.stored(message));
            turn.persist(changes);
        }
    }

    fn look_for_lacking(&mut self, turn: &mut Turn<'_>) {
        let lacking: Vec<_> = self.custodians.lacking.iter().take(LOOKS_AT_ONCE_MAX).copied().collect();
        for (.., message, node) in lacking {
            self.ask_custodians(turn, message, node);
        }
    }

    /// Keeps in step whether a parcel has fewer custodians than it should.
    fn mark_lacking(&mut self, message: MessageId, node: NodeKey) {
        let Some(entry) = self.entries.get(&message) else { return };
        let key = lacking_key(entry, message, node);
        let (_, asked) = entry.custody_of(&node);
        if entry.wants_custodians(&node) && asked < CUSTODIANS_MAX {
            self.custodians.lacking.insert(key);
        } else {
            self.custodians.lacking.remove(&key);
        }
    }

    fn decline(
        &mut self,
        message: MessageId,
        node: NodeKey,
        custodian: NodeKey,
        until: Option<Timestamp>,
        key: Option<SealingKeyId>,
    ) {
        self.custodians.land(custodian, message, node);
        self.set_asked(message, node, custodian, Asked::Declined { until, key });
        self.mark_lacking(message, node);
    }

    fn unask(&mut self, message: MessageId, node: NodeKey, custodian: NodeKey) {
        self.custodians.land(custodian, message, node);
        if let Some(target) = self.target_mut(message, node) {
            target.asked.remove(&custodian);
        }
        self.mark_lacking(message, node);
    }

    fn set_asked(&mut self, message: MessageId, node: NodeKey, custodian: NodeKey, asked: Asked) {
        if let Some(target) = self.target_mut(message, node) {
            target.asked.insert(custodian, asked);
        }
    }

    /// Whether a parcel is on its way to a custodian.
    fn progress_of(&self, message: &MessageId, node: &NodeKey, custodian: &NodeKey) -> Option<Timestamp> {
        match self.target(message, node)?.asked.get(custodian)? {
            Asked::Handed(until) => Some(*until),
            Asked::Declined { .. } => None,
        }
    }

    fn is_custodian(&self, message: &MessageId, node: &NodeKey, custodian: &NodeKey) -> bool {
        self.entries.get(message).is_some_and(|entry| {
            entry.row.custodians.iter().any(|row| row.node == *node && row.custodian == *custodian)
        })
    }

    pub(super) fn class_of(&self, message: &MessageId) -> crate::relay::parcel::Class {
        let precedence = self.entries.get(message).map(|entry| entry.row.precedence);
        precedence.unwrap_or(Precedence::Routine).class()
    }
}

impl Custodians {
    fn window(&mut self, custodian: NodeKey) -> &mut Window<(MessageId, NodeKey)> {
        let bounds = Bounds { count: CUSTODY_IN_FLIGHT_MAX, bytes: CUSTODY_IN_FLIGHT_BYTES_MAX };
        self.windows.entry(custodian).or_insert_with(|| Window::new(bounds))
    }

    /// Nothing more is looked for or handed over for a node.
    pub(super) fn forget(
        &mut self,
        turn: &mut Turn<'_>,
        entry: &mut Entry,
        message: MessageId,
        node: NodeKey,
    ) {
        self.lacking.remove(&lacking_key(entry, message, node));
        let Some(target) = entry.targets.get_mut(&node) else { return };
        if let Some(at) = target.look_at.take() {
            turn.timers.clear(at, Timer::Custody(message, node));
        }
        for custodian in std::mem::take(&mut target.asked).into_keys() {
            self.land(custodian, message, node);
        }
    }

    fn land(&mut self, custodian: NodeKey, message: MessageId, node: NodeKey) {
        if let Some(window) = self.windows.get_mut(&custodian) {
            window.land(&(message, node));
            if window.is_empty() {
                self.windows.remove(&custodian);
            }
        }
    }
}

impl Entry {
    /// Whether a parcel for this node is to be kept by others while it is out of reach. Where a person of its member's
    /// already spoke of the message there is no haste, and what was said is to be there before it.
    pub(super) fn wants_custodians(&self, node: &NodeKey) -> bool {
        let spoken =
            self.targets.get(node).is_some_and(|target| self.said_by(&target.member).next().is_some());
        self.is_open() && self.answer(node).is_none() && !spoken
    }

    /// How many nodes keep a parcel for this one, and how many were asked.
    pub(in crate::relay) fn custody_of(&self, node: &NodeKey) -> (usize, usize) {
        let held = self.row.custodians.iter().filter(|row| row.node == *node).count();
        let asked = self.targets.get(node).map_or(0, |target| {
            target.asked.values().filter(|asked| matches!(asked, Asked::Handed(_))).count()
        });
        (held, held + asked)
    }
}

/// How long the recipient may be out of reach.
const fn patience(precedence: Precedence) -> Duration {
    match precedence {
        Precedence::Flash | Precedence::Immediate => CUSTODY_AFTER_URGENT,
        Precedence::Priority | Precedence::Routine => CUSTODY_AFTER,
    }
}

fn look_again(entry: &mut Entry, turn: &mut Turn<'_>, message: MessageId, node: NodeKey, at: Timestamp) {
    if let Some(target) = entry.targets.get_mut(&node) {
        target.look_at = Some(at);
        turn.timers.set(at, Timer::Custody(message, node));
    }
}

fn lacking_key(
    entry: &Entry,
    message: MessageId,
    node: NodeKey,
) -> (Reverse<Precedence>, Timestamp, MessageId, NodeKey) {
    (Reverse(entry.row.precedence), entry.row.created, message, node)
}

/// Parcels looked at when a node connects: the rest have their own timers.
const LOOKS_MAX: usize = 128;

/// Parcels looked at when a custodian answers.
const LOOKS_AT_ONCE_MAX: usize = 8;

/// Nodes whose absence is remembered.
const AWAY_MAX: usize = 2 * crate::limits::CONNECTED_NODES_MAX;
