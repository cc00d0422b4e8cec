//! Bytes taken for an envelope: no panic, no envelope past a bound, and its meaning survives its encoding.

use refpoint_protocol::{
    document::{Envelope, FormError, Kind, Payload, Unverified, encode},
    ids::FederationId,
    limits::{KIND_BYTES_MAX, PAYLOAD_BYTES_MAX, SIGNATURE_BYTES_MAX, SIGNATURES_MAX},
};
use serde::{Deserialize, Serialize};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(envelope) = Envelope::from_bytes(bytes) else { return };
    assert!((1..=KIND_BYTES_MAX).contains(&envelope.kind.len()));
    assert!(envelope.payload.len() <= PAYLOAD_BYTES_MAX && envelope.signatures.len() <= SIGNATURES_MAX);
    let longest = envelope.signatures.iter().map(|s| s.key.len().max(s.sig.len())).max();
    assert!(longest.unwrap_or(0) <= SIGNATURE_BYTES_MAX);

    let again = encode(&envelope).expect("what was decoded encodes");
    assert_eq!(Envelope::from_bytes(&again).as_ref(), Ok(&envelope));
    // Unknown fields fall away, so the bytes may become fewer, never more.
    assert!(again.len() <= bytes.len());

    let federation = FederationId::from_bytes([7; 32]);
    assert_ne!(envelope.id(None), envelope.id(Some(federation)));
    // No key of the seeds' signatures signs in this federation, so nothing may come out verified.
    if let Ok(unverified) = Unverified::<Anything>::open(envelope) {
        assert!(unverified.verify(federation).is_err(), "a forged signature");
    }
}

/// A payload that every map is, so that the fuzzer reaches the signatures.
#[derive(Serialize, Deserialize)]
struct Anything {}

impl Payload for Anything {
    const KIND: Kind = Kind::Receipt;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = 4_096;

    fn check_form(&self) -> Result<(), FormError> {
        Ok(())
    }
}
