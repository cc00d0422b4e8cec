//! The store on a disk: sled for rows, content files for large values, fdatasync for truth.
//!
//! All tables lie in one sled tree, told apart by the first byte of the key, so that one sled batch is atomic
//! over them. sled's `flush` is slow, and does not reach the device by itself: [`SledStore::sync`] goes through the
//! write-ahead log instead. Every call into sled is guarded against its panics; any failure of it stops the store
//! for good.

mod aside;
mod batch;
mod copying;
mod durable;
mod keys;
mod recent;
mod rows;

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use refpoint_protocol::storage::{Change, Table};

pub(super) use self::durable::Gap;
pub(super) use self::keys::{FOUNDING, SET_ASIDE, row_key};
pub(super) use self::{aside::Moved, copying::RowCopy};
use self::{
    batch::last_of_each,
    copying::Copying,
    durable::{Log, Unsynced},
    keys::aside_key,
    recent::Recent,
    rows::{SledRows, with_prefix},
};
use super::{
    Damage, Keys, Reserve, Row, Rows, SetAside, Store, StoreError, check_bounds,
    content::{self, ContentFolder, Unread},
    folder::{self, Layout, Lock},
    progress::Progress,
    record::{self, FileReference, Place, Shape, StorageKey},
    wal::WriteAheadLog,
};

/// What an operator or a test may set of a [`SledStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes that stay free on the disk whatever is stored, for sled's own rewriting and for other programs.
    pub reserve_bytes: u64,
    /// Bytes that stay free of bulk ([`Table::is_bulk`]), so that receipts and states still fit. At least
    /// `reserve_bytes`.
    pub bulk_reserve_bytes: u64,
    /// Bytes of sled's page cache.
    pub cache_bytes: u64,
    /// Bytes of the write-ahead log: how much is synced through it before sled itself is.
    pub log_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reserve_bytes: RESERVE_BYTES,
            bulk_reserve_bytes: BULK_RESERVE_BYTES,
            cache_bytes: CACHE_BYTES,
            log_bytes: LOG_BYTES,
        }
    }
}

/// The store in a data folder. Dropping it syncs what was applied and marks the folder as orderly closed.
pub struct SledStore {
    pub(super) database: ::sled::Db,
    /// One row: the number of the last batch. A tree of its own, since it changes with every batch.
    sequence: ::sled::Tree,
    progress: Progress,
    log: Mutex<Log>,
    recent: Recent,
    /// Our own handle to sled's file: what fdatasync needs, and what a failed write-back is reported to.
    file: File,
    pub(super) content: ContentFolder,
    pub(super) layout: Layout,
    pub(super) storage_key: StorageKey,
    options: Options,
    writing: Mutex<Writing>,
    set_aside: AtomicUsize,
    /// Held while a snapshot is made: one at a time.
    pub(super) snapshots: Mutex<()>,
    stopped: OnceLock<String>,
    /// Whether the end may be marked as orderly: only once opening is complete.
    is_orderly: AtomicBool,
    /// Last, so that the folder is free only after sled has let go of it.
    _lock: Arc<Lock>,
}

/// What writers share, under one lock: batches are prepared and applied one after another.
#[derive(Default)]
pub(super) struct Writing {
    unsynced: Unsynced,
    /// The number of the last batch.
    sequence: u64,
    /// The copy for a snapshot that is under way.
    copying: Option<Copying>,
}

impl SledStore {
    /// Opens sled in a folder that is locked and known to be ours, and applies what it lacks of the log. Returns the
    /// store with the number of batches that were known to be stored and are not there.
    pub(super) fn start(
        layout: &Layout,
        lock: &Arc<Lock>,
        storage_key: StorageKey,
        options: &Options,
        gap: Gap,
    ) -> Result<(Self, u64), String> {
        let config = ::sled::Config::new()
            .path(layout.database())
            .cache_capacity(options.cache_bytes)
            .mode(::sled::Mode::HighThroughput)
            .flush_every_ms(Some(BACKGROUND_INTERVAL_MS));
        // Before sled makes it, open to all.
        folder::create_folder(&layout.database()).map_err(|error| error.to_string())?;
        let database = guarded(|| config.open())?;
        let told = |cause: io::Error| cause.to_string();
        let file = File::open(layout.database_file()).map_err(told)?;
        // sled syncs neither its settings nor the names of its files.
        for path in [layout.database().join("conf"), layout.database_file()] {
            File::open(path).and_then(|file| file.sync_all()).map_err(told)?;
        }
        for path in [layout.database(), layout.folder().to_path_buf()] {
            folder::sync_folder(&path).map_err(told)?;
        }
        let sequence = guarded(|| database.open_tree(SEQUENCE_TREE))?;
        let (log, logged) = WriteAheadLog::open(&layout.log(), options.log_bytes).map_err(told)?;
        let (last, lost) = durable::replay(&database, &sequence, logged, gap)?;
        let (progress, promised) = Progress::open(&layout.progress()).map_err(told)?;
        let set_aside = guarded(|| {
            database.scan_prefix([SET_ASIDE]).try_fold(0_usize, |count, row| row.map(|_| count + 1))
        })?;
        let store = Self {
            database,
            sequence,
            progress,
            log: Mutex::new(Log::new(log)),
            recent: Recent::default(),
            file,
            content: ContentFolder::open(layout.content()).map_err(told)?,
            layout: layout.clone(),
            storage_key,
            options: options.clone(),
            writing: Mutex::new(Writing { sequence: last, ..Writing::default() }),
            set_aside: AtomicUsize::new(set_aside),
            snapshots: Mutex::new(()),
            stopped: OnceLock::new(),
            is_orderly: AtomicBool::new(false),
            _lock: Arc::clone(lock),
        };
        Ok((store, lost.max(promised.saturating_sub(last))))
    }

    /// Accepts the state as it is: from here on, both witnesses say the same, and the end may be orderly.
    pub(super) fn accept(&self) -> Result<(), StoreError> {
        self.sync_all()?;
        self.begin_log()?;
        self.is_orderly.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Bytes that stay free of bulk.
    pub(super) const fn bulk_reserve_bytes(&self) -> u64 {
        self.options.bulk_reserve_bytes
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.layout.folder().to_path_buf()
    }

    /// Reads the value of a row that was just taken from sled.
    pub(super) fn open_row(&self, table: Table, key: &[u8], row: &[u8]) -> Result<Vec<u8>, Unread> {
        let place = Place::of(table, key);
        let (shape, value) = record::decode(place, row, &self.storage_key).map_err(Unread::Damaged)?;
        match shape {
            Shape::Inline => Ok(value),
            Shape::File => {
                let reference = FileReference::from_bytes(&value).ok_or(Unread::Damaged(Damage::Checksum))?;
                self.content.read(place, reference, &self.storage_key)
            }
            Shape::Content => Err(Unread::Damaged(Damage::Checksum)),
        }
    }

    /// Runs a call into sled; its failure stops the store.
    pub(super) fn call<T>(
        &self,
        doing: &'static str,
        call: impl FnOnce() -> ::sled::Result<T>,
    ) -> Result<T, StoreError> {
        guarded(call).map_err(|cause| self.stop(doing, cause))
    }

    fn stop(&self, doing: &'static str, cause: impl ToString) -> StoreError {
        let error = StoreError::Failed { doing, cause: cause.to_string() };
        if self.stopped.set(error.to_string()).is_ok() {
            tracing::error!(doing, "{error}");
        }
        error
    }

    pub(super) fn running(&self) -> Result<(), StoreError> {
        match self.stopped.get() {
            None => Ok(()),
            Some(first) => Err(StoreError::Stopped { first: first.clone() }),
        }
    }

    pub(super) fn writing(&self) -> MutexGuard<'_, Writing> {
        // What a panic could leave half done is in sled, and then the store has stopped.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for SledStore {
    fn apply_leaving(&self, changes: &[Change], reserve: Reserve) -> Result<(), StoreError> {
        check_bounds(changes)?;
        let last = last_of_each(changes);
        let mut writing = self.writing();
        self.running()?;
        if last.is_empty() {
            return Ok(());
        }
        self.check_space(&last, reserve)?;
        let prepared = self.prepare(&last)?;
        self.apply_rows(&mut writing, prepared.rows)?;
        self.set_aside.fetch_sub(prepared.replaced, Ordering::SeqCst);
        writing.unsynced.dropped.extend(prepared.dropped);
        let must_sync = writing.unsynced.is_beyond(self.options.log_bytes);
        drop(writing);
        if must_sync { self.sync_applied() } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.sync_applied()
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.settle_log()
    }

    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            self.running()?;
            let Some(row) = self.raw_row("reading a row", &row_key(table.id(), key))? else {
                let is_aside = self.set_aside.load(Ordering::SeqCst) > 0
                    && self.raw_row("reading a set-aside row", &aside_key(table, key))?.is_some();
                return if is_aside { Err(set_aside_earlier(table, key)) } else { Ok(None) };
            };
            match self.open_row(table, key, &row) {
                Ok(value) => return Ok(Some(value)),
                Err(unread) => {
                    if let Some(error) = self.unread(table, key, &row, unread)? {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn scan(&self, table: Table, keys: Keys<'_>) -> Rows<'_> {
        let found = self.running().and_then(|()| {
            let mut errors = Vec::new();
            if self.set_aside.load(Ordering::SeqCst) > 0 {
                for aside in self.set_aside()? {
                    if aside.table == table && keys.contain(&aside.key) {
                        errors.push(Err(set_aside_earlier(table, &aside.key)));
                    }
                }
            }
            self.call("scanning", || Ok(SledRows::start(self, table, keys, errors)))
        });
        match found {
            Ok(rows) => Box::new(rows),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn set_aside(&self) -> Result<Vec<SetAside>, StoreError> {
        self.running()?;
        let mut all = Vec::new();
        let mut rows = self.raw_rows(with_prefix(vec![SET_ASIDE], vec![SET_ASIDE]));
        while let Some((key, remains)) = self.call("reading set-aside rows", || rows.next().transpose())? {
            let Some((table, within)) = key
                .get(1..)
                .and_then(<[u8]>::split_first)
                .and_then(|(id, within)| Some((Table::from_id(*id)?, within)))
            else {
                continue;
            };
            let place = Place { prefix: SET_ASIDE, key: key.get(1..).unwrap_or_default(), secret: false };
            // If even this row is damaged, its key still tells what is missing.
            let remains = record::decode(place, &remains, &self.storage_key)
                .map_or_else(|_| Vec::new(), |(_, row)| row);
            all.push(SetAside { table, key: within.to_vec(), remains });
        }
        Ok(all)
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        let measure = |path: PathBuf| {
            folder::size_of_folder(&path).map_err(|cause| StoreError::Unreadable {
                what: "the size of the data folder",
                cause: cause.to_string(),
            })
        };
        Ok(measure(self.layout.database())?.saturating_add(measure(self.layout.content())?))
    }

    fn free_on_disk(&self) -> Result<u64, StoreError> {
        folder::available(self.layout.folder()).map_err(|cause| StoreError::Unreadable {
            what: "the free space of the disk",
            cause: cause.to_string(),
        })
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        if self.running().is_err() {
            return;
        }
        match self.end_in_order() {
            Ok(()) if self.is_orderly.load(Ordering::SeqCst) => {
                if let Err(cause) = folder::replace_file(&self.layout.clean(), b"") {
                    tracing::warn!("cannot mark the folder as closed, so the next start checks it: {cause}");
                }
            }
            Ok(()) => {}
            Err(error) => tracing::error!("the last sync before the end failed: {error}"),
        }
    }
}

/// Runs a call into sled, whose errors and panics become words.
pub(super) fn guarded<T>(call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("sled panicked: {}", text.unwrap_or("without a word")))
        }
    }
}

fn set_aside_earlier(table: Table, key: &[u8]) -> StoreError {
    StoreError::Damaged { table, key: key.to_vec(), damage: Damage::SetAside }
}

/// The tree that holds the number of the last batch.
const SEQUENCE_TREE: &str = "sequence";

/// Its only key.
const SEQUENCE_KEY: &[u8] = b"last";

/// sled rewrites segments of 512 KiB to reclaim space; a hundred of them, and room for logs of the system.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Four times that: between the two a node takes no more messages, but states and receipts of those it has.
const BULK_RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// sled's cache: the whole directory of 196 members fits, and an idle node stays small.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// About a thousand messages between two syncs of sled itself, which take a few milliseconds each; read once at
/// the start.
const LOG_BYTES: u64 = 4 * 1024 * 1024;

/// How often sled's own thread writes what nobody waited for, and reclaims space.
const BACKGROUND_INTERVAL_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn open(folder: &std::path::Path) -> SledStore {
        SledStore::open(folder, &StorageKey::from_bytes(&[7; 32]), &Options::default()).unwrap().0
    }

    #[test]
    fn a_failed_fdatasync_stops_the_store_and_the_next_start_checks_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        // It takes all that is written and cannot be synced, which is an error as good as any.
        let null = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        let file = store.log().file.replace_file(null);
        let change = Change::put(Table::Inbox, *b"key", *b"value");
        store.apply(std::slice::from_ref(&change)).unwrap();
        let failed = store.sync().unwrap_err();
        assert!(matches!(failed, StoreError::Failed { doing: "syncing the log", .. }), "{failed}");
        // The cause is gone, and still nothing is tried again.
        drop(store.log().file.replace_file(file));
        for error in [
            store.sync().unwrap_err(),
            store.apply(&[change]).unwrap_err(),
            store.value(Table::Inbox, b"key").unwrap_err(),
            store.scan(Table::Inbox, Keys::All).next().unwrap().unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
        }
        drop(store);
        let (_, opened) =
            SledStore::open(folder.path(), &StorageKey::from_bytes(&[7; 32]), &Options::default()).unwrap();
        assert!(opened.checked.is_some());
    }

    #[test]
    fn content_files_go_only_after_the_sync_that_ends_their_rows() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let files = || std::fs::read_dir(folder.path().join("content")).unwrap().count();
        store.apply(&[Change::put(Table::InboxContent, *b"key", vec![1; 10_000])]).unwrap();
        store.sync().unwrap();
        assert_eq!(files(), 1);
        store.apply(&[Change::put(Table::InboxContent, *b"key", vec![1; 10_000])]).unwrap();
        assert_eq!(files(), 2, "a power cut now brings the old row back");
        store.sync().unwrap();
        assert_eq!(files(), 1);
        store.apply(&[Change::delete(Table::InboxContent, *b"key")]).unwrap();
        assert_eq!(files(), 1);
        store.sync().unwrap();
        assert_eq!(files(), 0);
    }

    #[test]
    fn a_content_file_that_cannot_be_made_leaves_no_part_of_its_batch_and_the_store_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let content = folder.path().join("content");
        std::fs::remove_dir(&content).unwrap();
        let changes = [
            Change::put(Table::Inbox, *b"key", *b"value"),
            Change::put(Table::InboxContent, *b"key", vec![1; 10_000]),
        ];
        let error = store.apply(&changes).unwrap_err();
        assert!(matches!(error, StoreError::Unwritable { .. }), "{error}");
        assert_eq!(store.value(Table::Inbox, b"key").unwrap(), None);
        std::fs::create_dir(&content).unwrap();
        store.apply(&changes).unwrap();
        assert_eq!(store.value(Table::InboxContent, b"key").unwrap(), Some(vec![1; 10_000]));
    }
}
