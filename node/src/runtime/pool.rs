//! The cryptography pool: a few threads that verify, seal and open, the most urgent work first.
//!
//! Work is pure functions of the protocol. Each peer has a bounded share of what waits, in bytes, so that one
//! that sends bad signatures spends its own share and not the officer's; all peers together have one too, which
//! leaves out the directory's work first.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use refpoint_protocol::{
    document::Envelope,
    ids::NodeKey,
    limits::{AGEING_INTERVAL, REPAIR_BYTES_MAX},
};

/// Who asked for the work: the shares are counted by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// This node's own work: bounded by the machine, never refused here.
    Own,
    /// Work that a peer's bytes cause.
    Peer {
        /// The peer.
        node: NodeKey,
        /// Bytes that wait in memory with the work.
        bytes: usize,
    },
}

impl Source {
    /// A peer's work on documents.
    pub(super) fn documents(node: NodeKey, envelopes: &[Envelope], bodies: &[Vec<u8>]) -> Self {
        let envelopes = envelopes.iter().map(|envelope| envelope.size() + ENVELOPE_BYTES);
        let bodies = bodies.iter().map(|body| body.len() + ENVELOPE_BYTES);
        Self::Peer { node, bytes: envelopes.chain(bodies).sum() }
    }
}

/// What goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Urgent messages and their receipts.
    Urgent,
    /// Other messages.
    Normal,
    /// The directory.
    Background,
}

/// The peer's share of the queue is used up, or that of all peers; the work was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much work of peers is waiting already")]
pub(super) struct ShareUsedUp;

/// A handle to the pool. Dropping the last one ends its threads after the work in hand.
#[derive(Clone)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

impl Pool {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// The operating system's, if a thread cannot be started.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), ready: Condvar::new() });
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("crypto-{number}")).spawn(move || shared.work())?;
        }
        let owner = Arc::new(Owner(Arc::clone(&shared)));
        Ok(Self { shared, _owner: owner })
    }

    /// How many pieces wait: urgent ones, others of messages, and the directory's.
    pub(super) fn depths(&self) -> [usize; 3] {
        let state = self.shared.lock();
        [Urgency::Urgent, Urgency::Normal, Urgency::Background]
            .map(|urgency| state.queues.get(&urgency).map_or(0, VecDeque::len))
    }

    /// Queues a piece of work.
    ///
    /// # Errors
    /// [`ShareUsedUp`] if the source is a peer with too much waiting, or all peers have for work of this urgency.
    pub(super) fn submit(
        &self,
        source: Source,
        urgency: Urgency,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), ShareUsedUp> {
        let mut state = self.shared.lock();
        if let Source::Peer { node, bytes } = source {
            state.take(node, bytes, urgency)?;
        }
        state.queues.entry(urgency).or_default().push_back((source, Box::new(work)));
        drop(state);
        self.shared.ready.notify_one();
        Ok(())
    }
}

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    queues: BTreeMap<Urgency, VecDeque<(Source, Work)>>,
    /// Bytes of each peer that waits.
    waiting: BTreeMap<NodeKey, usize>,
    closed: bool,
    taken: u64,
}

struct Shared {
    state: Mutex<State>,
    ready: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A piece of work never runs under the lock, so the state is whole even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(work) = self.next() {
            work();
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            let next = state.next();
            if let Some((source, work)) = next {
                if let Source::Peer { node, bytes } = source {
                    state.finished(node, bytes);
                }
                return Some(work);
            }
            if state.closed {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// The next piece of work: the most urgent, and every so often one of the others that wait, each kind in its
    /// turn. So charters, key sets and fork proofs are verified however many urgent parcels there are.
    fn next(&mut self) -> Option<(Source, Work)> {
        self.taken += 1;
        if self.taken.is_multiple_of(AGEING_INTERVAL) {
            let lesser = self.queues.values_mut().filter(|queue| !queue.is_empty()).skip(1);
            let mut lesser: Vec<_> = lesser.collect();
            let turn = usize::try_from(self.taken / AGEING_INTERVAL).unwrap_or_default();
            let count = lesser.len().max(1);
            if let Some(queue) = lesser.get_mut(turn % count) {
                return queue.pop_front();
            }
        }
        self.queues.values_mut().find_map(VecDeque::pop_front)
    }

    fn take(&mut self, peer: NodeKey, bytes: usize, urgency: Urgency) -> Result<(), ShareUsedUp> {
        let weight = bytes.max(PIECE_BYTES_MIN);
        let of_peer = self.waiting.get(&peer).copied().unwrap_or_default();
        let of_all: usize = self.waiting.values().sum();
        if of_peer.saturating_add(weight) > PER_PEER_BYTES_MAX
            || (urgency == Urgency::Background && of_all.saturating_add(weight) > PEERS_BYTES_MAX)
        {
            return Err(ShareUsedUp);
        }
        *self.waiting.entry(peer).or_default() += weight;
        Ok(())
    }

    fn finished(&mut self, peer: NodeKey, bytes: usize) {
        if let Some(waiting) = self.waiting.get_mut(&peer) {
            *waiting = waiting.saturating_sub(bytes.max(PIECE_BYTES_MIN));
            if *waiting == 0 {
                self.waiting.remove(&peer);
            }
        }
    }
}

struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.ready.notify_all();
    }
}

/// Bytes that one peer may have waiting: the answers of a few repairs, or a burst of 256 receipts.
const PER_PEER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of all peers past which the directory's work is left to later repairs.
const PEERS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes that even a small piece counts for, so that their number is bounded as well.
const PIECE_BYTES_MIN: usize = PER_PEER_BYTES_MAX / 256;

/// Bytes that a decoded envelope or body takes beside its parts.
const ENVELOPE_BYTES: usize = 256;

const _: () = assert!(2 * REPAIR_BYTES_MAX < PER_PEER_BYTES_MAX);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn urgent_work_goes_first_and_a_flood_spends_its_own_share() {
        let pool = Pool::start(1).unwrap();
        let (sender, receiver) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        pool.submit(Source::Own, Urgency::Urgent, move || gate.recv().unwrap()).unwrap();
        let peer = Source::Peer { node: NodeKey::from_bytes([7; 32]), bytes: 300 };
        let most = PER_PEER_BYTES_MAX / PIECE_BYTES_MIN;
        let mut refused = 0;
        for _ in 0..=most + 1 {
            let sender = sender.clone();
            let work = move || sender.send("flood").unwrap();
            refused += usize::from(pool.submit(peer, Urgency::Background, work).is_err());
        }
        let first = sender.clone();
        pool.submit(Source::Own, Urgency::Urgent, move || first.send("urgent").unwrap()).unwrap();
        open.send(()).unwrap();
        drop(sender);
        let order: Vec<_> = receiver.iter().collect();
        assert_eq!(order.first(), Some(&"urgent"));
        assert_eq!(refused, 2);
        assert_eq!(order.len(), most + 1);
    }

    #[test]
    fn a_peers_share_is_counted_in_bytes_and_comes_back_when_its_work_is_done() {
        let mut state = State::default();
        let peer = |number: u8| NodeKey::from_bytes([number; 32]);
        let large = 1024 * 1024;
        let taken = (0..100).filter(|_| state.take(peer(1), large, Urgency::Background).is_ok()).count();
        assert_eq!(taken, 4, "4 MiB of a peer wait, not as many pieces as it likes");
        state.finished(peer(1), large);
        assert!(state.take(peer(1), large, Urgency::Background).is_ok());
        // A flood from many keys leaves out the directory's work, and never a message's.
        let taken: usize = (2..100)
            .map(|number| {
                (0..9).filter(|_| state.take(peer(number), large, Urgency::Background).is_ok()).count()
            })
            .sum();
        assert_eq!((taken + 4) * large, PEERS_BYTES_MAX);
        assert!(state.take(peer(200), large, Urgency::Normal).is_ok());
    }

    #[test]
    fn many_empty_envelopes_weigh_what_they_take_in_memory() {
        let empty =
            Envelope { kind: "x".to_owned(), version: 1, payload: Vec::new(), signatures: Vec::new() };
        let frame = vec![empty; REPAIR_BYTES_MAX / 44];
        let Source::Peer { bytes, .. } = Source::documents(NodeKey::from_bytes([1; 32]), &frame, &[]) else {
            panic!("a peer's")
        };
        assert!(bytes >= frame.len() * size_of::<Envelope>(), "{bytes}");
    }

    #[test]
    fn an_urgent_flood_starves_neither_messages_nor_the_directory() {
        let pool = Pool::start(1).unwrap();
        let (sender, receiver) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        pool.submit(Source::Own, Urgency::Urgent, move || gate.recv().unwrap()).unwrap();
        let submit = |urgency: Urgency, times: usize| {
            for _ in 0..times {
                let sender = sender.clone();
                pool.submit(Source::Own, urgency, move || sender.send(urgency).unwrap()).unwrap();
            }
        };
        submit(Urgency::Background, 2);
        submit(Urgency::Normal, 2);
        submit(Urgency::Urgent, 100);
        open.send(()).unwrap();
        drop(sender);
        let order: Vec<_> = receiver.iter().collect();
        let last = |urgency| order.iter().rposition(|it| *it == urgency).unwrap();
        assert_eq!(order.len(), 104);
        assert!(last(Urgency::Normal) < 48 && last(Urgency::Background) < 48, "{order:?}");
        let urgent_first = order.iter().take(40).filter(|it| **it == Urgency::Urgent).count();
        assert!(urgent_first >= 34, "{urgent_first}");
    }
}
