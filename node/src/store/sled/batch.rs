//! What comes before a batch is applied: is there room, which files does it need, which does it end.
//!
//! Content files are on the device before the batch that names them is handed to sled. A batch that fails here
//! leaves nothing behind.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use refpoint_protocol::storage::{Change, Table};

use super::{
    Reserve, SET_ASIDE, SledStore, Store, StoreError, aside_key,
    content::ContentError,
    record::{self, FileReference, Place, RECORD_OVERHEAD_MAX, Shape},
    row_key,
};
use crate::store::{error::is_lack_of_room, wal::RowChange};

/// The last change of each key.
pub(super) type Changes<'a> = BTreeMap<(Table, &'a [u8]), Option<&'a [u8]>>;

/// Takes the last change of each key.
pub(super) fn last_of_each(changes: &[Change]) -> Changes<'_> {
    changes.iter().map(|change| ((change.table, change.key.as_slice()), change.value.as_deref())).collect()
}

/// A batch ready for sled.
#[derive(Default)]
pub(super) struct Prepared {
    pub(super) rows: Vec<RowChange>,
    /// Content files whose rows go with this batch.
    pub(super) dropped: Vec<[u8; 32]>,
    /// How many set-aside rows end with this batch.
    pub(super) replaced: usize,
}

impl Prepared {
    fn drop_file(&mut self, reference: Option<FileReference>) {
        self.dropped.extend(reference.map(|reference| reference.hash));
    }
}

impl SledStore {
    pub(super) fn check_space(&self, changes: &Changes<'_>, reserve: Reserve) -> Result<(), StoreError> {
        let stored = || changes.values().flatten();
        if stored().next().is_none() {
            return Ok(());
        }
        let reserve = match reserve {
            Reserve::Small => self.options.reserve_bytes,
            Reserve::Large => self.options.bulk_reserve_bytes,
        };
        let bytes = stored().fold(0, |sum: u64, value| sum.saturating_add(ROW_SPACE + value.len() as u64));
        let needed = reserve.saturating_add(bytes);
        let available = self.free_on_disk()?;
        if available < needed { Err(self.disk_full(available, needed)) } else { Ok(()) }
    }

    fn disk_full(&self, available: u64, needed: u64) -> StoreError {
        StoreError::DiskFull { folder: self.layout.folder().display().to_string(), available, needed }
    }

    /// Writes the content files of a batch and makes its rows. On an error no file of the batch is left.
    pub(super) fn prepare(&self, changes: &Changes<'_>) -> Result<Prepared, StoreError> {
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
        changes: &Changes<'_>,
        prepared: &mut Prepared,
        written: &mut Vec<[u8; 32]>,
    ) -> Result<(), StoreError> {
        let mut unsynced = Vec::new();
        for (&(table, key), value) in changes {
            let place = Place::of(table, key);
            let row_key = row_key(table.id(), key);
            let old = self.raw_row("reading a row", &row_key)?;
            prepared.drop_file(old.and_then(|row| record::file_reference(place, &row, &self.storage_key)));
            if self.set_aside.load(Ordering::SeqCst) > 0 {
                self.prepare_replacement(place, &aside_key(table, key), prepared)?;
            }
            let Some(value) = value else {
                prepared.rows.push((row_key, None));
                continue;
            };
            let row = if row_key.len() + RECORD_OVERHEAD_MAX + value.len() <= ROW_BYTES_MAX {
                record::encode(place, Shape::Inline, value, &self.storage_key)?
            } else {
                let file = self
                    .content
                    .write(place, value, &self.storage_key)
                    .map_err(|error| self.not_written(error, value.len()))?;
                let reference = file.reference;
                written.push(reference.hash);
                unsynced.push(file);
                if unsynced.len() >= FILES_SYNCED_TOGETHER {
                    let files = std::mem::take(&mut unsynced);
                    self.content.finish(files).map_err(|error| self.not_written(error, 0))?;
                }
                record::encode(place, Shape::File, &reference.to_bytes(), &self.storage_key)?
            };
            prepared.rows.push((row_key, Some(row)));
        }
        if !unsynced.is_empty() {
            self.content.finish(unsynced).map_err(|error| self.not_written(error, 0))?;
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
        let Some(remains) = self.raw_row("reading a set-aside row", aside)? else {
            return Ok(());
        };
        let within = Place { prefix: SET_ASIDE, key: aside.get(1..).unwrap_or_default(), secret: false };
        if let Ok((_, row)) = record::decode(within, &remains, &self.storage_key) {
            prepared.drop_file(record::file_reference(place, &row, &self.storage_key));
        }
        prepared.rows.push((aside.to_vec(), None));
        prepared.replaced += 1;
        Ok(())
    }

    fn not_written(&self, error: ContentError, bytes: usize) -> StoreError {
        match error {
            ContentError::Record(error) => error,
            ContentError::Create(cause) | ContentError::Write(cause) if is_lack_of_room(&cause) => {
                self.disk_full(0, bytes as u64)
            }
            ContentError::Create(cause) => StoreError::Unwritable { cause: cause.to_string() },
            ContentError::Write(cause) => self.stop("writing a content file", cause),
        }
    }
}

/// Bytes of a row with its key. A leaf of sled holds up to 17 rows and must stay below 128 KiB: larger pages go
/// to files that sled does not sync at all.
const ROW_BYTES_MAX: usize = 4 * 1024;

/// Space that a row may take beyond its value: its key and record, and sled rewriting its page.
const ROW_SPACE: u64 = 4 * 1024;

/// Files written before the first of them is synced: they share a commit of the journal, and few handles.
const FILES_SYNCED_TOGETHER: usize = 32;
