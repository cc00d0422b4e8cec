//! What breaks, when, and how it is mended: crashes, cuts, weather, disks, old copies, clocks.

use std::{collections::BTreeSet, time::Duration};

use refpoint_protocol::{ids::MessageId, storage::Table};

use super::{Sim, disk::Room, draw::Draw, event::Event, network::Weather};

/// Something breaks, or is mended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A node dies: by a signal, or with the power.
    Crash,
    /// The network falls apart.
    Cut,
    /// A node reaches hostile ones alone.
    Eclipse,
    /// The oldest cut is healed.
    Heal,
    /// A disk fills.
    Fill,
    /// A disk has room again.
    Empty { node: usize },
    /// A sync will fail.
    Fail,
    /// Somebody copies a folder.
    Copy,
    /// Somebody puts an old copy in place of a folder.
    Restore,
    /// Other weather.
    Weather,
}

/// Each fault that comes by itself, with how often: minutes between two in a federation of 50 at its worst.
const OFTEN: [(Fault, u64); 8] = [
    (Fault::Crash, 4),
    (Fault::Cut, 9),
    (Fault::Eclipse, 12),
    (Fault::Fill, 8),
    (Fault::Fail, 14),
    (Fault::Copy, 5),
    (Fault::Restore, 15),
    (Fault::Weather, 10),
];

impl Sim {
    pub(crate) fn plan_faults(&mut self) {
        // Most federations see now and then a fault in an hour, and a few see nothing else.
        self.quiet = match self.draw.below(10) {
            0 => 1,
            1..3 => 3,
            _ => 10,
        };
        let often = if self.plan.faults { OFTEN.as_slice() } else { &[] };
        for (fault, _) in often.iter().copied() {
            let wait = self.wait_for(fault);
            self.agenda.plan(self.now + wait, Event::Fault(fault));
        }
        self.agenda.plan(self.now + super::LOOK_EVERY, Event::Look);
        self.storm();
    }

    /// Faults begin, and stop again after a while.
    pub(crate) fn storm(&mut self) {
        self.calm = false;
        self.change_weather();
        self.agenda.plan(self.now + STORM, Event::Calm);
    }

    /// Faults stop: everything heals and everybody comes back.
    pub(crate) fn on_calm(&mut self) {
        self.say(|| "faults stop".into());
        self.calm = true;
        self.network.cuts.clear();
        self.network.weather = Weather::default();
        for node in 0..self.nodes.len() {
            let (now, disk) = (self.now, &mut self.nodes[node].disk);
            (disk.room, disk.failing) = (Room::Plenty, false);
            disk.store_kept(now);
            self.nodes[node].sync = 4;
            self.nodes[node].down_until = self.now;
            self.nodes[node].crash_in = None;
            if !self.nodes[node].is_up() && !self.nodes[node].retired {
                let delay = self.draw.within(10..5_000);
                self.agenda.plan(self.now + delay, Event::Start { node });
            }
        }
        self.agenda.plan(self.now + 120_000, Event::Care);
        self.agenda.plan(self.now + CALM, Event::Settled);
        self.hush = self.now + CALM - HUSH;
    }

    pub(crate) fn on_fault(&mut self, fault: Fault) {
        if !matches!(fault, Fault::Heal | Fault::Empty { .. }) {
            let wait = self.wait_for(fault);
            self.agenda.plan(self.now + wait, Event::Fault(fault));
            if self.calm {
                return;
            }
        }
        let node = self.draw.below(self.nodes.len());
        match fault {
            Fault::Crash => {
                if self.nodes[node].is_up() {
                    let effects = self.draw.within(1..40) as u32;
                    self.nodes[node].crash_in = Some(effects);
                }
            }
            Fault::Cut => self.cut(node),
            Fault::Eclipse => self.eclipse(node),
            Fault::Heal => {
                if !self.network.cuts.is_empty() {
                    let cut = self.network.cuts.remove(0);
                    self.say(|| format!("a {} is healed", cut.kind));
                }
            }
            Fault::Fill => {
                let low = self.draw.chance(3, 4);
                self.nodes[node].disk.room = if low { Room::Low } else { Room::None };
                self.counts.add(if low { "disk-nearly-full" } else { "disk-full" });
                let wait = self.draw.within(60_000..900_000);
                self.agenda.plan(self.now + wait, Event::Fault(Fault::Empty { node }));
            }
            Fault::Empty { node } => {
                let (now, disk) = (self.now, &mut self.nodes[node].disk);
                disk.room = Room::Plenty;
                disk.store_kept(now);
            }
            Fault::Fail => self.nodes[node].disk.failing = true,
            Fault::Copy => {
                let now = self.now;
                self.nodes[node].disk.copy(now);
            }
            Fault::Restore => self.restore(),
            Fault::Weather => self.change_weather(),
        }
    }

    /// A node dies. What it had not synced is lost, in part or whole.
    pub(crate) fn crash(&mut self, node: usize, why: &str) {
        if !self.nodes[node].is_up() {
            return;
        }
        self.disturb_updates(Some(node));
        let unsynced = self.nodes[node].disk.unsynced();
        let kept = self.draw.below(unsynced + 1);
        let lost = self.nodes[node].disk.lose(kept);
        let power = self.draw.chance(3, 10);
        self.say(|| format!("{} dies ({why}), {lost} writes are lost", self.name(node)));
        self.counts.add(if power { "crash-power" } else { "crash-killed" });
        if lost > 0 {
            self.counts.add("crash-with-lost-writes");
        }
        self.nodes[node].stop();
        for other in 0..self.nodes.len() {
            let Some(link) = self.network.link_mut(node, other).filter(|_| other != node) else { continue };
            let id = link.id;
            link.broken = true;
            self.network.notice(node, other, id);
            // The system of a process that was killed says goodbye for it; a machine without power says nothing.
            let delay = if power { self.draw.within(15_000..35_000) } else { self.draw.within(2..200) };
            self.agenda.plan(self.now + delay, Event::Lost { at: other, other: node, link: id });
        }
        let mine = self.waiting.range((node, 0, zero())..(node + 1, 0, zero())).copied().collect::<Vec<_>>();
        self.waiting.retain(|waiting| !mine.contains(waiting));
        self.stale.retain(|(at, _, _)| *at != node);
        self.asks.retain(|_, ask| ask.at != node);
        self.pushes.retain(|_, (at, _, _)| *at != node);
        let down = if self.draw.chance(1, 10) { 300_000..1_800_000 } else { 1_000..60_000 };
        let down = self.draw.within(down);
        self.nodes[node].down_until = self.nodes[node].down_until.max(self.now + down);
        let at = if self.calm { self.now + 1_000 } else { self.nodes[node].down_until };
        if self.calm {
            self.nodes[node].down_until = at;
        }
        self.agenda.plan(at, Event::Start { node });
    }

    fn restore(&mut self) {
        let has_copy = |node: &usize| self.nodes[*node].disk.copies() > 0 && !self.nodes[*node].retired;
        let candidates: Vec<usize> = (0..self.nodes.len()).filter(has_copy).collect();
        let Some(node) = self.draw.pick(&candidates) else { return };
        self.crash(node, "its folder is to be restored");
        let which = self.draw.below(self.nodes[node].disk.copies());
        let Some(at) = self.nodes[node].disk.restore(which) else { return };
        self.say(|| {
            format!("{}: a copy from {} s ago is put back", self.name(node), (self.now - at) / 1_000)
        });
        self.counts.add("restored-backup");
        self.nodes[node].folder += 1;
        let ids = self.nodes[node].disk.table(Table::MessageIds);
        let ids = ids.map(|(key, _)| MessageId::from_bytes(key.as_slice().try_into().unwrap())).collect();
        self.nodes[node].arrived = ids;
        self.ledger.rolled_back(node, at);
        self.ledger.forgot.push((self.now, self.nodes[node].unit));
    }

    fn cut(&mut self, node: usize) {
        let count = self.nodes.len();
        let (kind, from): (&'static str, BTreeSet<usize>) = match self.draw.below(3) {
            0 => ("partition-single", BTreeSet::from([node])),
            1 => ("partition-one-way", self.some(count)),
            _ => ("partition-full", self.some(count)),
        };
        self.say(|| format!("a {kind} of {} nodes", from.len()));
        self.counts.add(kind);
        self.apply_cut(kind, from, BTreeSet::new());
    }

    /// Everybody whom a node reaches is hostile, for a while.
    fn eclipse(&mut self, node: usize) {
        let hostile = |other: &usize| !self.nodes[*other].is_honest() && self.nodes[*other].is_up();
        let except: BTreeSet<usize> = (0..self.nodes.len()).filter(hostile).collect();
        if except.is_empty() || !self.nodes[node].is_honest() {
            return;
        }
        self.say(|| format!("{} sees hostile members alone", self.name(node)));
        self.counts.add("eclipse");
        self.apply_cut("eclipse", BTreeSet::from([node]), except);
    }

    fn apply_cut(&mut self, kind: &'static str, from: BTreeSet<usize>, except: BTreeSet<usize>) {
        self.disturb_updates(None);
        for (a, b) in self.network.cut(kind, from, except) {
            self.break_link(a, b, [15_000, 35_000]);
        }
        let wait = self.draw.within(20_000..900_000);
        self.agenda.plan(self.now + wait, Event::Fault(Fault::Heal));
    }

    fn some(&mut self, count: usize) -> BTreeSet<usize> {
        let share = self.draw.within(1..8);
        (0..count).filter(|_| self.draw.chance(share, 8)).collect()
    }

    fn change_weather(&mut self) {
        if !self.plan.faults {
            return;
        }
        let mut up_to = |most: u64| if self.draw.chance(1, 3) { 0 } else { self.draw.within(0..most) };
        // In 10,000: up to three of ten lost, as a bad mobile network has it, but as a rule far less.
        let lost = up_to(120);
        let (doubled, reordered, delayed) = (up_to(500), up_to(1_000), up_to(1_000));
        self.disturb_updates(None);
        self.network.weather = Weather { lost, doubled, reordered, delayed };
        if self.draw.chance(1, 12) {
            self.network.weather.lost = 3_000;
        }
    }

    fn wait_for(&mut self, fault: Fault) -> u64 {
        let kind = std::mem::discriminant(&fault);
        let often = OFTEN.iter().find(|(other, _)| std::mem::discriminant(other) == kind);
        let minutes = often.map_or(10, |(_, minutes)| *minutes) * self.quiet;
        // Larger federations break more often, smaller ones not so seldom that nothing happens.
        let mean = Duration::from_secs(minutes * 60) * 50 / self.nodes.len().clamp(20, 200) as u32;
        self.draw.wait(mean)
    }
}

/// How far off a clock is in one run, in milliseconds, and as which fault that counts.
pub(crate) fn skew(draw: &mut Draw) -> (i64, Option<&'static str>) {
    let (range, kind) = match draw.below(100) {
        0..70 => (0..2_000, None),
        70..85 => (2_000..60_000, Some("skew-seconds")),
        85..93 => (60_000..600_000, Some("skew-to-10-minutes")),
        93..97 => (600_000..7_200_000, Some("skew-over-10-minutes")),
        _ => (7_200_000..259_200_000, Some("skew-days")),
    };
    let offset = draw.within(range) as i64;
    (if draw.chance(1, 2) { -offset } else { offset }, kind)
}

fn zero() -> refpoint_protocol::machine::AskTicket {
    refpoint_protocol::machine::AskTicket(0)
}

/// Milliseconds for which faults go on.
const STORM: u64 = 35 * 60_000;

/// Milliseconds without faults after which everything is to be in order: the ten minutes that a node without
/// three witnesses waits, the longest retry, and a few rounds of repair.
pub(crate) const CALM: u64 = 25 * 60_000;

/// Milliseconds in which what was published last reaches everybody: two rounds of repair.
const HUSH: u64 = 2 * 60_000;
