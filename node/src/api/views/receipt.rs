//! What was said about a message, by whom: by machines, and by persons.

use refpoint_protocol::{
    ids::{MemberCode, MessageId, NodeKey},
    message::body::Word,
    redact::Redacted,
};
use serde::{Deserialize, Serialize};

use super::{instant::Instant, message::RecipientState};

/// A message's receipts: where it stands with each recipient, and all that was said, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptsView {
    /// The message.
    pub message: MessageId,
    /// Whether its inbox copy or its outbox copy was asked about.
    pub folder: super::message::MessageBox,
    /// Whether it is a drill.
    #[serde(default)]
    pub drill: bool,
    /// Where it stands with each recipient; for an inbox copy, with this member alone.
    pub recipients: Vec<RecipientState>,
    /// All that was said.
    pub timeline: Vec<ReceiptRow>,
}

/// One thing said. The two kinds are never merged: a machine's word says where bytes lie, a person's that
/// somebody knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said_by", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum ReceiptRow {
    /// A node's word.
    Machine {
        /// When, by the speaker's clock.
        at: Instant,
        /// The node's member.
        member: MemberCode,
        /// The node that speaks.
        node: NodeKey,
        /// For `custody`: the node that it is kept for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept_for: Option<NodeKey>,
        /// What it says.
        word: MachineWord,
        /// Why, in plain words, where the word needs it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Whether the signature holds; this node's own steps are not signed.
        proof: Proof,
    },
    /// A person's word.
    Person {
        /// When, by the speaker's node's clock.
        at: Instant,
        /// The person's member.
        member: MemberCode,
        /// The duty role, never a name.
        role: Redacted<String>,
        /// What the person says.
        word: Word,
        /// With `acknowledged`: whether it will be answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        will: Option<bool>,
        /// In what form.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        form: Option<Redacted<String>>,
        /// By when.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Instant>,
        /// Whether the signature holds.
        proof: Proof,
    },
}

impl ReceiptRow {
    /// When it was said.
    #[must_use]
    pub const fn at(&self) -> Instant {
        match self {
            Self::Machine { at, .. } | Self::Person { at, .. } => *at,
        }
    }
}

/// Words of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineWord {
    /// The sender's node has it durably in its outbox.
    Queued,
    /// The sender's node sealed it to a recipient's node.
    Sealed,
    /// A third node keeps it for one that is away. This is no delivery.
    Custody,
    /// The recipient's node has it on its disk.
    Delivered,
    /// It did not open; it is sealed anew.
    Reseal,
    /// It was refused.
    Refused,
    /// It was not delivered in time.
    Expired,
    /// It stopped, for instance because the charter suspends a member.
    Stopped,
    /// No node can open it any more.
    Undeliverable,
}

/// What vouches for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// A signature by a key that counts.
    Signed,
    /// A signature by a key of which it is not proven that it counted then.
    Unproven,
    /// This node's own record.
    Own,
}
