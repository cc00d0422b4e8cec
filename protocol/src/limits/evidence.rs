//! What bounds push, repair and what waits for an ancestor.

use core::time::Duration;

use super::{CONNECTED_NODES_MAX, MEMBERS_MAX, NODES_PER_MEMBER_MAX};

/// Documents that wait for an ancestor, for each bearer.
pub const PENDING_PER_BEARER_MAX: usize = 64;

/// Bytes of documents that wait for an ancestor, for each bearer: two charters and change.
pub const PENDING_BYTES_PER_BEARER_MAX: usize = 1024 * 1024;

/// Bearers whose pending documents are kept: every connected node, and this node itself.
pub const PENDING_BEARERS_MAX: usize = CONNECTED_NODES_MAX + 1;

/// Pushed documents of one signing key: one a minute after a burst of five.
pub const PUSH_BURST: u32 = 5;

/// The interval that earns a signing key one more push.
pub const PUSH_INTERVAL: Duration = Duration::from_secs(60);

/// Pushed documents of one signing key that are refused within [`PUSH_INTERVAL`] before they count against the
/// member's node that brings them: an officer who publishes again and again stays below it.
pub const PUSH_EXCESS_MAX: u32 = 16;

/// Signing keys whose push allowance is remembered: every root and node key of a full federation.
pub const PUSH_KEYS_MAX: usize = MEMBERS_MAX * (NODES_PER_MEMBER_MAX + 1);

/// Chains whose last pushed fork proof is remembered: one for each chain of a full federation.
pub const PUSH_FORKS_MAX: usize = MEMBERS_MAX * NODES_PER_MEMBER_MAX * 2;

/// How often a node repairs with a random member.
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(60);

/// A repair without an answer for this long is given up; the next one starts anew.
pub const REPAIR_STALLED: Duration = Duration::from_secs(60);

/// Bytes of a repair request or response.
pub const REPAIR_BYTES_MAX: usize = 1024 * 1024;

/// Ids in one fetch, give or chain answer: 2,048 headers of about 470 bytes fill [`REPAIR_BYTES_MAX`].
pub const REPAIR_IDS_MAX: usize = 2_048;

/// Settlements of another node that one comparison looks at, each against all that are held. One or two are held where
/// nobody breaks the rules; more than 64 take stewards' stolen keys, and whoever holds them gives them in a repair of
/// his own.
pub const SETTLEMENTS_COMPARED_MAX: usize = 64;

/// Chains named in one chain request: both chains of two nodes of every member.
pub const REPAIR_CHAINS_MAX: usize = 1_024;

/// Exchanges of one repair: a lying peer cannot keep a repair going; what is left is for the next.
pub const REPAIR_ROUNDS_MAX: usize = 64;

/// Bytes that one repair takes in and gives: a year's headers of a hundred chains.
pub const REPAIR_SESSION_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Ids that one repair gives: about what [`REPAIR_SESSION_BYTES_MAX`] holds of headers.
pub const REPAIR_GIVEN_IDS_MAX: usize = 32 * 1024;

/// Positions in one answer: 4,096 of about 150 bytes stay under [`REPAIR_BYTES_MAX`].
pub const POSITIONS_MAX: usize = 4_096;

/// Pages of positions that one repair asks for of a kind: what lies beyond is left to later repairs.
pub const POSITION_PAGES_MAX: usize = 4;

/// Bytes of evidence that the nodes of one member may bring by repair at once: a year of a whole federation,
/// 392 chains of 365 headers of about 450 bytes.
pub const INTAKE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a member earns anew a minute, 94 MB a day: five hundred times what a federation publishes, and little
/// enough that its stewards have weeks to end a member that fills everybody's disk.
pub const INTAKE_BYTES_PER_MINUTE: u64 = 64 * 1024;

const _: () = assert!(REPAIR_IDS_MAX * 32 < REPAIR_BYTES_MAX / 8);
