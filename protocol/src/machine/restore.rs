//! A machine from what storage kept: deadlines, states and views are rebuilt, nothing is said twice.

use std::cell::RefCell;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::{
    Config, Machine,
    book::EvidenceBook,
    own::{SIGNED_BEFORE, sealing_seed_from_row},
    repairs::Repairs,
    settling::NewestHeads,
};
use crate::{
    audit::witness::HeardJournals,
    directory::node_record::ReadableKind,
    directory::{
        clock::ClockWitnesses,
        header::Header,
        own_chain::{History, NodeProfile, OwnChains},
    },
    document::{Envelope, Kind, Payload},
    evidence::{AnyDocument, Evidence},
    heads::{self, Heard, OwnHeads},
    limits::WIRE_VERSION,
    machine::Effect,
    peers::{Faults, Intake, PushLimits},
    relay::{Relay, RelayConfig},
    storage::{Change, Grade, Table},
    time::Timestamp,
};

/// What storage kept. What there is much of is read one by one, in the order of the fields, and nothing of it is
/// held but what the machine keeps.
pub struct Stored<'a> {
    /// Charters and key sets, verified anew, in any order.
    pub trust: Vec<AnyDocument>,
    /// Headers, verified anew, in any order.
    pub headers: Box<dyn Iterator<Item = AnyDocument> + 'a>,
    /// Bodies of headers.
    pub bodies: Box<dyn Iterator<Item = Vec<u8>> + 'a>,
    /// Rows of [`Table::OwnState`].
    pub own_state: Vec<(Vec<u8>, Vec<u8>)>,
    /// Rows of [`Table::SealingSeeds`].
    pub seeds: Vec<(Vec<u8>, Vec<u8>)>,
    /// Rows of [`Relay::TABLES`].
    pub relay: Box<dyn Iterator<Item = (Table, Vec<u8>, Vec<u8>)> + 'a>,
    /// The newest event's number, zero before the first.
    pub newest_event: u64,
}

/// A machine that goes on where it stopped.
pub struct Restored {
    /// The machine.
    pub machine: Machine,
    /// To be carried out first.
    pub effects: Vec<Effect>,
    /// What could not be read, for `status`: never skipped in silence.
    pub problems: Vec<String>,
}

impl Machine {
    /// Rebuilds the machine. `seed` are 32 random bytes: they spread retries, blind bodies, and draw what others must not foresee.
    #[must_use]
    pub fn restore(config: Config, stored: Stored<'_>, now: Timestamp, seed: [u8; 32]) -> Restored {
        let Stored { trust, headers, bodies, own_state, seeds, relay, newest_event } = stored;
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut problems = Vec::new();
        let own = RefCell::new(OwnRecord::default());
        let headers = headers.inspect(|header| own.borrow_mut().on_header(&config, header));
        let bodies = bodies.inspect(|body| own.borrow_mut().on_body(body));
        let (evidence, outcome) = Evidence::restore(config.federation, trust, headers, bodies);
        let OwnRecord { header, body } = own.into_inner();
        let record = header.map(|(_, envelope)| envelope).zip(body);
        problems
            .extend(outcome.rejected.iter().map(|it| format!("document {}: {}", it.id.short(), it.reason)));
        if !outcome.missing.is_empty() {
            problems.push(format!("{} documents are missing and will be fetched", outcome.missing.len()));
        }
        let mut sealing_keys = Vec::new();
        for (_, row) in &seeds {
            match sealing_seed_from_row(row) {
                Ok((_, entry)) => sealing_keys.push(entry),
                Err(error) => problems.push(format!("a sealing key's seed: {error}")),
            }
        }
        sealing_keys.sort_by_key(|entry| (entry.from, entry.id()));
        let marked = own_state.iter().any(|(name, _)| name == SIGNED_BEFORE);
        let published = evidence.chains().of_node(config.node).next().is_some();
        let history = if marked || published { History::SignedBefore } else { History::First };
        let profile = NodeProfile {
            addresses: config.addresses.clone(),
            reads: readable(),
            wire: vec![WIRE_VERSION],
            software: config.software.clone(),
        };
        let (member, node) = (config.member.clone(), config.node);
        let own_heads = OwnHeads::new(member.clone(), node, now);
        let own = OwnChains::new(member.clone(), node, profile, sealing_keys, history, now);
        let mut relay_seed = [0; 32];
        rng.fill_bytes(&mut relay_seed);
        // Nobody has confirmed the clock yet.
        let book = EvidenceBook::new(&evidence, None);
        let relay_config = RelayConfig { member, node, seed: relay_seed };
        let restored = Relay::restore(relay_config, now, &book, relay);
        let unreadable = restored.damaged.iter();
        problems.extend(unreadable.map(|damaged| format!("{}: {}", damaged.table.name(), damaged.error)));
        let mut machine = Self {
            config,
            started: now,
            evidence,
            relay: restored.relay,
            own,
            clocks: ClockWitnesses::default(),
            clock_was_wrong: false,
            own_heads,
            heard: Heard::default(),
            heard_journals: HeardJournals::default(),
            newest_heads: NewestHeads::default(),
            halves: std::collections::BTreeMap::new(),
            history: heads::History::default(),
            pushes: PushLimits::default(),
            intake: Intake::default(),
            faults: Faults::default(),
            repairs: Repairs::default(),
            connected: std::collections::BTreeMap::new(),
            next_event: newest_event,
            newer: 0,
            twin_told: false,
            record,
            rng,
            bugs: 0,
            refusable: Vec::new(),
        };
        let mut effects = Vec::new();
        let needless = outcome.superseded.iter().map(|id| Change::delete(Table::Settlements, *id.as_bytes()));
        let changes = needless.collect::<Vec<_>>();
        if !changes.is_empty() {
            effects.push(Effect::Persist { grade: Grade::Cached, changes, ticket: None });
        }
        for effect in restored.effects {
            machine.carry_relay_effect(now, effect, &mut effects);
        }
        machine.note_digest(now);
        machine.drive_own(now, &mut effects);
        machine.aim(&mut effects);
        machine.present(&mut effects);
        Restored { machine, effects, problems }
    }
}

/// The newest header of this node's own record among those that pass by, with its body if that is held.
#[derive(Default)]
struct OwnRecord {
    header: Option<(Header, Envelope)>,
    body: Option<Vec<u8>>,
}

impl OwnRecord {
    fn on_header(&mut self, config: &Config, document: &AnyDocument) {
        let Some(header) = document.header().filter(|_| document.kind() == Kind::NodeRecord) else { return };
        let newest = self.header.as_ref().is_none_or(|(newest, _)| newest.issued <= header.issued);
        if header.node == config.node && newest {
            self.header = Some((header.clone(), Envelope::clone(document.envelope())));
        }
    }

    fn on_body(&mut self, body: &[u8]) {
        let named = self.header.as_ref().map(|(header, _)| header.body);
        if named.is_some_and(|named| Sha256::digest(body).as_slice() == named.as_bytes()) {
            self.body = Some(body.to_vec());
        }
    }
}

/// The document kinds that this program reads, each with its highest version.
fn readable() -> Vec<ReadableKind> {
    use crate::{
        directory::header::{NodeRecordHeader, ReferencePointHeader},
        membership::{charter::Charter, key_set::KeySet, settlement::Settlement},
        message::header::MessageHeader,
        relay::receipt::Receipt,
    };
    fn kind<T: Payload>() -> (Kind, u64) {
        (T::KIND, T::VERSION)
    }
    let mut kinds = vec![
        kind::<Charter>(),
        kind::<Settlement>(),
        kind::<KeySet>(),
        kind::<NodeRecordHeader>(),
        kind::<ReferencePointHeader>(),
        kind::<MessageHeader>(),
        kind::<Receipt>(),
        kind::<crate::heads::Head>(),
    ];
    kinds.sort_by_key(|(kind, _)| kind.name());
    kinds.into_iter().map(|(kind, version)| ReadableKind { kind: kind.name().to_owned(), version }).collect()
}
