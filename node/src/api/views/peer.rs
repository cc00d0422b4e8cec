//! The nodes of other members, connected or not.

use refpoint_protocol::ids::{MemberCode, NodeKey};
use serde::{Deserialize, Serialize};

use super::{instant::Instant, names::MemberNames};

/// One node of another member, or another node of this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its member.
    pub member: MemberCode,
    /// The member's names.
    pub names: MemberNames,
    /// Its node key; absent for a member of which no node is known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeKey>,
    /// Whether it is connected now.
    pub connected: bool,
    /// Who dialled, while connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The transport, such as `tcp/tls1.3/yamux`, while connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// The key-exchange group that was negotiated, such as `X25519MLKEM768`, while connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its address while connected, else those that its record names.
    pub addresses: Vec<String>,
    /// The last ping's round trip in microseconds, while connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    /// Since when it is connected, or has been away; absent if never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Instant>,
    /// When a byte of it last came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_contact: Option<Instant>,
    /// Why it is not connected, in plain words: `no answer at 203.0.113.7:4001`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it is dialled next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_dial: Option<Instant>,
    /// Rules that it broke since this node was started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultView>,
}

/// A rule that a peer broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// The rule's id in `protocol/VALIDATION.md`.
    pub rule: String,
    /// How often.
    pub count: u64,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The peer dialled this node.
    Inbound,
    /// This node dialled the peer.
    Outbound,
}
