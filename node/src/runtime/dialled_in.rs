//! Whether a node of another member ever dialled in: kept over restarts, since it says that the port is open.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use refpoint_protocol::storage::{Change, Table};

use crate::store::{Store, StoreError};

/// The mark, shared by who sees the connections and who shows it.
#[derive(Clone)]
pub(crate) struct DialledIn {
    store: Arc<dyn Store>,
    seen: Arc<AtomicBool>,
    stored: Arc<AtomicBool>,
}

impl DialledIn {
    /// Reads what earlier runs saw. A damaged mark counts as none: the next caller sets it anew.
    ///
    /// # Errors
    /// [`StoreError`] if the store itself has stopped.
    pub(super) fn restore(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let stored = match store.value(Table::OwnState, MARK) {
            Ok(value) => value.is_some(),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "whether anybody ever dialled in is not known");
                false
            }
        };
        let flag = || Arc::new(AtomicBool::new(stored));
        Ok(Self { store, seen: flag(), stored: flag() })
    }

    /// Notes that one did. It is stored once, and tried again with the next caller if it could not be.
    pub(super) fn note(&self) {
        self.seen.store(true, Ordering::Relaxed);
        if self.stored.load(Ordering::Relaxed) {
            return;
        }
        // Cached is enough: the next sync of anything takes it along, and the next caller brings it back.
        match self.store.apply(&[Change::put(Table::OwnState, MARK, [1])]) {
            Ok(()) => self.stored.store(true, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "that a node dialled in was not stored"),
        }
    }

    /// Whether one did, in this run or before.
    pub(crate) fn ever(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }
}

/// The mark's name in [`Table::OwnState`].
const MARK: &[u8] = b"dialled-in";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::store::{Fullness, MemoryStore};

    #[test]
    fn who_dialled_in_once_is_remembered_over_a_restart() {
        let store = Arc::new(MemoryStore::new());
        let first = DialledIn::restore(store.clone()).unwrap();
        assert!(!first.ever());
        first.note();
        assert!(first.ever());
        store.sync().unwrap();
        store.crash();
        assert!(DialledIn::restore(store).unwrap().ever());
    }

    #[test]
    fn what_a_full_disk_refuses_is_stored_with_the_next_caller() {
        let store = Arc::new(MemoryStore::new());
        let mark = DialledIn::restore(store.clone()).unwrap();
        store.fill_disk(Fullness::Full);
        mark.note();
        assert!(mark.ever());
        assert!(!DialledIn::restore(store.clone()).unwrap().ever());
        store.fill_disk(Fullness::Space);
        mark.note();
        assert!(DialledIn::restore(store).unwrap().ever());
    }

    #[test]
    fn a_damaged_mark_counts_as_none() {
        let store = Arc::new(MemoryStore::new());
        DialledIn::restore(store.clone()).unwrap().note();
        store.damage(Table::OwnState, MARK);
        assert!(!DialledIn::restore(store).unwrap().ever());
    }
}
