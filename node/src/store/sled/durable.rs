//! How what is applied reaches the device: through the write-ahead log, and from time to time through sled itself.

use std::sync::{MutexGuard, PoisonError, atomic::Ordering};

use sled::IVec;

use super::{
    SEQUENCE_KEY, SledStore, StoreError, Writing, guarded,
    recent::{KeyRange, Merged},
};
use crate::store::wal::{Entry, RowChange, WriteAheadLog};

/// What was applied since the last sync.
#[derive(Default)]
pub(super) struct Unsynced {
    /// The batches, in order.
    entries: Vec<Entry>,
    /// Bytes that they take in the log.
    bytes: u64,
    /// Content files whose rows are gone, to be removed once that is on the device.
    pub(super) dropped: Vec<[u8; 32]>,
}

impl Unsynced {
    /// Says whether this is more than the log ever takes, so that a sync must come.
    pub(super) const fn is_beyond(&self, log_bytes: u64) -> bool {
        self.bytes > log_bytes
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.dropped.is_empty()
    }
}

/// The log, and what it holds beyond sled.
pub(super) struct Log {
    pub(super) file: WriteAheadLog,
    /// Batches that are in the log and not in sled yet.
    unsettled: Vec<Entry>,
}

impl Log {
    pub(super) const fn new(file: WriteAheadLog) -> Self {
        Self { file, unsettled: Vec::new() }
    }
}

/// What is done with entries of the log that do not follow the database's last batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Gap {
    /// They are left in the log, and count as lost: another remedy may bring back what is between.
    Stop,
    /// They are applied: what is between is lost.
    Skip,
}

/// Applies to a database what it lacks of the log. Returns the number of its last batch, and how many batches are
/// known to be missing.
pub(super) fn replay(
    database: &::sled::Db,
    sequence: &::sled::Tree,
    logged: Vec<Entry>,
    gap: Gap,
) -> Result<(u64, u64), String> {
    let row = guarded(|| sequence.get(SEQUENCE_KEY))?;
    let mut last =
        row.and_then(|row| row.as_ref().try_into().ok().map(u64::from_be_bytes)).unwrap_or_default();
    // A new database has nothing to do with a log that was left behind.
    if database.is_empty() {
        return Ok((last, 0));
    }
    let newest = logged.last().map_or(last, |entry| entry.number);
    let mut lost = 0;
    let known = last;
    for entry in logged.into_iter().skip_while(|entry| entry.number <= known) {
        let between = entry.number.saturating_sub(last).saturating_sub(1);
        if between > 0 && gap == Gap::Stop {
            return Ok((last, newest.saturating_sub(last)));
        }
        lost += between;
        guarded(|| put_batch(database, sequence, &entry))?;
        last = entry.number;
    }
    Ok((last, lost))
}

/// Puts a batch into sled as one. In the order of sled's own log: the number is there only if the batch is.
fn put_batch(database: &::sled::Db, sequence: &::sled::Tree, entry: &Entry) -> ::sled::Result<()> {
    let mut batch = ::sled::Batch::default();
    for (key, row) in &entry.changes {
        match row {
            Some(row) => batch.insert(key.as_slice(), row.as_slice()),
            None => batch.remove(key.as_slice()),
        }
    }
    database.apply_batch(batch)?;
    sequence.insert(SEQUENCE_KEY, &entry.number.to_be_bytes()).map(drop)
}

/// Puts a batch into sled that is whole in the log: a power cut within it is mended from there, since its number
/// comes last. sled's batches write two buffers each, at once.
fn put_rows(database: &::sled::Db, sequence: &::sled::Tree, entry: &Entry) -> ::sled::Result<()> {
    for (key, row) in &entry.changes {
        match row {
            Some(row) => database.insert(key, row.as_slice())?,
            None => database.remove(key)?,
        };
    }
    sequence.insert(SEQUENCE_KEY, &entry.number.to_be_bytes()).map(drop)
}

impl SledStore {
    /// Applies rows as one batch under the next number: they can be read from here on, and the next sync makes them
    /// durable.
    pub(super) fn apply_rows(
        &self,
        writing: &mut Writing,
        changes: Vec<RowChange>,
    ) -> Result<(), StoreError> {
        self.leave_to_copy(writing, &changes)?;
        let number = writing.sequence.saturating_add(1);
        let entry = Entry { number, changes };
        self.recent.add(&entry);
        writing.sequence = number;
        writing.unsynced.bytes = writing.unsynced.bytes.saturating_add(entry.size());
        writing.unsynced.entries.push(entry);
        Ok(())
    }

    /// Brings what was applied to the device: by the log if it has room, else by sled.
    pub(super) fn sync_applied(&self) -> Result<(), StoreError> {
        self.running()?;
        // Held throughout: whoever finds nothing to sync knows that it is on the device, not on its way.
        let mut log = self.log();
        let (unsynced, number) = self.take_unsynced();
        if unsynced.is_empty() {
            return Ok(());
        }
        if !log.file.has_room(unsynced.bytes) {
            return self.sync_through_sled(&mut log, unsynced, number);
        }
        log.file.append(&unsynced.entries).map_err(|cause| self.stop("syncing the log", cause))?;
        log.unsettled.extend(unsynced.entries);
        self.note(number, &unsynced.dropped)
    }

    /// Brings everything to the device through sled, also what was written past the log, and begins the log anew.
    pub(in crate::store) fn sync_all(&self) -> Result<(), StoreError> {
        self.running()?;
        let mut log = self.log();
        let (unsynced, number) = self.take_unsynced();
        self.sync_through_sled(&mut log, unsynced, number)
    }

    /// Puts into sled what so far is in the log alone.
    pub(super) fn settle_log(&self) -> Result<(), StoreError> {
        self.running()?;
        self.settle_in(&mut self.log())
    }

    /// Brings everything to the device for good.
    pub(super) fn end_in_order(&self) -> Result<(), StoreError> {
        self.sync_all()?;
        self.log().file.end().map_err(|cause| self.stop("ending the log", cause))
    }

    /// From here on batches go through the log.
    pub(super) fn begin_log(&self) -> Result<(), StoreError> {
        self.log().file.restart().map_err(|cause| self.stop("beginning the log", cause))
    }

    fn take_unsynced(&self) -> (Unsynced, u64) {
        let mut writing = self.writing();
        (std::mem::take(&mut writing.unsynced), writing.sequence)
    }

    fn sync_through_sled(&self, log: &mut Log, unsynced: Unsynced, number: u64) -> Result<(), StoreError> {
        self.settle_in(log)?;
        for entry in &unsynced.entries {
            // Nothing else holds it yet: all of it or nothing is for sled to see to.
            self.call("applying a batch", || put_batch(&self.database, &self.sequence, entry))?;
            self.recent.settle(entry);
        }
        self.call("flushing the database", || self.database.flush())?;
        self.file.sync_data().map_err(|cause| self.stop("syncing the database", cause))?;
        if log.file.is_in_use() {
            log.file.restart().map_err(|cause| self.stop("beginning the log anew", cause))?;
        }
        self.note(number, &unsynced.dropped)
    }

    fn settle_in(&self, log: &mut Log) -> Result<(), StoreError> {
        for entry in std::mem::take(&mut log.unsettled) {
            self.call("putting a batch into the database", || {
                put_rows(&self.database, &self.sequence, &entry)
            })?;
            self.recent.settle(&entry);
        }
        Ok(())
    }

    /// What follows once everything up to a number is on the device.
    fn note(&self, number: u64, dropped: &[[u8; 32]]) -> Result<(), StoreError> {
        self.progress.note(number).map_err(|cause| self.stop("noting the progress", cause))?;
        if dropped.is_empty() {
            return Ok(());
        }
        let mut writing = self.writing();
        if let Some(copying) = &mut writing.copying {
            copying.dropped.extend(dropped);
            return Ok(());
        }
        drop(writing);
        self.remove_content(dropped);
        Ok(())
    }

    /// Removes content files that no row names any more.
    pub(super) fn remove_content(&self, dropped: &[[u8; 32]]) {
        for hash in dropped {
            if let Err(cause) = self.content.remove(hash) {
                // It takes space and does no harm: without the mark the next start sweeps it.
                self.is_orderly.store(false, Ordering::SeqCst);
                tracing::warn!("cannot remove a content file that no row names: {cause}");
            }
        }
    }

    /// The row under a key, wherever it is.
    pub(super) fn raw_row(&self, doing: &'static str, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        match self.recent.get(key) {
            Some(row) => Ok(row),
            None => self.call(doing, || self.database.get(key)),
        }
    }

    /// The rows of a range of keys, wherever they are.
    pub(in crate::store) fn raw_rows(&self, range: KeyRange) -> Merged {
        self.recent.merged(&self.database, range)
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        // After a panic within a write the store has stopped.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
