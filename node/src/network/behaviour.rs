//! What this node speaks on a connection: gossip, repair, relay streams, ping; and its limits.
//!
//! No identify, no discovery, no relaying: the signed directory holds every address.

use std::time::Duration;

use libp2p::{
    StreamProtocol, connection_limits, gossipsub, memory_connection_limits, ping,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
};
use refpoint_protocol::{
    document::Envelope,
    ids::FederationId,
    limits::{BODY_BYTES_MAX, CONNECTED_NODES_MAX},
};
use sha2::{Digest, Sha256};

use super::{
    NetworkConfig, copies::Copies, dial_back::DialBackCodec, names, one_dial::OneDialPerNode,
    pending::PendingPerPrefix, repair::RepairCodec, witness::WitnessCodec,
};

/// The swarm's behaviour. The limits come first: what they deny costs the others nothing.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pending: PendingPerPrefix,
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    one_dial: OneDialPerNode,
    pub(super) gossip: gossipsub::Behaviour<Copies>,
    pub(super) repair: request_response::Behaviour<RepairCodec>,
    pub(super) dial_back: request_response::Behaviour<DialBackCodec>,
    pub(super) witness: request_response::Behaviour<WitnessCodec>,
    pub(super) relay: libp2p_stream::Behaviour,
    ping: ping::Behaviour,
}

impl Behaviour {
    /// Builds all parts.
    ///
    /// # Errors
    /// The part that refuses its settings: a broken invariant of ours.
    pub(super) fn new(config: &NetworkConfig, copies: Copies) -> Result<Self, String> {
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_pending_incoming(Some(PENDING_INBOUND_MAX))
            .with_max_pending_outgoing(Some(PENDING_OUTBOUND_MAX))
            .with_max_established_per_peer(Some(CONNECTIONS_PER_NODE_MAX))
            .with_max_established(Some(CONNECTIONS_MAX));
        let repair: StreamProtocol = names::repair(config.federation);
        let ping = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT);
        Ok(Self {
            pending: PendingPerPrefix::new(PENDING_PER_PREFIX_MAX),
            limits: connection_limits::Behaviour::new(limits),
            memory: memory_connection_limits::Behaviour::with_max_bytes(config.memory_bytes_max),
            one_dial: OneDialPerNode::default(),
            gossip: gossip(config.federation, copies)?,
            repair: request_response::Behaviour::with_codec(
                RepairCodec,
                [(repair, ProtocolSupport::Full)],
                request_response::Config::default()
                    .with_request_timeout(REPAIR_TIMEOUT)
                    .with_max_concurrent_streams(REPAIR_STREAMS_MAX),
            ),
            dial_back: request_response::Behaviour::with_codec(
                DialBackCodec,
                [(names::dial_back(config.federation), ProtocolSupport::Full)],
                request_response::Config::default()
                    .with_request_timeout(DIAL_BACK_TIMEOUT)
                    .with_max_concurrent_streams(DIAL_BACK_STREAMS_MAX),
            ),
            witness: request_response::Behaviour::with_codec(
                WitnessCodec,
                [(names::witness(config.federation), ProtocolSupport::Full)],
                request_response::Config::default()
                    .with_request_timeout(WITNESS_TIMEOUT)
                    .with_max_concurrent_streams(WITNESS_STREAMS_MAX),
            ),
            relay: libp2p_stream::Behaviour::new(),
            ping: ping::Behaviour::new(ping),
        })
    }
}

/// Gossip: anonymous, since documents carry their own signatures; nothing is passed on before its verdict;
/// only what is invalid in every state costs a peer its score. What was heard is told to six nodes outside the
/// mesh each second, not to a quarter of all: the publisher sends to everyone, and repair brings the rest.
fn gossip(federation: FederationId, copies: Copies) -> Result<gossipsub::Behaviour<Copies>, String> {
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
    let topic = names::evidence_topic(federation);
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
    behaviour.subscribe(&topic).map_err(|error| error.to_string())?;
    Ok(behaviour)
}

/// Bytes of one published piece: an envelope with a chain's body beside it, and their frame.
pub const GOSSIP_BYTES_MAX: usize = Envelope::BYTES_MAX + BODY_BYTES_MAX + 1_024;

/// How long a repair request may take: a megabyte at 400 kbit/s and the responder's thought.
pub const REPAIR_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request to be dialled back may take: a dial's own time, and the way there and back.
const DIAL_BACK_TIMEOUT: Duration = Duration::from_secs(15);

/// Requests to dial back on one connection at once: one a minute is answered.
const DIAL_BACK_STREAMS_MAX: usize = 2;

/// How long a request to cosign may take: one sync of a busy disk, and a slow link. Whoever waits for a round waits for two
/// of these at most, less than for any other answer of the node's.
const WITNESS_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests to cosign on one connection at once: a round asks each node once at a time.
const WITNESS_STREAMS_MAX: usize = 2;

/// How often a connection is pinged.
pub const PING_INTERVAL: Duration = Duration::from_secs(15);

/// How long a ping may take. Two in a row without an answer end the connection: libp2p tells of no first one. A
/// connection that dies is so noticed within 50 s at the latest, one that never answers within 20 s.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Repair substreams of one connection at once: what JavaScript's library accepts.
const REPAIR_STREAMS_MAX: usize = 32;

/// Bytes above which a piece's arrival is told to the mesh before it is judged, so that fewer copies come: to tell
/// it costs every node and neighbour as much as a copy of a record, which is smaller; a charter is not.
const IDONTWANT_BYTES_MIN: usize = 16 * 1024;

/// Bytes of gossip's own framing around a piece, and of control messages that ride along.
const RPC_MARGIN_BYTES: usize = 16 * 1024;

/// Gossip that waits for one connection: a burst of every member's records; what is dropped, repair brings.
const GOSSIP_QUEUE_MAX: usize = 512;

/// Handshakes of callers at once: each is two milliseconds of one core.
const PENDING_INBOUND_MAX: u32 = 64;

/// Handshakes of callers of one address prefix at once: a small country's two nodes may share a provider
/// with a few others.
const PENDING_PER_PREFIX_MAX: usize = 16;

/// Dials at once, above what [`super::dial`] allows itself.
const PENDING_OUTBOUND_MAX: u32 = 64;

/// With one, simultaneous dials end with none.
const CONNECTIONS_PER_NODE_MAX: u32 = 2;

/// Connections in all: the spares of a moment beside every node that can be connected.
#[expect(clippy::cast_possible_truncation, reason = "512 fits")]
const CONNECTIONS_MAX: u32 = 2 * CONNECTED_NODES_MAX as u32;

/// One invalid piece is 10 points, the square of their number counts: three stop gossip from a peer.
const INVALID_WEIGHT: f64 = -10.0;

/// How long invalid pieces count.
const INVALID_FORGOTTEN: Duration = Duration::from_secs(600);

/// How often the scores of all peers are gone through, so that what is old counts less.
const SCORES_INTERVAL: Duration = Duration::from_secs(30);

/// The part of a score that counts as nothing.
const NO_SCORE: f64 = 0.01;
