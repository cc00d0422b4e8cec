//! From a parcel to an opened message: what is cheap to refuse is refused before the pool opens it.

use super::{Inbox, confirm, refuse, reseal};
use crate::{
    ids::{MessageId, NodeKey},
    limits::{EXPIRY_GRACE, INBOX_BURST, INBOX_INTERVAL, OPENING_BYTES_MAX, OPENING_PER_PEER_MAX},
    relay::{
        exchange::{Job, RelayEffect, RelayFault, Ticket},
        parcel::{Class, Parcel},
        receipt::RefusalReason,
        sealing::{OpenAnswer, OpenError, Opened},
        turn::Turn,
    },
    time::Timestamp,
};

/// A parcel that the pool is opening.
pub(super) struct Opening {
    pub(super) from: NodeKey,
    pub(super) message: MessageId,
    pub(super) class: Class,
    bytes: usize,
}

/// An opened message whose signer's key set is not held yet.
pub(super) struct Held {
    pub(super) from: NodeKey,
    pub(super) class: Class,
    pub(super) opened: Box<Opened>,
    pub(super) until: Timestamp,
}

impl Held {
    /// What it takes in memory: the row and the body.
    pub(super) fn bytes(&self) -> usize {
        2 * self.opened.row.len()
    }
}

impl Inbox {
    /// A parcel came: it is opened, or answered at once.
    pub(in crate::relay) fn on_parcel(&mut self, turn: &mut Turn<'_>, from: NodeKey, parcel: Box<Parcel>) {
        let (message, class, expires) = (parcel.label.message, parcel.label.class, parcel.label.expires);
        if parcel.label.member != turn.own.member {
            turn.fault(from, RelayFault::Parcel { message, error: OpenError::Elsewhere });
            return refuse(turn, from, class, message, RefusalReason::NotARecipient);
        }
        if let Some(seen) = self.ids.get(&message) {
            return confirm(turn, from, class, message, seen.write);
        }
        // The first one's answer serves both. A copy of one that is held may be signed by somebody who counts.
        if self.is_opening(from, message) {
            return;
        }
        if is_too_late(turn, expires) {
            turn.fault(from, RelayFault::TooLate(message));
            return refuse(turn, from, class, message, RefusalReason::Expired);
        }
        let bytes = parcel.ciphertext.len() + parcel.sealed.len();
        if !self.has_pool_room(from, class, bytes) || !self.is_in_time(turn, from, class) {
            return refuse(turn, from, class, message, RefusalReason::TooFast);
        }
        let ticket = turn.tickets.draw();
        self.opening.insert(ticket, Opening { from, message, class, bytes });
        self.opening_from.insert((from, message));
        self.opening_bytes += bytes;
        turn.effects.push(RelayEffect::Work(Job::Open { ticket, parcel }));
    }

    /// The pool is done with a parcel; `Some` if it opened.
    pub(in crate::relay) fn on_opened(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        result: Result<Box<Opened>, OpenError>,
    ) -> Option<(NodeKey, Class, Box<Opened>)> {
        let Opening { from, message, class, bytes } = self.opening.remove(&ticket)?;
        self.opening_from.remove(&(from, message));
        self.opening_bytes = self.opening_bytes.saturating_sub(bytes);
        match result {
            Ok(opened) => Some((from, class, opened)),
            Err(error) => {
                match error.answer() {
                    OpenAnswer::Reseal => reseal(turn, from, class, message),
                    OpenAnswer::Refused(reason) => refuse(turn, from, class, message, reason),
                }
                if error != OpenError::Busy {
                    turn.fault(from, RelayFault::Parcel { message, error });
                }
                None
            }
        }
    }

    /// Whether a parcel of this peer's is being opened: not here yet, and not lacking either.
    pub(in crate::relay) fn is_opening(&self, from: NodeKey, message: MessageId) -> bool {
        self.opening_from.contains(&(from, message))
    }

    /// Whether one more parcel is within the handing member's allowance, which it uses up.
    fn is_in_time(&mut self, turn: &Turn<'_>, from: NodeKey, class: Class) -> bool {
        let rates = self.rates.of(class);
        let allow = |member| rates.allow(member, 1, (INBOX_BURST, INBOX_INTERVAL), turn.now);
        turn.member_of(&from).is_none_or(allow)
    }

    /// Each peer has its share, and all together have theirs.
    fn has_pool_room(&self, from: NodeKey, class: Class, bytes: usize) -> bool {
        let part = |bound: usize| class.part_of(bound as u64);
        let (first, last) =
            ((from, MessageId::from_bytes([0; 32])), (from, MessageId::from_bytes([0xFF; 32])));
        (self.opening_from.range(first..=last).count() as u64) < part(OPENING_PER_PEER_MAX)
            && (self.opening_bytes + bytes) as u64 <= part(OPENING_BYTES_MAX)
    }
}

/// Whether a message is past its expiry and a day, by a clock that may judge it.
pub(super) fn is_too_late(turn: &Turn<'_>, expires: Timestamp) -> bool {
    turn.book.applies_expiry() && turn.now > expires.after(EXPIRY_GRACE)
}
