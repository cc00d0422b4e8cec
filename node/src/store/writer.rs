//! Group commit: one thread applies the batches that wait, syncs once for all of them, and answers in order.
//!
//! While the device works on one group, the next one gathers. (A second thread that syncs while this one applies
//! costs a switch for every commit, and a message waits for three.) The writer owns the moment at which a batch
//! counts as stored. Completions run strictly in the order of submission, so whatever depends on an earlier batch
//! is never told sooner than that batch. A batch that must be stored waits for room on a full disk, and all behind
//! it wait with it; what peers hold too is kept in memory until there is room, and nothing waits for it. It decides
//! nothing about records.

mod apply;
mod kept;
mod sync;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use refpoint_protocol::storage::{Change, Grade};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub use self::kept::KeptRows;
use self::{apply::Applier, sync::Syncer};
use super::{Reserve, Store, StoreError};
use crate::metrics::SyncTimes;

/// What runs when a batch is stored, or could not be. It runs on the thread that stores, so it must not wait.
pub type Completion = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The handle to the thread that stores batches. Dropping it stores what was submitted, then ends it.
pub struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    room: Arc<Semaphore>,
    waits: WaitsForRoom,
    kept: KeptRows,
    syncs: SyncTimes,
    thread: Option<thread::JoinHandle<()>>,
}

/// What is done with a batch for which there is no room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused; the larger reserve stays free of bulk.
    Refuse,
    /// It leaves the larger reserve, whatever its tables, and is kept in memory until there is more room
    /// ([`Writer::kept`]): rows that peers hold too, nothing secret, no deletion. It counts as applied.
    Keep,
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
        let kept = KeptRows::default();
        let syncs = SyncTimes::default();
        let syncer = Syncer::new(Arc::clone(&store), syncs.clone());
        let applier = Applier::new(store, waits.clone(), kept.clone(), syncer);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || applier.run(&waiting))?;
        Ok(Self {
            jobs: Some(jobs),
            room: Arc::new(Semaphore::new(ROOM)),
            waits,
            kept,
            syncs,
            thread: Some(thread),
        })
    }

    /// Says whether a batch waits for room on the disk.
    #[must_use]
    pub const fn waits_for_room(&self) -> &WaitsForRoom {
        &self.waits
    }

    /// What waits in memory for room on the disk.
    #[must_use]
    pub const fn kept(&self) -> &KeptRows {
        &self.kept
    }

    /// How long the device takes for what this writer syncs.
    #[must_use]
    pub const fn syncs(&self) -> &SyncTimes {
        &self.syncs
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
            Some(Err(_panic)) => Err(StoreError::Closed),
            Some(Ok(())) | None => Ok(()),
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
            WhenFull::Keep => Reserve::Large,
            WhenFull::Wait => Reserve::Small,
        }
    }
}

/// A batch that is applied, or could not be.
struct Applied {
    result: Result<(), StoreError>,
    grade: Grade,
    changed_something: bool,
    then: Completion,
    /// `None` for what was kept: it had its answer before.
    _room: Option<OwnedSemaphorePermit>,
}

/// A batch's share of the room, in KiB: its bytes, and something for itself.
fn weight(batch: &[Change]) -> u32 {
    let bytes: usize =
        batch.iter().map(|change| change.key.len() + change.value.as_ref().map_or(0, Vec::len)).sum();
    u32::try_from(bytes / 1024 + BATCH_WEIGHT).unwrap_or(u32::MAX).min(ROOM_WEIGHT)
}

/// KiB of batches underway at once: thirty messages of the largest size, or 8,192 small batches.
const ROOM_WEIGHT: u32 = 64 * 1024;

/// The same for the semaphore.
const ROOM: usize = ROOM_WEIGHT as usize;

/// KiB that even an empty batch counts for, so that their number is bounded as well.
const BATCH_WEIGHT: usize = 8;
