//! Attacks of a member whose every document is valid: gossip without end, and two nodes that contradict each other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ed25519_dalek::SigningKey;
use refpoint::network::names;
use refpoint_protocol::{
    directory::{
        header::{Header, NodeRecordHeader, ReferencePointHeader},
        reference_point::{LocalText, ReferencePoint},
    },
    document::{Envelope, Signature, decode, encode, sign},
    evidence::{
        push::Pushed,
        repair::{Documents, RepairRequest},
    },
    ids::{ContentHash, DocumentId, KeySetId, NodeKey, Sequence},
    limits::{CHAIN_LENGTH_MAX, FRESHNESS},
    membership::key_set::{KeySet, NodeEntry, NodeState},
};
use sha2::{Digest as _, Sha256};

use super::{
    arena::Arena,
    peer::{GOSSIP, Peer, data, field, varint},
};

/// Headers of the attacker's own chain, each of them good, pushed about a thousand a second; it comes back whenever
/// it is cut off.
pub(crate) async fn flood(arena: &Arena) -> anyhow::Result<()> {
    let topic = names::evidence_topic(arena.sample.federation).hash().into_string();
    let joined = field(1, &[vec![8, 1], field(2, topic.as_bytes())].concat());
    let joined = [varint(joined.len() as u64), joined].concat();
    let mut chain = Renewals::new(arena)?;
    loop {
        let Ok(mut peer) = arena.enter().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        peer.drain();
        peer.say(1, GOSSIP, &joined).await;
        loop {
            let mut pieces = Vec::new();
            for document in chain.next(8)? {
                let pushed = encode(&Pushed { document, body: None })?;
                let rpc = field(2, &[field(2, &pushed), field(4, topic.as_bytes())].concat());
                pieces.extend([varint(rpc.len() as u64), rpc].concat());
            }
            if !peer.write(&data(1, 0, &pieces)).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
    }
}

/// Renewals of the attacker's node record, from the first on; after the longest chain it begins again, so that each
/// is a fork of one that was sent.
struct Renewals<'a> {
    arena: &'a Arena,
    sequence: u64,
    last: DocumentId,
}

impl<'a> Renewals<'a> {
    fn new(arena: &'a Arena) -> anyhow::Result<Self> {
        let last = arena.attacker()?.key_set.id(Some(arena.sample.federation));
        Ok(Self { arena, sequence: 0, last })
    }

    fn next(&mut self, count: usize) -> anyhow::Result<Vec<Envelope>> {
        let attacker = self.arena.attacker()?;
        let federation = Some(self.arena.sample.federation);
        let mut signed = Vec::with_capacity(count);
        for _ in 0..count {
            if self.sequence == CHAIN_LENGTH_MAX {
                *self = Self::new(self.arena)?;
            }
            let header = Header {
                member: attacker.country.code.clone(),
                node: attacker.node.key(),
                key_set: attacker.key_set.id(federation).into(),
                sequence: Sequence(self.sequence),
                predecessor: self.last,
                issued: self.arena.now(),
                fresh_until: self.arena.now().after(FRESHNESS),
                body: ContentHash::from_bytes(Sha256::digest(b"a record").into()),
                length: 100,
            };
            let envelope = sign(&NodeRecordHeader(header), federation, &[attacker.node.signing_key()])?;
            self.last = envelope.id(federation);
            self.sequence += 1;
            signed.push(envelope);
        }
        Ok(signed)
    }
}

/// The attacker's member lists a second node before its first; both come in, each with an entry of its own that
/// contradicts the other's, and renew it again and again.
pub(crate) async fn two_nodes(arena: &Arena) -> anyhow::Result<()> {
    let attacker = arena.attacker()?;
    let (first, second) = (attacker.node.signing_key().clone(), SigningKey::from_bytes(&[0x5C; 32]));
    let key_set = key_set(arena, &second)?;
    let presence = arena.with_key_set(&key_set, NodeKey::from_bytes(second.verifying_key().to_bytes()))?;
    let id = key_set.id(Some(arena.sample.federation));
    let mut chains = [Chain::new(arena, id, first, "First")?, Chain::new(arena, id, second.clone(), SHOWN)?];
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
            for (chain, peer) in chains.iter_mut().zip(&mut peers) {
                let give = encode(&RepairRequest::Give(chain.next()?.unwrap_or_default()))?;
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

fn key_set(arena: &Arena, second: &SigningKey) -> anyhow::Result<Envelope> {
    let attacker = arena.attacker()?;
    let federation = Some(arena.sample.federation);
    let first: KeySet = decode(&attacker.key_set.payload, Envelope::BYTES_MAX)?;
    let mut nodes = first.nodes.clone();
    for entry in &mut nodes {
        entry.rank = 1;
    }
    nodes.push(NodeEntry {
        alg: Signature::ED25519,
        key: NodeKey::from_bytes(second.verifying_key().to_bytes()),
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

/// A reference-point chain of one of the two nodes.
struct Chain<'a> {
    arena: &'a Arena,
    key_set: DocumentId,
    key: SigningKey,
    name: &'static str,
    sequence: u64,
    last: DocumentId,
    entry: ReferencePoint,
}

impl<'a> Chain<'a> {
    fn new(
        arena: &'a Arena,
        key_set: DocumentId,
        key: SigningKey,
        name: &'static str,
    ) -> anyhow::Result<Self> {
        let entry = arena.attacker()?.entry.clone();
        Ok(Self { arena, key_set, key, name, sequence: 0, last: key_set, entry })
    }

    /// The next entry, until the chain is long enough.
    fn next(&mut self) -> anyhow::Result<Option<Documents>> {
        if self.sequence == CONTRADICTIONS {
            return Ok(None);
        }
        let number = self.sequence;
        let text = format!("{} unit, {number}", self.name);
        self.entry.names = vec![LocalText { language: "en".to_owned(), text }];
        let body = encode(&self.entry)?;
        let header = Header {
            member: self.arena.attacker()?.country.code.clone(),
            node: NodeKey::from_bytes(self.key.verifying_key().to_bytes()),
            key_set: self.key_set.into(),
            sequence: Sequence(number),
            predecessor: self.last,
            issued: self.arena.now(),
            fresh_until: self.arena.now().after(FRESHNESS),
            body: ContentHash::from_bytes(Sha256::digest(&body).into()),
            length: body.len() as u64,
        };
        let federation = Some(self.arena.sample.federation);
        let envelope = sign(&ReferencePointHeader(header), federation, &[&self.key])?;
        self.last = envelope.id(federation);
        self.sequence += 1;
        Ok(Some(Documents { envelopes: vec![envelope], bodies: vec![body.into()] }))
    }
}

/// How the entry of the node of the lower rank begins.
const SHOWN: &str = "Second";

/// Entries that each of two nodes publishes against the other.
const CONTRADICTIONS: u64 = 400;

/// A key's pushes are limited, so that what was published faster is brought by repairs: each node has one a minute
/// with a peer drawn by lot, and within ten of them all have met.
const AGREEMENT: Duration = Duration::from_secs(600);
