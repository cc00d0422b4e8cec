//! From received to verified: the only way to a payload that anything decides on.

use std::{collections::BTreeSet, sync::Arc};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{
    codec::{DecodeError, EncodeError, decode, encode},
    envelope::{Envelope, EnvelopeError, Kind, Signature, signed_bytes},
};
use crate::{
    ids::{DocumentId, FederationId},
    limits::{DOCUMENT_SIGNATURES_BYTES_MAX, DOCUMENT_SIGNATURES_MAX},
};

/// A payload's own form is wrong in every state of the receiver: `rule` is its id in VALIDATION.md.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct FormError {
    /// The broken rule's id in VALIDATION.md, such as `CH-03`.
    pub rule: &'static str,
    /// What is wrong, expected and got.
    pub what: String,
}

/// A type that stands in an envelope's payload.
pub trait Payload: Serialize + DeserializeOwned {
    /// The envelope's kind.
    const KIND: Kind;
    /// The payload version that this code reads and writes.
    const VERSION: u64;
    /// Bytes of the encoded payload.
    const BYTES_MAX: usize;
    /// What its envelope may carry beside it.
    const SIGNATURES: SignatureBounds =
        SignatureBounds { count: DOCUMENT_SIGNATURES_MAX, bytes: DOCUMENT_SIGNATURES_BYTES_MAX };

    /// Checks what must hold whatever else the receiver knows.
    ///
    /// # Errors
    /// [`FormError`] with the first broken rule.
    fn check_form(&self) -> Result<(), FormError>;

    /// The federation id under the signature: charter version 1 and joining requests have none.
    fn domain(&self, federation: FederationId) -> Option<FederationId> {
        Some(federation)
    }
}

/// What an envelope may carry beside its payload. Signatures are no part of a document's id, so whoever
/// passes a document on can wrap it anew: the bounds are what it can make everybody keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignatureBounds {
    /// Signatures, of whatever algorithm.
    pub count: usize,
    /// Bytes of their keys and signatures together.
    pub bytes: usize,
}

/// Why a document is not verified. All but [`VerifyError::Newer`] are the bearer's fault in every state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A kind or version newer than this node: not stored, not passed on, not penalised.
    #[error("a {kind:?} of version {version} is newer than this node")]
    Newer {
        /// The envelope's kind.
        kind: String,
        /// The envelope's version.
        version: u64,
    },
    /// Another kind than was asked for.
    #[error("a {got} where a {expected} was expected")]
    Kind {
        /// The kind asked for.
        expected: Kind,
        /// The envelope's kind.
        got: String,
    },
    /// A part of the envelope beyond its bound.
    #[error("envelope: {0}")]
    Envelope(#[from] EnvelopeError),
    /// More signatures, or longer ones, than the kind has a use for.
    #[error(
        "{count} signatures of {bytes} bytes on a {kind}, at most {} of {} bytes are allowed",
        max.count,
        max.bytes
    )]
    Ballast {
        /// The envelope's kind.
        kind: Kind,
        /// Signatures.
        count: usize,
        /// Bytes of their keys and signatures.
        bytes: usize,
        /// The kind's bounds.
        max: SignatureBounds,
    },
    /// The payload's bytes.
    #[error("payload: {0}")]
    Payload(#[from] DecodeError),
    /// The payload's form.
    #[error(transparent)]
    Form(#[from] FormError),
    /// A key that signs twice adds work and nothing else.
    #[error("signature {0} is of a key that signed before")]
    Doubled(usize),
    /// No signature of an algorithm known here.
    #[error("no signature of a known algorithm")]
    Unsigned,
    /// A signature of a known algorithm that does not verify spoils its envelope.
    #[error("signature {0} does not verify")]
    BadSignature(usize),
}

impl VerifyError {
    /// The broken rule's id in VALIDATION.md.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Newer { .. } | Self::Kind { .. } => "DO-06",
            Self::Envelope(_) => "DO-02",
            Self::Ballast { .. } => "DO-07",
            Self::Payload(_) => "DO-01",
            Self::Form(error) => error.rule,
            Self::Unsigned => "DO-04",
            Self::BadSignature(_) => "DO-03",
            Self::Doubled(_) => "DO-08",
        }
    }
}

/// A decoded payload whose signatures nobody has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified<T> {
    envelope: Arc<Envelope>,
    payload: T,
}

impl<T: Payload> Unverified<T> {
    /// Bounds an envelope, whatever brought it, then decodes its payload and checks its form: what is
    /// verified can be stored, read back and passed on.
    ///
    /// # Errors
    /// [`VerifyError`], never about a signature.
    pub fn open(envelope: Envelope) -> Result<Self, VerifyError> {
        Self::check_envelope(&envelope)?;
        let payload: T = decode(&envelope.payload, T::BYTES_MAX)?;
        payload.check_form()?;
        Ok(Self { envelope: Arc::new(envelope), payload })
    }

    /// Whether an envelope may be one of such a payload, whatever that says.
    pub(crate) fn check_envelope(envelope: &Envelope) -> Result<(), VerifyError> {
        let Some(kind) = Kind::from_name(&envelope.kind) else {
            return Err(VerifyError::Newer { kind: envelope.kind.clone(), version: envelope.version });
        };
        envelope.check_bounds()?;
        if kind != T::KIND {
            return Err(VerifyError::Kind { expected: T::KIND, got: envelope.kind.clone() });
        }
        if envelope.version != T::VERSION {
            return Err(VerifyError::Newer { kind: envelope.kind.clone(), version: envelope.version });
        }
        let (count, bytes) = (envelope.signatures.len(), envelope.signatures_bytes());
        if count > T::SIGNATURES.count || bytes > T::SIGNATURES.bytes {
            return Err(VerifyError::Ballast { kind, count, bytes, max: T::SIGNATURES });
        }
        let mut keys = BTreeSet::new();
        if let Some(doubled) = envelope.signatures.iter().position(|it| !keys.insert((it.alg, &it.key))) {
            return Err(VerifyError::Doubled(doubled));
        }
        Ok(())
    }

    /// What it claims to say.
    pub const fn claimed(&self) -> &T {
        &self.payload
    }

    /// The envelope as received.
    pub const fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }

    /// The id that it has if it verifies: what says whether it is held already, for a hash instead of signatures.
    #[must_use]
    pub fn claimed_id(&self, federation: FederationId) -> DocumentId {
        self.envelope.id(self.payload.domain(federation))
    }

    /// Checks every signature of a known algorithm: a pure and costly function, about 40 µs each.
    ///
    /// # Errors
    /// [`VerifyError::BadSignature`] or [`VerifyError::Unsigned`].
    pub fn verify(self, federation: FederationId) -> Result<Verified<T>, VerifyError> {
        let domain = self.payload.domain(federation);
        let Envelope { kind, version, payload, signatures } = self.envelope.as_ref();
        let signed = signed_bytes(kind, *version, domain, payload);
        let mut signers = BTreeSet::new();
        for (index, signature) in signatures.iter().enumerate() {
            if signature.alg == Signature::ED25519 {
                let key = verify_ed25519(signature, &signed).ok_or(VerifyError::BadSignature(index))?;
                signers.insert(key);
            }
        }
        // A kind that may carry no signature proves itself by what is in it.
        if signers.is_empty() && T::SIGNATURES.count > 0 {
            return Err(VerifyError::Unsigned);
        }
        let id = DocumentId::from_bytes(Sha256::digest(&signed).into());
        Ok(Verified { id, signers, envelope: self.envelope, payload: self.payload })
    }
}

/// A payload that the keys in its envelope did sign in this domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    id: DocumentId,
    signers: BTreeSet<[u8; 32]>,
    envelope: Arc<Envelope>,
    payload: T,
}

impl<T> Verified<T> {
    /// The document's name.
    pub const fn id(&self) -> DocumentId {
        self.id
    }

    /// The Ed25519 keys that signed it.
    pub const fn signers(&self) -> &BTreeSet<[u8; 32]> {
        &self.signers
    }

    /// The only signer, `None` if several keys signed.
    pub fn signer(&self) -> Option<[u8; 32]> {
        if self.signers.len() == 1 { self.signers.first().copied() } else { None }
    }

    /// The envelope as received.
    pub const fn envelope(&self) -> &Arc<Envelope> {
        &self.envelope
    }

    /// What it says.
    pub const fn payload(&self) -> &T {
        &self.payload
    }
}

impl<T: Clone> Verified<T> {
    /// The same document in an envelope with the signature of this key alone; `None` if it did not sign.
    #[must_use]
    pub fn signed_alone_by(&self, key: &[u8; 32]) -> Option<Self> {
        let is_its = |it: &&Signature| it.alg == Signature::ED25519 && it.key == key;
        let signature = self.envelope.signatures.iter().find(is_its)?.clone();
        let envelope = Envelope {
            kind: self.envelope.kind.clone(),
            version: self.envelope.version,
            payload: self.envelope.payload.clone(),
            signatures: vec![signature],
        };
        let (id, payload) = (self.id, self.payload.clone());
        Some(Self { id, signers: BTreeSet::from([*key]), envelope: Arc::new(envelope), payload })
    }
}

/// Signs a payload with each of the keys: the way to every envelope that this program makes.
///
/// # Errors
/// [`EncodeError`] if the payload has no canonical form: an invariant of ours is broken.
pub fn sign<T: Payload>(
    payload: &T,
    federation: Option<FederationId>,
    keys: &[&SigningKey],
) -> Result<Envelope, EncodeError> {
    let payload = encode(payload)?;
    let signed = signed_bytes(T::KIND.name(), T::VERSION, federation, &payload);
    let signatures = keys
        .iter()
        .map(|key| Signature {
            key: key.verifying_key().to_bytes().to_vec(),
            alg: Signature::ED25519,
            sig: key.sign(&signed).to_bytes().to_vec(),
        })
        .collect::<Vec<_>>();
    Ok(Envelope { kind: T::KIND.name().into(), version: T::VERSION, payload, signatures })
}

/// Verifies strictly (no small order, no cofactor: SPEC, section Signatures) and names the key.
fn verify_ed25519(signature: &Signature, signed: &[u8]) -> Option<[u8; 32]> {
    let key: [u8; 32] = signature.key.as_slice().try_into().ok()?;
    let sig = ed25519_dalek::Signature::from_slice(&signature.sig).ok()?;
    VerifyingKey::from_bytes(&key).ok()?.verify_strict(signed, &sig).ok()?;
    Some(key)
}
