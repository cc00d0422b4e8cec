//! Settlements: the certificate that more than two thirds of the members saw one charter version as their only tip.
//!
//! A certificate carries all that it takes to judge it beside the charter versions that it names: the heads, and the
//! key sets that list the nodes which signed them. So it counts the same for everybody, whatever became of those keys
//! since. What settled versions mean is the view's to say.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{key_set::KeySet, require};
use crate::{
    document::{
        EncodeError, Envelope, FormError, Kind, Payload, SignatureBounds, Unverified, Verified, VerifyError,
        sign,
    },
    heads::{Head, verify_head},
    ids::{CharterId, DocumentId, FederationId, MemberCode},
    limits::{MEMBERS_MAX, SETTLEMENT_BYTES_MAX, SETTLEMENT_KEY_SETS_MAX},
    membership::key_set::NodeState,
};

/// What a settlement says: from which version to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The version that is settled, and with it all that it builds on.
    pub charter: CharterId,
    /// The version whose members are counted: settled itself, or the first.
    pub base: CharterId,
}

/// The payload of a settlement. Nobody signs it: what it carries is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The version that is settled.
    pub charter: CharterId,
    /// The version whose members are counted.
    pub base: CharterId,
    /// One for each member that is counted, by ascending code.
    pub voices: Vec<SignedVoice>,
}

/// A member's part in a settlement, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVoice {
    /// A head of one of its nodes, which names one tip.
    pub head: Envelope,
    /// The key sets that make that node the member's: rotations of its root, oldest first, and last the one that lists
    /// the node as active.
    pub key_sets: Vec<Envelope>,
}

/// A verified settlement, with what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    document: Verified<Settlement>,
    voices: Vec<Voice>,
}

/// A member's part in a settlement, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voice {
    /// The head.
    pub head: Arc<Verified<Head>>,
    /// The key sets, as in [`SignedVoice`].
    pub key_sets: Vec<Arc<Verified<KeySet>>>,
}

impl Payload for Settlement {
    const KIND: Kind = Kind::Settlement;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = SETTLEMENT_BYTES_MAX;
    /// It proves itself, so a signature on it would be ballast.
    const SIGNATURES: SignatureBounds = SignatureBounds { count: 0, bytes: 0 };

    fn check_form(&self) -> Result<(), FormError> {
        require(self.charter != self.base, "SE-01", || "a version's members are counted for itself".into())?;
        let voices = self.voices.len();
        require((1..=MEMBERS_MAX).contains(&voices), "SE-01", || {
            format!("{voices} members' heads, expected 1 to {MEMBERS_MAX}")
        })?;
        let bound = |voice: &SignedVoice| (1..=SETTLEMENT_KEY_SETS_MAX).contains(&voice.key_sets.len());
        require(self.voices.iter().all(bound), "SE-01", || {
            format!("a head without key sets, or with more than {SETTLEMENT_KEY_SETS_MAX}")
        })
    }
}

impl Certificate {
    /// Puts a certificate together from what is verified already.
    ///
    /// # Errors
    /// [`SettleError`] if it has no bytes, or breaks a rule of form.
    pub fn assemble(span: Span, voices: Vec<Voice>, federation: FederationId) -> Result<Self, SettleError> {
        let signed = |voice: &Voice| SignedVoice {
            head: Envelope::clone(voice.head.envelope()),
            key_sets: voice.key_sets.iter().map(|set| Envelope::clone(set.envelope())).collect(),
        };
        let Span { charter, base } = span;
        let payload = Settlement { charter, base, voices: voices.iter().map(signed).collect() };
        let envelope = sign(&payload, Some(federation), &[])?;
        let document = Unverified::open(envelope)?.verify(federation)?;
        check_voices(&voices)?;
        Ok(Self { document, voices })
    }

    /// The document's name.
    #[must_use]
    pub const fn id(&self) -> DocumentId {
        self.document.id()
    }

    /// The envelope as received.
    #[must_use]
    pub const fn envelope(&self) -> &Arc<Envelope> {
        self.document.envelope()
    }

    /// What it settles.
    #[must_use]
    pub const fn span(&self) -> Span {
        let Settlement { charter, base, .. } = self.document.payload();
        Span { charter: *charter, base: *base }
    }

    /// What each member that it counts said, by ascending code.
    #[must_use]
    pub fn voices(&self) -> &[Voice] {
        &self.voices
    }
}

impl Voice {
    /// The member whose it is.
    #[must_use]
    pub fn member(&self) -> &MemberCode {
        &self.head.payload().member
    }

    /// The only tip that its head names; `None` if that names several.
    #[must_use]
    pub fn tip(&self) -> Option<CharterId> {
        match self.head.payload().charter.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// Bytes of its envelopes, at most.
    #[must_use]
    pub fn size(&self) -> usize {
        self.head.envelope().size() + self.key_sets.iter().map(|set| set.envelope().size()).sum::<usize>()
    }

    /// SE-02 and SE-03: all that does not depend on any charter version.
    fn check(&self) -> Result<(), FormError> {
        let (member, node) = (self.member(), &self.head.payload().node);
        require(self.tip().is_some(), "SE-02", || format!("the head of {member} names several tips"))?;
        let mut opening = None;
        for set in &self.key_sets {
            let payload = set.payload();
            require(payload.member == *member, "SE-03", || {
                format!("a key set of {} beside a head of {member}", payload.member)
            })?;
            require(payload.named_opening() == opening, "SE-03", || {
                format!("a key set of {member} does not name the rotation before it")
            })?;
            opening = Some(set.id().into());
        }
        let entry = self.key_sets.last().and_then(|set| set.payload().node(node));
        require(entry.is_some_and(|entry| entry.state == NodeState::Active), "SE-03", || {
            format!("the last key set of {member} does not list the node that signed as active")
        })
    }
}

/// A certificate cannot be put together: it would be too large, or an invariant of ours is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// It has no encoding.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It does not verify.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// It breaks a rule of form.
    #[error(transparent)]
    Form(#[from] FormError),
}

/// Opens and verifies a settlement with all that it carries: a pure and costly function, about 40 µs a signature.
///
/// # Errors
/// [`VerifyError`].
pub fn verify_settlement(envelope: Envelope, federation: FederationId) -> Result<Certificate, VerifyError> {
    let document = Unverified::<Settlement>::open(envelope)?.verify(federation)?;
    let opened = document.payload().voices.iter().map(|voice| open(voice, federation));
    let voices = opened.collect::<Result<Vec<_>, _>>()?;
    check_voices(&voices)?;
    Ok(Certificate { document, voices })
}

fn open(voice: &SignedVoice, federation: FederationId) -> Result<Voice, VerifyError> {
    // A version of a settlement fixes the versions of what it carries, so that one newer than this node is wrong here.
    let wrong = |rule, what: &str, error: VerifyError| {
        VerifyError::Form(FormError { rule, what: format!("{what} does not verify: {error}") })
    };
    let head = verify_head(voice.head.clone(), federation);
    let head = Arc::new(head.map_err(|error| wrong("SE-02", "a head", error))?);
    let key_set = |envelope: &Envelope| {
        let opened = Unverified::<KeySet>::open(envelope.clone()).and_then(|it| it.verify(federation));
        opened.map(Arc::new).map_err(|error| wrong("SE-03", "a key set", error))
    };
    let key_sets = voice.key_sets.iter().map(key_set).collect::<Result<_, _>>()?;
    Ok(Voice { head, key_sets })
}

fn check_voices(voices: &[Voice]) -> Result<(), FormError> {
    voices.iter().try_for_each(Voice::check)?;
    require(voices.is_sorted_by(|a, b| a.member() < b.member()), "SE-01", || {
        "members are not sorted by code, or one is counted twice".into()
    })
}
