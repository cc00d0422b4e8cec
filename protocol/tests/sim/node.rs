//! One node: its machine while it runs, and what a crash leaves of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    crypto::OpenedSeed,
    document::Envelope,
    evidence::AnyDocument,
    ids::{FederationId, MemberCode, MessageId, NodeKey, SealingKeyId},
    introduction::Presence,
    machine::{Config, Effect, Machine, NumberedEvent, Restored, Stored, sealing_seed_from_row},
    relay::{Relay, exchange::Ticket},
    storage::Table,
    time::Timestamp,
};

use super::{clock::Clock, disk::Disk, hostile::Villain, memo::Memo};

/// One node.
pub(crate) struct Node {
    pub(crate) member: MemberCode,
    /// Its member's place among the units.
    pub(crate) unit: usize,
    pub(crate) signing: SigningKey,
    pub(crate) key: NodeKey,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) machine: Option<Machine>,
    /// Counts starts: what was planned for an earlier run is void.
    pub(crate) run: u32,
    /// Counts folders put back from copies or made anew: what an earlier folder promised may be gone.
    pub(crate) folder: u32,
    pub(crate) seeds: BTreeMap<SealingKeyId, OpenedSeed>,
    pub(crate) pipe: VecDeque<Staged>,
    pub(crate) aim: BTreeSet<NodeKey>,
    pub(crate) presence: Option<Arc<Presence>>,
    pub(crate) wake: Option<u64>,
    pub(crate) woken_in_vain: u32,
    /// Frames that it sent since the last look.
    pub(crate) said: u32,
    /// After how many more effects the node crashes, if it is to.
    pub(crate) crash_in: Option<u32>,
    /// Writes that were refused: what rests on them is not said.
    pub(crate) refused: BTreeSet<Ticket>,
    /// Gossip seen lately.
    pub(crate) seen: HashMap<u64, u64>,
    /// Milliseconds that a sync takes.
    pub(crate) sync: u64,
    pub(crate) villain: Option<Villain>,
    /// Whether nobody may run it any more: its key was replaced.
    pub(crate) retired: bool,
    /// Until when its disk or its operator keeps it down.
    pub(crate) down_until: u64,
    /// Messages told of in this folder's life.
    pub(crate) arrived: BTreeSet<MessageId>,
    /// Parcels that it kept for others and dropped, with the key that they are sealed to.
    pub(crate) dropped: HashMap<(MessageId, NodeKey), SealingKeyId>,
}

/// A batch on its way to the disk and out.
pub(crate) struct Staged {
    pub(crate) said: Vec<Effect>,
    pub(crate) outcome: Outcome,
    /// The last write that it waits for.
    pub(crate) write: Option<u64>,
    pub(crate) ready: u64,
}

/// What came of storing a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored,
    NoRoom(Vec<Ticket>),
    /// The node cannot go on.
    Failed,
}

impl Node {
    pub(crate) fn new(member: MemberCode, unit: usize, signing: SigningKey, disk: Disk) -> Self {
        let key = NodeKey::from_bytes(signing.verifying_key().to_bytes());
        Self {
            member,
            unit,
            signing,
            key,
            clock: Clock::default(),
            disk,
            machine: None,
            run: 0,
            folder: 0,
            seeds: BTreeMap::new(),
            pipe: VecDeque::new(),
            aim: BTreeSet::new(),
            presence: None,
            wake: None,
            woken_in_vain: 0,
            said: 0,
            crash_in: None,
            refused: BTreeSet::new(),
            seen: HashMap::new(),
            sync: 4,
            villain: None,
            retired: false,
            down_until: 0,
            arrived: BTreeSet::new(),
            dropped: HashMap::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.villain.is_none()
    }

    /// Starts from what the disk kept; returns what is to be carried out first, and what could not be read.
    pub(crate) fn start(
        &mut self,
        federation: FederationId,
        now: Timestamp,
        seed: [u8; 32],
        memo: &mut Memo,
    ) -> (Vec<Effect>, Vec<String>) {
        let of = |table: Table| -> Vec<(Vec<u8>, Vec<u8>)> {
            self.disk.table(table).map(|(key, value)| (key.clone(), value.to_vec())).collect()
        };
        let documents =
            [Table::Charters, Table::Settlements, Table::KeySets, Table::NodeRecords, Table::ReferencePoints];
        let (headers, trust): (Vec<AnyDocument>, _) = documents
            .into_iter()
            .flat_map(of)
            .map(|(_, row)| memo.verify(&Envelope::from_bytes(&row).unwrap(), federation).unwrap())
            .partition(|document| document.header().is_some());
        let relay = Relay::TABLES
            .into_iter()
            .flat_map(|table| of(table).into_iter().map(move |(key, value)| (table, key, value)));
        let newest_event = self.disk.table(Table::Events).next_back();
        let stored = Stored {
            trust,
            headers: Box::new(headers.into_iter()),
            bodies: Box::new(of(Table::Bodies).into_iter().map(|(_, body)| body)),
            own_state: of(Table::OwnState),
            seeds: of(Table::SealingSeeds),
            relay: Box::new(relay),
            newest_event: newest_event.map_or(0, |(_, row)| NumberedEvent::from_row(row).unwrap().number),
        };
        let opened = stored.seeds.iter().map(|(_, row)| {
            let seed = sealing_seed_from_row(row).unwrap().0.expand();
            (seed.id(), seed)
        });
        self.seeds = opened.collect();
        let config = Config {
            federation,
            member: self.member.clone(),
            node: self.key,
            addresses: vec![format!("node.{}.example:4001", self.member.as_str().to_lowercase())],
            software: "refpoint simulated".into(),
            connections_max: 256,
        };
        let Restored { machine, effects, problems } = Machine::restore(config, stored, now, seed);
        self.presence = Some(machine.presence());
        self.machine = Some(machine);
        self.run += 1;
        (effects, problems)
    }

    /// Ends the run: only the disk remains.
    pub(crate) fn stop(&mut self) {
        self.machine = None;
        self.disk.forget_kept();
        self.pipe.clear();
        self.aim.clear();
        self.seeds.clear();
        self.refused.clear();
        self.seen.clear();
        (self.presence, self.wake, self.crash_in) = (None, None, None);
    }
}
