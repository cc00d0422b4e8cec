//! Events on their way to the runtime: what must arrive waits in order, what may be lost is dropped early.
//!
//! The channel holds what a runtime takes in one turn. Past it events wait here; once [`WAITING_MAX`] wait
//! the swarm is not polled until there is room: back-pressure on everybody, bounded, and no event lost.

use std::collections::VecDeque;

use refpoint_protocol::evidence::repair::RepairRequest;
use tokio::sync::mpsc;

use crate::network::event::NetworkEvent;

/// The queue before the channel.
pub(super) struct Outgoing {
    sender: mpsc::Sender<NetworkEvent>,
    waiting: VecDeque<NetworkEvent>,
    waiting_bytes: usize,
}

impl Outgoing {
    /// A queue, its channel, and another sender for tasks that may wait themselves.
    pub(super) fn new() -> (Self, mpsc::Sender<NetworkEvent>, mpsc::Receiver<NetworkEvent>) {
        let (sender, receiver) = mpsc::channel(CHANNEL_MAX);
        (Self { sender: sender.clone(), waiting: VecDeque::new(), waiting_bytes: 0 }, sender, receiver)
    }

    /// Queues what must arrive.
    pub(super) fn push(&mut self, event: NetworkEvent) {
        self.waiting_bytes += weight(&event);
        self.waiting.push_back(event);
        self.flush();
    }

    /// Queues what may be lost; gives it back if the runtime is behind.
    pub(super) fn offer(&mut self, event: NetworkEvent) -> Option<NetworkEvent> {
        if self.waiting.len() >= DROPPABLE_MAX || self.waiting_bytes + weight(&event) > BYTES_MAX {
            return Some(event);
        }
        self.push(event);
        None
    }

    /// Whether the swarm must pause.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the runtime is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until the channel has room, or nobody reads it any more.
    pub(super) async fn room(&self) {
        // The permit is returned at once: `flush` takes as many as there are.
        let _freed = self.sender.reserve().await;
    }

    /// Moves on what there is room for.
    pub(super) fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            let bytes = weight(&event);
            match self.sender.try_send(event) {
                Ok(()) => self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes),
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    self.waiting.clear();
                    self.waiting_bytes = 0;
                }
            }
        }
    }
}

/// Bytes that an event holds, near enough.
fn weight(event: &NetworkEvent) -> usize {
    match event {
        NetworkEvent::Gossip { data, .. } => data.len(),
        // A request was bounded by the codec; its largest form carries documents.
        NetworkEvent::RepairRequested { request: RepairRequest::Give(documents), .. } => {
            documents.envelopes.iter().map(|envelope| envelope.payload.len()).sum()
        }
        _ => 0,
    }
}

/// Events in the channel: a turn of the runtime.
const CHANNEL_MAX: usize = 256;

/// Events waiting past which gossip, requests and news of faults are dropped.
const DROPPABLE_MAX: usize = 256;

/// Bytes waiting past which they are dropped.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Events waiting past which the swarm pauses.
const WAITING_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::ids::NodeKey;

    use super::*;
    use crate::network::event::{Fault, Ticket};

    fn failed(ticket: u64) -> NetworkEvent {
        NetworkEvent::SendFailed {
            to: NodeKey::from_bytes([1; 32]),
            ticket: Ticket(ticket),
            why: crate::network::SendFailure::NotConnected,
        }
    }

    fn news() -> NetworkEvent {
        NetworkEvent::Fault { node: None, address: None, fault: Fault::RelayStreams }
    }

    #[tokio::test]
    async fn what_must_arrive_arrives_in_order_and_what_may_be_lost_is_dropped_first() {
        let (mut outgoing, _sender, mut receiver) = Outgoing::new();
        let mut pushed = 0;
        while !outgoing.is_full() {
            outgoing.push(failed(pushed));
            pushed += 1;
        }
        assert!(outgoing.offer(news()).is_some());
        for expected in 0..pushed {
            outgoing.flush();
            let event = receiver.recv().await.unwrap();
            assert!(matches!(event, NetworkEvent::SendFailed { ticket: Ticket(n), .. } if n == expected));
        }
        assert!(outgoing.is_empty());
        assert!(outgoing.offer(news()).is_none());
    }
}
