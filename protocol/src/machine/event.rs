//! Past-tense facts for people, the API and the alert command. No content, no person, no case.

use serde::{Deserialize, Serialize};

use crate::{
    audit::witness::Doubt,
    directory::header::ChainKind,
    document::EncodeError,
    heads::Contradicted,
    ids::{
        CharterId, CharterVersion, DocumentId, HeadId, KeySetId, MemberCode, MessageId, NodeKey, Sequence,
    },
    relay::{
        event::RelayEvent,
        rows::{RowError, decode_row, encode_row},
    },
    time::Timestamp,
};

/// An event with its place in the node's event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberedEvent {
    /// Counts from 1, across restarts; a number is never used twice.
    pub number: u64,
    /// When it happened, by this node's clock.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

impl NumberedEvent {
    /// Its row in [`crate::storage::Table::Events`].
    ///
    /// # Errors
    /// [`EncodeError`] if an invariant of ours is broken.
    pub fn to_row(&self) -> Result<Vec<u8>, EncodeError> {
        encode_row(self)
    }

    /// Reads a row back.
    ///
    /// # Errors
    /// [`RowError`] if it is damaged or newer than this program.
    pub fn from_row(row: &[u8]) -> Result<Self, RowError> {
        decode_row(row)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Something happened to a message.
    Relay(RelayEvent),
    /// The first connection to a node came up.
    PeerConnected {
        /// Its member.
        member: MemberCode,
        /// The node.
        node: NodeKey,
    },
    /// The last connection to a node is gone.
    PeerDisconnected {
        /// Its member.
        member: MemberCode,
        /// The node.
        node: NodeKey,
    },
    /// A member's directory entry or node record changed.
    DirectoryChanged {
        /// The member.
        member: MemberCode,
        /// Which of its chains.
        kind: ChainKind,
        /// The newest header's place.
        sequence: Sequence,
    },
    /// A new charter version is held.
    CharterChanged {
        /// The tips now; more than one is a dispute.
        tips: Vec<CharterId>,
    },
    /// Members' heads settled a charter version, or what they settled is contradicted now.
    CharterSettled {
        /// The newest settled version.
        charter: CharterId,
    },
    /// A charter version stands beside a settled one: evidence, not applied.
    BesideSettled {
        /// The version.
        charter: CharterId,
        /// Its number.
        version: CharterVersion,
        /// The stewards who signed it, by the version that it follows.
        signed_by: Vec<MemberCode>,
    },
    /// A member has a new key set.
    KeySetChanged {
        /// The member.
        member: MemberCode,
        /// Its key sets that no other names now: one as a rule. Logs of earlier programs lack them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tips: Vec<KeySetId>,
    },
    /// A member's node contradicted itself.
    ForkSeen {
        /// The member.
        member: MemberCode,
        /// The node.
        node: NodeKey,
        /// In which chain.
        kind: ChainKind,
        /// The lowest contradictory place.
        sequence: Sequence,
    },
    /// A member's node signed two heads that cannot both be true. Told once in a run of this node.
    HeadsContradict {
        /// The member.
        member: MemberCode,
        /// The node.
        node: NodeKey,
        /// In what.
        what: Contradicted,
        /// The two, sorted.
        heads: [HeadId; 2],
    },
    /// This node signed a header of its own chain.
    Published {
        /// Which chain.
        kind: ChainKind,
        /// The header's place.
        sequence: Sequence,
    },
    /// This node no longer signs its chains: somebody else did so with its key.
    TwinSeen,
    /// The operator had something done.
    Operated(OperatorAction),
    /// Something about a journal that people are to hear of.
    Journal(JournalNews),
    /// This node's clock is judged anew: milliseconds by which the members' median is ahead.
    ClockJudged {
        /// Whether it is within ten minutes.
        right: bool,
        /// The offset.
        offset_millis: i64,
    },
}

/// What an operator had done, beside messages and entries, which are events of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorAction {
    /// Documents were handed over, and these were new.
    Imported {
        /// The first of them, at most [`crate::limits::IMPORTED_IDS_MAX`].
        documents: Vec<DocumentId>,
        /// How many there were.
        count: u64,
    },
    /// This node signs its chains again without having asked others first.
    Resumed,
    /// All rows were copied for a backup.
    CopiedRows,
    /// The directory was exported for an audit.
    ExportedDirectory,
    /// The proof of a message was gathered.
    ProvedMessage {
        /// The message.
        message: MessageId,
    },
}

/// What a witness of a journal found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalNews {
    /// A node's journal contradicts what this node cosigned of it before. Told once for each journal and kind.
    Doubted {
        /// The node's member.
        member: MemberCode,
        /// The node.
        node: NodeKey,
        /// What is wrong.
        doubt: Doubt,
    },
    /// A node whose journal this node cosigned began a new one: after a restore, or to be rid of the one before.
    Succeeded {
        /// The node's member.
        member: MemberCode,
        /// The node.
        node: NodeKey,
    },
    /// A witness holds another past of this node's own journal: its disk was rolled back, or its key is in two hands. A
    /// new journal begins.
    OwnLost {
        /// The witness's member.
        witness: MemberCode,
    },
}
