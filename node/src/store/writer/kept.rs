//! What peers hold too and found no room on the disk: kept in memory, lent from there, and stored once there is
//! room. So a node with a full disk never names to others what it cannot give.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use refpoint_protocol::storage::{Change, Table};

use crate::store::{Keys, Reserve, Rows, SetAside, Store, StoreError};

/// Rows that wait in memory for room on the disk, the latest of each key. Cheap to clone; a crash forgets them,
/// and then repair brings them back.
#[derive(Clone, Default)]
pub struct KeptRows(Arc<RwLock<Kept>>);

#[derive(Default)]
struct Kept {
    rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    bytes: usize,
}

impl KeptRows {
    /// How many rows wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read().rows.len()
    }

    /// Whether no more is to be taken in that would have to wait here. What is under way already still has a
    /// place: it is bounded by what the writer takes at once.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.read().bytes >= KEPT_BYTES_MAX
    }

    /// The store as it would be if there were room.
    #[must_use]
    pub fn over(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Over { kept: self.clone(), store })
    }

    /// Keeps what a batch would have stored.
    pub(super) fn keep(&self, batch: &[Change]) {
        let mut kept = self.write();
        for change in batch {
            kept.forget(change);
            if let Some(value) = &change.value {
                kept.bytes = kept.bytes.saturating_add(weight(&change.key, value));
                kept.rows.insert((change.table, change.key.clone()), value.clone());
            }
        }
    }

    /// Forgets what a stored batch has replaced or deleted.
    pub(super) fn supersede(&self, batch: &[Change]) {
        if self.read().rows.is_empty() {
            return;
        }
        let mut kept = self.write();
        batch.iter().for_each(|change| kept.forget(change));
    }

    /// Some of the rows, to be stored as one batch.
    pub(super) fn some(&self) -> Vec<Change> {
        let kept = self.read();
        let first = kept.rows.iter().take(ROWS_AT_ONCE);
        first.map(|((table, key), value)| Change::put(*table, key.clone(), value.clone())).collect()
    }

    fn value(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        let kept = self.read();
        if kept.rows.is_empty() {
            return None;
        }
        kept.rows.get(&(table, key.to_vec())).cloned()
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        // Every change under the lock is complete, so a panic elsewhere leaves it whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self, change: &Change) {
        if let Some(value) = self.rows.remove(&(change.table, change.key.clone())) {
            self.bytes = self.bytes.saturating_sub(weight(&change.key, &value));
        }
    }
}

/// A store, and over it what waits for room.
struct Over {
    kept: KeptRows,
    store: Arc<dyn Store>,
}

impl Store for Over {
    fn apply_leaving(&self, changes: &[Change], reserve: Reserve) -> Result<(), StoreError> {
        self.store.apply_leaving(changes, reserve)?;
        self.kept.supersede(changes);
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.store.sync()
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.store.settle()
    }

    /// Looks at what waits first: it leaves there only after it is in the store.
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.kept.value(table, key).map_or_else(|| self.store.value(table, key), |value| Ok(Some(value)))
    }

    /// Of the store alone: what waits is looked for by its key.
    fn scan(&self, table: Table, keys: Keys<'_>) -> Rows<'_> {
        self.store.scan(table, keys)
    }

    fn set_aside(&self) -> Result<Vec<SetAside>, StoreError> {
        self.store.set_aside()
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.store.size_on_disk()
    }

    fn free_on_disk(&self) -> Result<u64, StoreError> {
        self.store.free_on_disk()
    }
}

/// What a row takes in memory, about.
fn weight(key: &[u8], value: &[u8]) -> usize {
    ROW_OVERHEAD + key.len() + value.len()
}

/// Bytes of rows that wait: the headers that 196 members renew daily, with two nodes each and a body a day, for
/// two weeks. A member whose node signs without pause fills it in a day at the rate that gossip lets through.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes that the containers take for a row, about.
const ROW_OVERHEAD: usize = 96;

/// Rows stored as one batch: at most 4 MiB of bodies.
const ROWS_AT_ONCE: usize = 256;
