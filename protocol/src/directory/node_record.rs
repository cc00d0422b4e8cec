//! The body of a node record: where a node is reached and to which keys one seals for it.

use serde::{Deserialize, Serialize};

use crate::{ids::SealingKeyId, time::Timestamp};

/// What a node publishes of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// 16 random bytes, so that the body's hash tells nothing.
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 16],
    /// Addresses as the operator configured them, `host:port` each; none if the node can only dial out.
    pub addresses: Vec<String>,
    /// The sealing keys, oldest first: the current one, and its successor when it is near.
    pub sealing_keys: Vec<SealingKeyEntry>,
    /// Document kinds and versions that the node reads.
    pub reads: Vec<ReadableKind>,
    /// Wire versions that the node speaks, ascending.
    pub wire: Vec<u64>,
    /// The program and its version, for people.
    pub software: String,
}

/// One sealing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealingKeyEntry {
    /// The HPKE KEM: 0x647A, X-Wing.
    pub kem: u64,
    /// The public key, 1,216 bytes for X-Wing.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// From when it is used.
    pub from: Timestamp,
    /// Until when it is used, if there is a newer one.
    pub until: Timestamp,
}

/// One document kind that a node reads, with its highest version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReadableKind {
    /// The kind's name.
    pub kind: String,
    /// The highest version that is read.
    pub version: u64,
}

impl SealingKeyEntry {
    /// The HPKE KEM identifier of X-Wing.
    pub const X_WING: u64 = 0x647A;
    /// Bytes of an X-Wing public key.
    pub const X_WING_KEY_BYTES: usize = 1_216;

    /// The name of this key: SHA-256 of its bytes.
    #[must_use]
    pub fn id(&self) -> SealingKeyId {
        Self::id_of(&self.key)
    }

    /// The name of the key with these public bytes.
    #[must_use]
    pub fn id_of(key: &[u8]) -> SealingKeyId {
        use sha2::{Digest, Sha256};
        SealingKeyId::from_bytes(Sha256::digest(key).into())
    }
}
