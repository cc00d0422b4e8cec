//! What must hold of the directory.

use std::collections::BTreeSet;

use refpoint_protocol::{
    directory::header::ChainKind, document::Kind, evidence::repair::Position, ids::DocumentId,
};

use super::{FORKS_KNOWN, NO_REVOKED_KEY, NOTHING_DISAPPEARS, SAME_VIEWS, lasting};
use crate::sim::Sim;

/// No charter version or key set disappears from a node, across crashes and starts, as long as its folder is
/// the same.
pub(super) fn nothing_disappears(sim: &mut Sim, node: usize) {
    let Some(machine) = sim.nodes[node].machine.as_ref() else { return };
    let trust = machine.evidence().trust();
    if trust.broken_generations().next().is_some() {
        return;
    }
    let held = || trust.charters().map(|it| it.id()).chain(trust.key_sets().map(|it| it.id()));
    let kept = sim.ledger.kept.entry(node).or_default();
    let is_held =
        |id: &DocumentId| trust.key_set(&(*id).into()).is_some() || trust.charter(&(*id).into()).is_some();
    let gone = kept.iter().find(|id| !is_held(id)).copied();
    if gone.is_some() || held().count() != kept.len() {
        *kept = held().collect();
    }
    if let Some(id) = gone {
        let what = format!("{} held {id} and does not any more", sim.name(node));
        sim.violate(NOTHING_DISAPPEARS, what);
    }
}

/// No charter version, key set, fork proof or header below a fork disappears: what all honest nodes held when
/// everything was in order last, all of them hold again.
pub(super) fn common_evidence_remains(sim: &mut Sim) {
    let mut common: Option<BTreeSet<DocumentId>> = None;
    let mut everything = BTreeSet::new();
    for node in sim.honest() {
        let Some(machine) = sim.nodes[node].machine.as_ref() else { continue };
        let held: BTreeSet<DocumentId> = lasting(machine.evidence()).into_iter().collect();
        everything.extend(held.iter().copied());
        common = Some(match common {
            Some(common) => common.intersection(&held).copied().collect(),
            None => held,
        });
    }
    let Some(common) = common else { return };
    let forked = |id: &DocumentId| sim.ledger.signer(*id).is_none_or(|node| is_forked(sim, node));
    let gone = sim.ledger.common.iter().find(|id| !common.contains(*id) && !forked(id)).copied();
    sim.ledger.common = common;
    if let Some(id) = gone {
        sim.violate(NOTHING_DISAPPEARS, format!("all nodes held {id}, and not all do any more"));
    }
}

/// Honest connected nodes hold equal digests and views once faults stop.
pub(super) fn views_are_equal(sim: &mut Sim) {
    let honest = sim.honest();
    let Some(first) = honest.first().copied() else { return };
    let now = sim.clock_now();
    let view = |node: usize| {
        let evidence = sim.nodes[node].machine.as_ref().unwrap().evidence();
        (evidence.roots().unwrap(), evidence.membership(), evidence.directory().members(now))
    };
    let (roots, membership, directory) = view(first);
    let differs = honest.iter().skip(1).find_map(|node| {
        let (theirs, their_membership, their_directory) = view(*node);
        let what = if theirs != roots {
            let kinds = roots.iter().zip(&theirs).filter(|(a, b)| a != b).map(|(a, _)| a.kind.clone());
            let kinds = kinds.collect::<Vec<_>>().join(", ");
            format!("digests of {kinds}: {}", apart(sim, first, *node))
        } else if their_membership != membership {
            "memberships".into()
        } else if their_directory != directory {
            "directories".into()
        } else {
            return None;
        };
        Some((*node, what))
    });
    if let Some((node, what)) = differs {
        let what = format!("{} and {} have different {what}", sim.name(first), sim.name(node));
        sim.violate(SAME_VIEWS, what);
    }
}

/// The positions that one of two nodes has alone, each with the node whose chain it is.
fn apart(sim: &Sim, one: usize, other: usize) -> String {
    let of = |node: usize| {
        let evidence = sim.nodes[node].machine.as_ref().unwrap().evidence();
        Kind::EVIDENCE.into_iter().flat_map(|kind| evidence.positions(kind)).collect::<BTreeSet<_>>()
    };
    let (ones, others) = (of(one), of(other));
    let alone = |name: String, alone: Vec<&Position>| format!("{name} alone has {alone:?}");
    let first = alone(sim.name(one), ones.difference(&others).take(2).collect());
    format!("{first}, {}", alone(sim.name(other), others.difference(&ones).take(2).collect()))
}

/// Every fork seen is known to all honest connected nodes.
pub(super) fn forks_are_known(sim: &mut Sim) {
    let honest = sim.honest();
    let mut forks = BTreeSet::new();
    let of = |node: usize| {
        let evidence = sim.nodes[node].machine.as_ref().unwrap().evidence();
        let kinds = [ChainKind::NodeRecord, ChainKind::ReferencePoint];
        let chains = kinds.into_iter().flat_map(|kind| evidence.chains().of_kind(kind));
        let compared = chains.filter(|(key, _)| evidence.is_compared(key.key_set));
        compared.filter_map(|(key, chain)| Some((*key, chain.fork()?.sequence))).collect::<BTreeSet<_>>()
    };
    for node in &honest {
        forks.extend(of(*node));
    }
    let unknown = honest.iter().find_map(|node| {
        let known = of(*node);
        let lower = |(key, at): &&(_, _)| !known.iter().any(|(other, lowest)| other == key && lowest <= at);
        let missing = forks.iter().find(lower)?;
        Some((*node, format!("{missing:?}")))
    });
    if let Some((node, fork)) = unknown {
        sim.violate(FORKS_KNOWN, format!("{} does not know {fork}", sim.name(node)));
    }
}

/// No revoked key is accepted: no honest node is connected with one that it knows to be revoked.
pub(super) fn no_revoked_key_is_connected(sim: &mut Sim) {
    let found = sim.honest().into_iter().find_map(|node| {
        let membership = sim.nodes[node].machine.as_ref()?.evidence().membership();
        let peers = sim.network.peers(node, sim.nodes.len());
        let other = peers.into_iter().find(|other| !membership.is_active_node(&sim.nodes[*other].key))?;
        Some((node, other))
    });
    if let Some((node, other)) = found {
        let what = format!("{} is connected with {}, whose key has ended", sim.name(node), sim.name(other));
        sim.violate(NO_REVOKED_KEY, what);
    }
}

fn is_forked(sim: &Sim, signer: usize) -> bool {
    let key = sim.nodes[signer].key;
    sim.honest().first().and_then(|node| sim.nodes[*node].machine.as_ref()).is_some_and(|machine| {
        machine.evidence().chains().of_node(key).any(|(_, chain)| chain.fork().is_some())
    })
}
