//! HPKE (RFC 9180), base mode, one shot: KEM X-Wing (0x647A), HKDF-SHA256, ChaCha20-Poly1305.
//!
//! Everything that is bound goes into `info`; the associated data stays empty, since other languages'
//! libraries lack it.

use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::XWing,
    single_shot_open, single_shot_seal_with_rng,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{drawn::Drawn, keys::OpenedSeed};

/// What HPKE's `info` begins with, version 1; SHA-256 of the canonical label follows.
pub const PARCEL_INFO: &[u8] = b"refpoint parcel v1";

/// Random bytes that one seal draws: 32 for ML-KEM, 32 for X25519.
pub const SEAL_RANDOM_BYTES: usize = 64;

/// Bytes that sealing adds: the encapsulated key (1,120) and the tag (16).
pub const SEALED_OVERHEAD_BYTES: usize = ENCAPSULATED_BYTES + 16;

/// Why HPKE did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HpkeFault {
    /// The public key is not an X-Wing key.
    #[error("the sealing key is not an X-Wing key")]
    Key,
    /// It does not open under this key and label.
    #[error("it does not open")]
    Open,
    /// The library refused or drew another number of bytes: an invariant of ours is broken.
    #[error("the library did not seal as it should")]
    Bug,
}

/// Seals `plaintext` to a public key, bound to the label's canonical bytes: `enc ‖ ciphertext`.
///
/// # Errors
/// [`HpkeFault::Key`] for a key of the wrong form.
pub fn hpke_seal(
    public: &[u8],
    label: &[u8],
    plaintext: &[u8],
    random: &[u8; SEAL_RANDOM_BYTES],
) -> Result<Vec<u8>, HpkeFault> {
    let public = <XWing as Kem>::PublicKey::from_bytes(public).map_err(|_| HpkeFault::Key)?;
    let mut drawn = Drawn::new(random);
    let (encapsulated, ciphertext) = single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &public,
        &info(label),
        plaintext,
        b"",
        &mut drawn,
    )
    .map_err(|_| HpkeFault::Bug)?;
    if !drawn.is_spent_exactly() {
        return Err(HpkeFault::Bug);
    }
    let mut sealed = encapsulated.to_bytes().to_vec();
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Opens what [`hpke_seal`] made.
///
/// # Errors
/// [`HpkeFault::Open`] whatever is wrong: nothing more can be told.
pub fn hpke_open(seed: &OpenedSeed, label: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, HpkeFault> {
    let private = seed.private().ok_or(HpkeFault::Open)?;
    let (encapsulated, ciphertext) = sealed.split_at_checked(ENCAPSULATED_BYTES).ok_or(HpkeFault::Open)?;
    let encapsulated = <XWing as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| HpkeFault::Open)?;
    single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        private,
        &encapsulated,
        &info(label),
        ciphertext,
        b"",
    )
    .map(Zeroizing::new)
    .map_err(|_| HpkeFault::Open)
}

fn info(label: &[u8]) -> Vec<u8> {
    let mut info = PARCEL_INFO.to_vec();
    info.extend_from_slice(&Sha256::digest(label));
    info
}

/// Bytes of X-Wing's encapsulated key.
const ENCAPSULATED_BYTES: usize = 1_120;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::{crypto::SealingSeed, time::Timestamp};

    #[test]
    fn what_is_sealed_opens_under_its_key_and_label_alone() {
        let (seed, other) =
            (SealingSeed::from_bytes([1; 32]).expand(), SealingSeed::from_bytes([2; 32]).expand());
        let public = seed.entry(Timestamp::default(), Timestamp::MAX).key;
        let sealed = hpke_seal(&public, b"label", b"content", &[9; 64]).unwrap();
        assert_eq!(sealed.len(), 7 + SEALED_OVERHEAD_BYTES);
        assert_eq!(sealed, hpke_seal(&public, b"label", b"content", &[9; 64]).unwrap());
        assert_ne!(sealed, hpke_seal(&public, b"label", b"content", &[8; 64]).unwrap());
        assert_eq!(*hpke_open(&seed, b"label", &sealed).unwrap(), b"content");
        assert_eq!(hpke_open(&seed, b"lable", &sealed), Err(HpkeFault::Open));
        assert_eq!(hpke_open(&other, b"label", &sealed), Err(HpkeFault::Open));
        assert_eq!(hpke_open(&seed, b"label", &sealed[..1_119]), Err(HpkeFault::Open));
        assert_eq!(hpke_seal(&public[1..], b"label", b"content", &[9; 64]), Err(HpkeFault::Key));
    }
}
