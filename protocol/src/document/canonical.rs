//! The one form in which bytes are accepted: canonical DAG-CBOR within the profile of SPEC.
//!
//! `serde_ipld_dagcbor` lets some non-canonical forms pass, above all inside unknown fields; a strict
//! reader in another language refuses them, and two directories would differ. So every decode is
//! preceded by this one pass over the bytes.

use crate::limits::{DEPTH_MAX, INTEGER_MAX};

/// Why bytes are not in canonical form. Offsets count from the start of the item checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// The bytes end inside an item.
    #[error("truncated at byte {0}")]
    Truncated(usize),
    /// Bytes follow the one item.
    #[error("bytes after the item at byte {0}")]
    Trailing(usize),
    /// A length or integer is not in its shortest form, is indefinite, or uses a reserved head.
    #[error("head not in its shortest form at byte {0}")]
    Head(usize),
    /// An integer beyond ±(2^53 − 1).
    #[error("integer beyond 2^53 - 1 at byte {0}")]
    Integer(usize),
    /// A tag, float, null, undefined or other simple value.
    #[error("type outside the profile at byte {0}")]
    Type(usize),
    /// A text that is not UTF-8.
    #[error("text is not UTF-8 at byte {0}")]
    Utf8(usize),
    /// A map key that is not a text, or an empty one.
    #[error("map key is not a non-empty text at byte {0}")]
    Key(usize),
    /// Map keys out of order or doubled (shorter first, then bytewise).
    #[error("map keys out of order at byte {0}")]
    Order(usize),
    /// Nesting deeper than [`DEPTH_MAX`].
    #[error("nested too deeply at byte {0}")]
    Depth(usize),
}

/// Checks that `bytes` are exactly one canonical item.
///
/// # Errors
/// The first [`CanonicalError`] met, with its offset.
pub fn check_canonical(bytes: &[u8]) -> Result<(), CanonicalError> {
    let mut reader = Reader { bytes, at: 0 };
    reader.item(0)?;
    if reader.at == bytes.len() { Ok(()) } else { Err(CanonicalError::Trailing(reader.at)) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn item(&mut self, depth: usize) -> Result<(), CanonicalError> {
        let start = self.at;
        if depth > DEPTH_MAX {
            return Err(CanonicalError::Depth(start));
        }
        let (major, argument) = self.head()?;
        match major {
            UNSIGNED if argument > INTEGER_MAX => Err(CanonicalError::Integer(start)),
            // −1 − n: the least is −(2^53 − 1).
            NEGATIVE if argument >= INTEGER_MAX => Err(CanonicalError::Integer(start)),
            UNSIGNED | NEGATIVE => Ok(()),
            BYTES => self.take(argument).map(drop),
            TEXT => {
                let text = self.take(argument)?;
                std::str::from_utf8(text).map(drop).map_err(|_| CanonicalError::Utf8(start))
            }
            ARRAY => {
                for _ in 0..argument {
                    self.item(depth + 1)?;
                }
                Ok(())
            }
            MAP => self.map(argument, depth),
            SIMPLE if argument == FALSE || argument == TRUE => Ok(()),
            _ => Err(CanonicalError::Type(start)),
        }
    }

    fn map(&mut self, entries: u64, depth: usize) -> Result<(), CanonicalError> {
        let mut previous: &[u8] = &[];
        for _ in 0..entries {
            let start = self.at;
            let (major, length) = self.head()?;
            if major != TEXT || length == 0 {
                return Err(CanonicalError::Key(start));
            }
            let key = self.take(length)?;
            if std::str::from_utf8(key).is_err() {
                return Err(CanonicalError::Utf8(start));
            }
            // The empty start is below every key, since keys are not empty.
            if (key.len(), key) <= (previous.len(), previous) {
                return Err(CanonicalError::Order(start));
            }
            previous = key;
            self.item(depth + 1)?;
        }
        Ok(())
    }

    /// Reads a head: the major type and its argument, refused unless in the shortest form.
    fn head(&mut self) -> Result<(u8, u64), CanonicalError> {
        let start = self.at;
        let first = self.take(1)?.first().copied().unwrap_or_default();
        let (major, short) = (first >> 5, first & 0x1F);
        let (width, least) = match short {
            0..24 => return Ok((major, u64::from(short))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(CanonicalError::Head(start)),
        };
        // A simple value with its own argument bytes is a float or an unassigned value.
        if major == SIMPLE {
            return Err(CanonicalError::Type(start));
        }
        let argument = self.take(width)?.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        if argument < least { Err(CanonicalError::Head(start)) } else { Ok((major, argument)) }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CanonicalError> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length))
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or(CanonicalError::Truncated(self.at))?;
        self.at += taken.len();
        Ok(taken)
    }
}

// Major types and simple values of RFC 8949, section 3.
const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;
const FALSE: u64 = 20;
const TRUE: u64 = 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_profile() {
        let good: [&[u8]; 8] = [
            &[0x00],
            &[0x18, 0x18],
            &[0x1B, 0x00, 0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x42, 1, 2],
            &[0x61, b'a'],
            &[0x82, 0xF4, 0xF5],
            &[0xA2, 0x61, b'b', 0x01, 0x62, b'a', b'a', 0x02],
            &[0x20],
        ];
        for bytes in good {
            assert_eq!(check_canonical(bytes), Ok(()), "{bytes:02x?}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        use CanonicalError::*;
        let bad: [(&[u8], CanonicalError); 19] = [
            (&[], Truncated(0)),
            (&[0x18, 0x17], Head(0)),
            (&[0x19, 0x00, 0xFF], Head(0)),
            (&[0x1B, 0x00, 0x20, 0, 0, 0, 0, 0, 0], Integer(0)),
            (&[0x3B, 0x00, 0x1F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], Integer(0)),
            (&[0x5F, 0x41, 0x00, 0xFF], Head(0)),
            (&[0x9F, 0xFF], Head(0)),
            (&[0xC0, 0x00], Type(0)),
            (&[0xF6], Type(0)),
            (&[0xF7], Type(0)),
            (&[0xF9, 0x3C, 0x00], Type(0)),
            (&[0xF8, 0x20], Type(0)),
            (&[0x61, 0xFF], Utf8(0)),
            (&[0xA1, 0x01, 0x01], Key(1)),
            (&[0xA1, 0x60, 0x01], Key(1)),
            (&[0xA2, 0x61, b'a', 0x01, 0x61, b'a', 0x02], Order(4)),
            (&[0xA2, 0x62, b'a', b'a', 0x01, 0x61, b'b', 0x02], Order(5)),
            (&[0x00, 0x00], Trailing(1)),
            (&[0x5B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], Truncated(9)),
        ];
        for (bytes, error) in bad {
            assert_eq!(check_canonical(bytes), Err(error), "{bytes:02x?}");
        }
    }

    #[test]
    fn bounds_the_depth_before_the_stack_does() {
        let mut nested = vec![0x81_u8; DEPTH_MAX];
        nested.push(0x00);
        assert_eq!(check_canonical(&nested), Ok(()));
        let deep = vec![0x81_u8; 100_000];
        assert!(matches!(check_canonical(&deep), Err(CanonicalError::Depth(_))));
    }
}
