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
        encode, sign,
    },
    heads::Head,
    ids::{CharterId, DocumentId, FederationId, KeySetId, MemberCode},
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

impl Settlement {
    /// What it says.
    #[must_use]
    pub const fn span(&self) -> Span {
        Span { charter: self.charter, base: self.base }
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
        check_voices(&voices.iter().map(Voice::spoken).collect::<Vec<_>>())?;
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
        self.document.payload().span()
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
        only_tip(self.head.payload())
    }

    /// Bytes of its envelopes, at most.
    #[must_use]
    pub fn size(&self) -> usize {
        self.head.envelope().size() + self.key_sets.iter().map(|set| set.envelope().size()).sum::<usize>()
    }

    /// What it says.
    pub(super) fn spoken(&self) -> Spoken<'_> {
        let key_sets = self.key_sets.iter();
        let key_sets = key_sets.map(|set| (set.id().into(), set.payload(), set.envelope().sole_signer()));
        Spoken::new(self.head.payload(), self.head.envelope(), key_sets)
    }
}

/// What a member's part in a settlement says, whether its signatures are checked or only claimed.
#[derive(Clone, Debug)]
pub(super) struct Spoken<'a> {
    pub(super) head: &'a Head,
    /// The only key that signed the head, or is said to have.
    signer: Option<[u8; 32]>,
    pub(super) key_sets: Vec<Listed<'a>>,
}

/// A key set in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed<'a> {
    id: KeySetId,
    pub(super) set: &'a KeySet,
    /// The only key that signed it, or is said to have.
    pub(super) signer: Option<[u8; 32]>,
}

impl<'a> Spoken<'a> {
    fn new(
        head: &'a Head,
        envelope: &Envelope,
        key_sets: impl Iterator<Item = (KeySetId, &'a KeySet, Option<[u8; 32]>)>,
    ) -> Self {
        let key_sets = key_sets.map(|(id, set, signer)| Listed { id, set, signer }).collect();
        Self { head, signer: envelope.sole_signer(), key_sets }
    }

    /// The only tip that its head names; `None` if that names several.
    pub(super) fn tip(&self) -> Option<CharterId> {
        only_tip(self.head)
    }

    /// SE-02 and SE-03: all that depends neither on any charter version nor on whether signatures verify.
    fn check(&self) -> Result<(), FormError> {
        let Head { member, node, .. } = self.head;
        require(self.tip().is_some(), "SE-02", || format!("the head of {member} names several tips"))?;
        require(self.signer == Some(*node.as_bytes()), "SE-02", || {
            format!("the head of {member} is not signed by its node's key alone")
        })?;
        let mut opening = None;
        for Listed { id, set, signer } in &self.key_sets {
            require(set.member == *member, "SE-03", || {
                format!("a key set of {} beside a head of {member}", set.member)
            })?;
            require(signer.is_some(), "SE-03", || {
                format!("a key set of {member} is not signed by one key alone")
            })?;
            require(set.named_opening() == opening, "SE-03", || {
                format!("a key set of {member} does not name the rotation before it")
            })?;
            opening = Some(*id);
        }
        let entry = self.key_sets.last().and_then(|listed| listed.set.node(node));
        require(entry.is_some_and(|entry| entry.state == NodeState::Active), "SE-03", || {
            format!("the last key set of {member} does not list the node that signed as active")
        })
    }
}

fn only_tip(head: &Head) -> Option<CharterId> {
    match head.charter.as_slice() {
        [only] => Some(*only),
        _ => None,
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
    ClaimedCertificate::read(Unverified::open(envelope)?, federation)?.verify()
}

/// A settlement that is read with all that it carries, and of which no signature is checked: whether it is worth that
/// can be asked of [`super::Trust::judge_claim`] before.
#[derive(Clone, Debug)]
pub struct ClaimedCertificate {
    federation: FederationId,
    document: Unverified<Settlement>,
    voices: Vec<ClaimedVoice>,
}

#[derive(Clone, Debug)]
struct ClaimedVoice {
    head: Unverified<Head>,
    key_sets: Vec<Unverified<KeySet>>,
}

impl ClaimedCertificate {
    /// Reads what an opened settlement carries, and checks its form.
    ///
    /// # Errors
    /// [`VerifyError`], never about a signature.
    pub fn read(document: Unverified<Settlement>, federation: FederationId) -> Result<Self, VerifyError> {
        // Nobody signs it, so that anybody could add a field to it, or to an envelope in it.
        let bare = encode(document.claimed()).is_ok_and(|bare| bare == document.envelope().payload);
        require(bare, "SE-01", || "fields that a settlement does not have".into())?;
        let voices = document.claimed().voices.iter().map(ClaimedVoice::read).collect::<Result<_, _>>()?;
        let claimed = Self { federation, document, voices };
        check_voices(&claimed.spoken().collect::<Vec<_>>())?;
        Ok(claimed)
    }

    /// What it claims to settle.
    #[must_use]
    pub const fn span(&self) -> Span {
        self.document.claimed().span()
    }

    /// What each member that it counts is said to have said, by ascending code.
    pub(super) fn spoken(&self) -> impl Iterator<Item = Spoken<'_>> {
        self.voices.iter().map(|voice| voice.spoken(self.federation))
    }

    /// Checks the signatures, one after the other up to the first that does not verify: about 40 µs each.
    ///
    /// # Errors
    /// [`VerifyError`] about that one.
    pub fn verify(self) -> Result<Certificate, VerifyError> {
        let federation = self.federation;
        let document = self.document.verify(federation)?;
        let voices =
            self.voices.into_iter().map(|voice| voice.verify(federation)).collect::<Result<_, _>>()?;
        Ok(Certificate { document, voices })
    }
}

impl ClaimedVoice {
    fn read(voice: &SignedVoice) -> Result<Self, VerifyError> {
        let head = Unverified::open(voice.head.clone()).map_err(|error| wrong("SE-02", "a head", &error))?;
        let key_sets = voice.key_sets.iter().cloned().map(Unverified::open).collect::<Result<_, _>>();
        Ok(Self { head, key_sets: key_sets.map_err(|error| wrong("SE-03", "a key set", &error))? })
    }

    fn spoken(&self, federation: FederationId) -> Spoken<'_> {
        let key_sets = self.key_sets.iter();
        let key_sets = key_sets
            .map(|set| (set.claimed_id(federation).into(), set.claimed(), set.envelope().sole_signer()));
        Spoken::new(self.head.claimed(), self.head.envelope(), key_sets)
    }

    fn verify(self, federation: FederationId) -> Result<Voice, VerifyError> {
        let head = self.head.verify(federation).map_err(|error| wrong("SE-02", "a head", &error))?;
        let key_sets = self.key_sets.into_iter().map(|set| set.verify(federation).map(Arc::new));
        let key_sets = key_sets.collect::<Result<_, _>>();
        let key_sets = key_sets.map_err(|error| wrong("SE-03", "a key set", &error))?;
        Ok(Voice { head: Arc::new(head), key_sets })
    }
}

/// A version of a settlement fixes the versions of what it carries, so that one newer than this node is wrong here.
fn wrong(rule: &'static str, what: &str, error: &VerifyError) -> VerifyError {
    VerifyError::Form(FormError { rule, what: format!("{what} does not verify: {error}") })
}

fn check_voices(voices: &[Spoken<'_>]) -> Result<(), FormError> {
    voices.iter().try_for_each(Spoken::check)?;
    require(voices.is_sorted_by(|a, b| a.head.member < b.head.member), "SE-01", || {
        "members are not sorted by code, or one is counted twice".into()
    })
}
