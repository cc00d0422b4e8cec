//! Chains for tests: headers and bodies of a test federation's nodes.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};

use super::{FOUNDED, Federation, Unit, verified};
use crate::{
    directory::{
        header::{ChainKey, ChainKind, Header, NodeRecordHeader, ReferencePointHeader},
        node_record::{NodeRecord, SealingKeyEntry},
        reference_point::{Channel, ChannelKind, LocalText, ReferencePoint},
    },
    document::{Verified, encode},
    evidence::AnyDocument,
    ids::{ContentHash, DocumentId, FederationId, MemberCode, NodeKey, Sequence},
    limits::{FRESHNESS, SEALING_KEY_VALIDITY},
    membership::{key_set::KeySet, settlement::Certificate},
    time::Timestamp,
};

/// Writes one chain, header after header. A clone writes a twin.
#[derive(Clone, Debug)]
pub struct ChainWriter {
    federation: FederationId,
    member: MemberCode,
    signer: SigningKey,
    /// The chain.
    pub key: ChainKey,
    /// The next header's place.
    pub sequence: Sequence,
    /// The next header's predecessor.
    pub predecessor: DocumentId,
    /// When the next header is issued; each is a minute after the one before.
    pub issued: Timestamp,
}

impl ChainWriter {
    /// Begins a chain of one of a unit's nodes under its first key set.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn new(federation: &Federation, unit: &Unit, node: usize, kind: ChainKind) -> Self {
        Self::under(federation, &unit.key_set, unit.nodes.get(node).unwrap(), kind)
    }

    /// Begins a chain of a node under a key set.
    #[must_use]
    pub fn under(
        federation: &Federation,
        set: &Verified<KeySet>,
        node: &SigningKey,
        kind: ChainKind,
    ) -> Self {
        Self {
            federation: federation.id,
            member: set.payload().member.clone(),
            signer: node.clone(),
            key: ChainKey {
                node: NodeKey::from_bytes(node.verifying_key().to_bytes()),
                key_set: set.id().into(),
                kind,
            },
            sequence: Sequence(0),
            predecessor: set.id(),
            issued: FOUNDED,
        }
    }

    /// The next header as a payload.
    #[must_use]
    pub fn header(&self, body: &[u8]) -> Header {
        Header {
            member: self.member.clone(),
            node: self.key.node,
            key_set: self.key.key_set,
            sequence: self.sequence,
            predecessor: self.predecessor,
            issued: self.issued,
            fresh_until: self.issued.after(FRESHNESS),
            body: ContentHash::from_bytes(Sha256::digest(body).into()),
            length: body.len() as u64,
        }
    }

    /// Signs the next header and moves on.
    ///
    /// # Panics
    /// If it breaks its form.
    pub fn write(&mut self, body: &[u8]) -> AnyDocument {
        let document = self.sign(self.header(body));
        self.sequence = self.sequence.next().unwrap();
        self.predecessor = document.id();
        self.issued = self.issued.after(core::time::Duration::from_secs(60));
        document
    }

    /// Signs a header as it is.
    ///
    /// # Panics
    /// If it breaks its form.
    #[must_use]
    pub fn sign(&self, header: Header) -> AnyDocument {
        let keys = [&self.signer];
        match self.key.kind {
            ChainKind::NodeRecord => {
                AnyDocument::NodeRecord(verified(&NodeRecordHeader(header), self.federation, &keys))
            }
            ChainKind::ReferencePoint => {
                AnyDocument::ReferencePoint(verified(&ReferencePointHeader(header), self.federation, &keys))
            }
        }
    }
}

/// A charter version or key set as any document.
pub trait IntoAny {
    /// The same document.
    fn any(&self) -> AnyDocument;
}

impl IntoAny for Arc<Verified<crate::membership::charter::Charter>> {
    fn any(&self) -> AnyDocument {
        AnyDocument::Charter(Arc::clone(self))
    }
}

impl IntoAny for Arc<Certificate> {
    fn any(&self) -> AnyDocument {
        AnyDocument::Settlement(Arc::clone(self))
    }
}

impl IntoAny for Arc<Verified<KeySet>> {
    fn any(&self) -> AnyDocument {
        AnyDocument::KeySet(Arc::clone(self))
    }
}

/// A reference point that differs by its number.
#[must_use]
pub fn reference_point(number: u8) -> ReferencePoint {
    ReferencePoint {
        salt: [number; 16],
        names: vec![LocalText { language: "en".into(), text: format!("Cybercrime Unit {number}") }],
        agency: None,
        channels: vec![Channel {
            kind: ChannelKind::Telephone,
            value: "+000 000".into(),
            always: true,
            note: None,
        }],
        languages: vec!["en".into()],
        competences: Vec::new(),
        on_duty: None,
        time_zone: "Etc/UTC".into(),
        sample: true,
    }
}

/// A node record that differs by its number.
#[must_use]
pub fn node_record(number: u8) -> NodeRecord {
    NodeRecord {
        salt: [number; 16],
        addresses: vec![format!("node{number}.example:4001")],
        sealing_keys: vec![sealing_key(number, FOUNDED)],
        reads: Vec::new(),
        wire: vec![1],
        software: "refpoint 0.1.0".into(),
    }
}

/// A sealing key in form, with no seed behind it, valid from then on.
#[must_use]
pub fn sealing_key(number: u8, from: Timestamp) -> SealingKeyEntry {
    SealingKeyEntry {
        kem: SealingKeyEntry::X_WING,
        key: vec![number.max(1); SealingKeyEntry::X_WING_KEY_BYTES],
        from,
        until: from.after(SEALING_KEY_VALIDITY),
    }
}

/// The bytes of a body.
///
/// # Panics
/// If it cannot be encoded.
#[must_use]
pub fn body<T: serde::Serialize>(body: &T) -> Vec<u8> {
    encode(body).unwrap()
}
