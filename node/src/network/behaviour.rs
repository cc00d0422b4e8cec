//! What this node speaks on a connection: gossip, repair, relay streams, ping; and its limits.
//!
//! No identify, no discovery, no relaying: the signed directory holds every address.

use std::time::Duration;

use libp2p::{
    StreamProtocol, connection_limits, memory_connection_limits, ping,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
};
use refpoint_protocol::limits::CONNECTED_NODES_MAX;

use super::{
    NetworkConfig, copies::Copies, dial_back::DialBackCodec, gossip::Gossip, names, one_dial::OneDialPerNode,
    pending::PendingPerPrefix, repair::RepairCodec, witness::WitnessCodec,
};

/// The swarm's behaviour. The limits come first: what they deny costs the others nothing.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pending: PendingPerPrefix,
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    one_dial: OneDialPerNode,
    pub(super) gossip: Gossip,
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
            gossip: Gossip::new(config.federation, copies)?,
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
