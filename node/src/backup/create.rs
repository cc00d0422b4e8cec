//! Writes a backup: configuration and keys, then a snapshot's rows and content files, encrypted as they go.
//!
//! The file appears under its name only when it is complete and on the device. It never replaces another unless
//! that is asked for, and is its owner's alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, Cursor, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    BackupError, Manifest, Recipients,
    archive::{ArchiveWriter, Name, WriteError},
};
use crate::{
    config::{Config, NEXT_ROOT_KEY, ROOT_KEY},
    keyfile::{OWNER_ONLY_FILE, SignedRecord},
    store::{CONTENT_BYTES_MAX, Snapshot, content_hash},
};

/// What goes into a backup.
#[derive(Clone, Debug)]
pub struct Content<'a> {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The node's configuration, which names the key files.
    pub config: &'a Config,
    /// The snapshot's folder.
    pub snapshot: &'a Path,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Bytes of the file.
    pub bytes: u64,
    /// Content files that are damaged on this machine, and therefore not in it.
    pub left_out: u64,
}

impl Content<'_> {
    /// The root keys that lie beside the node's keys.
    #[must_use]
    pub fn root_keys_here(config: &Config) -> Vec<PathBuf> {
        let files = [ROOT_KEY, NEXT_ROOT_KEY].map(|file| config.folder().join(file));
        files.into_iter().filter(|file| file.exists()).collect()
    }

    /// Bytes that will go in, roughly: for progress.
    #[must_use]
    pub fn rough_bytes(&self) -> u64 {
        let length = |file: &Path| fs::metadata(file).map_or(0, |metadata| metadata.len());
        let content = Snapshot::content_files(self.snapshot).unwrap_or_default();
        length(&Snapshot::rows_file(self.snapshot)) + content.iter().map(|file| length(file)).sum::<u64>()
    }

    /// The small files, with whether each must be there.
    fn small(&self, name: Name) -> Option<(PathBuf, Need)> {
        let config = self.config;
        let root = self.manifest.root_keys.then(|| config.folder().join(ROOT_KEY));
        match name {
            Name::Config => Some((config.file.clone(), Need::Must)),
            Name::ReferencePoint => Some((config.folder().join("reference-point.toml"), Need::May)),
            Name::NodeKey => Some((config.node_key.clone(), Need::Must)),
            Name::StorageKey => Some((config.storage_key.clone(), Need::Must)),
            Name::RootKey => Some((root?, Need::May)),
            Name::RootKeySigned => Some((SignedRecord::path_beside(&root?), Need::May)),
            Name::NextRootKey => root.map(|_| (config.folder().join(NEXT_ROOT_KEY), Need::May)),
            Name::Rows | Name::Content(_) => None,
        }
    }
}

enum Need {
    Must,
    May,
}

/// Whether a backup that is there may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It stays, and nothing is made.
    Never,
    /// It is replaced once the new one is complete.
    Allowed,
}

/// Makes a backup at `target`. `moved` hears of the bytes that went in.
///
/// # Errors
/// [`BackupError`]; then nothing is left at `target` that was not there before.
pub fn create(
    target: &Path,
    replace: Replace,
    content: &Content<'_>,
    recipients: &Recipients,
    moved: impl FnMut(u64),
) -> Result<Created, BackupError> {
    if replace == Replace::Never && target.exists() {
        return Err(BackupError::Exists(target.to_path_buf()));
    }
    let part = unfinished(target);
    let made = write(&part, content, recipients, moved).and_then(|created| {
        place(&part, target, replace)?;
        Ok(created)
    });
    if made.is_err() {
        // The first error is the one to tell; an unfinished file is of no use.
        let _ = fs::remove_file(&part);
    }
    made
}

fn write(
    part: &Path,
    content: &Content<'_>,
    recipients: &Recipients,
    mut moved: impl FnMut(u64),
) -> Result<Created, BackupError> {
    let to = |cause| BackupError::Io { doing: "write", file: part.to_path_buf(), cause };
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(OWNER_ONLY_FILE).open(part).map_err(to)?;
    let sealed = recipients.seal(BufWriter::with_capacity(WRITE_BYTES, file))?;
    let failed = |from: &Path, error| match error {
        WriteError::Input(cause) => BackupError::Io { doing: "read", file: from.to_path_buf(), cause },
        WriteError::Output(cause) => to(cause),
        WriteError::Backup(error) => error,
    };
    let mut archive = ArchiveWriter::begin(sealed, &content.manifest).map_err(|error| failed(part, error))?;
    for name in Name::SMALL {
        let Some((path, need)) = content.small(name) else { continue };
        let bytes = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound && matches!(need, Need::May) => {
                continue;
            }
            Err(cause) => return Err(BackupError::Io { doing: "read", file: path, cause }),
        };
        let (length, max) = (bytes.len() as u64, name.bytes_max());
        if length > max {
            return Err(BackupError::FileTooLong { name: name.to_string(), bytes: length, max });
        }
        let put = archive.file(name, length, &mut bytes.as_slice(), |_| ());
        put.map_err(|error| failed(&path, error))?;
    }
    let path = Snapshot::rows_file(content.snapshot);
    let mut rows = File::open(&path).map_err(BackupError::io("read", &path))?;
    let length = rows.metadata().map_err(BackupError::io("read", &path))?.len();
    archive.file(Name::Rows, length, &mut rows, &mut moved).map_err(|error| failed(&path, error))?;
    let mut left_out = Vec::new();
    for path in
        Snapshot::content_files(content.snapshot).map_err(BackupError::io("read", content.snapshot))?
    {
        let named = path.file_name().and_then(|name| name.to_str()).and_then(content_hash);
        let Some(hash) = named else { continue };
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(CONTENT_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(BackupError::io("read", &path))?;
        if Sha256::digest(&bytes).as_slice() == hash {
            let length = bytes.len() as u64;
            let put = archive.file(Name::Content(hash), length, &mut Cursor::new(bytes), &mut moved);
            put.map_err(|error| failed(&path, error))?;
        } else {
            tracing::error!(file = %path.display(), "a content file is damaged and not in the backup");
            left_out.push(hash);
        }
    }
    let sealed = archive.end(&left_out).map_err(|error| failed(part, error))?;
    let mut output = sealed.finish().map_err(to)?;
    output.flush().map_err(to)?;
    let file = output.into_inner().map_err(|error| to(error.into_error()))?;
    file.sync_all().map_err(to)?;
    let bytes = file.metadata().map_err(to)?.len();
    Ok(Created { bytes, left_out: left_out.len() as u64 })
}

/// Gives the finished file its name, durably.
fn place(part: &Path, target: &Path, replace: Replace) -> Result<(), BackupError> {
    let failed = |cause| BackupError::Io { doing: "write", file: target.to_path_buf(), cause };
    match replace {
        Replace::Allowed => fs::rename(part, target).map_err(failed)?,
        Replace::Never => {
            use rustix::{
                fs::{CWD, RenameFlags, renameat_with},
                io::Errno,
            };
            match renameat_with(CWD, part, CWD, target, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                Err(Errno::EXIST) => return Err(BackupError::Exists(target.to_path_buf())),
                // A file system that cannot promise it, such as one of a memory stick.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !target.exists() => {
                    fs::rename(part, target).map_err(failed)?;
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
    File::open(folder_of(target)).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn unfinished(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    folder_of(target).join(format!(".{name}.{}.part", std::process::id()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

const WRITE_BYTES: usize = 256 * 1024;
