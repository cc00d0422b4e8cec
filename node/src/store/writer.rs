//! Group commit: one thread applies batches in order and syncs once for all that wait.
//!
//! The writer owns the moment at which a batch counts as stored. Completions run strictly in the order of
//! submission, so whatever depends on an earlier batch is never told sooner than that batch. A batch that must
//! be stored waits for room on a full disk, and all behind it wait with it. It decides nothing about records.

use std::{
    collections::VecDeque,
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use refpoint_protocol::storage::{Change, Grade};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use zeroize::Zeroize;

use super::{Reserve, Store, StoreError};

/// What runs when a batch is stored, or could not be. It runs on the writer's thread, so it must not wait.
pub type Completion = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The handle to the thread that stores batches. Dropping it stores what was submitted, then ends the thread.
pub struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
    waits: WaitsForRoom,
    thread: Option<thread::JoinHandle<()>>,
}

/// What is done with a batch for which there is no room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused; the larger reserve stays free of bulk.
    Refuse,
    /// It is refused as soon as the larger reserve would be touched, whatever its tables: what peers hold too.
    RefuseEarly,
    /// It waits until there is room, and is tried again and again; only the smaller reserve stays free of it.
    /// When the writer is closed before that, it is answered with the error.
    Wait,
}

/// Says whether a batch waits for room on the disk. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WaitsForRoom(Arc<AtomicBool>);

impl WaitsForRoom {
    /// Whether one waits now.
    #[must_use]
    pub fn now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Starts the thread over a store.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(store: Arc<dyn Store>) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let waits = WaitsForRoom::default();
        let committer = Committer {
            store,
            unsynced_since: None,
            held: VecDeque::new(),
            waits: waits.clone(),
            is_closing: false,
        };
        let thread =
            thread::Builder::new().name("store-writer".to_owned()).spawn(move || committer.run(&waiting))?;
        Ok(Self { jobs: Some(jobs), room: Arc::new(Semaphore::new(ROOM)), waits, thread: Some(thread) })
    }

    /// Says whether a batch waits for room on the disk.
    #[must_use]
    pub const fn waits_for_room(&self) -> &WaitsForRoom {
        &self.waits
    }

    /// Submits a batch, and waits while too much is underway already.
    ///
    /// `then` runs once the batch is on the device ([`Grade::Durable`]) or applied ([`Grade::Cached`]), and all
    /// batches before it are answered. An empty batch is answered in its turn, too. Order is the order in which
    /// this is called and awaited; batches that depend on one another come from one task.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when the thread has ended; `then` is dropped without a call.
    pub async fn submit(
        &self,
        batch: Vec<Change>,
        grade: Grade,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.submit_as(batch, grade, WhenFull::Refuse, then).await
    }

    /// Submits a batch like [`Writer::submit`], and says what becomes of it when the disk is full.
    ///
    /// # Errors
    /// As [`Writer::submit`].
    pub async fn submit_as(
        &self,
        batch: Vec<Change>,
        grade: Grade,
        when_full: WhenFull,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        let room = Arc::clone(&self.room).acquire_many_owned(weight(&batch)).await;
        let room = room.map_err(|_| StoreError::Closed)?;
        self.send(Job { batch, grade, when_full, then: Box::new(then), _room: room })
    }

    /// Submits a batch if there is room for it at once; else gives it back.
    ///
    /// # Errors
    /// [`Refused::Busy`] returns the batch; [`Refused::Closed`] when the thread has ended.
    pub fn try_submit(
        &self,
        batch: Vec<Change>,
        grade: Grade,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), Refused> {
        match Arc::clone(&self.room).try_acquire_many_owned(weight(&batch)) {
            Ok(room) => {
                let job =
                    Job { batch, grade, when_full: WhenFull::Refuse, then: Box::new(then), _room: room };
                self.send(job).map_err(|_| Refused::Closed)
            }
            Err(TryAcquireError::NoPermits) => Err(Refused::Busy(batch)),
            Err(TryAcquireError::Closed) => Err(Refused::Closed),
        }
    }

    /// Submits a batch from a thread that may wait.
    ///
    /// # Errors
    /// As [`Writer::submit`].
    pub fn submit_blocking(
        &self,
        batch: Vec<Change>,
        grade: Grade,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> Result<(), StoreError> {
        futures::executor::block_on(self.submit(batch, grade, then))
    }

    /// Stores a batch and waits for it.
    ///
    /// # Errors
    /// What the store says, or [`StoreError::Closed`].
    pub async fn commit(&self, batch: Vec<Change>, grade: Grade) -> Result<(), StoreError> {
        let (told, outcome) = oneshot::channel();
        self.submit(batch, grade, move |result| {
            // Whoever asked may have gone; the batch is stored all the same.
            let _unheard = told.send(result);
        })
        .await?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }

    /// Stores what was submitted, answers it, and ends the thread.
    ///
    /// # Errors
    /// [`StoreError::Closed`] if the thread had ended by a panic in a completion.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.end()
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job).map_err(|_| StoreError::Closed)
    }

    fn end(&mut self) -> Result<(), StoreError> {
        drop(self.jobs.take());
        match self.thread.take().map(thread::JoinHandle::join) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(StoreError::Closed),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.end().is_err() {
            tracing::error!("the thread that stores batches had panicked");
        }
    }
}

/// Why [`Writer::try_submit`] took nothing.
pub enum Refused {
    /// Too much is underway; the batch comes back.
    Busy(Vec<Change>),
    /// The writer has ended.
    Closed,
}

/// A batch underway. It holds its share of the room until it is answered.
struct Job {
    batch: Vec<Change>,
    grade: Grade,
    when_full: WhenFull,
    then: Completion,
    _room: OwnedSemaphorePermit,
}

impl Job {
    fn reserve(&self) -> Reserve {
        match self.when_full {
            WhenFull::Refuse => Reserve::of(&self.batch),
            WhenFull::RefuseEarly => Reserve::Large,
            WhenFull::Wait => Reserve::Small,
        }
    }
}

/// The thread's side.
struct Committer {
    store: Arc<dyn Store>,
    /// Since when something applied waits for a sync that nobody asked for.
    unsynced_since: Option<Instant>,
    /// What waits for room on the disk, and what came after it.
    held: VecDeque<Job>,
    waits: WaitsForRoom,
    /// Nothing more comes: what finds no room now never will.
    is_closing: bool,
}

impl Committer {
    fn run(mut self, waiting: &mpsc::Receiver<Job>) {
        loop {
            if !self.held.is_empty() {
                if self.wait_for_room(waiting) {
                    continue;
                }
                break;
            }
            match self.first(waiting) {
                Next::Job(first) => self.commit(collect(first, || waiting.try_recv().ok())),
                Next::Idle => self.sync_unasked(),
                Next::End => break,
            }
        }
        if self.unsynced_since.is_some() {
            self.sync_unasked();
        }
    }

    fn first(&self, waiting: &mpsc::Receiver<Job>) -> Next {
        let Some(since) = self.unsynced_since else {
            return waiting.recv().map_or(Next::End, Next::Job);
        };
        match waiting.recv_timeout(CACHED_SYNC_DELAY.saturating_sub(since.elapsed())) {
            Ok(job) => Next::Job(job),
            Err(mpsc::RecvTimeoutError::Timeout) => Next::Idle,
            Err(mpsc::RecvTimeoutError::Disconnected) => Next::End,
        }
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
            self.commit(group);
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

    /// Applies a group, syncs once if any of it must be durable, and answers in order. From the first batch on
    /// that must wait for room all are kept back.
    fn commit(&mut self, mut group: Vec<Job>) {
        let mut results = self.apply(&mut group);
        for job in group.drain(results.len()..).rev() {
            self.held.push_front(job);
        }
        if group.iter().any(|job| !job.batch.is_empty()) {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        let is_due = self.unsynced_since.is_some_and(|since| since.elapsed() >= CACHED_SYNC_DELAY);
        let must_sync = is_due || group.iter().any(|job| job.grade == Grade::Durable);
        if must_sync && self.unsynced_since.is_some() {
            match self.store.sync() {
                Ok(()) => self.unsynced_since = None,
                Err(error) => results.iter_mut().for_each(|result| {
                    if result.is_ok() {
                        *result = Err(error.clone());
                    }
                }),
            }
        }
        for (mut job, result) in group.into_iter().zip(results) {
            erase(&mut job.batch);
            (job.then)(result);
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
                result => results.push(result),
            }
        }
        results
    }

    fn sync_unasked(&mut self) {
        self.unsynced_since = None;
        // The store has stopped and says so to the next batch; nobody waits here.
        if let Err(error) = self.store.sync() {
            tracing::error!("storing in the background failed: {error}");
        }
    }
}

/// What the thread does next.
enum Next {
    Job(Job),
    Idle,
    End,
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

/// A batch's share of the room, in KiB: its bytes, and something for itself.
fn weight(batch: &[Change]) -> u32 {
    let bytes: usize =
        batch.iter().map(|change| change.key.len() + change.value.as_ref().map_or(0, Vec::len)).sum();
    u32::try_from(bytes / 1024 + BATCH_WEIGHT).unwrap_or(u32::MAX).min(ROOM_WEIGHT)
}

/// Wipes secret values that have been stored.
fn erase(batch: &mut [Change]) {
    for change in batch.iter_mut().filter(|change| change.table.is_secret()) {
        if let Some(value) = &mut change.value {
            value.zeroize();
        }
    }
}

/// KiB of batches underway at once: thirty messages of the largest size, or 8,192 small batches.
const ROOM_WEIGHT: u32 = 64 * 1024;

/// The same for the semaphore.
const ROOM: usize = ROOM_WEIGHT as usize;

/// KiB that even an empty batch counts for, so that their number is bounded as well.
const BATCH_WEIGHT: usize = 8;

/// KiB of one group: what one sync covers. Larger groups gain nothing and make the first wait.
const GROUP_WEIGHT_MAX: u32 = 8 * 1024;

/// How often what waits for room on the disk is tried again.
const ROOM_RETRY: Duration = Duration::from_millis(250);

/// How long something that nobody waits for may stay off the device.
const CACHED_SYNC_DELAY: Duration = Duration::from_millis(500);
