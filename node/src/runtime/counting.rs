//! Counts what happens, for the metrics: it listens to the events and slows nobody down.

use refpoint_protocol::{
    machine::{Event, NumberedEvent},
    message::body::Word,
    relay::event::RelayEvent,
};
use tokio::sync::{Semaphore, broadcast::error::RecvError};
use tokio_util::sync::CancellationToken;

use super::{Handle, Stopping, doors::Doors, pool::Pool};
use crate::metrics::{Acknowledged, Delivered, Queue, QueueDepth};

/// The task that counts events.
pub(super) struct Counting {
    pub(super) handle: Handle,
    /// The newest event's number when the node started: what came before is of an earlier run.
    pub(super) from: u64,
}

impl Counting {
    /// Runs until the token is cancelled or the node has stopped.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            Err(Stopping) = self.count() => {}
        }
    }

    async fn count(&self) -> Result<(), Stopping> {
        let mut taken = self.from;
        loop {
            let mut events = self.handle.events.subscribe(Some(taken));
            if let Some(first) = events.missed.first().filter(|_| events.gap) {
                self.handle.counted.uncounted(first.number.saturating_sub(taken + 1));
            }
            for event in events.missed {
                taken = event.number;
                self.take(&event).await?;
            }
            loop {
                match events.live.recv().await {
                    Ok(event) => {
                        taken = event.number;
                        self.take(&event).await?;
                    }
                    // Too slow for the stream: the log still has them.
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Err(Stopping),
                }
            }
        }
    }

    async fn take(&self, event: &NumberedEvent) -> Result<(), Stopping> {
        let counted = &self.handle.counted;
        counted.happened(&event.event);
        let (message, is_delivery) = match &event.event {
            Event::Relay(RelayEvent::MessageDelivered { step, .. }) => (step.message, true),
            Event::Relay(RelayEvent::StatementArrived { statement, .. })
                if statement.word == Word::Acknowledged =>
            {
                (statement.answers, false)
            }
            _ => return Ok(()),
        };
        let label = self.handle.query(move |machine, _| machine.messages().sent_label(&message)).await?;
        // None for a statement's own delivery, and for a word about what this node did not send.
        if let Some(label) = label {
            let (precedence, drill, after) = (label.precedence, label.drill, event.at.since(label.created));
            if is_delivery {
                counted.delivered(Delivered { precedence, drill, after });
            } else {
                counted.acknowledged(Acknowledged { precedence, drill, after });
            }
        }
        Ok(())
    }
}

/// Sees how much waits in the node's queues. Cheap to clone.
#[derive(Clone)]
pub(super) struct Depths {
    pub(super) doors: Doors,
    pub(super) pool: Pool,
    /// The places of batches, and how many there are.
    pub(super) batches: (std::sync::Arc<Semaphore>, usize),
}

impl Depths {
    /// All queues.
    pub(super) fn now(&self) -> Vec<QueueDepth> {
        let Doors { inner: _, looks, urgent, normal } = &self.doors;
        let [crypto_urgent, crypto_normal, crypto_background] = self.pool.depths();
        let (places, all) = &self.batches;
        let waiting = [
            (Queue::MachineUrgent, urgent.max_capacity() - urgent.capacity()),
            (Queue::MachineNormal, normal.max_capacity() - normal.capacity()),
            (Queue::MachineLooks, looks.max_capacity() - looks.capacity()),
            (Queue::CryptoUrgent, crypto_urgent),
            (Queue::CryptoNormal, crypto_normal),
            (Queue::CryptoBackground, crypto_background),
            (Queue::Batches, all.saturating_sub(places.available_permits())),
        ];
        waiting.into_iter().map(|(queue, depth)| QueueDepth { queue, depth: depth as u64 }).collect()
    }
}
