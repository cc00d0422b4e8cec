//! All rows as they were at one moment, read in stretches while batches go on.
//!
//! A batch that changes what the copy has not come to yet leaves the old row to it. So batches wait for a stretch at
//! most, however large the store is.

use std::{
    collections::BTreeMap,
    ops::Bound,
    time::{Duration, Instant},
};

use sled::IVec;

use super::{SledStore, StoreError, Writing};
use crate::store::wal::RowChange;

/// What batches leave to a copy that is under way.
#[derive(Default)]
pub(super) struct Copying {
    /// The first key that it has not come to.
    next: Vec<u8>,
    /// Rows that were changed since it began, as they were; nothing where there was none.
    before: BTreeMap<IVec, Option<IVec>>,
    /// Content files that no row names any more: rows of the copy may.
    pub(super) dropped: Vec<[u8; 32]>,
}

/// A copy of all rows. One at a time: whoever begins it holds [`SledStore::snapshots`].
pub(in crate::store) struct RowCopy<'a> {
    store: &'a SledStore,
    /// The longest that batches had to wait at one time.
    pub(in crate::store) longest: Duration,
    /// How long the last stretch took.
    last: Duration,
    complete: bool,
}

impl<'a> RowCopy<'a> {
    /// Begins one: it is of this moment, between two batches.
    ///
    /// # Errors
    /// [`StoreError::Stopped`].
    pub(in crate::store) fn begin(store: &'a SledStore) -> Result<Self, StoreError> {
        let mut writing = store.writing();
        store.running()?;
        writing.copying = Some(Copying::default());
        drop(writing);
        Ok(Self { store, longest: Duration::ZERO, last: Duration::ZERO, complete: false })
    }

    /// The next rows in the order of their keys; nothing after the last.
    ///
    /// # Errors
    /// Those of the store, which has stopped then.
    pub(in crate::store) fn stretch(&mut self) -> Result<Option<BTreeMap<IVec, IVec>>, StoreError> {
        if self.complete {
            return Ok(None);
        }
        // Whoever waits for the lock is not always woken before this comes back to it: batches have half of the time.
        std::thread::sleep(self.last.min(STRETCH_MAX));
        let mut writing = self.store.writing();
        let began = Instant::now();
        let copying = writing.copying.get_or_insert_default();
        let next = std::mem::take(&mut copying.next);
        let mut found = self.store.raw_rows((Bound::Included(next), Bound::Unbounded));
        let mut rows = BTreeMap::new();
        let mut is_last = false;
        while rows.len() < ROWS_IN_A_STRETCH && (rows.is_empty() || began.elapsed() < STRETCH_MAX) {
            let Some((key, row)) = self.store.call("copying rows", || found.next().transpose())? else {
                is_last = true;
                break;
            };
            rows.insert(key, row);
        }
        let changed = match rows.last_key_value() {
            Some((last, _)) if !is_last => {
                // The first key after it.
                copying.next = [last, [0].as_slice()].concat();
                let later = copying.before.split_off(copying.next.as_slice());
                std::mem::replace(&mut copying.before, later)
            }
            _ => {
                self.complete = true;
                std::mem::take(&mut copying.before)
            }
        };
        for (key, row) in changed {
            match row {
                Some(row) => rows.insert(key, row),
                None => rows.remove(&key),
            };
        }
        self.last = began.elapsed();
        self.longest = self.longest.max(self.last);
        drop(writing);
        Ok(Some(rows))
    }
}

impl Drop for RowCopy<'_> {
    fn drop(&mut self) {
        let copying = self.store.writing().copying.take();
        self.store.remove_content(&copying.unwrap_or_default().dropped);
    }
}

impl SledStore {
    /// Leaves to a copy under way what a batch is about to change before it.
    pub(super) fn leave_to_copy(
        &self,
        writing: &mut Writing,
        changes: &[RowChange],
    ) -> Result<(), StoreError> {
        let Some(copying) = &mut writing.copying else { return Ok(()) };
        for (key, _) in changes {
            if *key >= copying.next && !copying.before.contains_key(key.as_slice()) {
                let row = self.raw_row("reading a row", key)?;
                copying.before.insert(IVec::from(key.as_slice()), row);
            }
        }
        Ok(())
    }
}

/// What an urgent message may have to wait, on a slow disk too.
const STRETCH_MAX: Duration = Duration::from_millis(5);

/// As many as one has in memory at a time.
const ROWS_IN_A_STRETCH: usize = 1_024;
