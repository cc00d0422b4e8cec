//! Syncs what was applied, once for all of a group, and answers in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use refpoint_protocol::storage::Grade;

use super::Applied;
use crate::{
    metrics::SyncTimes,
    store::{Store, StoreError},
};

/// Syncs once for all that are applied.
pub(super) struct Syncer {
    store: Arc<dyn Store>,
    syncs: SyncTimes,
    /// Since when something applied waits for a sync that nobody asked for.
    unsynced_since: Option<Instant>,
}

impl Syncer {
    pub(super) fn new(store: Arc<dyn Store>, syncs: SyncTimes) -> Self {
        Self { store, syncs, unsynced_since: None }
    }

    /// When what was applied, and nobody asked to have synced, is to be on the device.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + CACHED_SYNC_DELAY)
    }

    /// Syncs what nobody asked for, if it has waited long enough.
    pub(super) fn sync_what_is_due(&mut self) {
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.sync_unasked();
        }
    }

    /// Nothing more comes: what was applied goes onto the device.
    pub(super) fn end(&mut self) {
        if self.unsynced_since.is_some() {
            self.sync_unasked();
        }
    }

    /// Syncs once if any of a group must be durable, and answers. All of it was applied before the sync begins.
    pub(super) fn finish(&mut self, mut group: Vec<Applied>) {
        if group.iter().any(|applied| applied.changed_something) {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        let is_due = self.due().is_some_and(|due| due <= Instant::now());
        let must_sync = is_due || group.iter().any(|applied| applied.grade == Grade::Durable);
        if must_sync && self.unsynced_since.is_some() {
            match self.sync() {
                Ok(()) => self.unsynced_since = None,
                Err(error) => group.iter_mut().for_each(|applied| {
                    if applied.result.is_ok() {
                        applied.result = Err(error.clone());
                    }
                }),
            }
        }
        for Applied { result, then, .. } in group {
            then(result);
        }
        self.settle();
    }

    /// After the answers, which must not wait for it.
    fn settle(&self) {
        // The store has stopped and says so to the next batch.
        if let Err(error) = self.store.settle() {
            tracing::error!("what was stored cannot be put in order: {error}");
        }
    }

    fn sync(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let done = self.store.sync();
        self.syncs.took(began.elapsed());
        done
    }

    fn sync_unasked(&mut self) {
        self.unsynced_since = None;
        // The store has stopped and says so to the next batch; nobody waits here.
        if let Err(error) = self.sync() {
            tracing::error!("storing in the background failed: {error}");
            return;
        }
        self.settle();
    }
}

/// How long something that nobody waits for may stay off the device.
const CACHED_SYNC_DELAY: Duration = Duration::from_millis(500);
