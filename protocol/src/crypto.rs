//! What messages are sealed with: keys, the key schedule, body encryption, padding and HPKE.
//!
//! Everything here is a pure function; random bytes are arguments, so that vectors can be made and no
//! secret depends on a generator hidden in a library. It refuses to log or copy secrets: they have no
//! `Debug`, no `Clone`, no serialisation, and are zeroised when dropped.

mod body;
mod drawn;
mod keys;
mod seal;

pub use body::{BodyCipher, BodyError, PADDED_BYTES_MAX, TAG_BYTES, bucket, is_bucket};
pub use drawn::Drawn;
pub use keys::{ContentKey, KEY_INFO, OpenedSeed, PublicKeyError, SealingSeed, check_sealing_key};
pub use seal::{HpkeFault, PARCEL_INFO, SEAL_RANDOM_BYTES, SEALED_OVERHEAD_BYTES, hpke_open, hpke_seal};
