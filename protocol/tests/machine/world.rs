//! A few machines joined by a network that loses nothing unless told to, with storage that a restart reads back.

mod documents;
mod heads;
mod jobs;
mod storage;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    crypto::{OpenedSeed, SealingSeed},
    directory::header::{ChainKind, NodeRecordHeader, ReferencePointHeader},
    document::{Envelope, Unverified, decode, encode, sign},
    evidence::{
        AnyDocument,
        repair::{Documents, KindRoot, RepairRequest, RepairResponse},
        verify_any,
    },
    ids::{MemberCode, NodeKey, SealingKeyId},
    limits::PARCEL_BYTES_MAX,
    machine::{
        AnswerToken, AskTicket, Batch, Carriage, Command, CommandRefused, Config, Effect, Ended, Event,
        Input, Machine, NumberedEvent, PushToken, Reply, Stored, Target, Verdict, sealing_seed_from_row,
        sealing_seed_row,
    },
    relay::{
        Relay,
        exchange::{CommandId, RelayInput},
        frame::RelayFrame,
        receipt::Receipt,
    },
    storage::{Change, Grade, Table},
    testing::{self, FOUNDED, Federation},
    time::Timestamp,
};

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) federation: Federation,
    nodes: Vec<Node>,
    queue: VecDeque<(usize, Input)>,
    connected: BTreeSet<(usize, usize)>,
    pushes: BTreeMap<PushToken, (usize, Envelope, Option<Vec<u8>>)>,
    asks: BTreeMap<AnswerToken, (usize, AskTicket, usize)>,
    replies: BTreeMap<CommandId, Result<Reply, CommandRefused>>,
    counter: u64,
    /// The last answer to a repair request of a test's own.
    answered: Option<RepairResponse>,
    /// Repair requests of a node that are still to be lost, as with a connection that closes under them.
    requests_to_lose: BTreeMap<usize, u32>,
    pub(crate) hostile: Option<NodeKey>,
}

/// What a node has stored.
pub(crate) type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

struct Node {
    machine: Machine,
    signing: SigningKey,
    store: Rows,
    /// Tables in which something was stored without a sync.
    unsynced: BTreeSet<Table>,
    seeds: BTreeMap<SealingKeyId, OpenedSeed>,
    events: Vec<NumberedEvent>,
    run_began: usize,
    cut_off: Vec<NodeKey>,
    /// Whom it was last told to keep connected.
    aims: Vec<Target>,
    /// What the machine ordered when it was restored, until it is carried out.
    boot: Vec<Effect>,
}

impl World {
    pub(crate) fn new(seed: u64, codes: &[&str]) -> Self {
        let federation = Federation::new(seed, codes, 1);
        let mut world = Self {
            now: FOUNDED.after(Duration::from_secs(3_600)),
            nodes: Vec::new(),
            queue: VecDeque::new(),
            connected: BTreeSet::new(),
            pushes: BTreeMap::new(),
            asks: BTreeMap::new(),
            replies: BTreeMap::new(),
            counter: 0,
            answered: None,
            requests_to_lose: BTreeMap::new(),
            hostile: None,
            federation,
        };
        for index in 0..world.federation.units.len() {
            let unit = &world.federation.units[index];
            let mut store = BTreeMap::new();
            let founding = encode(world.federation.founding.envelope().as_ref()).unwrap();
            store.insert((Table::Charters, world.federation.founding.id().as_bytes().to_vec()), founding);
            let key_set = encode(unit.key_set.envelope().as_ref()).unwrap();
            store.insert((Table::KeySets, unit.key_set.id().as_bytes().to_vec()), key_set);
            let node = world.boot(index, store, Vec::new());
            world.nodes.push(node);
            world.settle_boot(index);
        }
        world
    }

    pub(crate) fn member(&self, node: usize) -> MemberCode {
        self.federation.units[node].code.clone()
    }

    pub(crate) fn key(&self, node: usize) -> NodeKey {
        testing::node_key(&self.federation.units[node].nodes[0])
    }

    pub(crate) fn machine(&self, node: usize) -> &Machine {
        &self.nodes[node].machine
    }

    pub(crate) fn roots(&self, node: usize) -> Vec<KindRoot> {
        self.machine(node).evidence().roots().unwrap()
    }

    pub(crate) fn events(&self, node: usize) -> Vec<Event> {
        self.nodes[node].events.iter().map(|event| event.event.clone()).collect()
    }

    pub(crate) fn event_numbers(&self, node: usize) -> Vec<u64> {
        self.nodes[node].events.iter().map(|event| event.number).collect()
    }

    pub(crate) fn events_before_run(&self, node: usize) -> usize {
        self.nodes[node].run_began
    }

    pub(crate) fn cut_off(&self, node: usize) -> &[NodeKey] {
        &self.nodes[node].cut_off
    }

    pub(crate) fn aims(&self, node: usize) -> &[Target] {
        &self.nodes[node].aims
    }

    pub(crate) fn is_connected(&self, a: usize, b: usize) -> bool {
        self.connected.contains(&(a.min(b), a.max(b)))
    }

    pub(crate) fn connect_all(&mut self) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                self.connect(a, b);
            }
        }
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        if !self.connected.insert((a.min(b), a.max(b))) {
            return;
        }
        // What the introduction brings: each side's own key set.
        for (at, other, dialled) in [(a, b, true), (b, a, false)] {
            let document = AnyDocument::KeySet(Arc::clone(&self.federation.units[other].key_set));
            let from = Some(self.key(other));
            let batch =
                Batch { from, documents: vec![Ok(document)], bodies: Vec::new(), carriage: Carriage::Hand };
            self.queue.push_back((at, Input::Documents(batch)));
            let (node, member, remote_time) = (self.key(other), self.member(other), self.now);
            self.queue.push_back((at, Input::Connected { node, member, remote_time, dialled }));
        }
    }

    pub(crate) fn lose_requests(&mut self, node: usize, count: u32) {
        self.requests_to_lose.insert(node, count);
    }

    pub(crate) fn cut(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.cut_pair(node, other);
        }
    }

    pub(crate) fn restart(&mut self, index: usize) {
        self.settle();
        self.cut(index);
        self.settle();
        let (store, events) = {
            let node = &mut self.nodes[index];
            (std::mem::take(&mut node.store), std::mem::take(&mut node.events))
        };
        self.nodes[index] = self.boot(index, store, events);
        self.settle_boot(index);
    }

    pub(crate) fn command(&mut self, node: usize, command: Command) -> Result<Reply, CommandRefused> {
        self.counter += 1;
        let id = CommandId(self.counter);
        self.queue.push_back((node, Input::Command { id, command }));
        self.settle();
        self.replies.remove(&id).expect("every command is answered")
    }

    /// Lets virtual time pass, with every wakeup that falls into it.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        for _ in 0..STEPS_MAX {
            self.settle();
            let wakeup =
                |(index, node): (usize, &Node)| node.machine.next_wakeup().map(|(at, _)| (at, index));
            let next = self.nodes.iter().enumerate().filter_map(wakeup).min();
            match next {
                Some((at, index)) if at <= end => {
                    self.now = self.now.max(at);
                    self.queue.push_back((index, Input::Woke));
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!(
            "the machines wake without end: {:?}",
            self.nodes.iter().map(|n| n.machine.next_wakeup()).collect::<Vec<_>>()
        );
    }

    fn boot(&self, index: usize, store: Rows, events: Vec<NumberedEvent>) -> Node {
        let unit = &self.federation.units[index];
        let signing = unit.nodes[0].clone();
        let of = |table: Table| -> Vec<(Vec<u8>, Vec<u8>)> {
            let rows = store.iter().filter(|((at, _), _)| *at == table);
            rows.map(|((_, key), value)| (key.clone(), value.clone())).collect()
        };
        let documents = |tables: Vec<Table>| {
            let rows = tables.into_iter().flat_map(of);
            rows.map(|(_, value)| {
                verify_any(Envelope::from_bytes(&value).unwrap(), self.federation.id).unwrap()
            })
        };
        let relay = Relay::TABLES.into_iter().flat_map(|table| {
            of(table).into_iter().map(move |(key, value)| (table, key, value)).collect::<Vec<_>>()
        });
        let stored = Stored {
            trust: documents(vec![Table::Charters, Table::Settlements, Table::KeySets]).collect(),
            headers: Box::new(documents(vec![Table::NodeRecords, Table::ReferencePoints])),
            bodies: Box::new(of(Table::Bodies).into_iter().map(|(_, body)| body)),
            own_state: of(Table::OwnState),
            seeds: of(Table::SealingSeeds),
            relay: Box::new(relay),
            newest_event: of(Table::Events)
                .last()
                .map_or(0, |(_, row)| NumberedEvent::from_row(row).unwrap().number),
        };
        let seeds = stored.seeds.iter().map(|(_, row)| {
            let seed = sealing_seed_from_row(row).unwrap().0.expand();
            (seed.id(), seed)
        });
        let seeds = seeds.collect();
        let config = Config {
            federation: self.federation.id,
            member: unit.code.clone(),
            node: testing::node_key(&signing),
            addresses: vec![format!("node.{}.example:4001", unit.code.as_str().to_lowercase())],
            software: "refpoint test".into(),
            connections_max: 256,
        };
        let restored = Machine::restore(config, stored, self.now, [index as u8; 32]);
        assert_eq!(restored.problems, Vec::<String>::new());
        let run_began = events.len();
        let (machine, boot, cut_off) = (restored.machine, restored.effects, Vec::new());
        let aims = Vec::new();
        let unsynced = BTreeSet::new();
        Node { machine, signing, store, unsynced, seeds, events, run_began, cut_off, aims, boot }
    }

    fn settle_boot(&mut self, index: usize) {
        let effects = std::mem::take(&mut self.nodes[index].boot);
        self.carry(index, effects);
        self.settle();
    }

    fn cut_pair(&mut self, a: usize, b: usize) {
        if self.connected.remove(&(a.min(b), a.max(b))) {
            for (at, other) in [(a, b), (b, a)] {
                let node = self.key(other);
                self.queue.push_back((at, Input::Disconnected { node }));
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            let Some((index, input)) = self.queue.pop_front() else { return };
            let effects = self.nodes[index].machine.handle(self.now, input);
            self.carry(index, effects);
        }
        panic!("the machines talk without end");
    }

    fn index(&self, key: NodeKey) -> usize {
        (0..self.nodes.len()).find(|node| self.key(*node) == key).unwrap()
    }

    fn carry(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            self.carry_one(at, effect);
        }
    }

    fn carry_one(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::Persist { grade, changes, .. } => self.nodes[at].apply(grade, changes),
            Effect::Send { to, frame, .. } => self.send(at, to, frame),
            Effect::Push { document, body } => self.push(at, None, &document, body.as_ref()),
            Effect::PushStored(ids) => {
                for envelope in self.nodes[at].envelopes(&ids).into_iter().flatten() {
                    self.push(at, None, &envelope, None);
                }
            }
            Effect::Judge { token, verdict } => {
                let (source, document, body) = self.pushes.remove(&token).expect("each push is judged once");
                if verdict == Verdict::Accept {
                    self.push(at, Some(source), &document, body.as_ref());
                }
            }
            Effect::Ask { to, ticket, request } => self.ask(at, to, ticket, request),
            Effect::Give { to, ticket, documents, bodies } => {
                let packed =
                    Documents::pack(self.nodes[at].envelopes(&documents), self.nodes[at].bodies(&bodies));
                let request = RepairRequest::Give(packed.documents.clone());
                self.queue.push_back((at, Input::RepairGiven { from: to, ticket, packed }));
                self.ask(at, to, ticket, request);
            }
            Effect::Answer { token, answer } => self.answer(token, answer),
            Effect::Serve { to: _, token, documents, bodies } => {
                let packed =
                    Documents::pack(self.nodes[at].envelopes(&documents), self.nodes[at].bodies(&bodies));
                self.answer(token, RepairResponse::Documents(packed.documents));
            }
            Effect::Verify { from, envelopes, bodies, carriage } => {
                let verify = |envelope| verify_any(envelope, self.federation.id);
                let documents = envelopes.into_iter().map(verify).collect();
                let batch = Batch { from: Some(from), documents, bodies, carriage };
                self.queue.push_back((at, Input::Documents(batch)));
            }
            Effect::Work(job) => {
                let input = self.work(at, job);
                self.queue.push_back((at, Input::Relay(input)));
            }
            Effect::SignHeader { kind, header, body } => {
                let (federation, keys) = (Some(self.federation.id), [&self.nodes[at].signing]);
                let envelope = match kind {
                    ChainKind::NodeRecord => sign(&NodeRecordHeader(header), federation, &keys),
                    ChainKind::ReferencePoint => sign(&ReferencePointHeader(header), federation, &keys),
                };
                self.queue.push_back((at, Input::HeaderSigned { kind, envelope: envelope.unwrap(), body }));
            }
            Effect::SignHead(head) => self.sign_head(at, &head),
            Effect::MakeSealingKey { from, until } => {
                let seed = SealingSeed::from_bytes(self.random());
                let row = sealing_seed_row(&seed, from, until).unwrap().to_vec();
                let opened = seed.expand();
                let entry = opened.entry(from, until);
                self.nodes[at].apply(
                    Grade::Durable,
                    vec![Change::put(Table::SealingSeeds, *entry.id().as_bytes(), row)],
                );
                self.nodes[at].seeds.insert(opened.id(), opened);
                self.queue.push_back((at, Input::SealingKeyMade(entry)));
            }
            Effect::DestroySeed(id) => drop(self.nodes[at].seeds.remove(&id)),
            Effect::Disconnect { node, why: Ended::Faults { rule } } => {
                assert_eq!(Some(node), self.hostile, "an honest peer was cut off: {rule}");
                self.cut_pair(at, self.index(node));
            }
            Effect::Disconnect { node, why: Ended::Key { proof } } => {
                if !proof.is_empty() && self.nodes[at].envelopes(&proof).iter().all(Option::is_some) {
                    self.nodes[at].cut_off.push(node);
                }
                self.cut_pair(at, self.index(node));
            }
            Effect::Emit(event) => self.nodes[at].events.push(event),
            Effect::Reply { id, reply } => drop(self.replies.insert(id, reply)),
            Effect::Aim(targets) => self.nodes[at].aims = targets,
            Effect::Present(_) => {}
            Effect::Report { from, rule, what, .. } => assert_eq!(Some(from), self.hostile, "{rule} {what}"),
        }
    }

    fn send(&mut self, at: usize, to: NodeKey, frame: refpoint_protocol::relay::exchange::Outgoing) {
        let federation = self.federation.id;
        let signing = self.nodes[at].signing.clone();
        let frame = frame.into_frame(|receipt| sign(receipt, Some(federation), &[&signing])).unwrap();
        let other = self.index(to);
        if !self.is_connected(at, other) {
            return;
        }
        // As bytes, so that what the codec refuses is never delivered.
        let frame: RelayFrame = decode(&encode(&frame).unwrap(), PARCEL_BYTES_MAX).unwrap();
        let from = self.key(at);
        let input = match frame {
            RelayFrame::Parcel(parcel) => RelayInput::ParcelReceived { from, parcel },
            RelayFrame::Receipt(envelope) => {
                let receipt = Unverified::<Receipt>::open(envelope).unwrap().verify(federation).unwrap();
                RelayInput::ReceiptReceived { from, receipt }
            }
            RelayFrame::Offer(offer) => RelayInput::OfferReceived { from, offer },
            RelayFrame::OfferUnknown(offer) => RelayInput::OfferUnknownReceived { from, offer },
            RelayFrame::OfferIds(ids) => RelayInput::OfferIdsReceived { from, ids },
            RelayFrame::Lacking(lacking) => RelayInput::LackingReceived { from, lacking },
        };
        self.queue.push_back((other, Input::Relay(input)));
    }

    fn push(&mut self, at: usize, source: Option<usize>, document: &Envelope, body: Option<&Vec<u8>>) {
        for other in 0..self.nodes.len() {
            if other == at || Some(other) == source || !self.is_connected(at, other) {
                continue;
            }
            self.counter += 1;
            let token = PushToken(self.counter);
            self.pushes.insert(token, (at, document.clone(), body.cloned()));
            self.queue.push_back((other, self.pushed(at, token, document, body)));
        }
    }

    fn ask(&mut self, at: usize, to: NodeKey, ticket: AskTicket, request: RepairRequest) {
        let other = self.index(to);
        let to_lose = self.requests_to_lose.entry(at).or_default();
        let lost = *to_lose > 0;
        *to_lose = to_lose.saturating_sub(1);
        if lost || !self.is_connected(at, other) {
            return self.queue.push_back((at, Input::RepairAnswered { from: to, ticket, answer: None }));
        }
        self.counter += 1;
        let token = AnswerToken(self.counter);
        self.asks.insert(token, (at, ticket, other));
        let from = self.key(at);
        self.queue.push_back((other, Input::RepairRequested { from, token, request }));
    }

    fn answer(&mut self, token: AnswerToken, answer: RepairResponse) {
        if token == OWN_REQUEST {
            self.answered = Some(answer);
            return;
        }
        let (asker, ticket, answerer) = self.asks.remove(&token).expect("each request is answered once");
        let from = self.key(answerer);
        self.queue.push_back((asker, Input::RepairAnswered { from, ticket, answer: Some(answer) }));
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        self.counter += 1;
        let block = testing::key(self.counter, "random", 0).to_bytes();
        std::array::from_fn(|index| block[index % 32] ^ (index / 32) as u8)
    }
}

const STEPS_MAX: usize = 200_000;

/// The token of a request that a test makes in a node's name.
const OWN_REQUEST: AnswerToken = AnswerToken(u64::MAX);
