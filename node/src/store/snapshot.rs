//! Snapshots: every row as it lies on the disk between two batches, with the content files that the rows name.
//!
//! A snapshot is a folder beside the database, its owner's alone: `rows`, a file of raw rows, and `content/`, hard
//! links to the files. Secret rows stay encrypted under the storage key, so a snapshot tells no more than the
//! database does. Batches go on meanwhile, and wait for a thousand rows at most; checking and encrypting come later and
//! elsewhere. Here is also the way back: [`Rebuild`] makes a data folder of such rows. What a backup is made of
//! besides is unknown here.

mod examine;
mod rebuild;
mod rows;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::TryLockError as MutexBusy,
    time::Duration,
};

use refpoint_protocol::storage::Table;

use self::rows::{read_row, write_row};
pub use self::{
    examine::{Examination, Examined, SnapshotFault},
    rebuild::{Rebuild, RebuildError},
};
use super::{
    SledStore, Store as _, StoreError,
    content::CONTENT_BYTES_MAX,
    folder::{OWNER_FILE, OWNER_FOLDER},
    record::{self, Place, Shape},
    schema,
    sled::{FOUNDING, Moved, RowCopy, SET_ASIDE},
};

/// A snapshot that was made. Whoever reads it calls [`Snapshot::claim`] first and removes the folder at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its folder.
    pub folder: PathBuf,
    /// The schema of its rows.
    pub schema: u32,
    /// How many rows each table has; tables without any are left out.
    pub tables: BTreeMap<Table, u64>,
    /// Damaged rows that were set aside, now or earlier.
    pub set_aside: u64,
    /// Content files.
    pub files: u64,
    /// Bytes of the rows and the content files.
    pub bytes: u64,
    /// The longest that batches had to wait at one time.
    pub paused: Duration,
}

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Another one is being made or read.
    #[error("another backup of this node is under way")]
    InUse,
    /// The folder of the snapshot cannot be made or used.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// The store does not answer, or has no room for a copy of its rows.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A snapshot that nobody else removes while this lives.
pub struct Claim {
    _rows: File,
}

impl Snapshot {
    /// Takes a snapshot's folder for reading.
    ///
    /// # Errors
    /// [`SnapshotError`] if somebody else has it or it is gone.
    pub fn claim(folder: &Path) -> Result<Claim, SnapshotError> {
        let path = folder.join(ROWS);
        let rows = File::open(&path).map_err(|cause| io_error("open", &path, cause))?;
        lock(&rows, &path)?;
        Ok(Claim { _rows: rows })
    }

    /// The file of raw rows in a snapshot's folder.
    #[must_use]
    pub fn rows_file(folder: &Path) -> PathBuf {
        folder.join(ROWS)
    }

    /// The content files in a snapshot's folder, in the order of their names.
    ///
    /// # Errors
    /// The system's, if the folder cannot be read.
    pub fn content_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder.join(CONTENT))?;
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.sort();
        Ok(files)
    }
}

impl SledStore {
    /// Makes a snapshot of all rows between two batches. Damaged rows are set aside first, as when they are read.
    ///
    /// An earlier snapshot that nobody reads is removed.
    ///
    /// # Errors
    /// [`SnapshotError`]; the node goes on, unless the store says that it has stopped.
    pub fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        let _one_at_a_time = match self.snapshots.try_lock() {
            Ok(guard) => guard,
            Err(MutexBusy::WouldBlock) => return Err(SnapshotError::InUse),
            // What a panic left behind is removed like any other leftover.
            Err(MutexBusy::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let made = self.make_snapshot();
        if made.is_err() {
            // The first error is the one to tell; the next backup or start removes what this leaves.
            let _left = remove_leftover(&self.layout.snapshot());
        }
        made
    }

    fn make_snapshot(&self) -> Result<Snapshot, SnapshotError> {
        let folder = self.layout.snapshot();
        for _ in 0..ATTEMPTS {
            remove_leftover(&folder)?;
            let (paused, broken) = self.copy_rows(&folder)?;
            let checked = match broken {
                Some(broken) => Err(broken),
                None => self.check_copy(&folder)?,
            };
            match checked {
                Ok(counts) => {
                    // Whoever reads it may stand in another folder than this process.
                    let folder =
                        fs::canonicalize(&folder).map_err(|cause| io_error("find", &folder, cause))?;
                    return Ok(Snapshot { folder, paused, ..counts });
                }
                Err(Broken { table, key, row }) => {
                    // Moved aside as a read would do it; the next copy has it there.
                    if matches!(self.put_aside(table, &key, &row)?, Moved::Aside) {
                        tracing::error!(table = table.name(), "a damaged record was set aside for a backup");
                    }
                }
            }
        }
        let cause = "too many records are damaged".to_owned();
        Err(StoreError::Unreadable { what: "the database for a snapshot", cause }.into())
    }

    /// Copies raw rows as they are now and links content files, while batches go on. Returns the longest that those
    /// had to wait, and a row whose content file is missing, if there is one.
    fn copy_rows(&self, folder: &Path) -> Result<(Duration, Option<Broken>), SnapshotError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |cause| SnapshotError::Io { doing: "write", path, cause }
        };
        let content = folder.join(CONTENT);
        for path in [folder, &content] {
            fs::DirBuilder::new().mode(OWNER_FOLDER).create(path).map_err(failed(path))?;
        }
        let path = folder.join(ROWS);
        let file = OpenOptions::new().write(true).create_new(true).mode(OWNER_FILE).open(&path);
        let file = file.map_err(failed(&path))?;
        self.room_for_copy()?;
        let mut output = BufWriter::with_capacity(COPY_BUFFER_BYTES, file);
        let mut copy = RowCopy::begin(self)?;
        while let Some(rows) = copy.stretch()? {
            for (row_key, row) in rows {
                write_row(&mut output, &row_key, &row).map_err(failed(&path))?;
                let Some((table, key)) = table_of(&row_key) else { continue };
                let reference = record::file_reference(Place::of(table, key), &row, &self.storage_key);
                let Some(reference) = reference else { continue };
                let link = content.join(super::content::name_of(&reference.hash));
                match self.content.link(&reference.hash, &link) {
                    Ok(()) => {}
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                        let broken = Broken { table, key: key.to_vec(), row: row.to_vec() };
                        return Ok((copy.longest, Some(broken)));
                    }
                    Err(cause) => return Err(SnapshotError::Io { doing: "link", path: link, cause }),
                }
            }
        }
        output.flush().map_err(failed(&path))?;
        Ok((copy.longest, None))
    }

    /// Reads the copy back and checks every row, as every read does; content files are looked at.
    fn check_copy(&self, folder: &Path) -> Result<Result<Snapshot, Broken>, SnapshotError> {
        let path = folder.join(ROWS);
        let read = |path: &Path, cause| io_error("read", path, cause);
        let file = File::open(&path).map_err(|cause| read(&path, cause))?;
        let mut bytes = file.metadata().map_err(|cause| read(&path, cause))?.len();
        let mut input = BufReader::with_capacity(COPY_BUFFER_BYTES, file);
        let (mut tables, mut set_aside, mut files) = (BTreeMap::new(), 0, 0);
        while let Some((row_key, row)) = read_row(&mut input).map_err(|cause| read(&path, cause))? {
            let Some((table, key)) = table_of(&row_key) else {
                set_aside += u64::from(row_key.first() == Some(&SET_ASIDE));
                continue;
            };
            let place = Place::of(table, key);
            let length = match record::decode(place, &row, &self.storage_key) {
                Ok((Shape::Inline, _)) => Some(0),
                Ok((Shape::File, _)) => {
                    let reference = record::file_reference(place, &row, &self.storage_key);
                    reference.and_then(|reference| {
                        let link = folder.join(CONTENT).join(super::content::name_of(&reference.hash));
                        let length = fs::metadata(link).ok()?.len();
                        (length == reference.length && length <= CONTENT_BYTES_MAX).then_some(length)
                    })
                }
                Ok((Shape::Content, _)) | Err(_) => None,
            };
            let Some(length) = length else {
                return Ok(Err(Broken { table, key: key.to_vec(), row }));
            };
            files += u64::from(length > 0);
            bytes += length;
            *tables.entry(table).or_default() += 1;
        }
        let (folder, schema, paused) = (folder.to_path_buf(), schema::CURRENT, Duration::ZERO);
        Ok(Ok(Snapshot { folder, schema, tables, set_aside, files, bytes, paused }))
    }

    /// A copy of the rows must leave the reserve that bulk leaves.
    fn room_for_copy(&self) -> Result<(), StoreError> {
        let size = super::folder::size_of_folder(&self.layout.database()).map_err(|cause| {
            StoreError::Unreadable { what: "the size of the database", cause: cause.to_string() }
        })?;
        let needed = self.bulk_reserve_bytes().saturating_add(size);
        let available = self.free_on_disk()?;
        if available < needed {
            let folder = self.layout.folder().display().to_string();
            return Err(StoreError::DiskFull { folder, available, needed });
        }
        Ok(())
    }
}

/// A row that does not read.
struct Broken {
    table: Table,
    key: Vec<u8>,
    row: Vec<u8>,
}

/// The table and the key within it; `None` for the store's own rows.
fn table_of(row_key: &[u8]) -> Option<(Table, &[u8])> {
    let (&prefix, key) = row_key.split_first()?;
    if prefix == FOUNDING || prefix == SET_ASIDE {
        return None;
    }
    Some((Table::from_id(prefix)?, key))
}

/// Removes a snapshot that nobody reads.
///
/// # Errors
/// [`SnapshotError::InUse`] if somebody does.
pub(super) fn remove_leftover(folder: &Path) -> Result<(), SnapshotError> {
    let rows = folder.join(ROWS);
    match File::open(&rows) {
        Ok(file) => lock(&file, &rows)?,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(io_error("open", &rows, cause)),
    }
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(io_error("remove", folder, cause)),
        _ => Ok(()),
    }
}

fn lock(file: &File, path: &Path) -> Result<(), SnapshotError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(SnapshotError::InUse),
        Err(TryLockError::Error(cause)) => Err(io_error("lock", path, cause)),
    }
}

fn io_error(doing: &'static str, path: &Path, cause: io::Error) -> SnapshotError {
    SnapshotError::Io { doing, path: path.to_path_buf(), cause }
}

/// The file of raw rows.
const ROWS: &str = "rows";

/// The folder of links to content files.
const CONTENT: &str = "content";

/// How many damaged rows are set aside for one snapshot: more of them want a look at the disk.
const ATTEMPTS: u32 = 64;

/// Large enough that copying is bound by the device and not by calls.
const COPY_BUFFER_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests;
