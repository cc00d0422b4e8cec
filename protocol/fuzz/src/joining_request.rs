//! Bytes taken for a joining request in its envelope: no panic, and no bound passed.

use refpoint_protocol::{
    document::{Envelope, Unverified},
    ids::FederationId,
    limits::{REQUEST_ADDRESS_BYTES_MAX, REQUEST_ADDRESSES_MAX},
    membership::request::JoiningRequest,
};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(envelope) = Envelope::from_bytes(bytes) else { return };
    let Ok(request) = Unverified::<JoiningRequest>::open(envelope) else { return };
    let said = request.claimed();
    assert!(said.addresses.len() <= REQUEST_ADDRESSES_MAX);
    assert!(said.addresses.iter().all(|address| address.len() <= REQUEST_ADDRESS_BYTES_MAX));
    assert_ne!(said.node.as_bytes(), said.root.as_bytes());
    let _verified = request.verify(FederationId::from_bytes([7; 32]));
}
