//! Gossip of a federation's topic, in which each connection stands for itself.
//!
//! gossipsub thinks in peers: it tells of its topics on the first connection with a peer, and hands what it sends to
//! one queue for all of them. Of two crossing dials one is closed a moment later (`network/connections`), and what
//! stood on it is lost: the subscription, or every piece until something else wakes the connection that stays. So
//! gossipsub is shown a second connection as another peer: each subscribes, and each sends what is its own.

use std::{
    collections::HashMap,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, multihash::Multihash, transport::PortUse},
    gossipsub::{self, IdentTopic, MessageAcceptance, MessageId, PublishError},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{AddressChange, ConnectionEstablished},
    },
};
use refpoint_protocol::{document::Envelope, ids::FederationId, limits::BODY_BYTES_MAX};
use sha2::{Digest, Sha256};

use super::{copies::Copies, names};

/// gossipsub on the topic of the directory's evidence, a connection at a time.
pub(super) struct Gossip {
    inner: gossipsub::Behaviour<Copies>,
    topic: IdentTopic,
    connections: HashMap<ConnectionId, Known>,
}

/// A connection, and what gossipsub knows of it.
#[derive(Clone, Copy, Debug)]
struct Known {
    node: PeerId,
    /// The peer for which gossipsub takes it.
    alias: PeerId,
    /// Whether the other side has told on it that it takes the topic.
    subscribed: bool,
}

/// The node has as many connections as gossipsub has names for.
#[derive(Debug, thiserror::Error)]
#[error("no name is left for another connection with this node")]
struct NoNameLeft;

/// News of a connection with `node`.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) node: PeerId,
    pub(super) event: gossipsub::Event,
}

impl Gossip {
    /// Takes part in the federation's topic.
    ///
    /// # Errors
    /// What gossipsub refuses of its settings: a broken invariant of ours.
    pub(super) fn new(federation: FederationId, copies: Copies) -> Result<Self, String> {
        let topic = names::evidence_topic(federation);
        Ok(Self { inner: configured(&topic, copies)?, topic, connections: HashMap::new() })
    }

    /// Publishes to every node that takes the topic.
    ///
    /// # Errors
    /// Nobody takes it now, all queues are full, it is too large, or it was published before.
    pub(super) fn publish(&mut self, data: Vec<u8>) -> Result<MessageId, PublishError> {
        self.inner.publish(self.topic.clone(), data)
    }

    /// Says what becomes of a piece that came from `source`, as [`gossipsub::Event::Message`] names it; whether that
    /// was in time to pass it on.
    pub(super) fn judge(&mut self, piece: &MessageId, source: &PeerId, verdict: MessageAcceptance) -> bool {
        self.inner.report_message_validation_result(piece, source, verdict)
    }

    /// Whether a node takes the topic, on any of its connections.
    pub(super) fn is_subscribed(&self, node: &PeerId) -> bool {
        self.connections.values().any(|known| known.node == *node && known.subscribed)
    }

    /// The node and the name of a new connection: its own if no other connection has it, so that what gossipsub
    /// remembers of a peer outlives its connections.
    fn enter(&mut self, id: ConnectionId, node: PeerId) -> Result<PeerId, ConnectionDenied> {
        let is_free = |name: &PeerId| self.connections.values().all(|known| known.alias != *name);
        let names = [Some(node), second_name(&node)];
        let alias =
            names.into_iter().flatten().find(is_free).ok_or_else(|| ConnectionDenied::new(NoNameLeft))?;
        self.connections.insert(id, Known { node, alias, subscribed: false });
        Ok(alias)
    }

    /// Reads what gossipsub says of a peer as said of a connection. It never dials: whom to reach, the directory says.
    fn translated(
        &mut self,
        said: ToSwarm<gossipsub::Event, THandlerInEvent<Self>>,
    ) -> Option<ToSwarm<Heard, THandlerInEvent<Self>>> {
        match said {
            ToSwarm::GenerateEvent(event) => {
                let alias = match &event {
                    gossipsub::Event::Message { propagation_source: alias, .. }
                    | gossipsub::Event::Subscribed { peer_id: alias, .. }
                    | gossipsub::Event::Unsubscribed { peer_id: alias, .. }
                    | gossipsub::Event::GossipsubNotSupported { peer_id: alias }
                    | gossipsub::Event::SlowPeer { peer_id: alias, .. } => *alias,
                };
                let known = self.connections.values_mut().find(|known| known.alias == alias)?;
                match &event {
                    // What a node thinks of topics that nobody has here is nobody's news.
                    gossipsub::Event::Subscribed { topic, .. }
                    | gossipsub::Event::Unsubscribed { topic, .. }
                        if *topic != self.topic.hash() =>
                    {
                        return None;
                    }
                    gossipsub::Event::Subscribed { .. } => known.subscribed = true,
                    gossipsub::Event::Unsubscribed { .. } => known.subscribed = false,
                    gossipsub::Event::Message { .. }
                    | gossipsub::Event::GossipsubNotSupported { .. }
                    | gossipsub::Event::SlowPeer { .. } => {}
                }
                Some(ToSwarm::GenerateEvent(Heard { node: known.node, event }))
            }
            ToSwarm::NotifyHandler { peer_id: alias, event, .. } => {
                let (id, known) = self.connections.iter().find(|(_, known)| known.alias == alias)?;
                let handler = NotifyHandler::One(*id);
                Some(ToSwarm::NotifyHandler { peer_id: known.node, handler, event })
            }
            // Of the rest, gossipsub sends only dials, for peers that others told it of.
            _ => None,
        }
    }
}

impl NetworkBehaviour for Gossip {
    type ConnectionHandler = <gossipsub::Behaviour<Copies> as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Heard;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        node: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let alias = self.enter(id, node)?;
        self.inner.handle_established_inbound_connection(id, alias, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        node: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let alias = self.enter(id, node)?;
        self.inner.handle_established_outbound_connection(id, alias, address, role, port)
    }

    /// Only connections concern gossipsub; each is its peer's only one.
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                if let Some(known) = self.connections.get(&established.connection_id) {
                    self.inner.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                        peer_id: known.alias,
                        other_established: 0,
                        ..established
                    }));
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                if let Some(known) = self.connections.remove(&closed.connection_id) {
                    self.inner.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                        peer_id: known.alias,
                        remaining_established: 0,
                        ..closed
                    }));
                }
            }
            FromSwarm::AddressChange(change) => {
                if let Some(known) = self.connections.get(&change.connection_id) {
                    let change = AddressChange { peer_id: known.alias, ..change };
                    self.inner.on_swarm_event(FromSwarm::AddressChange(change));
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        if let Some(known) = self.connections.get(&id) {
            self.inner.on_connection_handler_event(known.alias, id, event);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        while let Poll::Ready(said) = self.inner.poll(cx) {
            if let Some(said) = self.translated(said) {
                return Poll::Ready(said);
            }
        }
        Poll::Pending
    }
}

/// The name of a second connection with a node: no key's, and the same each time.
fn second_name(node: &PeerId) -> Option<PeerId> {
    let digest = Sha256::new().chain_update(b"second connection").chain_update(node.to_bytes()).finalize();
    PeerId::from_multihash(Multihash::wrap(SHA2_256_MULTIHASH, &digest).ok()?).ok()
}

/// Anonymous, since documents carry their own signatures; nothing is passed on before its verdict;
/// only what is invalid in every state costs a peer its score. What was heard is told to six nodes outside the
/// mesh each second, not to a quarter of all: the publisher sends to everyone, and repair brings the rest.
fn configured(topic: &IdentTopic, copies: Copies) -> Result<gossipsub::Behaviour<Copies>, String> {
    let config = gossipsub::ConfigBuilder::default()
        .mesh_n(6)
        .mesh_n_low(4)
        .mesh_n_high(8)
        .flood_publish(true)
        .gossip_factor(0.0)
        .idontwant_message_size_threshold(IDONTWANT_BYTES_MIN)
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| gossipsub::MessageId::new(&Sha256::digest(&message.data)))
        .max_transmit_size(GOSSIP_BYTES_MAX + RPC_MARGIN_BYTES)
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        .build()
        .map_err(|error| error.to_string())?;
    let anonymous = gossipsub::MessageAuthenticity::Anonymous;
    let mut behaviour = gossipsub::Behaviour::new_with_transform(anonymous, config, copies)?;
    let silent = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: INVALID_WEIGHT,
        invalid_message_deliveries_decay: gossipsub::score_parameter_decay_with_base(
            INVALID_FORGOTTEN,
            SCORES_INTERVAL,
            NO_SCORE,
        ),
        ..gossipsub::TopicScoreParams::default()
    };
    let params = gossipsub::PeerScoreParams {
        topics: [(topic.hash(), silent)].into(),
        decay_interval: SCORES_INTERVAL,
        decay_to_zero: NO_SCORE,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        slow_peer_weight: 0.0,
        ..gossipsub::PeerScoreParams::default()
    };
    behaviour.with_peer_score(params, gossipsub::PeerScoreThresholds::default())?;
    behaviour.subscribe(topic).map_err(|error| error.to_string())?;
    Ok(behaviour)
}

/// Bytes of one published piece: an envelope with a chain's body beside it, and their frame.
pub const GOSSIP_BYTES_MAX: usize = Envelope::BYTES_MAX + BODY_BYTES_MAX + 1_024;

/// Bytes above which a piece's arrival is told to the mesh before it is judged, so that fewer copies come: to tell
/// it costs every node and neighbour as much as a copy of a record, which is smaller; a charter is not.
const IDONTWANT_BYTES_MIN: usize = 16 * 1024;

/// Bytes of gossip's own framing around a piece, and of control messages that ride along.
const RPC_MARGIN_BYTES: usize = 16 * 1024;

/// Gossip that waits for one connection: a burst of every member's records; what is dropped, repair brings.
const GOSSIP_QUEUE_MAX: usize = 512;

/// One invalid piece is 10 points, the square of their number counts: three stop gossip from a peer.
const INVALID_WEIGHT: f64 = -10.0;

/// How long invalid pieces count.
const INVALID_FORGOTTEN: Duration = Duration::from_secs(600);

/// How often the scores of all peers are gone through, so that what is old counts less.
const SCORES_INTERVAL: Duration = Duration::from_secs(30);

/// The part of a score that counts as nothing.
const NO_SCORE: f64 = 0.01;

/// The multihash code of SHA-256.
const SHA2_256_MULTIHASH: u64 = 0x12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use futures::StreamExt;
    use libp2p::{
        Swarm, Transport,
        core::{transport::MemoryTransport, upgrade::Version},
        identity::Keypair,
        multiaddr::Protocol,
        swarm::{Config, SwarmEvent, dial_opts::DialOpts},
        tls, yamux,
    };

    use super::*;

    type Node = Swarm<Gossip>;

    fn node() -> Node {
        let keypair = Keypair::generate_ed25519();
        let transport = MemoryTransport::default()
            .upgrade(Version::V1)
            .authenticate(tls::Config::new(&keypair).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let gossip = Gossip::new(FederationId::from_bytes([7; 32]), Copies::default()).unwrap();
        let config = Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(600));
        let mut swarm = Swarm::new(transport, gossip, keypair.public().to_peer_id(), config);
        swarm.listen_on(Multiaddr::from(Protocol::Memory(0))).unwrap();
        swarm
    }

    #[derive(Debug, Default)]
    struct Seen {
        listening: [Option<Multiaddr>; 2],
        established: [Vec<ConnectionId>; 2],
        closed: [usize; 2],
        subscriptions: [usize; 2],
        pieces: [Vec<Vec<u8>>; 2],
    }

    impl Seen {
        fn note(&mut self, at: usize, event: SwarmEvent<Heard>) {
            match event {
                SwarmEvent::NewListenAddr { address, .. } => self.listening[at] = Some(address),
                SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                    self.established[at].push(connection_id);
                }
                SwarmEvent::ConnectionClosed { .. } => self.closed[at] += 1,
                SwarmEvent::Behaviour(Heard { event: gossipsub::Event::Message { message, .. }, .. }) => {
                    self.pieces[at].push(message.data);
                }
                SwarmEvent::Behaviour(Heard { event: gossipsub::Event::Subscribed { .. }, .. }) => {
                    self.subscriptions[at] += 1;
                }
                _ => {}
            }
        }
    }

    /// Two nodes and what they saw. No ping wakes their connections.
    struct Pair {
        nodes: [Node; 2],
        seen: Seen,
    }

    impl Pair {
        /// With a connection that the first dialled, and then one that the second did.
        async fn connected_twice() -> Self {
            let mut pair = Self { nodes: [node(), node()], seen: Seen::default() };
            pair.until("addresses", |seen| seen.listening.iter().all(Option::is_some)).await;
            for (at, count) in [(0, 1), (1, 2)] {
                let address = pair.seen.listening[1 - at].clone().unwrap();
                pair.nodes[at].dial(DialOpts::unknown_peer_id().address(address).build()).unwrap();
                pair.until("a connection", |seen| seen.established.iter().all(|it| it.len() == count)).await;
            }
            pair
        }

        async fn until(&mut self, what: &str, holds: impl Fn(&Seen) -> bool) {
            self.until_both(what, |_, seen| holds(seen)).await;
        }

        async fn until_both(&mut self, what: &str, holds: impl Fn(&[Node; 2], &Seen) -> bool) {
            let run = async {
                while !holds(&self.nodes, &self.seen) {
                    let [a, b] = &mut self.nodes;
                    tokio::select! {
                        event = a.select_next_some() => self.seen.note(0, event),
                        event = b.select_next_some() => self.seen.note(1, event),
                    }
                }
            };
            let bounded = tokio::time::timeout(Duration::from_secs(20), run).await;
            assert!(bounded.is_ok(), "{what} did not happen: {:?}", self.seen);
        }

        /// Closes, at the first node, the connection that came up as the first or the second.
        async fn close(&mut self, which: usize) {
            let id = self.seen.established[0][which];
            assert!(self.nodes[0].close_connection(id));
            self.until("the spare's end", |seen| seen.closed == [1, 1]).await;
        }

        async fn each_reaches_the_other(&mut self) {
            self.until_both("a subscription on what stays", |nodes, _| {
                (0..2).all(|at| nodes[at].behaviour().is_subscribed(nodes[1 - at].local_peer_id()))
            })
            .await;
            for at in [0, 1] {
                let piece = format!("from {at}").into_bytes();
                self.nodes[at].behaviour_mut().publish(piece.clone()).unwrap();
                self.until("the piece at the other", |seen| seen.pieces[1 - at].contains(&piece)).await;
            }
        }
    }

    #[tokio::test]
    async fn what_a_node_thinks_of_another_topic_is_no_news() {
        let mut pair = Pair::connected_twice().await;
        pair.until("both subscriptions", |seen| seen.subscriptions == [2, 2]).await;
        let other = gossipsub::IdentTopic::new("another");
        assert!(pair.nodes[0].behaviour_mut().inner.subscribe(&other).unwrap());
        // What was sent before them has come when these have.
        pair.each_reaches_the_other().await;
        assert_eq!(pair.seen.subscriptions, [2, 2]);
    }

    #[tokio::test]
    async fn what_is_published_after_a_spare_connection_closed_arrives() {
        for spare in [0, 1] {
            let mut pair = Pair::connected_twice().await;
            pair.until("both subscriptions", |seen| seen.subscriptions == [2, 2]).await;
            pair.close(spare).await;
            pair.each_reaches_the_other().await;
        }
    }

    #[tokio::test]
    async fn a_spare_that_closes_at_once_takes_no_subscription_along() {
        for spare in [0, 1] {
            let mut pair = Pair::connected_twice().await;
            pair.close(spare).await;
            pair.each_reaches_the_other().await;
        }
    }

    #[test]
    fn a_node_has_two_names_and_a_closed_connection_gives_its_name_back() {
        let mut gossip = Gossip::new(FederationId::from_bytes([7; 32]), Copies::default()).unwrap();
        let (kenya, id) = (PeerId::random(), ConnectionId::new_unchecked);
        let names = [0, 1].map(|at| gossip.enter(id(at), kenya).unwrap());
        assert_eq!(names, [kenya, second_name(&kenya).unwrap()]);
        assert!(gossip.enter(id(2), kenya).is_err());
        gossip.connections.remove(&id(0));
        assert_eq!(gossip.enter(id(3), kenya).unwrap(), kenya);
        assert_ne!(second_name(&PeerId::random()), second_name(&kenya));
    }
}
