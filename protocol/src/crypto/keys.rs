//! Secret keys: the seed of a sealing key and a message's content key, and what follows from each.

use hkdf::Hkdf;
use hpke::{Deserializable, Kem, Serializable, kem::XWing};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    directory::node_record::SealingKeyEntry,
    ids::{ContentHash, SealingKeyId},
    time::Timestamp,
};

/// The HKDF info string of the key schedule, version 1.
pub const KEY_INFO: &[u8] = b"refpoint message key v1";

/// The 32 random bytes from which a sealing key follows (X-Wing's private key, draft-connolly-cfrg-xwing-kem).
///
/// Never derived by HPKE's `DeriveKeyPair`: libraries differ there.
pub struct SealingSeed(Zeroizing<[u8; 32]>);

impl SealingSeed {
    /// Takes 32 bytes that a cryptographic generator drew.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the key store alone.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Expands the seed once, about 90 µs; keep the result for as long as the key is in use.
    #[must_use]
    pub fn expand(&self) -> OpenedSeed {
        // `from_bytes` takes any 32 bytes; the type of the field is their length.
        match <XWing as Kem>::PrivateKey::from_bytes(self.0.as_ref()) {
            Ok(private) => {
                let public = XWing::sk_to_pk(&private).to_bytes().to_vec();
                OpenedSeed { id: SealingKeyEntry::id_of(&public), private: Some(private), public }
            }
            Err(_) => OpenedSeed { id: SealingKeyId::from_bytes([0; 32]), private: None, public: Vec::new() },
        }
    }
}

/// A sealing key's private half, expanded. It opens what was sealed to [`OpenedSeed::id`].
pub struct OpenedSeed {
    id: SealingKeyId,
    /// Absent only if 32 bytes were no X-Wing seed, which cannot be: such a key opens nothing.
    private: Option<<XWing as Kem>::PrivateKey>,
    public: Vec<u8>,
}

impl OpenedSeed {
    /// The name of the key: SHA-256 of its public bytes.
    #[must_use]
    pub const fn id(&self) -> SealingKeyId {
        self.id
    }

    /// What the node record publishes of it.
    #[must_use]
    pub fn entry(&self, from: Timestamp, until: Timestamp) -> SealingKeyEntry {
        SealingKeyEntry { kem: SealingKeyEntry::X_WING, key: self.public.clone(), from, until }
    }

    pub(super) const fn private(&self) -> Option<&<XWing as Kem>::PrivateKey> {
        self.private.as_ref()
    }
}

/// A message's content key: 32 random bytes, the same for all its recipients.
pub struct ContentKey(Zeroizing<[u8; 32]>);

impl ContentKey {
    /// Takes 32 bytes that a cryptographic generator drew, or that a parcel held.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for sealing and for the store's encrypted rows alone.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key schedule: HKDF-SHA256 without salt, info [`KEY_INFO`], 64 bytes. The first half encrypts the
    /// body, the second is the commitment that the signed header carries, so that one ciphertext opens
    /// under one content key only.
    #[must_use]
    pub fn schedule(&self) -> (Zeroizing<[u8; 32]>, ContentHash) {
        let mut both = Zeroizing::new([0; 64]);
        // 64 bytes are far below HKDF's bound of 255 blocks, the only error of `expand`.
        let expanded = Hkdf::<Sha256>::new(None, self.0.as_ref()).expand(KEY_INFO, both.as_mut());
        debug_assert!(expanded.is_ok(), "64 bytes are within HKDF's bound");
        let (mut key, mut commitment) = (Zeroizing::new([0; 32]), [0; 32]);
        let (first, second) = both.split_at(32);
        key.copy_from_slice(first);
        commitment.copy_from_slice(second);
        (key, ContentHash::from_bytes(commitment))
    }
}

/// Why a public sealing key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// A KEM that this version does not know.
    #[error("KEM {0:#06x} is not known, only X-Wing (0x647a) is")]
    Kem(u64),
    /// Another length than X-Wing's.
    #[error("a sealing key of {0} bytes, X-Wing keys have 1216")]
    Length(usize),
    /// A half that would make the shared secret predictable, or an ML-KEM key out of range.
    #[error("a degenerate sealing key")]
    Degenerate,
}

/// Checks a public sealing key where it enters: libraries accept degenerate ones.
///
/// # Errors
/// [`PublicKeyError`] with what is wrong.
pub fn check_sealing_key(entry: &SealingKeyEntry) -> Result<(), PublicKeyError> {
    if entry.kem != SealingKeyEntry::X_WING {
        return Err(PublicKeyError::Kem(entry.kem));
    }
    let Some((lattice, curve)) = entry.key.split_at_checked(ML_KEM_KEY_BYTES) else {
        return Err(PublicKeyError::Length(entry.key.len()));
    };
    let Ok(mut point) = <[u8; 32]>::try_from(curve) else {
        return Err(PublicKeyError::Length(entry.key.len()));
    };
    // X25519 ignores the highest bit.
    let [.., last] = &mut point;
    *last &= 0x7F;
    let zero = lattice.iter().take(ML_KEM_KEY_BYTES - 32).all(|byte| *byte == 0);
    let known = <XWing as Kem>::PublicKey::from_bytes(&entry.key).is_ok();
    if zero || SMALL_ORDER.contains(&point) || !known {
        return Err(PublicKeyError::Degenerate);
    }
    Ok(())
}

/// Bytes of the ML-KEM-768 half of an X-Wing public key; its last 32 are a seed.
const ML_KEM_KEY_BYTES: usize = 1_184;

/// The encodings of Curve25519's points of small order (RFC 7748, section 7; cr.yp.to/ecdh.html).
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xE0, 0xEB, 0x7A, 0x7C, 0x3B, 0x41, 0xB8, 0xAE, 0x16, 0x56, 0xE3, 0xFA, 0xF1, 0x9F, 0xC4, 0x6A, 0xDA,
        0x09, 0x8D, 0xEB, 0x9C, 0x32, 0xB1, 0xFD, 0x86, 0x62, 0x05, 0x16, 0x5F, 0x49, 0xB8, 0x00,
    ],
    [
        0x5F, 0x9C, 0x95, 0xBC, 0xA3, 0x50, 0x8C, 0x24, 0xB1, 0xD0, 0xB1, 0x55, 0x9C, 0x83, 0xEF, 0x5B, 0x04,
        0x44, 0x5C, 0xC4, 0x58, 0x1C, 0x8E, 0x86, 0xD8, 0x22, 0x4E, 0xDD, 0xD0, 0x9F, 0x11, 0x57,
    ],
    near_prime(0xEC),
    near_prime(0xED),
    near_prime(0xEE),
];

const fn near_prime(lowest: u8) -> [u8; 32] {
    let mut bytes = [0xFF; 32];
    bytes[0] = lowest;
    bytes[31] = 0x7F;
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn entry(seed: u8) -> SealingKeyEntry {
        SealingSeed::from_bytes([seed; 32]).expand().entry(Timestamp::default(), Timestamp::MAX)
    }

    #[test]
    fn a_seed_names_one_public_key() {
        let (one, same, other) = (entry(1), entry(1), entry(2));
        assert_eq!(one, same);
        assert_ne!(one.id(), other.id());
        assert_eq!(one.key.len(), SealingKeyEntry::X_WING_KEY_BYTES);
        assert_eq!(check_sealing_key(&one), Ok(()));
    }

    #[test]
    fn degenerate_and_foreign_keys_are_refused() {
        let good = entry(1);
        let with = |change: &dyn Fn(&mut SealingKeyEntry)| {
            let mut entry = good.clone();
            change(&mut entry);
            check_sealing_key(&entry)
        };
        assert_eq!(with(&|e| e.kem = 0x20), Err(PublicKeyError::Kem(0x20)));
        assert_eq!(with(&|e| e.key.truncate(1_200)), Err(PublicKeyError::Length(1_200)));
        assert_eq!(with(&|e| e.key.truncate(3)), Err(PublicKeyError::Length(3)));
        assert_eq!(with(&|e| e.key.push(0)), Err(PublicKeyError::Length(1_217)));
        assert_eq!(with(&|e| e.key.fill(0)), Err(PublicKeyError::Degenerate));
        assert_eq!(with(&|e| e.key[..1_184].fill(0)), Err(PublicKeyError::Degenerate));
        assert_eq!(with(&|e| e.key[..3].fill(0xFF)), Err(PublicKeyError::Degenerate), "beyond the modulus");
        for point in SMALL_ORDER {
            assert_eq!(with(&|e| e.key[1_184..].copy_from_slice(&point)), Err(PublicKeyError::Degenerate));
            let high = |e: &mut SealingKeyEntry| {
                e.key[1_184..].copy_from_slice(&point);
                e.key[1_215] |= 0x80;
            };
            assert_eq!(with(&high), Err(PublicKeyError::Degenerate));
        }
    }

    #[test]
    fn encryption_key_and_commitment_differ_and_follow_from_the_content_key() {
        let (key, commitment) = ContentKey::from_bytes([7; 32]).schedule();
        let (again, same) = ContentKey::from_bytes([7; 32]).schedule();
        assert_eq!((&*key, commitment), (&*again, same));
        assert_ne!(&*key, commitment.as_bytes());
        assert_ne!(ContentKey::from_bytes([8; 32]).schedule().1, commitment);
    }
}
