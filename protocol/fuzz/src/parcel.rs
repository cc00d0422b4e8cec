//! Bytes taken for a parcel and opened: no panic, and only the seed's own parcel opens, however it is changed.

use std::sync::LazyLock;

use refpoint_protocol::{
    crypto::{OpenedSeed, SealingSeed},
    document::{decode, encode},
    ids::FederationId,
    limits::PARCEL_BYTES_MAX,
    relay::{parcel::Parcel, sealing::open},
};

const GOOD: &[u8] = include_bytes!("../corpus/parcel/good");
const FEDERATION: &[u8] = include_bytes!("../corpus/envelope/founding");

static SEED: LazyLock<OpenedSeed> = LazyLock::new(|| SealingSeed::from_bytes([1; 32]).expand());

pub(crate) fn run(bytes: &[u8]) {
    let Ok(parcel) = decode::<Parcel>(bytes, PARCEL_BYTES_MAX) else { return };
    let founding =
        refpoint_protocol::document::Envelope::from_bytes(FEDERATION).expect("the seed is an envelope");
    let federation = FederationId::from_bytes(*founding.id(None).as_bytes());
    let label = parcel.label.clone();
    match open(&parcel, Some(&SEED), federation, &label.member, &label.node) {
        Ok(_) => assert_eq!(encode(&parcel).expect("it encodes"), GOOD, "a changed parcel opens"),
        Err(error) => {
            let _answer = error.answer();
        }
    }
}
