//! What bounds a stored record, and what is kept for those who resume.

use super::PARCEL_BYTES_MAX;

/// Bytes of a stored record's key: two 32-byte ids, or a setting's name, with room.
pub const STORED_KEY_BYTES_MAX: usize = 256;

/// Bytes of a stored record's value: the largest is a message's ciphertext, with room to double.
pub const STORED_VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Events kept for those who resume: an hour of the busiest hour seen in exercises.
pub const EVENTS_KEPT: u64 = 4_096;

const _: () = assert!(PARCEL_BYTES_MAX * 2 <= STORED_VALUE_BYTES_MAX);
