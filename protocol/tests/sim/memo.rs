//! Verification remembered by what was verified: each envelope is checked in full, once a process.
//!
//! The machine takes verified documents from whoever runs it, so this stands where a node has its pool, and
//! nothing in the crate knows of it.

use std::collections::HashMap;

use refpoint_protocol::{
    document::{Envelope, VerifyError},
    evidence::{AnyDocument, verify_any},
    ids::FederationId,
};

/// Results by envelope.
#[derive(Default)]
pub(crate) struct Memo(HashMap<u64, Vec<(Envelope, Verdict)>>);

type Verdict = Result<AnyDocument, VerifyError>;

impl Memo {
    /// What [`verify_any`] says of an envelope.
    pub(crate) fn verify(&mut self, envelope: &Envelope, federation: FederationId) -> Verdict {
        let known = self.0.entry(hash(envelope)).or_default();
        // Compared in full: a collision of the short hash must not lend one document another's verdict.
        if let Some((_, result)) = known.iter().find(|(seen, _)| seen == envelope) {
            return result.clone();
        }
        let result = verify_any(envelope.clone(), federation);
        known.push((envelope.clone(), result.clone()));
        result
    }
}

/// The first bytes of what was signed with first: of two documents that share them both are compared in full.
fn hash(envelope: &Envelope) -> u64 {
    let first = envelope.signatures.first().and_then(|signature| signature.sig.first_chunk());
    first.map_or(0, |first| u64::from_be_bytes(*first))
}
