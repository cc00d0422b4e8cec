//! How what is applied reaches the device: through the write-ahead log, and from time to time through sled itself.

use std::sync::{MutexGuard, PoisonError, atomic::Ordering};

use super::{SEQUENCE_KEY, SledStore, StoreError, Writing, guarded};
use crate::store::wal::{Entry, RowChange, WriteAheadLog};

/// What was applied since the last sync.
#[derive(Default)]
pub(super) struct Unsynced {
    /// The batches, for the log.
    entries: Vec<Entry>,
    /// Bytes that they take in the log.
    bytes: u64,
    /// They were too many to be kept for the log, so the next sync is one of sled.
    is_beyond_log: bool,
    /// Content files whose rows are gone, to be removed once that is on the device.
    pub(super) dropped: Vec<[u8; 32]>,
}

impl Unsynced {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.is_beyond_log && self.dropped.is_empty()
    }

    fn push(&mut self, entry: Entry, log_bytes: u64) {
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.is_beyond_log || self.bytes > log_bytes {
            self.is_beyond_log = true;
            self.entries.clear();
        } else {
            self.entries.push(entry);
        }
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
        guarded(|| put_rows(database, sequence, &entry.changes, entry.number))?;
        last = entry.number;
    }
    Ok((last, lost))
}

/// In the order of sled's own log: the number is there only if the batch is.
fn put_rows(
    database: &::sled::Db,
    sequence: &::sled::Tree,
    changes: &[RowChange],
    number: u64,
) -> ::sled::Result<()> {
    let mut batch = ::sled::Batch::default();
    for (key, row) in changes {
        match row {
            Some(row) => batch.insert(key.as_slice(), row.as_slice()),
            None => batch.remove(key.as_slice()),
        }
    }
    database.apply_batch(batch)?;
    sequence.insert(SEQUENCE_KEY, &number.to_be_bytes()).map(drop)
}

impl SledStore {
    /// Applies rows as one batch under the next number, and keeps them for the log.
    pub(super) fn apply_rows(
        &self,
        writing: &mut Writing,
        doing: &'static str,
        changes: Vec<RowChange>,
    ) -> Result<(), StoreError> {
        let number = writing.sequence.saturating_add(1);
        self.call(doing, || put_rows(&self.database, &self.sequence, &changes, number))?;
        writing.sequence = number;
        writing.unsynced.push(Entry { number, changes }, self.options.log_bytes);
        Ok(())
    }

    /// Brings what was applied to the device: by the log if it has room, else by sled.
    pub(super) fn sync_applied(&self) -> Result<(), StoreError> {
        self.running()?;
        // Held throughout: whoever finds nothing to sync knows that it is on the device, not on its way.
        let mut log = self.log();
        let (unsynced, number) = {
            let mut writing = self.writing();
            (std::mem::take(&mut writing.unsynced), writing.sequence)
        };
        if unsynced.is_empty() && log.is_in_use() {
            return Ok(());
        }
        if !unsynced.is_beyond_log && log.has_room(unsynced.bytes) {
            log.append(&unsynced.entries).map_err(|cause| self.stop("syncing the log", cause))?;
        } else {
            self.checkpoint(&mut log)?;
        }
        self.progress.note(number).map_err(|cause| self.stop("noting the progress", cause))?;
        for hash in &unsynced.dropped {
            if let Err(cause) = self.content.remove(hash) {
                // It takes space and does no harm: without the mark the next start sweeps it.
                self.is_orderly.store(false, Ordering::SeqCst);
                tracing::warn!("cannot remove a content file that no row names: {cause}");
            }
        }
        Ok(())
    }

    /// Brings all that sled holds to the device, also what was written past the log, and begins the log anew.
    pub(in crate::store) fn sync_all(&self) -> Result<(), StoreError> {
        self.running()?;
        self.checkpoint(&mut self.log())
    }

    /// From here on batches go through the log.
    pub(super) fn begin_log(&self) -> Result<(), StoreError> {
        self.log().restart().map_err(|cause| self.stop("beginning the log", cause))
    }

    fn checkpoint(&self, log: &mut WriteAheadLog) -> Result<(), StoreError> {
        self.call("flushing the database", || self.database.flush())?;
        self.file.sync_data().map_err(|cause| self.stop("syncing the database", cause))?;
        if log.is_in_use() {
            log.restart().map_err(|cause| self.stop("beginning the log anew", cause))?;
        }
        Ok(())
    }

    pub(super) fn log(&self) -> MutexGuard<'_, WriteAheadLog> {
        // After a panic within a write the store has stopped.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
