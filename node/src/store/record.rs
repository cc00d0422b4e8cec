//! The form of a record on disk: a version byte, a checksum or encryption bound to its place, the value.
//!
//! A row is `format ‖ shape ‖ sealed`, where shape says whether the value lies in the row or in a content
//! file. For an open table, sealed is the first 16 bytes of SHA-256 over everything that places the value
//! (format, shape, table, key) and the value, then the value. For a secret table it is a random 24-byte
//! nonce, then XChaCha20-Poly1305 under the storage key with the same placing bytes as associated data. So a
//! row that was moved to another key or table does not read. A row that names a content file is always open;
//! the file is encrypted. Nothing here touches a disk.

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use refpoint_protocol::storage::Table;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::{Damage, StoreError};

/// The key under which secret tables are encrypted at rest. Zeroised when dropped; it has no `Debug`.
pub struct StorageKey(Zeroizing<[u8; 32]>);

impl StorageKey {
    /// Takes the 32 bytes; whoever read them from a file zeroises that copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Another copy, for the store that keeps it.
    pub(super) fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.0))
    }
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// In the row itself.
    Inline = 0,
    /// In a content file; the row holds its [`FileReference`].
    File = 1,
    /// This is the content file.
    Content = 2,
}

/// What a row says of the content file that holds its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileReference {
    /// SHA-256 of the file's bytes, which is its name.
    pub(super) hash: [u8; 32],
    /// Bytes of the file.
    pub(super) length: u64,
}

impl FileReference {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [self.hash.as_slice(), &self.length.to_be_bytes()].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hash, length) = bytes.split_first_chunk::<32>()?;
        Some(Self { hash: *hash, length: u64::from_be_bytes(length.try_into().ok()?) })
    }
}

/// Where a record belongs: what its checksum or encryption is bound to.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The table's id, or one of the store's own prefixes.
    pub(super) prefix: u8,
    /// The key within it.
    pub(super) key: &'a [u8],
    /// Whether the value is encrypted.
    pub(super) secret: bool,
}

impl<'a> Place<'a> {
    pub(super) const fn of(table: Table, key: &'a [u8]) -> Self {
        Self { prefix: table.id(), key, secret: table.is_secret() }
    }

    /// A reference to a content file tells nothing, and must be readable when the file is to be removed.
    const fn is_encrypted(&self, shape: Shape) -> bool {
        self.secret && !matches!(shape, Shape::File)
    }

    /// Bytes that no other place, format or shape shares.
    fn binding(&self, shape: Shape) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DOMAIN.len() + 3 + self.key.len());
        bytes.extend_from_slice(DOMAIN);
        bytes.extend_from_slice(&[FORMAT, shape as u8, self.prefix]);
        bytes.extend_from_slice(self.key);
        bytes
    }
}

/// Makes a record of `value`.
pub(super) fn encode(
    place: Place<'_>,
    shape: Shape,
    value: &[u8],
    storage_key: &StorageKey,
) -> Result<Vec<u8>, StoreError> {
    let binding = place.binding(shape);
    let mut record = Vec::with_capacity(value.len() + RECORD_OVERHEAD_MAX);
    record.extend_from_slice(&[FORMAT, shape as u8]);
    if place.is_encrypted(shape) {
        let nonce = random::<NONCE_BYTES>()?;
        let sealed = storage_key
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &binding })
            .map_err(|_| StoreError::Failed {
                doing: "encrypting a record",
                cause: "the cipher refused".to_owned(),
            })?;
        record.extend_from_slice(&nonce);
        record.extend_from_slice(&sealed);
    } else {
        record.extend_from_slice(&checksum(&binding, value));
        record.extend_from_slice(value);
    }
    Ok(record)
}

/// Reads a record back, with its shape, or says what is wrong with it.
pub(super) fn decode(
    place: Place<'_>,
    record: &[u8],
    storage_key: &StorageKey,
) -> Result<(Shape, Vec<u8>), Damage> {
    let (&[format, shape], sealed) = record.split_first_chunk::<2>().ok_or(Damage::Short)?;
    if format != FORMAT {
        return Err(Damage::Format(format));
    }
    let shape = match shape {
        0 => Shape::Inline,
        1 => Shape::File,
        2 => Shape::Content,
        _ => return Err(Damage::Checksum),
    };
    let binding = place.binding(shape);
    let value = if place.is_encrypted(shape) {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Damage::Short)?;
        storage_key
            .cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &binding })
            .map_err(|_| Damage::Checksum)?
    } else {
        let (sum, value) = sealed.split_first_chunk::<CHECKSUM_BYTES>().ok_or(Damage::Short)?;
        if *sum != checksum(&binding, value) {
            return Err(Damage::Checksum);
        }
        value.to_vec()
    };
    Ok((shape, value))
}

/// The content file that a row names, if it names one and is whole.
pub(super) fn file_reference(
    place: Place<'_>,
    record: &[u8],
    storage_key: &StorageKey,
) -> Option<FileReference> {
    if record.get(1) != Some(&(Shape::File as u8)) {
        return None;
    }
    let (_, value) = decode(place, record, storage_key).ok()?;
    FileReference::from_bytes(&value)
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|cause| StoreError::Failed { doing: "drawing random bytes", cause: cause.to_string() })?;
    Ok(bytes)
}

fn checksum(binding: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    // The length keeps a byte of the key from being taken for one of the value.
    hash.update((binding.len() as u64).to_be_bytes());
    hash.update(binding);
    hash.update(value);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.iter_mut().zip(hash.finalize()).for_each(|(into, from)| *into = from);
    sum
}

/// The version of the form above; a new form gets a new number and a migration.
const FORMAT: u8 = 1;

/// Keeps these bytes from being taken for anything else that is hashed or encrypted with the same key.
const DOMAIN: &[u8] = b"refpoint storage";

/// Half of SHA-256: damage is to be found here, not malice, which encryption and signatures find.
const CHECKSUM_BYTES: usize = 16;

/// The nonce of XChaCha20-Poly1305, long enough to be drawn at random.
const NONCE_BYTES: usize = 24;

/// Bytes that a record is longer than its value, at most: format, shape, nonce and tag.
pub(super) const RECORD_OVERHEAD_MAX: usize = 2 + NONCE_BYTES + 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn key() -> StorageKey {
        StorageKey::from_bytes(&[7; 32])
    }

    #[test]
    fn a_record_reads_back_only_in_its_place() {
        for table in [Table::Charters, Table::Inbox] {
            let place = Place::of(table, b"one");
            let record = encode(place, Shape::Inline, b"value", &key()).unwrap();
            assert_eq!(decode(place, &record, &key()), Ok((Shape::Inline, b"value".to_vec())));
            let elsewhere = Place::of(table, b"two");
            assert_eq!(decode(elsewhere, &record, &key()), Err(Damage::Checksum));
            let other_table = Place { prefix: place.prefix + 1, ..place };
            assert_eq!(decode(other_table, &record, &key()), Err(Damage::Checksum));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        for table in [Table::Charters, Table::Inbox] {
            let place = Place::of(table, b"one");
            let record = encode(place, Shape::Inline, b"some value", &key()).unwrap();
            for bit in 0..record.len() * 8 {
                let mut flipped = record.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(place, &flipped, &key()).is_err(), "bit {bit}");
            }
            for length in 0..record.len() {
                assert!(decode(place, &record[..length], &key()).is_err(), "length {length}");
            }
        }
    }

    #[test]
    fn a_secret_record_shows_nothing_and_needs_its_key() {
        let place = Place::of(Table::Inbox, b"one");
        let record = encode(place, Shape::Inline, b"a very secret text", &key()).unwrap();
        assert!(!record.windows(6).any(|window| window == b"secret"));
        let other = StorageKey::from_bytes(&[8; 32]);
        assert_eq!(decode(place, &record, &other), Err(Damage::Checksum));
    }
}
