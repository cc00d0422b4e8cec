//! The signed document itself.

use serde::{Deserialize, Serialize};

use crate::{
    document::{Envelope, FormError, Kind, Payload, SignatureBounds, Unverified, Verified, VerifyError},
    ids::{CharterId, ContentHash, FederationId, HeadId, MemberCode, NodeKey, Sequence, TreeRoot},
    limits::{HEAD_BYTES_MAX, HEAD_TIPS_MAX, SIGNATURE_BYTES_MAX},
    time::Timestamp,
};

/// What a node says of all that it holds, signed with its node key alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The node's member.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
    /// When the node's run began: a restart, or a restored backup, begins anew at number 0 and contradicts nothing.
    pub run: Timestamp,
    /// Counts the heads of a run, from 0.
    pub number: Sequence,
    /// The head before it in this run; none at number 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<HeadId>,
    /// When it was signed, by the node's clock.
    pub time: Timestamp,
    /// The charter's tips, sorted; of more than [`HEAD_TIPS_MAX`] the first.
    pub charter: Vec<CharterId>,
    /// [`crate::evidence::Evidence::digest_root`]: equal on two nodes exactly if they hold the same.
    pub digest: ContentHash,
    /// Where its journal stood, all of it on the device; none if that could not be said then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalPosition>,
}

/// Where a node's journal stands, or stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPosition {
    /// When it began: tells the journals of one node apart.
    pub began: Timestamp,
    /// Its entries.
    pub size: u64,
    /// Their root.
    pub root: TreeRoot,
}

impl JournalPosition {
    /// How far a node's journals had come: a later journal is further than any before it.
    #[must_use]
    pub const fn reach(&self) -> (Timestamp, u64) {
        (self.began, self.size)
    }

    /// Whether a journal that stood here cannot have grown to stand there.
    #[must_use]
    pub fn excludes(&self, later: &Self) -> bool {
        self.began == later.began
            && (later.size < self.size || later.size == self.size && later.root != self.root)
    }
}

impl Payload for Head {
    const KIND: Kind = Kind::Head;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = HEAD_BYTES_MAX;
    /// Its node signs it, and nobody else has a reason to; a second algorithm has its place.
    const SIGNATURES: SignatureBounds = SignatureBounds { count: 2, bytes: 2 * SIGNATURE_BYTES_MAX };

    fn check_form(&self) -> Result<(), FormError> {
        let wrong = |rule, what: String| Err(FormError { rule, what });
        if (self.number.0 == 0) != self.previous.is_none() {
            return wrong("HE-01", "every head but the first of a run names the one before".into());
        }
        let tips = self.charter.len();
        if tips == 0 || tips > HEAD_TIPS_MAX || !self.charter.is_sorted_by(|a, b| a < b) {
            return wrong("HE-02", format!("{tips} charter tips: 1 to {HEAD_TIPS_MAX}, sorted, none twice"));
        }
        if self.time < self.run {
            return wrong("HE-03", "it was signed before its run began".into());
        }
        Ok(())
    }
}

/// Opens and verifies a head: signed by the node that it speaks of, and by nobody else.
///
/// # Errors
/// [`VerifyError`].
pub fn verify_head(envelope: Envelope, federation: FederationId) -> Result<Verified<Head>, VerifyError> {
    let head = Unverified::<Head>::open(envelope)?.verify(federation)?;
    if head.signer() == Some(*head.payload().node.as_bytes()) {
        return Ok(head);
    }
    let what = "it is signed by another key than the node's that it speaks of".into();
    Err(VerifyError::Form(FormError { rule: "HE-04", what }))
}
