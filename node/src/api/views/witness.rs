//! What came of having the journal cosigned.

use refpoint_protocol::ids::{MemberCode, NodeKey, TreeRoot};
use serde::{Deserialize, Serialize};

use super::instant::Instant;

/// A checkpoint of this node's journal, and who cosigned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessReply {
    /// When the journal began.
    pub began: Instant,
    /// Its entries.
    pub entries: u64,
    /// Their root.
    pub root: TreeRoot,
    /// When the checkpoint was signed.
    pub made: Instant,
    /// Whose nodes cosigned.
    pub cosigned: Vec<CosignedBy>,
    /// Whose nodes were asked and did not.
    pub refused: Vec<NotCosigned>,
    /// The member whose node holds another past of this node's journal: a new one begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<MemberCode>,
}

/// A witness that cosigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CosignedBy {
    /// Its member.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
}

/// A node that did not cosign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCosigned {
    /// Its member.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
    /// Why, in plain words.
    pub why: String,
}
