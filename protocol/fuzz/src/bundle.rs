//! Bytes taken for an audit bundle: no panic, and none counts but the two that were signed, byte for byte.

use refpoint_protocol::{audit::audit, ids::FederationId};

pub(crate) const SIGNED: [&[u8]; 2] =
    [include_bytes!("../corpus/bundle/directory"), include_bytes!("../corpus/bundle/with-journal")];

pub(crate) fn run(bytes: &[u8]) {
    if audit(bytes, federation()).is_ok() {
        assert!(SIGNED.contains(&bytes), "another file is taken for a signed bundle");
    }
}

/// The seeds' own.
pub(crate) fn federation() -> FederationId {
    let id = "ab657e5b2829f0682ccd253cf71975304794b98137971253dca23e9382e196c6";
    id.parse().expect("it is an id")
}
