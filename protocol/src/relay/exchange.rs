//! What goes into the relay machine and what comes out: inputs, effects, jobs and faults.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    event::RelayEvent,
    frame::{Lacking, Offer, OfferIds, RelayFrame},
    parcel::{Class, Label, Parcel},
    receipt::Receipt,
    rows::CustodyKey,
    sealing::{ComposeError, Composed, OpenError, Opened, SealError, Sealable},
};
use crate::{
    directory::node_record::SealingKeyEntry,
    document::{Envelope, Verified},
    ids::{MemberCode, MessageId, NodeKey},
    message::draft::{Draft, StatementDraft},
    storage::{Change, Grade},
    time::Timestamp,
};

/// A caller's name for a command: it returns in each later event of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(pub u64);

/// Names a job or a refusable write until its answer comes; never used twice in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happened, or is asked. It has no `Debug`: some variants hold content.
pub enum RelayInput {
    /// A person sends a message.
    Submit {
        /// Returns in the events.
        command: CommandId,
        /// The message.
        draft: Box<Draft>,
    },
    /// A person says something of a message that was sent or received here.
    State {
        /// Returns in the events.
        command: CommandId,
        /// The statement.
        draft: Box<StatementDraft>,
    },
    /// A [`Job::Compose`] is done.
    Composed {
        /// The job's.
        ticket: Ticket,
        /// What [`super::sealing::compose`] returned.
        result: Result<Composed, ComposeError>,
    },
    /// A [`Job::Seal`] or [`Job::SealStatement`] is done.
    Sealed {
        /// The job's.
        ticket: Ticket,
        /// What [`super::sealing::seal`] returned, or why it could not be called.
        result: Result<Box<Parcel>, SealError>,
    },
    /// A [`Job::Open`] is done.
    Opened {
        /// The job's.
        ticket: Ticket,
        /// What [`super::sealing::open`] returned, or [`OpenError::Busy`].
        result: Result<Box<Opened>, OpenError>,
    },
    /// A [`Job::Load`] is done.
    Loaded {
        /// The job's.
        ticket: Ticket,
        /// The parcel, `None` if it cannot be read.
        parcel: Option<Box<Parcel>>,
    },
    /// A node is connected: frames can be sent to it.
    Connected {
        /// The node.
        node: NodeKey,
        /// The member that it speaks for.
        member: MemberCode,
    },
    /// A node's last connection ended.
    Disconnected {
        /// The node.
        node: NodeKey,
    },
    /// A parcel came.
    ParcelReceived {
        /// Who handed it over.
        from: NodeKey,
        /// The parcel.
        parcel: Box<Parcel>,
    },
    /// A receipt came, and its signature holds.
    ReceiptReceived {
        /// Who handed it over.
        from: NodeKey,
        /// The receipt.
        receipt: Verified<Receipt>,
    },
    /// The peer says what it keeps for this node and holds `delivered` for.
    OfferReceived {
        /// The peer.
        from: NodeKey,
        /// The summary.
        offer: Offer,
    },
    /// The peer does not know the hash of this node's offer.
    OfferUnknownReceived {
        /// The peer.
        from: NodeKey,
        /// The offer that it does not know.
        offer: Offer,
    },
    /// The ids behind the peer's offer.
    OfferIdsReceived {
        /// The peer.
        from: NodeKey,
        /// The ids.
        ids: OfferIds,
    },
    /// What the peer lacks of this node's offer.
    LackingReceived {
        /// The peer.
        from: NodeKey,
        /// The ids.
        lacking: Lacking,
    },
    /// The directory's view of a member changed: its nodes, sealing keys or standing.
    DirectoryChanged {
        /// The member; `None` for the whole charter.
        member: Option<MemberCode>,
    },
    /// A `Persist` with this ticket was not stored for lack of room; the rest of its batch was left out.
    StorageRefused {
        /// The persist's.
        ticket: Ticket,
    },
    /// A parcel could not be handed to the connection.
    SendFailed {
        /// The peer.
        to: NodeKey,
        /// The message.
        message: MessageId,
    },
    /// The time that `next_wakeup` named has come.
    Woke,
}

/// An order to the shell, carried out in the order of the batch. It has no `Debug`: changes hold content.
///
/// The shell has all of a batch's `Persist(Durable)` on the device before its first `Send` or `Emit`, and
/// carries out batches in order; `Work` is not waited for.
pub enum RelayEffect {
    /// Store these changes as a whole.
    Persist {
        /// How soon.
        grade: Grade,
        /// The changes.
        changes: Vec<Change>,
        /// Present where lack of room is answered by [`RelayInput::StorageRefused`]; else it is fatal.
        ticket: Option<Ticket>,
    },
    /// Send a frame to a connected node.
    Send {
        /// The node.
        to: NodeKey,
        /// The frame.
        frame: Outgoing,
        /// On which of the two streams.
        class: Class,
        /// A write on which the frame's truth rests: if that was refused, the frame is not sent.
        after: Option<Ticket>,
    },
    /// Run a costly pure function and hand back its result under the ticket.
    Work(Job),
    /// Ask this node for the member's key sets: a held message waits for one.
    FetchKeySet {
        /// Who handed the message over.
        from: NodeKey,
        /// Whose key set.
        member: MemberCode,
    },
    /// Tell people and the API.
    Emit(RelayEvent),
    /// A peer did what it should not; see [`RelayFault::is_penalised`].
    Fault {
        /// The peer.
        from: NodeKey,
        /// What.
        fault: RelayFault,
    },
}

/// What is sent.
#[derive(Clone)]
pub enum Outgoing {
    /// A parcel.
    Parcel(Box<Parcel>),
    /// A receipt, *unsigned*: the shell signs it when it carries out the effect, after what it states is durable.
    Receipt(Receipt),
    /// A receipt that another node signed.
    Borne(Box<Envelope>),
    /// What this node keeps for the peer.
    Offer(Offer),
    /// This node does not know the offer's hash.
    OfferUnknown(Offer),
    /// The ids behind the offer.
    OfferIds(OfferIds),
    /// The offered ids that this node lacks.
    Lacking(Lacking),
}

impl Outgoing {
    /// The frame on the wire; `sign` puts a receipt into its envelope with this node's key.
    ///
    /// # Errors
    /// What `sign` returns.
    pub fn into_frame<E>(self, sign: impl FnOnce(&Receipt) -> Result<Envelope, E>) -> Result<RelayFrame, E> {
        Ok(match self {
            Self::Parcel(parcel) => RelayFrame::Parcel(parcel),
            Self::Receipt(receipt) => RelayFrame::Receipt(sign(&receipt)?),
            Self::Borne(envelope) => RelayFrame::Receipt(*envelope),
            Self::Offer(offer) => RelayFrame::Offer(offer),
            Self::OfferUnknown(offer) => RelayFrame::OfferUnknown(offer),
            Self::OfferIds(ids) => RelayFrame::OfferIds(ids),
            Self::Lacking(lacking) => RelayFrame::Lacking(lacking),
        })
    }
}

/// A costly pure function to be run, urgent ones first. It has no `Debug`: drafts hold content.
pub enum Job {
    /// [`super::sealing::compose`].
    Compose {
        /// Returns with the result.
        ticket: Ticket,
        /// The draft, its recipients final.
        draft: Box<Draft>,
        /// When it was asked for.
        created: Timestamp,
    },
    /// [`super::sealing::seal`]; if the header was signed by an earlier key of this node,
    /// [`Sealable::signed_anew`] first.
    Seal {
        /// Returns with the result.
        ticket: Ticket,
        /// What to seal.
        content: ContentSource,
        /// The clear part.
        label: Label,
        /// To which key.
        key: Box<SealingKeyEntry>,
    },
    /// [`super::sealing::seal`] of another member's statement, as its maker signed it, for a node of its maker's: read it
    /// from [`crate::storage::Table::Statements`] with [`super::rows::decode_statement_content`]; the label is
    /// [`super::sealing::label`]'s.
    SealStatement {
        /// Returns with the result, as a [`RelayInput::Sealed`].
        ticket: Ticket,
        /// The message that it is about.
        answers: MessageId,
        /// Which.
        statement: MessageId,
        /// Whose it is.
        member: MemberCode,
        /// For which node.
        node: NodeKey,
        /// Whether it goes before normal jobs.
        class: Class,
        /// To which key.
        key: Box<SealingKeyEntry>,
    },
    /// [`super::sealing::open`].
    Open {
        /// Returns with the result.
        ticket: Ticket,
        /// The parcel.
        parcel: Box<Parcel>,
    },
    /// Read a parcel in custody from [`crate::storage::Table::CustodyParcels`], with
    /// [`super::rows::decode_custody_parcel`].
    Load {
        /// Returns with the result.
        ticket: Ticket,
        /// Which.
        key: CustodyKey,
        /// Whether it goes before normal jobs.
        class: Class,
    },
}

impl Job {
    /// Whether it goes before normal jobs.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Compose { draft, .. } => draft.precedence.class(),
            Self::Seal { label, .. } => label.class,
            Self::Open { parcel, .. } => parcel.label.class,
            Self::SealStatement { class, .. } | Self::Load { class, .. } => *class,
        }
    }
}

/// Where the content to seal is.
#[derive(Clone)]
pub enum ContentSource {
    /// In memory.
    AtHand(Arc<Sealable>),
    /// In [`crate::storage::Table::OutboxContent`] under this id; read it with
    /// [`super::rows::decode_outbox_content`].
    Stored(MessageId),
}

/// What a peer did that it should not have done, or that this version does not follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayFault {
    /// A receipt signed by another key than may say it: the node that the parcel is for, or its custodian.
    #[error("RC-03: a receipt for {} signed by another key", .0.short())]
    ReceiptSigner(MessageId),
    /// A receipt handed over by a node that neither signed it nor keeps the parcel.
    #[error("RC-04: a receipt for {} handed over by a node that neither signed it nor keeps the parcel", .0.short())]
    ReceiptBearer(MessageId),
    /// A receipt for a message that was not sent there.
    #[error("RC-05: a receipt for {}, which was not sent there", .0.short())]
    ReceiptUnknown(MessageId),
    /// The same receipt again; no fault of anybody's where networks double.
    #[error("a receipt for {} that was here already", .0.short())]
    ReceiptDoubled(MessageId),
    /// A custodian's word about a parcel that was not handed to it.
    #[error("RC-07: a word of custody for {} by a node that it was not handed to", .0.short())]
    CustodyUnknown(MessageId),
    /// A parcel for another node whose form does not hold.
    #[error("CU-01: a parcel of {} to be kept whose form does not hold", .0.short())]
    CustodyForm(MessageId),
    /// A parcel that does not open, or whose bindings do not hold.
    #[error("a parcel of {}: {error}", .message.short())]
    Parcel {
        /// The message that its label names.
        message: MessageId,
        /// What is wrong.
        error: OpenError,
    },
    /// A parcel later than its expiry and a day.
    #[error("PA-11: a parcel of {} later than a day after its expiry", .0.short())]
    TooLate(MessageId),
    /// A parcel whose header is signed by no node of the sender's.
    #[error("PA-12: a parcel of {} whose signer is no node of its sender's", .0.short())]
    Signer(MessageId),
    /// An offer, or ids, out of order, doubled or beyond their bound.
    #[error("OF-01: an offer that is not as it should be")]
    Offer,
    /// A statement by a member that is no party to the message.
    #[error("ST-01: a statement about {} by a member that is no party to it", .message.short())]
    Statement {
        /// The message.
        message: MessageId,
        /// Whether another member than its maker handed it over.
        borne: bool,
    },
}

impl RelayFault {
    /// The broken rule's id in VALIDATION.md; `RELAY` for what is no rule's breach.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::ReceiptSigner(_) => "RC-03",
            Self::ReceiptBearer(_) => "RC-04",
            Self::ReceiptUnknown(_) => "RC-05",
            Self::CustodyUnknown(_) => "RC-07",
            Self::CustodyForm(_) => "CU-01",
            Self::Parcel { error, .. } => error.rule(),
            Self::TooLate(_) => "PA-11",
            Self::Signer(_) => "PA-12",
            Self::Offer => "OF-01",
            Self::Statement { .. } => "ST-01",
            Self::ReceiptDoubled(_) => "RELAY",
        }
    }

    /// Whether it is wrong in every state of the receiver and the peer could have known, so that it may count against
    /// the peer.
    #[must_use]
    pub fn is_penalised(&self) -> bool {
        match self {
            Self::ReceiptSigner(_) | Self::CustodyForm(_) | Self::Offer => true,
            // Whoever bears a parcel for somebody else sees no more of it than that, and cannot know what is inside.
            Self::Parcel { error, .. } => matches!(error, OpenError::Invalid { rule: "PA-02", .. }),
            Self::Statement { borne, .. } => !borne,
            Self::ReceiptUnknown(_)
            // Who keeps a parcel is forgotten with a restart, while the custodian remembers.
            | Self::ReceiptBearer(_)
            | Self::CustodyUnknown(_)
            | Self::ReceiptDoubled(_)
            | Self::TooLate(_)
            | Self::Signer(_) => false,
        }
    }
}

/// Why the machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WakeReason {
    /// A parcel stays unanswered.
    Retry,
    /// A message expires.
    Expiry,
    /// Something need not be kept any longer.
    Cleanup,
}
