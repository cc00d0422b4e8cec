//! Lends stored documents to peers: loads and packs them beside everything else, so that no receipt waits for it.
//!
//! Nothing is loaded that the frame has no room for, each peer has a bounded share of what waits, and the peers
//! take turns: whoever asks for much makes itself wait.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use refpoint_protocol::{
    document::Envelope,
    evidence::repair::{Documents, Packed, RepairRequest, RepairResponse},
    ids::{ContentHash, DocumentId, NodeKey},
    machine::{AnswerToken, AskTicket, Input},
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::{carry::tell, doors::Order, load, tokens::Tokens};
use crate::{
    network::{self, Network, ResponseToken},
    store::Store,
};

/// What is lent, and for what.
pub(super) struct Loan {
    pub(super) purpose: Purpose,
    /// Envelopes by document id, ancestors first.
    pub(super) documents: Vec<DocumentId>,
    /// Bodies by hash.
    pub(super) bodies: Vec<ContentHash>,
}

/// Why documents are lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A peer asked for them.
    Answer(AnswerToken),
    /// A peer lacks them.
    Give(AskTicket),
}

/// The desk where loans are asked for. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Desk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    turns: Mutex<Turns>,
    more: Notify,
}

impl Desk {
    /// Asks for a loan. `false` if too much waits for this peer already: then it is not made.
    #[must_use]
    pub(super) fn ask(&self, to: NodeKey, loan: Loan) -> bool {
        let taken = self.turns().add(to, loan);
        self.shared.more.notify_one();
        taken
    }

    async fn next(&self) -> (NodeKey, Loan) {
        loop {
            let more = self.shared.more.notified();
            if let Some(next) = self.turns().next() {
                return next;
            }
            more.await;
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        // Every change under the lock is complete, so a panic elsewhere leaves it whole.
        self.shared.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for what; the peers take turns.
#[derive(Default)]
struct Turns {
    waiting: BTreeMap<NodeKey, VecDeque<Loan>>,
    last: Option<NodeKey>,
}

impl Turns {
    fn add(&mut self, to: NodeKey, loan: Loan) -> bool {
        let loans = self.waiting.entry(to).or_default();
        let has_room = loans.len() < WAITING_PER_PEER_MAX;
        if has_room {
            loans.push_back(loan);
        }
        has_room
    }

    fn next(&mut self) -> Option<(NodeKey, Loan)> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.waiting.range((after, Bound::Unbounded));
        let peer = later.next().or_else(|| self.waiting.first_key_value()).map(|(peer, _)| *peer)?;
        let loans = self.waiting.get_mut(&peer)?;
        let loan = loans.pop_front()?;
        if loans.is_empty() {
            self.waiting.remove(&peer);
        }
        self.last = Some(peer);
        Some((peer, loan))
    }
}

/// The task that makes loans, one at a time.
pub(super) struct Lender {
    pub(super) desk: Desk,
    pub(super) store: Arc<dyn Store>,
    pub(super) network: Network,
    pub(super) answers: Tokens<AnswerToken, ResponseToken>,
    pub(super) orders: mpsc::UnboundedSender<Order>,
}

impl Lender {
    /// Runs until `stop` is cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let (to, loan) = tokio::select! {
                () = stop.cancelled() => return,
                next = self.desk.next() => next,
            };
            self.lend(to, loan).await;
        }
    }

    async fn lend(&self, to: NodeKey, Loan { purpose, documents, bodies }: Loan) {
        let store = Arc::clone(&self.store);
        let packed = tokio::task::spawn_blocking(move || {
            let envelope = |id: &DocumentId| load::envelope(store.as_ref(), id);
            pack(&documents, &bodies, envelope, |hash| load::body(store.as_ref(), hash))
        });
        let packed = match packed.await {
            Ok(packed) => packed,
            Err(error) => return tracing::error!(%error, "documents could not be packed"),
        };
        let handed_over = match purpose {
            Purpose::Answer(token) => match self.answers.take(token) {
                Some(token) => self.network.respond(token, RepairResponse::Documents(packed.documents)).await,
                None => Ok(()),
            },
            Purpose::Give(ticket) => {
                let give = RepairRequest::Give(packed.documents.clone());
                tell(&self.orders, Input::RepairGiven { from: to, ticket, packed });
                self.network.request(to, give, network::Ticket(ticket.0)).await
            }
        };
        if handed_over.is_err() {
            tracing::debug!("the network had stopped");
        }
    }
}

/// Packs one frame; loads one item more than fits at most.
fn pack(
    documents: &[DocumentId],
    bodies: &[ContentHash],
    envelope: impl Fn(&DocumentId) -> Option<Envelope>,
    body: impl Fn(&ContentHash) -> Option<Vec<u8>>,
) -> Packed {
    let envelopes = documents.iter().map(|id| envelope(id).map(Arc::new));
    Documents::pack(envelopes, bodies.iter().map(body))
}

/// Loans of one peer that may wait: a repair needs one at a time, and new evidence asks for a few ancestors.
const WAITING_PER_PEER_MAX: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::cell::Cell;

    use refpoint_protocol::limits::{BODY_BYTES_MAX, REPAIR_BYTES_MAX, REPAIR_IDS_MAX};

    use super::*;

    fn loan(number: u64) -> Loan {
        let purpose = Purpose::Answer(AnswerToken(number));
        Loan { purpose, documents: Vec::new(), bodies: Vec::new() }
    }

    #[test]
    fn no_more_is_loaded_than_a_frame_has_room_for() {
        let loaded = Cell::new(0);
        let hashes: Vec<_> = (0..REPAIR_IDS_MAX as u64)
            .map(|number| {
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&number.to_be_bytes());
                ContentHash::from_bytes(bytes)
            })
            .collect();
        let body = |_: &ContentHash| {
            loaded.set(loaded.get() + 1);
            Some(vec![0; BODY_BYTES_MAX])
        };
        let packed = pack(&[], &hashes, |_| None, body);
        assert!(loaded.get() <= REPAIR_BYTES_MAX / BODY_BYTES_MAX, "{} were loaded", loaded.get());
        assert_eq!(packed.bodies_done, loaded.get() - 1, "one did not fit");
    }

    #[test]
    fn peers_take_turns_and_whoever_asks_for_much_is_refused_more() {
        let desk = Desk::default();
        let [greedy, modest] = [1, 2].map(|byte| NodeKey::from_bytes([byte; 32]));
        let taken = (0..WAITING_PER_PEER_MAX as u64 + 3).filter(|number| desk.ask(greedy, loan(*number)));
        assert_eq!(taken.count(), WAITING_PER_PEER_MAX);
        assert!(desk.ask(modest, loan(100)));
        let mut order = Vec::new();
        while let Some((peer, loan)) = desk.turns().next() {
            order.push((peer, loan.purpose));
        }
        let answer = |number| Purpose::Answer(AnswerToken(number));
        assert_eq!(order[..3], [(greedy, answer(0)), (modest, answer(100)), (greedy, answer(1))]);
        assert_eq!(order.len(), WAITING_PER_PEER_MAX + 1);
        assert!(desk.ask(greedy, loan(7)), "what was served makes room");
    }
}
