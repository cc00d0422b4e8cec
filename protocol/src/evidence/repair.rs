//! Repair: what two nodes say to find what either lacks.
//!
//! The requester compares digests, asks for positions where they differ, fetches what it lacks and gives
//! what the other lacks ([`super::repair_session`]). Each request stands alone; the responder keeps no
//! state ([`super::responder`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    directory::header::ChainKey,
    document::{Envelope, Kind},
    ids::{
        CharterId, ContentHash, DocumentId, Generation, HeaderId, Incarnation, MemberCode, RootKey, Sequence,
    },
    limits::REPAIR_BYTES_MAX,
    membership::{LineGeneration, settlement::Span},
    time::Timestamp,
};

/// A request on the repair protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepairRequest {
    /// The requester's digest; answered with the responder's.
    Digest(Digest),
    /// Asks for the positions of one kind.
    Positions(PositionsRequest),
    /// Asks for documents by id and for bodies by hash.
    Fetch(Fetch),
    /// Asks for headers of chains, at most [`crate::limits::REPAIR_CHAINS_MAX`] ranges.
    Chains(Vec<ChainRequest>),
    /// Gives what the responder lacks.
    Give(Documents),
}

/// A response on the repair protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepairResponse {
    /// The responder's digest.
    Digest(Digest),
    /// The responder's positions.
    Positions(Positions),
    /// The documents asked for, as many as fit, in an order in which ancestors come first.
    Documents(Documents),
    /// What was given has been taken in (accepted, known or pending).
    Taken(Taken),
    /// Too much at once; try again after a while.
    Busy(Taken),
}

/// One root for each kind and version that the speaker reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The roots, by kind and version.
    pub roots: Vec<KindRoot>,
    /// The speaker's clock.
    pub time: Timestamp,
}

/// The root of one kind and version: SHA-256 of its encoded positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindRoot {
    /// The kind.
    pub kind: String,
    /// The version.
    pub version: u64,
    /// SHA-256 of the canonical encoding of the positions.
    pub root: ContentHash,
}

/// Asks for positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionsRequest {
    /// The kind.
    pub kind: Kind,
    /// Only positions that sort after this one: the last of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
}

/// Where the speaker stands in one kind: a page of its sorted positions. A root is SHA-256 of the
/// canonical encoding of the array of all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// The kind.
    pub kind: Kind,
    /// At most [`crate::limits::POSITIONS_MAX`] of them.
    pub positions: Vec<Position>,
    /// Whether others sort after the last.
    pub more: bool,
}

/// One position. They sort by variant in this order, then by their fields in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// A charter version or key set that is held.
    Held(DocumentId),
    /// A chain's newest header.
    Newest(ChainKey, Sequence, HeaderId),
    /// A forked chain: the sequence of its lowest known fork.
    Forked(ChainKey, Sequence),
    /// A generation of a member's line, which its root names, with more key-set tips than are kept.
    Broken(MemberCode, Incarnation, RootKey, Generation),
    /// A charter version that a certificate settles, and the version whose members it counts: whose heads are in it may
    /// differ from node to node.
    Settled(CharterId, CharterId),
}

/// Asks for documents and bodies, at most [`crate::limits::REPAIR_IDS_MAX`] in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Documents by id.
    pub documents: Vec<DocumentId>,
    /// Bodies by hash.
    pub bodies: Vec<ContentHash>,
    /// Broken generations, of each of which the key sets that prove it are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<LineGeneration>,
    /// Settled versions, of each of which the certificate is wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<Span>,
}

/// Asks for a chain's headers. Where the chain is forked, the two that prove it are answered too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainRequest {
    /// The chain.
    pub chain: ChainKey,
    /// The first sequence wanted.
    pub from: Sequence,
    /// The last sequence wanted.
    pub to: Sequence,
}

/// Documents and bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// Envelopes, ancestors first.
    pub envelopes: Vec<Envelope>,
    /// Bodies of chain headers; each is matched by its hash.
    pub bodies: Vec<serde_bytes::ByteBuf>,
}

/// An empty answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {}

/// Documents packed for one frame, and how many of what was offered they account for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// What fits.
    pub documents: Documents,
    /// How many of the offered envelopes were taken or were not in storage.
    pub envelopes_done: usize,
    /// The same of the offered bodies.
    pub bodies_done: usize,
    /// Bytes of what fits, at most.
    pub bytes: usize,
}

impl Position {
    /// The position of a broken generation.
    #[must_use]
    pub fn broken(of: &LineGeneration) -> Self {
        Self::Broken(of.member.clone(), of.incarnation, of.root, of.generation)
    }

    /// The generation that it says to be broken.
    #[must_use]
    pub fn broken_generation(&self) -> Option<LineGeneration> {
        let Self::Broken(member, incarnation, root, generation) = self.clone() else { return None };
        Some(LineGeneration { member, incarnation, root, generation })
    }
}

impl Documents {
    /// Packs what storage has (`None`: it has not) in order until a frame is full, envelopes first.
    ///
    /// An envelope or body that alone does not fit is passed over.
    #[must_use]
    pub fn pack(
        envelopes: impl IntoIterator<Item = Option<Arc<Envelope>>>,
        bodies: impl IntoIterator<Item = Option<Vec<u8>>>,
    ) -> Packed {
        let mut packed = Packed::default();
        for envelope in envelopes {
            let size = envelope.as_ref().map_or(0, |envelope| envelope.size());
            if size <= FRAME_ROOM_BYTES {
                if packed.bytes + size > FRAME_ROOM_BYTES {
                    return packed;
                }
                packed.documents.envelopes.extend(envelope.map(Arc::unwrap_or_clone));
                packed.bytes += size;
            }
            packed.envelopes_done += 1;
        }
        for body in bodies {
            let size = body.as_ref().map_or(0, |body| body.len() + BODY_MARGIN_BYTES);
            if size <= FRAME_ROOM_BYTES {
                if packed.bytes + size > FRAME_ROOM_BYTES {
                    return packed;
                }
                packed.documents.bodies.extend(body.map(serde_bytes::ByteBuf::from));
                packed.bytes += size;
            }
            packed.bodies_done += 1;
        }
        packed
    }

    /// Bytes of what is in it, at most.
    #[must_use]
    pub fn size(&self) -> usize {
        let bodies = self.bodies.iter().map(|body| body.len() + BODY_MARGIN_BYTES);
        self.envelopes.iter().map(Envelope::size).chain(bodies).sum()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.envelopes.is_empty() && self.bodies.is_empty()
    }
}

/// Bytes of documents in one frame: leaves room for the frame's own fields.
const FRAME_ROOM_BYTES: usize = REPAIR_BYTES_MAX - 256;

/// Bytes of a byte string's head.
const BODY_MARGIN_BYTES: usize = 9;
