//! One frame on a byte stream: a minimal unsigned varint length, then that many bytes.
//!
//! Reading takes exactly one frame's bytes and never one more, and reserves memory only as bytes come.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why bytes are no frame. All but [`FrameError::Io`] are the writer's fault.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is not in its shortest form.
    #[error("the length is not in its shortest form")]
    LengthForm,
    /// The length has more than four bytes.
    #[error("the length has more than {LENGTH_BYTES_MAX} bytes")]
    LengthTooLong,
    /// More bytes than the frame may have.
    #[error("a frame of {got} bytes where at most {max} are allowed")]
    TooLong {
        /// The bound.
        max: usize,
        /// What was announced.
        got: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// Bytes came after the only frame of a stream.
    #[error("bytes after the end of the frame")]
    Trailing,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

impl FrameError {
    /// Whether the writer broke a rule, rather than the connection.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::Truncated)
    }
}

/// Bytes of the largest length: 2^28 − 1 bytes of frame, far past every bound.
pub const LENGTH_BYTES_MAX: usize = 4;

/// Reads a length of at most `max`; `None` where the stream ends before it.
///
/// # Errors
/// [`FrameError`].
pub async fn read_length<R: AsyncRead + Unpin>(io: &mut R, max: usize) -> Result<Option<usize>, FrameError> {
    let mut length = 0_usize;
    for index in 0..LENGTH_BYTES_MAX {
        let mut byte = [0_u8];
        if io.read(&mut byte).await? == 0 {
            return if index == 0 { Ok(None) } else { Err(FrameError::Truncated) };
        }
        let [byte] = byte;
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return Err(FrameError::LengthForm);
            }
            if length > max {
                return Err(FrameError::TooLong { max, got: length });
            }
            return Ok(Some(length));
        }
    }
    Err(FrameError::LengthTooLong)
}

/// Reads `length` bytes after what `bytes` already holds.
///
/// # Errors
/// [`FrameError::Truncated`] or [`FrameError::Io`].
pub async fn read_body<R: AsyncRead + Unpin>(
    io: &mut R,
    length: usize,
    bytes: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let before = bytes.len();
    bytes.reserve(length.min(RESERVE_BYTES));
    io.take(length as u64).read_to_end(bytes).await?;
    if bytes.len() - before == length { Ok(()) } else { Err(FrameError::Truncated) }
}

/// Reads one frame of at most `max` bytes; `None` where the stream ends before it.
///
/// # Errors
/// [`FrameError`].
pub async fn read_frame<R: AsyncRead + Unpin>(io: &mut R, max: usize) -> Result<Option<Vec<u8>>, FrameError> {
    let Some(length) = read_length(io, max).await? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    read_body(io, length, &mut bytes).await?;
    Ok(Some(bytes))
}

/// Reads the only frame of a stream, and the stream's end.
///
/// # Errors
/// [`FrameError`]; [`FrameError::Truncated`] where there is no frame.
pub async fn read_only_frame<R: AsyncRead + Unpin>(io: &mut R, max: usize) -> Result<Vec<u8>, FrameError> {
    let bytes = read_frame(io, max).await?.ok_or(FrameError::Truncated)?;
    match io.read(&mut [0_u8]).await? {
        0 => Ok(bytes),
        _ => Err(FrameError::Trailing),
    }
}

/// Writes one frame without flushing.
///
/// # Errors
/// The stream's.
pub async fn write_frame<W: AsyncWrite + Unpin>(io: &mut W, bytes: &[u8]) -> io::Result<()> {
    io.write_all(&length_prefix(bytes.len())).await?;
    io.write_all(bytes).await
}

/// The varint of a length, in its shortest form.
#[must_use]
pub fn length_prefix(mut length: usize) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(LENGTH_BYTES_MAX);
    loop {
        // The mask leaves seven bits.
        let low = u8::try_from(length & 0x7F).unwrap_or_default();
        length >>= 7;
        if length == 0 {
            prefix.push(low);
            return prefix;
        }
        prefix.push(low | 0x80);
    }
}

/// Bytes reserved on the word of a length alone.
const RESERVE_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    #[test]
    fn frames_round_trip_and_leave_the_rest_unread() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 200_000] {
            let body = vec![0x5A; length];
            let mut bytes = length_prefix(length);
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(b"rest");
            let mut io = Cursor::new(bytes);
            assert_eq!(block_on(read_frame(&mut io, length)).unwrap(), Some(body));
            let mut rest = Vec::new();
            block_on(io.read_to_end(&mut rest)).unwrap();
            assert_eq!(rest, b"rest");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let read = |bytes: &[u8]| block_on(read_frame(&mut Cursor::new(bytes.to_vec()), 300));
        assert!(matches!(read(&[]), Ok(None)));
        assert!(matches!(read(&[0x80, 0x00]), Err(FrameError::LengthForm)));
        assert!(matches!(read(&[0x81, 0x80, 0x00]), Err(FrameError::LengthForm)));
        assert!(matches!(read(&[0x80, 0x80, 0x80, 0x80, 0x01]), Err(FrameError::LengthTooLong)));
        assert!(matches!(read(&[0xAD, 0x02]), Err(FrameError::TooLong { max: 300, got: 301 })));
        assert!(matches!(read(&[0x80]), Err(FrameError::Truncated)));
        assert!(matches!(read(&[0x02, 0x00]), Err(FrameError::Truncated)));
        let only = |bytes: &[u8]| block_on(read_only_frame(&mut Cursor::new(bytes.to_vec()), 300));
        assert!(matches!(only(&[0x01, 0x09, 0x00]), Err(FrameError::Trailing)));
        assert_eq!(only(&[0x01, 0x09]).unwrap(), [0x09]);
    }

    #[test]
    fn a_large_length_alone_reserves_little() {
        let mut bytes = Vec::new();
        let result = block_on(read_body(&mut Cursor::new(vec![0; 10]), 200_000_000, &mut bytes));
        assert!(matches!(result, Err(FrameError::Truncated)));
        assert!(bytes.capacity() <= 2 * RESERVE_BYTES);
    }
}
