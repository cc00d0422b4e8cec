//! What the operator asks of a running node, and what is answered.

use super::Batch;
use crate::{
    directory::reference_point::ReferencePoint,
    ids::{MessageId, Sequence},
    message::draft::{Draft, StatementDraft},
    relay::event::SubmitRefusal,
};

/// What the operator asks. It has no `Debug`: drafts hold content.
pub enum Command {
    /// Send a message.
    Send(Box<Draft>),
    /// Say something of a message.
    State(Box<StatementDraft>),
    /// Publish this as the member's reference point.
    Publish(Box<ReferencePoint>),
    /// Sign one's own chain again without having asked others for it first.
    Resume,
    /// Take in documents from a file, such as a new key set; already verified.
    Import(Batch),
}

/// What is answered when it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The message is durable in the outbox.
    Queued {
        /// Its id.
        message: MessageId,
    },
    /// The entry is signed and on its way, or will be at once when this node may sign.
    Published {
        /// Its place in the chain, `None` if it waits until this node may sign.
        sequence: Option<Sequence>,
    },
    /// This node signs again.
    Resumed,
    /// How many documents were new and how many known.
    Imported {
        /// New ones.
        accepted: u64,
        /// Known ones.
        known: u64,
    },
}

/// Why a command was not taken; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// The relay's reason.
    #[error(transparent)]
    Submit(#[from] SubmitRefusal),
    /// The entry breaks a rule.
    #[error("the reference point cannot be published: {0}")]
    Entry(String),
    /// There is nothing to resume.
    #[error("this node signs its records already: nothing is to be resumed")]
    NotWaiting,
    /// A twin signs with this node's key: only a new key set ends that.
    #[error(
        "another node signs with this node's key: find it, stop it, and issue a new key with `refpoint keys issue --replace`"
    )]
    Twin,
    /// This node's clock is wrong: set it first.
    #[error(
        "this node's clock is {0} ms behind the members' median: set the clock, then start the node again"
    )]
    ClockWrong(i64),
    /// A document builds on one that is not held here: it waits, bounded, and is neither refused nor believed.
    #[error("a document that it builds on is not held here")]
    Pending,
    /// A document is wrong in every state.
    #[error("the documents were not taken: {0}")]
    Documents(String),
}
