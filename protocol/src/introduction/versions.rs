//! Charter versions and certificates on their way: larger than a frame, so cut into slices and joined again.

use std::sync::Arc;

use super::frame::{IntroductionFrame, Versions};
use crate::{
    document::{DecodeError, EncodeError, Envelope, Verified, decode, encode},
    limits::{INTRODUCTION_BYTES_MAX, INTRODUCTION_FRAME_BYTES_MAX, INTRODUCTION_SLICE_BYTES},
    membership::{charter::Charter, settlement::Certificate},
};

/// Cuts as many of these versions as fit, oldest first, and then of the certificates, into frames. Those that do not
/// fit come at the next dial.
pub(super) fn slices(
    versions: &[Arc<Verified<Charter>>],
    settlements: &[Arc<Certificate>],
) -> Result<Vec<IntroductionFrame>, EncodeError> {
    let versions = versions.iter().map(|version| version.envelope());
    let settlements = settlements.iter().map(|certificate| certificate.envelope());
    let mut chosen: Vec<&Envelope> = Vec::new();
    let mut total = 0;
    for envelope in versions.chain(settlements) {
        total += encode(envelope.as_ref())?.len();
        if total > VERSIONS_BYTES_MAX {
            break;
        }
        chosen.push(envelope);
    }
    let data = encode(&chosen)?;
    let last = data.len().div_ceil(INTRODUCTION_SLICE_BYTES);
    let frame = |(index, slice): (usize, &[u8])| {
        IntroductionFrame::Versions(Versions { data: slice.to_vec(), more: index + 1 < last })
    };
    Ok(data.chunks(INTRODUCTION_SLICE_BYTES).enumerate().map(frame).collect())
}

/// Why slices are not an array of charter versions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionsError {
    /// A slice is empty, or longer than the bound.
    #[error("a slice of {0} bytes, expected 1 to {INTRODUCTION_SLICE_BYTES}")]
    Slice(usize),
    /// Together they are longer than the step allows.
    #[error("more than {INTRODUCTION_BYTES_MAX} bytes of versions")]
    TooMuch,
    /// Joined, they are no canonical array of envelopes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The slices that have come so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Joined {
    data: Vec<u8>,
}

impl Joined {
    /// Takes a slice; with the last one, hands out the envelopes, oldest first.
    pub(super) fn push(&mut self, slice: &Versions) -> Result<Option<Vec<Envelope>>, VersionsError> {
        let length = slice.data.len();
        if !(1..=INTRODUCTION_SLICE_BYTES).contains(&length) {
            return Err(VersionsError::Slice(length));
        }
        if self.data.len() + length > INTRODUCTION_BYTES_MAX {
            return Err(VersionsError::TooMuch);
        }
        self.data.extend_from_slice(&slice.data);
        if slice.more {
            return Ok(None);
        }
        Ok(Some(decode(&self.data, INTRODUCTION_BYTES_MAX)?))
    }
}

/// Bytes of versions sent in one introduction: what one direction allows, less `hello`, `refused` and the
/// slices' own fields. More than two of the largest envelopes, so that every dial makes progress.
const VERSIONS_BYTES_MAX: usize = INTRODUCTION_BYTES_MAX - 3 * INTRODUCTION_FRAME_BYTES_MAX;

const _: () = assert!(2 * Envelope::BYTES_MAX < VERSIONS_BYTES_MAX);
