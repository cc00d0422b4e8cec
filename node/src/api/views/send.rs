//! What people ask the node to say: messages and statements. Both are checked alike by client and server.

use std::{collections::BTreeSet, time::Duration};

use refpoint_protocol::{
    ids::{MemberCode, MessageId},
    limits::{ATTACHMENT_BYTES_MAX, EXPIRY_DEFAULT, EXPIRY_MAX, MESSAGE_BODY_BYTES_MAX, RECIPIENTS_MAX},
    message::{
        body::{Form, Tlp, Word},
        header::Precedence,
    },
    redact::Redacted,
};
use serde::{Deserialize, Serialize};

use super::{bytes::Base64, instant::Instant};

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendRequest {
    /// Whom it is for, each once, at most [`RECIPIENTS_MAX`].
    pub recipients: Vec<MemberCode>,
    /// How urgent it is.
    pub precedence: Precedence,
    /// Who may see it further.
    pub tlp: Tlp,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Redacted<String>>,
    /// What it is about, as the sender's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Redacted<String>>,
    /// A filled-in form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentUpload>,
    /// Seconds until the sender stops waiting; 72 hours unless said, at most 14 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
    /// Whether it is a marked test message.
    #[serde(default)]
    pub drill: bool,
}

/// One file to attach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentUpload {
    /// Its name, without a path.
    pub name: Redacted<String>,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub data: Base64,
}

/// Why a request is not well formed. No variant holds content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is nobody to send to.
    #[error("there is no recipient")]
    NoRecipient,
    /// There are too many.
    #[error("{got} recipients; a message takes at most {RECIPIENTS_MAX}")]
    TooManyRecipients {
        /// How many there are.
        got: usize,
    },
    /// One is named twice.
    #[error("{0} is named twice as a recipient")]
    Twice(MemberCode),
    /// There is nothing to say.
    #[error("the message is empty: no text but blanks, no form and no attachment")]
    Empty,
    /// The content is too large.
    #[error("text, form and attachments have {got} bytes together; a message takes at most {max}")]
    TooLarge {
        /// Its size.
        got: usize,
        /// The bound.
        max: usize,
    },
    /// One file is too large.
    #[error("attachment {number} has {got} bytes; one takes at most {ATTACHMENT_BYTES_MAX}")]
    AttachmentTooLarge {
        /// Its number, from 1.
        number: usize,
        /// Its size.
        got: usize,
    },
    /// There are too many files.
    #[error("{got} attachments; a message takes at most {ATTACHMENTS_MAX}")]
    TooManyAttachments {
        /// How many there are.
        got: usize,
    },
    /// A file's name is none.
    #[error(
        "attachment {number} needs a name of 1 to {NAME_BYTES_MAX} bytes without slashes and control characters"
    )]
    AttachmentName {
        /// Its number, from 1.
        number: usize,
    },
    /// A file's media type is none.
    #[error("attachment {number} needs a media type such as application/pdf")]
    MediaType {
        /// Its number, from 1.
        number: usize,
    },
    /// The lifetime is none.
    #[error("a message expires after 1 minute to 14 days, not after {got} s")]
    Expiry {
        /// The seconds asked for.
        got: u64,
    },
    /// A one-line field is none.
    #[error("the {field} needs 1 to {LINE_BYTES_MAX} bytes in one line")]
    Line {
        /// The field.
        field: &'static str,
    },
    /// Nobody is named who says it.
    #[error("the role of the person who says it is missing")]
    NoRole,
    /// `will`, `form` and `by` belong to `acknowledged`.
    #[error("whether, how and when it will be answered is said with 'acknowledged' alone")]
    PromiseWithoutAcknowledgement,
    /// It will not be answered, but in a form or by a time.
    #[error("a form or a time is promised for an answer that will not come")]
    PromiseOfNothing,
    /// A node says this by itself.
    #[error("'unacknowledged' is not for a person to say")]
    NotAPersonsWord,
}

impl SendError {
    /// What to do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoRecipient => "name one: refpoint message send KE …",
            Self::TooManyRecipients { .. } => "send it in several messages",
            Self::Twice(_) => "name each member once",
            Self::Empty => "give the text with --file, or a file with --attach",
            Self::TooLarge { .. } | Self::AttachmentTooLarge { .. } => {
                "send large evidence by another channel, and here its SHA-256"
            }
            Self::TooManyAttachments { .. } => "pack them into one archive, or send several messages",
            Self::AttachmentName { .. } => "rename the file",
            Self::MediaType { .. } => "use application/octet-stream if you do not know it",
            Self::Expiry { .. } => "choose another time, for instance --expires 72h",
            Self::Line { .. } => "shorten it, and write it in one line",
            Self::NoRole => "give your duty role, never a name: --as \"duty officer\"",
            Self::PromiseWithoutAcknowledgement => "leave them out",
            Self::PromiseOfNothing => "leave out --form and --by, or say --will yes",
            Self::NotAPersonsWord => "use another word",
        }
    }
}

impl SendRequest {
    /// Checks the form: what the machine would otherwise have to refuse.
    ///
    /// # Errors
    /// [`SendError`] for the first rule that is broken.
    pub fn check(&self) -> Result<(), SendError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.recipients.iter().find(|member| !seen.insert(*member)) {
            return Err(SendError::Twice(twice.clone()));
        }
        match self.recipients.len() {
            0 => return Err(SendError::NoRecipient),
            got if got > RECIPIENTS_MAX => return Err(SendError::TooManyRecipients { got }),
            _ => {}
        }
        let text = self.text.as_ref().map_or(0, |text| text.reveal().len());
        let is_blank = self.text.as_ref().is_none_or(|text| text.reveal().trim().is_empty());
        if is_blank && self.form.is_none() && self.attachments.is_empty() {
            return Err(SendError::Empty);
        }
        if let Some(reference) = &self.reference {
            check_line("reference", reference.reveal())?;
        }
        if self.attachments.len() > ATTACHMENTS_MAX {
            return Err(SendError::TooManyAttachments { got: self.attachments.len() });
        }
        let form = self.form.as_ref().map_or(0, |form| {
            form.code.len()
                + form.fields.reveal().iter().map(|(code, value)| code.len() + value.len()).sum::<usize>()
        });
        let mut total = text + form;
        for (index, attachment) in self.attachments.iter().enumerate() {
            attachment.check(index + 1)?;
            total += attachment.data.as_slice().len();
        }
        if total > CONTENT_BYTES_MAX {
            return Err(SendError::TooLarge { got: total, max: CONTENT_BYTES_MAX });
        }
        let expiry = self.expiry();
        if expiry < EXPIRY_MIN || expiry > EXPIRY_MAX {
            return Err(SendError::Expiry { got: expiry.as_secs() });
        }
        Ok(())
    }

    /// How long the sender waits.
    #[must_use]
    pub fn expiry(&self) -> Duration {
        self.expires_in_seconds.map_or(EXPIRY_DEFAULT, Duration::from_secs)
    }
}

impl AttachmentUpload {
    fn check(&self, number: usize) -> Result<(), SendError> {
        let name = self.name.reveal();
        let is_plain = |c: char| !c.is_control() && c != '/' && c != '\\';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
            return Err(SendError::AttachmentName { number });
        }
        let is_token = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
        };
        let parts = self.media_type.split_once('/');
        if self.media_type.len() > MEDIA_TYPE_BYTES_MAX
            || !parts.is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        {
            return Err(SendError::MediaType { number });
        }
        let got = self.data.as_slice().len();
        if got > ATTACHMENT_BYTES_MAX {
            return Err(SendError::AttachmentTooLarge { number, got });
        }
        Ok(())
    }
}

/// What became of a message: it is durable in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendReply {
    /// The message's id.
    pub id: MessageId,
    /// When it was made.
    pub created: Instant,
    /// When the sender stops waiting.
    pub expires: Instant,
    /// Each recipient, in the order of the request.
    pub recipients: Vec<RecipientContact>,
}

/// Whether a recipient can be reached now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientContact {
    /// The recipient.
    pub member: MemberCode,
    /// Whether a node of it is connected.
    pub connected: bool,
    /// Since when it is connected, or has been away; absent if never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Instant>,
    /// Why it is not connected, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a person says of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementRequest {
    /// The word.
    pub word: Word,
    /// The duty role, never a name.
    pub role: Redacted<String>,
    /// With `acknowledged`: whether it will be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub will: Option<bool>,
    /// In what form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Redacted<String>>,
    /// By when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Instant>,
}

impl StatementRequest {
    /// Checks the form.
    ///
    /// # Errors
    /// [`SendError`] for the first rule that is broken.
    pub fn check(&self) -> Result<(), SendError> {
        if self.role.reveal().trim().is_empty() {
            return Err(SendError::NoRole);
        }
        check_line("role", self.role.reveal())?;
        if let Some(form) = &self.form {
            check_line("form", form.reveal())?;
        }
        let promises = self.form.is_some() || self.by.is_some();
        match (self.word, self.will) {
            (Word::Unacknowledged, _) => Err(SendError::NotAPersonsWord),
            (Word::Acknowledged, Some(false)) if promises => Err(SendError::PromiseOfNothing),
            (Word::Acknowledged, _) => Ok(()),
            (_, will) if promises || will.is_some() => Err(SendError::PromiseWithoutAcknowledgement),
            _ => Ok(()),
        }
    }
}

/// A statement that is durable in the outbox, on its way to the other members of the thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementReply {
    /// The message that it is about.
    pub message: MessageId,
    /// The statement's own id.
    pub statement: MessageId,
    /// The word.
    pub word: Word,
    /// When it was made.
    pub at: Instant,
    /// Whom it goes to.
    pub recipients: Vec<MemberCode>,
}

fn check_line(field: &'static str, text: &str) -> Result<(), SendError> {
    let is_line =
        !text.trim().is_empty() && text.len() <= LINE_BYTES_MAX && !text.chars().any(char::is_control);
    if is_line { Ok(()) } else { Err(SendError::Line { field }) }
}

/// Bytes of text, form and attachments: what leaves room in a body for its field names and reference.
pub const CONTENT_BYTES_MAX: usize = MESSAGE_BODY_BYTES_MAX - 16 * 1024;

/// Attachments of one message: a screenful; more belong into an archive.
pub const ATTACHMENTS_MAX: usize = 16;

/// Bytes of an attachment's name: what common file systems take.
pub const NAME_BYTES_MAX: usize = 255;

/// Bytes of a media type (RFC 6838, section 4.2: 127 for each half).
pub const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// Bytes of a role, a form or a reference: one line on a screen, in a script of three bytes a letter.
pub const LINE_BYTES_MAX: usize = 256;

/// A message's shortest lifetime: less cannot be read.
pub const EXPIRY_MIN: Duration = Duration::from_secs(60);
