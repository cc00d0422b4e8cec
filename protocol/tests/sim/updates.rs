//! How long an update of the directory takes to reach everybody, in virtual time: an own field of the one line.
//!
//! Only what nothing disturbs is timed: updates of honest nodes while no cut and no weather is on the network, at the
//! honest nodes that are connected when it is published and stay up. Hostile members may do what they like.

use std::collections::{BTreeMap, HashMap};

use refpoint_protocol::{document::Envelope, ids::DocumentId};

use super::{Sim, network::Weather};

/// What is under way.
#[derive(Default)]
pub(crate) struct Updates(HashMap<DocumentId, Update>);

struct Update {
    by: usize,
    published: u64,
    /// Who has not got it, each with its run.
    awaited: BTreeMap<usize, u32>,
}

impl Sim {
    /// A node publishes what it signed or was handed.
    pub(crate) fn begin_update(&mut self, at: usize, document: &Envelope) {
        let undisturbed = self.network.cuts.is_empty() && self.network.weather == Weather::default();
        if !undisturbed || !self.nodes[at].is_honest() {
            return;
        }
        let id = document.id(Some(self.federation));
        // Whoever was met since it was signed has it from the introduction.
        let connected = |other: &usize| {
            *other != at
                && self.network.believes(at, *other)
                && self.network.believes(*other, at)
                && self.nodes[*other].disk.envelopes(&[id]).iter().all(Option::is_none)
        };
        let awaited = self.honest().into_iter().filter(connected).map(|other| (other, self.nodes[other].run));
        let update = Update { by: at, published: self.now, awaited: awaited.collect() };
        self.updates.0.insert(id, update);
    }

    /// A node stores a document, by whatever way it came.
    pub(crate) fn on_update(&mut self, at: usize, id: &[u8]) {
        let Ok(id) = <[u8; 32]>::try_from(id) else { return };
        let Some(update) = self.updates.0.get_mut(&DocumentId::from_bytes(id)) else { return };
        if update.awaited.remove(&at).is_some_and(|run| run == self.nodes[at].run) {
            self.counts.updates.push(self.now - update.published);
        }
    }

    /// Something breaks that may be in the way of all updates, or of those of one node alone.
    pub(crate) fn disturb_updates(&mut self, of: Option<usize>) {
        self.updates.0.retain(|_, update| of.is_some_and(|of| update.by != of));
    }

    /// At each look: what came to nobody's knowledge for so long counts as that late, and is waited for no more.
    pub(crate) fn end_updates(&mut self) {
        let (now, nodes) = (self.now, &self.nodes);
        let mut late = Vec::new();
        self.updates.0.retain(|_, update| {
            update.awaited.retain(|at, run| nodes[*at].run == *run && nodes[*at].is_up());
            let over = update.published + UPDATE_MAX < now;
            if over {
                late.extend(update.awaited.values().map(|_| now - update.published));
            }
            !over && !update.awaited.is_empty()
        });
        self.counts.updates.extend(late);
    }
}

/// Milliseconds after which an update is not waited for any more.
const UPDATE_MAX: u64 = 120_000;
