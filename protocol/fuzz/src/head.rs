//! Bytes taken for a head in its envelope: no panic, no forged signature, the form as the rules have it.

use refpoint_protocol::{
    document::{Envelope, Unverified},
    heads::Head,
    ids::FederationId,
    limits::HEAD_TIPS_MAX,
};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(envelope) = Envelope::from_bytes(bytes) else { return };
    let Ok(head) = Unverified::<Head>::open(envelope) else { return };
    let said = head.claimed();
    assert_eq!(said.number.0 == 0, said.previous.is_none());
    assert!((1..=HEAD_TIPS_MAX).contains(&said.charter.len()) && said.charter.is_sorted_by(|a, b| a < b));
    assert!(said.time >= said.run);
    assert!(head.verify(FederationId::from_bytes([7; 32])).is_err(), "a forged signature");
}
