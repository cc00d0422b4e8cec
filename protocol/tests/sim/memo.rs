//! Verification remembered by what was verified: each envelope is checked in full, once a process.
//!
//! The machine takes verified documents from whoever runs it, so this stands where a node has its pool, and
//! nothing in the crate knows of it.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use refpoint_protocol::{
    document::{Envelope, Verified, VerifyError},
    evidence::{AnyDocument, verify_any},
    heads::{Head, verify_head},
    ids::FederationId,
};

/// What is remembered.
#[derive(Default)]
pub(crate) struct Memo {
    documents: Known<AnyDocument>,
    heads: Known<Verified<Head>>,
}

/// Results by envelope.
struct Known<T>(HashMap<u64, Results<T>>);

/// Those of envelopes whose short hashes are equal: one, as good as always.
type Results<T> = Vec<(Envelope, Result<T, VerifyError>)>;

impl Memo {
    /// What [`verify_any`] says of an envelope.
    pub(crate) fn verify(
        &mut self,
        envelope: &Envelope,
        federation: FederationId,
    ) -> Result<AnyDocument, VerifyError> {
        self.documents.get(envelope, |envelope| verify_any(envelope, federation))
    }

    /// What [`verify_head`] says of an envelope.
    pub(crate) fn verify_head(
        &mut self,
        envelope: &Envelope,
        federation: FederationId,
    ) -> Result<Verified<Head>, VerifyError> {
        if self.heads.0.len() > HEADS_MAX {
            self.heads = Known::default();
        }
        self.heads.get(envelope, |envelope| verify_head(envelope, federation))
    }
}

impl<T: Clone> Known<T> {
    fn get(
        &mut self,
        envelope: &Envelope,
        verify: impl FnOnce(Envelope) -> Result<T, VerifyError>,
    ) -> Result<T, VerifyError> {
        let known = self.0.entry(hash(envelope)).or_default();
        // Compared in full: a collision of the short hash must not lend one document another's verdict.
        if let Some((_, result)) = known.iter().find(|(seen, _)| seen == envelope) {
            return result.clone();
        }
        let result = verify(envelope.clone());
        known.push((envelope.clone(), result.clone()));
        result
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// The first bytes of what was signed with first: of two documents that share them both are compared in full. Of what
/// nobody signs, as a settlement, all of it.
fn hash(envelope: &Envelope) -> u64 {
    let first = envelope.signatures.first().and_then(|signature| signature.sig.first_chunk());
    first.map_or_else(
        || {
            let mut hasher = DefaultHasher::new();
            envelope.payload.hash(&mut hasher);
            hasher.finish()
        },
        |first| u64::from_be_bytes(*first),
    )
}

/// Heads remembered before all are forgotten: each travels for seconds.
const HEADS_MAX: usize = 4_096;
