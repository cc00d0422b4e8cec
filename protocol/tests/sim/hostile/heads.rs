//! A member that says two things of one moment: two heads of one number, each of which names another charter version
//! as its only tip, and each shown to a part of the others.

use refpoint_protocol::{document::sign, heads::Head, ids::CharterId};

use super::forks;
use crate::sim::Sim;

pub(super) fn act(sim: &mut Sim, node: usize) {
    let now = sim.nodes[node].clock.at(sim.now);
    let heads = sim.nodes[node].machine.as_ref().and_then(|machine| machine.heads(now));
    let Some(own) = heads.and_then(|heads| heads.own) else { return };
    let Some(number) = own.head.number.next() else { return };
    sim.counts.add("contradicting-heads");
    let versions = sim.charters.iter().chain(&sim.ledger.siblings).map(|it| CharterId::from(it.id()));
    let versions: Vec<CharterId> = versions.collect();
    let peers = sim.network.peers(node, sim.nodes.len());
    let (some, others): (Vec<usize>, Vec<usize>) = peers.into_iter().partition(|_| sim.draw.chance(1, 2));
    for shown_to in [some, others] {
        let charter = sim.draw.pick(&versions[versions.len().saturating_sub(RECENT)..]).into_iter().collect();
        let digest = refpoint_protocol::ids::ContentHash::from_bytes(sim.draw.bytes());
        let (previous, time) = (Some(own.id), now);
        let head = Head { number, previous, time, charter, digest, ..own.head.clone() };
        let envelope = sign(&head, Some(sim.federation), &[&sim.nodes[node].signing]).unwrap();
        forks::show(sim, node, &shown_to, envelope);
    }
}

/// Versions among which it chooses what it names: the newest, which are not settled yet or contradict each other.
const RECENT: usize = 3;
