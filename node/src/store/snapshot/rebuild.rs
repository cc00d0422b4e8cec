//! A data folder made of a snapshot's rows and content files.
//!
//! What it makes is not marked as orderly closed, so its first opening checks every row.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use refpoint_protocol::storage::Change;

use super::rows::read_row;
use crate::store::{
    OpenError, Options, SledStore, StorageKey, Store as _, StoreError,
    content::name_of,
    folder::{Layout, Lock, OWNER_FILE, create_data_folder, create_folder, sync_folder},
    schema::{self, Founding},
    sled::Gap,
};

/// A data folder in the making: first the rows, then the content files, then [`Rebuild::finish`].
pub struct Rebuild {
    store: SledStore,
    layout: Layout,
}

/// Why a data folder was not made.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is a database already.
    #[error("there is a database in {} already", .0.display())]
    Occupied(PathBuf),
    /// sled does not start.
    #[error("the new database does not open: {0}")]
    Database(String),
    /// The rows cannot be read.
    #[error("the rows cannot be read: {0}")]
    Rows(io::Error),
    /// A content file cannot be written.
    #[error("cannot write {}: {cause}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// The rows have no founding record of this storage key.
    #[error("the rows do not fit the storage key")]
    NotFounded,
    /// The store does not take them.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Rebuild {
    /// Makes the folder, which must hold no database, and takes its lock.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub fn begin(folder: &Path, storage_key: StorageKey) -> Result<Self, RebuildError> {
        let layout = Layout::new(folder);
        create_data_folder(folder)?;
        let lock = Arc::new(Lock::take(&layout)?);
        if layout.database().exists() {
            return Err(RebuildError::Occupied(folder.to_path_buf()));
        }
        create_folder(&layout.content())?;
        let options = Options::default();
        let (store, _) = SledStore::start(&layout, &lock, storage_key, &options, Gap::Stop)
            .map_err(RebuildError::Database)?;
        Ok(Self { store, layout })
    }

    /// Puts all rows in, as they are.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub fn rows(&mut self, input: &mut impl Read) -> Result<(), RebuildError> {
        let mut batch = ::sled::Batch::default();
        let mut waiting = 0;
        while let Some((key, row)) = read_row(input).map_err(RebuildError::Rows)? {
            batch.insert(key, row);
            waiting += 1;
            if waiting == ROWS_A_BATCH {
                self.put(std::mem::take(&mut batch))?;
                waiting = 0;
            }
        }
        self.put(batch)
    }

    /// Writes a content file, which the caller has checked, and brings its bytes to the device.
    ///
    /// # Errors
    /// [`RebuildError::Write`].
    pub fn content(&self, hash: &[u8; 32], bytes: &[u8]) -> Result<(), RebuildError> {
        let path = self.layout.content().join(name_of(hash));
        let mut options = OpenOptions::new();
        let file: io::Result<File> = options.write(true).create_new(true).mode(OWNER_FILE).open(&path);
        file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .map_err(|cause| RebuildError::Write { path, cause })
    }

    /// Adds `marks`, brings everything to the device, and guards the folder with its schema.
    ///
    /// # Errors
    /// [`RebuildError`].
    pub fn finish(self, marks: &[Change]) -> Result<(), RebuildError> {
        let Founding::Schema(found) = schema::founding(&self.store)? else {
            return Err(RebuildError::NotFounded);
        };
        self.store.apply(marks)?;
        self.store.sync_all()?;
        let content = self.layout.content();
        sync_folder(&content).map_err(|cause| RebuildError::Write { path: content, cause })?;
        schema::write_guard(&self.layout, found)?;
        Ok(())
    }

    fn put(&self, batch: ::sled::Batch) -> Result<(), RebuildError> {
        self.store.call("putting rows back", || self.store.database.apply_batch(batch))?;
        Ok(())
    }
}

/// Rows that sled takes at once: few calls, little memory.
const ROWS_A_BATCH: usize = 256;
