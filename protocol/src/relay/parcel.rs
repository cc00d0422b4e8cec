//! A parcel: a message sealed for one node.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{MemberCode, MessageId, NodeKey, SealingKeyId},
    limits::URGENT_RESERVE,
    time::Timestamp,
};

/// A message on its way to one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// What a custodian may see; its hash is bound into the seal.
    pub label: Label,
    /// The sealing key that `sealed` is for.
    pub sealing_key: SealingKeyId,
    /// HPKE: `enc` (1,120 bytes for X-Wing), then the sealed header envelope and content key.
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
    /// The body, encrypted once for all recipients.
    #[serde(with = "serde_bytes")]
    pub ciphertext: Vec<u8>,
}

/// The clear part of a parcel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The message.
    pub message: MessageId,
    /// The recipient member.
    pub member: MemberCode,
    /// The recipient node.
    pub node: NodeKey,
    /// When the sender stops waiting.
    pub expires: Timestamp,
    /// Whether it goes before others.
    pub class: Class,
    /// Bytes of the ciphertext.
    pub size: u64,
}

/// Classes of parcel: all that a custodian learns of the precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Priority and routine.
    Normal,
    /// Flash and immediate.
    Urgent,
}

impl Class {
    /// Whether it has what is reserved for urgent parcels.
    #[must_use]
    pub const fn is_urgent(self) -> bool {
        matches!(self, Self::Urgent)
    }

    /// What parcels of this class may use of a bound: normal ones leave a reserve to urgent ones.
    pub(super) const fn part_of(self, bound: u64) -> u64 {
        match self {
            Self::Urgent => bound,
            Self::Normal => bound - bound / URGENT_RESERVE,
        }
    }
}
