//! Durable before said: what a batch says waits until what it stores is on the device.
//!
//! Batches leave in the order in which the machine returned them. A batch holds a place from its submission
//! until it has been carried out; when all places are taken the machine waits, and so do those who feed it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use refpoint_protocol::{
    machine::Effect,
    relay::exchange::Ticket,
    storage::{Change, Grade},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::store::{StoreError, Writer};

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
}

/// What came of storing a batch.
pub(super) enum Outcome {
    /// Stored: to be carried out in order.
    Stored(Vec<Effect>),
    /// The disk had no room; nothing of it happened.
    NoRoom(Ticket),
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

    /// Submits one batch of the machine's effects, without the work that may start at once.
    pub(super) async fn submit(&self, effects: Vec<Effect>) -> Result<(), Stopping> {
        if effects.is_empty() {
            return Ok(());
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Stopping)?;
        let (mut durable, mut cached, mut said, mut ticket) = (Vec::new(), Vec::new(), Vec::new(), None);
        for effect in effects {
            match effect {
                Effect::Persist { grade, changes, ticket: about } => {
                    ticket = ticket.or(about);
                    match grade {
                        Grade::Durable => durable.extend(changes),
                        Grade::Cached => cached.extend(changes),
                    }
                }
                other => said.push(other),
            }
        }
        if cached.iter().any(|change| change.table.is_bulk()) {
            self.store_cached(std::mem::take(&mut cached)).await?;
        }
        let grade = if durable.is_empty() { Grade::Cached } else { Grade::Durable };
        let mut changes = durable;
        changes.append(&mut cached);
        if changes.is_empty() && self.storing.load(Ordering::Acquire) == 0 {
            // Nothing before it is being stored, so nothing can be overtaken.
            let item = Ready { outcome: Outcome::Stored(said), _place: place };
            return self.ready.send(item).map_err(|_| Stopping);
        }
        self.storing.fetch_add(1, Ordering::AcqRel);
        let (ready, storing) = (self.ready.clone(), Arc::clone(&self.storing));
        let then = move |stored: Result<(), StoreError>| {
            let outcome = match (stored, ticket) {
                (Ok(()), _) => Outcome::Stored(said),
                (Err(StoreError::DiskFull { .. }), Some(ticket)) => Outcome::NoRoom(ticket),
                (Err(error @ StoreError::DiskFull { .. }), None) if grade == Grade::Cached => {
                    tracing::warn!(%error, "what peers hold too was not stored");
                    Outcome::Stored(said)
                }
                (Err(error), _) => Outcome::Failed(error),
            };
            if ready.send(Ready { outcome, _place: place }).is_err() {
                tracing::debug!("a batch was stored after the node had stopped");
            }
            storing.fetch_sub(1, Ordering::AcqRel);
        };
        self.writer.submit(changes, grade, then).await.map_err(|_| Stopping)
    }

    /// Stores what fills disks and peers hold too, apart from what must be stored: a full disk costs only this.
    async fn store_cached(&self, changes: Vec<Change>) -> Result<(), Stopping> {
        let then = |stored: Result<(), StoreError>| match stored {
            Err(error) if !error.is_fatal() => tracing::warn!(%error, "what peers hold too was not stored"),
            // A fatal error is met by the next batch, which stops the node.
            Err(_) | Ok(()) => {}
        };
        self.writer.submit(changes, Grade::Cached, then).await.map_err(|_| Stopping)
    }

    /// Stores what was submitted and ends the writer.
    pub(super) fn close(self) -> Result<(), StoreError> {
        self.writer.close()
    }
}

/// Batches between submission and the outside: more than 64 messages in flight ever need.
const PLACES: usize = 4_096;
