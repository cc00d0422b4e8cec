//! When this node signs a head, and what stands in it.

use super::{Head, HeldHead};
use crate::{
    ids::{CharterId, ContentHash, MemberCode, NodeKey, Sequence},
    limits::{HEAD_INTERVAL, HEAD_REST_INTERVAL, HEAD_SETTLE, HEAD_TIPS_MAX},
    time::Timestamp,
};

/// This node's own heads of this run.
#[derive(Clone, Debug)]
pub struct OwnHeads {
    member: MemberCode,
    node: NodeKey,
    run: Timestamp,
    last: Option<HeldHead>,
    /// When it is next looked whether something changed.
    look_at: Timestamp,
    /// Whether a node has connected since the last head.
    met: bool,
    /// Whether one is being signed, which may wait for the disk: a second one would have the same place.
    signing: bool,
}

/// What a node holds, in the words of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The charter's tips, sorted.
    pub charter: Vec<CharterId>,
    /// The digest of everything.
    pub digest: ContentHash,
}

impl OwnHeads {
    /// Begins a run.
    #[must_use]
    pub fn new(member: MemberCode, node: NodeKey, now: Timestamp) -> Self {
        Self {
            member,
            node,
            run: now,
            last: None,
            look_at: now.after(HEAD_SETTLE),
            met: false,
            signing: false,
        }
    }

    /// When [`OwnHeads::due`] is to be asked.
    #[must_use]
    pub const fn look_at(&self) -> Timestamp {
        self.look_at
    }

    /// A node has connected: it may have missed the last head, and must not take this node for silent.
    pub const fn met(&mut self) {
        self.met = true;
    }

    /// The last head that was signed in this run.
    #[must_use]
    pub const fn last(&self) -> Option<&HeldHead> {
        self.last.as_ref()
    }

    /// The head to be signed now: one if since the last one what is held has changed, a node has connected or an hour
    /// has passed, none otherwise, or if it is not time to look, or until [`OwnHeads::signed`] tells of the last one. A
    /// node that may not sign (its clock is wrong, its key does not count) asks again at the next look.
    pub fn due(&mut self, now: Timestamp, may_sign: bool, said: &Said) -> Option<Head> {
        if now < self.look_at {
            return None;
        }
        self.look_at = now.after(HEAD_INTERVAL);
        let rests = self.last.as_ref().is_some_and(|HeldHead { head, .. }| {
            !self.met
                && head.digest == said.digest
                && tips(said) == head.charter
                && now.since(head.time) < HEAD_REST_INTERVAL
        });
        if rests || !may_sign || self.signing {
            return None;
        }
        let number = match &self.last {
            None => Sequence(0),
            // Past 2^53 heads of one run there are no more.
            Some(last) => last.head.number.next()?,
        };
        self.signing = true;
        Some(Head {
            member: self.member.clone(),
            node: self.node,
            run: self.run,
            number,
            previous: self.last.as_ref().map(|last| last.id),
            time: now,
            charter: tips(said),
            digest: said.digest,
            // Whoever signs it adds that: the journal is not the machine's.
            journal: None,
        })
    }

    /// A head of this run has been signed.
    pub fn signed(&mut self, head: HeldHead) {
        self.last = Some(head);
        self.met = false;
        self.signing = false;
    }
}

fn tips(said: &Said) -> Vec<CharterId> {
    said.charter.iter().copied().take(HEAD_TIPS_MAX).collect()
}
