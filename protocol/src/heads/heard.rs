//! The heads of others: the newest of each node, and what contradicts.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Head;
use crate::{
    ids::{HeadId, MemberCode, NodeKey, Sequence},
    limits::{HEADS_KEPT_PER_NODE, HEARD_NODES_MAX},
    time::Timestamp,
};

/// A head and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldHead {
    /// Its document id.
    pub id: HeadId,
    /// What it says.
    pub head: Head,
}

/// Two heads of one node that cannot both be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contradiction {
    /// In what.
    pub what: Contradicted,
    /// The run of the earlier one.
    pub run: Timestamp,
    /// The earlier one's number.
    pub number: Sequence,
    /// Their ids, sorted.
    pub heads: [HeadId; 2],
}

/// In what two heads of one node contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contradicted {
    /// They have one place in one run, or the later names another one before it than the earlier.
    Place,
    /// The journal has fewer entries in the later, or as many with another root: its past was rewritten, or its disk
    /// rolled back.
    Journal,
}

/// What came of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The newest of its node.
    New,
    /// It contradicts another one of its node, the first to do so.
    Contradicts,
    /// Held already, or older than what is held.
    Old,
}

/// The heads of all nodes.
#[derive(Clone, Debug, Default)]
pub struct Heard(BTreeMap<NodeKey, OfNode>);

/// What is held of one node.
#[derive(Clone, Debug)]
pub(super) struct OfNode {
    pub(super) member: MemberCode,
    /// Heads of one run by their numbers, the newest last; never empty.
    recent: VecDeque<HeldHead>,
    /// When the newest came, by this node's clock.
    pub(super) received: Timestamp,
    /// Since when its digest is what it is now, by this node's clock.
    pub(super) digest_since: Timestamp,
    pub(super) contradiction: Option<Contradiction>,
    /// Whether the newest is known to be of a time that has not come.
    is_ahead: bool,
}

impl OfNode {
    pub(super) fn newest(&self) -> Option<&HeldHead> {
        self.recent.back()
    }
}

impl Heard {
    /// Takes in a verified head of a node whose key counts.
    pub fn take(&mut self, now: Timestamp, held: HeldHead) -> Taken {
        let node = held.head.node;
        let is_full = self.0.len() >= HEARD_NODES_MAX;
        let Some(of) = self.0.get_mut(&node) else {
            if is_full {
                return Taken::Old;
            }
            let member = held.head.member.clone();
            let of = OfNode {
                member,
                recent: VecDeque::from([held]),
                received: now,
                digest_since: now,
                contradiction: None,
                is_ahead: false,
            };
            self.0.insert(node, of);
            return Taken::New;
        };
        of.take(now, held)
    }

    /// Forgets nodes whose keys do not count any more, and with them what they contradicted.
    pub fn retain(&mut self, counts: impl Fn(&MemberCode, &NodeKey) -> bool) {
        self.0.retain(|node, of| counts(&of.member, node));
    }

    /// Lets a head of another run follow a node's newest although that is of a later time, if it is of one after
    /// `latest`. Within one run the numbers say which is the later.
    pub fn date_back(&mut self, node: &NodeKey, run: Timestamp, latest: Timestamp) {
        if let Some(of) = self.0.get_mut(node) {
            of.is_ahead = of.newest().is_some_and(|it| it.head.run != run && it.head.time > latest);
        }
    }

    /// What is known of a node's contradicting itself.
    #[must_use]
    pub fn contradiction(&self, node: &NodeKey) -> Option<&Contradiction> {
        self.0.get(node)?.contradiction.as_ref()
    }

    /// A node's newest head.
    #[must_use]
    pub fn newest(&self, node: &NodeKey) -> Option<&HeldHead> {
        self.0.get(node)?.newest()
    }

    pub(super) fn of(&self, node: &NodeKey) -> Option<&OfNode> {
        self.0.get(node)
    }
}

impl OfNode {
    fn take(&mut self, now: Timestamp, held: HeldHead) -> Taken {
        let Some(newest) = self.recent.back() else { return Taken::Old };
        // Of two runs the later heads say which is the later: a clock that was set back before a start must not keep a
        // node unheard for the whole of its run.
        let is_other_run = held.head.run != newest.head.run;
        // Nothing follows from a time that has not come: neither which is the later nor that they contradict.
        let is_timeless = is_other_run && self.is_ahead;
        let is_earlier = is_other_run && !is_timeless && held.head.time <= newest.head.time;
        if is_earlier || self.recent.iter().any(|known| known.id == held.id) {
            return Taken::Old;
        }
        let mut known = self.recent.iter().filter(|_| !is_timeless);
        let contradiction = known.find_map(|known| contradiction(known, &held));
        if is_other_run {
            self.recent.clear();
            let taken = self.advance(now, held, None);
            // The new run counts all the same: its node goes on, and is named.
            let is_first = contradiction.is_some() && self.contradiction.is_none();
            self.contradiction = self.contradiction.take().or(contradiction);
            return if is_first { Taken::Contradicts } else { taken };
        }
        if let Some(contradiction) = contradiction {
            // One proof is enough: a node that contradicts itself more than once is no worse.
            if self.contradiction.is_some() {
                return Taken::Old;
            }
            self.contradiction = Some(contradiction);
            return Taken::Contradicts;
        }
        if held.head.number <= newest.head.number {
            return Taken::Old;
        }
        let before = newest.head.digest;
        self.advance(now, held, Some(before))
    }

    fn advance(&mut self, now: Timestamp, held: HeldHead, before: Option<crate::ids::ContentHash>) -> Taken {
        if before != Some(held.head.digest) {
            self.digest_since = now;
        }
        self.received = now;
        self.is_ahead = false;
        self.recent.push_back(held);
        while self.recent.len() > HEADS_KEPT_PER_NODE {
            self.recent.pop_front();
        }
        Taken::New
    }
}

/// Whether two heads of one node cannot both be true.
fn contradiction(a: &HeldHead, b: &HeldHead) -> Option<Contradiction> {
    let same_run = a.head.run == b.head.run;
    let is_ordered = if same_run { a.head.number <= b.head.number } else { a.head.time <= b.head.time };
    let (low, high) = if is_ordered { (a, b) } else { (b, a) };
    let same_place = same_run && low.head.number == high.head.number && low.id != high.id;
    let follows = same_run && low.head.number.next() == Some(high.head.number);
    let what = if same_place || follows && high.head.previous != Some(low.id) {
        Contradicted::Place
    } else if low.head.journal?.excludes(&high.head.journal?) {
        Contradicted::Journal
    } else {
        return None;
    };
    let mut heads = [low.id, high.id];
    heads.sort_unstable();
    Some(Contradiction { what, run: low.head.run, number: low.head.number, heads })
}
