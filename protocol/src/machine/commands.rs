//! What the operator asks of a running node, and what is answered.

use super::Batch;
use crate::{
    directory::reference_point::ReferencePoint,
    ids::{MemberCode, MessageId, Sequence},
    message::draft::{Draft, StatementDraft},
    relay::event::SubmitRefusal,
    time::Timestamp,
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
        /// When it was made, by this node's clock.
        created: Timestamp,
        /// When this node stops sending it.
        expires: Timestamp,
        /// For whom, sorted.
        recipients: Vec<MemberCode>,
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
    /// A twin uses this node's key, or the chain is forked.
    #[error(
        "another machine uses this node's key, or has: a node that goes on signing makes its entry disputed everywhere"
    )]
    Twin,
    /// This node's clock is wrong: set it first.
    #[error(
        "this node's clock is {0} ms behind the members' median: set the clock, then start the node again"
    )]
    ClockWrong(i64),
    /// This node's clock is so far behind that the message's end is past by the members' clocks.
    #[error("this node's clock is {} s behind the members' median: the message would have expired before it is sent", .0 / 1_000)]
    ExpiredBefore(u64),
    /// A document builds on one that is not held here: it waits, bounded, and is neither refused nor believed.
    #[error("a document that it builds on is not held here")]
    Pending,
    /// A document is wrong in every state.
    #[error("the documents were not taken: {0}")]
    Documents(String),
}
