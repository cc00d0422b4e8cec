//! Messages as rows and in full.

use refpoint_protocol::{
    ids::{ContentHash, MemberCode, MessageId},
    message::{
        body::{Form, Tlp, Word},
        header::Precedence,
    },
    redact::Redacted,
};
use serde::{Deserialize, Serialize};

use super::{
    instant::Instant,
    receipt::{MachineWord, ReceiptRow},
};

/// Which of this node's two folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageBox {
    /// What came.
    Inbox,
    /// What this member sent.
    Outbox,
}

/// One line of the inbox or the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// The message's id.
    pub id: MessageId,
    /// The folder.
    pub folder: MessageBox,
    /// Who sent it.
    pub sender: MemberCode,
    /// Whom it is for.
    pub recipients: Vec<MemberCode>,
    /// How urgent it is.
    pub precedence: Precedence,
    /// Its marking.
    pub tlp: Tlp,
    /// Whether it is a drill.
    pub drill: bool,
    /// For a statement's own row: the message that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<MessageId>,
    /// When the sender made it, by its clock.
    pub created: Instant,
    /// When the sender stops waiting.
    pub expires: Instant,
    /// In the inbox: when it was durable here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Instant>,
    /// In the outbox: where it stands with each recipient. In the inbox: with this member alone.
    pub states: Vec<RecipientState>,
    /// Bytes of all attachments.
    pub attachment_bytes: u64,
    /// How many attachments it has.
    pub attachments: u64,
    /// Whether the signer's key is not proven to have counted when it was made.
    pub unproven: bool,
}

/// Where a message stands with one recipient: what its machines say, and what its people say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientState {
    /// The recipient.
    pub member: MemberCode,
    /// The best that a machine has said.
    pub machine: MachineWord,
    /// When it said so.
    pub machine_at: Instant,
    /// Why it stands so, in plain words, while it is not delivered: `not connected since 2026-11-24T01:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The last thing that a person there has said. Absent until one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonWord>,
}

impl RecipientState {
    /// Whether its node has it on its disk.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.machine == MachineWord::Delivered
    }

    /// Whether a person there has taken it: any word of a person but `unacknowledged`, which says that nobody did.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.word != Word::Unacknowledged)
    }
}

/// What a person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonWord {
    /// The word.
    pub word: Word,
    /// The duty role.
    pub role: Redacted<String>,
    /// When.
    pub at: Instant,
    /// Whether it will be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub will: Option<bool>,
    /// In what form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Redacted<String>>,
    /// By when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Instant>,
}

/// A message in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// The line of the list.
    #[serde(flatten)]
    pub row: MessageRow,
    /// The text. Absent if it has none, or if the outbox has already erased it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Redacted<String>>,
    /// What it is about, as the sender's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Redacted<String>>,
    /// A filled-in form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Whether the content was erased here, as it is in the outbox a day after the acknowledgement.
    pub erased: bool,
    /// The attachments, in order; their numbers, from 1, name them in `attachments/{n}`.
    pub files: Vec<AttachmentView>,
    /// All that was said about it, oldest first.
    pub timeline: Vec<ReceiptRow>,
}

/// One attachment, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentView {
    /// Its number, from 1.
    pub number: u64,
    /// Its name, as the sender wrote it: never a path to be trusted.
    pub name: Redacted<String>,
    /// Its media type, as the sender wrote it.
    pub media_type: String,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: ContentHash,
}

/// One attachment's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentData {
    /// Its description.
    #[serde(flatten)]
    pub attachment: AttachmentView,
    /// Its bytes.
    pub data: super::bytes::Base64,
}
