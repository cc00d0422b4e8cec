//! Frames of the relay's streams: one canonical map with exactly one key, after a varint length.

use serde::{Deserialize, Serialize};

use crate::{
    document::Envelope,
    ids::{ContentHash, MessageId},
    relay::parcel::Parcel,
};

/// What travels on a relay stream, one direction each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelayFrame {
    /// A parcel for the node that reads this.
    Parcel(Box<Parcel>),
    /// A receipt in its envelope.
    Receipt(Envelope),
    /// What the writer still keeps for the reader and holds `delivered` for: a hash of the sorted ids.
    Offer(Offer),
    /// The answer to an offer whose hash the reader does not know: send the ids.
    OfferUnknown(Offer),
    /// The ids behind an offer.
    OfferIds(OfferIds),
    /// The offered ids that the writer of this frame lacks: to be sealed and sent anew.
    Lacking(Lacking),
}

/// Summary of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// SHA-256 of the concatenated sorted ids.
    pub hash: ContentHash,
    /// How many.
    pub count: u64,
}

/// Offered ids, at most [`crate::limits::OFFER_IDS_MAX`] a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferIds {
    /// The ids, sorted.
    pub ids: Vec<MessageId>,
    /// Whether more frames follow.
    pub more: bool,
}

/// Ids that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    /// The ids, sorted.
    pub ids: Vec<MessageId>,
}
