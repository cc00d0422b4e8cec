//! What waits for one node, in which order it goes, and how much is on its way.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    ids::MessageId,
    limits::{AGEING_INTERVAL, IN_FLIGHT_BYTES_PER_PEER_MAX, IN_FLIGHT_PER_PEER_MAX, URGENT_RESERVE},
    message::header::Precedence,
    time::Timestamp,
};

/// The place of a message in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) message: MessageId,
    pub(super) precedence: Precedence,
    pub(super) created: Timestamp,
    pub(super) size: usize,
}

/// One node as the outbox sees it.
#[derive(Default)]
pub(super) struct Peer {
    pub(super) connected: bool,
    by_precedence: BTreeSet<(Reverse<Precedence>, Timestamp, MessageId)>,
    by_age: BTreeMap<(Timestamp, MessageId), Place>,
    in_flight: BTreeMap<MessageId, usize>,
    in_flight_bytes: usize,
    served: u64,
    /// Messages in back-off, to be tried at once when the node connects.
    pub(super) resting: BTreeSet<MessageId>,
    /// Messages whose content is kept and which the node holds: what is offered on connect.
    pub(super) kept: BTreeSet<MessageId>,
    /// Messages sent anew on this connection because the node lacked them: once each.
    pub(super) repeated: BTreeSet<MessageId>,
}

impl Peer {
    /// Puts a message in the queue; again has no effect.
    pub(super) fn queue(&mut self, place: Place) {
        self.by_precedence.insert((Reverse(place.precedence), place.created, place.message));
        self.by_age.insert((place.created, place.message), place);
    }

    /// Takes a message out of queue, flight and rest.
    pub(super) fn remove(&mut self, message: MessageId, created: Timestamp) {
        if let Some(place) = self.by_age.remove(&(created, message)) {
            self.by_precedence.remove(&(Reverse(place.precedence), created, message));
        }
        self.land(message);
        self.resting.remove(&message);
    }

    /// Takes the next message to be sent, and counts it as in flight; `None` if nothing waits or nothing fits.
    ///
    /// The most urgent goes first, the oldest of one precedence first; every [`AGEING_INTERVAL`]th time the
    /// oldest of all, so that nothing waits for ever behind what is more urgent.
    pub(super) fn take_next(&mut self) -> Option<Place> {
        if !self.connected {
            return None;
        }
        let aged = self.served % AGEING_INTERVAL == AGEING_INTERVAL - 1;
        let oldest = if aged { self.by_age.values().next().copied() } else { None };
        let urgent =
            self.by_precedence.first().and_then(|(_, created, id)| self.by_age.get(&(*created, *id)));
        // An old normal parcel that may not use the reserve does not hold up an urgent one.
        let place = [oldest, urgent.copied()].into_iter().flatten().find(|place| self.fits(*place))?;
        self.served += 1;
        self.remove(place.message, place.created);
        self.in_flight.insert(place.message, place.size);
        self.in_flight_bytes += place.size;
        Some(place)
    }

    /// Counts a message as no longer in flight.
    pub(super) fn land(&mut self, message: MessageId) {
        if let Some(size) = self.in_flight.remove(&message) {
            self.in_flight_bytes -= size;
        }
    }

    /// Ids of all that is in flight.
    pub(super) fn in_flight(&self) -> Vec<MessageId> {
        self.in_flight.keys().copied().collect()
    }

    /// Whether nothing would be lost by forgetting the node.
    pub(super) fn is_idle(&self) -> bool {
        !self.connected
            && self.by_age.is_empty()
            && self.in_flight.is_empty()
            && self.resting.is_empty()
            && self.kept.is_empty()
    }

    /// Normal parcels leave a reserve to urgent ones; one parcel is always allowed, however large.
    fn fits(&self, place: Place) -> bool {
        let share =
            |bound: usize| if place.precedence.is_urgent() { bound } else { bound - bound / URGENT_RESERVE };
        self.in_flight.is_empty()
            || (self.in_flight.len() < share(IN_FLIGHT_PER_PEER_MAX)
                && self.in_flight_bytes + place.size <= share(IN_FLIGHT_BYTES_PER_PEER_MAX))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn place(number: u16, precedence: Precedence) -> Place {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Place {
            message: MessageId::from_bytes(id),
            precedence,
            created: Timestamp::from_millis(number.into()),
            size: 512,
        }
    }

    fn connected() -> Peer {
        Peer { connected: true, ..Peer::default() }
    }

    #[test]
    fn urgent_goes_first_and_the_oldest_is_never_forgotten() {
        let mut peer = connected();
        (0..4).for_each(|n| peer.queue(place(n, Precedence::Routine)));
        (100..120).for_each(|n| peer.queue(place(n, Precedence::Flash)));
        let order: Vec<_> = std::iter::from_fn(|| peer.take_next()).map(|p| p.precedence).collect();
        assert_eq!(order.len(), 24);
        let routine: Vec<_> = (0..24).filter(|at| order[*at] == Precedence::Routine).collect();
        assert_eq!(routine, [7, 15, 22, 23], "each eighth, then what is left");
    }

    #[test]
    fn in_flight_is_bounded_and_urgent_has_a_reserve() {
        let mut peer = connected();
        (0..300).for_each(|n| peer.queue(place(n, Precedence::Routine)));
        let normal = std::iter::from_fn(|| peer.take_next()).count();
        assert_eq!(normal, IN_FLIGHT_PER_PEER_MAX - IN_FLIGHT_PER_PEER_MAX / URGENT_RESERVE);
        (300..600).for_each(|n| peer.queue(place(n, Precedence::Flash)));
        let mut urgent = 0;
        while let Some(place) = peer.take_next() {
            assert_eq!(place.precedence, Precedence::Flash);
            urgent += 1;
        }
        assert!(urgent > 0 && normal + urgent <= IN_FLIGHT_PER_PEER_MAX, "{urgent}");
        let landed = peer.in_flight()[0];
        peer.land(landed);
        assert!(peer.take_next().is_some());
    }

    #[test]
    fn one_large_parcel_always_goes_and_bytes_are_bounded() {
        let mut peer = connected();
        let large = |n| Place { size: 5 * 1024 * 1024, ..place(n, Precedence::Flash) };
        peer.queue(large(1));
        peer.queue(large(2));
        assert!(peer.take_next().is_some());
        assert!(peer.take_next().is_none(), "the second waits for the first");
        peer.land(large(1).message);
        assert!(peer.take_next().is_some());
    }

    #[test]
    fn nothing_goes_to_a_node_that_is_away_and_removal_leaves_nothing() {
        let mut peer = Peer::default();
        peer.queue(place(1, Precedence::Flash));
        peer.queue(place(1, Precedence::Flash));
        assert!(peer.take_next().is_none());
        assert!(!peer.is_idle());
        peer.remove(place(1, Precedence::Flash).message, Timestamp::from_millis(1));
        assert!(peer.is_idle());
    }
}
