//! A message's signed header: what is bound, and nothing of what is said.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ContentHash, MemberCode},
    time::Timestamp,
};

/// The signed header. Its document id is the message's id.
///
/// It names ciphertext hash, nonce and key commitment, so that no two recipients can be shown
/// different texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageHeader {
    /// The sending member; the signing node key is one of its nodes'.
    pub sender: MemberCode,
    /// The members that it is for, sorted, each once.
    pub recipients: Vec<MemberCode>,
    /// How urgent it is.
    pub precedence: Precedence,
    /// When it was made.
    pub created: Timestamp,
    /// When the sender stops waiting.
    pub expires: Timestamp,
    /// SHA-256 of the ciphertext.
    pub ciphertext: ContentHash,
    /// Bytes of the ciphertext.
    pub length: u64,
    /// Commitment to the content key: the second half of HKDF(content key).
    pub commitment: ContentHash,
    /// The XChaCha20-Poly1305 nonce.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 24],
}

/// Precedence, with the handling times of ACP 121: flash within 10 minutes, immediate within 30,
/// priority within 3 hours, routine within 6. Ordered: flash is greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precedence {
    /// Within six hours.
    Routine,
    /// Within three hours.
    Priority,
    /// Within thirty minutes.
    Immediate,
    /// Within ten minutes.
    Flash,
}

impl Precedence {
    /// All, most urgent first.
    pub const ALL: [Self; 4] = [Self::Flash, Self::Immediate, Self::Priority, Self::Routine];

    /// The word on the wire and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Priority => "priority",
            Self::Immediate => "immediate",
            Self::Flash => "flash",
        }
    }

    /// Whether its parcels travel in the urgent class.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        self >= Self::Immediate
    }
}

impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
