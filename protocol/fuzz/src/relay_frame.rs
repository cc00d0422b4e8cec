//! Bytes taken for a frame of the relay: no panic, and what is read survives its encoding.

use refpoint_protocol::{
    document::{decode, encode},
    limits::PARCEL_BYTES_MAX,
    relay::frame::RelayFrame,
};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(frame) = decode::<RelayFrame>(bytes, PARCEL_BYTES_MAX) else { return };
    let again = encode(&frame).expect("what was decoded encodes");
    assert!(again.len() <= bytes.len(), "unknown fields fall away");
    assert!(decode::<RelayFrame>(&again, PARCEL_BYTES_MAX).as_ref() == Ok(&frame));
}
