//! Node keys as libp2p peer ids and back: the only place where the two meet.
//!
//! A peer id of an Ed25519 key is that key itself under the identity multihash, so nothing is looked up.

use ed25519_dalek::SigningKey;
use libp2p::{
    PeerId,
    identity::{Keypair, PublicKey, ed25519},
};
use refpoint_protocol::ids::NodeKey;

/// The libp2p key pair of a node's signing key.
///
/// # Errors
/// Never for a signing key; libp2p's own constructor is fallible.
pub(super) fn keypair(signing: &SigningKey) -> Result<Keypair, libp2p::identity::DecodingError> {
    // libp2p zeroises the bytes that it is handed.
    Keypair::ed25519_from_bytes(signing.to_bytes())
}

/// The peer id of a node key; `None` if the bytes are no point of the curve.
pub(super) fn peer_id(node: NodeKey) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The node key of a peer id; `None` for another kind of key.
pub(super) fn node_key(peer: &PeerId) -> Option<NodeKey> {
    let multihash = peer.as_ref();
    if multihash.code() != IDENTITY_MULTIHASH {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(multihash.digest()).ok()?.try_into_ed25519().ok()?;
    Some(NodeKey::from_bytes(key.to_bytes()))
}

/// The multihash code of bytes that are their own hash.
const IDENTITY_MULTIHASH: u64 = 0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_node_key_and_its_peer_id_name_each_other() {
        let signing = SigningKey::from_bytes(&[7; 32]);
        let node = NodeKey::from_bytes(signing.verifying_key().to_bytes());
        let peer = keypair(&signing).unwrap().public().to_peer_id();
        assert_eq!(peer_id(node), Some(peer));
        assert_eq!(node_key(&peer), Some(node));
    }

    #[test]
    fn a_peer_id_of_another_kind_has_no_node_key() {
        assert_eq!(node_key(&PeerId::random()), None);
    }
}
