//! Documents on their way in: from gossip, repair, introductions and the operator, all by the same door.

use std::{collections::BTreeSet, sync::Arc};

use super::{Batch, Carriage, Connection, Effect, Ended, Event, Machine, Reply, Verdict};
use crate::{
    directory::{ForkProof, bodies::BodyAcceptance, header::ChainKind, own_chain::OwnInput},
    document::{Kind, VerifyError},
    evidence::{
        Accepted, AnyDocument, Bearer, Outcome,
        repair::{RepairResponse, Taken},
    },
    ids::{ContentHash, HeaderId, MemberCode, NodeKey},
    limits::IMPORTED_IDS_MAX,
    machine::{CommandRefused, OperatorAction, PushToken},
    membership::{Membership, NodeStanding},
    relay::exchange::{CommandId, RelayInput},
    storage::{Change, Grade, Table},
    time::Timestamp,
};

/// What a batch changed, for those who follow from it.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Charters or key sets: who is a member, and whose keys count.
    trust: bool,
    charter: bool,
    settled: bool,
    key_sets: BTreeSet<MemberCode>,
    chains: BTreeSet<(MemberCode, ChainKind, NodeKey)>,
    /// Headers of this node's own chains, by whatever way they came.
    own: Vec<(HeaderId, Timestamp)>,
}

impl Machine {
    pub(super) fn on_documents(&mut self, now: Timestamp, batch: Batch, effects: &mut Vec<Effect>) {
        let carriage = batch.carriage;
        let from = batch.from;
        let outcome = self.take_in(now, batch, effects);
        match (carriage, from) {
            (Carriage::Answer(ticket), Some(from)) => self.on_repair_taken_in(now, from, ticket, effects),
            (Carriage::Give(token), Some(_)) => {
                effects.push(Effect::Answer { token, answer: RepairResponse::Taken(Taken {}) });
            }
            (_, Some(from)) if !outcome.missing.is_empty() => {
                self.fetch(now, from, &outcome.missing, effects);
            }
            _ => {}
        }
    }

    /// Takes in what the operator hands over, and says what came of it.
    pub(super) fn import(&mut self, now: Timestamp, id: CommandId, batch: Batch, effects: &mut Vec<Effect>) {
        let outcome = self.take_in(now, batch, effects);
        let reply = match outcome.rejected.first() {
            Some(wrong) => Err(CommandRefused::Documents(format!("{}: {}", wrong.rule, wrong.reason))),
            None if outcome.accepted.is_empty() && !outcome.missing.is_empty() => {
                Err(CommandRefused::Pending)
            }
            None => Ok(Reply::Imported { accepted: outcome.accepted.len() as u64, known: outcome.known }),
        };
        if !outcome.accepted.is_empty() {
            let documents =
                outcome.accepted.iter().take(IMPORTED_IDS_MAX).map(|it| it.document.id()).collect();
            let count = outcome.accepted.len() as u64;
            self.emit(now, Event::Operated(OperatorAction::Imported { documents, count }), effects);
        }
        for accepted in &outcome.accepted {
            effects.push(Effect::Push { document: Arc::clone(accepted.document.envelope()), body: None });
        }
        effects.push(Effect::Reply { id, reply });
    }

    pub(super) fn take_in(&mut self, now: Timestamp, batch: Batch, effects: &mut Vec<Effect>) -> Outcome {
        let Batch { from, documents, bodies, carriage } = batch;
        let bearer = from.map_or(Bearer::Local, Bearer::Peer);
        let push = match carriage {
            Carriage::Push(token) => Some(token),
            Carriage::Answer(_) | Carriage::Give(_) | Carriage::Hand => None,
        };
        let mut verified = Vec::with_capacity(documents.len());
        let mut invalid = false;
        for document in documents {
            match document {
                Ok(document) => verified.push(document),
                Err(VerifyError::Newer { .. }) => self.newer += 1,
                Err(error) => {
                    invalid = true;
                    self.fault(now, from, error.rule(), &error.to_string(), effects);
                }
            }
        }
        if push.is_some() {
            let pushed = std::mem::take(&mut verified);
            for document in pushed {
                // What is held costs its author nothing: anybody can hand it on again, in ever other envelopes.
                if self.evidence.holds(&document) || self.may_push(now, &document, from) {
                    verified.push(document);
                } else if self.floods(from, &document) {
                    let what = "its member's documents, pushed faster than their key may".to_owned();
                    self.fault(now, from, "EV-07", &what, effects);
                }
            }
        }
        let before = self.evidence.membership();
        let outcome = self.evidence.accept_all(bearer, verified);
        for rejection in &outcome.rejected {
            if let Bearer::Peer(peer) = rejection.bearer {
                self.fault(now, Some(peer), rejection.rule, &rejection.reason, effects);
            }
            invalid |= rejection.bearer == bearer;
        }
        let mut changed = self.persist_accepted(&outcome, effects);
        let after = self.evidence.membership();
        changed.settled = after.contradicting().is_empty() && after.settled() != before.settled();
        // What only this node has must be as durable as the header that names it.
        let grade = if from.is_none() { Grade::Durable } else { Grade::Cached };
        let read = self.take_in_bodies(&bodies, grade, effects);
        if !read.is_empty() {
            changed.chains.extend(self.showing_late(read, &outcome));
        }
        self.on_forks(now, &outcome, effects);
        self.judge(push, invalid, &outcome, effects);
        self.tell_beside_settled(now, &before, effects);
        self.follow(now, &changed, effects);
        outcome
    }

    /// The chains that show a new body whose header came before it: only now can be sealed to that node. A body that
    /// came with the only header that names it needs no search; almost every push is such a pair.
    fn showing_late(
        &self,
        mut read: BTreeSet<ContentHash>,
        outcome: &Outcome,
    ) -> Vec<(MemberCode, ChainKind, NodeKey)> {
        let directory = self.evidence.directory();
        for header in outcome.accepted.iter().filter_map(|accepted| accepted.document.header()) {
            if directory.is_of_one_chain(header.body) {
                read.remove(&header.body);
            }
        }
        if read.is_empty() { Vec::new() } else { directory.showing(&read) }
    }

    /// Whether a pushed document is one of too many that its own member's node brings. Nobody else hands on what
    /// he refused himself, so nobody else is blamed.
    fn floods(&self, from: Option<NodeKey>, document: &AnyDocument) -> bool {
        let author = match document {
            AnyDocument::KeySet(key_set) => Some(&key_set.payload().member),
            other => other.header().map(|header| &header.member),
        };
        let bearer = from.and_then(|from| self.connected.get(&from));
        bearer.is_some_and(|bearer| author == Some(&bearer.member))
            && self.pushes.is_flooding(document, self.evidence.trust())
    }

    /// What every accepted document owes: a place on disk.
    fn persist_accepted(&mut self, outcome: &Outcome, effects: &mut Vec<Effect>) -> Changed {
        let mut changed = Changed::default();
        let (mut durable, mut cached) = (Vec::new(), Vec::new());
        for Accepted { document, .. } in &outcome.accepted {
            let Some(change) = self.stored(document) else { continue };
            match document {
                AnyDocument::Charter(_) => {
                    (changed.trust, changed.charter) = (true, true);
                    durable.push(change);
                }
                AnyDocument::Settlement(_) => {
                    changed.trust = true;
                    durable.push(change);
                }
                AnyDocument::KeySet(key_set) => {
                    changed.trust = true;
                    changed.key_sets.insert(key_set.payload().member.clone());
                    durable.push(change);
                }
                AnyDocument::NodeRecord(_) | AnyDocument::ReferencePoint(_) => {
                    if let (Some(header), Some(kind)) = (document.header(), ChainKind::of(document.kind())) {
                        changed.chains.insert((header.member.clone(), kind, header.node));
                        if header.node == self.config.node {
                            changed.own.push((document.id().into(), header.issued));
                            durable.push(change);
                            continue;
                        }
                    }
                    cached.push(change);
                }
            }
        }
        // In the same batch as what says more.
        durable
            .extend(outcome.superseded.iter().map(|id| Change::delete(Table::Settlements, *id.as_bytes())));
        for hash in &outcome.released {
            cached.push(Change::delete(Table::Bodies, *hash.as_bytes()));
        }
        for (grade, changes) in [(Grade::Durable, durable), (Grade::Cached, cached)] {
            if !changes.is_empty() {
                effects.push(Effect::Persist { grade, changes, ticket: None });
            }
        }
        changed
    }

    /// The row of a document: its envelope as received, under its id.
    pub(super) fn stored(&mut self, document: &AnyDocument) -> Option<Change> {
        let table = match document.kind() {
            Kind::Charter => Table::Charters,
            Kind::Settlement => Table::Settlements,
            Kind::KeySet => Table::KeySets,
            Kind::NodeRecord => Table::NodeRecords,
            Kind::ReferencePoint => Table::ReferencePoints,
            Kind::JoiningRequest | Kind::Message | Kind::Receipt | Kind::Head => return None,
        };
        match crate::document::encode(document.envelope().as_ref()) {
            Ok(value) => Some(Change::put(table, *document.id().as_bytes(), value)),
            Err(error) => {
                self.bug(format!("an accepted envelope: {error}"));
                None
            }
        }
    }

    /// Returns which are new.
    fn take_in_bodies(
        &mut self,
        bodies: &[Vec<u8>],
        grade: Grade,
        effects: &mut Vec<Effect>,
    ) -> BTreeSet<ContentHash> {
        let (mut changes, mut new) = (Vec::new(), BTreeSet::new());
        for body in bodies {
            if let BodyAcceptance::New(hash) = self.evidence.accept_body(body) {
                changes.push(Change::put(Table::Bodies, *hash.as_bytes(), body.clone()));
                new.insert(hash);
            }
        }
        if !changes.is_empty() {
            effects.push(Effect::Persist { grade, changes, ticket: None });
        }
        new
    }

    /// A fork that became known is pushed with both its halves, so that it is known everywhere.
    fn on_forks(&mut self, now: Timestamp, outcome: &Outcome, effects: &mut Vec<Effect>) {
        for ForkProof { chain, fork, dropped } in &outcome.forks {
            let table = match chain.kind {
                ChainKind::NodeRecord => Table::NodeRecords,
                ChainKind::ReferencePoint => Table::ReferencePoints,
            };
            let changes: Vec<_> = dropped.iter().map(|id| Change::delete(table, *id.as_bytes())).collect();
            if !changes.is_empty() {
                effects.push(Effect::Persist { grade: Grade::Cached, changes, ticket: None });
            }
            if self.pushes.allow_fork(*chain, now) {
                effects.push(Effect::PushStored(fork.proof.iter().map(|half| half.id.into()).collect()));
            }
            let key_set = self.evidence.trust().key_set(&chain.key_set);
            if let Some(member) = key_set.map(|key_set| key_set.payload().member.clone()) {
                let (node, kind, sequence) = (chain.node, chain.kind, fork.sequence);
                self.emit(now, Event::ForkSeen { member, node, kind, sequence }, effects);
            }
        }
    }

    fn judge(&self, push: Option<PushToken>, invalid: bool, outcome: &Outcome, effects: &mut Vec<Effect>) {
        let Some(token) = push else { return };
        let verdict = if invalid {
            Verdict::Reject
        } else if outcome.accepted.is_empty() {
            Verdict::Ignore
        } else {
            Verdict::Accept
        };
        effects.push(Effect::Judge { token, verdict });
    }

    /// What follows from new evidence: who is let in, who is dialled, what is sealed anew, what is told.
    fn follow(&mut self, now: Timestamp, changed: &Changed, effects: &mut Vec<Effect>) {
        if changed.charter {
            let tips = self.evidence.membership().tips().to_vec();
            self.emit(now, Event::CharterChanged { tips }, effects);
        }
        if let Some(charter) = self.evidence.membership().settled().filter(|_| changed.settled) {
            self.emit(now, Event::CharterSettled { charter }, effects);
        }
        for member in &changed.key_sets {
            let view = self.evidence.membership();
            let tips = view.member(member).map(|view| view.key_sets.clone()).unwrap_or_default();
            self.emit(now, Event::KeySetChanged { member: member.clone(), tips }, effects);
        }
        let mut records = BTreeSet::new();
        for (member, kind, node) in &changed.chains {
            if *kind == ChainKind::NodeRecord {
                records.insert(member.clone());
            }
            let newest = self.evidence.listing(member, *node).cloned();
            let header = newest.and_then(|listing| self.evidence.directory().header(&listing, *kind, now));
            if let Some(header) = header {
                let (member, kind, sequence) = (member.clone(), *kind, header.sequence);
                self.emit(now, Event::DirectoryChanged { member, kind, sequence }, effects);
            }
        }
        if changed.trust {
            self.present(effects);
            self.close_ended(effects);
            self.follow_heads();
            self.relay(now, RelayInput::DirectoryChanged { member: None }, effects);
        }
        if changed.trust || !records.is_empty() {
            self.aim(effects);
        }
        for member in records.into_iter().filter(|_| !changed.trust) {
            self.relay(now, RelayInput::DirectoryChanged { member: Some(member) }, effects);
        }
        for (id, issued) in &changed.own {
            self.tell_own(now, OwnInput::HeaderAccepted { id: *id, issued: *issued }, effects);
            self.watch_for_twin(now, effects);
        }
        if changed.trust {
            self.drive_own(now, effects);
            // Heads may have named a version before it came here.
            self.settle(now, effects);
        }
    }

    /// Tells of charter versions that stand beside a settled one since now.
    fn tell_beside_settled(&mut self, now: Timestamp, before: &Membership, effects: &mut Vec<Effect>) {
        let membership = self.evidence.membership();
        let trust = self.evidence.trust();
        let new = membership.ignored().difference(before.ignored()).filter_map(|id| trust.charter(id));
        let told = new.map(|held| {
            let charter = held.id().into();
            let signed_by = trust.stewards_who_signed(&charter).into_iter().collect();
            Event::BesideSettled { charter, version: held.payload().version, signed_by }
        });
        for event in told.collect::<Vec<_>>() {
            self.emit(now, event, effects);
        }
    }

    /// Cuts off whoever's key does not count any more, with the documents that say so.
    fn close_ended(&mut self, effects: &mut Vec<Effect>) {
        let membership = self.evidence.membership();
        for (node, Connection { member, .. }) in &self.connected {
            let standing = membership.node_of(member, node);
            if !standing.is_some_and(NodeStanding::is_active) {
                let proof = standing.map(|standing| standing.ended_by.clone()).unwrap_or_default();
                effects.push(Effect::Disconnect { node: *node, why: Ended::Key { proof } });
            }
        }
    }
}
