//! Heads in the machine: what this node signs of what it holds, and what others' heads say.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand_core::Rng;

use super::{Effect, Event, Input, Machine, PushToken, Verdict};
use crate::{
    audit::witness::HeardJournal,
    directory::own_chain::Standing as ChainStanding,
    document::{Envelope, Verified, VerifyError},
    heads::{Contradiction, Head, HeadsView, HeldHead, Said, Taken, judge, verify_head},
    ids::{ContentHash, HeadId, MemberCode, NodeKey},
    limits::{HALVES_TOLD_AFTER, HEAD_AHEAD_MAX, HEAD_PASSED_BY_ALL_MAX},
    membership::NodeStanding,
    peers::PushKey,
    time::Timestamp,
};

/// Two heads of a node that contradict each other, and when they are told to all.
pub(super) struct Halves {
    pub(super) at: Timestamp,
    heads: [Arc<Verified<Head>>; 2],
    /// Those that others told first.
    passed: BTreeSet<HeadId>,
}

impl Machine {
    /// What the heads say: who holds the same, who is behind, who is silent, who contradicts himself.
    pub fn heads(&self, now: Timestamp) -> Option<HeadsView> {
        let (digest, since) = self.history.newest()?;
        let listings = self.evidence.listings().iter();
        let own = self.config.node;
        Some(HeadsView {
            digest,
            since,
            own: self.own_heads.last().cloned(),
            nodes: judge(&self.heard, &self.history, listings, own, (self.started, now)),
        })
    }

    /// How far a node's journals had come, by its heads: what a witness of them goes by that never cosigned any.
    #[must_use]
    pub fn heard_journal(&self, now: Timestamp, node: &NodeKey) -> Option<&HeardJournal> {
        self.heard_journals.of(now, node)
    }

    /// Notes what is held now.
    pub(super) fn note_digest(&mut self, now: Timestamp) -> Option<ContentHash> {
        match self.evidence.digest_root() {
            Ok(digest) => {
                self.history.note(now, digest);
                Some(digest)
            }
            Err(error) => {
                self.bug(format!("the digest: {error}"));
                None
            }
        }
    }

    /// Has a head signed, if one is due.
    pub(super) fn drive_heads(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if now < self.own_heads.look_at() {
            return;
        }
        let Some(digest) = self.note_digest(now) else { return };
        let membership = self.evidence.membership();
        let said = Said { charter: membership.tips().to_vec(), digest };
        // A head is no part of a chain: a node that waits for others before it signs those may say what it holds.
        let may_sign = match self.standing(now) {
            ChainStanding::Signing | ChainStanding::Waiting { .. } => true,
            ChainStanding::NotListed | ChainStanding::ClockWrong { .. } | ChainStanding::Stopped(_) => false,
        };
        if let Some(head) = self.own_heads.due(now, may_sign, &said) {
            effects.push(Effect::SignHead(head));
        }
    }

    /// A head of this node was signed: it is told to all.
    pub(super) fn on_head_signed(&mut self, now: Timestamp, envelope: Envelope, effects: &mut Vec<Effect>) {
        match verify_head(envelope, self.evidence.federation()) {
            Ok(head) => {
                let document = Arc::clone(head.envelope());
                self.own_heads.signed(HeldHead { id: head.id().into(), head: head.payload().clone() });
                effects.push(Effect::Push { document, body: None });
                self.newest_heads.keep(Arc::new(head));
                self.settle(now, effects);
            }
            Err(error) => self.bug(format!("a head of this node's own: {error}")),
        }
    }

    /// A head came by gossip.
    pub(super) fn on_head(
        &mut self,
        now: Timestamp,
        from: NodeKey,
        token: PushToken,
        head: Result<Verified<Head>, VerifyError>,
        effects: &mut Vec<Effect>,
    ) {
        let (verdict, is_news) = match head {
            Err(VerifyError::Newer { .. }) => {
                self.newer += 1;
                (Verdict::Ignore, false)
            }
            Err(error) => {
                self.fault(now, Some(from), error.rule(), &error.to_string(), effects);
                (Verdict::Reject, false)
            }
            Ok(head) => {
                let head = Arc::new(head);
                match self.take_head(now, &head, effects) {
                    Some(Taken::New) if !self.passes_on(&head) => (Verdict::Ignore, true),
                    // A contradiction is passed on by all, so that it is known everywhere.
                    Some(Taken::New | Taken::Contradicts) => (Verdict::Accept, true),
                    Some(Taken::Old) if self.is_half(&head) => (Verdict::Accept, false),
                    Some(Taken::Old) | None => (Verdict::Ignore, false),
                }
            }
        };
        effects.push(Effect::Judge { token, verdict });
        if is_news {
            self.settle(now, effects);
        }
    }

    /// Whether this node passes on a head that was news to it.
    ///
    /// A signer tells its head to all whom it is connected with. One whom others can dial reaches nearly everybody so, and
    /// half of those who hear it, by lot, bring it to the rest (Haas, Halpern and Li, *Gossip-based ad hoc routing*,
    /// INFOCOM 2002). One whom nobody can dial, and a node that few are connected with, need everybody. The lot is this
    /// node's secret: a signer who knew it could show another head to those alone who keep it to themselves.
    fn passes_on(&mut self, head: &Verified<Head>) -> bool {
        let Head { member, node, .. } = head.payload();
        let listing = self.evidence.listing(member, *node);
        let record = listing.and_then(|listing| self.evidence.directory().record(listing));
        let is_dialable = record.is_some_and(|record| !record.addresses.is_empty());
        !is_dialable
            || self.connected.len() <= HEAD_PASSED_BY_ALL_MAX
            || self.rng.next_u32().is_multiple_of(2)
    }

    /// Tells both halves of contradictions, those that are due: whoever heard one of them alone hears the other.
    pub(super) fn tell_halves(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let due: Vec<NodeKey> =
            self.halves.iter().filter(|(_, halves)| halves.at <= now).map(|(node, _)| *node).collect();
        for node in due {
            for half in self.halves.remove(&node).into_iter().flat_map(|halves| halves.heads) {
                effects.push(Effect::Push { document: Arc::clone(half.envelope()), body: None });
            }
        }
    }

    /// Two heads of a node contradict each other: both are told to all, once gossip has forgotten that it saw them, and
    /// not by all who found it at the same moment.
    fn plan_halves(&mut self, now: Timestamp, node: NodeKey, ids: [HeadId; 2], late: &Arc<Verified<Head>>) {
        let find = |id: HeadId| {
            let is_late = HeadId::from(late.id()) == id;
            if is_late { Some(late) } else { self.newest_heads.find(&node, id) }.map(Arc::clone)
        };
        let [Some(one), Some(other)] = ids.map(find) else { return };
        let jitter = Duration::from_millis(u64::from(self.rng.next_u32()) % HALVES_JITTER_MILLIS);
        let (at, passed) = (now.after(HALVES_TOLD_AFTER + jitter), BTreeSet::new());
        self.halves.insert(node, Halves { at, heads: [one, other], passed });
    }

    /// Whether this is one of two that this node is about to tell: another told it first, and it goes on from here too,
    /// once.
    fn is_half(&mut self, head: &Verified<Head>) -> bool {
        let Some(halves) = self.halves.get_mut(&head.payload().node) else { return false };
        halves.heads.iter().any(|half| half.id() == head.id()) && halves.passed.insert(head.id().into())
    }

    /// Takes a head in; `None` of one that does not count, or of more than its node may push.
    fn take_head(
        &mut self,
        now: Timestamp,
        head: &Arc<Verified<Head>>,
        effects: &mut Vec<Effect>,
    ) -> Option<Taken> {
        let payload = head.payload();
        let membership = self.evidence.membership();
        let counts = membership.node_of(&payload.member, &payload.node).is_some_and(NodeStanding::is_active);
        // Whether a key counts may be news that has not come here yet: that is nobody's fault.
        if !counts || payload.node == self.config.node {
            return None;
        }
        let latest = now.after(HEAD_AHEAD_MAX);
        let is_confirmed = self.is_clock_confirmed(now);
        // It would keep its node unheard until that time has come, long after the clock was set right.
        if is_confirmed && payload.time > latest {
            return None;
        }
        if is_confirmed {
            // Taken when this node's own clock was not known to be right.
            self.heard.date_back(&payload.node, payload.run, latest);
        }
        self.heard_journals.hear(now, head);
        let held = HeldHead { id: head.id().into(), head: payload.clone() };
        let taken = self.heard.take(now, held);
        if taken != Taken::Old {
            self.note_digest(now);
        }
        match taken {
            Taken::New => {
                self.newest_heads.keep(Arc::clone(head));
                // An old one costs its node nothing: anybody can hand it on again, in ever other envelopes.
                if !self.pushes.allow_key(PushKey::Head(*payload.node.as_bytes()), now) {
                    return None;
                }
            }
            Taken::Contradicts => {
                let (member, node) = (payload.member.clone(), payload.node);
                if let Some(Contradiction { what, heads, .. }) = self.heard.contradiction(&node).cloned() {
                    self.plan_halves(now, node, heads, head);
                    self.emit(now, Event::HeadsContradict { member, node, what, heads }, effects);
                }
                if self.heard.newest(&node).is_some_and(|newest| newest.id == head.id().into()) {
                    self.newest_heads.keep(Arc::clone(head));
                }
            }
            Taken::Old => {}
        }
        Some(taken)
    }

    /// Keys or members have changed: what is held of those that do not count any more is let go.
    pub(super) fn follow_heads(&mut self) {
        let membership = self.evidence.membership();
        let is_active = |member: &MemberCode, node: &NodeKey| {
            membership.node_of(member, node).is_some_and(NodeStanding::is_active)
        };
        self.heard.retain(is_active);
        self.heard_journals.retain(is_active);
        self.halves.retain(|node, halves| is_active(&halves.heads[0].payload().member, node));
        self.newest_heads
            .retain(|head| membership.node_of(&head.member, &head.node).is_some_and(NodeStanding::is_active));
    }
}

impl Input {
    /// A head that came by gossip, after its verification.
    #[must_use]
    pub fn head(from: NodeKey, token: PushToken, head: Result<Verified<Head>, VerifyError>) -> Self {
        Self::HeadPushed { from, token, head: Box::new(head) }
    }
}

/// Milliseconds over which those who found a contradiction spread their telling of it.
const HALVES_JITTER_MILLIS: u64 = 30_000;
