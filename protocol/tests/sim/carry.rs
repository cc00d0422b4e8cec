//! What a node does with a machine's orders: store, wait for the disk, then say, each in its order.

use std::sync::Arc;

use refpoint_protocol::{
    crypto::{SEAL_RANDOM_BYTES, SealingSeed},
    directory::header::{ChainKind, NodeRecordHeader, ReferencePointHeader},
    document::{Envelope, Kind, Unverified, decode, encode, sign},
    evidence::repair::{Documents, RepairRequest, RepairResponse},
    ids::NodeKey,
    limits::PARCEL_BYTES_MAX,
    machine::{
        AnswerToken, AskTicket, Batch, Carriage, Effect, Ended, Input, PushToken, Verdict, sealing_seed_row,
    },
    relay::{
        exchange::{ContentSource, Job, Outgoing, RelayInput},
        frame::RelayFrame,
        parcel::Class,
        receipt::Receipt,
        rows::{decode_custody_parcel, decode_outbox_content, decode_statement_content, statement_key},
        sealing::{COMPOSE_RANDOM_BYTES, SealError, compose, label, open, seal},
    },
    storage::{Change, Grade, Table},
};

use super::{
    Ask, Sim,
    disk::Room,
    event::{Event, Gossip, Payload},
    invariants,
    network::Way,
    node::{Outcome, Staged},
};

impl Sim {
    /// Takes a batch of a machine's: work starts at once, the rest waits for what the batch stores.
    pub(crate) fn submit(&mut self, at: usize, effects: Vec<Effect>) {
        let (mut durable, mut cached, mut said, mut tickets) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Persist { grade, changes, ticket: about } => {
                    tickets.extend(about);
                    match grade {
                        Grade::Durable => durable.extend(changes),
                        Grade::Cached => cached.extend(changes),
                    }
                }
                Effect::Work(job) => {
                    let input = Input::Relay(self.work(at, job));
                    let delay = self.draw.within(1..8);
                    self.hand(at, delay, input);
                }
                Effect::Verify { from, envelopes, bodies, carriage } => {
                    let documents =
                        envelopes.iter().map(|envelope| self.memo.verify(envelope, self.federation));
                    let batch = Batch { from: Some(from), documents: documents.collect(), bodies, carriage };
                    self.hand(at, 1, Input::Documents(batch));
                }
                other => said.push(other),
            }
        }
        let waits = !durable.is_empty();
        let (outcome, write) = self.store(at, durable, cached, tickets);
        let node = &mut self.nodes[at];
        let begun = node.pipe.back().map_or(self.now, |staged| staged.ready);
        let ready = if waits { begun.max(self.now) + node.sync } else { begun.max(self.now) };
        node.pipe.push_back(Staged { said, outcome, write: write.filter(|_| waits), ready });
        if ready > self.now {
            self.agenda.plan(ready, Event::Synced { node: at, run: self.nodes[at].run });
        } else {
            self.drain(at);
        }
    }

    /// Carries out what waits no more.
    pub(crate) fn drain(&mut self, at: usize) {
        let run = self.nodes[at].run;
        while let Some(staged) = self.nodes[at].pipe.pop_front_if(|staged| staged.ready <= self.now) {
            if let Some(write) = staged.write {
                if self.nodes[at].disk.failing {
                    self.say(|| format!("{}: a sync failed, the node stops", self.name(at)));
                    self.counts.add("disk-fails");
                    self.nodes[at].disk.failing = false;
                    return self.crash(at, "sync failed");
                }
                self.nodes[at].disk.synced(write);
            }
            match staged.outcome {
                Outcome::Stored => {}
                Outcome::NoRoom(tickets) => {
                    for ticket in tickets {
                        self.nodes[at].refused.insert(ticket);
                        self.hand(at, 0, Input::Relay(RelayInput::StorageRefused { ticket }));
                    }
                    continue;
                }
                Outcome::Failed => return self.crash(at, "no room for what must be stored"),
            }
            for effect in staged.said {
                self.carry(at, effect);
                if self.nodes[at].run != run || self.steps_into_crash(at) {
                    return;
                }
            }
        }
    }

    /// Plans something that a node's own parts hand to its machine.
    pub(crate) fn hand(&mut self, node: usize, delay: u64, input: Input) {
        let run = self.nodes[node].run;
        self.agenda.plan(self.now + delay, Event::Hand { node, run, input: Box::new(input) });
    }

    /// A crash may fall between any two effects.
    fn steps_into_crash(&mut self, at: usize) -> bool {
        let Some(left) = self.nodes[at].crash_in.as_mut() else { return false };
        *left = left.saturating_sub(1);
        let now = *left == 0;
        if now {
            self.crash(at, "between two effects");
        }
        now
    }

    fn store(
        &mut self,
        at: usize,
        durable: Vec<Change>,
        cached: Vec<Change>,
        tickets: Vec<refpoint_protocol::relay::exchange::Ticket>,
    ) -> (Outcome, Option<u64>) {
        for change in durable.iter().chain(&cached) {
            self.on_change(at, change);
        }
        let now = self.now;
        let room = self.nodes[at].disk.room;
        let is_bulk = |changes: &[Change]| changes.iter().any(|c| c.table.is_bulk() && c.value.is_some());
        let fits = |changes: &[Change]| match room {
            Room::Plenty => true,
            Room::Low => !is_bulk(changes),
            Room::None => changes.iter().all(|change| change.value.is_none()),
        };
        if !fits(&durable) {
            self.counts.add("disk-full-refusal");
            let outcome = if tickets.is_empty() { Outcome::Failed } else { Outcome::NoRoom(tickets) };
            return (outcome, None);
        }
        let (spare, cached): (Vec<Change>, Vec<Change>) = cached.into_iter().partition(is_spare);
        let mut changes = durable;
        if room == Room::Plenty {
            changes.extend(spare);
        } else if !spare.is_empty() {
            self.counts.add("disk-full-kept");
            self.say(|| {
                let key = |change: &Change| change.key.iter().take(4).map(|it| format!("{it:02x}")).collect();
                let rows: Vec<String> = spare.iter().map(key).collect();
                format!("{} has no room for {rows:?}, which peers hold too: kept in memory", self.name(at))
            });
            self.nodes[at].disk.keep(spare);
        }
        if fits(&cached) {
            changes.extend(cached);
        }
        if changes.is_empty() {
            return (Outcome::Stored, None);
        }
        (Outcome::Stored, Some(self.nodes[at].disk.write(now, changes)))
    }

    fn on_change(&mut self, at: usize, change: &Change) {
        match (change.table, &change.value) {
            (Table::CustodyParcels, None) => invariants::custody::on_dropped(self, at, &change.key),
            (Table::Charters | Table::KeySets | Table::NodeRecords | Table::ReferencePoints, Some(_)) => {
                self.on_update(at, &change.key);
            }
            _ => {}
        }
    }

    fn carry(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Persist { .. } | Effect::Work(_) | Effect::Verify { .. } => {}
            Effect::Send { after: Some(write), .. } if self.nodes[at].refused.contains(&write) => {}
            Effect::Send { to, frame, class, after: _ } => self.send(at, to, frame, class),
            Effect::Push { document, body } => {
                if document.kind != Kind::Head.name() {
                    self.begin_update(at, &document);
                }
                self.publish(at, document, body);
            }
            Effect::PushStored(ids) => {
                for envelope in self.nodes[at].disk.envelopes(&ids).into_iter().flatten() {
                    self.publish(at, envelope, None);
                }
            }
            Effect::Judge { token, verdict } => self.judge(at, token, verdict),
            Effect::Ask { to, ticket, request } => self.ask(at, to, ticket, request),
            Effect::Give { to, ticket, documents, bodies } => {
                let disk = &self.nodes[at].disk;
                let packed = Documents::pack(disk.envelopes(&documents), disk.bodies(&bodies));
                self.count_certificates(&packed.documents);
                let request = RepairRequest::Give(packed.documents.clone());
                self.hand(at, 0, Input::RepairGiven { from: to, ticket, packed });
                self.ask(at, to, ticket, request);
            }
            Effect::Answer { token, answer } => self.answer(token, answer),
            Effect::Serve { to: _, token, documents, bodies } => {
                let disk = &self.nodes[at].disk;
                let packed = Documents::pack(disk.envelopes(&documents), disk.bodies(&bodies));
                self.count_certificates(&packed.documents);
                self.answer(token, RepairResponse::Documents(packed.documents));
            }
            Effect::SignHeader { kind, header, body } => {
                let (federation, keys) = (Some(self.federation), [&self.nodes[at].signing]);
                let envelope = match kind {
                    ChainKind::NodeRecord => sign(&NodeRecordHeader(header), federation, &keys),
                    ChainKind::ReferencePoint => sign(&ReferencePointHeader(header), federation, &keys),
                };
                let envelope = envelope.unwrap();
                self.ledger.signed(envelope.id(federation), at);
                self.hand(at, 0, Input::HeaderSigned { kind, envelope, body });
            }
            Effect::SignHead(head) => self.sign_head(at, &head),
            Effect::MakeSealingKey { from, until } => {
                let seed = SealingSeed::from_bytes(self.draw.bytes());
                let row = sealing_seed_row(&seed, from, until).unwrap().to_vec();
                let opened = seed.expand();
                let entry = opened.entry(from, until);
                let change = Change::put(Table::SealingSeeds, *entry.id().as_bytes(), row);
                let node = &mut self.nodes[at];
                let write = node.disk.write(self.now, vec![change]);
                node.disk.synced(write);
                node.seeds.insert(opened.id(), opened);
                self.hand(at, 3, Input::SealingKeyMade(entry));
            }
            Effect::DestroySeed(id) => drop(self.nodes[at].seeds.remove(&id)),
            Effect::Aim(targets) => {
                let aim = targets.iter().map(|target| target.node).collect();
                let before = std::mem::replace(&mut self.nodes[at].aim, aim);
                for target in targets.iter().filter(|target| !before.contains(&target.node)) {
                    if let Some(other) = self.index.get(&target.node).copied() {
                        let delay = self.draw.within(10..1_000);
                        self.plan_dial(at, other, delay);
                    }
                }
            }
            Effect::Present(presence) => self.nodes[at].presence = Some(presence),
            Effect::Disconnect { node, why: Ended::Key { proof } } => self.disconnect(at, node, &proof),
            Effect::Disconnect { node, why: Ended::Faults { rule } } => {
                invariants::on_report(self, at, node, rule, "too many faults: cut off");
                self.disconnect(at, node, &[]);
            }
            Effect::Emit(event) => invariants::on_event(self, at, &event),
            Effect::Reply { id, reply } => self.on_reply(at, id, reply),
            Effect::Report { from, rule, times: _, what } => {
                invariants::on_report(self, at, from, rule, &what)
            }
        }
    }

    fn send(&mut self, at: usize, to: NodeKey, frame: Outgoing, class: Class) {
        if let Outgoing::Receipt(receipt) = &frame {
            invariants::on_receipt(self, at, receipt);
        }
        let (federation, message) = (
            Some(self.federation),
            match &frame {
                Outgoing::Parcel(parcel) => Some(parcel.label.message),
                _ => None,
            },
        );
        let frame =
            frame.into_frame(|receipt| sign(receipt, federation, &[&self.nodes[at].signing])).unwrap();
        // As bytes, so that what the codec refuses is never delivered.
        let frame: RelayFrame = decode(&encode(&frame).unwrap(), PARCEL_BYTES_MAX).unwrap();
        self.nodes[at].said += 1;
        let lane = usize::from(class == Class::Urgent);
        let way = match frame {
            RelayFrame::Parcel(_) | RelayFrame::Receipt(_) => Way::Stream(lane),
            _ => Way::Strict(lane),
        };
        let other = self.index.get(&to).copied().filter(|other| self.network.believes(at, *other));
        match other {
            Some(other) => self.dispatch(at, other, way, Payload::Frame(Box::new(frame))),
            None => {
                if let Some(message) = message {
                    self.hand(at, 0, Input::Relay(RelayInput::SendFailed { to, message }));
                }
            }
        }
    }

    /// Takes a frame off a link; `None` if it is a fault of the bearer's.
    pub(crate) fn frame_input(&mut self, from: NodeKey, frame: RelayFrame) -> Input {
        Input::Relay(match frame {
            RelayFrame::Parcel(parcel) => RelayInput::ParcelReceived { from, parcel },
            RelayFrame::Receipt(envelope) => {
                let verified =
                    Unverified::<Receipt>::open(envelope).and_then(|opened| opened.verify(self.federation));
                match verified {
                    Ok(receipt) => RelayInput::ReceiptReceived { from, receipt },
                    Err(error) => {
                        let (rule, what) = (error.rule(), error.to_string());
                        return Input::Fault { from, rule, what, push: None };
                    }
                }
            }
            RelayFrame::Offer(offer) => RelayInput::OfferReceived { from, offer },
            RelayFrame::OfferUnknown(offer) => RelayInput::OfferUnknownReceived { from, offer },
            RelayFrame::OfferIds(ids) => RelayInput::OfferIdsReceived { from, ids },
            RelayFrame::Lacking(lacking) => RelayInput::LackingReceived { from, lacking },
        })
    }

    /// Gossips a document of one's own to every peer.
    pub(crate) fn publish(&mut self, at: usize, document: Arc<Envelope>, body: Option<Vec<u8>>) {
        let id = gossip_id(&document, body.as_ref());
        let gossip = Gossip::new(id, document, body);
        self.nodes[at].seen.insert(id, self.now);
        for other in self.network.peers(at, self.nodes.len()) {
            self.dispatch(at, other, Way::Single, Payload::Gossip(Arc::clone(&gossip)));
        }
    }

    fn judge(&mut self, at: usize, token: PushToken, verdict: Verdict) {
        let Some((node, source, gossip)) = self.pushes.remove(&token) else {
            return self.violate(invariants::ONE_ANSWER, format!("{token:?} is judged twice"));
        };
        debug_assert_eq!(node, at);
        if verdict == Verdict::Reject && self.nodes[source].is_honest() && self.nodes[at].is_honest() {
            let what = format!("{} rejects what {} passed on", self.name(at), self.name(source));
            self.violate(invariants::NO_HONEST_BLAME, what);
        }
        if verdict == Verdict::Accept && !super::hostile::withholds(self, at) {
            let mut peers = self.network.peers(at, self.nodes.len());
            peers.retain(|other| *other != source);
            for _ in 0..MESH {
                if peers.is_empty() {
                    break;
                }
                let other = peers.swap_remove(self.draw.below(peers.len()));
                self.dispatch(at, other, Way::Single, Payload::Gossip(Arc::clone(&gossip)));
            }
        }
    }

    /// Whether gossip was seen lately, and would be dropped.
    pub(crate) fn has_seen(&self, at: usize, gossip: &Gossip) -> bool {
        self.nodes[at].seen.get(&gossip.id).is_some_and(|seen| *seen + SEEN_FOR > self.now)
    }

    /// Takes gossip in, unless it was seen lately.
    pub(crate) fn take_gossip(&mut self, from: usize, to: usize, gossip: Arc<Gossip>) {
        let now = self.now;
        if self.has_seen(to, &gossip) {
            return;
        }
        let seen = &mut self.nodes[to].seen;
        if seen.len() > SEEN_MAX {
            seen.retain(|_, at| *at + SEEN_FOR > now);
        }
        seen.insert(gossip.id, now);
        let (token, bearer) = (PushToken(self.token()), self.nodes[from].key);
        let input = if gossip.head_bytes.is_some() {
            Input::head(bearer, token, self.memo.verify_head(&gossip.document, self.federation))
        } else {
            let documents = vec![self.memo.verify(&gossip.document, self.federation)];
            let (bodies, carriage) = (gossip.body.iter().cloned().collect(), Carriage::Push(token));
            Input::Documents(Batch { from: Some(bearer), documents, bodies, carriage })
        };
        self.pushes.insert(token, (to, from, gossip));
        self.handle(to, input);
    }

    pub(crate) fn ask(&mut self, at: usize, to: NodeKey, ticket: AskTicket, request: RepairRequest) {
        let other = self.index.get(&to).copied().filter(|other| self.network.believes(at, *other));
        let Some(other) = other else {
            return self.hand(at, 0, Input::RepairAnswered { from: to, ticket, answer: None });
        };
        let run = self.nodes[at].run;
        self.waiting.insert((at, other, ticket));
        let patience = self.now + ANSWER_TIME;
        self.agenda.plan(patience, Event::Unanswered { from: at, to: other, run, ticket });
        let request = Box::new(request);
        self.dispatch(at, other, Way::Single, Payload::Request { run, ticket, request });
    }

    pub(crate) fn take_request(&mut self, from: usize, to: usize, ask: Ask, request: RepairRequest) {
        let token = AnswerToken(self.token());
        self.asks.insert(token, ask);
        let request = match super::hostile::answers(self, to, &request) {
            Some(answer) => return self.answer(token, answer),
            None => request,
        };
        let from = self.nodes[from].key;
        self.handle(to, Input::RepairRequested { from, token, request });
    }

    pub(crate) fn send_answer(&mut self, ask: Ask, answer: RepairResponse) {
        let Ask { from, at, run, ticket } = ask;
        if self.network.believes(at, from) {
            let answer = Box::new(answer);
            self.dispatch(at, from, Way::Single, Payload::Answer { run, ticket, answer });
        }
    }

    fn work(&mut self, at: usize, job: Job) -> RelayInput {
        let federation = self.federation;
        match job {
            Job::Compose { ticket, draft, created } => {
                let random: [u8; COMPOSE_RANDOM_BYTES] = self.draw.bytes();
                let node = &self.nodes[at];
                let result = compose(&draft, &node.member, federation, &node.signing, created, &random);
                RelayInput::Composed { ticket, result }
            }
            Job::Seal { ticket, content, label, key } => {
                let random: [u8; SEAL_RANDOM_BYTES] = self.draw.bytes();
                let node = &self.nodes[at];
                let content = match content {
                    ContentSource::AtHand(content) => Ok(content),
                    ContentSource::Stored(id) => {
                        let row = node.disk.value(Table::OutboxContent, id.as_bytes());
                        row.map(|row| Arc::new(decode_outbox_content(&row).unwrap()))
                            .ok_or(SealError::NoContent)
                    }
                };
                let result = content.and_then(|content| {
                    if content.is_signed_by(&node.key) {
                        return seal(&content, label, &key, &random).map(Box::new);
                    }
                    let anew = content.signed_anew(federation, &node.signing);
                    let anew = anew.map_err(|error| SealError::Bug(error.to_string()))?;
                    seal(&anew, label, &key, &random).map(Box::new)
                });
                RelayInput::Sealed { ticket, result }
            }
            Job::SealStatement { ticket, answers, statement, member, node, key, .. } => {
                let random: [u8; SEAL_RANDOM_BYTES] = self.draw.bytes();
                let row = self.nodes[at].disk.value(Table::Statements, &statement_key(answers, statement));
                let content = row.and_then(|row| decode_statement_content(&row, federation).unwrap());
                let seal =
                    |content| seal(&content, label(&content, member, node), &key, &random).map(Box::new);
                RelayInput::Sealed { ticket, result: content.ok_or(SealError::NoContent).and_then(seal) }
            }
            Job::Open { ticket, parcel } => {
                let node = &self.nodes[at];
                let seed = node.seeds.get(&parcel.sealing_key);
                let result = open(&parcel, seed, federation, &node.member, &node.key).map(Box::new);
                RelayInput::Opened { ticket, result }
            }
            Job::Load { ticket, key, .. } => {
                let row = self.nodes[at].disk.value(Table::CustodyParcels, &key.to_bytes());
                let parcel = row.map(|row| Box::new(decode_custody_parcel(&row).unwrap()));
                RelayInput::Loaded { ticket, parcel }
            }
        }
    }
}

fn gossip_id(document: &Envelope, body: Option<&Vec<u8>>) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    document.payload.hash(&mut hasher);
    document.signatures.iter().for_each(|signature| signature.sig.hash(&mut hasher));
    body.hash(&mut hasher);
    hasher.finish()
}

/// Peers to which new gossip is passed on.
const MESH: usize = 6;

/// Milliseconds for which gossip is remembered as seen.
const SEEN_FOR: u64 = 60_000;

/// Gossip remembered before what is old is forgotten.
const SEEN_MAX: usize = 512;

/// Milliseconds that an answer may take.
const ANSWER_TIME: u64 = 30_000;

/// What gives way first on a full disk, as the node has it: bodies, and others' headers.
fn is_spare(change: &Change) -> bool {
    change.value.is_some()
        && matches!(change.table, Table::Bodies | Table::NodeRecords | Table::ReferencePoints)
}
