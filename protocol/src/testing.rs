//! Deterministic federations for tests: keys from a seed, a founding charter, key sets, successors.
//!
//! Compiled for this crate's tests and, under the feature `testing`, for those of crates that build on it.
//! Its keys are known to everybody: nothing here may reach a release.
#![allow(clippy::unwrap_used, reason = "a test's own mistake should stop the test where it is")]

pub mod chains;

use std::{collections::BTreeSet, sync::Arc};

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};

use crate::{
    document::{Envelope, Payload, Signature, Unverified, Verified, sign},
    heads::Head,
    ids::{
        CharterVersion, ContentHash, Epoch, FederationId, Generation, Incarnation, KeySetId, MemberCode,
        NodeKey, RootKey, Sequence,
    },
    limits::KEY_SET_REVIEW_DEFAULT,
    membership::{
        Trust,
        charter::{Charter, MemberEntry, MemberKind, MemberStatus, WorkingGroup, root_hash},
        key_set::{KeySet, NodeEntry, NodeState},
    },
    time::Timestamp,
};

/// When everything in a test's founding is issued: 2026-01-01T00:00:00Z.
pub const FOUNDED: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A founded federation with every secret key.
#[derive(Clone, Debug)]
pub struct Federation {
    /// Its id.
    pub id: FederationId,
    /// Charter version 1.
    pub founding: Arc<Verified<Charter>>,
    /// The members by ascending code; the first three are the stewards, two of whom must sign.
    pub units: Vec<Unit>,
    seed: u64,
}

/// One member with its keys.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The member's code.
    pub code: MemberCode,
    /// Its root key.
    pub root: SigningKey,
    /// Its next root key.
    pub next: SigningKey,
    /// Its nodes' keys, in the order of their ranks.
    pub nodes: Vec<SigningKey>,
    /// Its first key set, which lists them as active.
    pub key_set: Arc<Verified<KeySet>>,
}

impl Federation {
    /// Founds a federation of these members (three at least, sorted here), each with this many nodes.
    ///
    /// # Panics
    /// If a code is none, or the members do not make a federation.
    #[must_use]
    pub fn new(seed: u64, codes: &[&str], nodes_each: usize) -> Self {
        let codes = codes.iter().map(|code| code.parse().unwrap()).collect::<BTreeSet<MemberCode>>();
        let entries = codes.iter().map(|code| first_entry(seed, code)).collect::<Vec<_>>();
        let charter = Charter {
            version: CharterVersion(1),
            nonce: Some(ContentHash::from_bytes(key(seed, "nonce", 0).to_bytes())),
            refounds: None,
            parents: Vec::new(),
            threshold: 2,
            stewards: codes.iter().take(3).cloned().collect(),
            members: entries,
        };
        let roots = codes.iter().map(|code| root(seed, code, 0)).collect::<Vec<_>>();
        // Version 1 is signed outside of any federation, so that the id given here does not matter.
        let nowhere = FederationId::from_bytes([0; 32]);
        let founding = verified(&charter, nowhere, &roots.iter().collect::<Vec<_>>());
        let id = FederationId::from(founding.id());
        let mut federation = Self { id, founding, units: Vec::new(), seed };
        federation.units = codes.iter().map(|code| federation.new_unit(code, nodes_each)).collect();
        federation
    }

    /// A member by its code.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    pub fn unit(&self, code: &str) -> &Unit {
        self.units.iter().find(|unit| unit.code.as_str() == code).unwrap()
    }

    /// The evidence of the founding alone.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn founding_trust(&self) -> Trust {
        let mut trust = Trust::new(self.id);
        trust.accept_charter(Arc::clone(&self.founding)).unwrap();
        trust
    }

    /// The evidence of the founding and of every member's first key set.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let mut trust = self.founding_trust();
        for unit in &self.units {
            trust.accept_key_set(Arc::clone(&unit.key_set)).unwrap();
        }
        trust
    }

    /// The keys of a member that is not one yet, with the key set that it would sign under `charter`
    /// version 1; see [`Federation::first_key_set`] for another version.
    #[must_use]
    pub fn new_unit(&self, code: &MemberCode, nodes: usize) -> Unit {
        let root = root(self.seed, code, 0);
        let nodes = (0..nodes).map(|index| node(self.seed, code, index as u64)).collect::<Vec<_>>();
        let key_set = self.first_key_set(&self.founding, code, &root, &nodes);
        Unit { code: code.clone(), root, next: self::root(self.seed, code, 1), nodes, key_set }
    }

    /// A member's entry as a charter lists it first.
    #[must_use]
    pub fn first_entry(&self, code: &MemberCode) -> MemberEntry {
        first_entry(self.seed, code)
    }

    /// A member's root key: 0 is the one it starts with, higher indices for replacements.
    #[must_use]
    pub fn root(&self, code: &MemberCode, index: u64) -> SigningKey {
        root(self.seed, code, index)
    }

    /// A member's node key: those of the first key set have indices from 0.
    #[must_use]
    pub fn node(&self, code: &MemberCode, index: u64) -> SigningKey {
        node(self.seed, code, index)
    }

    /// A charter version that follows `parents`: the first one's content, changed, signed by these roots.
    ///
    /// # Panics
    /// If the change breaks the form.
    #[must_use]
    pub fn successor(
        &self,
        parents: &[&Arc<Verified<Charter>>],
        change: impl FnOnce(&mut Charter),
        signers: &[&SigningKey],
    ) -> Arc<Verified<Charter>> {
        let mut charter = parents.first().unwrap().payload().clone();
        let highest = parents.iter().map(|parent| parent.payload().version).max().unwrap();
        charter.version = highest.next().unwrap();
        charter.nonce = None;
        charter.parents = parents.iter().map(|parent| parent.id().into()).collect();
        charter.parents.sort_unstable();
        change(&mut charter);
        verified(&charter, self.id, signers)
    }

    /// A head of one of a member's nodes, which names these tips.
    ///
    /// # Panics
    /// If there are too many tips, or none.
    #[must_use]
    pub fn head(&self, code: &str, node: usize, tips: &[&Arc<Verified<Charter>>]) -> Arc<Verified<Head>> {
        let unit = self.unit(code);
        let signer = unit.nodes.get(node).unwrap();
        let mut charter = tips.iter().map(|tip| tip.id().into()).collect::<Vec<_>>();
        charter.sort_unstable();
        let head = Head {
            member: unit.code.clone(),
            node: node_key(signer),
            run: FOUNDED,
            number: Sequence(0),
            previous: None,
            time: FOUNDED,
            charter,
            digest: ContentHash::from_bytes([0; 32]),
            journal: None,
        };
        verified(&head, self.id, &[signer])
    }

    /// The first key set of a member under a charter version that lists it with this root.
    ///
    /// # Panics
    /// If the nodes break the form.
    #[must_use]
    pub fn first_key_set(
        &self,
        charter: &Verified<Charter>,
        code: &MemberCode,
        root: &SigningKey,
        nodes: &[SigningKey],
    ) -> Arc<Verified<KeySet>> {
        let mut set = KeySet {
            member: code.clone(),
            charter: charter.id().into(),
            incarnation: charter.payload().member(code).map_or(Incarnation(0), |entry| entry.incarnation),
            generation: Generation(0),
            epoch: Epoch(0),
            ancestors: Vec::new(),
            issued: FOUNDED,
            review: FOUNDED.after(KEY_SET_REVIEW_DEFAULT),
            nodes: nodes.iter().enumerate().map(|(rank, node)| entry(rank as u64, node)).collect(),
            rotation: None,
        };
        set.nodes.sort_unstable_by_key(|entry| entry.key);
        verified(&set, self.id, &[root])
    }

    /// A key set that follows these: the last one's content an hour later, changed, signed by the root.
    ///
    /// # Panics
    /// If the change breaks the form.
    #[must_use]
    pub fn next_key_set(
        &self,
        earlier: &[&Arc<Verified<KeySet>>],
        change: impl FnOnce(&mut KeySet),
        root: &SigningKey,
    ) -> Arc<Verified<KeySet>> {
        let last = earlier.last().unwrap().payload();
        let named = earlier
            .iter()
            .flat_map(|set| set.payload().ancestors.iter().copied().chain([KeySetId::from(set.id())]));
        let epoch = earlier.iter().map(|set| set.payload().epoch).max().unwrap();
        let mut set = KeySet {
            epoch: epoch.next().unwrap(),
            ancestors: named.collect::<BTreeSet<_>>().into_iter().collect(),
            issued: last.issued.after(core::time::Duration::from_secs(3_600)),
            ..last.clone()
        };
        change(&mut set);
        set.nodes.sort_unstable_by_key(|entry| entry.key);
        verified(&set, self.id, &[root])
    }
}

/// Signs a payload and verifies what came of it.
///
/// # Panics
/// If the payload breaks its form.
#[must_use]
pub fn verified<T: Payload>(payload: &T, federation: FederationId, keys: &[&SigningKey]) -> Arc<Verified<T>> {
    Arc::new(opened(envelope(payload, federation, keys), federation))
}

/// Signs a payload.
///
/// # Panics
/// If it cannot be encoded.
#[must_use]
pub fn envelope<T: Payload>(payload: &T, federation: FederationId, keys: &[&SigningKey]) -> Envelope {
    sign(payload, payload.domain(federation), keys).unwrap()
}

/// Opens and verifies an envelope.
///
/// # Panics
/// If it is not a good one.
#[must_use]
pub fn opened<T: Payload>(envelope: Envelope, federation: FederationId) -> Verified<T> {
    Unverified::open(envelope).unwrap().verify(federation).unwrap()
}

/// A key that depends on nothing but these.
#[must_use]
pub fn key(seed: u64, label: &str, index: u64) -> SigningKey {
    let digest = Sha256::new()
        .chain_update(seed.to_be_bytes())
        .chain_update(index.to_be_bytes())
        .chain_update(label.as_bytes())
        .finalize();
    SigningKey::from_bytes(&digest.into())
}

/// The public half of a node's key.
#[must_use]
pub fn node_key(key: &SigningKey) -> NodeKey {
    NodeKey::from_bytes(key.verifying_key().to_bytes())
}

/// The public half of a root key.
#[must_use]
pub fn root_key(key: &SigningKey) -> RootKey {
    RootKey::from_bytes(key.verifying_key().to_bytes())
}

/// A node's entry in a key set: active, without earlier chains.
#[must_use]
pub fn entry(rank: u64, node: &SigningKey) -> NodeEntry {
    NodeEntry {
        alg: Signature::ED25519,
        key: node_key(node),
        rank,
        state: NodeState::Active,
        since: None,
        node_record: None,
        reference_point: None,
    }
}

fn root(seed: u64, code: &MemberCode, index: u64) -> SigningKey {
    key(seed, &format!("{code} root"), index)
}

fn node(seed: u64, code: &MemberCode, index: u64) -> SigningKey {
    key(seed, &format!("{code} node"), index)
}

fn first_entry(seed: u64, code: &MemberCode) -> MemberEntry {
    MemberEntry {
        code: code.clone(),
        kind: MemberKind::of(code),
        incarnation: Incarnation(0),
        alg: Signature::ED25519,
        root: root_key(&root(seed, code, 0)),
        next: root_hash(&root_key(&root(seed, code, 1))),
        status: MemberStatus::Active,
        group: WorkingGroup::Eurasia,
    }
}
