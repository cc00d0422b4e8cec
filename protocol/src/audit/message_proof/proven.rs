//! What a proof says once everything in it holds.

use serde::Serialize;

use crate::{
    audit::{report::Audited, witness::WitnessName},
    ids::{DocumentId, MemberCode, MessageId, NodeKey},
    membership::KeyState,
    message::{body::Statement, header::MessageHeader},
    relay::event::RelayEvent,
    time::Timestamp,
};

/// A proof of which everything holds.
#[derive(Clone, Debug)]
pub struct ProvenMessage {
    /// The message.
    pub message: MessageId,
    /// The bundle in it, which names its exporter and whose keys count.
    pub bundle: Audited,
    /// When the proof was made, by the exporter's clock.
    pub made: Timestamp,
    /// The message's signed header; `None` if it was not held any more.
    pub header: Option<ProvenHeader>,
    /// Nodes that signed that they have it on their disk.
    pub delivered: Vec<ProvenReceipt>,
    /// What people of members said of it, as their nodes signed.
    pub said: Vec<ProvenStatement>,
    /// What the exporter journalled of it.
    pub journalled: Vec<Journalled>,
}

impl ProvenMessage {
    /// Whether the exporter journalled it as a test: its own word, since the mark itself is sealed.
    #[must_use]
    pub fn is_drill(&self) -> bool {
        self.journalled.iter().any(|entry| entry.event.is_of_drill())
    }
}

/// Who sent it to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenHeader {
    /// The header.
    pub header: MessageHeader,
    /// The node that signed it.
    pub signer: NodeKey,
    /// What the bundle says of its key.
    pub state: KeyState,
}

/// A node's word that the message is on its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenReceipt {
    /// Its member.
    pub member: MemberCode,
    /// The node, which signed.
    pub node: NodeKey,
    /// The receipt's document id.
    pub id: DocumentId,
    /// When, by its clock.
    pub at: Timestamp,
    /// What the bundle says of its key.
    pub state: KeyState,
}

/// A person's word about the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenStatement {
    /// The statement's own id.
    pub id: MessageId,
    /// Whose.
    pub member: MemberCode,
    /// The node that signed it.
    pub signer: NodeKey,
    /// When, by its clock.
    pub created: Timestamp,
    /// What was said.
    pub statement: Statement,
    /// What the bundle says of the key.
    pub state: KeyState,
}

/// An entry of the exporter's journal about the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journalled {
    /// When the journal began.
    pub began: Timestamp,
    /// The entry's number.
    pub number: u64,
    /// When it happened, by the exporter's clock.
    pub at: Timestamp,
    /// What.
    pub event: RelayEvent,
    /// What it rests on beside the exporter's word.
    pub grounds: Grounds,
    /// The last cosigned state of the journal that has not the entry. It says nothing of when that happened: nobody makes
    /// an exporter journal at once.
    pub before: Option<Witnessed>,
    /// The first cosigned state that has it: what it rests on was signed by then.
    pub after: Option<Witnessed>,
}

impl Journalled {
    /// Whether it proves something beyond the exporter's word: that what it rests on was signed by the time at which others
    /// cosigned it.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.after.is_some() && !matches!(self.grounds, Grounds::Word)
    }
}

/// What an entry of the exporter's journal rests on. The exporter may journal what it likes, and have it cosigned: an
/// entry shows that a document existed if it names that document's id, which nobody knows before it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grounds {
    /// The message's signed header in the proof.
    Header,
    /// A receipt in the proof, of the same node.
    Receipt,
    /// A statement in the proof, of the same member and with the same word.
    Statement,
    /// Nothing that is signed in the proof: the exporter's word alone.
    Word,
}

/// A state of a journal and who cosigned it when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// Its entries.
    pub size: u64,
    /// The witnesses, each with the time by its clock.
    pub by: Vec<(WitnessName, Timestamp)>,
}
