//! Counts the pieces of gossip that came in, copies included: what the mesh costs.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use libp2p::gossipsub::{DataTransform, IdentityTransform, Message, RawMessage, TopicHash};

/// The count, raised where gossipsub hands over each piece before it looks for copies. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies(Arc<AtomicU64>);

impl Copies {
    /// Pieces that came in since the start.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl DataTransform for Copies {
    fn inbound_transform(&self, piece: RawMessage) -> Result<Message, io::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        IdentityTransform.inbound_transform(piece)
    }

    fn outbound_transform(&self, topic: &TopicHash, data: Vec<u8>) -> Result<Vec<u8>, io::Error> {
        IdentityTransform.outbound_transform(topic, data)
    }
}
