//! The second thread of the writer: syncs what was applied, and answers in order.

use std::{
    sync::{Arc, mpsc},
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

    /// Runs until nothing more comes; then everything applied is on the device.
    pub(super) fn run(mut self, applied: &mpsc::Receiver<Vec<Applied>>) {
        loop {
            match self.first(applied) {
                Next::Applied(mut group) => {
                    group.extend(applied.try_iter().flatten());
                    self.finish(group);
                }
                Next::Idle => self.sync_unasked(),
                Next::End => break,
            }
        }
        if self.unsynced_since.is_some() {
            self.sync_unasked();
        }
    }

    fn first(&self, applied: &mpsc::Receiver<Vec<Applied>>) -> Next {
        let Some(since) = self.unsynced_since else {
            return applied.recv().map_or(Next::End, Next::Applied);
        };
        match applied.recv_timeout(CACHED_SYNC_DELAY.saturating_sub(since.elapsed())) {
            Ok(group) => Next::Applied(group),
            Err(mpsc::RecvTimeoutError::Timeout) => Next::Idle,
            Err(mpsc::RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// Syncs once if any of a group must be durable, and answers. All of it was applied before the sync begins.
    fn finish(&mut self, mut group: Vec<Applied>) {
        if group.iter().any(|applied| applied.changed_something) {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        let is_due = self.unsynced_since.is_some_and(|since| since.elapsed() >= CACHED_SYNC_DELAY);
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

/// What comes next.
enum Next {
    Applied(Vec<Applied>),
    Idle,
    End,
}

/// How long something that nobody waits for may stay off the device.
const CACHED_SYNC_DELAY: Duration = Duration::from_millis(500);
