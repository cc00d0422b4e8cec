//! The data folder itself: owner-only, locked by one process, its entries synced, its free space known.
//!
//! Everything here is about names and places; what the files hold is decided elsewhere.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::error::OpenError;

/// The names within a data folder.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    folder: PathBuf,
}

impl Layout {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// sled's folder.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("database")
    }

    /// sled's one growing file, whose name and inode never change.
    pub(super) fn database_file(&self) -> PathBuf {
        self.database().join("db")
    }

    /// Values too large for sled.
    pub(super) fn content(&self) -> PathBuf {
        self.folder.join("content")
    }

    /// The schema version, in words.
    pub(super) fn schema(&self) -> PathBuf {
        self.folder.join("schema")
    }

    /// There after an orderly end, absent while the store is open: its absence means that all is checked.
    pub(super) fn clean(&self) -> PathBuf {
        self.folder.join("clean")
    }

    /// How far the store had come, as a second witness.
    pub(super) fn progress(&self) -> PathBuf {
        self.folder.join("progress")
    }

    /// What was synced and may not be in the database yet.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("wal")
    }

    /// The database as it was before an opening that may harm it; there only while one is under way.
    pub(super) fn before_opening(&self) -> PathBuf {
        self.folder.join("database.before-opening")
    }

    /// A copy of all rows for a backup; there only while one is made.
    pub(super) fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshot")
    }

    /// A copy that is not complete, or one that is being removed.
    pub(super) fn incomplete(&self) -> PathBuf {
        self.folder.join("database.incomplete")
    }

    fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }
}

/// Holds the folder against other processes until it is dropped.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the folder, or says who has it.
    pub(super) fn take(layout: &Layout) -> Result<Self, OpenError> {
        let path = layout.lock();
        let failed = |doing, cause| OpenError::Folder { doing, path: path.clone(), cause };
        let mut file = open_in_place(&path).map_err(|cause| failed("open", cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The text is a courtesy; without it the refusal stands all the same.
                if file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder).is_err() || holder.is_empty() {
                    "a process that did not leave its number".clone_into(&mut holder);
                }
                return Err(OpenError::InUse {
                    folder: layout.folder().to_path_buf(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(cause)) => return Err(failed("lock", cause)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "process {}", std::process::id()))
            .map_err(|cause| failed("write", cause))?;
        Ok(Self { _file: file })
    }
}

/// Makes a folder that only its owner can enter; one that exists is closed to others.
pub(super) fn create_folder(path: &Path) -> Result<(), OpenError> {
    create_with(path, OWNER_FOLDER)
}

/// Makes the data folder unless it exists. Its group may pass through to the node's socket and see nothing on
/// the way: whatever else lies in it is its owner's alone.
pub(super) fn create_data_folder(path: &Path) -> Result<(), OpenError> {
    if path.is_dir() { Ok(()) } else { create_with(path, PASSED_BY_GROUP) }
}

fn create_with(path: &Path, mode: u32) -> Result<(), OpenError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(OWNER_FOLDER)
        .create(path)
        // The umask may have taken bits away, or the folder was there already.
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|cause| OpenError::Folder { doing: "create", path: path.to_path_buf(), cause })
}

/// Opens a file that is changed in place, for its owner alone; one that is not there is made.
pub(super) fn open_in_place(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(OWNER_FILE).open(path)
}

/// Writes a small file so that after a power cut it holds either its old or its new content.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let temporary = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_FILE).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_folder(folder)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes that this process may still write to the disk of `path`.
pub(super) fn available(path: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(path)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Copies a folder with all in it, synced, so that the copy is complete once this returns.
pub(super) fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(OWNER_FOLDER).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    sync_folder(to)
}

/// Bytes of all files in a folder.
pub(super) fn size_of_folder(path: &Path) -> io::Result<u64> {
    let mut size = 0_u64;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let bytes = match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of_folder(&entry.path())?,
            Ok(metadata) => metadata.len(),
            // A file may be removed between its name and its size.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => 0,
            Err(cause) => return Err(cause),
        };
        size = size.saturating_add(bytes);
    }
    Ok(size)
}

/// Owner only: messages and key material lie below.
pub(super) const OWNER_FOLDER: u32 = 0o700;

/// The data folder: the socket in it is open to its group.
const PASSED_BY_GROUP: u32 = 0o710;

/// Owner only, for the files that the store makes itself.
pub(super) const OWNER_FILE: u32 = 0o600;

/// What is read of a lock file: "process" and a number.
const HOLDER_BYTES_MAX: u64 = 64;
