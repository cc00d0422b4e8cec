//! Whole federations driven by one seed: virtual time, a network, disks and clocks that fail, hostile members.
//!
//! It owns the world and its loop; each kind of trouble, and each thing that must hold, has a file of its own.
//! It refuses to reach into a machine: what a node is made to do comes in by the machine's door, and what is
//! judged is what came out of it or lies on its disk.

mod carry;
mod charters;
mod clock;
mod disk;
mod draw;
mod event;
mod faults;
mod heads;
mod hostile;
mod invariants;
mod ledger;
mod links;
mod memo;
mod network;
mod node;
mod people;
mod rebuilding;
mod report;
mod runner;
mod updates;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use refpoint_protocol::{
    document::{Verified, encode},
    evidence::repair::RepairResponse,
    ids::{FederationId, MemberCode, NodeKey},
    machine::{AnswerToken, AskTicket, Input, PushToken},
    membership::{charter::Charter, key_set::KeySet},
    storage::Table,
    testing::{FOUNDED, Federation},
};

use self::{
    clock::Clock,
    disk::Disk,
    draw::Draw,
    event::{Agenda, Event, Gossip},
    ledger::Ledger,
    memo::Memo,
    network::Network,
    node::Node,
    report::Counts,
    updates::Updates,
};

/// What one simulation is to be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) members: usize,
    pub(crate) hours: u64,
    /// Members of a hundred that are hostile.
    pub(crate) hostile: usize,
    /// Whether anything breaks; hostile members do what they do all the same.
    pub(crate) faults: bool,
    /// Whether people leave everything as it is.
    pub(crate) at_rest: bool,
}

/// A federation under way.
pub(crate) struct Sim {
    pub(crate) plan: Plan,
    pub(crate) draw: Draw,
    /// The true time, in milliseconds since 1970.
    pub(crate) now: u64,
    pub(crate) end: u64,
    pub(crate) agenda: Agenda,
    pub(crate) federation: FederationId,
    pub(crate) founded: Federation,
    pub(crate) units: Vec<Unit>,
    /// The charter's versions, the latest last.
    pub(crate) charters: Vec<Arc<Verified<Charter>>>,
    /// Those that no other names: two, while stewards have signed two successors of one.
    pub(crate) tips: Vec<Arc<Verified<Charter>>>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) index: HashMap<NodeKey, usize>,
    pub(crate) network: Network,
    pub(crate) dials: BTreeMap<(usize, usize), Dial>,
    pub(crate) memo: Memo,
    pub(crate) ledger: Ledger,
    pub(crate) counts: Counts,
    pub(crate) updates: Updates,
    pub(crate) pushes: BTreeMap<PushToken, (usize, usize, Arc<Gossip>)>,
    pub(crate) asks: BTreeMap<AnswerToken, Ask>,
    pub(crate) waiting: BTreeSet<(usize, usize, AskTicket)>,
    /// Old connections that one side still holds beside a newer one: side, other side, connection.
    pub(crate) stale: BTreeSet<(usize, usize, u64)>,
    pub(crate) tokens: u64,
    /// How many times less faults come than at their worst.
    pub(crate) quiet: u64,
    /// Whether faults are held back for a while.
    pub(crate) calm: bool,
    /// From when on nobody publishes anything until all is looked at: what is on its way then is no difference.
    pub(crate) hush: u64,
    pub(crate) violation: Option<Violation>,
    pub(crate) trace: bool,
}

/// A member as the simulation knows it.
pub(crate) struct Unit {
    pub(crate) code: MemberCode,
    /// Its key sets, the latest last.
    pub(crate) key_sets: Vec<Arc<Verified<KeySet>>>,
    pub(crate) nodes: Vec<usize>,
    pub(crate) suspended: bool,
    /// How many node keys it ever had.
    pub(crate) keys: u64,
}

/// When a pair tries to connect next, and how often it failed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Dial {
    pub(crate) at: Option<u64>,
    pub(crate) failed: u32,
}

/// A request whose answer its asker waits for.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) from: usize,
    pub(crate) at: usize,
    pub(crate) run: u32,
    pub(crate) ticket: AskTicket,
}

/// Something that must never be.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

impl Sim {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut draw = Draw::new(plan.seed, 1);
        let codes = codes(plan.members);
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        let founded = Federation::new(plan.seed, &codes, 1);
        let now = FOUNDED.after(Duration::from_secs(7_200)).as_millis();
        let end = now + plan.hours * HOUR;
        let mut sim = Self {
            federation: founded.id,
            charters: vec![Arc::clone(&founded.founding)],
            tips: vec![Arc::clone(&founded.founding)],
            updates: Updates::default(),
            units: Vec::new(),
            nodes: Vec::new(),
            index: HashMap::new(),
            agenda: Agenda::default(),
            network: Network::default(),
            dials: BTreeMap::new(),
            memo: Memo::default(),
            ledger: Ledger::default(),
            counts: Counts::default(),
            pushes: BTreeMap::new(),
            asks: BTreeMap::new(),
            waiting: BTreeSet::new(),
            stale: BTreeSet::new(),
            tokens: 0,
            quiet: 1,
            calm: false,
            hush: u64::MAX,
            violation: None,
            trace: std::env::var_os("REFPOINT_SIM_TRACE").is_some(),
            draw: Draw::new(plan.seed, 2),
            plan,
            now,
            end,
            founded,
        };
        for unit in 0..sim.founded.units.len() {
            sim.enlist(unit);
        }
        sim.add_second_nodes();
        hostile::choose(&mut sim, &mut draw);
        for node in 0..sim.nodes.len() {
            let at = sim.now + draw.within(0..60_000);
            sim.agenda.plan(at, Event::Start { node });
        }
        if !sim.plan.at_rest {
            sim.plan_people();
        }
        sim.plan_faults();
        sim
    }

    /// Runs to the end, or to the first violation.
    pub(crate) fn run(&mut self) {
        while let Some((at, event)) = self.agenda.next() {
            if at > self.end {
                break;
            }
            self.now = at;
            self.counts.events += 1;
            self.step(event);
            if self.violation.is_some() {
                return;
            }
        }
        self.now = self.end;
    }

    /// Hands an input to a node's machine, and carries on with what comes out.
    pub(crate) fn handle(&mut self, node: usize, input: Input) {
        let now = self.nodes[node].clock.at(self.now);
        let Some(machine) = self.nodes[node].machine.as_mut() else { return };
        let effects = machine.handle(now, input);
        self.submit(node, effects);
        self.plan_wake(node);
    }

    pub(crate) fn violate(&mut self, invariant: &'static str, what: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, what });
        }
    }

    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>9.3} s  {}", self.passed() as f64 / 1_000.0, what());
        }
    }

    /// Milliseconds since the simulation's start.
    pub(crate) fn passed(&self) -> u64 {
        self.now - (self.end - self.plan.hours * HOUR)
    }

    pub(crate) fn name(&self, node: usize) -> String {
        format!("{}#{node}", self.nodes[node].member)
    }

    /// The nodes that run, are nobody's enemies, and belong to members in good standing.
    pub(crate) fn honest(&self) -> Vec<usize> {
        let good = |node: &usize| {
            let node = &self.nodes[*node];
            !node.retired && node.is_up() && node.is_honest() && !self.units[node.unit].suspended
        };
        (0..self.nodes.len()).filter(good).collect()
    }

    pub(crate) fn unit_of(&self, member: &MemberCode) -> usize {
        self.units.iter().position(|unit| unit.code == *member).unwrap()
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Wake { node, run } => {
                if self.nodes[node].run == run && self.nodes[node].wake == Some(self.now) {
                    self.nodes[node].wake = None;
                    self.handle(node, Input::Woke);
                    invariants::on_woken(self, node);
                }
            }
            Event::Hand { node, run, input } => {
                if self.nodes[node].run == run {
                    self.handle(node, *input);
                }
            }
            Event::Synced { node, run } => {
                if self.nodes[node].run == run {
                    self.drain(node);
                }
            }
            Event::Arrives { link, from, to, what } => self.on_arrival(link, from, to, what),
            Event::Unanswered { from, to, run, ticket } => {
                if self.waiting.remove(&(from, to, ticket)) && self.nodes[from].run == run {
                    let from_key = self.nodes[to].key;
                    self.handle(from, Input::RepairAnswered { from: from_key, ticket, answer: None });
                }
            }
            Event::Lost { at, other, link } => self.on_lost(at, other, link),
            Event::Dial { a, b } => self.on_dial(a, b),
            Event::Start { node } => self.start(node),
            Event::Fault(fault) => self.on_fault(fault),
            Event::Deed(deed) => self.on_deed(deed),
            Event::Mischief { node } => hostile::act(self, node),
            Event::Look => {
                invariants::at_every_look(self);
                self.end_updates();
                self.agenda.plan(self.now + LOOK_EVERY, Event::Look);
            }
            Event::Calm => self.on_calm(),
            Event::Care => self.take_care(),
            Event::Settled => {
                invariants::once_faults_stopped(self);
                self.storm();
            }
        }
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].is_up() || self.nodes[node].retired {
            return;
        }
        if self.nodes[node].down_until > self.now {
            self.agenda.plan(self.nodes[node].down_until, Event::Start { node });
            return;
        }
        self.set_clock(node);
        let seed = self.draw.bytes();
        let (now, federation) = (self.nodes[node].clock.at(self.now), self.federation);
        let (effects, problems) = self.nodes[node].start(federation, now, seed, &mut self.memo);
        self.say(|| format!("{} starts, clock {} ms off", self.name(node), self.nodes[node].clock.0));
        self.counts.add("start");
        invariants::on_start(self, node, &problems);
        self.submit(node, effects);
        self.plan_wake(node);
        for other in 0..self.nodes.len() {
            let delay = self.draw.within(50..3_000);
            self.plan_dial(node, other, delay);
        }
    }

    fn plan_wake(&mut self, node: usize) {
        let Some(machine) = self.nodes[node].machine.as_ref() else { return };
        let Some((at, _)) = machine.next_wakeup() else { return };
        let at = self.nodes[node].clock.shows(at).max(self.now + 1);
        if self.nodes[node].wake.is_none_or(|planned| at < planned) {
            self.nodes[node].wake = Some(at);
            self.agenda.plan(at, Event::Wake { node, run: self.nodes[node].run });
        }
    }

    fn set_clock(&mut self, node: usize) {
        let (offset, kind) = faults::skew(&mut self.draw);
        self.nodes[node].clock = Clock(offset);
        if let Some(kind) = kind {
            self.counts.add(kind);
        }
    }

    /// Adds a member's first node, with a folder that holds the founding and its own key set alone.
    fn enlist(&mut self, unit: usize) {
        let founded = &self.founded.units[unit];
        let (code, signing) = (founded.code.clone(), founded.nodes[0].clone());
        let key_set = Arc::clone(&founded.key_set);
        let node = self.nodes.len();
        let disk = Disk::new(self.founding_rows(&[&key_set]));
        self.nodes.push(Node::new(code.clone(), unit, signing, disk));
        self.index.insert(self.nodes[node].key, node);
        let key_sets = vec![key_set];
        self.units.push(Unit { code, key_sets, nodes: vec![node], suspended: false, keys: 1 });
    }

    /// The rows of a new folder.
    pub(crate) fn founding_rows(&self, key_sets: &[&Arc<Verified<KeySet>>]) -> disk::Rows {
        let mut rows = disk::Rows::default();
        let founding = &self.founded.founding;
        let row = encode(founding.envelope().as_ref()).unwrap();
        rows.insert((Table::Charters, founding.id().as_bytes().to_vec()), row.into());
        for key_set in key_sets {
            let row = encode(key_set.envelope().as_ref()).unwrap();
            rows.insert((Table::KeySets, key_set.id().as_bytes().to_vec()), row.into());
        }
        rows
    }

    pub(crate) fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    pub(crate) fn answer(&mut self, token: AnswerToken, answer: RepairResponse) {
        let Some(ask) = self.asks.remove(&token) else {
            return self.violate(invariants::ONE_ANSWER, format!("{token:?} is answered twice"));
        };
        self.send_answer(ask, answer);
    }
}

/// Codes of members: two letters each.
fn codes(count: usize) -> Vec<String> {
    let letters: Vec<char> = ('A'..='Z').collect();
    let code = |at: usize| format!("{}{}", letters[at / 26], letters[at % 26]);
    (0..count).map(code).collect()
}

const HOUR: u64 = 3_600_000;

/// Milliseconds between two looks at the invariants that cost more.
const LOOK_EVERY: u64 = 120_000;
