//! What is asked of a witness and what it answers: one frame each of canonical CBOR, at most
//! [`crate::limits::WITNESS_FRAME_BYTES_MAX`].

use serde::{Deserialize, Serialize};

use crate::{document::Envelope, ids::TreeRoot};

/// Asks for a cosignature of a checkpoint of the asker's own journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CosignRequest {
    /// How many entries the journal had when this witness cosigned it last, or by the head that this witness heard of it; 0
    /// if it did neither.
    pub old: u64,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
    /// That it continues the one of that size.
    pub proof: Vec<TreeRoot>,
}

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CosignAnswer {
    /// It cosigned, and remembers that it did.
    Cosigned(Cosignature),
    /// It cosigned another checkpoint of this node last, which the request does not continue: here it is.
    Held(String),
    /// It never cosigned this journal, but heard this head of this node, which names a position that the request does not
    /// continue.
    Heard(Box<Envelope>),
    /// It does not cosign.
    Refused(CosignRefusal),
}

/// A witness's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cosignature {
    /// When, in seconds since 1970 by its clock.
    pub time: u64,
    /// The Ed25519 signature over time and checkpoint.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
    /// What it cosigned last of the journal that the asker had before this one, if it did: a signed note. After a
    /// restore the asker learns by it how far its journal had come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// Why a witness does not cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum CosignRefusal {
    /// Too much was asked, or it cannot store now: ask again later.
    #[error("it is too busy")]
    Busy,
    /// The asker's key does not count here, or not yet.
    #[error("this node's key does not count there")]
    NotActive,
    /// Both belong to one member, which would be its own witness.
    #[error("it belongs to the same member")]
    OwnMember,
    /// It holds nothing of this journal: ask from size 0.
    #[error("it holds nothing of this journal")]
    NothingHeld,
    /// One of the two clocks is wrong.
    #[error("its clock, or this node's, is wrong")]
    Clock,
    /// It never cosigned this journal, which is old, and has heard no head that says where it stood: ask again later.
    #[error("it has not heard yet where this journal stood")]
    NotHeard,
}
