//! What the network tells the runtime, and the tokens with which the runtime answers.
//!
//! Three bounded channels feed one receiver: what happened, urgent frames, normal frames. A full frame
//! channel holds back the peer's stream, never the swarm's loop.

use std::fmt;

use libp2p::{
    PeerId,
    gossipsub::MessageId,
    request_response::{OutboundFailure, ResponseChannel},
};
use refpoint_protocol::{
    evidence::repair::{RepairRequest, RepairResponse},
    ids::{MemberCode, NodeKey},
    introduction::{LearnedDocument, frame::RefusalCode},
    relay::{frame::RelayFrame, parcel::Class},
    time::Timestamp,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{address::Address, witness::CosignAsked};

/// Names a request of the runtime's; it returns in the event that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something that happened on the network.
#[derive(Debug)]
pub enum NetworkEvent {
    /// This node can be dialled here.
    Listening(Address),
    /// A listener is gone; the node cannot be dialled there any more.
    ListenerLost {
        /// Why, in plain words.
        why: String,
    },
    /// The first connection with a node is up: both sides have been introduced. Or one of two is gone and took
    /// along what was on it: what a new connection is told begins anew.
    Connected(Connected),
    /// The last connection with a node is gone.
    Disconnected {
        /// The node.
        node: NodeKey,
        /// Its member.
        member: MemberCode,
        /// Why, in plain words.
        why: String,
    },
    /// A frame of the relay.
    Frame(InboundFrame),
    /// Gossip, to be judged with [`super::Network::verdict`] within about four seconds.
    Gossip {
        /// The node that handed it on, not its author.
        source: NodeKey,
        /// For the verdict.
        token: GossipToken,
        /// What was published.
        data: Vec<u8>,
    },
    /// A repair request, to be answered with [`super::Network::respond`] within
    /// [`super::behaviour::REPAIR_TIMEOUT`].
    RepairRequested {
        /// The node that asks.
        from: NodeKey,
        /// For the answer.
        token: ResponseToken,
        /// What it asks.
        request: RepairRequest,
    },
    /// A repair request of ours was answered, or not.
    RepairAnswered {
        /// The node asked.
        from: NodeKey,
        /// The ticket given with the request.
        ticket: Ticket,
        /// The answer.
        result: Result<RepairResponse, RequestFailed>,
    },
    /// A request to cosign a checkpoint, to be answered with [`super::Network::answer_cosign`].
    CosignAsked(CosignAsked),
    /// A frame that was queued did not go out, or went out on a stream that broke soon after: it may have
    /// arrived.
    SendFailed {
        /// The node it was for.
        to: NodeKey,
        /// The ticket given with the frame.
        ticket: Ticket,
        /// Why.
        why: SendFailure,
    },
    /// A dial failed. Reported for each address tried, and for the hints too.
    DialFailed {
        /// The node that was dialled; `None` for a hint.
        node: Option<NodeKey>,
        /// The address.
        address: Address,
        /// Why, in plain words.
        why: String,
        /// Set where the other side refused this node and said why; a [`NetworkEvent::Learned`] with what
        /// proves it came before.
        refusal: Option<RefusalCode>,
    },
    /// Documents that an introduction brought, always before its outcome ([`NetworkEvent::Connected`] or
    /// [`NetworkEvent::DialFailed`]): verified as the introduction does, worth keeping even where
    /// it failed. A refusal's proof comes this way too.
    Learned {
        /// The node that brought them; not necessarily admitted.
        from: NodeKey,
        /// The documents, ancestors first.
        documents: Vec<LearnedDocument>,
    },
    /// Somebody broke a rule of the wire.
    Fault {
        /// The node, if TLS got as far as to name one.
        node: Option<NodeKey>,
        /// Where it called from or was dialled.
        address: Option<Address>,
        /// What it did.
        fault: Fault,
    },
    /// Another machine uses this node's key: it answered at this node's addresses, or called it. Told once.
    TwinMet,
    /// Something was published that no peer will see.
    PublishFailed {
        /// Why, in plain words.
        why: String,
    },
}

/// A node that came in.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The node.
    pub node: NodeKey,
    /// Its member.
    pub member: MemberCode,
    /// Who dialled.
    pub direction: Direction,
    /// The node's clock as it said in its introduction, a claim.
    pub remote_time: Timestamp,
    /// This node's clock at that moment.
    pub local_time: Timestamp,
    /// The wire version that both speak.
    pub wire: u64,
    /// The key exchange that TLS negotiated.
    pub group: KeyExchange,
    /// Where it was dialled or called from.
    pub address: Address,
}

/// A frame with the memory that it holds: dropping it makes room for the next.
#[derive(Debug)]
pub struct InboundFrame {
    /// The node that sent it.
    pub from: NodeKey,
    /// The stream that it came on.
    pub class: Class,
    /// The frame.
    pub frame: RelayFrame,
    /// Its share of the memory for frames that wait; released on drop.
    pub room: Room,
}

/// A share of the memory for frames that nobody has taken yet.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "held for its drop alone")] pub(super) OwnedSemaphorePermit);

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// This node did.
    Outbound,
    /// The other node did.
    Inbound,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        })
    }
}

/// A TLS key exchange by its number in IANA's registry of supported groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyExchange(pub u16);

impl KeyExchange {
    /// X25519MLKEM768: what two nodes of this program agree on.
    pub const HYBRID: Self = Self(0x11EC);
    /// X25519 alone: what is accepted from programs that lack the hybrid.
    pub const X25519: Self = Self(0x001D);
}

impl fmt::Display for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::HYBRID => f.pad("X25519MLKEM768"),
            Self::X25519 => f.pad("X25519"),
            Self(other) => write!(f, "{other:#06x}"),
        }
    }
}

/// Names a piece of gossip that waits for its verdict.
#[derive(Clone, Debug)]
pub struct GossipToken {
    pub(super) message: MessageId,
    pub(super) source: PeerId,
}

/// What becomes of a piece of gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New and acceptable: passed on.
    Accept,
    /// Known, old, pending or newer than this node: neither passed on nor held against anyone.
    Ignore,
    /// Invalid in every state: not passed on, and the peer's score falls.
    Reject,
}

/// The way back to a requester. Dropped unanswered, the requester sees a failure at once.
#[derive(Debug)]
pub struct ResponseToken(pub(super) ResponseChannel<RepairResponse>);

/// Why a request of ours has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailed {
    /// No connection with the node.
    #[error("not connected")]
    NotConnected,
    /// Nothing came within [`super::behaviour::REPAIR_TIMEOUT`].
    #[error("no answer in time")]
    Timeout,
    /// The connection went away; the request may have been served.
    #[error("the connection was lost")]
    Disconnected,
    /// The node speaks no repair of this federation and version.
    #[error("the other node does not serve repair")]
    Unsupported,
    /// The answer broke a rule of the wire; a [`NetworkEvent::Fault`] says which.
    #[error("the answer was invalid: {0}")]
    Invalid(String),
    /// The stream failed.
    #[error("the stream failed: {0}")]
    Stream(String),
    /// As many requests wait as are allowed.
    #[error("too many requests wait already")]
    TooMany,
}

impl From<OutboundFailure> for RequestFailed {
    fn from(failure: OutboundFailure) -> Self {
        match failure {
            OutboundFailure::DialFailure => Self::NotConnected,
            OutboundFailure::Timeout => Self::Timeout,
            OutboundFailure::ConnectionClosed => Self::Disconnected,
            OutboundFailure::UnsupportedProtocols => Self::Unsupported,
            OutboundFailure::Io(error) => Self::Stream(error.to_string()),
        }
    }
}

/// Why a frame did not go out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// No connection with the node.
    #[error("not connected")]
    NotConnected,
    /// As many frames or bytes wait for this node as are allowed.
    #[error("the queue for this node is full")]
    QueueFull,
    /// The frame is larger than any reader accepts: a broken invariant of ours.
    #[error("the frame is too large or cannot be encoded: {0}")]
    Frame(String),
    /// The stream could not be opened, or broke before or soon after the frame went out.
    #[error("the stream failed: {0}")]
    Stream(String),
}

/// A broken rule of the wire. Each names the rule; what the runtime judges is not here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// NW-01: the bytes of an introduction.
    #[error("NW-01 introduction: {0}")]
    Introduction(String),
    /// NW-02: the framing or form of a relay frame.
    #[error("NW-02 relay frame: {0}")]
    RelayFrame(String),
    /// NW-03: the framing or form of a repair request.
    #[error("NW-03 repair request: {0}")]
    RepairRequest(String),
    /// NW-04: the framing or form of a repair response.
    #[error("NW-04 repair response: {0}")]
    RepairResponse(String),
    /// NW-05: more relay streams at once than a node may open.
    #[error("NW-05 relay streams: more than one of a class on a connection")]
    RelayStreams,
    /// NW-07: the framing or form of a request to cosign.
    #[error("NW-07 request to cosign: {0}")]
    WitnessRequest(String),
}

impl Fault {
    /// The rule's id in VALIDATION.md.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Introduction(_) => "NW-01",
            Self::RelayFrame(_) => "NW-02",
            Self::RepairRequest(_) => "NW-03",
            Self::RepairResponse(_) => "NW-04",
            Self::RelayStreams => "NW-05",
            Self::WitnessRequest(_) => "NW-07",
        }
    }
}

/// The runtime's end of the network.
#[derive(Debug)]
pub struct NetworkEvents {
    pub(super) happened: mpsc::Receiver<NetworkEvent>,
    pub(super) urgent: mpsc::Receiver<InboundFrame>,
    pub(super) normal: mpsc::Receiver<InboundFrame>,
    pub(super) urgent_in_a_row: u32,
}

impl NetworkEvents {
    /// The next event: what happened first, then urgent frames, then normal ones, which get one turn in
    /// eight while urgent ones wait. `None` once the network has stopped. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<NetworkEvent> {
        if self.urgent_in_a_row >= URGENT_IN_A_ROW_MAX {
            self.urgent_in_a_row = 0;
            // A frame never overtakes the news that its node is connected.
            if let Ok(event) = self.happened.try_recv() {
                return Some(event);
            }
            if let Ok(frame) = self.normal.try_recv() {
                return Some(NetworkEvent::Frame(frame));
            }
        }
        tokio::select! {
            biased;
            Some(event) = self.happened.recv() => Some(event),
            Some(frame) = self.urgent.recv() => {
                self.urgent_in_a_row += 1;
                Some(NetworkEvent::Frame(frame))
            }
            Some(frame) = self.normal.recv() => {
                self.urgent_in_a_row = 0;
                Some(NetworkEvent::Frame(frame))
            }
            else => None,
        }
    }
}

/// Urgent frames taken before a waiting normal one has its turn.
const URGENT_IN_A_ROW_MAX: u32 = 7;
