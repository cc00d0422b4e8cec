//! A machine from what storage kept: deadlines, states and views are rebuilt, nothing is said twice.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use super::{
    Config, Machine,
    book::EvidenceBook,
    own::{SIGNED_BEFORE, sealing_seed_from_row},
    repairs::Repairs,
};
use crate::{
    directory::node_record::ReadableKind,
    directory::{
        clock::ClockWitnesses,
        own_chain::{History, NodeProfile, OwnChains},
    },
    document::{Envelope, Kind, Payload},
    evidence::{AnyDocument, Evidence},
    limits::WIRE_VERSION,
    machine::Effect,
    peers::{Faults, PushLimits},
    relay::{Relay, RelayConfig},
    storage::Table,
    time::Timestamp,
};

/// What storage kept.
#[derive(Default)]
pub struct Stored {
    /// Charters, key sets and headers, verified anew, in any order.
    pub documents: Vec<AnyDocument>,
    /// Bodies of headers.
    pub bodies: Vec<Vec<u8>>,
    /// Rows of [`Table::OwnState`].
    pub own_state: Vec<(Vec<u8>, Vec<u8>)>,
    /// Rows of [`Table::SealingSeeds`].
    pub seeds: Vec<(Vec<u8>, Vec<u8>)>,
    /// Rows of [`Relay::TABLES`].
    pub relay: Vec<(Table, Vec<u8>, Vec<u8>)>,
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
    /// Rebuilds the machine. `seed` are 32 random bytes: they spread retries and blind bodies.
    #[must_use]
    pub fn restore(config: Config, stored: Stored, now: Timestamp, seed: [u8; 32]) -> Restored {
        let Stored { documents, bodies, own_state, seeds, relay, newest_event } = stored;
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut problems = Vec::new();
        let record = own_record(&config, &documents, &bodies);
        let (evidence, outcome) = Evidence::restore(config.federation, documents, bodies);
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
        let own = OwnChains::new(member.clone(), node, profile, sealing_keys, history, now);
        let mut relay_seed = [0; 32];
        rng.fill_bytes(&mut relay_seed);
        // Nobody has confirmed the clock yet.
        let book = EvidenceBook::new(&evidence, false);
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
            pushes: PushLimits::default(),
            faults: Faults::default(),
            repairs: Repairs::default(),
            connected: std::collections::BTreeMap::new(),
            next_event: newest_event,
            newer: 0,
            twin_told: false,
            record,
            rng,
            bugs: 0,
        };
        let mut effects = Vec::new();
        for effect in restored.effects {
            machine.carry_relay_effect(now, effect, &mut effects);
        }
        machine.drive_own(now, &mut effects);
        machine.aim(&mut effects);
        machine.present(&mut effects);
        Restored { machine, effects, problems }
    }
}

/// The newest header of this node's own record, with its body if that is held.
fn own_record(config: &Config, documents: &[AnyDocument], bodies: &[Vec<u8>]) -> Option<(Envelope, Vec<u8>)> {
    let own = documents.iter().filter(|document| document.kind() == Kind::NodeRecord);
    let own = own.filter_map(|document| Some((document, document.header()?)));
    let (document, header) =
        own.filter(|(_, header)| header.node == config.node).max_by_key(|(_, header)| header.issued)?;
    let body = bodies.iter().find(|body| Sha256::digest(body).as_slice() == header.body.as_bytes())?;
    Some((document.envelope().as_ref().clone(), body.clone()))
}

/// The document kinds that this program reads, each with its highest version.
fn readable() -> Vec<ReadableKind> {
    use crate::{
        directory::header::{NodeRecordHeader, ReferencePointHeader},
        membership::{charter::Charter, key_set::KeySet},
        message::header::MessageHeader,
        relay::receipt::Receipt,
    };
    fn kind<T: Payload>() -> (Kind, u64) {
        (T::KIND, T::VERSION)
    }
    let mut kinds = vec![
        kind::<Charter>(),
        kind::<KeySet>(),
        kind::<NodeRecordHeader>(),
        kind::<ReferencePointHeader>(),
        kind::<MessageHeader>(),
        kind::<Receipt>(),
    ];
    kinds.sort_by_key(|(kind, _)| kind.name());
    kinds.into_iter().map(|(kind, version)| ReadableKind { kind: kind.name().to_owned(), version }).collect()
}
