//! Lines put before a signed bundle and taken for the proof of a message: no panic, and none counts, since nobody signed
//! them.

use refpoint_protocol::audit::check_message_proof;

use super::bundle::{SIGNED, federation};

pub(crate) fn run(bytes: &[u8]) {
    let Some((&first, lines)) = bytes.split_first() else { return };
    // A file as it comes, or one whose bundle is whole.
    let bundle = SIGNED.get(usize::from(first & 3)).copied().unwrap_or_default();
    let file = [lines, bundle].concat();
    assert!(check_message_proof(&file, federation()).is_err(), "a proof that nobody signed");
}
