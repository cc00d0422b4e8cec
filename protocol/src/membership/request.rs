//! The joining request: a unit's self-signed offer of its root key, before there is a federation.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ContentHash, MemberCode, NodeKey, RootKey},
    membership::charter::{MemberKind, WorkingGroup},
    time::Timestamp,
};

/// What a unit hands to the stewards. Signed by its root key and by its node key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoiningRequest {
    /// The member that asks.
    pub member: MemberCode,
    /// A country or a bureau.
    pub kind: MemberKind,
    /// Its working group.
    pub group: WorkingGroup,
    /// The root key's algorithm.
    pub alg: u64,
    /// The root key.
    pub root: RootKey,
    /// SHA-256 of the next root key's 32 bytes.
    pub next: ContentHash,
    /// The first node's key.
    pub node: NodeKey,
    /// Where the first node can be dialled, `host:port` each: hints, not evidence.
    pub addresses: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
}
