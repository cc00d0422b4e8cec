//! Settlement in the machine: the newest heads are kept as they were signed until they settle a charter version.
//!
//! Every node hears every head, so each makes its own certificate and none is pushed; whoever missed heads gets a
//! certificate by repair or at an introduction.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{Batch, Carriage, Effect, Machine};
use crate::{
    document::Verified,
    evidence::AnyDocument,
    heads::Head,
    ids::{HeadId, NodeKey},
    limits::HEADS_KEPT_PER_NODE,
    time::Timestamp,
};

/// The newest heads of each node whose heads are kept, this one's among them: the last is its newest.
#[derive(Clone, Debug, Default)]
pub(super) struct NewestHeads(BTreeMap<NodeKey, VecDeque<Arc<Verified<Head>>>>);

impl NewestHeads {
    pub(super) fn keep(&mut self, head: Arc<Verified<Head>>) {
        let of = self.0.entry(head.payload().node).or_default();
        of.push_back(head);
        while of.len() > HEADS_KEPT_PER_NODE {
            of.pop_front();
        }
    }

    /// The head with this id, if it is among a node's newest.
    pub(super) fn find(&self, node: &NodeKey, id: HeadId) -> Option<&Arc<Verified<Head>>> {
        self.0.get(node)?.iter().find(|head| HeadId::from(head.id()) == id)
    }

    pub(super) fn retain(&mut self, counts: impl Fn(&Head) -> bool) {
        self.0.retain(|_, of| of.back().is_some_and(|head| counts(head.payload())));
    }

    /// The newest of each node.
    fn newest(&self) -> impl Iterator<Item = &Arc<Verified<Head>>> {
        self.0.values().filter_map(VecDeque::back)
    }
}

impl Machine {
    /// Takes in the certificate of a version that the heads settle, if there is one.
    pub(super) fn settle(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let settled = self.evidence.membership().settled();
        // A head that names several tips settles nothing, and one that names what is settled nothing more: as a rule all.
        let says_more = |head: &&Arc<Verified<Head>>| {
            let tips = head.payload().charter.as_slice();
            matches!(tips, [only] if Some(*only) != settled)
        };
        match self.evidence.trust().settle(self.newest_heads.newest().filter(says_more)) {
            Ok(None) => {}
            Ok(Some(certificate)) => {
                let documents = vec![Ok(AnyDocument::Settlement(Arc::new(certificate)))];
                let batch = Batch { from: None, documents, bodies: Vec::new(), carriage: Carriage::Hand };
                let outcome = self.take_in(now, batch, effects);
                if outcome.accepted.is_empty() {
                    self.bug("a settlement of this node's own making is not accepted".into());
                }
            }
            Err(error) => self.bug(format!("a settlement: {error}")),
        }
    }
}
