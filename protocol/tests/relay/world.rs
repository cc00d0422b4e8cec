//! A virtual network of relay machines: it plays the shell as the contract asks, and checks that nothing is
//! confirmed before it is stored.

mod directory;
mod people;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use refpoint_protocol::{
    crypto::{OpenedSeed, SealingSeed},
    document::{Unverified, decode, encode, sign},
    ids::{FederationId, MemberCode, NodeKey, SealingKeyId},
    limits::{PARCEL_BYTES_MAX, RELAY_FRAME_BYTES_MAX},
    relay::{
        Relay, RelayConfig,
        book::{MemberStatus, SignerStanding},
        event::RelayEvent,
        exchange::{ContentSource, Job, Outgoing, RelayEffect, RelayFault, RelayInput, Ticket},
        frame::RelayFrame,
        receipt::{Receipt, ReceiptWord},
        rows::{self, CustodyKey},
        sealing::{SealError, compose, label, open, seal},
    },
    storage::{Change, Table},
    time::Timestamp,
};

pub(super) use directory::Directory;
pub(super) use people::draft;

pub(super) const FEDERATION: FederationId = FederationId::from_bytes([0xFE; 32]);
pub(super) const START: Timestamp = Timestamp::from_millis(1_760_000_000_000);
const LATENCY: Duration = Duration::from_millis(20);
const WORK: Duration = Duration::from_millis(1);

pub(super) fn code(text: &str) -> MemberCode {
    text.parse().unwrap()
}

/// What a node has stored.
pub(super) type Disk = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// One node: its machine, its disk and its keys.
pub(super) struct Node {
    pub(super) member: MemberCode,
    pub(super) key: SigningKey,
    pub(super) seeds: BTreeMap<SealingKeyId, Arc<OpenedSeed>>,
    pub(super) relay: Option<Relay>,
    pub(super) disk: Disk,
    pub(super) directory: Option<Directory>,
    pub(super) events: Vec<RelayEvent>,
    pub(super) faults: Vec<RelayFault>,
    pub(super) fetches: usize,
    pub(super) disk_is_full: bool,
    /// Effects that are still carried out before the node dies.
    pub(super) dies_after: Option<usize>,
    pub(super) persists: usize,
    pub(super) parcels_sent: usize,
    pub(super) borne_sent: usize,
    refused: BTreeSet<Ticket>,
    run: u64,
}

enum Arrival {
    Frame { from: &'static str, frame: Outgoing, link: u64 },
    Job(Job),
    Refused(Ticket),
}

/// All nodes, the links between them and what is on its way.
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) nodes: BTreeMap<&'static str, Node>,
    pub(super) directory: Directory,
    pub(super) loss_percent: u64,
    pub(super) doubling_percent: u64,
    pub(super) crash_percent: u64,
    links: BTreeMap<(&'static str, &'static str), u64>,
    queue: BTreeMap<(Timestamp, u64), (&'static str, u64, Arrival)>,
    sequence: u64,
    rng: ChaCha8Rng,
}

impl World {
    /// Nodes by name; a name's letters before its digits are the member.
    pub(super) fn new(seed: u64, names: &[&'static str]) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut world = Self {
            now: START,
            nodes: BTreeMap::new(),
            directory: Directory::default(),
            loss_percent: 0,
            doubling_percent: 0,
            crash_percent: 0,
            links: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            rng: ChaCha8Rng::from_seed(bytes),
        };
        for name in names {
            world.add_node(name);
        }
        names.iter().for_each(|name| world.start(name));
        world
    }

    fn add_node(&mut self, name: &'static str) {
        let member = code(name.trim_end_matches(|c: char| c.is_ascii_digit()));
        let mut secret = [0; 32];
        self.rng.fill_bytes(&mut secret);
        let node = Node {
            member: member.clone(),
            key: SigningKey::from_bytes(&secret),
            seeds: BTreeMap::new(),
            relay: None,
            disk: BTreeMap::new(),
            directory: None,
            events: Vec::new(),
            faults: Vec::new(),
            fetches: 0,
            disk_is_full: false,
            dies_after: None,
            persists: 0,
            parcels_sent: 0,
            borne_sent: 0,
            refused: BTreeSet::new(),
            run: 0,
        };
        self.directory.status.insert(member.clone(), MemberStatus::Active);
        self.directory.nodes.insert(node_key(&node), (member, SignerStanding::Active, None));
        self.nodes.insert(name, node);
        self.new_sealing_key(name);
    }

    /// Adds a node to a member while the world runs.
    pub(super) fn join(&mut self, name: &'static str) {
        self.add_node(name);
        self.start(name);
        let member = Some(self.nodes[name].member.clone());
        self.everyone(|| RelayInput::DirectoryChanged { member: member.clone() });
    }

    pub(super) fn key(&self, name: &str) -> NodeKey {
        node_key(&self.nodes[name])
    }

    /// Draws a new sealing key and publishes it; the old seeds stay until the test takes them.
    pub(super) fn new_sealing_key(&mut self, name: &'static str) {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        let seed = SealingSeed::from_bytes(bytes).expand();
        let entry = seed.entry(START, Timestamp::MAX);
        let key = self.key(name);
        self.directory.nodes.get_mut(&key).unwrap().2 = Some(entry);
        self.nodes.get_mut(name).unwrap().seeds.insert(seed.id(), Arc::new(seed));
    }

    pub(super) fn everyone(&mut self, input: impl Fn() -> RelayInput) {
        let names: Vec<_> = self.nodes.keys().copied().collect();
        names
            .into_iter()
            .filter(|name| self.is_up(name))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|name| self.input(name, input()));
    }

    pub(super) fn is_up(&self, name: &str) -> bool {
        self.nodes[name].relay.is_some()
    }

    /// Starts a node from what its disk holds.
    pub(super) fn start(&mut self, name: &'static str) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let node = &self.nodes[name];
        let config = RelayConfig { member: node.member.clone(), node: node_key(node), seed };
        let stored: Vec<_> = node.disk.iter().map(|((t, k), v)| (*t, k.clone(), v.clone())).collect();
        let directory = node.directory.as_ref().unwrap_or(&self.directory);
        let restored = Relay::restore(config, self.now, directory, stored);
        assert_eq!(restored.damaged, []);
        let node = self.nodes.get_mut(name).unwrap();
        node.relay = Some(restored.relay);
        node.run += 1;
        self.carry_out(name, restored.effects);
    }

    /// Stops a node as a power cut does: what was not persisted is gone.
    pub(super) fn kill(&mut self, name: &'static str) {
        let node = self.nodes.get_mut(name).unwrap();
        node.relay = None;
        node.dies_after = None;
        let cut: Vec<_> = self.links.keys().filter(|(a, b)| *a == name || *b == name).copied().collect();
        cut.into_iter().for_each(|(a, b)| self.disconnect(a, b));
    }

    /// Puts back what a node had received at an earlier time; what it sends stays.
    pub(super) fn restore_received(&mut self, name: &'static str, backup: &Disk) {
        let received = |table: Table| {
            matches!(table, Table::Inbox | Table::InboxContent | Table::MessageIds | Table::Statements)
        };
        let disk = &mut self.nodes.get_mut(name).unwrap().disk;
        disk.retain(|(table, _), _| !received(*table));
        disk.extend(
            backup
                .iter()
                .filter(|((table, _), _)| received(*table))
                .map(|(key, value)| (key.clone(), value.clone())),
        );
    }

    pub(super) fn connect(&mut self, a: &'static str, b: &'static str) {
        if !self.is_up(a) || !self.is_up(b) || self.links.contains_key(&order(a, b)) {
            return;
        }
        self.sequence += 1;
        self.links.insert(order(a, b), self.sequence);
        for (at, other) in [(a, b), (b, a)] {
            let (node, member) = (self.key(other), self.nodes[other].member.clone());
            if self.is_up(at) {
                self.input(at, RelayInput::Connected { node, member });
            }
        }
    }

    pub(super) fn connect_all(&mut self) {
        let names: Vec<_> = self.nodes.keys().copied().collect();
        for (at, a) in names.iter().enumerate() {
            names[at + 1..].iter().for_each(|b| self.connect(a, b));
        }
    }

    pub(super) fn disconnect(&mut self, a: &'static str, b: &'static str) {
        if self.links.remove(&order(a, b)).is_some() {
            let (key_a, key_b) = (self.key(a), self.key(b));
            for (name, node) in [(a, key_b), (b, key_a)] {
                if self.is_up(name) {
                    self.input(name, RelayInput::Disconnected { node });
                }
            }
        }
    }

    /// Hands an input to a node's machine and carries out the effects.
    pub(super) fn input(&mut self, name: &'static str, input: RelayInput) {
        let node = self.nodes.get_mut(name).unwrap();
        let Some(relay) = &mut node.relay else { return };
        let directory = node.directory.as_ref().unwrap_or(&self.directory);
        let effects = relay.handle(self.now, input, directory);
        if self.crash_percent > 0 && self.rng.next_u64() % 1_000 < self.crash_percent {
            let at = self.rng.next_u64() as usize % (effects.len() + 1);
            self.nodes.get_mut(name).unwrap().dies_after = Some(at);
        }
        self.carry_out(name, effects);
    }

    fn carry_out(&mut self, name: &'static str, effects: Vec<RelayEffect>) {
        let mut is_refused = false;
        for effect in effects {
            // Of a batch that finds no room only the work is done: it began at once.
            if is_refused && !matches!(effect, RelayEffect::Work(_)) {
                continue;
            }
            let node = self.nodes.get_mut(name).unwrap();
            if let Some(left) = &mut node.dies_after {
                if *left == 0 {
                    return self.kill(name);
                }
                *left -= 1;
            }
            match effect {
                RelayEffect::Persist { changes, ticket, .. } => {
                    if let Some(ticket) = ticket.filter(|_| node.disk_is_full) {
                        node.refused.insert(ticket);
                        is_refused = true;
                        let run = node.run;
                        // The machine hears of it after the work is done.
                        self.schedule(WORK * 2, name, run, Arrival::Refused(ticket));
                        continue;
                    }
                    node.persists += 1;
                    for Change { table, key, value } in changes {
                        match value {
                            Some(value) => node.disk.insert((table, key), value),
                            None => node.disk.remove(&(table, key)),
                        };
                    }
                }
                RelayEffect::Send { to, frame, after, .. } => {
                    if after.is_none_or(|ticket| !node.refused.contains(&ticket)) {
                        self.send(name, to, frame);
                    }
                }
                RelayEffect::Work(job) => {
                    let run = node.run;
                    self.schedule(WORK, name, run, Arrival::Job(job));
                }
                RelayEffect::FetchKeySet { .. } => node.fetches += 1,
                RelayEffect::Emit(event) => {
                    serde_json::to_string(&event).unwrap();
                    node.events.push(event);
                }
                RelayEffect::Fault { fault, .. } => {
                    assert!(!fault.to_string().is_empty());
                    node.faults.push(fault);
                }
            }
        }
        let node = self.nodes.get_mut(name).unwrap();
        if node.dies_after.take().is_some() {
            self.kill(name);
        }
    }

    fn send(&mut self, name: &'static str, to: NodeKey, frame: Outgoing) {
        let node = self.nodes.get_mut(name).unwrap();
        match &frame {
            Outgoing::Receipt(receipt) if receipt.word == ReceiptWord::Delivered => {
                let stored = [Table::MessageIds, Table::Outbox]
                    .map(|table| node.disk.contains_key(&(table, receipt.message.as_bytes().to_vec())));
                assert!(stored.contains(&true), "{name} confirms what it has not stored");
            }
            Outgoing::Receipt(receipt) if receipt.word == ReceiptWord::Custody => {
                let key = CustodyKey { hander: to, message: receipt.message, node: receipt.node };
                let kept = [Table::Custody, Table::CustodyParcels];
                let stored = kept.iter().all(|table| node.disk.contains_key(&(*table, key.to_bytes())));
                assert!(stored, "{name} says custody of what it has not stored");
            }
            Outgoing::Parcel(_) => node.parcels_sent += 1,
            Outgoing::Borne(_) => node.borne_sent += 1,
            _ => {}
        }
        let target = self.nodes.iter().find(|(_, node)| node_key(node) == to).map(|(name, _)| *name).unwrap();
        let Some(link) = self.links.get(&order(name, target)).copied() else { return };
        let run = self.nodes[target].run;
        let copies = if self.chance(self.loss_percent) {
            0
        } else {
            1 + u64::from(self.chance(self.doubling_percent))
        };
        for copy in 0..copies {
            let spread = if self.doubling_percent > 0 { self.rng.next_u64() % 200 } else { 0 };
            let latency = LATENCY + Duration::from_millis(copy * 35 + spread);
            self.schedule(latency, target, run, Arrival::Frame { from: name, frame: frame.clone(), link });
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.rng.next_u64() % 100 < percent
    }

    fn schedule(&mut self, delay: Duration, name: &'static str, run: u64, arrival: Arrival) {
        self.sequence += 1;
        self.queue.insert((self.now.after(delay), self.sequence), (name, run, arrival));
    }

    /// Lets everything happen that happens within a time.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now.after(span);
        for step in 0.. {
            assert!(step < 2_000_000, "the world does not come to rest");
            let frame = self.queue.first_key_value().map(|((at, _), _)| *at);
            let timer = self
                .nodes
                .values()
                .filter_map(|node| node.relay.as_ref()?.next_wakeup())
                .map(|(at, _)| at)
                .min();
            let Some(next) = [frame, timer].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if frame == Some(next) {
                let (_, (name, run, arrival)) = self.queue.pop_first().unwrap();
                if self.is_up(name) && self.nodes[name].run == run {
                    self.arrive(name, arrival);
                }
            } else {
                let due = |node: &Node| {
                    node.relay.as_ref().and_then(Relay::next_wakeup).is_some_and(|(at, _)| at <= self.now)
                };
                let name = self.nodes.iter().find(|(_, node)| due(node)).map(|(name, _)| *name).unwrap();
                self.input(name, RelayInput::Woke);
            }
        }
        self.now = end;
    }

    /// A second is ample for everything that needs no retry.
    pub(super) fn settle(&mut self) {
        self.run(Duration::from_secs(1));
    }

    fn arrive(&mut self, name: &'static str, arrival: Arrival) {
        match arrival {
            Arrival::Refused(ticket) => self.input(name, RelayInput::StorageRefused { ticket }),
            Arrival::Job(job) => {
                let input = self.work(name, job);
                self.input(name, input);
            }
            Arrival::Frame { from, frame, link } => {
                if self.links.get(&order(name, from)) == Some(&link) {
                    let input = self.incoming(from, frame);
                    self.input(name, input);
                }
            }
        }
    }

    /// What a peer's frame is after its way over the wire, once the shell has verified it.
    pub(super) fn incoming(&self, name: &str, frame: Outgoing) -> RelayInput {
        let from = self.key(name);
        let key = &self.nodes[name].key;
        let frame = frame.into_frame(|receipt| sign(receipt, Some(FEDERATION), &[key])).unwrap();
        let bytes = encode(&frame).unwrap();
        let bound =
            if matches!(frame, RelayFrame::Parcel(_)) { PARCEL_BYTES_MAX } else { RELAY_FRAME_BYTES_MAX };
        match decode(&bytes, bound).unwrap() {
            RelayFrame::Parcel(parcel) => RelayInput::ParcelReceived { from, parcel },
            RelayFrame::Receipt(envelope) => {
                let receipt = Unverified::<Receipt>::open(envelope).unwrap().verify(FEDERATION).unwrap();
                RelayInput::ReceiptReceived { from, receipt }
            }
            RelayFrame::Offer(offer) => RelayInput::OfferReceived { from, offer },
            RelayFrame::OfferUnknown(offer) => RelayInput::OfferUnknownReceived { from, offer },
            RelayFrame::OfferIds(ids) => RelayInput::OfferIdsReceived { from, ids },
            RelayFrame::Lacking(lacking) => RelayInput::LackingReceived { from, lacking },
        }
    }

    /// A receipt signed by one node and handed over by another.
    pub(super) fn receipt(&self, signer: &str, bearer: &str, receipt: &Receipt) -> RelayInput {
        let envelope = sign(receipt, Some(FEDERATION), &[&self.nodes[signer].key]).unwrap();
        let receipt = Unverified::<Receipt>::open(envelope).unwrap().verify(FEDERATION).unwrap();
        RelayInput::ReceiptReceived { from: self.key(bearer), receipt }
    }

    fn work(&mut self, name: &'static str, job: Job) -> RelayInput {
        let (mut compose_bytes, mut seal_bytes) = ([0; 56], [0; 64]);
        self.rng.fill_bytes(&mut compose_bytes);
        self.rng.fill_bytes(&mut seal_bytes);
        let node = &self.nodes[name];
        match job {
            Job::Compose { ticket, draft, created } => {
                let result = compose(&draft, &node.member, FEDERATION, &node.key, created, &compose_bytes);
                RelayInput::Composed { ticket, result }
            }
            Job::Seal { ticket, content, label, key } => {
                let content = match content {
                    ContentSource::AtHand(content) => Some(content),
                    ContentSource::Stored(message) => {
                        let stored = node.disk.get(&(Table::OutboxContent, message.as_bytes().to_vec()));
                        stored.and_then(|bytes| rows::decode_outbox_content(bytes).ok()).map(Arc::new)
                    }
                };
                let signed_anew = content.map(|content| {
                    let ours = content.is_signed_by(&node_key(node));
                    if ours { content } else { Arc::new(content.signed_anew(FEDERATION, &node.key).unwrap()) }
                });
                let result = signed_anew
                    .ok_or(SealError::NoContent)
                    .and_then(|content| seal(&content, label, &key, &seal_bytes).map(Box::new));
                RelayInput::Sealed { ticket, result }
            }
            Job::SealStatement { ticket, answers, statement, member, node: to, key, .. } => {
                let row = node.disk.get(&(Table::Statements, rows::statement_key(answers, statement)));
                let content = row.and_then(|row| rows::decode_statement_content(row, FEDERATION).unwrap());
                let seal =
                    |content| seal(&content, label(&content, member, to), &key, &seal_bytes).map(Box::new);
                RelayInput::Sealed { ticket, result: content.ok_or(SealError::NoContent).and_then(seal) }
            }
            Job::Open { ticket, parcel } => {
                let seed = node.seeds.get(&parcel.sealing_key).map(Arc::as_ref);
                let result = open(&parcel, seed, FEDERATION, &node.member, &node_key(node)).map(Box::new);
                RelayInput::Opened { ticket, result }
            }
            Job::Load { ticket, key, .. } => {
                let stored = node.disk.get(&(Table::CustodyParcels, key.to_bytes()));
                let parcel = stored.and_then(|bytes| rows::decode_custody_parcel(bytes).ok()).map(Box::new);
                RelayInput::Loaded { ticket, parcel }
            }
        }
    }
}

pub(super) fn node_key(node: &Node) -> NodeKey {
    NodeKey::from_bytes(node.key.verifying_key().to_bytes())
}

fn order(a: &'static str, b: &'static str) -> (&'static str, &'static str) {
    if a < b { (a, b) } else { (b, a) }
}
