//! Hostile members: who they are, and where they come between a node and the others.
//!
//! Each of them runs an honest machine beside its mischief, so that it is certified, connected and believed.

mod copies;
mod flooding;
mod forks;
mod heads;
mod key_sets;
mod receipts;
mod replays;
mod siblings;
pub(crate) mod stolen_keys;
mod withholding;

use std::time::Duration;

use refpoint_protocol::{
    evidence::repair::{RepairRequest, RepairResponse},
    relay::frame::RelayFrame,
};

use super::{
    Sim,
    draw::Draw,
    event::{Event, Payload},
};

/// What a hostile member is up to.
#[derive(Clone, Default)]
pub(crate) struct Villain {
    tricks: Vec<Trick>,
    /// What it was sent lately, to be sent again.
    recorded: Vec<(usize, Payload)>,
    key_sets: u32,
    /// Whether it runs on a key that it stole.
    pub(crate) thief: bool,
    /// Whether its member was admitted beside what is settled.
    stranger: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    Forks,
    Replays,
    Withholds,
    Floods,
    Receipts,
    KeySets,
    Heads,
    Siblings,
    Copies,
}

/// Chooses who is hostile.
pub(crate) fn choose(sim: &mut Sim, draw: &mut Draw) {
    let count = sim.nodes.len() * sim.plan.hostile / 100;
    let all = [
        Trick::Forks,
        Trick::Replays,
        Trick::Withholds,
        Trick::Floods,
        Trick::Receipts,
        Trick::KeySets,
        Trick::Heads,
        Trick::Siblings,
        Trick::Copies,
    ];
    // A member with two nodes is hostile with both or none, and it is none.
    let single = |node: &usize| sim.units[sim.nodes[*node].unit].nodes.len() == 1;
    let mut left: Vec<usize> = (0..sim.nodes.len()).filter(single).collect();
    for _ in 0..count.min(left.len()) {
        let node = left.swap_remove(draw.below(left.len()));
        let tricks = all.into_iter().filter(|_| draw.chance(1, 2)).collect();
        sim.nodes[node].villain = Some(Villain { tricks, ..Villain::default() });
        plan(sim, node);
    }
    stolen_keys::plan(sim);
}

/// A hostile member does something by itself.
pub(crate) fn act(sim: &mut Sim, node: usize) {
    plan(sim, node);
    if sim.calm || !sim.nodes[node].is_up() {
        return;
    }
    let Some(villain) = &sim.nodes[node].villain else { return };
    if villain.thief {
        return stolen_keys::act(sim, node);
    }
    let Some(trick) = sim.draw.pick(&villain.tricks.clone()) else { return };
    match trick {
        Trick::Forks => forks::act(sim, node),
        Trick::Replays => replays::act(sim, node),
        Trick::Floods => flooding::act(sim, node),
        Trick::Receipts => receipts::act(sim, node),
        Trick::KeySets => key_sets::act(sim, node),
        Trick::Heads => heads::act(sim, node),
        Trick::Siblings => siblings::act(sim, node),
        Trick::Withholds | Trick::Copies => {}
    }
}

/// Whether a node passes nothing on.
pub(crate) fn withholds(sim: &mut Sim, node: usize) -> bool {
    let withholds = has(sim, node, Trick::Withholds);
    if withholds {
        sim.counts.add("withholding");
    }
    withholds
}

/// What a hostile node answers instead of its machine.
pub(crate) fn answers(sim: &mut Sim, node: usize, request: &RepairRequest) -> Option<RepairResponse> {
    if !has(sim, node, Trick::Withholds) {
        return None;
    }
    sim.counts.add("withholding");
    withholding::answer(sim, node, request)
}

/// Whether a hostile node takes a frame and does nothing with it, or lies about it.
pub(crate) fn swallows(sim: &mut Sim, node: usize, from: usize, frame: &RelayFrame) -> bool {
    // Copies of copies of several such members would be a flood without end, and another trick.
    if has(sim, node, Trick::Copies) && sim.nodes[from].is_honest() {
        copies::spread(sim, node, frame);
    }
    if has(sim, node, Trick::Receipts) && receipts::premature(sim, node, from, frame) {
        return true;
    }
    let swallows = has(sim, node, Trick::Withholds) && sim.draw.chance(1, 2);
    if swallows {
        sim.counts.add("withholding");
    }
    swallows
}

/// What a hostile node remembers of what it was sent.
pub(crate) fn records(sim: &mut Sim, node: usize, from: usize, what: &Payload) {
    if let Some(villain) = sim.nodes[node].villain.as_mut().filter(|it| it.tricks.contains(&Trick::Replays)) {
        if villain.recorded.len() >= RECORDED_MAX {
            villain.recorded.remove(0);
        }
        villain.recorded.push((from, what.clone()));
    }
}

/// Whether a node dials others though its own view tells it not to.
pub(crate) fn dials(sim: &Sim, node: usize) -> bool {
    sim.nodes[node].villain.as_ref().is_some_and(|villain| villain.thief || villain.stranger)
}

fn has(sim: &Sim, node: usize, trick: Trick) -> bool {
    !sim.calm && sim.nodes[node].villain.as_ref().is_some_and(|villain| villain.tricks.contains(&trick))
}

fn plan(sim: &mut Sim, node: usize) {
    let wait = sim.draw.wait(BETWEEN_TRICKS);
    sim.agenda.plan(sim.now + wait, Event::Mischief { node });
}

/// Between two tricks of one member.
const BETWEEN_TRICKS: Duration = Duration::from_secs(8 * 60);

/// What a hostile member remembers of what it was sent.
const RECORDED_MAX: usize = 64;
