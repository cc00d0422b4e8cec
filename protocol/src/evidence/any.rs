//! Any document of the evidence, verified: what the runtime's pool makes and the machine takes.

use std::sync::Arc;

use crate::{
    directory::header::{ChainPayload, Header, NodeRecordHeader, ReferencePointHeader, SignedHeader},
    document::{Envelope, FormError, Kind, Payload, Unverified, Verified, VerifyError},
    ids::{DocumentId, FederationId},
    limits::HEADER_SIGNATURES_MAX,
    membership::{
        Acceptance, Trust,
        charter::Charter,
        key_set::KeySet,
        settlement::{Certificate, ClaimedCertificate, verify_settlement},
    },
};

/// A verified document of one of the kinds that make up the evidence. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyDocument {
    /// A charter version.
    Charter(Arc<Verified<Charter>>),
    /// The certificate that a charter version is settled.
    Settlement(Arc<Certificate>),
    /// A key set.
    KeySet(Arc<Verified<KeySet>>),
    /// A header of a node record's chain.
    NodeRecord(Arc<Verified<NodeRecordHeader>>),
    /// A header of a reference point's chain.
    ReferencePoint(Arc<Verified<ReferencePointHeader>>),
}

/// Opens and verifies an envelope of the evidence: a pure and costly function, about 40 µs a signature.
///
/// # Errors
/// [`VerifyError`]; [`VerifyError::Newer`] also for kinds that this version knows and that are not
/// evidence, such as messages: they have no place here, and a later version may give them one.
pub fn verify_any(envelope: Envelope, federation: FederationId) -> Result<AnyDocument, VerifyError> {
    match Kind::from_name(&envelope.kind) {
        Some(Kind::Charter) => verify(envelope, federation).map(AnyDocument::Charter),
        Some(Kind::Settlement) => {
            verify_settlement(envelope, federation).map(Arc::new).map(AnyDocument::Settlement)
        }
        Some(Kind::KeySet) => verify(envelope, federation).map(AnyDocument::KeySet),
        Some(Kind::NodeRecord) => verify_header(envelope, federation).map(AnyDocument::NodeRecord),
        Some(Kind::ReferencePoint) => verify_header(envelope, federation).map(AnyDocument::ReferencePoint),
        Some(Kind::JoiningRequest | Kind::Message | Kind::Receipt | Kind::Head) | None => {
            Err(VerifyError::Newer { kind: envelope.kind, version: envelope.version })
        }
    }
}

/// Opens and verifies an envelope that somebody brought to a node that holds `trust`; as [`verify_any`], but that of a
/// settlement no signature is checked where it cannot matter: `None` if it says no more than what is held.
///
/// # Errors
/// [`VerifyError`]; also of a settlement that breaks a rule whoever signed it.
#[must_use]
pub fn verify_brought(envelope: Envelope, trust: &Trust) -> Option<Result<AnyDocument, VerifyError>> {
    let federation = trust.federation();
    if Kind::from_name(&envelope.kind) != Some(Kind::Settlement) {
        return Some(verify_any(envelope, federation));
    }
    let read = Unverified::open(envelope).and_then(|opened| ClaimedCertificate::read(opened, federation));
    let claim = match read {
        Ok(claim) => claim,
        Err(error) => return Some(Err(error)),
    };
    match trust.judge_claim(&claim) {
        Ok(Acceptance::Known | Acceptance::Surplus) => None,
        Ok(Acceptance::New | Acceptance::Pending(_)) => {
            Some(claim.verify().map(Arc::new).map(AnyDocument::Settlement))
        }
        Err(error) => Some(Err(FormError { rule: error.rule(), what: error.to_string() }.into())),
    }
}

impl AnyDocument {
    /// The document's name.
    #[must_use]
    pub fn id(&self) -> DocumentId {
        match self {
            Self::Charter(document) => document.id(),
            Self::Settlement(document) => document.id(),
            Self::KeySet(document) => document.id(),
            Self::NodeRecord(document) => document.id(),
            Self::ReferencePoint(document) => document.id(),
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Charter(_) => Kind::Charter,
            Self::Settlement(_) => Kind::Settlement,
            Self::KeySet(_) => Kind::KeySet,
            Self::NodeRecord(_) => Kind::NodeRecord,
            Self::ReferencePoint(_) => Kind::ReferencePoint,
        }
    }

    /// The envelope as received.
    #[must_use]
    pub fn envelope(&self) -> &Arc<Envelope> {
        match self {
            Self::Charter(document) => document.envelope(),
            Self::Settlement(document) => document.envelope(),
            Self::KeySet(document) => document.envelope(),
            Self::NodeRecord(document) => document.envelope(),
            Self::ReferencePoint(document) => document.envelope(),
        }
    }

    /// The chain header in it, if it is one.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match self {
            Self::Charter(_) | Self::Settlement(_) | Self::KeySet(_) => None,
            Self::NodeRecord(document) => Some(&document.payload().0),
            Self::ReferencePoint(document) => Some(&document.payload().0),
        }
    }

    /// Bytes of the envelope, near enough for a bound.
    #[must_use]
    pub fn size(&self) -> usize {
        self.envelope().size()
    }
}

/// An order in which stored documents need not wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RestoreOrder {
    rank: u8,
    /// A charter's version, a key set's generation, nothing for headers.
    count: u64,
    /// A header's chain: node, key set.
    chain: Option<([u8; 32], [u8; 32])>,
    /// A key set's epoch, a header's sequence.
    sequence: u64,
}

impl RestoreOrder {
    pub(super) fn of(document: &AnyDocument) -> Self {
        let header = |rank, header: &Header| Self {
            rank,
            count: 0,
            chain: Some((*header.node.as_bytes(), *header.key_set.as_bytes())),
            sequence: header.sequence.0,
        };
        match document {
            AnyDocument::Charter(charter) => {
                Self { rank: 0, count: charter.payload().version.0, chain: None, sequence: 0 }
            }
            AnyDocument::Settlement(_) => Self { rank: 1, count: 0, chain: None, sequence: 0 },
            AnyDocument::KeySet(key_set) => {
                let set = key_set.payload();
                Self { rank: 2, count: set.generation.0, chain: None, sequence: set.epoch.0 }
            }
            AnyDocument::NodeRecord(document) => header(3, &document.payload().0),
            AnyDocument::ReferencePoint(document) => header(4, &document.payload().0),
        }
    }
}

/// Verifies a header, signed by its own node (HD-05). A header is kept for ever by everybody, so its
/// envelope carries the signatures that it needs and no ballast (HD-07).
fn verify_header<P: ChainPayload>(
    envelope: Envelope,
    federation: FederationId,
) -> Result<Arc<Verified<P>>, VerifyError> {
    let count = envelope.signatures.len();
    if count > HEADER_SIGNATURES_MAX {
        let what = format!("{count} signatures on a header, at most {HEADER_SIGNATURES_MAX}");
        return Err(VerifyError::Form(FormError { rule: "HD-07", what }));
    }
    let document = verify(envelope, federation)?;
    SignedHeader::new(&document)?;
    Ok(document)
}

fn verify<T: Payload>(envelope: Envelope, federation: FederationId) -> Result<Arc<Verified<T>>, VerifyError> {
    Unverified::open(envelope)?.verify(federation).map(Arc::new)
}
