//! A thief with the key of a node that its member has replaced since: it keeps the old folder and goes on.

use std::{sync::Arc, time::Duration};

use refpoint_protocol::{
    directory::header::ChainKind, evidence::AnyDocument, membership::key_set::NodeState,
};

use super::{Villain, forks};
use crate::sim::{Sim, event::Event, people::Deed};

/// Plans the first theft, if anybody is hostile.
pub(super) fn plan(sim: &mut Sim) {
    if sim.plan.hostile > 0 {
        let wait = sim.draw.wait(BETWEEN_THEFTS);
        sim.agenda.plan(sim.now + wait, Event::Deed(Deed::Replace));
    }
}

/// A node's key is stolen: its member builds the node anew with another key, and says that the old one is in
/// strange hands. The thief runs on with the old key and folder.
pub(crate) fn replace(sim: &mut Sim) {
    plan(sim);
    let unit = sim.draw.below(sim.units.len());
    let old = sim.units[unit].nodes[0];
    let thieves = sim.nodes.iter().filter(|node| node.villain.as_ref().is_some_and(|it| it.thief)).count();
    let sound = sim.nodes[old].is_honest() && sim.nodes[old].is_up() && !sim.units[unit].suspended;
    if sim.calm || !sound || thieves * 10 >= sim.units.len() {
        return;
    }
    sim.say(|| format!("the key of {} is stolen", sim.name(old)));
    sim.counts.add("stolen-key");
    sim.rebuild(old, NodeState::Compromised);
    sim.nodes[old].villain = Some(Villain { thief: true, ..Villain::default() });
    sim.ledger.forget_node(old);
    super::plan(sim, old);
}

/// The thief signs headers with the old key, and shows the world that it still knows.
pub(super) fn act(sim: &mut Sim, node: usize) {
    sim.counts.add("stolen-key-used");
    forks::act(sim, node);
    for kind in [ChainKind::NodeRecord, ChainKind::ReferencePoint] {
        let Some(mut header) = forks::newest(sim, node, kind) else { continue };
        let before = forks::signed(sim, node, kind, header.clone()).id(Some(sim.federation));
        let Some(next) = header.sequence.next() else { continue };
        (header.sequence, header.predecessor) = (next, before);
        header.issued = sim.clock_now();
        let envelope = forks::signed(sim, node, kind, header);
        let peers = sim.network.peers(node, sim.nodes.len());
        forks::show(sim, node, &peers, envelope);
    }
    sim.send_message(node);
    // Its own key set, as others may still know it.
    let unit = sim.nodes[node].unit;
    let first = AnyDocument::KeySet(Arc::clone(&sim.founded.units[unit].key_set));
    sim.import(node, first);
}

/// Between two thefts in the whole federation.
const BETWEEN_THEFTS: Duration = Duration::from_secs(100 * 60);
