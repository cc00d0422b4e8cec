//! A chain header's payload, and the body that travels beside it.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ContentHash, DocumentId, KeySetId, MemberCode, NodeKey, Sequence},
    time::Timestamp,
};

/// One header of a node's chain. The envelope's kind (`node-record`, `reference-point`) says of which.
///
/// A chain belongs to one node key, one kind and one key set. The body can be erased everywhere; the
/// header stays as proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The member whose node it is.
    pub member: MemberCode,
    /// The node key, which signs.
    pub node: NodeKey,
    /// The key set that lists the node key.
    pub key_set: KeySetId,
    /// The place in the chain, from 0.
    pub sequence: Sequence,
    /// The header before; at sequence 0 the key set.
    pub predecessor: DocumentId,
    /// When the node signed it.
    pub issued: Timestamp,
    /// Until when it should count as fresh.
    pub fresh_until: Timestamp,
    /// SHA-256 of the body's bytes; a renewal without change names the same.
    pub body: ContentHash,
    /// Bytes of the body.
    pub length: u64,
}

/// Names a chain: (node key, kind, key set) is unique, the member follows from the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainKey {
    /// The node key.
    pub node: NodeKey,
    /// The key set.
    pub key_set: KeySetId,
    /// Which of the node's two chains.
    pub kind: ChainKind,
}

/// The two chains of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChainKind {
    /// Addresses, sealing keys, what the node reads.
    NodeRecord,
    /// The member's directory entry.
    ReferencePoint,
}
