//! What must hold of heads, and of the charter versions that they settle.

use std::{collections::BTreeSet, time::Duration};

use refpoint_protocol::{
    directory::own_chain::Standing as ChainStanding,
    heads::{Head, Standing},
    ids::{CharterId, DocumentId, MemberCode},
    membership::{charter::MemberStatus, settlement::Certificate},
};

use super::{HEADS_HEARD, NO_SELF_CONTRADICTION, NOBODY_BESIDE, ONE_SETTLED, SETTLED_STAYS, SETTLES};
use crate::sim::{Sim, faults::CALM};

/// No honest node signs two heads for one place: a run is one program's, and begins anew with each start.
pub(crate) fn on_head_signed(sim: &mut Sim, at: usize, head: &Head, id: DocumentId) {
    let place = (head.node, head.run, head.number);
    let before = sim.ledger.heads.insert(place, id);
    if before.is_some_and(|before| before != id) && sim.nodes[at].is_honest() {
        let what = format!("{} signs another head {} of one run", sim.name(at), head.number.0);
        sim.violate(NO_SELF_CONTRADICTION, what);
    }
}

/// A node tells its people what is settled, once that is on its disk: from now on it stays so.
pub(super) fn on_settled(sim: &mut Sim, at: usize, charter: CharterId) {
    sim.counts.add("charter-settled");
    if sim.nodes[at].machine.as_ref().is_some_and(|it| it.evidence().membership().contradicting().is_empty())
    {
        sim.ledger.settled.insert(at, charter);
    }
}

/// What is settled at a node stays settled for it, across crashes and starts, as long as its folder is the same.
pub(crate) fn stays_settled(sim: &mut Sim, node: usize) {
    let Some(promised) = sim.ledger.settled.get(&node).copied() else { return };
    let Some(machine) = sim.nodes[node].machine.as_ref().filter(|_| sim.nodes[node].is_honest()) else {
        return;
    };
    let (trust, membership) = (machine.evidence().trust(), machine.evidence().membership());
    let open = !trust.is_settled(&promised);
    // Contradicting settlements, which have a rule of their own, take back what they contradict.
    let set_aside = membership.contradicting().is_empty() && membership.ignored().contains(&promised);
    if open || set_aside {
        let what = format!("{} knew {promised} to be settled and does not any more", sim.name(node));
        sim.violate(SETTLED_STAYS, what);
    }
}

/// No two settlements contradict each other, unless more members than a third forgot or belied what they said.
pub(super) fn one_is_settled(sim: &mut Sim, node: usize) {
    let Some(machine) = sim.nodes[node].machine.as_ref() else { return };
    if machine.evidence().membership().contradicting().is_empty() {
        return;
    }
    let certificates: Vec<_> = machine.evidence().trust().settlements().collect();
    let impossible = certificates.iter().enumerate().find_map(|(at, one)| {
        certificates[at + 1..].iter().find_map(|other| {
            let pair = [one.span().charter, other.span().charter];
            let apart = !sim.follows(pair[0], pair[1]) && !sim.follows(pair[1], pair[0]);
            let faithless = faithless(sim, pair);
            (apart && counted_twice(sim, one, other) > faithless.len()).then_some((pair, faithless))
        })
    });
    match impossible {
        Some((pair, faithless)) => {
            let of: Vec<_> = faithless.iter().map(|unit| sim.units[*unit].code.clone()).collect();
            let what = format!("{}: {pair:?}, though only {of:?} may have belied themselves", sim.name(node));
            sim.violate(ONE_SETTLED, what);
        }
        None => sim.counts.add("contradicting-settlements"),
    }
}

/// A certificate that a node holds, and that counts no more than two thirds of its base's members.
fn counts_too_few(sim: &Sim, node: usize) -> Option<String> {
    let trust = sim.nodes[node].machine.as_ref()?.evidence().trust();
    let few = trust.settlements().find(|held| held.voices().len() * 3 <= counted(sim, held).len() * 2)?;
    Some(format!("{} holds one of {:?} by {} members", sim.name(node), few.span(), few.voices().len()))
}

/// How many members at least are counted in both certificates.
fn counted_twice(sim: &Sim, one: &Certificate, other: &Certificate) -> usize {
    let (ones, others) = (counted(sim, one), counted(sim, other));
    (needed(ones.len()) + needed(others.len())).saturating_sub(ones.union(&others).count())
}

/// The active members of a certificate's base.
fn counted(sim: &Sim, certificate: &Certificate) -> BTreeSet<MemberCode> {
    let base = sim.version_of(certificate.span().base);
    let members = base.into_iter().flat_map(|base| &base.payload().members);
    members.filter(|entry| entry.status == MemberStatus::Active).map(|entry| entry.code.clone()).collect()
}

/// The members who may say one thing and then another: hostile ones, those with a key in strange hands, and those of
/// whom a node has forgotten what it held since the first of the two versions was made.
fn faithless(sim: &Sim, versions: [CharterId; 2]) -> BTreeSet<usize> {
    let made = versions.iter().filter_map(|id| sim.ledger.made.get(id)).min().copied().unwrap_or_default();
    let hostile = sim.nodes.iter().filter(|node| !node.is_honest()).map(|node| node.unit);
    let forgot = sim.ledger.forgot.iter().filter(|(at, _)| *at >= made).map(|(_, unit)| *unit);
    hostile.chain(forgot).collect()
}

/// More than two thirds.
const fn needed(active: usize) -> usize {
    active * 2 / 3 + 1
}

/// Nothing that stands beside a settled version admits anybody, at a node that has told of it as settled.
pub(super) fn nobody_is_admitted_beside(sim: &mut Sim, node: usize) {
    let Some(settled) = sim.ledger.settled.get(&node).copied() else { return };
    let admitted = sim.ledger.strangers.iter().find(|stranger| {
        let (unit, key) = (&sim.units[stranger.unit], sim.nodes[stranger.node].key);
        let membership = sim.nodes[node].machine.as_ref().map(|machine| machine.evidence().membership());
        let counts = membership.is_some_and(|it| it.member(&unit.code).is_some() || it.is_active_node(&key));
        sim.follows(settled, stranger.beside) && counts
    });
    if let Some(stranger) = admitted {
        let what = format!("{} takes {} for a member", sim.name(node), sim.name(stranger.node));
        sim.violate(NOBODY_BESIDE, what);
    }
}

/// Nor does it suspend anybody, or let anybody in, once faults have stopped.
pub(super) fn nothing_beside_counts(sim: &mut Sim) {
    for node in sim.honest() {
        let Some(machine) = sim.nodes[node].machine.as_ref() else { continue };
        let membership = machine.evidence().membership();
        let out = sim.units.iter().enumerate().find(|(at, unit)| {
            let stranger = sim.ledger.strangers.iter().any(|stranger| stranger.unit == *at);
            !unit.suspended && !stranger && !membership.member(&unit.code).is_some_and(|it| it.is_active())
        });
        if let Some((_, unit)) = out {
            let what = format!("{} takes {} for suspended", sim.name(node), unit.code);
            return sim.violate(NOBODY_BESIDE, what);
        }
        let let_in = sim.ledger.strangers.iter().map(|it| it.node).find(|it| sim.network.believes(node, *it));
        if let Some(stranger) = let_in {
            let what = format!("{} is connected with {}", sim.name(node), sim.name(stranger));
            return sim.violate(NOBODY_BESIDE, what);
        }
    }
}

/// Honest connected nodes agree on what is settled once faults have stopped, and it is the newest version if enough
/// members can say so. What they all knew to be settled before, they know again.
pub(super) fn all_is_settled(sim: &mut Sim) {
    let honest = sim.honest();
    let Some(first) = honest.first().copied() else { return };
    let view = |sim: &Sim, node: usize| sim.nodes[node].machine.as_ref().unwrap().evidence().membership();
    let settled = view(sim, first).settled();
    let differs = honest.iter().copied().find(|node| view(sim, *node).settled() != settled);
    if let Some(node) = differs {
        let what = format!(
            "{} knows {settled:?} to be settled, and {} {:?}",
            sim.name(first),
            sim.name(node),
            view(sim, node).settled()
        );
        return sim.violate(SETTLES, what);
    }
    let Some(settled) = settled else { return };
    let before = sim.ledger.settled_everywhere.replace(settled);
    if let Some(before) = before.filter(|before| !sim.follows(settled, *before)) {
        // It takes contradicting settlements, and more members than a third.
        if view(sim, first).contradicting().is_empty() {
            return sim.violate(SETTLED_STAYS, format!("all knew {before} to be settled, and not any more"));
        }
    }
    if let Some(few) = honest.iter().find_map(|node| counts_too_few(sim, *node)) {
        return sim.violate(ONE_SETTLED, few);
    }
    let membership = view(sim, first);
    let base = sim.version_of(settled).map(|base| base.payload().members.as_slice()).unwrap_or_default();
    let active = base.iter().filter(|entry| entry.status == MemberStatus::Active);
    let active: Vec<_> = active.map(|entry| sim.unit_of(&entry.code)).collect();
    let speaks = |unit: &&usize| {
        let nodes = sim.units[**unit].nodes.iter();
        nodes.into_iter().any(|node| honest.contains(node) && signs_heads(sim, *node))
    };
    let speaking = active.iter().filter(speaks).count();
    if let [tip] = membership.tips()
        && *tip != settled
        && speaking >= needed(active.len())
    {
        let what = format!("{tip} is open, though {speaking} of {} members can speak", active.len());
        sim.violate(SETTLES, what);
    }
}

/// Honest nodes hear each other's heads once faults have stopped, and none is named as one that contradicts itself.
///
/// A thief's key is no honest node's: the member has replaced it, and its new node is another. A folder that was put
/// back begins another run with its start, so that it contradicts nothing (HE-03 and the machine's `started`).
pub(super) fn heads_are_heard(sim: &mut Sim) {
    let honest = sim.honest();
    let speaking: BTreeSet<_> = honest.iter().copied().filter(|node| signs_heads(sim, *node)).collect();
    let wrong = honest.iter().find_map(|node| {
        let heads = sim.nodes[*node].machine.as_ref()?.heads(sim.nodes[*node].clock.at(sim.now))?;
        heads.nodes.into_iter().find_map(|other| {
            let of = sim.index.get(&other.node).copied().filter(|of| speaking.contains(of))?;
            let rule = match other.standing {
                Standing::Contradicts { .. } => NO_SELF_CONTRADICTION,
                Standing::NotHeard { .. } | Standing::Silent { .. } if has_spoken_in_calm(sim, of) => {
                    HEADS_HEARD
                }
                Standing::NotHeard { .. }
                | Standing::Silent { .. }
                | Standing::Same
                | Standing::Behind { .. }
                | Standing::Unmatched { .. } => return None,
            };
            Some((rule, format!("{} holds of {} {:?}", sim.name(*node), sim.name(of), other.standing)))
        })
    });
    if let Some((rule, what)) = wrong {
        sim.violate(rule, what);
    }
}

/// Whether a node may sign heads, as its machine says.
fn signs_heads(sim: &Sim, node: usize) -> bool {
    let now = sim.nodes[node].clock.at(sim.now);
    let standing = sim.nodes[node].machine.as_ref().map(|machine| machine.standing(now));
    matches!(standing, Some(ChainStanding::Signing | ChainStanding::Waiting { .. }))
}

/// Whether a node has signed a head since faults have stopped: one that was lost before is followed within an hour.
fn has_spoken_in_calm(sim: &Sim, node: usize) -> bool {
    let now = sim.nodes[node].clock.at(sim.now);
    let heads = sim.nodes[node].machine.as_ref().and_then(|machine| machine.heads(now));
    let own = heads.and_then(|heads| heads.own);
    own.is_some_and(|own| now.since(own.head.time) < Duration::from_millis(CALM))
}
