//! Bytes taken for a settlement in its envelope: no panic, the form as the rules have it, and nothing that nobody signed
//! is taken for a certificate.

use std::collections::BTreeSet;

use refpoint_protocol::{
    document::{Envelope, Unverified},
    ids::FederationId,
    limits::{MEMBERS_MAX, SETTLEMENT_KEY_SETS_MAX},
    membership::settlement::{Settlement, verify_settlement},
};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(envelope) = Envelope::from_bytes(bytes) else { return };
    let Ok(settlement) = Unverified::<Settlement>::open(envelope.clone()) else { return };
    let said = settlement.claimed();
    assert_ne!(said.charter, said.base);
    assert!((1..=MEMBERS_MAX).contains(&said.voices.len()));
    assert!(said.voices.iter().all(|voice| (1..=SETTLEMENT_KEY_SETS_MAX).contains(&voice.key_sets.len())));
    assert!(envelope.signatures.is_empty());
    // The seeds' heads are signed in their own federation.
    assert!(
        verify_settlement(envelope.clone(), FederationId::from_bytes([7; 32])).is_err(),
        "a forged signature"
    );
    if let Ok(certificate) = verify_settlement(envelope, federation()) {
        let members: BTreeSet<_> = certificate.voices().iter().map(|voice| voice.member()).collect();
        assert_eq!(members.len(), certificate.voices().len());
        assert!(certificate.voices().iter().all(|voice| voice.tip().is_some()));
    }
}

/// That of the seeds.
fn federation() -> FederationId {
    let founding = include_bytes!("../corpus/envelope/founding");
    let envelope = Envelope::from_bytes(founding).expect("the seed is an envelope");
    FederationId::from_bytes(*envelope.id(None).as_bytes())
}
