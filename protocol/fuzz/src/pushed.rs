//! Bytes from gossip: within their bounds or refused, and nothing forged becomes a document.

use refpoint_protocol::{
    document::encode,
    evidence::{push::Pushed, verify_any},
    ids::FederationId,
    limits::BODY_BYTES_MAX,
};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(pushed) = Pushed::from_bytes(bytes) else { return };
    assert!(pushed.body.as_ref().is_none_or(|body| body.len() <= BODY_BYTES_MAX));
    let again = encode(&pushed).expect("what was decoded encodes");
    assert_eq!(Pushed::from_bytes(&again).as_ref(), Ok(&pushed));
    // Nobody signs in this federation, and its id is no founding's.
    let founding = pushed.document.kind == "charter";
    let verified = verify_any(pushed.document, FederationId::from_bytes([7; 32]));
    assert!(founding || verified.is_err(), "a forged signature");
}
