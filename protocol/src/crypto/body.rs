//! Body encryption: padding to buckets, then XChaCha20-Poly1305 with empty associated data.
//!
//! The signed header binds the ciphertext by its hash, the nonce and the key commitment, so nothing
//! else needs to be associated.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit},
};
use zeroize::Zeroizing;

use super::keys::ContentKey;
use crate::limits::MESSAGE_BODY_BYTES_MAX;

/// Bytes of the authentication tag that ends a ciphertext.
pub const TAG_BYTES: usize = 16;

/// Bytes of the largest padded body.
pub const PADDED_BYTES_MAX: usize = bucket(MESSAGE_BODY_BYTES_MAX + LENGTH_BYTES);

/// Why a body is not encrypted or not decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A body beyond its bound.
    #[error("a body of {0} bytes, at most {MESSAGE_BODY_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The ciphertext does not authenticate under this key and nonce.
    #[error("the body does not decrypt")]
    Decrypt,
    /// The decrypted bytes are not a padded body: a length beyond them, bytes that are not zero, or a size
    /// that is no bucket for this length.
    #[error("the body's padding is wrong")]
    Padding,
    /// The cipher refused to encrypt: an invariant of ours is broken.
    #[error("the cipher refused to encrypt")]
    Bug,
}

/// Encrypts and decrypts bodies under one content key and nonce.
pub struct BodyCipher {
    cipher: XChaCha20Poly1305,
    nonce: XNonce,
}

impl BodyCipher {
    /// Takes the content key (its encryption half is derived) and the header's nonce.
    #[must_use]
    pub fn new(key: &ContentKey, nonce: &[u8; 24]) -> Self {
        let (key, _) = key.schedule();
        Self { cipher: XChaCha20Poly1305::new((&*key).into()), nonce: XNonce::from(*nonce) }
    }

    /// Pads and encrypts: the ciphertext is [`bucket`] + [`TAG_BYTES`] long.
    ///
    /// # Errors
    /// [`BodyError::TooLong`] past the bound.
    pub fn encrypt(&self, body: &[u8]) -> Result<Vec<u8>, BodyError> {
        let length = u32::try_from(body.len()).map_err(|_| BodyError::TooLong(body.len()))?;
        if body.len() > MESSAGE_BODY_BYTES_MAX {
            return Err(BodyError::TooLong(body.len()));
        }
        let size = bucket(body.len() + LENGTH_BYTES);
        let mut padded = Zeroizing::new(Vec::with_capacity(size));
        padded.extend_from_slice(&length.to_be_bytes());
        padded.extend_from_slice(body);
        padded.resize(size, 0);
        self.cipher.encrypt(&self.nonce, padded.as_slice()).map_err(|_| BodyError::Bug)
    }

    /// Decrypts and removes the padding, every byte of which is checked: two padded forms of one body
    /// would be two ciphertexts.
    ///
    /// # Errors
    /// [`BodyError::Decrypt`] or [`BodyError::Padding`].
    pub fn decrypt(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, BodyError> {
        let mut padded =
            Zeroizing::new(self.cipher.decrypt(&self.nonce, ciphertext).map_err(|_| BodyError::Decrypt)?);
        let (head, rest) = padded.split_first_chunk::<LENGTH_BYTES>().ok_or(BodyError::Padding)?;
        let length = usize::try_from(u32::from_be_bytes(*head)).map_err(|_| BodyError::Padding)?;
        if length > MESSAGE_BODY_BYTES_MAX {
            return Err(BodyError::Padding);
        }
        let zeros = rest.get(length..).ok_or(BodyError::Padding)?;
        if zeros.iter().any(|byte| *byte != 0) || padded.len() != bucket(length + LENGTH_BYTES) {
            return Err(BodyError::Padding);
        }
        padded.truncate(length + LENGTH_BYTES);
        padded.drain(..LENGTH_BYTES);
        Ok(padded)
    }
}

/// The padded size of `length` bytes: 512, 1,024, 2,048 or 4,096; beyond, the next of sixteen equal steps
/// between two powers of two, so that padding adds at most 6.25 % and a size tells about four bits.
#[must_use]
pub const fn bucket(length: usize) -> usize {
    if length <= BUCKET_BYTES_MIN {
        BUCKET_BYTES_MIN
    } else if length <= DOUBLING_BYTES_MAX {
        length.next_power_of_two()
    } else {
        let step = 1 << ((length - 1).ilog2() - STEPS_LOG2);
        length.next_multiple_of(step)
    }
}

/// Whether a padded body can have this size.
#[must_use]
pub const fn is_bucket(size: usize) -> bool {
    bucket(size) == size
}

/// Bytes of the big-endian length before the body.
const LENGTH_BYTES: usize = 4;

/// The smallest bucket: an acknowledgement and a short request look alike.
const BUCKET_BYTES_MIN: usize = 512;

/// Up to here buckets double: short texts reveal little, and nobody notices two more kilobytes.
const DOUBLING_BYTES_MAX: usize = 4_096;

/// Steps between two powers of two, as a power of two.
const STEPS_LOG2: u32 = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn buckets_are_few_and_cost_little() {
        assert_eq!([0, 512, 513, 4_096, 4_097].map(bucket), [512, 512, 1_024, 4_096, 4_352]);
        for length in 1..=20_000 {
            let size = bucket(length);
            assert!(size >= length && is_bucket(size), "{length}");
            assert!(length <= 4_096 || (size - length) * 16 < length, "{length}: {size}");
        }
        let sizes: std::collections::BTreeSet<_> =
            (0..=MESSAGE_BODY_BYTES_MAX).step_by(7).map(bucket).collect();
        assert!(sizes.len() < 150, "{}", sizes.len());
        assert!(is_bucket(PADDED_BYTES_MAX));
    }

    #[test]
    fn bodies_of_any_length_come_back() {
        let cipher = BodyCipher::new(&ContentKey::from_bytes([1; 32]), &[2; 24]);
        for length in [0, 1, 507, 508, 509, 4_092, 4_093, 70_000, MESSAGE_BODY_BYTES_MAX] {
            let body = vec![0xA5; length];
            let ciphertext = cipher.encrypt(&body).unwrap();
            assert_eq!(ciphertext.len(), bucket(length + 4) + TAG_BYTES);
            assert_eq!(*cipher.decrypt(&ciphertext).unwrap(), body);
        }
        let long = vec![0; MESSAGE_BODY_BYTES_MAX + 1];
        assert_eq!(cipher.encrypt(&long), Err(BodyError::TooLong(long.len())));
    }

    #[test]
    fn padding_has_one_form() {
        let cipher = BodyCipher::new(&ContentKey::from_bytes([1; 32]), &[2; 24]);
        let seal = |padded: &[u8]| cipher.cipher.encrypt(&cipher.nonce, padded).unwrap();
        let mut padded = vec![0; 512];
        padded[3] = 5;
        assert_eq!(*cipher.decrypt(&seal(&padded)).unwrap(), [0; 5]);
        for (what, change) in [
            ("a byte after the body", &(|p: &mut Vec<u8>| p[511] = 1) as &dyn Fn(&mut Vec<u8>)),
            ("a length beyond", &|p| p[0] = 0xFF),
            ("a length just beyond", &|p| p[2..4].copy_from_slice(&509_u16.to_be_bytes())),
            ("no bucket", &|p| p.truncate(511)),
            ("a larger bucket than needed", &|p| p.resize(1_024, 0)),
            ("nothing", &Vec::clear),
        ] {
            let mut bad = padded.clone();
            change(&mut bad);
            assert_eq!(cipher.decrypt(&seal(&bad)), Err(BodyError::Padding), "{what}");
        }
        assert_eq!(cipher.decrypt(&[0; 15]), Err(BodyError::Decrypt));
    }
}
