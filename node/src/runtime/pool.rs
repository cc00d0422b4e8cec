//! The cryptography pool: a few threads that verify, seal and open, the most urgent work first.
//!
//! Work is pure functions of the protocol. Each source has a bounded share of the queue, so that a peer
//! that sends bad signatures spends its own share and not the officer's.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use refpoint_protocol::ids::NodeKey;

/// Who asked for the work: the shares are counted by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// This node's own work: bounded by the machine, never refused here.
    Own,
    /// Work that a peer's bytes cause.
    Peer(NodeKey),
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

/// The peer's share of the queue is used up; the work was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer has {PER_PEER_MAX} pieces of work waiting already")]
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

    /// Queues a piece of work.
    ///
    /// # Errors
    /// [`ShareUsedUp`] if the source is a peer with too much waiting.
    pub(super) fn submit(
        &self,
        source: Source,
        urgency: Urgency,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), ShareUsedUp> {
        let mut state = self.shared.lock();
        if let Source::Peer(peer) = source {
            let waiting = state.waiting.entry(peer).or_default();
            if *waiting >= PER_PEER_MAX {
                return Err(ShareUsedUp);
            }
            *waiting += 1;
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
    waiting: BTreeMap<NodeKey, usize>,
    closed: bool,
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
            let next = state.queues.values_mut().find_map(VecDeque::pop_front);
            if let Some((source, work)) = next {
                if let Source::Peer(peer) = source {
                    state.finished(peer);
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
    fn finished(&mut self, peer: NodeKey) {
        if let Some(waiting) = self.waiting.get_mut(&peer) {
            *waiting = waiting.saturating_sub(1);
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

/// Pieces of work that one peer may have waiting: a burst of its messages, 20 ms of one core.
const PER_PEER_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn urgent_work_goes_first_and_a_flood_spends_its_own_share() {
        let pool = Pool::start(1).unwrap();
        let (sender, receiver) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        pool.submit(Source::Own, Urgency::Urgent, move || gate.recv().unwrap()).unwrap();
        let peer = Source::Peer(NodeKey::from_bytes([7; 32]));
        let mut refused = 0;
        for _ in 0..=PER_PEER_MAX + 1 {
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
        assert_eq!(order.len(), PER_PEER_MAX + 1);
    }
}
