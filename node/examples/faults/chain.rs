//! A chain that an attacker signs under a key of its member, as far and as often as it likes.

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    directory::header::Header,
    document::{Envelope, Payload, sign},
    ids::{ContentHash, DocumentId, FederationId, MemberCode, NodeKey, Sequence},
    limits::FRESHNESS,
    time::Timestamp,
};
use sha2::{Digest as _, Sha256};

use super::arena::Arena;

/// Where a chain ends, and who goes on with it.
#[derive(Clone)]
pub(crate) struct Chain {
    federation: FederationId,
    member: MemberCode,
    key: SigningKey,
    key_set: DocumentId,
    /// Headers so far.
    pub(crate) length: u64,
    last: DocumentId,
}

impl Chain {
    /// One that begins behind a key set of the attacker's member.
    pub(crate) fn new(arena: &Arena, key_set: DocumentId, key: SigningKey) -> anyhow::Result<Self> {
        let (federation, member) = (arena.sample.federation, arena.attacker()?.country.code.clone());
        Ok(Self { federation, member, key, key_set, length: 0, last: key_set })
    }

    /// Signs the next header over a body, and leaves the end where it is: a second one is a fork.
    pub(crate) fn sign<P: Payload>(
        &self,
        kind: fn(Header) -> P,
        now: Timestamp,
        body: &[u8],
    ) -> anyhow::Result<Envelope> {
        let header = Header {
            member: self.member.clone(),
            node: node_key(&self.key),
            key_set: self.key_set.into(),
            sequence: Sequence(self.length),
            predecessor: self.last,
            issued: now,
            fresh_until: now.after(FRESHNESS),
            body: ContentHash::from_bytes(Sha256::digest(body).into()),
            length: body.len() as u64,
        };
        Ok(sign(&kind(header), Some(self.federation), &[&self.key])?)
    }

    /// Goes on behind a header.
    pub(crate) fn follow(&mut self, header: &Envelope) {
        self.last = header.id(Some(self.federation));
        self.length += 1;
    }
}

/// The name of a signing key.
pub(crate) fn node_key(signing: &SigningKey) -> NodeKey {
    NodeKey::from_bytes(signing.verifying_key().to_bytes())
}
