//! Repair: what two nodes say to find what either lacks.
//!
//! The requester compares digests, asks for positions where they differ, fetches what it lacks and gives
//! what the other lacks. Each request stands alone; the responder keeps no state.

use serde::{Deserialize, Serialize};

use crate::{
    directory::header::ChainKey,
    document::{Envelope, Kind},
    ids::{ContentHash, DocumentId, Generation, HeaderId, Incarnation, MemberCode, Sequence},
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
    /// Asks for the headers of a chain from a sequence on.
    Chain(ChainRequest),
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
}

/// Where the speaker stands, sorted; the canonical encoding of `positions` is what a root hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// The kind.
    pub kind: Kind,
    /// The positions.
    pub positions: Vec<Position>,
}

/// One position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// A charter version or key set that is held.
    Held(DocumentId),
    /// A chain's newest header.
    Newest(ChainKey, Sequence, HeaderId),
    /// A forked chain: the sequence of its lowest known fork.
    Forked(ChainKey, Sequence),
    /// A member with more key-set tips than are kept.
    Broken(MemberCode, Incarnation, Generation),
}

/// Asks for documents and bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Documents by id.
    pub documents: Vec<DocumentId>,
    /// Bodies by hash.
    pub bodies: Vec<ContentHash>,
}

/// Asks for a chain's headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainRequest {
    /// The chain.
    pub chain: ChainKey,
    /// The first sequence wanted.
    pub from: Sequence,
}

/// Documents and bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// Envelopes, ancestors first.
    pub envelopes: Vec<Envelope>,
    /// Bodies of chain headers; each is matched by its hash.
    pub bodies: Vec<serde_bytes::ByteBuf>,
}

/// An empty answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {}
