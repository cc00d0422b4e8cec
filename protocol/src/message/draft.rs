//! What a person wants to send, before it has keys, times or an id.

use std::time::Duration;

use super::{
    body::{Body, Statement},
    header::Precedence,
};
use crate::ids::MemberCode;

/// A message to be composed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The members that it is for, in any order.
    pub recipients: Vec<MemberCode>,
    /// How urgent it is.
    pub precedence: Precedence,
    /// How long the sender waits, at most [`crate::limits::EXPIRY_MAX`];
    /// [`crate::limits::EXPIRY_DEFAULT`] unless said.
    pub lifetime: Option<Duration>,
    /// What it says.
    pub body: Body,
}

/// A person's word about a message that was sent or received here.
///
/// Recipients, marking and precedence follow from that message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementDraft {
    /// What is said, and of which message.
    pub statement: Statement,
    /// A text beside the word, such as what is missing.
    pub text: Option<crate::redact::Redacted<String>>,
}
