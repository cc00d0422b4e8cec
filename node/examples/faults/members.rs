//! The attack of a member whose every document is valid: gossip without end.

use std::time::Duration;

use refpoint::network::names;
use refpoint_protocol::{
    directory::header::{Header, NodeRecordHeader},
    document::{Envelope, encode, sign},
    evidence::push::Pushed,
    ids::{ContentHash, DocumentId, Sequence},
    limits::{CHAIN_LENGTH_MAX, FRESHNESS},
};
use sha2::{Digest as _, Sha256};

use super::{
    arena::Arena,
    peer::{GOSSIP, data, field, varint},
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
