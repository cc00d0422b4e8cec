//! What the relay tells people and the API, in the past tense and without content.

use serde::{Deserialize, Serialize};

use super::{exchange::CommandId, receipt::RefusalReason};
use crate::{
    ids::{CharterVersion, DocumentId, MemberCode, MessageId, NodeKey},
    message::{
        body::{Tlp, Word},
        header::Precedence,
    },
};

/// A fact for people and the API. It holds no content: ids, members, markings and states alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelayEvent {
    /// A message or statement is durable in the outbox.
    MessageQueued {
        /// The message.
        message: MessageId,
        /// The command that it came from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<CommandId>,
        /// For whom.
        recipients: Vec<MemberCode>,
        /// How urgent.
        precedence: Precedence,
        /// Who may see it further.
        tlp: Tlp,
        /// For a statement: what it says of which message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        statement: Option<StatementLabel>,
        /// Whether it is a test, or said of one.
        #[serde(default, skip_serializing_if = "is_request")]
        drill: bool,
    },
    /// A node has it on its disk, once.
    MessageDelivered {
        /// Which message and node.
        step: Step,
        /// Whether the sender had stopped waiting.
        late: bool,
        /// The document id of the receipt that says so. Logs of earlier programs lack it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipt: Option<DocumentId>,
    },
    /// A custodian has a parcel on its disk for a node that is away. This is no delivery.
    MessageInCustody {
        /// Which message, and for which node.
        step: Step,
        /// The custodian.
        custodian: NodeKey,
        /// Its member.
        custodian_member: MemberCode,
        /// How many keep it now.
        held: usize,
        /// How many were asked.
        asked: usize,
    },
    /// A custodian does not keep a parcel, or no longer.
    CustodyRefused {
        /// Which message, and for which node.
        step: Step,
        /// The custodian.
        custodian: NodeKey,
        /// Its member.
        custodian_member: MemberCode,
        /// Why.
        reason: RefusalReason,
    },
    /// This node keeps a parcel for another that is away.
    CustodyTaken {
        /// The message.
        message: MessageId,
        /// Who handed it over.
        by: MemberCode,
        /// For whom.
        member: MemberCode,
        /// For which node.
        node: NodeKey,
    },
    /// This node keeps a parcel no longer.
    CustodyEnded {
        /// The message.
        message: MessageId,
        /// Who handed it over.
        by: MemberCode,
        /// For whom.
        member: MemberCode,
        /// For which node.
        node: NodeKey,
        /// Why.
        why: CustodyEnd,
    },
    /// A node refused it.
    MessageRefused {
        /// Which message and node.
        step: Step,
        /// Why.
        reason: RefusalReason,
        /// Whether it is tried again by itself.
        again: bool,
    },
    /// It is not sent on to a member.
    MessageStopped {
        /// The message.
        message: MessageId,
        /// The command that it came from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<CommandId>,
        /// To whom; all recipients if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberCode>,
        /// Why.
        why: StopReason,
        /// Whether it is a test.
        #[serde(default, skip_serializing_if = "is_request")]
        drill: bool,
    },
    /// The sender stops waiting for these members; a later `delivered` still counts.
    MessageExpired {
        /// The message.
        message: MessageId,
        /// The command that it came from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<CommandId>,
        /// Who has not got it, as far as known.
        members: Vec<MemberCode>,
        /// Whether it is a test.
        #[serde(default, skip_serializing_if = "is_request")]
        drill: bool,
    },
    /// A message is durable in the inbox.
    MessageArrived {
        /// The message.
        message: MessageId,
        /// From whom.
        sender: MemberCode,
        /// How urgent.
        precedence: Precedence,
        /// Who may see it further.
        tlp: Tlp,
        /// What a reader must know of its times and signer.
        marks: Marks,
        /// Whether it is a test.
        drill: bool,
    },
    /// A statement is durable here.
    StatementArrived {
        /// The statement's own id.
        id: MessageId,
        /// What it says of which message.
        statement: StatementLabel,
        /// Who says it.
        member: MemberCode,
        /// Whether the message that it is about is known here.
        known: bool,
        /// What a reader must know of its times and signer.
        marks: Marks,
        /// Whether the message that it is about is a test.
        #[serde(default, skip_serializing_if = "is_request")]
        drill: bool,
    },
    /// A command was not taken; nothing changed. Whoever asked is told, and no event is made of it: only logs of
    /// earlier programs hold some.
    SubmitRefused {
        /// The command.
        command: CommandId,
        /// Why.
        why: SubmitRefusal,
    },
}

impl RelayEvent {
    /// Whether it marks the message that it is about as a test.
    #[must_use]
    pub const fn is_of_drill(&self) -> bool {
        match self {
            Self::MessageQueued { drill, .. }
            | Self::MessageStopped { drill, .. }
            | Self::MessageExpired { drill, .. }
            | Self::MessageArrived { drill, .. }
            | Self::StatementArrived { drill, .. } => *drill,
            Self::MessageDelivered { step, .. }
            | Self::MessageInCustody { step, .. }
            | Self::CustodyRefused { step, .. }
            | Self::MessageRefused { step, .. } => step.drill,
            // A custodian cannot look into what it keeps.
            Self::CustodyTaken { .. } | Self::CustodyEnded { .. } | Self::SubmitRefused { .. } => false,
        }
    }

    /// The message that it is about; of a statement, the one that it answers. `None` if there is none.
    #[must_use]
    pub fn about(&self) -> Option<MessageId> {
        match self {
            Self::MessageQueued { message, statement, .. } => {
                Some(statement.map_or(*message, |statement| statement.answers))
            }
            Self::MessageDelivered { step, .. }
            | Self::MessageInCustody { step, .. }
            | Self::CustodyRefused { step, .. }
            | Self::MessageRefused { step, .. } => Some(step.message),
            Self::CustodyTaken { message, .. }
            | Self::CustodyEnded { message, .. }
            | Self::MessageStopped { message, .. }
            | Self::MessageExpired { message, .. }
            | Self::MessageArrived { message, .. } => Some(*message),
            Self::StatementArrived { statement, .. } => Some(statement.answers),
            Self::SubmitRefused { .. } => None,
        }
    }
}

/// Why a parcel is kept no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum CustodyEnd {
    /// The node that it is for has it.
    #[error("delivered")]
    Delivered,
    /// That node refused it for good.
    #[error("refused by the recipient")]
    Refused,
    /// It expired.
    #[error("expired")]
    Expired,
    /// It expired, and no active node could open it: its recipient's key was gone, and its sender sealed it no
    /// more.
    #[error("undeliverable: key lost")]
    KeyLost,
    /// What was kept is damaged or gone.
    #[error("lost here")]
    Lost,
}

/// Which message and which node an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The message.
    pub message: MessageId,
    /// The command that it came from, in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandId>,
    /// The node's member.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
    /// Whether it is a test.
    #[serde(default, skip_serializing_if = "is_request")]
    pub drill: bool,
}

/// A statement's word and the message that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLabel {
    /// The message.
    pub answers: MessageId,
    /// The word.
    pub word: Word,
}

/// What a reader must know of a message's times and signer: marks, never grounds for losing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// It came after its expiry.
    pub late: bool,
    /// It says that it was created more than [`crate::limits::CLOCK_SKEW_MAX`] in the future.
    pub future: bool,
    /// Its signer's key is known to be in strange hands.
    pub unproven: bool,
}

/// Why a message goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", content = "charter", rename_all = "kebab-case")]
pub enum StopReason {
    /// The recipient, or this member itself, is suspended.
    #[error("suspended by charter v {0}")]
    Suspended(CharterVersion),
    /// The recipient, or this member itself, has withdrawn.
    #[error("withdrawn by charter v {0}")]
    Withdrawn(CharterVersion),
    /// The sender took it back.
    #[error("taken back by the sender")]
    TakenBack,
    /// Its stored content is gone: restore it or send it anew.
    #[error("its stored content cannot be read: send it anew")]
    ContentLost,
}

/// Why a command was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum SubmitRefusal {
    /// Nobody to send it to.
    #[error("it names no recipient")]
    NoRecipients,
    /// More recipients than one message can have.
    #[error("{0} recipients, at most {max} are allowed: send it in parts", max = crate::limits::RECIPIENTS_MAX)]
    TooManyRecipients(usize),
    /// The sender itself.
    #[error("{0} is this node's own member: a message is for others")]
    OwnMember(MemberCode),
    /// A member that no charter lists.
    #[error("{0} is no member of this federation: see `refpoint directory list`")]
    UnknownMember(MemberCode),
    /// A member that the charter has suspended or that withdrew, or this member itself.
    #[error("{0} is {1}")]
    Stopped(MemberCode, StopReason),
    /// A lifetime that is zero or too long.
    #[error("a lifetime of {0} s: between one second and fourteen days are allowed")]
    Lifetime(u64),
    /// The body breaks a rule.
    #[error("{0}")]
    Body(String),
    /// A statement about a message that is not known here.
    #[error("no message {0} is known here: see `refpoint message inbox`")]
    UnknownMessage(MessageId),
    /// A word that only the other side can say.
    #[error("`{0}` is not for this side to say")]
    NotOurs(Word),
    /// Too many messages wait already.
    #[error("too many messages wait in the outbox: see `refpoint status`")]
    QueueFull,
    /// The disk is full.
    #[error("no room on the disk: free some, then send it again")]
    NoRoom,
    /// An invariant of this program is broken.
    #[error("it cannot be composed: {0}")]
    Bug(String),
}

/// Events of earlier programs do not say that a message is a test; they are read as about requests.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_request(drill: &bool) -> bool {
    !*drill
}
