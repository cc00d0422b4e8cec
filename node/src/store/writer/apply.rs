//! Batches in, applied batches on to the sync, in order, and what becomes of those that find no room.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use refpoint_protocol::storage::{Change, Grade};
use zeroize::Zeroize;

use super::{Applied, Job, KeptRows, Syncer, WaitsForRoom, WhenFull, weight};
use crate::store::{Reserve, Store, StoreError};

/// Applies batches in groups.
pub(super) struct Applier {
    store: Arc<dyn Store>,
    /// What waits for room on the disk, and what came after it.
    held: VecDeque<Job>,
    waits: WaitsForRoom,
    kept: KeptRows,
    /// When what is kept is tried again.
    kept_due: Instant,
    /// Nothing more comes: what finds no room now never will.
    is_closing: bool,
    /// Takes what was applied together, so that one sync covers it.
    syncer: Syncer,
}

impl Applier {
    pub(super) fn new(store: Arc<dyn Store>, waits: WaitsForRoom, kept: KeptRows, syncer: Syncer) -> Self {
        let kept_due = Instant::now();
        Self { store, held: VecDeque::new(), waits, kept, kept_due, is_closing: false, syncer }
    }

    /// Runs until nothing more comes; then everything applied is on the device.
    pub(super) fn run(mut self, waiting: &mpsc::Receiver<Job>) {
        let mut goes_on = true;
        while goes_on {
            goes_on =
                if self.held.is_empty() { self.take_next(waiting) } else { self.wait_for_room(waiting) };
            self.store_kept();
            self.syncer.sync_what_is_due();
        }
        self.syncer.end();
    }

    /// Takes what comes next; `false` once nothing more comes. It waits no longer than until what is kept is to be
    /// tried again, or what was applied is to be synced unasked.
    fn take_next(&mut self, waiting: &mpsc::Receiver<Job>) -> bool {
        let kept_due = (self.kept.count() > 0).then_some(self.kept_due);
        let next = match kept_due.into_iter().chain(self.syncer.due()).min() {
            None => waiting.recv().map_err(mpsc::RecvTimeoutError::from),
            Some(due) => waiting.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match next {
            Ok(first) => self.take(collect(first, || waiting.try_recv().ok())),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => self.is_closing = true,
        }
        !self.is_closing
    }

    /// Stores what was kept, as far as there is room for it now.
    fn store_kept(&mut self) {
        let now = Instant::now();
        let count = self.kept.count();
        if count == 0 || (now < self.kept_due && !self.is_closing) {
            return;
        }
        self.kept_due = now + KEPT_RETRY;
        while self.kept.count() > 0 {
            let batch = self.kept.some();
            let result = self.store.apply_leaving(&batch, Reserve::Large);
            if let Err(error) = &result {
                // One that stops the store is met by the next batch, too.
                if self.is_closing {
                    let left = self.kept.count();
                    tracing::warn!(%error, left, "what peers hold too was not stored before the end");
                }
                return;
            }
            self.kept.supersede(&batch);
            let then: super::Completion = Box::new(|_| {});
            let grade = Grade::Cached;
            let applied = Applied { result, grade, changed_something: true, then, _room: None };
            self.syncer.finish(vec![applied]);
        }
        tracing::info!(rows = count, "there is room on the disk again: what peers hold too is stored");
    }

    /// Takes in what comes for a while, then tries again what waits. `false` once the writer is closed: then
    /// this try was the last one, and what still found no room has been answered so.
    fn wait_for_room(&mut self, waiting: &mpsc::Receiver<Job>) -> bool {
        let began = Instant::now();
        while !self.is_closing {
            match waiting.recv_timeout(ROOM_RETRY.saturating_sub(began.elapsed())) {
                Ok(job) => self.held.push_back(job),
                Err(mpsc::RecvTimeoutError::Timeout) => break,
                Err(mpsc::RecvTimeoutError::Disconnected) => self.is_closing = true,
            }
        }
        while let Some(first) = self.held.pop_front() {
            let group = collect(first, || self.held.pop_front());
            let left = self.held.len();
            self.take(group);
            if self.held.len() > left {
                return true;
            }
        }
        self.waits.0.store(false, Ordering::Relaxed);
        if !self.is_closing {
            tracing::info!("there is room on the disk again: what waited for it is stored");
        }
        !self.is_closing
    }

    /// Applies a group and hands it on. From the first batch on that must wait for room all are kept back.
    fn take(&mut self, mut group: Vec<Job>) {
        let results = self.apply(&mut group);
        for job in group.drain(results.len()..).rev() {
            self.held.push_front(job);
        }
        let answered = |(mut job, result): (Job, _)| {
            erase(&mut job.batch);
            let Job { batch, grade, then, _room, .. } = job;
            Applied { result, grade, changed_something: !batch.is_empty(), then, _room: Some(_room) }
        };
        let applied: Vec<Applied> = group.into_iter().zip(results).map(answered).collect();
        if !applied.is_empty() {
            self.syncer.finish(applied);
        }
    }

    /// Applies all batches as one, or one by one if that is refused, so that each gets its own answer. Fewer
    /// answers than batches mean that the next one waits for room.
    fn apply(&self, group: &mut [Job]) -> Vec<Result<(), StoreError>> {
        let reserve = group.iter().map(Job::reserve).max().unwrap_or(Reserve::Small);
        let lengths: Vec<usize> = group.iter().map(|job| job.batch.len()).collect();
        let mut all: Vec<Change> = group.iter_mut().flat_map(|job| mem::take(&mut job.batch)).collect();
        let together = self.store.apply_leaving(&all, reserve);
        for (job, length) in group.iter_mut().zip(&lengths) {
            job.batch = all.drain(..*length).collect();
        }
        if together.is_ok() {
            group.iter().for_each(|job| self.kept.supersede(&job.batch));
        }
        match together {
            Err(error) if !error.is_fatal() => self.apply_each(group),
            together => vec![together; group.len()],
        }
    }

    fn apply_each(&self, group: &[Job]) -> Vec<Result<(), StoreError>> {
        let mut results = Vec::with_capacity(group.len());
        for job in group {
            match self.store.apply_leaving(&job.batch, job.reserve()) {
                Err(error) if error.is_passing() && job.when_full == WhenFull::Wait && !self.is_closing => {
                    if !self.waits.0.swap(true, Ordering::Relaxed) {
                        tracing::error!(%error, "what must be stored waits for room, and all after it");
                    }
                    break;
                }
                Err(error) if error.is_passing() && job.when_full == WhenFull::Keep => {
                    if self.kept.count() == 0 {
                        tracing::warn!(%error, "what peers hold too is kept in memory until there is room");
                    }
                    self.kept.keep(&job.batch);
                    results.push(Ok(()));
                }
                result => {
                    if result.is_ok() {
                        self.kept.supersede(&job.batch);
                    }
                    results.push(result);
                }
            }
        }
        results
    }
}

/// Takes whatever else waits, up to a group.
fn collect(first: Job, mut next: impl FnMut() -> Option<Job>) -> Vec<Job> {
    let mut weight_left = GROUP_WEIGHT_MAX.saturating_sub(weight(&first.batch));
    let mut group = vec![first];
    while weight_left > 0 {
        let Some(job) = next() else { break };
        weight_left = weight_left.saturating_sub(weight(&job.batch));
        group.push(job);
    }
    group
}

/// Wipes secret values that have been stored.
fn erase(batch: &mut [Change]) {
    for change in batch.iter_mut().filter(|change| change.table.is_secret()) {
        if let Some(value) = &mut change.value {
            value.zeroize();
        }
    }
}

/// KiB of one group: what is applied as one. Larger groups gain nothing and make the first wait.
const GROUP_WEIGHT_MAX: u32 = 8 * 1024;

/// How often what is kept is tried again: nothing waits for it, and each try looks at the disk.
const KEPT_RETRY: Duration = Duration::from_secs(2);

/// How often what waits for room on the disk is tried again.
const ROOM_RETRY: Duration = Duration::from_millis(250);
