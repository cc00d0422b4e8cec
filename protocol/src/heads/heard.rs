//! The heads of others: the newest of each node, and what contradicts.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

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

/// Two heads of one run of one node that cannot both be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contradiction {
    /// The run.
    pub run: Timestamp,
    /// The lower number of the two.
    pub number: Sequence,
    /// Their ids, sorted: of one number, or the second names another one before it than the first.
    pub heads: [HeadId; 2],
}

/// What came of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The newest of its node: passed on.
    New,
    /// It contradicts another one of its node: passed on, so that it is known everywhere.
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

    pub(super) fn of(&self, node: &NodeKey) -> Option<&OfNode> {
        self.0.get(node)
    }
}

impl OfNode {
    fn take(&mut self, now: Timestamp, held: HeldHead) -> Taken {
        let Some(newest) = self.recent.back() else { return Taken::Old };
        if held.head.run < newest.head.run || self.recent.iter().any(|known| known.id == held.id) {
            return Taken::Old;
        }
        if held.head.run > newest.head.run {
            self.recent.clear();
            return self.advance(now, held, None);
        }
        if let Some(contradiction) = self.recent.iter().find_map(|known| contradiction(known, &held)) {
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
        self.recent.push_back(held);
        while self.recent.len() > HEADS_KEPT_PER_NODE {
            self.recent.pop_front();
        }
        Taken::New
    }
}

/// Whether two heads of one run cannot both be true.
fn contradiction(a: &HeldHead, b: &HeldHead) -> Option<Contradiction> {
    let (low, high) = if a.head.number <= b.head.number { (a, b) } else { (b, a) };
    let same_place = low.head.number == high.head.number && low.id != high.id;
    let other_before = low.head.number.next() == Some(high.head.number) && high.head.previous != Some(low.id);
    (same_place || other_before).then(|| {
        let mut heads = [low.id, high.id];
        heads.sort_unstable();
        Contradiction { run: low.head.run, number: low.head.number, heads }
    })
}
