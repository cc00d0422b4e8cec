//! The whole node's decisions behind one door: `handle(now, input) -> effects`.
//!
//! The machine takes what is already verified, decides in microseconds, and never waits. It only routes and
//! composes; the rules are its parts'. Effects are an ordered list: everything that a batch persists as
//! durable is on the device before the batch's first send, push, answer, event or reply is carried out,
//! and batches are carried out in the order in which they were returned. Only [`Effect::Work`] and
//! [`Effect::Verify`] may start at once: their results come back through the door.

mod book;
mod commands;
mod documents;
mod effect;
mod event;
mod heads;
mod own;
mod relaying;
mod repairs;
mod restore;
mod settling;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use rand_chacha::ChaCha12Rng;

pub use self::{
    commands::{Command, CommandRefused, Reply},
    effect::{AnswerToken, AskTicket, Batch, Carriage, Effect, Ended, Input, PushToken, Target, Verdict},
    event::{Event, JournalNews, NumberedEvent, OperatorAction},
    own::{sealing_seed_from_row, sealing_seed_row, signed_before_mark},
    restore::{Restored, Stored},
};
use self::{heads::Halves, repairs::Repairs, settling::NewestHeads};
use crate::{
    audit::witness::HeardJournals,
    directory::{
        clock::ClockWitnesses,
        own_chain::{OwnChains, OwnInput},
    },
    document::Envelope,
    evidence::{AnyDocument, Bearer, Evidence},
    heads::{Heard, History, OwnHeads},
    ids::{FederationId, MemberCode, NodeKey},
    introduction::Presence,
    limits::{EVENTS_KEPT, WIRE_VERSION},
    membership::NodeStanding,
    peers::{Consequence, Faults, Intake, PushLimits},
    relay::{
        Relay,
        exchange::{RelayEffect, RelayInput},
    },
    storage::{Change, Grade, Table},
    time::Timestamp,
};

/// What a machine must know of the node that it decides for.
#[derive(Clone, Debug)]
pub struct Config {
    /// The federation.
    pub federation: FederationId,
    /// The member.
    pub member: MemberCode,
    /// The node key.
    pub node: NodeKey,
    /// Addresses as the operator configured them, `host:port` each.
    pub addresses: Vec<String>,
    /// The program and its version, for people.
    pub software: String,
    /// How many nodes are connected at most.
    pub connections_max: usize,
}

/// The machine.
pub struct Machine {
    config: Config,
    started: Timestamp,
    evidence: Evidence,
    relay: Relay,
    own: OwnChains,
    clocks: ClockWitnesses,
    clock_was_wrong: bool,
    own_heads: OwnHeads,
    heard: Heard,
    heard_journals: HeardJournals,
    newest_heads: NewestHeads,
    /// Heads that contradict each other, by their node: to be told to all.
    halves: BTreeMap<NodeKey, Halves>,
    history: History,
    pushes: PushLimits,
    intake: Intake,
    faults: Faults,
    repairs: Repairs,
    connected: BTreeMap<NodeKey, Connection>,
    next_event: u64,
    /// Documents of kinds and versions newer than this node, seen since the start.
    newer: u64,
    twin_told: bool,
    /// The newest header of this node's own record, with its body.
    record: Option<(Envelope, Vec<u8>)>,
    rng: ChaCha12Rng,
    bugs: u64,
    /// What rests on writes that may be refused, of the input at hand.
    refusable: Vec<RelayEffect>,
}

/// A node that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its member.
    pub member: MemberCode,
    /// Since when.
    pub since: Timestamp,
}

impl Machine {
    /// Decides what follows from an input at `now`.
    ///
    /// What a refused write takes with it comes last: from the first [`Effect::Persist`] with a ticket on, everything
    /// is done or nothing; what comes before does not rest on it.
    #[must_use]
    pub fn handle(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Connected { node, member, remote_time, dialled } => {
                self.on_connected(now, node, member, remote_time, dialled, &mut effects);
            }
            Input::Disconnected { node } => self.on_disconnected(now, node, &mut effects),
            Input::Documents(batch) => self.on_documents(now, batch, &mut effects),
            Input::Fault { from, rule, what, push } => {
                self.fault(now, Some(from), rule, &what, &mut effects);
                if let Some(token) = push {
                    effects.push(Effect::Judge { token, verdict: Verdict::Reject });
                }
            }
            Input::RepairRequested { from, token, request } => {
                self.on_repair_requested(now, from, token, request, &mut effects);
            }
            Input::RepairAnswered { from, ticket, answer } => {
                self.on_repair_answered(now, from, ticket, answer, &mut effects);
            }
            Input::RepairGiven { from, ticket, packed } => self.on_repair_given(from, ticket, &packed),
            Input::TwinMet => {
                self.tell_own(now, OwnInput::TwinMet, &mut effects);
                self.watch_for_twin(now, &mut effects);
            }
            Input::Relay(input) => self.relay(now, input, &mut effects),
            Input::SealingKeyMade(entry) => self.on_sealing_key_made(now, entry, &mut effects),
            Input::HeaderSigned { kind, envelope, body } => {
                self.on_header_signed(now, kind, envelope, body, &mut effects);
            }
            Input::HeadPushed { from, token, head } => self.on_head(now, from, token, *head, &mut effects),
            Input::HeadSigned { envelope } => self.on_head_signed(now, envelope, &mut effects),
            Input::Operated(action) => self.emit(now, Event::Operated(action), &mut effects),
            Input::Journal(news) => self.emit(now, Event::Journal(news), &mut effects),
            Input::Command { id, command } => self.on_command(now, id, command, &mut effects),
            Input::Woke => self.on_woke(now, &mut effects),
        }
        for effect in std::mem::take(&mut self.refusable) {
            self.carry_relay_effect(now, effect, &mut effects);
        }
        effects
    }

    /// When the machine wants to be woken next, and for what.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<(Timestamp, &'static str)> {
        let relay = self.relay.next_wakeup().map(|(at, _)| (at, "relay"));
        let own = self.own.planned().map(|(at, _)| (at, "own records"));
        let repair = Some((self.repairs.next_wakeup(), "repair"));
        let head = Some((self.own_heads.look_at(), "head"));
        let halves = self.halves.values().map(|halves| halves.at).min().map(|at| (at, "contradicting heads"));
        [relay, own, repair, head, halves].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// What this node is.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Everything that this node holds of the directory.
    #[must_use]
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// The messages.
    #[must_use]
    pub const fn messages(&self) -> &Relay {
        &self.relay
    }

    /// This node's own records.
    #[must_use]
    pub const fn own(&self) -> &OwnChains {
        &self.own
    }

    /// Whether others' clocks say that this node's is right: as many as are asked, and somebody.
    #[must_use]
    pub fn is_clock_confirmed(&self, now: Timestamp) -> bool {
        let asked = self.evidence.membership().witnesses_asked(&self.config.member);
        asked > 0 && self.clocks.confirm(now, asked)
    }

    /// What the members' clocks say of this node's.
    #[must_use]
    pub const fn clocks(&self) -> &ClockWitnesses {
        &self.clocks
    }

    /// The connected nodes.
    #[must_use]
    pub const fn connected(&self) -> &BTreeMap<NodeKey, Connection> {
        &self.connected
    }

    /// What peers did that they should not have done.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Documents of kinds and versions newer than this node, seen since the start.
    #[must_use]
    pub const fn newer(&self) -> u64 {
        self.newer
    }

    /// Broken invariants of our own since the start: zero, or something to report.
    #[must_use]
    pub const fn bugs(&self) -> u64 {
        self.bugs
    }

    /// What callers are judged by.
    #[must_use]
    pub fn presence(&self) -> Arc<Presence> {
        Arc::new(Presence {
            trust: self.evidence.trust().clone(),
            node: self.config.node,
            member: self.config.member.clone(),
            wire: vec![WIRE_VERSION],
            record: self.published_record(),
            full: self.connected.len() >= self.config.connections_max,
        })
    }

    fn on_connected(
        &mut self,
        now: Timestamp,
        node: NodeKey,
        member: MemberCode,
        remote_time: Timestamp,
        dialled: bool,
        effects: &mut Vec<Effect>,
    ) {
        let membership = self.evidence.membership();
        let standing = membership.node_of(&member, &node);
        let ended = (!standing.is_some_and(NodeStanding::is_active))
            .then(|| standing.map(|standing| standing.ended_by.clone()).unwrap_or_default());
        let was_full = self.is_full();
        if let Entry::Vacant(place) = self.connected.entry(node) {
            place.insert(Connection { member: member.clone(), since: now });
            self.emit(now, Event::PeerConnected { member: member.clone(), node }, effects);
        }
        // Of one that was never missed, too: it may have started anew meanwhile.
        self.own_heads.met();
        self.observe_clock(now, &member, remote_time, effects);
        self.tell_own(now, OwnInput::Connected(member.clone()), effects);
        self.plan_repair(now, node, dialled);
        self.drive_repairs(now, effects);
        self.relay(now, RelayInput::Connected { node, member }, effects);
        // The key may have ended between the introduction and now.
        if let Some(proof) = ended {
            effects.push(Effect::Disconnect { node, why: Ended::Key { proof } });
        }
        if was_full != self.is_full() {
            self.present(effects);
        }
    }

    fn on_disconnected(&mut self, now: Timestamp, node: NodeKey, effects: &mut Vec<Effect>) {
        let was_full = self.is_full();
        self.forget_repair(node);
        self.evidence.forget_bearer(&Bearer::Peer(node));
        if let Some(Connection { member, .. }) = self.connected.remove(&node) {
            if !self.connected.values().any(|other| other.member == member) {
                self.tell_own(now, OwnInput::Disconnected(member.clone()), effects);
            }
            self.emit(now, Event::PeerDisconnected { member, node }, effects);
        }
        self.relay(now, RelayInput::Disconnected { node }, effects);
        if was_full != self.is_full() {
            self.present(effects);
        }
    }

    fn on_woke(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.drive_repairs(now, effects);
        if self.own.planned().is_some_and(|(at, _)| at <= now) {
            self.drive_own(now, effects);
        }
        self.drive_heads(now, effects);
        self.tell_halves(now, effects);
        self.relay(now, RelayInput::Woke, effects);
    }

    fn is_full(&self) -> bool {
        self.connected.len() >= self.config.connections_max
    }

    fn present(&self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Present(self.presence()));
    }

    /// Names every node to be connected with, once: the active ones of active members, and this member's
    /// others. Of several members that list a node, it is the one's for which the node itself speaks.
    fn aim(&self, effects: &mut Vec<Effect>) {
        let membership = self.evidence.membership();
        let directory = self.evidence.directory();
        let mut targets: BTreeMap<NodeKey, (bool, Target)> = BTreeMap::new();
        for listing in self.evidence.listings().iter().filter(|listing| listing.node != self.config.node) {
            let Some(member) = membership.member(&listing.member).filter(|member| member.is_active()) else {
                continue;
            };
            let record = directory.record(listing);
            let target = Target {
                node: listing.node,
                member: listing.member.clone(),
                group: member.group,
                addresses: record.map(|record| record.addresses.clone()).unwrap_or_default(),
            };
            let known = targets.get(&listing.node);
            if known.is_none_or(|(speaks, _)| !speaks && record.is_some()) {
                targets.insert(listing.node, (record.is_some(), target));
            }
        }
        effects.push(Effect::Aim(targets.into_values().map(|(_, target)| target).collect()));
    }

    fn observe_clock(
        &mut self,
        now: Timestamp,
        member: &MemberCode,
        told: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        if *member == self.config.member {
            return;
        }
        self.clocks.hear(member.clone(), told, now);
        let asked = self.evidence.membership().witnesses_asked(&self.config.member);
        let Some(offset_millis) = self.clocks.median_offset(now, asked) else { return };
        let wrong = self.clocks.is_wrong(now, asked);
        if wrong != self.clock_was_wrong {
            self.clock_was_wrong = wrong;
            self.emit(now, Event::ClockJudged { right: !wrong, offset_millis }, effects);
            self.drive_own(now, effects);
        }
    }

    /// The newest header of this node's own record with its body, for the introduction: whoever meets this
    /// node learns at once how to seal to it.
    fn published_record(&self) -> Option<(Envelope, Vec<u8>)> {
        self.record.clone()
    }

    /// Numbers an event, keeps it for those who resume, and tells it.
    fn emit(&mut self, now: Timestamp, event: Event, effects: &mut Vec<Effect>) {
        self.next_event += 1;
        let event = NumberedEvent { number: self.next_event, at: now, event };
        let key = |number: u64| number.to_be_bytes().to_vec();
        match event.to_row() {
            Ok(row) => {
                let mut changes =
                    vec![Change { table: Table::Events, key: key(event.number), value: Some(row) }];
                if let Some(old) = event.number.checked_sub(EVENTS_KEPT) {
                    changes.push(Change { table: Table::Events, key: key(old), value: None });
                }
                effects.push(Effect::Persist { grade: Grade::Cached, changes, ticket: None });
            }
            Err(error) => self.bug(format!("an event: {error}")),
        }
        effects.push(Effect::Emit(event));
    }

    fn may_push(&mut self, now: Timestamp, document: &AnyDocument, from: Option<NodeKey>) -> bool {
        self.pushes.allow(document, from, self.evidence.trust(), now)
    }

    fn fault(
        &mut self,
        now: Timestamp,
        from: Option<NodeKey>,
        rule: &'static str,
        what: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Some(from) = from else { return };
        let Consequence { told, cut } = self.faults.count(from, rule, now);
        // Of callers that were never let in there is no end: they are counted and not told.
        if !self.connected.contains_key(&from) {
            return;
        }
        if let Some(times) = told {
            effects.push(Effect::Report { from, rule, times, what: what.to_owned() });
        }
        if cut {
            self.faults.cut(&from);
            effects.push(Effect::Disconnect { node: from, why: Ended::Faults { rule } });
        }
    }

    /// A broken invariant of ours: loud in tests, counted and shown in release.
    fn bug(&mut self, what: String) {
        debug_assert!(false, "{what}");
        self.bugs += 1;
    }
}
