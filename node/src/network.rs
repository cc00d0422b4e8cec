//! The network: one task owns the libp2p swarm; everything else holds a cloneable [`Network`].
//!
//! It dials, introduces, frames, queues and reports; it decides nothing about documents, members or
//! messages. Outside this module peers are node keys. Every queue is bounded, and nothing that the
//! runtime, the disk or a peer does slowly holds up the swarm's loop.

mod actor;
pub mod address;
pub mod behaviour;
mod connections;
mod copies;
pub mod dial;
pub mod dial_back;
pub mod event;
pub mod framing;
pub mod gossip;
mod identity;
pub mod names;
mod one_dial;
mod pending;
mod plain_words;
mod relay_stream;
mod repair;
mod tls;
pub mod transport;
mod twin;
mod upgrade;
mod witness;

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    audit::witness::{CosignAnswer, CosignRequest},
    evidence::repair::{RepairRequest, RepairResponse},
    ids::{FederationId, MemberCode, NodeKey},
    introduction::Presence,
    relay::{frame::RelayFrame, parcel::Class},
    time::Timestamp,
};
use tokio::sync::{mpsc, oneshot, watch};

use self::{actor::Actor, relay_stream::Lanes};
pub use self::{
    address::{Address, AddressError},
    dial::{DialLimits, Target},
    dial_back::DialBackAnswer,
    event::{
        Connected, Direction, Fault, GossipToken, InboundFrame, KeyExchange, NetworkEvent, NetworkEvents,
        RequestFailed, ResponseToken, Room, SendFailure, Ticket, Verdict,
    },
    witness::{CosignAsked, CosignToken},
};

/// The source of [`Timestamp`]s: the node's one clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a network needs to start.
pub struct NetworkConfig {
    /// The federation; it stands in every protocol's name.
    pub federation: FederationId,
    /// TCP, or this process's memory.
    pub transport: TransportKind,
    /// Where to listen; an IP address each, port 0 for any free one.
    pub listen: Vec<Address>,
    /// Whether this node publishes addresses: if not, it leaves no first move to others and dials everyone.
    pub reachable: bool,
    /// Whether addresses outside the public internet are dialled.
    pub allow_private: bool,
    /// How dials are paced.
    pub dial: DialLimits,
    /// Above this much memory of the whole process no further connection is taken.
    pub memory_bytes_max: usize,
    /// How long a peer may be connected without subscribing to the topic before it is redialled.
    pub subscription_grace: Duration,
}

impl NetworkConfig {
    /// The defaults over TCP.
    #[must_use]
    pub fn new(federation: FederationId, listen: Vec<Address>) -> Self {
        Self {
            federation,
            transport: TransportKind::Tcp,
            listen,
            reachable: true,
            allow_private: false,
            dial: DialLimits::default(),
            memory_bytes_max: MEMORY_BYTES_MAX,
            subscription_grace: SUBSCRIPTION_GRACE,
        }
    }
}

/// What carries the connections. Everything above is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// TCP with names resolved by the system's resolver.
    Tcp,
    /// Channels within this process, for tests and the bench.
    Memory,
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The node key is not usable.
    #[error("the node key cannot be used for TLS: {0}")]
    NodeKey(String),
    /// No certificate can be made for TLS.
    #[error("this node's TLS certificate cannot be made: {0}")]
    Certificate(String),
    /// The listening address is taken or not this machine's.
    #[error("cannot listen on {address}: {source}; is another node running, or the port in use?")]
    Listen {
        /// The address.
        address: Address,
        /// The cause.
        source: io::Error,
    },
    /// A part of libp2p refused its settings: a broken invariant of ours.
    #[error("the network cannot be set up: {0}")]
    Setup(String),
}

/// The network has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network has stopped")]
pub struct Stopped;

/// A handle on the network. Cheap to clone; the network stops when [`Network::stop`] is called or the
/// last handle is dropped.
#[derive(Clone)]
pub struct Network {
    requests: mpsc::Sender<Request>,
    lanes: Lanes,
    stopped: watch::Receiver<bool>,
}

/// What a handle asks of the task that owns the swarm.
pub(crate) enum Request {
    Publish(Vec<u8>),
    Verdict(GossipToken, Verdict),
    Repair {
        to: NodeKey,
        request: RepairRequest,
        ticket: Ticket,
    },
    Respond(ResponseToken, RepairResponse),
    Aim {
        targets: Vec<Target>,
        hints: Vec<Address>,
    },
    Disconnect {
        node: NodeKey,
        why: String,
    },
    DialBack {
        by: NodeKey,
        reply: oneshot::Sender<Result<DialBackAnswer, RequestFailed>>,
    },
    Cosign {
        by: NodeKey,
        request: Box<CosignRequest>,
        reply: oneshot::Sender<Result<CosignAnswer, RequestFailed>>,
    },
    AnswerCosign(CosignToken, CosignAnswer),
    Peers(oneshot::Sender<Vec<PeerRow>>),
    Hints(oneshot::Sender<Vec<HintRow>>),
    Summary(oneshot::Sender<Summary>),
    Stop,
}

impl Network {
    /// Starts the network on the current tokio runtime.
    ///
    /// `presence` is what introductions are decided on; the runtime swaps it when the evidence changes.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        config: NetworkConfig,
        node_key: &SigningKey,
        presence: Arc<ArcSwap<Presence>>,
        clock: Clock,
    ) -> Result<(Self, NetworkEvents), StartError> {
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let (stop, stopped) = watch::channel(false);
        let (actor, lanes, events) = Actor::new(config, node_key, presence, clock, asked)?;
        tokio::spawn(async move {
            actor.run().await;
            stop.send_replace(true);
        });
        Ok((Self { requests, lanes, stopped }, events))
    }

    /// Queues a frame for a node. Urgent frames have their own queue and stream.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`] or [`SendFailure::QueueFull`] at once; later failures come as
    /// [`NetworkEvent::SendFailed`] with the ticket.
    pub fn send(
        &self,
        to: NodeKey,
        class: Class,
        frame: RelayFrame,
        ticket: Ticket,
    ) -> Result<(), SendFailure> {
        self.lanes.send(to, class, frame, ticket)
    }

    /// Publishes to everyone. With no peer subscribed it waits, bounded, until there is one.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn publish(&self, data: Vec<u8>) -> Result<(), Stopped> {
        self.ask(Request::Publish(data)).await
    }

    /// Judges a piece of gossip: nothing is passed on before.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn verdict(&self, token: GossipToken, verdict: Verdict) -> Result<(), Stopped> {
        self.ask(Request::Verdict(token, verdict)).await
    }

    /// Asks a node for repair; the answer comes as [`NetworkEvent::RepairAnswered`] with the ticket.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn request(&self, to: NodeKey, request: RepairRequest, ticket: Ticket) -> Result<(), Stopped> {
        self.ask(Request::Repair { to, request, ticket }).await
    }

    /// Answers a node's request.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn respond(&self, token: ResponseToken, response: RepairResponse) -> Result<(), Stopped> {
        self.ask(Request::Respond(token, response)).await
    }

    /// Says whom to be connected with: the active nodes of the other members and this member's own other
    /// nodes, and addresses whose node is not known yet. Replaces what was said before. Connections with
    /// nodes that are no longer targets stay; see [`Network::disconnect`].
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn aim(&self, targets: Vec<Target>, hints: Vec<Address>) -> Result<(), Stopped> {
        self.ask(Request::Aim { targets, hints }).await
    }

    /// Closes every connection with a node at once, as when its key is no longer active. Whether it is
    /// dialled again is [`Network::aim`]'s matter; whether it may come back, the presence's.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn disconnect(&self, node: NodeKey, why: String) -> Result<(), Stopped> {
        self.ask(Request::Disconnect { node, why }).await
    }

    /// Has a connected node dial the addresses that this one's record announces.
    ///
    /// # Errors
    /// [`Stopped`]; the inner error says why there is no answer.
    pub async fn dial_back(&self, by: NodeKey) -> Result<Result<DialBackAnswer, RequestFailed>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::DialBack { by, reply }).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Asks a connected node to cosign a checkpoint of this node's journal.
    ///
    /// # Errors
    /// [`Stopped`]; the inner error says why there is no answer.
    pub async fn cosign(
        &self,
        by: NodeKey,
        request: Box<CosignRequest>,
    ) -> Result<Result<CosignAnswer, RequestFailed>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Cosign { by, request, reply }).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Answers a node that asked for a cosignature.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn answer_cosign(&self, token: CosignToken, answer: CosignAnswer) -> Result<(), Stopped> {
        self.ask(Request::AnswerCosign(token, answer)).await
    }

    /// Every node that is a target or connected, ordered by member and node.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerRow>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Peers(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Every address that is dialled without knowing whose node is there, and how that went.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn hints(&self) -> Result<Vec<HintRow>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Hints(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// The network as a whole.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn summary(&self) -> Result<Summary, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Summary(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Closes every connection and listener and waits until that is done.
    pub async fn stop(&self) {
        if self.ask(Request::Stop).await.is_ok() {
            let mut stopped = self.stopped.clone();
            // An error means that the task is gone, which is what is waited for.
            let _gone = stopped.wait_for(|stopped| *stopped).await;
        }
    }

    async fn ask(&self, request: Request) -> Result<(), Stopped> {
        self.requests.send(request).await.map_err(|_| Stopped)
    }
}

/// One node in `peers`.
#[derive(Clone, Debug)]
pub struct PeerRow {
    /// The node.
    pub node: NodeKey,
    /// Its member.
    pub member: MemberCode,
    /// The connection that is used, if there is one.
    pub connection: Option<PeerConnection>,
    /// When it was last heard of: now, if connected; `None` if never since the start.
    pub last_contact: Option<Timestamp>,
    /// Why it is down, in plain words.
    pub reason: Option<String>,
    /// How long until it is dialled next; `None` if it is connected or has no address.
    pub next_dial_in: Option<Duration>,
}

/// An address whose node is not known yet.
#[derive(Clone, Debug)]
pub struct HintRow {
    /// The address.
    pub address: Address,
    /// Why the last dial failed, in plain words; `None` if none has yet.
    pub reason: Option<String>,
    /// How long until it is dialled next; `None` while the node that answered there is connected.
    pub next_dial_in: Option<Duration>,
}

/// A connection in `peers`.
#[derive(Clone, Debug)]
pub struct PeerConnection {
    /// Who dialled.
    pub direction: Direction,
    /// Where the node was dialled or called from.
    pub address: Address,
    /// What carries it.
    pub transport: TransportKind,
    /// The key exchange that TLS negotiated.
    pub group: KeyExchange,
    /// The last ping's round trip, once there was one.
    pub latency: Option<Duration>,
    /// Since when.
    pub since: Timestamp,
    /// Whether the node has subscribed to the topic.
    pub subscribed: bool,
}

/// The network as a whole.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Where this node listens.
    pub listening: Vec<Address>,
    /// Whether any node was ever admitted that dialled in, since the start; if not, a port may be closed.
    pub dialled_in: bool,
    /// Connections that passed the introduction, since the start: no other reached the multiplexer.
    pub admitted: u64,
    /// Nodes connected.
    pub connected: usize,
    /// Connections: more than nodes for the moment in which a spare is closed.
    pub connections: u32,
    /// Dials under way.
    pub dialling: usize,
    /// Pieces of gossip that came in, copies included, since the start.
    pub gossip_received: u64,
    /// Pieces of gossip dropped because the runtime did not take them in time.
    pub gossip_dropped: u64,
    /// Broken rules of the wire seen.
    pub faults: u64,
    /// When a connection was last refused because this process has too much in memory; `None` if never.
    pub refused_for_memory: Option<Timestamp>,
}

/// Requests that wait for the swarm's task: a burst of verdicts while a directory is fetched.
const REQUESTS_MAX: usize = 256;

/// Memory of the process above which no connection is taken: several times what 195 peers need, and well below what
/// ends the process (`MemoryMax` in config/refpoint.service), so that those who are connected stay.
const MEMORY_BYTES_MAX: usize = 400 * 1000 * 1000;

/// A healthy peer subscribes within a round trip; a slow satellite link has several in half a minute.
const SUBSCRIPTION_GRACE: Duration = Duration::from_secs(30);
