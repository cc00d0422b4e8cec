//! The key set's payload: a member's root-signed list of its nodes' keys.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{CharterId, Epoch, Generation, HeaderId, Incarnation, KeySetId, MemberCode, NodeKey},
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
    /// Rotations of the root so far; 0 until root rotation exists.
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
