//! A member whose root signs key sets that contradict each other, and that shows old ones again.

use std::sync::Arc;

use refpoint_protocol::{document::Verified, limits::KEY_SET_TIPS_MAX, membership::key_set::KeySet, testing};

use super::forks;
use crate::sim::Sim;

/// Shows an old key set as if it were news, or signs one beside the current.
pub(super) fn act(sim: &mut Sim, node: usize) {
    let unit = sim.nodes[node].unit;
    let first = Arc::clone(&sim.founded.units[unit].key_set);
    let peers = sim.network.peers(node, sim.nodes.len());
    sim.counts.add("old-key-set");
    let made = sim.nodes[node].villain.as_ref().map_or(0, |villain| villain.key_sets);
    // With one more than are kept none of its keys would count any more, and it would be out.
    let envelope = if sim.draw.chance(1, 2) || made as usize + 2 >= KEY_SET_TIPS_MAX {
        first.envelope().as_ref().clone()
    } else {
        if let Some(villain) = sim.nodes[node].villain.as_mut() {
            villain.key_sets += 1;
        }
        beside(sim, unit, &first).envelope().as_ref().clone()
    };
    forks::show(sim, node, &peers, envelope);
}

/// The epoch after the first once more, with one more node.
fn beside(sim: &mut Sim, unit: usize, first: &Arc<Verified<KeySet>>) -> Arc<Verified<KeySet>> {
    let code = sim.units[unit].code.clone();
    let root = sim.founded.root(&code, 0);
    let other = testing::key(sim.draw.next(), "another node", 0);
    let issued = sim.clock_now();
    sim.founded.next_key_set(
        &[first],
        |set| {
            set.issued = issued;
            set.nodes.push(testing::entry(1, &other));
        },
        &root,
    )
}
