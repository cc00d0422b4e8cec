//! What a message says: sealed, padded, and seen by its recipients alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ids::MessageId, redact::Redacted, time::Timestamp};

/// A message's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Who may see it further (TLP 2.0).
    pub tlp: Tlp,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Redacted<String>>,
    /// What it is about, as the sender's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Redacted<String>>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// For a statement: what a person says of an earlier message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Statement>,
    /// Whether this is a marked test message.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drill: bool,
    /// Form fields by code, for messages that follow a form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
}

/// A filled-in form: codes carry the meaning, so that it can be read in any language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// The form's code, such as `preservation`.
    pub code: String,
    /// Values by field code.
    pub fields: Redacted<std::collections::BTreeMap<String, String>>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The file's name, without a path.
    pub name: Redacted<String>,
    /// The media type (RFC 6838).
    pub media_type: String,
    /// The bytes, at most [`crate::limits::ATTACHMENT_BYTES_MAX`].
    pub data: Redacted<serde_bytes::ByteBuf>,
}

/// The Traffic Light Protocol's labels, version 2.0 (FIRST).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tlp {
    /// No limit.
    Clear,
    /// The community.
    Green,
    /// The recipient's organisation and its clients.
    Amber,
    /// The recipient's organisation alone.
    AmberStrict,
    /// The recipients alone.
    Red,
}

impl Tlp {
    /// The label as FIRST writes it, without `TLP:`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Clear => "CLEAR",
            Self::Green => "GREEN",
            Self::Amber => "AMBER",
            Self::AmberStrict => "AMBER+STRICT",
            Self::Red => "RED",
        }
    }
}

impl fmt::Display for Tlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// A person's word about an earlier message, sealed like a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The message that it is about.
    pub answers: MessageId,
    /// What is said.
    pub word: Word,
    /// The speaker's duty role, never a name.
    pub role: Redacted<String>,
    /// With `acknowledged` (Directive 2013/40, article 13): whether it will be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub will: Option<bool>,
    /// In what form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Redacted<String>>,
    /// By when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Timestamp>,
}

/// The words of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// A person took it.
    Acknowledged,
    /// Nobody took it in time.
    Unacknowledged,
    /// It will be done.
    Accepted,
    /// It will not be done.
    Declined,
    /// Something is missing.
    MoreInformation,
    /// It is done.
    Executed,
    /// The answer is given.
    Answered,
    /// The thread is over.
    Closed,
    /// The sender takes it back.
    Withdrawn,
}

impl Word {
    /// The word on the wire and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::MoreInformation => "more-information",
            Self::Executed => "executed",
            Self::Answered => "answered",
            Self::Closed => "closed",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
