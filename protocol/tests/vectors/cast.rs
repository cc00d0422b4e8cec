//! The federation of the vectors: four members with fixed keys, and what they sign.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    crypto::SealingSeed,
    directory::{
        header::{ChainKey, ChainKind, Header},
        node_record::{NodeRecord, ReadableKind},
        reference_point::{
            Channel, ChannelKind, Competence, CompetenceMode, CompetenceTask, LocalText, OnDuty,
            ReferencePoint,
        },
    },
    document::{Envelope, Payload, Signature, Unverified, Verified, encode, sign},
    ids::{
        CharterId, CharterVersion, ContentHash, DocumentId, Epoch, FederationId, Generation, Incarnation,
        KeySetId, MemberCode, NodeKey, RootKey, Sequence,
    },
    membership::{
        charter::{Charter, MemberEntry, MemberKind, MemberStatus, Refounded, WorkingGroup, root_hash},
        key_set::{KeySet, NodeEntry, NodeState, Opening, Rotation},
    },
    time::Timestamp,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::hexadecimal;

/// When everything was signed: 2026-01-01T00:00:00Z.
pub(super) const FOUNDED: u64 = 1_767_225_600_000;

/// Members of charter version 1; the first three are its stewards.
pub(super) const FOUNDERS: [&str; 4] = ["BR", "FR", "KE", "SG"];

/// Charter version 1 and the first key sets.
pub(super) struct Cast {
    pub(super) federation: FederationId,
    pub(super) founding: Arc<Verified<Charter>>,
}

impl Cast {
    pub(super) fn new() -> Self {
        let charter = Charter {
            version: CharterVersion(1),
            nonce: Some(hash(b"nonce")),
            refounds: None,
            parents: Vec::new(),
            threshold: 2,
            stewards: FOUNDERS.iter().take(3).map(|code| member(code)).collect(),
            members: FOUNDERS.iter().map(|code| listing(code)).collect(),
        };
        let roots: Vec<_> = FOUNDERS.iter().map(|code| root(code)).collect();
        let nowhere = FederationId::from_bytes([0; 32]);
        let envelope = sign(&charter, None, &roots.iter().collect::<Vec<_>>()).unwrap();
        let founding = Arc::new(Unverified::open(envelope).unwrap().verify(nowhere).unwrap());
        Self { federation: FederationId::from(founding.id()), founding }
    }

    pub(super) fn verified<T: Payload>(&self, payload: &T, keys: &[&SigningKey]) -> Arc<Verified<T>> {
        let opened = Unverified::open(self.signed(payload, keys)).unwrap();
        Arc::new(opened.verify(self.federation).unwrap())
    }

    pub(super) fn signed<T: Payload>(&self, payload: &T, keys: &[&SigningKey]) -> Envelope {
        sign(payload, payload.domain(self.federation), keys).unwrap()
    }

    /// The founding of a federation that takes the place of this one.
    pub(super) fn refounding(&self) -> Charter {
        let mut charter = self.founding.payload().clone();
        charter.nonce = Some(hash(b"nonce of a second founding"));
        charter.refounds = Some(self.refounded());
        charter
    }

    /// How it names this one.
    pub(super) fn refounded(&self) -> Refounded {
        Refounded { federation: self.federation, tips: vec![self.founding.id().into()] }
    }

    /// A version that follows these: the first one's content, changed.
    pub(super) fn successor(
        &self,
        parents: &[&Arc<Verified<Charter>>],
        signers: &[&SigningKey],
        change: impl FnOnce(&mut Charter),
    ) -> Arc<Verified<Charter>> {
        let mut charter = parents[0].payload().clone();
        let highest = parents.iter().map(|parent| parent.payload().version).max().unwrap();
        charter.version = highest.next().unwrap();
        charter.nonce = None;
        charter.parents = parents.iter().map(|parent| CharterId::from(parent.id())).collect();
        charter.parents.sort_unstable();
        change(&mut charter);
        charter.members.sort_by(|one, other| one.code.cmp(&other.code));
        self.verified(&charter, signers)
    }

    /// A member's first key set, with one active node.
    pub(super) fn key_set(&self, code: &str, charter: &Verified<Charter>) -> KeySet {
        KeySet {
            member: member(code),
            charter: charter.id().into(),
            incarnation: Incarnation(0),
            generation: Generation(0),
            epoch: Epoch(0),
            ancestors: Vec::new(),
            issued: at(0),
            review: at(400 * 86_400),
            nodes: vec![entry(0, &node(code, 0))],
            rotation: None,
        }
    }

    /// The rotation of a member's root to the one that it announced, on a base.
    pub(super) fn rotation(&self, code: &str, base: &Verified<KeySet>, number: u8) -> Arc<Verified<KeySet>> {
        let revealed = key(&format!("{code} next root"));
        let mut set = base.payload().clone();
        (set.generation, set.epoch, set.ancestors) = (Generation(1), Epoch(0), Vec::new());
        set.nodes = vec![entry(0, &node(code, number))];
        set.rotation = Some(Rotation::Opens(Opening {
            alg: Signature::ED25519,
            root: root_key(&revealed),
            next: root_hash(&root_key(&key(&format!("{code} third root")))),
            after: None,
            base: Some(base.id().into()),
        }));
        self.verified(&set, &[&revealed])
    }

    /// The key set after a rotation, with one more node, signed by the revealed root.
    pub(super) fn after_rotation(
        &self,
        code: &str,
        opening: &Verified<KeySet>,
        number: u8,
    ) -> Arc<Verified<KeySet>> {
        let mut set = opening.payload().clone();
        (set.epoch, set.ancestors) = (Epoch(1), vec![opening.id().into()]);
        set.nodes.push(entry(1, &node(code, number)));
        set.nodes.sort_by_key(|entry| entry.key);
        set.rotation = Some(Rotation::Follows(opening.id().into()));
        self.verified(&set, &[&key(&format!("{code} next root"))])
    }

    /// The key set after these: the last one's content a day later, changed.
    pub(super) fn next_key_set(
        &self,
        earlier: &[&Arc<Verified<KeySet>>],
        change: impl FnOnce(&mut KeySet),
    ) -> Arc<Verified<KeySet>> {
        let last = earlier.last().unwrap().payload();
        let mut set =
            KeySet { issued: last.issued.after(std::time::Duration::from_secs(86_400)), ..last.clone() };
        set.epoch = earlier.iter().map(|set| set.payload().epoch).max().unwrap().next().unwrap();
        set.ancestors = earlier
            .iter()
            .flat_map(|set| set.payload().ancestors.iter().copied().chain([KeySetId::from(set.id())]))
            .collect();
        set.ancestors.sort_unstable();
        set.ancestors.dedup();
        change(&mut set);
        set.nodes.sort_unstable_by_key(|entry| entry.key);
        let key = root(set.member.as_str());
        self.verified(&set, &[&key])
    }
}

/// A header's payload in the chain of a member's first node.
pub(super) fn header(
    code: &str,
    key_set: DocumentId,
    sequence: u64,
    predecessor: DocumentId,
    body: &[u8],
) -> Header {
    Header {
        member: member(code),
        node: public(&node(code, 0)),
        key_set: key_set.into(),
        sequence: Sequence(sequence),
        predecessor,
        issued: at(86_400 * sequence),
        fresh_until: at(86_400 * (sequence + 7)),
        body: hash(body),
        length: body.len() as u64,
    }
}

pub(super) fn chain(code: &str, key_set: DocumentId, kind: ChainKind) -> ChainKey {
    ChainKey { node: public(&node(code, 0)), key_set: key_set.into(), kind }
}

/// A node record with everything that it can hold.
pub(super) fn node_record() -> NodeRecord {
    let seed = |byte| SealingSeed::from_bytes([byte; 32]).expand();
    NodeRecord {
        salt: [0x5A; 16],
        addresses: vec!["node.ke.example:4001".into(), "[2001:db8::1]:4001".into(), "192.0.2.1:4001".into()],
        sealing_keys: vec![
            seed(1).entry(at(0), at(30 * 86_400)),
            seed(2).entry(at(30 * 86_400), at(60 * 86_400)),
        ],
        reads: vec![ReadableKind { kind: "charter".into(), version: 1 }],
        wire: vec![1],
        software: "refpoint 0.1.0".into(),
    }
}

/// A reference point with everything that it can hold.
pub(super) fn reference_point() -> ReferencePoint {
    ReferencePoint {
        salt: [0xA5; 16],
        names: vec![
            LocalText { language: "en".into(), text: "Cybercrime Unit".into() },
            LocalText { language: "ar".into(), text: "وحدة الجرائم السيبرانية".into() },
        ],
        agency: Some("Police".into()),
        channels: vec![Channel {
            kind: ChannelKind::Telephone,
            value: "+254 000 000 000".into(),
            always: true,
            note: Some("ask for the duty officer".into()),
        }],
        languages: vec!["en".into(), "sw".into()],
        competences: vec![Competence { task: CompetenceTask::Preservation, mode: CompetenceMode::Performs }],
        on_duty: Some(OnDuty { role: "duty officer".into(), languages: vec!["en".into()] }),
        time_zone: "Africa/Nairobi".into(),
        sample: true,
    }
}

pub(super) fn member(code: &str) -> MemberCode {
    code.parse().unwrap()
}

/// Seconds after the founding.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(FOUNDED + 1_000 * seconds)
}

pub(super) fn hash(bytes: &[u8]) -> ContentHash {
    ContentHash::from_bytes(Sha256::digest(bytes).into())
}

/// The root key of a member: its seed is SHA-256 of `<code> root`.
pub(super) fn root(code: &str) -> SigningKey {
    key(&format!("{code} root"))
}

/// A node key of a member: its seed is SHA-256 of `<code> node <number>`.
pub(super) fn node(code: &str, number: u8) -> SigningKey {
    key(&format!("{code} node {number}"))
}

pub(super) fn key(label: &str) -> SigningKey {
    SigningKey::from_bytes(hash(label.as_bytes()).as_bytes())
}

pub(super) fn public(key: &SigningKey) -> NodeKey {
    NodeKey::from_bytes(key.verifying_key().to_bytes())
}

pub(super) fn root_key(key: &SigningKey) -> RootKey {
    RootKey::from_bytes(key.verifying_key().to_bytes())
}

/// An active node in a key set.
pub(super) fn entry(rank: u64, key: &SigningKey) -> NodeEntry {
    NodeEntry {
        alg: Signature::ED25519,
        key: public(key),
        rank,
        state: NodeState::Active,
        since: None,
        node_record: None,
        reference_point: None,
    }
}

/// How a charter lists a member first.
pub(super) fn listing(code: &str) -> MemberEntry {
    let code = member(code);
    MemberEntry {
        kind: MemberKind::of(&code),
        incarnation: Incarnation(0),
        alg: Signature::ED25519,
        root: root_key(&root(code.as_str())),
        next: root_hash(&root_key(&key(&format!("{code} next root")))),
        status: MemberStatus::Active,
        group: WorkingGroup::Eurasia,
        code,
    }
}

/// An envelope with its name and id.
pub(super) fn named(name: &str, id: DocumentId, envelope: &Envelope) -> Value {
    json!({
        "name": name,
        "id": id,
        "cddl": "envelope",
        "bytes": hexadecimal(&encode(envelope).unwrap()),
    })
}
