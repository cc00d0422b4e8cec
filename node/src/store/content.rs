//! Values too large for sled, each in a file named by the SHA-256 of its bytes.
//!
//! A file is on the device, name and all, before the row that names it is applied; it is removed only after the
//! batch that dropped the row is on the device. Since every file holds a random salt (an open record's own, a
//! secret record's nonce), no two rows share one, and a removed name never comes back. What a crash leaves
//! between these steps is a file that no row names: the sweep at the next start removes it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use refpoint_protocol::limits::STORED_VALUE_BYTES_MAX;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    error::{Damage, StoreError},
    folder::OWNER_FILE,
    record::{self, FileReference, Place, RECORD_OVERHEAD_MAX, Shape, StorageKey},
};

/// The folder of content files.
pub(super) struct ContentFolder {
    path: PathBuf,
    /// Held open, so that syncing it never lacks a handle.
    handle: File,
}

/// A file that has been written and is not yet on the device under its name.
pub(super) struct Unsynced {
    pub(super) reference: FileReference,
    file: File,
}

impl ContentFolder {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let handle = File::open(&path)?;
        Ok(Self { path, handle })
    }

    /// Writes a value to a file of its own, for [`Self::finish`].
    pub(super) fn write(
        &self,
        place: Place<'_>,
        value: &[u8],
        storage_key: &StorageKey,
    ) -> Result<Unsynced, ContentError> {
        let salt = record::random::<SALT_BYTES>().map_err(ContentError::Record)?;
        let salted = Zeroizing::new([salt.as_slice(), value].concat());
        let bytes =
            record::encode(place, Shape::Content, &salted, storage_key).map_err(ContentError::Record)?;
        let reference = FileReference { hash: Sha256::digest(&bytes).into(), length: bytes.len() as u64 };
        let path = self.unfinished(&reference.hash);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(OWNER_FILE)
            .open(&path)
            .map_err(ContentError::Create)?;
        match file.write_all(&bytes) {
            Ok(()) => Ok(Unsynced { reference, file }),
            Err(cause) => {
                self.remove(&reference.hash).map_err(ContentError::Write)?;
                Err(ContentError::Write(cause))
            }
        }
    }

    /// Brings files and their names to the device. All are written before the first is synced, so that one
    /// commit of the file system's journal serves many.
    pub(super) fn finish(&self, files: Vec<Unsynced>) -> Result<(), ContentError> {
        for Unsynced { reference, file } in files {
            file.sync_all()
                .and_then(|()| fs::rename(self.unfinished(&reference.hash), self.file(&reference.hash)))
                .map_err(ContentError::Write)?;
        }
        self.handle.sync_all().map_err(ContentError::Write)
    }

    /// Reads a value back and checks every byte of its file.
    pub(super) fn read(
        &self,
        place: Place<'_>,
        reference: FileReference,
        storage_key: &StorageKey,
    ) -> Result<Vec<u8>, Unread> {
        let mut bytes = Vec::new();
        fs::File::open(self.file(&reference.hash))
            .and_then(|file| file.take(CONTENT_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(Unread::of)?;
        if bytes.len() as u64 != reference.length
            || <[u8; 32]>::from(Sha256::digest(&bytes)) != reference.hash
        {
            return Err(Unread::Damaged(Damage::FileHash));
        }
        let (shape, mut salted) = record::decode(place, &bytes, storage_key).map_err(Unread::Damaged)?;
        if shape != Shape::Content || salted.len() < SALT_BYTES {
            return Err(Unread::Damaged(Damage::FileHash));
        }
        salted.drain(..SALT_BYTES);
        Ok(salted)
    }

    /// Says whether a file is there with its length; its bytes are checked when it is read.
    pub(super) fn look(&self, reference: FileReference) -> Result<(), Unread> {
        let metadata = fs::metadata(self.file(&reference.hash)).map_err(Unread::of)?;
        if metadata.len() == reference.length { Ok(()) } else { Err(Unread::Damaged(Damage::FileHash)) }
    }

    /// Removes a file that no row names, finished or not; that it is gone already is no fault.
    pub(super) fn remove(&self, hash: &[u8; 32]) -> io::Result<()> {
        for path in [self.file(hash), self.unfinished(hash)] {
            match fs::remove_file(path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes every file for which `is_named` says no, and unfinished ones. Returns how many.
    pub(super) fn sweep(
        &self,
        mut is_named: impl FnMut(&[u8; 32]) -> Result<bool, StoreError>,
    ) -> Result<u64, StoreError> {
        let failed = |cause: io::Error| StoreError::Failed {
            doing: "sweeping content files",
            cause: cause.to_string(),
        };
        let mut removed = 0;
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let keep = match entry.file_name().to_str().map(Name::of) {
                Some(Name::Content(hash)) => is_named(&hash)?,
                Some(Name::Unfinished) => false,
                // Somebody else's file; it is not ours to remove.
                Some(Name::Foreign) | None => true,
            };
            if !keep {
                fs::remove_file(entry.path()).map_err(failed)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn unfinished(&self, hash: &[u8; 32]) -> PathBuf {
        self.file(hash).with_extension(UNFINISHED)
    }

    /// Gives a file a second name, in the same file system.
    pub(super) fn link(&self, hash: &[u8; 32], to: &Path) -> io::Result<()> {
        fs::hard_link(self.file(hash), to)
    }

    fn file(&self, hash: &[u8; 32]) -> PathBuf {
        self.path.join(name_of(hash))
    }
}

/// The name of the content file with this hash.
#[must_use]
pub fn name_of(hash: &[u8; 32]) -> String {
    let mut name = String::with_capacity(64);
    for byte in hash {
        for digit in [byte >> 4, byte & 15] {
            name.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    name
}

/// Why a content file was not written.
pub(super) enum ContentError {
    /// The record could not be made.
    Record(StoreError),
    /// The file could not be made, for want of handles or rights; nothing was written.
    Create(io::Error),
    /// The file could not be written or synced.
    Write(io::Error),
}

/// Why a value was not read.
pub(super) enum Unread {
    /// It is damaged.
    Damaged(Damage),
    /// It could not be read just now, for want of file handles or rights.
    Unreadable(io::Error),
}

impl Unread {
    fn of(cause: io::Error) -> Self {
        if cause.kind() == io::ErrorKind::NotFound {
            Self::Damaged(Damage::FileMissing)
        } else if cause.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
            Self::Damaged(Damage::FileUnreadable)
        } else {
            Self::Unreadable(cause)
        }
    }
}

/// What a file name in the content folder means.
enum Name {
    Content([u8; 32]),
    Unfinished,
    Foreign,
}

impl Name {
    fn of(name: &str) -> Self {
        match name.split_once('.') {
            None => hash_of(name).map_or(Self::Foreign, Self::Content),
            Some((stem, UNFINISHED)) if hash_of(stem).is_some() => Self::Unfinished,
            Some(_) => Self::Foreign,
        }
    }
}

/// The hash that a content file's name stands for, `None` if it is no such name.
#[must_use]
pub fn hash_of(name: &str) -> Option<[u8; 32]> {
    if name.len() != 64 || !name.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(name.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// The extension of a file that is being written.
const UNFINISHED: &str = "part";

/// Enough that no two files are ever alike.
pub(super) const SALT_BYTES: usize = 16;

/// Bytes of the largest content file: the largest value with its salt and its record.
pub const CONTENT_BYTES_MAX: u64 = (STORED_VALUE_BYTES_MAX + SALT_BYTES + RECORD_OVERHEAD_MAX) as u64;
