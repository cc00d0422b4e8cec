//! Frames of the introduction: one canonical map with exactly one key, after a varint length.

use serde::{Deserialize, Serialize};

use crate::{
    document::Envelope,
    ids::{CharterId, FederationId},
    time::Timestamp,
};

/// What travels between TLS and the multiplexer. D dials, L listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntroductionFrame {
    /// Who speaks, and what it holds.
    Hello(Box<Hello>),
    /// The tips that the speaker holds; the other side answers with the versions it lacks, and the certificates.
    Need(Need),
    /// A slice of charter versions.
    Versions(Versions),
    /// D's last byte here.
    Done(Done),
    /// Not admitted, with the proof where there is one.
    Refused(Refused),
}

/// Who speaks, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The federation.
    pub federation: FederationId,
    /// Wire versions spoken, ascending.
    pub wire: Vec<u64>,
    /// The speaker's charter tips, sorted.
    pub tips: Vec<CharterId>,
    /// The newest charter version that members' heads settled, if there is one that the speaker knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<CharterId>,
    /// The speaker's own current key sets (all tips, as a rule one), which list its node key.
    pub key_sets: Vec<Envelope>,
    /// The newest header of the speaker's own node record, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Envelope>,
    /// That record's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_bytes::ByteBuf>,
    /// The speaker's clock.
    pub time: Timestamp,
}

/// Asks for charter versions and for certificates of settled ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The tips that the asker holds, sorted.
    pub tips: Vec<CharterId>,
    /// The newest charter version that it knows to be settled, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<CharterId>,
}

/// A slice of one canonical array of envelopes: charter versions, oldest first, then certificates of settled ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// At most [`crate::limits::INTRODUCTION_SLICE_BYTES`] bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// Whether another slice follows.
    pub more: bool,
}

/// The dialler is content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// Not admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub code: RefusalCode,
    /// The charter versions or key sets that ended the caller's key, if it ever was certified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proof: Vec<Envelope>,
}

/// Why a caller is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// The key was certified once, and a later document ended it.
    KeyEnded,
    /// The member is suspended or withdrawn.
    MemberInactive,
    /// No wire version in common.
    WireVersion,
    /// The caller must bring charter versions that it did not have the bytes for; dial again.
    Incomplete,
    /// As many connections as this node holds.
    Full,
}
