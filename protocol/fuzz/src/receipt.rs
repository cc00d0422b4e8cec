//! Bytes taken for a receipt in its envelope: no panic, no forged signature, the form as the rules have it.

use refpoint_protocol::{
    document::{Envelope, Unverified},
    ids::FederationId,
    relay::receipt::{Receipt, ReceiptWord},
};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(envelope) = Envelope::from_bytes(bytes) else { return };
    let Ok(receipt) = Unverified::<Receipt>::open(envelope) else { return };
    let said = receipt.claimed();
    assert_eq!(said.word == ReceiptWord::Refused, said.reason.is_some());
    assert!(said.sealing_key.is_none() || said.word == ReceiptWord::Reseal);
    assert!(receipt.verify(FederationId::from_bytes([7; 32])).is_err(), "a forged signature");
}
