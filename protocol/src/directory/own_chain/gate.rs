//! Whether this node may sign its own chains: who else has told it what it said before.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    directory::header::ChainKind,
    ids::{HeaderId, MemberCode, Sequence},
    limits::{RESUME_WAIT, WITNESSES},
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
        /// Members that have completed a repair with it.
        witnesses: BTreeSet<MemberCode>,
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
}

impl Gate {
    pub(super) fn new(history: History, now: Timestamp) -> Self {
        let state = match history {
            History::First => State::First,
            History::SignedBefore => State::Waiting,
        };
        let none = BTreeSet::new;
        Self { started: now, state, witnesses: none(), connected: none(), signed: BTreeSet::new() }
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

    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        match self.state {
            State::Open => true,
            State::Twin { .. } => false,
            State::First => self.witnesses.len() >= WITNESSES || self.all_connected(),
            State::Waiting => {
                let all_connected = self.all_connected();
                self.witnesses.len() >= WITNESSES || (now >= self.fewer_suffice_at() && all_connected)
            }
        }
    }

    /// When fewer witnesses suffice, if that is still to come.
    pub(super) fn wait_ends(&self, now: Timestamp) -> Option<Timestamp> {
        let at = self.fewer_suffice_at();
        (self.state == State::Waiting && now < at).then_some(at)
    }

    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        match self.state {
            State::Twin { header, issued } => Standing::Stopped(StopReason::Twin { header, issued }),
            _ if self.is_open(now) => Standing::Signing,
            State::Open | State::First | State::Waiting => Standing::Waiting {
                witnesses: self.witnesses.clone(),
                fewer_suffice_at: self.fewer_suffice_at(),
            },
        }
    }

    fn all_connected(&self) -> bool {
        !self.connected.is_empty() && self.connected.is_subset(&self.witnesses)
    }

    fn fewer_suffice_at(&self) -> Timestamp {
        match self.state {
            State::First => self.started,
            State::Open | State::Waiting | State::Twin { .. } => self.started.after(RESUME_WAIT),
        }
    }
}
