//! The key set's payload: a member's root-signed list of its nodes' keys.

use serde::{Deserialize, Serialize};

use super::{charter::root_hash, require};
use crate::{
    document::{FormError, Kind, Payload, Signature, SignatureBounds},
    ids::{
        CharterId, ContentHash, Epoch, Generation, HeaderId, Incarnation, KeySetId, MemberCode, NodeKey,
        RootKey,
    },
    limits::{
        GENERATION_MAX, KEY_SET_ANCESTORS_MAX, KEY_SET_BYTES_MAX, KEY_SET_SIGNATURES_BYTES_MAX,
        KEY_SET_SIGNATURES_MAX, NODES_PER_MEMBER_MAX,
    },
    time::Timestamp,
};

/// A member's list of node keys, signed by its root key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet {
    /// The member.
    pub member: MemberCode,
    /// A charter version that lists the signing root under this incarnation: a named ancestor.
    pub charter: CharterId,
    /// The incarnation in that version.
    pub incarnation: Incarnation,
    /// How often the root was rotated to its pre-committed successor in this incarnation.
    pub generation: Generation,
    /// Its place in the generation, from 0: one more than the highest it names.
    pub epoch: Epoch,
    /// *All* earlier key sets of the generation, sorted, so that descent shows across gaps.
    pub ancestors: Vec<KeySetId>,
    /// When the root's owner signed it.
    pub issued: Timestamp,
    /// When it should be looked at again: past this it is overdue, and stays valid.
    pub review: Timestamp,
    /// The node keys, by ascending key.
    pub nodes: Vec<NodeEntry>,
    /// In generations above 0: which root key signs, instead of the one that the charter lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// How a key set stands to the rotation that began its generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// It is the rotation: the generation's first key set, which reveals the root key that was announced.
    Opens(Opening),
    /// It follows this one, a named ancestor whose revealed root signs.
    Follows(KeySetId),
}

/// A root's rotation to its pre-committed successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The revealed root key's algorithm: [`crate::document::Signature::ED25519`].
    pub alg: u64,
    /// The revealed root key, whose hash was announced before.
    pub root: RootKey,
    /// SHA-256 of the next root key's 32 bytes: what the next rotation will reveal.
    pub next: ContentHash,
    /// In generations above 1: the opening of the generation before, a named ancestor, which announced the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<KeySetId>,
    /// The newest key set of the generation before that its owner signed: what is neither it nor named by it is
    /// void. It need not be held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<KeySetId>,
}

/// One node key in a key set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// The key's algorithm: [`crate::document::Signature::ED25519`].
    pub alg: u64,
    /// The node key.
    pub key: NodeKey,
    /// Which node's reference point is shown first: the lowest rank that is fresh.
    pub rank: u64,
    /// Whether the key may still be used.
    pub state: NodeState,
    /// For `retired` and `compromised`: since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The last header of the node's earlier node-record chain that counts: shown until the new chain has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_record: Option<HeaderId>,
    /// The same of its reference-point chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_point: Option<HeaderId>,
}

/// States of a node key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// In use.
    Active,
    /// Out of use in good order.
    Retired,
    /// In strange hands.
    Compromised,
}

impl KeySet {
    /// What it says of a node key.
    #[must_use]
    pub fn node(&self, key: &NodeKey) -> Option<&NodeEntry> {
        let index = self.nodes.binary_search_by(|entry| entry.key.cmp(key)).ok()?;
        self.nodes.get(index)
    }

    /// Whether it names an earlier key set.
    #[must_use]
    pub fn names(&self, earlier: &KeySetId) -> bool {
        self.ancestors.binary_search(earlier).is_ok()
    }
}

impl Payload for KeySet {
    const KIND: Kind = Kind::KeySet;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = KEY_SET_BYTES_MAX;
    const SIGNATURES: SignatureBounds =
        SignatureBounds { count: KEY_SET_SIGNATURES_MAX, bytes: KEY_SET_SIGNATURES_BYTES_MAX };

    fn check_form(&self) -> Result<(), FormError> {
        let count = self.nodes.len();
        require(count <= NODES_PER_MEMBER_MAX, "KS-01", || {
            format!("{count} nodes, at most {NODES_PER_MEMBER_MAX} are allowed")
        })?;
        require(self.nodes.is_sorted_by(|a, b| a.key < b.key), "KS-01", || {
            "nodes are not sorted by key, or one stands twice".into()
        })?;
        for entry in &self.nodes {
            entry.check_form()?;
        }
        let named = self.ancestors.len();
        require(named <= KEY_SET_ANCESTORS_MAX, "KS-04", || {
            format!("{named} earlier key sets, at most {KEY_SET_ANCESTORS_MAX} are allowed")
        })?;
        require(self.ancestors.is_sorted_by(|a, b| a < b), "KS-04", || {
            "earlier key sets are not sorted, or one stands twice".into()
        })?;
        // Every epoch below its own has at least one key set, and all of them are named.
        let epoch = self.epoch.0;
        require((epoch == 0) == (named == 0) && epoch <= named as u64, "KS-05", || {
            format!("epoch {epoch} with {named} earlier key sets named")
        })?;
        require(self.review >= self.issued, "KS-06", || {
            format!("review at {} before its issue at {}", self.review, self.issued)
        })?;
        require(self.generation <= Generation(GENERATION_MAX), "KS-07", || {
            format!("generation {}, at most {GENERATION_MAX} are allowed", self.generation)
        })?;
        self.check_rotation()
    }
}

impl KeySet {
    fn check_rotation(&self) -> Result<(), FormError> {
        let (generation, epoch) = (self.generation, self.epoch);
        let fits = match &self.rotation {
            None => generation == Generation(0),
            Some(Rotation::Opens(opening)) => {
                generation > Generation(0)
                    && epoch == Epoch(0)
                    && opening.after.is_some() == (generation > Generation(1))
            }
            // What names another has an epoch above 0 (KS-05).
            Some(Rotation::Follows(opening)) => generation > Generation(0) && self.names(opening),
        };
        require(fits, "KS-07", || {
            format!("its rotation does not fit generation {generation}, epoch {epoch}")
        })?;
        let Some(Rotation::Opens(opening)) = &self.rotation else { return Ok(()) };
        require(opening.alg == Signature::ED25519, "KS-02", || {
            format!("the revealed root key has algorithm {}, expected {}", opening.alg, Signature::ED25519)
        })?;
        require(opening.next != root_hash(&opening.root), "KS-07", || {
            "the next root key is the revealed one".into()
        })
    }

    /// The rotation that it is, if it is one.
    #[must_use]
    pub const fn opening(&self) -> Option<&Opening> {
        match &self.rotation {
            Some(Rotation::Opens(opening)) => Some(opening),
            Some(Rotation::Follows(_)) | None => None,
        }
    }

    /// The opening that must be held to say whose signature counts: its own generation's, or for an opening the
    /// one before.
    #[must_use]
    pub const fn named_opening(&self) -> Option<KeySetId> {
        match &self.rotation {
            Some(Rotation::Opens(opening)) => opening.after,
            Some(Rotation::Follows(opening)) => Some(*opening),
            None => None,
        }
    }
}

impl NodeEntry {
    fn check_form(&self) -> Result<(), FormError> {
        let key = self.key.short();
        require(self.alg == Signature::ED25519, "KS-02", || {
            format!("node key {key} has algorithm {}, expected {}", self.alg, Signature::ED25519)
        })?;
        require((self.state == NodeState::Active) == self.since.is_none(), "KS-03", || {
            format!("node key {key} has `since` while active, or lacks it while not")
        })
    }
}
