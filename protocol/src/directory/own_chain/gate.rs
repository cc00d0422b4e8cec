//! Whether this node may sign its own chains: who else has told it what it said before.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    directory::header::ChainKind,
    ids::{HeaderId, MemberCode, Sequence},
    limits::RESUME_WAIT,
    time::Timestamp,
};

/// Whether the node key has signed a chain header before this start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum History {
    /// Never, as far as its folder knows: a folder made anew for an old key, or copied before its first
    /// header, knows no better, so one member is asked all the same.
    First,
    /// It has, or it may have: somebody may hold headers that are not on this disk.
    SignedBefore,
}

/// Whether the node signs its own chains now, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Standing {
    /// It signs.
    Signing,
    /// It has signed before this start and waits until others have told it what.
    Waiting {
        /// Other members that have completed a repair with it.
        witnesses: BTreeSet<MemberCode>,
        /// How many are asked.
        needed: usize,
        /// From when all connected members suffice, if there is one.
        fewer_suffice_at: Timestamp,
    },
    /// No current key set lists the node key.
    NotListed,
    /// The clock is wrong: nothing is signed and nothing expires.
    ClockWrong {
        /// The members' clocks less this node's, in milliseconds.
        offset_ms: i64,
    },
    /// It has stopped until a person acts.
    Stopped(StopReason),
}

/// Why a node has stopped signing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum StopReason {
    /// Another machine signs with this node's key: it is told by a header issued after this start.
    Twin {
        /// The header.
        header: HeaderId,
        /// When it says that it was signed.
        issued: Timestamp,
    },
    /// Another machine answered or called with this node's key.
    TwinMet,
    /// The chain is forked: only the next key set ends that.
    Forked {
        /// Which chain.
        kind: ChainKind,
        /// Where.
        sequence: Sequence,
    },
    /// The chain is as long as it may be: the next key set begins a new one.
    Full {
        /// Which chain.
        kind: ChainKind,
    },
}

/// The gate before the node key.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    own: MemberCode,
    started: Timestamp,
    state: State,
    witnesses: BTreeSet<MemberCode>,
    connected: BTreeSet<MemberCode>,
    /// Headers ordered in this run.
    signed: BTreeSet<HeaderId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// For one witness, and all that are connected.
    First,
    Waiting,
    Twin {
        header: HeaderId,
        issued: Timestamp,
    },
    TwinMet,
}

impl Gate {
    pub(super) fn new(own: MemberCode, history: History, now: Timestamp) -> Self {
        let state = match history {
            History::First => State::First,
            History::SignedBefore => State::Waiting,
        };
        let none = BTreeSet::new;
        Self { own, started: now, state, witnesses: none(), connected: none(), signed: BTreeSet::new() }
    }

    pub(super) fn witness(&mut self, member: MemberCode) {
        self.witnesses.insert(member);
    }

    pub(super) fn connect(&mut self, member: MemberCode) {
        self.connected.insert(member);
    }

    pub(super) fn disconnect(&mut self, member: &MemberCode) {
        self.connected.remove(member);
    }

    /// Compares a header of this node's own chains with what was signed in this run.
    pub(super) fn compare(&mut self, header: HeaderId, issued: Timestamp) {
        let is_strange = !self.signed.contains(&header) && issued > self.started;
        // A header of an earlier run, which the folder did not know: what else it has forgotten others will say.
        if !self.signed.contains(&header) && self.state == State::First {
            self.state = State::Waiting;
        }
        if is_strange && !matches!(self.state, State::Twin { .. }) {
            self.state = State::Twin { header, issued };
        }
    }

    /// Another machine was met that holds this node's key: it stops before the two contradict each other.
    pub(super) fn meet_twin(&mut self) {
        if !matches!(self.state, State::Twin { .. }) {
            self.state = State::TwinMet;
        }
    }

    pub(super) fn resume(&mut self) {
        self.state = State::Open;
    }

    /// A header was ordered: what others knew before is known here, and the gate stays open.
    pub(super) fn signed(&mut self, header: HeaderId) {
        self.signed.insert(header);
        if matches!(self.state, State::First | State::Waiting) {
            self.state = State::Open;
        }
    }

    /// Whether headers may be signed, if so many other members are asked ([`crate::membership::Membership::witnesses_asked`]).
    pub(super) fn is_open(&self, now: Timestamp, asked: usize) -> bool {
        let enough = || self.told().take(asked.max(1)).count() >= asked.max(1);
        match self.state {
            State::Open => true,
            State::Twin { .. } | State::TwinMet => false,
            State::First => enough() || self.all_connected(),
            State::Waiting => enough() || (now >= self.fewer_suffice_at() && self.all_connected()),
        }
    }

    /// When fewer witnesses suffice, if that is still to come.
    pub(super) fn wait_ends(&self, now: Timestamp) -> Option<Timestamp> {
        let at = self.fewer_suffice_at();
        (self.state == State::Waiting && now < at).then_some(at)
    }

    pub(super) fn standing(&self, now: Timestamp, asked: usize) -> Standing {
        match self.state {
            State::Twin { header, issued } => Standing::Stopped(StopReason::Twin { header, issued }),
            State::TwinMet => Standing::Stopped(StopReason::TwinMet),
            _ if self.is_open(now, asked) => Standing::Signing,
            State::Open | State::First | State::Waiting => Standing::Waiting {
                witnesses: self.told().cloned().collect(),
                needed: asked.max(1),
                fewer_suffice_at: self.fewer_suffice_at(),
            },
        }
    }

    /// The other members that have told it what they know; another node of this member's is none.
    fn told(&self) -> impl Iterator<Item = &MemberCode> {
        self.witnesses.iter().filter(|member| **member != self.own)
    }

    fn all_connected(&self) -> bool {
        !self.connected.is_empty() && self.connected.is_subset(&self.witnesses)
    }

    fn fewer_suffice_at(&self) -> Timestamp {
        match self.state {
            State::First => self.started,
            State::Open | State::Waiting | State::Twin { .. } | State::TwinMet => {
                self.started.after(RESUME_WAIT)
            }
        }
    }
}
