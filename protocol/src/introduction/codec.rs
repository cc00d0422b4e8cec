//! Frames to bytes and back: reads exactly one frame and never a byte of what follows it.

use super::frame::IntroductionFrame;
use crate::{
    document::{DecodeError, EncodeError, decode, encode},
    limits::{INTRODUCTION_BYTES_MAX, INTRODUCTION_FRAME_BYTES_MAX},
};

/// Why bytes are not the introduction's next frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is not an unsigned LEB128 in its shortest form, of at most four bytes.
    #[error("IN-01: the frame's length is not a minimal varint of at most {LENGTH_BYTES_MAX} bytes")]
    Length,
    /// No frame is empty, and none is longer than the bound.
    #[error("IN-02: a frame of {0} bytes, expected 1 to {INTRODUCTION_FRAME_BYTES_MAX}")]
    Size(usize),
    /// Not one canonical map with exactly one known key.
    #[error("IN-03: not a frame of the introduction: {0}")]
    Decode(#[from] DecodeError),
    /// More bytes in one direction than the step allows.
    #[error("IN-04: more than {INTRODUCTION_BYTES_MAX} bytes in one direction")]
    TooMuch,
    /// The caller handed over more bytes than [`FrameReader::wants`]: they belong to what follows.
    #[error("{got} bytes handed over where {wanted} were wanted")]
    Overrun {
        /// What the frame still needs.
        wanted: usize,
        /// What came.
        got: usize,
    },
    /// A frame of our own that has no encoding.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Encodes a frame after its length.
///
/// # Errors
/// [`FrameError::Size`] if it is too long to be read by anybody, [`FrameError::Encode`].
pub fn encode_frame(frame: &IntroductionFrame) -> Result<Vec<u8>, FrameError> {
    let body = encode(frame)?;
    if body.len() > INTRODUCTION_FRAME_BYTES_MAX {
        return Err(FrameError::Size(body.len()));
    }
    let mut bytes = Vec::with_capacity(body.len() + LENGTH_BYTES_MAX);
    let mut rest = body.len();
    while rest >= 0x80 {
        bytes.push(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    bytes.push(low_bits(rest));
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// Reads the frames of one direction from whatever pieces they arrive in, and counts their bytes.
#[derive(Clone, Debug, Default)]
pub struct FrameReader {
    state: Reading,
    total: usize,
}

#[derive(Clone, Debug)]
enum Reading {
    Length { value: usize, bytes: usize },
    Body { length: usize, bytes: Vec<u8> },
}

impl FrameReader {
    /// Starts before the first frame.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes may be read next without touching what follows the frame: at least one.
    #[must_use]
    pub fn wants(&self) -> usize {
        match &self.state {
            Reading::Length { .. } => 1,
            Reading::Body { length, bytes } => length - bytes.len(),
        }
    }

    /// Takes the bytes read, at most [`FrameReader::wants`], and hands out the frame that they complete.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is of no further use.
    pub fn push(&mut self, read: &[u8]) -> Result<Option<IntroductionFrame>, FrameError> {
        let wanted = self.wants();
        if read.len() > wanted {
            return Err(FrameError::Overrun { wanted, got: read.len() });
        }
        self.total += read.len();
        if self.total > INTRODUCTION_BYTES_MAX {
            return Err(FrameError::TooMuch);
        }
        match &mut self.state {
            Reading::Length { value, bytes } => {
                let Some(&byte) = read.first() else { return Ok(None) };
                *value |= usize::from(byte & 0x7F) << (7 * *bytes);
                *bytes += 1;
                if byte & 0x80 != 0 {
                    return if *bytes < LENGTH_BYTES_MAX { Ok(None) } else { Err(FrameError::Length) };
                }
                if byte == 0 && *bytes > 1 {
                    return Err(FrameError::Length);
                }
                let length = *value;
                if !(1..=INTRODUCTION_FRAME_BYTES_MAX).contains(&length) {
                    return Err(FrameError::Size(length));
                }
                if self.total + length > INTRODUCTION_BYTES_MAX {
                    return Err(FrameError::TooMuch);
                }
                // Grows with what arrives: a length alone reserves nothing.
                self.state = Reading::Body { length, bytes: Vec::new() };
                Ok(None)
            }
            Reading::Body { length, bytes } => {
                bytes.extend_from_slice(read);
                if bytes.len() < *length {
                    return Ok(None);
                }
                let frame = decode(bytes, INTRODUCTION_FRAME_BYTES_MAX)?;
                self.state = Reading::default();
                Ok(Some(frame))
            }
        }
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self::Length { value: 0, bytes: 0 }
    }
}

/// The low seven bits.
fn low_bits(value: usize) -> u8 {
    u8::try_from(value & 0x7F).unwrap_or_default()
}

/// Bytes of a frame's length: three suffice for 64 KiB; a fourth is read so that its error is clear.
const LENGTH_BYTES_MAX: usize = 4;
