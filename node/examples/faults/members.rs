//! Attacks of a member whose every document is valid: gossip without end, and two nodes that contradict each other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ed25519_dalek::SigningKey;
use refpoint::network::names;
use refpoint_protocol::{
    directory::{
        header::{NodeRecordHeader, ReferencePointHeader},
        reference_point::{LocalText, ReferencePoint},
    },
    document::{Envelope, Signature, decode, encode, sign},
    evidence::{
        push::Pushed,
        repair::{Documents, RepairRequest},
    },
    ids::{DocumentId, KeySetId, NodeKey},
    limits::CHAIN_LENGTH_MAX,
    membership::key_set::{KeySet, NodeEntry, NodeState},
    time::Timestamp,
};

use super::{
    arena::Arena,
    chain::{Chain, node_key},
    peer::{GOSSIP, Peer, data, publication, subscription, varint},
};

/// Headers of the attacker's own chain, each of them good, pushed about a thousand a second; it comes back whenever
/// it is cut off.
pub(crate) async fn flood(arena: &Arena) -> anyhow::Result<()> {
    let topic = names::evidence_topic(arena.sample.federation).hash().into_string();
    let attacker = arena.attacker()?;
    let key_set = attacker.key_set.id(Some(arena.sample.federation));
    let begin = || Chain::new(arena, key_set, attacker.node.signing_key().clone());
    let mut chain = begin()?;
    loop {
        let Ok(mut peer) = arena.enter().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        peer.drain();
        peer.say(1, GOSSIP, &subscription(&topic)).await;
        loop {
            let mut pieces = Vec::new();
            for _ in 0..8 {
                if chain.length == CHAIN_LENGTH_MAX {
                    // Each that follows is a fork of one that was sent.
                    chain = begin()?;
                }
                let document = chain.sign(NodeRecordHeader, arena.now(), &[0; 100])?;
                chain.follow(&document);
                pieces.extend(publication(&topic, &encode(&Pushed { document, body: None })?));
            }
            if !peer.write(&data(1, 0, &pieces)).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
    }
}

/// The attacker's member lists a second node before its first; both come in, each with an entry of its own that
/// contradicts the other's, and renew it again and again.
pub(crate) async fn two_nodes(arena: &Arena) -> anyhow::Result<()> {
    let attacker = arena.attacker()?;
    let (first, second) = (attacker.node.signing_key().clone(), SigningKey::from_bytes(&[0x5C; 32]));
    let node = node_key(&second);
    let key_set = key_set(arena, node)?;
    let presence = arena.with_key_set(&key_set, node)?;
    let id = key_set.id(Some(arena.sample.federation));
    let mut units = [Unit::new(arena, id, first, "First")?, Unit::new(arena, id, second.clone(), SHOWN)?];
    let repair = names::repair(arena.sample.federation);
    loop {
        // The key set comes with the second node's introduction.
        let peers = (arena.enter().await, arena.enter_as(&second, Arc::clone(&presence)).await);
        let (Ok(one), Ok(other)) = peers else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut peers = [one, other];
        peers.iter_mut().for_each(Peer::drain);
        'connected: for stream in (1..).step_by(2) {
            for (unit, peer) in units.iter_mut().zip(&mut peers) {
                let give = encode(&RepairRequest::Give(unit.next(arena.now())?.unwrap_or_default()))?;
                let request = [varint(give.len() as u64), give].concat();
                if !peer.ask(stream, repair.as_ref(), &request).await {
                    break 'connected;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Waits until all honest nodes hold the same directory and show the entry of the node of the lowest rank; how long.
pub(crate) async fn agreed(arena: &Arena) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let code = arena.attacker()?.country.code.clone();
    loop {
        let (mut digests, mut units) = (Vec::new(), Vec::new());
        for member in arena.fleet.members() {
            digests.push(member.client.status().await?.facts.directory_digest);
            units.push(member.client.directory_entry(&code).await?.row.unit.unwrap_or_default());
        }
        let same = digests.windows(2).all(|pair| pair.first() == pair.last());
        if same && units.iter().all(|unit| unit.starts_with(SHOWN)) {
            return Ok(begun.elapsed());
        }
        let late = || format!("the nodes show {units:?}, with digests {digests:?}");
        anyhow::ensure!(begun.elapsed() < AGREEMENT, late());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn key_set(arena: &Arena, second: NodeKey) -> anyhow::Result<Envelope> {
    let attacker = arena.attacker()?;
    let federation = Some(arena.sample.federation);
    let first: KeySet = decode(&attacker.key_set.payload, Envelope::BYTES_MAX)?;
    let mut nodes = first.nodes.clone();
    for entry in &mut nodes {
        entry.rank = 1;
    }
    nodes.push(NodeEntry {
        alg: Signature::ED25519,
        key: second,
        rank: 0,
        state: NodeState::Active,
        since: None,
        node_record: None,
        reference_point: None,
    });
    nodes.sort_unstable_by_key(|entry| entry.key);
    let next = KeySet {
        epoch: first.epoch.next().ok_or_else(|| anyhow::anyhow!("no epoch left"))?,
        ancestors: vec![KeySetId::from(attacker.key_set.id(federation))],
        issued: arena.now(),
        nodes,
        ..first
    };
    Ok(sign(&next, federation, &[attacker.root.signing_key()])?)
}

/// The entries of one of the two nodes.
struct Unit {
    chain: Chain,
    name: &'static str,
    entry: ReferencePoint,
}

impl Unit {
    fn new(arena: &Arena, key_set: DocumentId, key: SigningKey, name: &'static str) -> anyhow::Result<Self> {
        let entry = arena.attacker()?.entry.clone();
        Ok(Self { chain: Chain::new(arena, key_set, key)?, name, entry })
    }

    /// The next entry, until there are enough.
    fn next(&mut self, now: Timestamp) -> anyhow::Result<Option<Documents>> {
        if self.chain.length == CONTRADICTIONS {
            return Ok(None);
        }
        let text = format!("{} unit, {}", self.name, self.chain.length);
        self.entry.names = vec![LocalText { language: "en".to_owned(), text }];
        let body = encode(&self.entry)?;
        let header = self.chain.sign(ReferencePointHeader, now, &body)?;
        self.chain.follow(&header);
        Ok(Some(Documents { envelopes: vec![header], bodies: vec![body.into()] }))
    }
}

/// How the entry of the node of the lower rank begins.
const SHOWN: &str = "Second";

/// Entries that each of two nodes publishes against the other.
const CONTRADICTIONS: u64 = 400;

/// A key's pushes are limited, so that what was published faster is brought by repairs: each node has one a minute
/// with a peer drawn by lot, and within ten of them all have met.
const AGREEMENT: Duration = Duration::from_secs(600);
