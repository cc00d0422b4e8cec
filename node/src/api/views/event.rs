//! Events: past-tense facts for people and programs, numbered without gaps.

use refpoint_protocol::{
    directory::header::ChainKind,
    ids::{MemberCode, MessageId, NodeKey, Sequence},
    message::{
        body::{Tlp, Word},
        header::Precedence,
    },
};
use serde::{Deserialize, Serialize};

use super::instant::Instant;

/// One event of the stream. `number` rises by one and is never given twice, over restarts too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Its number, which is also the stream's `id:`.
    pub number: u64,
    /// When it happened.
    pub at: Instant,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened. No event holds a message's content, a person's name or a case reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Event {
    /// A message for this member came, and is durable in the inbox.
    MessageReceived {
        /// The message.
        message: MessageId,
        /// Its sender.
        sender: MemberCode,
        /// How urgent it is.
        precedence: Precedence,
        /// Its marking.
        tlp: Tlp,
        /// Whether it is a drill.
        drill: bool,
    },
    /// This node took a message into its outbox.
    MessageQueued {
        /// The message.
        message: MessageId,
        /// Whom it is for.
        recipients: Vec<MemberCode>,
        /// How urgent it is.
        precedence: Precedence,
        /// Whether it is a drill.
        #[serde(default)]
        drill: bool,
    },
    /// Machine: a recipient's node has it on its disk and says so, signed.
    MessageDelivered {
        /// The message.
        message: MessageId,
        /// The recipient.
        member: MemberCode,
        /// Its node.
        node: NodeKey,
        /// Whether that was after the message's expiry.
        late: bool,
        /// Whether it is a drill.
        #[serde(default)]
        drill: bool,
    },
    /// Machine: another member's node keeps it for a recipient's node that is out of reach. This is no delivery.
    MessageInCustody {
        /// The message.
        message: MessageId,
        /// The recipient.
        member: MemberCode,
        /// The member whose node keeps it.
        custodian: MemberCode,
        /// How many nodes keep it for that recipient's node now.
        held: u64,
        /// How many were asked.
        asked: u64,
        /// Whether it is a drill.
        #[serde(default)]
        drill: bool,
    },
    /// Machine: another member's node does not keep it, or no longer.
    CustodyRefused {
        /// The message.
        message: MessageId,
        /// The recipient.
        member: MemberCode,
        /// The member whose node was asked.
        custodian: MemberCode,
        /// Why, in plain words.
        reason: String,
        /// Whether it is a drill.
        #[serde(default)]
        drill: bool,
    },
    /// This node keeps a message, which it cannot read, for another member's node.
    CustodyTaken {
        /// The message.
        message: MessageId,
        /// The member that handed it over.
        from: MemberCode,
        /// Whom it is for.
        member: MemberCode,
    },
    /// This node keeps such a message no longer.
    CustodyEnded {
        /// The message.
        message: MessageId,
        /// The member that handed it over.
        from: MemberCode,
        /// Whom it was for.
        member: MemberCode,
        /// What became of it, in plain words: `delivered`, `expired`, `undeliverable: key lost`.
        reason: String,
    },
    /// Machine: a recipient's node refused it.
    MessageRefused {
        /// The message.
        message: MessageId,
        /// The recipient.
        member: MemberCode,
        /// Why, in plain words.
        reason: String,
        /// Whether this node tries again by itself.
        retried: bool,
        /// Whether it is a drill.
        #[serde(default)]
        drill: bool,
    },
    /// Machine: it was not delivered to these recipients in time.
    MessageExpired {
        /// The message.
        message: MessageId,
        /// Who has not got it, as far as known.
        members: Vec<MemberCode>,
        /// Whether it is a drill.
        #[serde(default)]
        drill: bool,
    },
    /// Machine: it stopped, for instance because the charter suspends a member.
    MessageStopped {
        /// The message.
        message: MessageId,
        /// The recipient; absent if it goes to nobody any more who has not got it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberCode>,
        /// Why, in plain words.
        reason: String,
        /// Whether it is a drill.
        #[serde(default)]
        drill: bool,
    },
    /// Person: somebody said something about a message, here or at the other side.
    StatementMade {
        /// The message that it is about.
        message: MessageId,
        /// The member whose person spoke.
        member: MemberCode,
        /// What was said.
        word: Word,
        /// Whether it is a drill.
        #[serde(default)]
        drill: bool,
    },
    /// A node connected.
    PeerConnected {
        /// Its member.
        member: MemberCode,
        /// Its node key.
        node: NodeKey,
    },
    /// A node is no longer connected.
    PeerDisconnected {
        /// Its member.
        member: MemberCode,
        /// Its node key.
        node: NodeKey,
        /// Why, in plain words, where it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody whom no evidence certifies was turned away.
    StrangerRefused {
        /// The address.
        address: String,
        /// Why, in plain words.
        reason: String,
    },
    /// A member's directory entry changed.
    DirectoryChanged {
        /// The member.
        member: MemberCode,
    },
    /// The charter's state or a member's keys changed.
    MembershipChanged {
        /// The member whose keys changed; absent if the charter did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberCode>,
    },
    /// Two documents at one place were found.
    ForkFound {
        /// The member whose key signed both, where it is one member's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberCode>,
        /// What it is about, in plain words.
        what: String,
    },
    /// This node published a header of its own.
    Published {
        /// Which chain.
        chain: ChainKind,
        /// Its place.
        sequence: Sequence,
    },
    /// This node signs no chain header any more: somebody else did so with its key.
    TwinSeen,
    /// This node's clock was judged anew by the members' clocks.
    ClockJudged {
        /// Whether it is within ten minutes of their median.
        right: bool,
        /// Milliseconds by which their median is ahead.
        offset_ms: i64,
    },
    /// Something else that a person should see, in plain words.
    Notice {
        /// A stable code.
        code: String,
        /// The words.
        text: String,
    },
}

/// What the stream says first when no number was given: where it stands. The stream's event name is `open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOpened {
    /// The newest event's number, zero before the first.
    pub newest: u64,
}

/// What the stream says when events are missing. The stream's event name is `gap`; reload what you show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamGap {
    /// The number after which the reader wanted to go on.
    pub after: u64,
    /// The number before the next event that comes.
    pub resumed: u64,
}
