//! When to repair with whom, and the repairs under way: one a peer, started on connect and every minute.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng;

use super::{AskTicket, Carriage, Effect, Machine};
use crate::{
    evidence::{
        repair::{Documents, Fetch, Packed, RepairRequest, RepairResponse, Taken},
        repair_session::{Ending, RepairSession, Report, Step},
        responder::{self, Answer},
    },
    ids::{DocumentId, MemberCode, NodeKey},
    limits::{REPAIR_IDS_MAX, REPAIR_INTERVAL, REPAIR_STALLED},
    machine::AnswerToken,
    time::Timestamp,
};

/// The repairs under way.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    sessions: BTreeMap<NodeKey, Running>,
    /// When a peer has its first repair, or the next after one that was not answered.
    due: BTreeMap<NodeKey, Timestamp>,
    /// Repairs in a row that a connected peer did not answer.
    unanswered: BTreeMap<NodeKey, u32>,
    /// Single requests for ancestors, outside any repair.
    fetches: BTreeMap<AskTicket, NodeKey>,
    next_random: Timestamp,
    tickets: u64,
}

#[derive(Debug)]
struct Running {
    session: RepairSession,
    ticket: AskTicket,
    last_step: Timestamp,
}

impl Repairs {
    fn ticket(&mut self) -> AskTicket {
        self.tickets += 1;
        AskTicket(self.tickets)
    }

    /// When the next repair starts or is given up.
    pub(super) fn next_wakeup(&self) -> Timestamp {
        let stalled = self.sessions.values().map(|running| running.last_step.after(REPAIR_STALLED));
        stalled.chain(self.due.values().copied()).fold(self.next_random, Timestamp::min)
    }
}

impl Machine {
    /// Plans the repair that every new connection starts with: at once by the dialler, a little later by
    /// the other side, which then as a rule finds nothing left to do.
    pub(super) fn plan_repair(&mut self, now: Timestamp, node: NodeKey, dialled: bool) {
        let at = if dialled { now } else { now.after(LISTENER_DELAY) };
        self.repairs.due.insert(node, at);
    }

    /// Ends what is under way with a peer that is no longer connected.
    pub(super) fn forget_repair(&mut self, node: NodeKey) {
        self.end_repair(node);
        self.repairs.unanswered.remove(&node);
        self.repairs.fetches.retain(|_, asked| *asked != node);
    }

    fn end_repair(&mut self, node: NodeKey) {
        self.repairs.sessions.remove(&node);
        self.repairs.due.remove(&node);
    }

    /// Tries again soon, then less and less often: a spare connection that closes takes the requests on it
    /// along, and the wait for [`REPAIR_INTERVAL`] and the right draw is too long for a node that has just
    /// started. Each peer costs one small request at a time, whatever it does.
    fn repair_again(&mut self, now: Timestamp, node: NodeKey) {
        self.end_repair(node);
        if self.connected.contains_key(&node) {
            let unanswered = self.repairs.unanswered.entry(node).or_default();
            let delay = LISTENER_DELAY.saturating_mul(1 << (*unanswered).min(RETRY_DOUBLINGS_MAX));
            *unanswered = unanswered.saturating_add(1);
            self.repairs.due.insert(node, now.after(delay));
        }
    }

    /// Asks a node for ancestors of what it brought. When too many such requests wait, the next repair
    /// brings them.
    pub(super) fn fetch(
        &mut self,
        now: Timestamp,
        from: NodeKey,
        missing: &BTreeSet<DocumentId>,
        effects: &mut Vec<Effect>,
    ) {
        if self.repairs.fetches.len() >= FETCHES_MAX
            || !self.connected.contains_key(&from)
            || self.intake_ready_at(now, from) > now
        {
            return;
        }
        let documents = missing.iter().copied().take(REPAIR_IDS_MAX).collect();
        let ticket = self.repairs.ticket();
        self.repairs.fetches.insert(ticket, from);
        let request = RepairRequest::Fetch(Fetch { documents, ..Fetch::default() });
        effects.push(Effect::Ask { to: from, ticket, request });
    }

    /// Starts what is due and gives up what stalls.
    pub(super) fn drive_repairs(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let stalled = self.repairs.sessions.iter();
        let stalled = stalled.filter(|(_, running)| running.last_step.after(REPAIR_STALLED) <= now);
        let stalled: Vec<NodeKey> = stalled.map(|(node, _)| *node).collect();
        for node in stalled {
            self.repair_again(now, node);
        }
        let due: Vec<NodeKey> =
            self.repairs.due.iter().filter(|(_, at)| **at <= now).map(|(node, _)| *node).collect();
        for node in due {
            self.repairs.due.remove(&node);
            self.start_repair(now, node, effects);
        }
        if self.repairs.next_random <= now {
            self.repairs.next_random = now.after(REPAIR_INTERVAL);
            if let Some(node) = self.random_peer() {
                self.start_repair(now, node, effects);
            }
        }
    }

    /// Starts a repair with a connected node, unless one is under way.
    pub(super) fn start_repair(&mut self, now: Timestamp, node: NodeKey, effects: &mut Vec<Effect>) {
        if self.repairs.sessions.contains_key(&node) || !self.connected.contains_key(&node) {
            return;
        }
        // It brought so much that the next repair waits; others bring the rest meanwhile.
        let ready = self.intake_ready_at(now, node);
        if ready > now {
            self.repairs.due.insert(node, ready);
            return;
        }
        let digest = match self.evidence.digest(now) {
            Ok(digest) => digest,
            Err(error) => return self.bug(format!("the digest: {error}")),
        };
        let (session, request) = RepairSession::start(node, self.evidence.federation(), digest);
        let ticket = self.repairs.ticket();
        self.repairs.sessions.insert(node, Running { session, ticket, last_step: now });
        effects.push(Effect::Ask { to: node, ticket, request });
    }

    pub(super) fn on_repair_answered(
        &mut self,
        now: Timestamp,
        from: NodeKey,
        ticket: AskTicket,
        answer: Option<RepairResponse>,
        effects: &mut Vec<Effect>,
    ) {
        if self.repairs.fetches.remove(&ticket).is_some() {
            if let Some(RepairResponse::Documents(documents)) = answer {
                effects.push(self.verify(now, from, documents, Carriage::Answer(ticket)));
            }
            return;
        }
        let Some(running) = self.repairs.sessions.get_mut(&from).filter(|running| running.ticket == ticket)
        else {
            return;
        };
        running.last_step = now;
        match answer {
            None => self.repair_again(now, from),
            Some(response) => {
                let step = running.session.handle(response, &self.evidence);
                self.carry_step(now, from, step, effects);
            }
        }
    }

    /// Goes on with a repair whose documents have been taken in.
    pub(super) fn on_repair_taken_in(
        &mut self,
        now: Timestamp,
        from: NodeKey,
        ticket: AskTicket,
        effects: &mut Vec<Effect>,
    ) {
        let Some(running) = self.repairs.sessions.get_mut(&from).filter(|running| running.ticket == ticket)
        else {
            return;
        };
        running.last_step = now;
        let step = running.session.next(&self.evidence);
        self.carry_step(now, from, step, effects);
    }

    pub(super) fn on_repair_given(&mut self, from: NodeKey, ticket: AskTicket, packed: &Packed) {
        if let Some(running) = self.repairs.sessions.get_mut(&from).filter(|running| running.ticket == ticket)
        {
            running.session.given(packed);
        }
    }

    pub(super) fn on_repair_requested(
        &mut self,
        now: Timestamp,
        from: NodeKey,
        token: AnswerToken,
        request: RepairRequest,
        effects: &mut Vec<Effect>,
    ) {
        if let (RepairRequest::Digest(digest), Some(connection)) = (&request, self.connected.get(&from)) {
            let member = connection.member.clone();
            self.observe_clock(now, &member, digest.time, effects);
        }
        let effect = match responder::answer(&self.evidence, request, now) {
            Ok(Answer::Ready(answer)) => Effect::Answer { token, answer },
            Ok(Answer::Load { documents, bodies }) => Effect::Serve { to: from, token, documents, bodies },
            Ok(Answer::TakeIn(_)) if self.intake_ready_at(now, from) > now => {
                Effect::Answer { token, answer: RepairResponse::Busy(Taken {}) }
            }
            Ok(Answer::TakeIn(documents)) => self.verify(now, from, documents, Carriage::Give(token)),
            Err(error) => {
                self.bug(format!("an answer: {error}"));
                Effect::Answer { token, answer: RepairResponse::Busy(Taken {}) }
            }
        };
        effects.push(effect);
    }

    fn carry_step(&mut self, now: Timestamp, peer: NodeKey, step: Step, effects: &mut Vec<Effect>) {
        let ticket = self.repairs.ticket();
        if let Some(running) = self.repairs.sessions.get_mut(&peer) {
            running.ticket = ticket;
        }
        match step {
            Step::Ask(request) => effects.push(Effect::Ask { to: peer, ticket, request }),
            Step::TakeIn(documents) => {
                effects.push(self.verify(now, peer, documents, Carriage::Answer(ticket)));
            }
            Step::Give(give) => effects.push(Effect::Give {
                to: peer,
                ticket,
                documents: give.documents,
                bodies: give.bodies,
            }),
            Step::Done(report) => self.on_repair_done(now, &report, effects),
        }
    }

    fn on_repair_done(&mut self, now: Timestamp, report: &Report, effects: &mut Vec<Effect>) {
        if report.ending == Ending::Busy {
            self.repair_again(now, report.peer);
        } else {
            self.end_repair(report.peer);
            self.repairs.unanswered.remove(&report.peer);
        }
        self.newer += report.newer;
        let Some(member) = self.connected.get(&report.peer).map(|connection| connection.member.clone())
        else {
            return;
        };
        if let Some(time) = report.peer_time {
            self.observe_clock(now, &member, time, effects);
        }
        match report.ending {
            Ending::Complete => self.on_repaired_with(now, &member, effects),
            Ending::Bounded => self.plan_repair(now, report.peer, false),
            Ending::Busy => {}
            Ending::Misanswered => {
                self.fault(now, Some(report.peer), "RE-01", "another answer than was asked for", effects);
            }
        }
    }

    /// When a node may bring a whole frame of documents. This member's other nodes may at any time.
    fn intake_ready_at(&self, now: Timestamp, node: NodeKey) -> Timestamp {
        let member = self.connected.get(&node).map(|connection| &connection.member);
        let member = member.filter(|member| **member != self.config.member);
        member.map_or(now, |member| self.intake.ready_at(member, now))
    }

    /// Has documents verified that a node brought, and counts them against its member's allowance.
    fn verify(&mut self, now: Timestamp, from: NodeKey, documents: Documents, carriage: Carriage) -> Effect {
        if let Some(connection) = self.connected.get(&from) {
            self.intake.count(&connection.member, documents.size(), now);
        }
        let Documents { envelopes, bodies } = documents;
        let bodies = bodies.into_iter().map(serde_bytes::ByteBuf::into_vec).collect();
        Effect::Verify { from, envelopes, bodies, carriage }
    }

    fn random_peer(&mut self) -> Option<NodeKey> {
        let count = u64::try_from(self.connected.len()).ok().filter(|count| *count > 0)?;
        let index = usize::try_from(self.rng.next_u64() % count).ok()?;
        self.connected.keys().nth(index).copied()
    }

    /// The members with which a repair is under way now: for tests and `status`.
    #[must_use]
    pub fn repairing(&self) -> Vec<MemberCode> {
        let members = self.repairs.sessions.keys().filter_map(|node| self.connected.get(node));
        members.map(|connection| connection.member.clone()).collect()
    }
}

/// Requests for ancestors under way: each is one small frame, and repair brings what is left out.
const FETCHES_MAX: usize = 64;

/// Doublings of [`LISTENER_DELAY`] between repairs that are not answered: 48 s, as good as the random one.
const RETRY_DOUBLINGS_MAX: u32 = 6;

/// How long the side that was dialled waits with its own repair: the dialler's is over by then as a rule.
const LISTENER_DELAY: std::time::Duration = std::time::Duration::from_millis(750);
