//! The store on a disk: sled for rows, content files for large values, fdatasync for truth.
//!
//! All tables lie in one sled tree, told apart by the first byte of the key, so that one sled batch is atomic
//! over them. sled's `flush` does not reach the device by itself: [`SledStore::sync`] adds the fdatasync. Every
//! call into sled is guarded against its panics; any failure of it stops the store for good.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use refpoint_protocol::storage::{Change, Table};

use super::{
    Damage, Keys, Row, Rows, SetAside, Store, StoreError, check_bounds,
    content::{ContentError, ContentFolder, Unread},
    folder::{self, Layout, Lock},
    record::{self, FileReference, Place, RECORD_OVERHEAD_MAX, Shape, StorageKey},
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
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reserve_bytes: RESERVE_BYTES,
            bulk_reserve_bytes: BULK_RESERVE_BYTES,
            cache_bytes: CACHE_BYTES,
        }
    }
}

/// The store in a data folder. Dropping it syncs what was applied and marks the folder as orderly closed.
pub struct SledStore {
    pub(super) database: ::sled::Db,
    /// Our own handle to sled's file: what fdatasync needs, and what a failed write-back is reported to.
    file: File,
    pub(super) content: ContentFolder,
    pub(super) layout: Layout,
    pub(super) storage_key: StorageKey,
    options: Options,
    writing: Mutex<Writing>,
    set_aside: AtomicUsize,
    stopped: OnceLock<String>,
    /// Whether the end may be marked as orderly: only once opening is complete.
    pub(super) is_orderly: AtomicBool,
    /// Last, so that the folder is free only after sled has let go of it.
    _lock: Arc<Lock>,
}

/// What writers share, under one lock: batches are prepared and applied one after another.
#[derive(Default)]
struct Writing {
    /// Content files whose rows are gone, to be removed once that is on the device.
    dropped: Vec<[u8; 32]>,
}

impl SledStore {
    /// Opens sled in a folder that is locked and known to be ours.
    pub(super) fn start(
        layout: &Layout,
        lock: &Arc<Lock>,
        storage_key: StorageKey,
        options: &Options,
    ) -> Result<Self, String> {
        let config = ::sled::Config::new()
            .path(layout.database())
            .cache_capacity(options.cache_bytes)
            .mode(::sled::Mode::HighThroughput)
            .flush_every_ms(Some(BACKGROUND_INTERVAL_MS));
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
        let set_aside = guarded(|| {
            database.scan_prefix([SET_ASIDE]).try_fold(0_usize, |count, row| row.map(|_| count + 1))
        })?;
        Ok(Self {
            database,
            file,
            content: ContentFolder::new(layout.content()),
            layout: layout.clone(),
            storage_key,
            options: options.clone(),
            writing: Mutex::default(),
            set_aside: AtomicUsize::new(set_aside),
            stopped: OnceLock::new(),
            is_orderly: AtomicBool::new(false),
            _lock: Arc::clone(lock),
        })
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

    /// Moves a damaged row out of its table, unless it has been replaced meanwhile.
    pub(super) fn put_aside(&self, table: Table, key: &[u8], row: &[u8]) -> Result<Moved, StoreError> {
        let writing = self.writing();
        let row_key = row_key(table.id(), key);
        if self.call("reading a damaged row", || self.database.get(&row_key))?.as_deref() != Some(row) {
            return Ok(Moved::Replaced);
        }
        let aside = aside_key(table, key);
        let place = Place { prefix: SET_ASIDE, key: aside.get(1..).unwrap_or_default(), secret: false };
        let remains = record::encode(place, Shape::Inline, row, &self.storage_key)?;
        let mut batch = ::sled::Batch::default();
        batch.remove(row_key);
        batch.insert(aside, remains);
        self.call("setting a damaged row aside", || self.database.apply_batch(batch))?;
        self.set_aside.fetch_add(1, Ordering::SeqCst);
        drop(writing);
        Ok(Moved::Aside)
    }

    /// Turns what could not be read into what the caller gets: an error, or nothing if the row was replaced.
    fn unread(
        &self,
        table: Table,
        key: &[u8],
        row: &[u8],
        unread: Unread,
    ) -> Result<Option<StoreError>, StoreError> {
        match unread {
            Unread::Unreadable(cause) => {
                Ok(Some(StoreError::Unreadable { what: "a content file", cause: cause.to_string() }))
            }
            Unread::Damaged(damage) => match self.put_aside(table, key, row)? {
                Moved::Replaced => Ok(None),
                Moved::Aside => {
                    let error = StoreError::Damaged { table, key: key.to_vec(), damage };
                    tracing::error!(table = table.name(), "{error}");
                    Ok(Some(error))
                }
            },
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

    fn running(&self) -> Result<(), StoreError> {
        match self.stopped.get() {
            None => Ok(()),
            Some(first) => Err(StoreError::Stopped { first: first.clone() }),
        }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        // What a panic could leave half done is in sled, and then the store has stopped.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_space(&self, changes: &BTreeMap<(Table, &[u8]), Option<&[u8]>>) -> Result<(), StoreError> {
        let stored = || changes.iter().filter_map(|((table, _), value)| value.map(|value| (table, value)));
        let reserve = match (stored().next(), stored().any(|(table, _)| table.is_bulk())) {
            (None, _) => return Ok(()),
            (Some(_), true) => self.options.bulk_reserve_bytes,
            (Some(_), false) => self.options.reserve_bytes,
        };
        let bytes =
            stored().fold(0, |sum: u64, (_, value)| sum.saturating_add(ROW_SPACE + value.len() as u64));
        let needed = reserve.saturating_add(bytes);
        let available = self.free_on_disk()?;
        if available < needed { Err(self.disk_full(available, needed)) } else { Ok(()) }
    }

    fn disk_full(&self, available: u64, needed: u64) -> StoreError {
        StoreError::DiskFull { folder: self.layout.folder().display().to_string(), available, needed }
    }

    /// Writes the content files of a batch and makes its rows. On an error no file of the batch is left.
    fn prepare(&self, changes: &BTreeMap<(Table, &[u8]), Option<&[u8]>>) -> Result<Prepared, StoreError> {
        let mut prepared = Prepared::default();
        let mut written = Vec::new();
        let result = self.prepare_into(changes, &mut prepared, &mut written);
        if let Err(error) = result {
            for hash in &written {
                if let Err(cause) = self.content.remove(hash) {
                    self.is_orderly.store(false, Ordering::SeqCst);
                    tracing::warn!("cannot remove a content file that was not used: {cause}");
                }
            }
            return Err(error);
        }
        Ok(prepared)
    }

    fn prepare_into(
        &self,
        changes: &BTreeMap<(Table, &[u8]), Option<&[u8]>>,
        prepared: &mut Prepared,
        written: &mut Vec<[u8; 32]>,
    ) -> Result<(), StoreError> {
        for (&(table, key), value) in changes {
            let place = Place::of(table, key);
            let row_key = row_key(table.id(), key);
            let old = self.call("reading a row", || self.database.get(&row_key))?;
            prepared.drop_file(old.and_then(|row| record::file_reference(place, &row, &self.storage_key)));
            if self.set_aside.load(Ordering::SeqCst) > 0 {
                self.prepare_replacement(place, &aside_key(table, key), prepared)?;
            }
            let Some(value) = value else {
                prepared.batch.remove(row_key);
                continue;
            };
            let row = if row_key.len() + RECORD_OVERHEAD_MAX + value.len() <= ROW_BYTES_MAX {
                record::encode(place, Shape::Inline, value, &self.storage_key)?
            } else {
                let reference = self
                    .content
                    .write(place, value, &self.storage_key)
                    .map_err(|error| self.not_written(error, value.len()))?;
                written.push(reference.hash);
                record::encode(place, Shape::File, &reference.to_bytes(), &self.storage_key)?
            };
            prepared.batch.insert(row_key, row);
        }
        if !written.is_empty() {
            self.content.sync().map_err(|cause| self.stop("syncing the content folder", cause))?;
        }
        Ok(())
    }

    /// Ends what was set aside under a key that is being stored anew or deleted.
    fn prepare_replacement(
        &self,
        place: Place<'_>,
        aside: &[u8],
        prepared: &mut Prepared,
    ) -> Result<(), StoreError> {
        let Some(remains) = self.call("reading a set-aside row", || self.database.get(aside))? else {
            return Ok(());
        };
        let within = Place { prefix: SET_ASIDE, key: aside.get(1..).unwrap_or_default(), secret: false };
        if let Ok((_, row)) = record::decode(within, &remains, &self.storage_key) {
            prepared.drop_file(record::file_reference(place, &row, &self.storage_key));
        }
        prepared.batch.remove(aside);
        prepared.replaced += 1;
        Ok(())
    }

    fn not_written(&self, error: ContentError, bytes: usize) -> StoreError {
        match error {
            ContentError::Record(error) => error,
            ContentError::Write(cause) => match cause.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => self.disk_full(0, bytes as u64),
                _ => self.stop("writing a content file", cause),
            },
        }
    }
}

impl Store for SledStore {
    fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        check_bounds(changes)?;
        let last: BTreeMap<(Table, &[u8]), Option<&[u8]>> = changes
            .iter()
            .map(|change| ((change.table, change.key.as_slice()), change.value.as_deref()))
            .collect();
        let mut writing = self.writing();
        self.running()?;
        if last.is_empty() {
            return Ok(());
        }
        self.check_space(&last)?;
        let prepared = self.prepare(&last)?;
        self.call("applying a batch", || self.database.apply_batch(prepared.batch))?;
        self.set_aside.fetch_sub(prepared.replaced, Ordering::SeqCst);
        writing.dropped.extend(prepared.dropped);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.running()?;
        let dropped = std::mem::take(&mut self.writing().dropped);
        self.call("flushing the database", || self.database.flush())?;
        self.file.sync_data().map_err(|cause| self.stop("syncing the database", cause))?;
        for hash in &dropped {
            if let Err(cause) = self.content.remove(hash) {
                // It takes space and does no harm: without the mark the next start sweeps it.
                self.is_orderly.store(false, Ordering::SeqCst);
                tracing::warn!("cannot remove a content file that no row names: {cause}");
            }
        }
        Ok(())
    }

    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        loop {
            self.running()?;
            let Some(row) = self.call("reading a row", || self.database.get(row_key(table.id(), key)))?
            else {
                let is_aside = self.set_aside.load(Ordering::SeqCst) > 0
                    && self.call("reading a set-aside row", || {
                        self.database.contains_key(aside_key(table, key))
                    })?;
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
        let mut errors = Vec::new();
        let found = self.running().and_then(|()| {
            if self.set_aside.load(Ordering::SeqCst) > 0 {
                for aside in self.set_aside()? {
                    if aside.table == table && keys.contain(&aside.key) {
                        errors.push(Err(set_aside_earlier(table, &aside.key)));
                    }
                }
            }
            self.call("scanning", || Ok(self.database.range(bounds(table, keys))))
        });
        match found {
            Ok(rows) => {
                Box::new(SledRows { store: self, table, errors: errors.into_iter(), rows: Some(rows) })
            }
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }

    fn set_aside(&self) -> Result<Vec<SetAside>, StoreError> {
        self.running()?;
        let mut all = Vec::new();
        let mut rows = self.database.scan_prefix([SET_ASIDE]);
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
        match self.sync() {
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

/// What became of a damaged row.
pub(super) enum Moved {
    /// It was set aside.
    Aside,
    /// It was replaced before that, so it is no longer of interest.
    Replaced,
}

/// A batch ready for sled.
#[derive(Default)]
struct Prepared {
    batch: ::sled::Batch,
    dropped: Vec<[u8; 32]>,
    replaced: usize,
}

impl Prepared {
    fn drop_file(&mut self, reference: Option<FileReference>) {
        self.dropped.extend(reference.map(|reference| reference.hash));
    }
}

/// A scan in progress.
struct SledRows<'a> {
    store: &'a SledStore,
    table: Table,
    errors: std::vec::IntoIter<Row>,
    /// `None` after sled has failed.
    rows: Option<::sled::Iter>,
}

impl SledRows<'_> {
    fn step(&mut self, step: impl Fn(&mut ::sled::Iter) -> Option<::sled::Result<KeyAndRow>>) -> Option<Row> {
        loop {
            let rows = self.rows.as_mut()?;
            let (key, row) = match self.store.call("scanning", || step(rows).transpose()) {
                Ok(found) => found?,
                Err(error) => {
                    self.rows = None;
                    return Some(Err(error));
                }
            };
            let key = key.get(1..).unwrap_or_default().to_vec();
            let unread = match self.store.open_row(self.table, &key, &row) {
                Ok(value) => return Some(Ok((key, value))),
                Err(unread) => unread,
            };
            match self.store.unread(self.table, &key, &row, unread) {
                Ok(Some(error)) | Err(error) => return Some(Err(error)),
                // Replaced meanwhile: what is there now is as good an answer.
                Ok(None) => match self.store.value(self.table, &key) {
                    Ok(Some(value)) => return Some(Ok((key, value))),
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

impl Iterator for SledRows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        self.errors.next().or_else(|| self.step(::sled::Iter::next))
    }
}

impl DoubleEndedIterator for SledRows<'_> {
    fn next_back(&mut self) -> Option<Row> {
        self.step(::sled::Iter::next_back).or_else(|| self.errors.next_back())
    }
}

type KeyAndRow = (::sled::IVec, ::sled::IVec);

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

pub(super) fn row_key(prefix: u8, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(prefix);
    bytes.extend_from_slice(key);
    bytes
}

fn aside_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut bytes = vec![SET_ASIDE, table.id()];
    bytes.extend_from_slice(key);
    bytes
}

fn set_aside_earlier(table: Table, key: &[u8]) -> StoreError {
    StoreError::Damaged { table, key: key.to_vec(), damage: Damage::SetAside }
}

/// The range of row keys that a scan visits.
fn bounds(table: Table, keys: Keys<'_>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = row_key(table.id(), &keys.start());
    let mut end = match keys {
        Keys::Prefix(_) => start.clone(),
        Keys::All | Keys::From(_) | Keys::After(_) => vec![table.id()],
    };
    // The first key past all that begin with these bytes: the last byte that can grow, grown by one.
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    (Bound::Included(start), Bound::Excluded(end))
}

/// The prefix of the store's own records: who founded the database, under which schema and key.
pub(super) const FOUNDING: u8 = 0x00;

/// The prefix of damaged rows that wait for being replaced; then the table's id and the key.
pub(super) const SET_ASIDE: u8 = 0x01;

/// Bytes of a row with its key. A leaf of sled holds up to 17 rows and must stay below 128 KiB: larger pages go
/// to files that sled does not sync at all.
const ROW_BYTES_MAX: usize = 4 * 1024;

/// Space that a row may take beyond its value: its key and record, and sled rewriting its page.
const ROW_SPACE: u64 = 4 * 1024;

/// sled rewrites segments of 512 KiB to reclaim space; a hundred of them, and room for logs of the system.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Four times that: between the two a node takes no more messages, but states and receipts of those it has.
const BULK_RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// sled's cache: the whole directory of 196 members fits, and an idle node stays small.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How often sled's own thread writes what nobody waited for, and reclaims space.
const BACKGROUND_INTERVAL_MS: u64 = 1_000;
