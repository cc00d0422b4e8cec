//! The task that owns the swarm: it turns requests into libp2p's calls and libp2p's events into ours.

mod asking;
mod dialling_back;
mod outgoing;
mod rows;
mod swarm_events;
mod witnessing;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use ed25519_dalek::SigningKey;
use futures::StreamExt;
use libp2p::{
    Swarm,
    core::transport::ListenerId,
    gossipsub::{MessageAcceptance, PublishError},
    request_response::OutboundRequestId,
    swarm::{self, ConnectionId, dial_opts::DialOpts},
};
use libp2p_stream::IncomingStreams;
use refpoint_protocol::{
    audit::witness::CosignAnswer,
    evidence::repair::RepairRequest,
    ids::{MemberCode, NodeKey},
    introduction::Presence,
    relay::parcel::Class,
};
use tokio::sync::mpsc;

use self::{asking::Asking, outgoing::Outgoing};
use super::{
    Address, Clock, NetworkConfig, Request, StartError, Summary, TransportKind,
    behaviour::Behaviour,
    connections::Connections,
    copies::Copies,
    dial::{AttemptId, Dialler},
    dial_back::{self, DialBackAnswer, DialBacks},
    event::{NetworkEvent, NetworkEvents, RequestFailed, Ticket, Verdict},
    gossip::GOSSIP_BYTES_MAX,
    identity::{keypair, node_key, peer_id},
    names,
    relay_stream::{Excess, INBOUND_NORMAL_BYTES_MAX, INBOUND_URGENT_BYTES_MAX, Inbox, Lanes, Notice},
    repair::Asked,
    tls::Tls,
    transport,
    twin::SelfMeetings,
    upgrade::{Admissions, CheckingDesk, Learned, Upgrade},
};

/// Owns the swarm and everything that only it changes.
pub(super) struct Actor {
    swarm: Swarm<Behaviour>,
    listeners: Vec<ListenerId>,
    transport: TransportKind,
    subscription_grace: Duration,
    clock: Clock,
    asked: mpsc::Receiver<Request>,
    learned: mpsc::Receiver<Learned>,
    notices: mpsc::Receiver<Notice>,
    urgent: IncomingStreams,
    normal: IncomingStreams,
    out: Outgoing,
    lanes: Lanes,
    admissions: Admissions,
    connections: Connections,
    dialler: Dialler,
    attempts: HashMap<ConnectionId, Attempt>,
    requests: HashMap<OutboundRequestId, (NodeKey, Ticket)>,
    dial_backs: DialBacks,
    dialled_back: mpsc::Receiver<dial_back::Progress>,
    asking_back: Asking<DialBackAnswer>,
    cosigning: Asking<CosignAnswer>,
    publishing: VecDeque<Vec<u8>>,
    targets: BTreeMap<NodeKey, MemberCode>,
    /// Faults of connected nodes, on the connections that they have now.
    faults: BTreeMap<NodeKey, u32>,
    /// Log lines about strangers left this minute.
    stranger_lines: u32,
    ticks: u64,
    summary: Summary,
    copies: Copies,
    twin: SelfMeetings,
    twin_told: bool,
}

/// A dial under way.
struct Attempt {
    id: AttemptId,
    node: Option<NodeKey>,
    address: Address,
}

impl Actor {
    /// Sets up the swarm and listens.
    pub(super) fn new(
        config: NetworkConfig,
        signing: &SigningKey,
        presence: Arc<ArcSwap<Presence>>,
        clock: Clock,
        asked: mpsc::Receiver<Request>,
    ) -> Result<(Self, Lanes, NetworkEvents), StartError> {
        let keypair = keypair(signing).map_err(|error| StartError::NodeKey(error.to_string()))?;
        let me = NodeKey::from_bytes(signing.verifying_key().to_bytes());
        let (learned_by, learned) = mpsc::channel(LEARNED_MAX);
        let admissions = Admissions::default();
        let tls = Tls::new(&keypair).map_err(|error| StartError::Certificate(error.to_string()))?;
        let upgrade = Upgrade {
            tls,
            me,
            presence,
            clock: Arc::clone(&clock),
            learned: learned_by,
            admissions: admissions.clone(),
            desk: CheckingDesk::default(),
        };
        let upgrade = Arc::new(upgrade);
        let transport = transport::build(config.transport, config.allow_private, Arc::clone(&upgrade));
        let prober = transport::build_prober(config.transport, config.allow_private, upgrade);
        let (dial_backs, dialled_back) = DialBacks::new(prober);
        let copies = Copies::default();
        let behaviour = Behaviour::new(&config, copies.clone()).map_err(StartError::Setup)?;
        let settings = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
        let mut swarm = Swarm::new(transport, behaviour, keypair.public().to_peer_id(), settings);
        // libp2p shares its port with whoever asks; a second node on it would take half the callers. All are tried
        // before the first is taken, since what asks for both families finds the first one's port in use.
        for address in &config.listen {
            let free =
                address.socket().map_or(Ok(()), |socket| std::net::TcpListener::bind(socket).map(drop));
            free.map_err(|source| StartError::Listen { address: address.clone(), source })?;
        }
        let mut listeners = Vec::new();
        for address in &config.listen {
            let listener = swarm.listen_on(address.multiaddr()).map_err(|error| StartError::Listen {
                address: address.clone(),
                source: listen_cause(error),
            })?;
            listeners.push(listener);
        }

        let mut control = swarm.behaviour().relay.new_control();
        let mut accept = |class| {
            control
                .accept(names::relay(config.federation, class))
                .map_err(|error| StartError::Setup(error.to_string()))
        };
        let (incoming_urgent, incoming_normal) = (accept(Class::Urgent)?, accept(Class::Normal)?);
        let (out, happened_by, happened) = Outgoing::new();
        let (noticed_by, notices) = mpsc::channel(NOTICES_MAX);
        let (urgent_inbox, urgent) = Inbox::new(INBOUND_URGENT_BYTES_MAX);
        let (normal_inbox, normal) = Inbox::new(INBOUND_NORMAL_BYTES_MAX);
        let inboxes = [urgent_inbox, normal_inbox];
        let lanes = Lanes::new(control, config.federation, happened_by, noticed_by, inboxes);
        let actor = Self {
            swarm,
            listeners,
            transport: config.transport,
            subscription_grace: config.subscription_grace,
            clock,
            asked,
            learned,
            notices,
            urgent: incoming_urgent,
            normal: incoming_normal,
            out,
            lanes: lanes.clone(),
            admissions,
            connections: Connections::new(me),
            dialler: Dialler::new(me, config.dial, config.reachable),
            attempts: HashMap::new(),
            requests: HashMap::new(),
            dial_backs,
            dialled_back,
            asking_back: Asking::new("a request to dial back"),
            cosigning: Asking::new("a request to cosign"),
            publishing: VecDeque::new(),
            targets: BTreeMap::new(),
            faults: BTreeMap::new(),
            stranger_lines: STRANGER_LINES_MAX,
            ticks: 0,
            summary: Summary::default(),
            copies,
            twin: SelfMeetings::default(),
            twin_told: false,
        };
        let events = NetworkEvents { happened, urgent, normal, urgent_in_a_row: 0 };
        Ok((actor, lanes, events))
    }

    /// Runs until told to stop, or until nobody holds a handle or reads events.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.out.is_closed() {
            self.out.flush();
            self.start_dials();
            let full = self.out.is_full();
            let wakeup = self.dialler.next_wakeup();
            tokio::select! {
                () = self.out.room(), if !self.out.is_empty() => {}
                event = self.swarm.select_next_some(), if !full => self.on_swarm_event(event),
                request = self.asked.recv() => match request {
                    None | Some(Request::Stop) => break,
                    Some(request) => self.on_request(request),
                },
                Some(learned) = self.learned.recv(), if !full => self.on_learned(learned),
                Some(Notice { from, fault }) = self.notices.recv(), if !full => {
                    self.on_fault(Some(from), None, fault);
                }
                Some((peer, stream)) = self.urgent.next() => self.on_stream(&peer, Class::Urgent, stream),
                Some((peer, stream)) = self.normal.next() => self.on_stream(&peer, Class::Normal, stream),
                Some(progress) = self.dialled_back.recv() => self.on_dialled_back(progress),
                () = sleep_until(wakeup), if wakeup.is_some() => {}
                _ = tick.tick() => self.on_tick(),
            }
        }
        self.close().await;
    }

    /// Stops listening, closes all connections, and gives their goodbyes a moment to go out.
    async fn close(mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            self.swarm.remove_listener(listener);
        }
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error says that it is disconnected already.
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() || self.swarm.listeners().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
        let nodes: Vec<NodeKey> = self.connections.iter().map(|(node, _)| *node).collect();
        for node in nodes {
            self.lanes.close(node);
        }
    }

    fn start_dials(&mut self) {
        while let Some(dial) = self.dialler.next(Instant::now()) {
            let opts = DialOpts::unknown_peer_id()
                .address(dial.address.multiaddr())
                // A port in use by the listener would tie two connections of a pair to one.
                .allocate_new_port()
                .build();
            let attempt = Attempt { id: dial.attempt, node: dial.node, address: dial.address };
            self.attempts.insert(opts.connection_id(), attempt);
            let id = opts.connection_id();
            if let Err(error) = self.swarm.dial(opts) {
                self.on_dial_failed(id, &error);
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Publish(data) => self.publish(data),
            Request::Verdict(token, verdict) => {
                let acceptance = match verdict {
                    Verdict::Accept => MessageAcceptance::Accept,
                    Verdict::Ignore => MessageAcceptance::Ignore,
                    Verdict::Reject => MessageAcceptance::Reject,
                };
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                if !gossip.judge(&token.message, &token.source, acceptance) {
                    tracing::debug!(message = %token.message, "a verdict came too late to pass gossip on");
                }
            }
            Request::Repair { to, request, ticket } => self.request(to, request, ticket),
            Request::Respond(token, response) => {
                if self.swarm.behaviour_mut().repair.send_response(token.0, response).is_err() {
                    tracing::debug!("a repair response came after its requester was gone");
                }
            }
            Request::Aim { targets, hints } => {
                self.targets = targets.iter().map(|target| (target.node, target.member.clone())).collect();
                self.dialler.aim(&targets, &hints, Instant::now(), draw);
            }
            Request::Disconnect { node, why } => self.disconnect(node, why),
            Request::DialBack { by, reply } => self.ask_dial_back(by, reply),
            Request::Cosign { by, request, reply } => self.ask_cosign(by, request, reply),
            Request::AnswerCosign(token, answer) => self.answer_cosign(token, answer),
            // A requester that went away is nobody's loss.
            Request::Peers(reply) => drop(reply.send(self.rows())),
            Request::Hints(reply) => drop(reply.send(self.dialler.hints(Instant::now()))),
            Request::Summary(reply) => drop(reply.send(self.summarise())),
            Request::Stop => {}
        }
    }

    fn request(&mut self, to: NodeKey, request: RepairRequest, ticket: Ticket) {
        let failed = if self.connections.get(to).is_none() {
            Some(RequestFailed::NotConnected)
        } else if self.requests.len() >= REQUESTS_UNDER_WAY_MAX {
            Some(RequestFailed::TooMany)
        } else {
            None
        };
        match (failed, peer_id(to)) {
            (None, Some(peer)) => {
                let id = self.swarm.behaviour_mut().repair.send_request(&peer, Asked::Request(request));
                self.requests.insert(id, (to, ticket));
            }
            (failed, _) => {
                let result = Err(failed.unwrap_or(RequestFailed::NotConnected));
                self.out.push(NetworkEvent::RepairAnswered { from: to, ticket, result });
            }
        }
    }

    fn publish(&mut self, data: Vec<u8>) {
        if data.len() > GOSSIP_BYTES_MAX {
            let why = format!("{} bytes, at most {GOSSIP_BYTES_MAX} can be published", data.len());
            self.out.push(NetworkEvent::PublishFailed { why });
            return;
        }
        if let Some(data) = self.try_publish(data) {
            if self.publishing.len() >= PUBLISHING_MAX {
                self.publishing.pop_front();
                tracing::debug!("the oldest publication that waits is dropped; repair will bring it");
            }
            self.publishing.push_back(data);
        }
    }

    /// Publishes; gives the data back if nobody can take it now.
    fn try_publish(&mut self, data: Vec<u8>) -> Option<Vec<u8>> {
        match self.swarm.behaviour_mut().gossip.publish(data.clone()) {
            // A duplicate is in the mesh already.
            Ok(_) | Err(PublishError::Duplicate) => None,
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => Some(data),
            Err(error) => {
                self.out.push(NetworkEvent::PublishFailed { why: error.to_string() });
                None
            }
        }
    }

    fn publish_waiting(&mut self) {
        while let Some(data) = self.publishing.pop_front() {
            if let Some(data) = self.try_publish(data) {
                self.publishing.push_front(data);
                return;
            }
        }
    }

    fn disconnect(&mut self, node: NodeKey, why: String) {
        let Some(peer) = self.connections.get_mut(node) else {
            return;
        };
        peer.closing.get_or_insert(why);
        if let Some(id) = peer_id(node) {
            // An error says that it is disconnected already.
            let _gone = self.swarm.disconnect_peer_id(id);
        }
    }

    fn on_learned(&mut self, Learned { from, documents }: Learned) {
        self.out.push(NetworkEvent::Learned { from, documents });
    }

    fn on_tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(60) {
            self.stranger_lines = STRANGER_LINES_MAX;
        }
        self.publish_waiting();
        let now = Instant::now();
        if self.twin.settle(now) && !std::mem::replace(&mut self.twin_told, true) {
            self.out.push(NetworkEvent::TwinMet);
        }
        for node in self.connections.deaf(now, self.subscription_grace) {
            self.disconnect(node, "it did not subscribe to the directory's topic; dialling anew".to_owned());
        }
    }

    fn on_stream(&mut self, peer: &libp2p::PeerId, class: Class, stream: libp2p::Stream) {
        if let Some(node) = node_key(peer) {
            // Two machines with one key are no fault of streams: both are told otherwise.
            let excess = if self.connections.is_crowded(node, Instant::now()) {
                Excess::Ignored
            } else {
                Excess::Fault
            };
            self.lanes.read(node, class, stream, excess);
        }
    }
}

fn listen_cause(error: libp2p::TransportError<std::io::Error>) -> std::io::Error {
    match error {
        libp2p::TransportError::Other(error) => error,
        libp2p::TransportError::MultiaddrNotSupported(address) => std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!("{address} is no address to listen on; write an IP address and a port"),
        ),
    }
}

/// Sleeps until an instant; the caller asks only where there is one.
async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// A draw for jitter. Without the system's randomness the middle serves: nothing secret hangs on it.
fn draw() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX / 2)
}

/// Connections are kept: an urgent message never waits for a handshake. Pings notice the dead ones.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 86_400);

/// How often what waits is looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long closing connections may take at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Introductions' documents that wait for the runtime.
const LEARNED_MAX: usize = 32;

/// Readers' notices that wait.
const NOTICES_MAX: usize = 32;

/// Publications that wait for a peer.
const PUBLISHING_MAX: usize = 64;

/// Repair requests under way: one for each node that can be connected.
const REQUESTS_UNDER_WAY_MAX: usize = 256;

/// Log lines about callers who are nobody, each minute.
const STRANGER_LINES_MAX: u32 = 10;
