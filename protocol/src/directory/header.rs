//! A chain header's payload, and the body that travels beside it.

use serde::{Deserialize, Serialize};

use super::text::broken;
use crate::{
    document::{FormError, Kind, Payload, SignatureBounds, Verified},
    ids::{ContentHash, DocumentId, HeaderId, KeySetId, MemberCode, NodeKey, Sequence},
    limits::{
        BODY_BYTES_MAX, BODY_SALT_BYTES, CHAIN_LENGTH_MAX, HEADER_BYTES_MAX, HEADER_SIGNATURES_BYTES_MAX,
        HEADER_SIGNATURES_MAX,
    },
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

/// A header of a node record's chain, as it stands in an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeRecordHeader(pub Header);

/// A header of a reference point's chain, as it stands in an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReferencePointHeader(pub Header);

/// A payload that is a chain header.
pub trait ChainPayload: Payload {
    /// Which of the node's two chains.
    const CHAIN: ChainKind;

    /// The header.
    fn header(&self) -> &Header;
}

/// A chain header taken out of its envelope, with what its envelope proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeader {
    /// The header's document id.
    pub id: HeaderId,
    /// Which of the node's two chains.
    pub kind: ChainKind,
    /// What it says.
    pub header: Header,
}

impl Header {
    /// The chain of that kind that the header belongs to.
    #[must_use]
    pub const fn chain(&self, kind: ChainKind) -> ChainKey {
        ChainKey { node: self.node, key_set: self.key_set, kind }
    }

    /// Checks HD-01 to HD-04: what must hold whatever else the receiver knows.
    ///
    /// # Errors
    /// [`FormError`] with the first broken rule.
    pub fn check_form(&self) -> Result<(), FormError> {
        if self.sequence.0 >= CHAIN_LENGTH_MAX {
            return broken("HD-01", format!("sequence {}, expected below {CHAIN_LENGTH_MAX}", self.sequence));
        }
        let names_key_set = self.predecessor == DocumentId::from(self.key_set);
        if names_key_set != (self.sequence.0 == 0) {
            return broken(
                "HD-02",
                format!("sequence {} and the key set as predecessor: {names_key_set}", self.sequence),
            );
        }
        let bytes = BODY_SALT_BYTES as u64..=BODY_BYTES_MAX as u64;
        if !bytes.contains(&self.length) {
            return broken("HD-03", format!("a body of {} bytes, expected {bytes:?}", self.length));
        }
        if self.fresh_until < self.issued {
            return broken(
                "HD-04",
                format!("fresh until {}, before issued {}", self.fresh_until, self.issued),
            );
        }
        Ok(())
    }
}

impl SignedHeader {
    /// Takes a header out of its envelope, if its own node key and no other signed it (HD-05).
    ///
    /// # Errors
    /// [`FormError`] otherwise: such an envelope is wrong in every state.
    pub fn new<P: ChainPayload>(document: &Verified<P>) -> Result<Self, FormError> {
        let header = document.payload().header();
        if document.signer() != Some(*header.node.as_bytes()) {
            return broken("HD-05", format!("signed by another key than its node {}", header.node.short()));
        }
        Ok(Self { id: document.id().into(), kind: P::CHAIN, header: header.clone() })
    }

    /// The chain that the header belongs to.
    #[must_use]
    pub const fn chain(&self) -> ChainKey {
        self.header.chain(self.kind)
    }
}

impl ChainKind {
    /// The kind of the envelopes that carry the chain's headers.
    #[must_use]
    pub const fn document_kind(self) -> Kind {
        match self {
            Self::NodeRecord => Kind::NodeRecord,
            Self::ReferencePoint => Kind::ReferencePoint,
        }
    }

    /// The chain whose headers an envelope kind carries.
    #[must_use]
    pub const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::NodeRecord => Some(Self::NodeRecord),
            Kind::ReferencePoint => Some(Self::ReferencePoint),
            Kind::JoiningRequest
            | Kind::Charter
            | Kind::KeySet
            | Kind::Message
            | Kind::Receipt
            | Kind::Head
            | Kind::Settlement => None,
        }
    }
}

impl From<Header> for NodeRecordHeader {
    fn from(header: Header) -> Self {
        Self(header)
    }
}

impl From<Header> for ReferencePointHeader {
    fn from(header: Header) -> Self {
        Self(header)
    }
}

impl Payload for NodeRecordHeader {
    const KIND: Kind = Kind::NodeRecord;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = HEADER_BYTES_MAX;
    const SIGNATURES: SignatureBounds =
        SignatureBounds { count: HEADER_SIGNATURES_MAX, bytes: HEADER_SIGNATURES_BYTES_MAX };

    fn check_form(&self) -> Result<(), FormError> {
        self.0.check_form()
    }
}

impl ChainPayload for NodeRecordHeader {
    const CHAIN: ChainKind = ChainKind::NodeRecord;

    fn header(&self) -> &Header {
        &self.0
    }
}

impl Payload for ReferencePointHeader {
    const KIND: Kind = Kind::ReferencePoint;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = HEADER_BYTES_MAX;
    const SIGNATURES: SignatureBounds =
        SignatureBounds { count: HEADER_SIGNATURES_MAX, bytes: HEADER_SIGNATURES_BYTES_MAX };

    fn check_form(&self) -> Result<(), FormError> {
        self.0.check_form()
    }
}

impl ChainPayload for ReferencePointHeader {
    const CHAIN: ChainKind = ChainKind::ReferencePoint;

    fn header(&self) -> &Header {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::{
        document::{Envelope, Unverified, VerifyError, encode},
        limits::INTEGER_MAX,
    };

    fn header() -> Header {
        Header {
            member: MemberCode::new("X-ABCDEFGHIJKLMNOP").unwrap(),
            node: NodeKey::from_bytes([1; 32]),
            key_set: KeySetId::from_bytes([2; 32]),
            sequence: Sequence(CHAIN_LENGTH_MAX - 1),
            predecessor: DocumentId::from_bytes([3; 32]),
            issued: Timestamp::MAX,
            fresh_until: Timestamp::MAX,
            body: ContentHash::from_bytes([4; 32]),
            length: BODY_BYTES_MAX as u64,
        }
    }

    fn rule(change: impl FnOnce(&mut Header)) -> Option<&'static str> {
        let mut changed = header();
        change(&mut changed);
        changed.check_form().err().map(|error| error.rule)
    }

    #[test]
    fn the_longest_header_fits_its_bound() {
        assert_eq!(header().check_form(), Ok(()));
        let bytes = encode(&NodeRecordHeader(header())).unwrap();
        assert!(bytes.len() <= HEADER_BYTES_MAX, "{} bytes", bytes.len());
    }

    #[test]
    fn a_chain_has_an_end() {
        assert_eq!(rule(|header| header.sequence = Sequence(CHAIN_LENGTH_MAX)), Some("HD-01"));
        assert_eq!(rule(|header| header.sequence = Sequence(INTEGER_MAX)), Some("HD-01"));
    }

    #[test]
    fn the_first_header_and_no_other_names_the_key_set_as_its_predecessor() {
        let names_key_set = |header: &mut Header| header.predecessor = header.key_set.into();
        assert_eq!(rule(names_key_set), Some("HD-02"));
        assert_eq!(rule(|header| header.sequence = Sequence(0)), Some("HD-02"));
        let first = |header: &mut Header| {
            names_key_set(header);
            header.sequence = Sequence(0);
        };
        assert_eq!(rule(first), None);
    }

    #[test]
    fn a_body_is_within_its_bounds() {
        for length in [0, BODY_SALT_BYTES as u64 - 1, BODY_BYTES_MAX as u64 + 1, INTEGER_MAX] {
            assert_eq!(rule(|header| header.length = length), Some("HD-03"), "{length}");
        }
        assert_eq!(rule(|header| header.length = BODY_SALT_BYTES as u64), None);
    }

    #[test]
    fn a_header_is_not_stale_before_it_was_issued() {
        assert_eq!(rule(|header| header.fresh_until = Timestamp::from_millis(0)), Some("HD-04"));
    }

    #[test]
    fn a_payload_beyond_its_bound_is_not_decoded() {
        let payload = vec![0; HEADER_BYTES_MAX + 1];
        let envelope =
            Envelope { kind: Kind::NodeRecord.name().into(), version: 1, payload, signatures: Vec::new() };
        let refused = Unverified::<NodeRecordHeader>::open(envelope);
        assert!(matches!(refused, Err(VerifyError::Payload(_))), "{refused:?}");
    }
}
