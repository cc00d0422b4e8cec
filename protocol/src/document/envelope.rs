//! The envelope `{kind, version, payload, signatures}` and the bytes that are signed.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::codec::{DecodeError, decode};
use crate::{
    ids::{DocumentId, FederationId},
    limits::{
        CHARTER_SIGNATURES_BYTES_MAX, KIND_BYTES_MAX, PAYLOAD_BYTES_MAX, SIGNATURE_BYTES_MAX, SIGNATURES_MAX,
    },
};

/// What a document is about. The name stands in the envelope and under every signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A unit's self-signed request to be listed by a charter.
    JoiningRequest,
    /// A version of the charter.
    Charter,
    /// A member's list of its nodes' keys.
    KeySet,
    /// A header of a node record's chain.
    NodeRecord,
    /// A header of a reference point's chain.
    ReferencePoint,
    /// A message's header.
    Message,
    /// A node's word about a parcel.
    Receipt,
    /// A node's word about everything that it holds.
    Head,
    /// The certificate that a charter version is settled.
    Settlement,
}

impl Kind {
    /// Every kind that this version knows.
    pub const ALL: [Self; 9] = [
        Self::JoiningRequest,
        Self::Charter,
        Self::KeySet,
        Self::NodeRecord,
        Self::ReferencePoint,
        Self::Message,
        Self::Receipt,
        Self::Head,
        Self::Settlement,
    ];

    /// The kinds that make up the directory, in the order of their dependence: what gossip and repair carry.
    pub const EVIDENCE: [Self; 5] =
        [Self::Charter, Self::Settlement, Self::KeySet, Self::NodeRecord, Self::ReferencePoint];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::JoiningRequest => "joining-request",
            Self::Charter => "charter",
            Self::KeySet => "key-set",
            Self::NodeRecord => "node-record",
            Self::ReferencePoint => "reference-point",
            Self::Message => "message",
            Self::Receipt => "receipt",
            Self::Head => "head",
            Self::Settlement => "settlement",
        }
    }

    /// The kind of a name, `None` for one newer than this version.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| serde::de::Error::custom("unknown kind"))
    }
}

/// One signature with its key and algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The public key; 32 bytes for [`Signature::ED25519`].
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// The algorithm; one that is not known here is carried along and does not count.
    pub alg: u64,
    /// The signature; 64 bytes for [`Signature::ED25519`].
    #[serde(with = "serde_bytes")]
    pub sig: Vec<u8>,
}

impl Signature {
    /// Ed25519 as SPEC states its verification.
    pub const ED25519: u64 = 1;
}

/// A signed payload as it travels: stored and forwarded as received, never encoded again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The kind's name, perhaps one newer than this version; see [`Kind::from_name`].
    pub kind: String,
    /// The version of the kind's payload.
    pub version: u64,
    /// The payload, canonical CBOR.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
    /// Who signed it.
    pub signatures: Vec<Signature>,
}

/// Why an envelope is refused before anything is verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not an envelope's bytes.
    #[error("not an envelope: {0}")]
    Decode(#[from] DecodeError),
    /// A kind's name beyond its bound.
    #[error("the kind's name is empty or longer than {KIND_BYTES_MAX} bytes")]
    KindName,
    /// A payload beyond its bound.
    #[error("a payload of {0} bytes, at most {PAYLOAD_BYTES_MAX} are allowed")]
    PayloadTooLong(usize),
    /// More signatures than any document can need.
    #[error("{0} signatures, at most {SIGNATURES_MAX} are allowed")]
    TooManySignatures(usize),
    /// A key or signature beyond its bound.
    #[error("a key or signature longer than {SIGNATURE_BYTES_MAX} bytes")]
    SignatureTooLong,
}

impl Envelope {
    /// Bytes of the largest envelope: a charter with a signature of each member.
    pub const BYTES_MAX: usize = PAYLOAD_BYTES_MAX + MARGIN_BYTES;

    /// Decodes and bounds an envelope. Nothing in it is believed yet.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let envelope: Self = decode(bytes, Self::BYTES_MAX)?;
        envelope.check_bounds()?;
        Ok(envelope)
    }

    /// Checks the bounds of an envelope that came inside something larger.
    ///
    /// # Errors
    /// [`EnvelopeError`] with the first bound that is passed.
    pub fn check_bounds(&self) -> Result<(), EnvelopeError> {
        if self.kind.is_empty() || self.kind.len() > KIND_BYTES_MAX {
            return Err(EnvelopeError::KindName);
        }
        if self.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(EnvelopeError::PayloadTooLong(self.payload.len()));
        }
        if self.signatures.len() > SIGNATURES_MAX {
            return Err(EnvelopeError::TooManySignatures(self.signatures.len()));
        }
        let long = |s: &Signature| s.key.len().max(s.sig.len()) > SIGNATURE_BYTES_MAX;
        if self.signatures.iter().any(long) {
            return Err(EnvelopeError::SignatureTooLong);
        }
        Ok(())
    }

    /// Bytes of all keys and signatures.
    #[must_use]
    pub fn signatures_bytes(&self) -> usize {
        self.signatures.iter().map(|signature| signature.key.len() + signature.sig.len()).sum()
    }

    /// The key of its only signature, an Ed25519 one; `None` if it has another, or several. Nobody has checked it.
    #[must_use]
    pub fn sole_signer(&self) -> Option<[u8; 32]> {
        match self.signatures.as_slice() {
            [only] if only.alg == Signature::ED25519 => only.key.as_slice().try_into().ok(),
            _ => None,
        }
    }

    /// Bytes of the encoded envelope, at most: its parts, and room for the field names and lengths.
    #[must_use]
    pub fn size(&self) -> usize {
        let signatures = self.signatures_bytes() + self.signatures.len() * SIGNATURE_MARGIN_BYTES;
        self.kind.len() + self.payload.len() + signatures + FIELDS_MARGIN_BYTES
    }

    /// The document's name in a federation (`None`: before there is one).
    #[must_use]
    pub fn id(&self, federation: Option<FederationId>) -> DocumentId {
        let signed = signed_bytes(&self.kind, self.version, federation, &self.payload);
        DocumentId::from_bytes(Sha256::digest(signed).into())
    }
}

/// The bytes that are signed, and hashed for the document's id: each part after its length as eight
/// big-endian bytes. The parts are `"refpoint"`, the kind's name, the version as eight big-endian bytes,
/// the federation id (empty before there is one) and the payload, so that nothing is replayed as another
/// kind or in another federation (the idea of DSSE's pre-authentication encoding).
#[must_use]
pub fn signed_bytes(kind: &str, version: u64, federation: Option<FederationId>, payload: &[u8]) -> Vec<u8> {
    let federation: &[u8] = federation.as_ref().map_or(&[], |id| id.as_bytes());
    let version = version.to_be_bytes();
    let parts: [&[u8]; 5] = [DOMAIN, kind.as_bytes(), &version, federation, payload];
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Separates our signatures from those that other programs make with the same key.
const DOMAIN: &[u8] = b"refpoint";

/// Bytes of an envelope beside its payload: 512 Ed25519 signatures of about 120 bytes each.
const MARGIN_BYTES: usize = 64 * 1024;

/// Bytes of an envelope's field names, lengths and version: 44 and at most 30.
const FIELDS_MARGIN_BYTES: usize = 80;

/// Bytes of a signature's field names, lengths and algorithm: 12 and at most 20.
const SIGNATURE_MARGIN_BYTES: usize = 32;

/// The largest envelope that is verified can be read back from storage: of a signature's map head, its field
/// names, an algorithm of nine bytes and two lengths of three, 28 bytes are the most.
const _: () = assert!(
    PAYLOAD_BYTES_MAX
        + CHARTER_SIGNATURES_BYTES_MAX
        + SIGNATURES_MAX * 28
        + KIND_BYTES_MAX
        + FIELDS_MARGIN_BYTES
        <= Envelope::BYTES_MAX
);
