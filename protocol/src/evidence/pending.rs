//! What waits for an ancestor: bounded for each bearer, neither believed nor passed on.
//!
//! A bearer that hands in more than its bound crowds out its own oldest, never another's.

use std::collections::{BTreeMap, BTreeSet};

use super::AnyDocument;
use crate::{
    ids::{DocumentId, NodeKey},
    limits::{PENDING_BEARERS_MAX, PENDING_BYTES_PER_BEARER_MAX, PENDING_PER_BEARER_MAX},
};

/// Who handed a document in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bearer {
    /// This node: from storage, by command, or its own.
    Local,
    /// A connected node.
    Peer(NodeKey),
}

/// The documents that wait, by bearer.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    bearers: BTreeMap<Bearer, Queue>,
    /// For each missing ancestor, who waits for it.
    waiting: BTreeMap<DocumentId, BTreeSet<(Bearer, DocumentId)>>,
    arrivals: u64,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    documents: BTreeMap<DocumentId, Waiting>,
    /// Arrival number to document: the oldest first.
    order: BTreeMap<u64, DocumentId>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Waiting {
    document: AnyDocument,
    missing: BTreeSet<DocumentId>,
    arrival: u64,
}

impl Pending {
    /// Has a document wait for its missing ancestors. Returns how many documents were crowded out.
    pub(super) fn add(
        &mut self,
        bearer: Bearer,
        document: AnyDocument,
        missing: BTreeSet<DocumentId>,
    ) -> u64 {
        let (id, size) = (document.id(), document.size());
        self.remove(bearer, id);
        let crowded = self.bearers.len() >= PENDING_BEARERS_MAX && !self.bearers.contains_key(&bearer);
        if size > PENDING_BYTES_PER_BEARER_MAX || crowded {
            return 1;
        }
        let mut dropped = 0;
        while let Some(oldest) = self.bearers.get(&bearer).and_then(|queue| queue.crowded_by(size)) {
            self.remove(bearer, oldest);
            dropped += 1;
        }
        self.arrivals = self.arrivals.saturating_add(1);
        let arrival = self.arrivals;
        for ancestor in &missing {
            self.waiting.entry(*ancestor).or_default().insert((bearer, id));
        }
        let queue = self.bearers.entry(bearer).or_default();
        queue.bytes += size;
        queue.order.insert(arrival, id);
        queue.documents.insert(id, Waiting { document, missing, arrival });
        dropped
    }

    /// Takes out what waited for an ancestor that has come. What waits for several is handed in again,
    /// and waits for the rest.
    pub(super) fn release(&mut self, ancestor: &DocumentId) -> Vec<(Bearer, AnyDocument)> {
        let waiting = self.waiting.get(ancestor).cloned().unwrap_or_default();
        waiting
            .into_iter()
            .filter_map(|(bearer, id)| self.remove(bearer, id).map(|document| (bearer, document)))
            .collect()
    }

    /// Takes out a document that came in by another bearer.
    pub(super) fn discard(&mut self, id: &DocumentId) {
        let holds = |(bearer, queue): (&Bearer, &Queue)| queue.documents.contains_key(id).then_some(*bearer);
        let bearers: Vec<_> = self.bearers.iter().filter_map(holds).collect();
        for bearer in bearers {
            self.remove(bearer, *id);
        }
    }

    pub(super) fn forget(&mut self, bearer: &Bearer) {
        let ids: Vec<_> = self
            .bearers
            .get(bearer)
            .map(|queue| queue.documents.keys().copied().collect())
            .unwrap_or_default();
        for id in ids {
            self.remove(*bearer, id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bearers.values().map(|queue| queue.documents.len()).sum()
    }

    pub(super) fn awaited(&self, bearer: &Bearer) -> BTreeSet<DocumentId> {
        let documents = self.bearers.get(bearer).into_iter().flat_map(|queue| queue.documents.values());
        documents.flat_map(|waiting| waiting.missing.iter().copied()).collect()
    }

    fn remove(&mut self, bearer: Bearer, id: DocumentId) -> Option<AnyDocument> {
        let queue = self.bearers.get_mut(&bearer)?;
        let waiting = queue.documents.remove(&id)?;
        queue.order.remove(&waiting.arrival);
        queue.bytes = queue.bytes.saturating_sub(waiting.document.size());
        if queue.documents.is_empty() {
            self.bearers.remove(&bearer);
        }
        for ancestor in &waiting.missing {
            if let Some(set) = self.waiting.get_mut(ancestor) {
                set.remove(&(bearer, id));
                if set.is_empty() {
                    self.waiting.remove(ancestor);
                }
            }
        }
        Some(waiting.document)
    }
}

impl Queue {
    /// The oldest document, if `size` more bytes do not fit beside it.
    fn crowded_by(&self, size: usize) -> Option<DocumentId> {
        let full = self.documents.len() >= PENDING_PER_BEARER_MAX
            || self.bytes.saturating_add(size) > PENDING_BYTES_PER_BEARER_MAX;
        if full { self.order.values().next().copied() } else { None }
    }
}
