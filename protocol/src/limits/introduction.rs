//! What bounds the introduction, before anybody is admitted.

use core::time::Duration;

use super::CHARTER_BYTES_MAX;

/// Bytes of an introduction frame.
pub const INTRODUCTION_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Bytes of all introduction frames of one direction, lengths included: a charter four times its bound.
pub const INTRODUCTION_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of charter data in one `versions` frame: leaves room for the frame's own fields.
pub const INTRODUCTION_SLICE_BYTES: usize = 60 * 1024;

/// How long one introduction frame may take.
pub const INTRODUCTION_FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the whole introduction may take.
pub const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a refuser reads on so that its refusal arrives before the connection's reset.
pub const REFUSAL_LINGER: Duration = Duration::from_secs(2);

const _: () = assert!(INTRODUCTION_SLICE_BYTES < INTRODUCTION_FRAME_BYTES_MAX);
const _: () = assert!(CHARTER_BYTES_MAX * 2 < INTRODUCTION_BYTES_MAX);
