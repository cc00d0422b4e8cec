//! Bytes to values and back: DAG-CBOR by `serde_ipld_dagcbor`, behind the canonical check.

use serde::{Serialize, de::DeserializeOwned};

use super::canonical::{CanonicalError, check_canonical};

/// Why bytes are not the value they were taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than the item may have.
    #[error("{got} bytes where at most {max} are allowed")]
    TooLong {
        /// The bound.
        max: usize,
        /// What came.
        got: usize,
    },
    /// The bytes are not canonical.
    #[error("not canonical CBOR: {0}")]
    NotCanonical(#[from] CanonicalError),
    /// The bytes are canonical and another type's.
    #[error("another shape than expected: {0}")]
    Shape(String),
}

/// A value that cannot be encoded: memory ran out, or a broken invariant of ours (a float, a null).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value cannot be encoded: {0}")]
pub struct EncodeError(pub String);

/// Decodes one value of at most `max` bytes.
///
/// # Errors
/// [`DecodeError`]; nothing is allocated for bytes past the bound or not canonical.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { max, got: bytes.len() });
    }
    check_canonical(bytes)?;
    serde_ipld_dagcbor::from_slice(bytes).map_err(|error| DecodeError::Shape(error.to_string()))
}

/// Encodes a value in its only form.
///
/// # Errors
/// [`EncodeError`] if the value has no such form.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let bytes = serde_ipld_dagcbor::to_vec(value).map_err(|error| EncodeError(error.to_string()))?;
    debug_assert_eq!(check_canonical(&bytes), Ok(()), "our own encoding is canonical");
    Ok(bytes)
}
