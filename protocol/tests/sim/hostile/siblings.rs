//! Root keys of stewards in strange hands: with them a hostile member signs a version beside one that is settled, which
//! admits a member of its own and suspends an honest one.

use std::sync::Arc;

use refpoint_protocol::{
    document::encode,
    membership::charter::{Charter, MemberStatus},
    storage::Table,
};

use super::{Villain, forks};
use crate::sim::{Sim, Unit, charters::STEWARDS, disk::Disk, event::Event, ledger::Stranger, node::Node};

pub(super) fn act(sim: &mut Sim, node: usize) {
    let Some(settled) = sim.ledger.settled_everywhere else { return };
    let Some(code) = CODES.get(sim.ledger.strangers.len()) else { return };
    let Some(named) = sim.version_of(settled).map(|it| it.payload().parents.clone()) else { return };
    let parents: Vec<_> = named.iter().filter_map(|id| sim.version_of(*id).cloned()).collect();
    if parents.is_empty() {
        return;
    }
    sim.counts.add("sibling-of-settled");
    let admitted = sim.founded.new_unit(&code.parse().unwrap(), 1);
    let entry = sim.founded.first_entry(&admitted.code);
    let victim = sim.units[STEWARDS + sim.draw.below(sim.founded.units.len() - STEWARDS)].code.clone();
    let change = |charter: &mut Charter| {
        for member in charter.members.iter_mut().filter(|member| member.code == victim) {
            member.status = MemberStatus::Suspended;
        }
        charter.members.push(entry);
        charter.members.sort_by(|a, b| a.code.cmp(&b.code));
    };
    let mut roots: Vec<_> = sim.founded.units[..STEWARDS].iter().map(|steward| &steward.root).collect();
    roots.push(&admitted.root);
    let sibling = sim.founded.successor(&parents.iter().collect::<Vec<_>>(), change, &roots);
    let key_set = sim.founded.first_key_set(&sibling, &admitted.code, &admitted.root, &admitted.nodes);
    sim.say(|| format!("{code} is admitted and {victim} suspended beside {settled}"));

    let mut rows = sim.founding_rows(&[&key_set]);
    let ancestors =
        sim.charters.iter().filter(|it| parents.iter().any(|of| sim.follows(of.id().into(), it.id().into())));
    for version in ancestors.chain([&sibling]) {
        let row = encode(version.envelope().as_ref()).unwrap();
        rows.insert((Table::Charters, version.id().as_bytes().to_vec()), row.into());
    }
    let (unit, stranger) = (sim.units.len(), sim.nodes.len());
    sim.nodes.push(Node::new(admitted.code.clone(), unit, admitted.nodes[0].clone(), Disk::new(rows)));
    sim.nodes[stranger].villain = Some(Villain { stranger: true, ..Villain::default() });
    sim.index.insert(sim.nodes[stranger].key, stranger);
    let key_sets = vec![Arc::clone(&key_set)];
    sim.units.push(Unit { code: admitted.code, key_sets, nodes: vec![stranger], suspended: false, keys: 1 });
    sim.ledger.strangers.push(Stranger { unit, node: stranger, beside: settled });
    sim.ledger.made.insert(sibling.id().into(), sim.now);
    sim.ledger.siblings.push(Arc::clone(&sibling));
    sim.agenda.plan(sim.now + 1_000, Event::Start { node: stranger });

    let peers = sim.network.peers(node, sim.nodes.len());
    for envelope in [sibling.envelope(), key_set.envelope()] {
        forks::show(sim, node, &peers, envelope.as_ref().clone());
    }
}

/// Whom the siblings admit, in turn.
const CODES: [&str; 2] = ["ZX", "ZY"];
