//! Durable before said: what a batch says waits until what it stores is on the device.
//!
//! Batches leave in the order in which the machine returned them. A batch holds a place from its submission
//! until it has been carried out; when all places are taken the machine waits, and so do those who feed it.
//!
//! On a full disk what can be refused is refused, what peers hold too is kept in memory until there is room, and
//! what must be stored waits for room: unsaid, and everything after it with it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use refpoint_protocol::{
    machine::Effect,
    relay::exchange::Ticket,
    storage::{Change, Grade, Table},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::doors::Turn;
use crate::{
    metrics::SyncTimes,
    store::{KeptRows, StoreError, WaitsForRoom, WhenFull, Writer},
};

/// The way from the machine to the outside.
pub(super) struct Commit {
    writer: Writer,
    ready: mpsc::UnboundedSender<Ready>,
    places: Arc<Semaphore>,
    storing: Arc<AtomicUsize>,
}

/// A batch that may be carried out, or that could not be stored.
pub(super) struct Ready {
    /// What came of it.
    pub(super) outcome: Outcome,
    _place: OwnedSemaphorePermit,
    _turn: Turn,
}

/// What came of storing a batch.
pub(super) enum Outcome {
    /// Stored: to be carried out in order.
    Stored(Vec<Effect>),
    /// The disk had no room; nothing of it happened.
    NoRoom(Vec<Ticket>),
    /// The node cannot go on.
    Failed(StoreError),
}

/// The runtime is ending; the batch was not submitted.
#[derive(Debug, thiserror::Error)]
#[error("the node is stopping")]
pub(super) struct Stopping;

impl Commit {
    /// Starts with a writer; batches that may be carried out come from the receiver.
    pub(super) fn new(writer: Writer) -> (Self, mpsc::UnboundedReceiver<Ready>) {
        // Unbounded in type, bounded by PLACES: each item holds a place.
        let (ready, carry) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(PLACES));
        (Self { writer, ready, places, storing: Arc::default() }, carry)
    }

    /// Submits the machine's effects of one input, without the work that may start at once: as one batch, and as
    /// another what is done or refused as a whole, which comes last.
    pub(super) async fn submit(&self, mut effects: Vec<Effect>, turn: Turn) -> Result<(), Stopping> {
        let is_refusable = |effect: &Effect| matches!(effect, Effect::Persist { ticket: Some(_), .. });
        let refusable = effects.iter().position(is_refusable).map(|first| effects.split_off(first));
        if let Some(refusable) = refusable {
            self.submit_batch(effects, None).await?;
            effects = refusable;
        }
        self.submit_batch(effects, turn).await
    }

    async fn submit_batch(&self, effects: Vec<Effect>, turn: Turn) -> Result<(), Stopping> {
        if effects.is_empty() {
            return Ok(());
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Stopping)?;
        let (mut durable, mut cached, mut said, mut tickets) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Persist { grade, changes, ticket: about } => {
                    tickets.extend(about);
                    match grade {
                        Grade::Durable => durable.extend(changes),
                        Grade::Cached => cached.extend(changes),
                    }
                }
                other => said.push(other),
            }
        }
        let spare: Vec<Change> = cached.extract_if(.., |change| is_spare(change)).collect();
        if !spare.is_empty() {
            self.store_spare(spare).await?;
        }
        let grade = if durable.is_empty() { Grade::Cached } else { Grade::Durable };
        let mut changes = durable;
        changes.append(&mut cached);
        if changes.is_empty() && self.storing.load(Ordering::Acquire) == 0 {
            // Nothing before it is being stored, so nothing can be overtaken.
            let item = Ready { outcome: Outcome::Stored(said), _place: place, _turn: turn };
            return self.ready.send(item).map_err(|_| Stopping);
        }
        let when_full = match grade {
            Grade::Durable if tickets.is_empty() => WhenFull::Wait,
            Grade::Durable | Grade::Cached => WhenFull::Refuse,
        };
        self.storing.fetch_add(1, Ordering::AcqRel);
        let (ready, storing) = (self.ready.clone(), Arc::clone(&self.storing));
        let then = move |stored: Result<(), StoreError>| {
            let outcome = match stored {
                Ok(()) => Some(Outcome::Stored(said)),
                Err(error) if !error.is_passing() => Some(Outcome::Failed(error)),
                Err(_) if !tickets.is_empty() => Some(Outcome::NoRoom(tickets)),
                Err(error) if grade == Grade::Cached => {
                    tracing::warn!(%error, "what need not be stored was not");
                    Some(Outcome::Stored(said))
                }
                Err(error) => {
                    tracing::error!(%error, "stopped before there was room: what was not stored is not said");
                    None
                }
            };
            if let Some(outcome) = outcome
                && ready.send(Ready { outcome, _place: place, _turn: turn }).is_err()
            {
                tracing::debug!("a batch was stored after the node had stopped");
            }
            storing.fetch_sub(1, Ordering::AcqRel);
        };
        self.writer.submit_as(changes, grade, when_full, then).await.map_err(|_| Stopping)
    }

    /// Says whether something waits for room on the disk.
    pub(super) const fn waits_for_room(&self) -> &WaitsForRoom {
        self.writer.waits_for_room()
    }

    /// What peers hold too and has found no room yet.
    pub(super) const fn kept(&self) -> &KeptRows {
        self.writer.kept()
    }

    /// Stores what fills disks and peers hold too, apart from what must be stored: a full disk costs only memory.
    async fn store_spare(&self, changes: Vec<Change>) -> Result<(), Stopping> {
        let then = |stored: Result<(), StoreError>| match stored {
            Err(error) if !error.is_fatal() => tracing::error!(%error, "what peers hold too was not stored"),
            // A fatal error is met by the next batch, which stops the node.
            Err(_) | Ok(()) => {}
        };
        self.writer.submit_as(changes, Grade::Cached, WhenFull::Keep, then).await.map_err(|_| Stopping)
    }

    /// How long the device takes for one sync.
    pub(super) const fn syncs(&self) -> &SyncTimes {
        self.writer.syncs()
    }

    /// The places that batches hold, and how many there are.
    pub(super) fn places(&self) -> (Arc<Semaphore>, usize) {
        (Arc::clone(&self.places), PLACES)
    }

    /// Stores what was submitted and ends the writer.
    pub(super) fn close(self) -> Result<(), StoreError> {
        self.writer.close()
    }
}

/// Whether what is cached by this change gives way first on a full disk: what fills disks, and others' headers,
/// which their members can make thousands of. Deletions make room.
const fn is_spare(change: &Change) -> bool {
    change.value.is_some()
        && matches!(change.table, Table::Bodies | Table::NodeRecords | Table::ReferencePoints)
}

/// Batches between submission and the outside: more than 64 messages in flight ever need.
const PLACES: usize = 4_096;
