//! One node as the outbox sees it: what waits for it, what rests, and what it holds.

use std::collections::BTreeSet;

use crate::{
    ids::MessageId,
    limits::{IN_FLIGHT_BYTES_PER_PEER_MAX, IN_FLIGHT_PER_PEER_MAX},
    relay::lane::{Bounds, Lane, Place},
    time::Timestamp,
};

/// One node as the outbox sees it.
pub(super) struct Peer {
    pub(super) connected: bool,
    /// Parcels for it.
    pub(super) lane: Lane<MessageId, ()>,
    /// Messages in back-off, to be tried at once when the node connects.
    pub(super) resting: BTreeSet<MessageId>,
    /// Messages whose content is kept and which the node holds: what is offered to it.
    pub(super) kept: BTreeSet<MessageId>,
    /// Messages sent anew since the last offer because the node lacked them: once each.
    pub(super) repeated: BTreeSet<MessageId>,
}

impl Default for Peer {
    fn default() -> Self {
        let bounds = Bounds { count: IN_FLIGHT_PER_PEER_MAX, bytes: IN_FLIGHT_BYTES_PER_PEER_MAX };
        Self {
            connected: false,
            lane: Lane::new(bounds),
            resting: BTreeSet::new(),
            kept: BTreeSet::new(),
            repeated: BTreeSet::new(),
        }
    }
}

impl Peer {
    /// Takes the next message to be sent, and counts it as on its way; nothing goes to a node that is away.
    pub(super) fn take_next(&mut self) -> Option<Place<MessageId, ()>> {
        if self.connected { self.lane.take_next() } else { None }
    }

    /// Takes a message out of queue, window and rest.
    pub(super) fn remove(&mut self, message: MessageId, created: Timestamp) {
        self.lane.remove(message, created);
        self.resting.remove(&message);
    }

    /// Whether nothing would be lost by forgetting the node.
    pub(super) fn is_idle(&self) -> bool {
        !self.connected && self.lane.is_empty() && self.resting.is_empty() && self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header::Precedence;

    #[test]
    fn nothing_goes_to_a_node_that_is_away() {
        let mut peer = Peer::default();
        let key = MessageId::from_bytes([1; 32]);
        let since = Timestamp::from_millis(1);
        peer.lane.queue(Place { key, precedence: Precedence::Flash, owner: (), since, size: 512 });
        assert!(peer.take_next().is_none() && !peer.is_idle());
        peer.connected = true;
        assert!(peer.take_next().is_some());
        peer.lane.land(&key);
        peer.connected = false;
        assert!(peer.is_idle());
    }
}
