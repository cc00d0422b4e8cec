//! What this node holds as a witness of others' journals.

use refpoint_protocol::{
    audit::witness::{Doubt, WitnessedRow},
    ids::{MemberCode, NodeKey},
};
use serde::{Deserialize, Serialize};

use super::instant::Instant;

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessedReply {
    /// By node key.
    pub nodes: Vec<WitnessedNode>,
    /// Rows that cannot be read any more.
    pub damaged: u64,
}

/// What this node cosigned of one node's journals, and what contradicted that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessedNode {
    /// The node.
    pub node: NodeKey,
    /// Where its journal stood when it was cosigned last; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<WitnessedState>,
    /// Where the journals before it stood when they were cosigned last: notes signed by the node, the oldest first.
    pub ended: Vec<String>,
    /// What contradicted what was cosigned, or said in a head: the first of each kind.
    pub refuted: Vec<RefutedCheckpoint>,
}

/// A checkpoint that was cosigned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessedState {
    /// The node's member.
    pub member: MemberCode,
    /// When the journal began.
    pub began: Instant,
    /// Its entries.
    pub entries: u64,
    /// When the checkpoint was signed, by its node's clock.
    pub made: Instant,
    /// The checkpoint: a note signed by the node.
    pub note: String,
}

/// Two things that one node signed and that cannot both be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefutedCheckpoint {
    /// What is wrong.
    pub doubt: Doubt,
    /// When it was refused, by this node's clock.
    pub at: Instant,
    /// What this node held: a signed note, or a signed head's envelope in base64 if it knew the journal by that alone.
    pub held: String,
    /// What it refused: a signed note.
    pub refused: String,
}

impl WitnessedNode {
    /// What a row says.
    #[must_use]
    pub fn of(node: NodeKey, row: WitnessedRow) -> Self {
        let newest = row.last().zip(row.newest).map(|(read, note)| WitnessedState {
            member: read.origin.member,
            began: read.origin.began.into(),
            entries: read.size,
            made: read.made.into(),
            note,
        });
        let refuted = row.refuted.into_iter().map(|it| RefutedCheckpoint {
            doubt: it.doubt,
            at: it.at.into(),
            held: it.held,
            refused: it.refused,
        });
        Self { node, newest, ended: row.ended, refuted: refuted.collect() }
    }

    /// The node's member, as the node itself signed it.
    #[must_use]
    pub fn member(&self) -> Option<MemberCode> {
        use refpoint_protocol::audit::JournalCheckpoint;
        let refused = self.refuted.first().and_then(|it| JournalCheckpoint::read(it.refused.as_bytes()).ok());
        let newest = self.newest.as_ref().map(|newest| newest.member.clone());
        newest.or(refused.map(|read| read.origin.member))
    }
}
