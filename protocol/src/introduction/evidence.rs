//! What an introduction brings: verified, laid over what the node holds, kept whether or not it admits.

use std::sync::Arc;

use super::IntroductionError;
use crate::{
    document::{Envelope, Kind, Payload, Unverified, Verified, VerifyError},
    ids::CharterId,
    membership::{
        Acceptance, Trust,
        charter::Charter,
        key_set::KeySet,
        settlement::{Certificate, ClaimedCertificate, Settlement, Span},
    },
};

/// A document that the other side brought and that was not held before.
#[derive(Clone, Debug)]
pub enum LearnedDocument {
    /// A charter version.
    Charter(Arc<Verified<Charter>>),
    /// The certificate that a charter version is settled.
    Settlement(Arc<Certificate>),
    /// A key set.
    KeySet(Arc<Verified<KeySet>>),
    /// The newest header of the admitted node's own record, as received, with its body: it enters by the
    /// directory's own door.
    Record {
        /// The header.
        header: Envelope,
        /// The body.
        body: Vec<u8>,
    },
}

impl LearnedDocument {
    /// Bytes of it, near enough for a bound.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Charter(document) => document.envelope().size(),
            Self::Settlement(document) => document.envelope().size(),
            Self::KeySet(document) => document.envelope().size(),
            Self::Record { header, body } => header.size() + body.len(),
        }
    }
}

/// The node's evidence and what was brought.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    pub(super) trust: Trust,
    pub(super) learned: Vec<LearnedDocument>,
}

impl Overlay {
    pub(super) const fn new(trust: Trust) -> Self {
        Self { trust, learned: Vec::new() }
    }

    /// Takes a charter version, a certificate or a key set of a proof; other kinds say nothing here.
    pub(super) fn take(&mut self, envelope: Envelope) -> Result<(), IntroductionError> {
        match Kind::from_name(&envelope.kind) {
            Some(Kind::Charter) => self.take_charter(envelope),
            Some(Kind::Settlement) => self.take_settlement(envelope),
            Some(Kind::KeySet) => self.take_key_set(envelope).map(drop),
            _ => Ok(()),
        }
    }

    /// Takes what answers a `need`: charter versions, and certificates of settled ones.
    pub(super) fn take_version(&mut self, envelope: Envelope) -> Result<(), IntroductionError> {
        match Kind::from_name(&envelope.kind) {
            Some(Kind::Settlement) => self.take_settlement(envelope),
            _ => self.take_charter(envelope),
        }
    }

    /// Takes a charter version. One that is held, or whose parents are not, costs no signature check; nor does one
    /// beside a settled version: it says nothing here, and members bring it by repair, which counts what each brings.
    pub(super) fn take_charter(&mut self, envelope: Envelope) -> Result<(), IntroductionError> {
        if !check::<Charter>(&envelope)? {
            return Ok(());
        }
        // Version 1 is signed before there is a federation. Nothing is decoded again that is held.
        let federation = self.trust.federation();
        let ids = [Some(federation), None].map(|domain| CharterId::from(envelope.id(domain)));
        if ids.iter().any(|id| self.trust.charter(id).is_some()) {
            return Ok(());
        }
        let unverified = Unverified::<Charter>::open(envelope)?;
        let lacks = |parent: &CharterId| self.trust.charter(parent).is_none();
        let claimed = unverified.claimed();
        if claimed.parents.iter().any(lacks) || self.trust.is_beside_settled(claimed) {
            return Ok(());
        }
        let document = Arc::new(unverified.verify(self.trust.federation())?);
        if self.trust.accept_charter(Arc::clone(&document))? == Acceptance::New {
            self.learned.push(LearnedDocument::Charter(document));
        }
        Ok(())
    }

    /// Takes a certificate. One that says no more than one that is held, or whose charter versions are not held, costs
    /// no signature check; nor does one that cannot count, whoever signed it: anybody may call.
    fn take_settlement(&mut self, envelope: Envelope) -> Result<(), IntroductionError> {
        if !check::<Settlement>(&envelope)? {
            return Ok(());
        }
        let opened = Unverified::<Settlement>::open(envelope)?;
        let span @ Span { charter, base } = opened.claimed().span();
        let lacks = |id: &CharterId| self.trust.charter(id).is_none();
        if lacks(&charter) || lacks(&base) || self.trust.is_settlement_covered(span) {
            return Ok(());
        }
        let claim = ClaimedCertificate::read(opened, self.trust.federation())?;
        if self.trust.judge_claim(&claim)? != Acceptance::New {
            return Ok(());
        }
        let certificate = Arc::new(claim.verify()?);
        if self.trust.accept_settlement(Arc::clone(&certificate))? == Acceptance::New {
            self.learned.push(LearnedDocument::Settlement(certificate));
        }
        Ok(())
    }

    /// Takes a key set and hands it out if it is evidence now.
    pub(super) fn take_key_set(
        &mut self,
        envelope: Envelope,
    ) -> Result<Option<Arc<Verified<KeySet>>>, IntroductionError> {
        if !check::<KeySet>(&envelope)? {
            return Ok(None);
        }
        if let Some(held) = self.trust.key_set(&envelope.id(Some(self.trust.federation())).into()) {
            return Ok(Some(Arc::clone(held)));
        }
        let unverified = Unverified::<KeySet>::open(envelope)?;
        let claimed = unverified.claimed();
        let lacks = |opening| self.trust.key_set(&opening).is_none();
        if self.trust.charter(&claimed.charter).is_none() || claimed.named_opening().is_some_and(lacks) {
            return Ok(None);
        }
        let document = Arc::new(unverified.verify(self.trust.federation())?);
        match self.trust.accept_key_set(Arc::clone(&document))? {
            Acceptance::New => {
                self.learned.push(LearnedDocument::KeySet(Arc::clone(&document)));
                Ok(Some(document))
            }
            Acceptance::Known => Ok(Some(document)),
            Acceptance::Pending(_) | Acceptance::Surplus => Ok(None),
        }
    }
}

/// Checks an envelope, whatever is in it; `false` for one newer than this node.
fn check<T: Payload>(envelope: &Envelope) -> Result<bool, IntroductionError> {
    envelope.check_bounds()?;
    match Unverified::<T>::check_envelope(envelope) {
        Ok(()) => Ok(true),
        Err(VerifyError::Newer { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::testing::Federation;

    #[test]
    fn what_is_held_is_not_verified_again() {
        let federation = Federation::new(1, &["BR", "FR", "KE"], 1);
        let spoilt = |envelope: &Envelope| {
            let mut envelope = envelope.clone();
            envelope.signatures[0].sig[0] ^= 1;
            envelope
        };
        let key_set = spoilt(federation.unit("KE").key_set.envelope());
        let mut holder = Overlay::new(federation.trust());
        holder.take(spoilt(federation.founding.envelope())).unwrap();
        assert_eq!(
            holder.take_key_set(key_set.clone()).unwrap(),
            Some(federation.unit("KE").key_set.clone())
        );
        assert!(holder.learned.is_empty());
        let mut newcomer = Overlay::new(federation.founding_trust());
        assert!(newcomer.take_key_set(key_set).is_err(), "what is not held is verified");
    }
}
