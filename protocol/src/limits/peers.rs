//! What bounds the nodes around this one: how many, and what they may do wrong.

use core::time::Duration;

/// Nodes connected at once: all 196 members, and some with two.
pub const CONNECTED_NODES_MAX: usize = 256;

/// Peers whose faults are remembered: those connected, and as many that were.
pub const FAULT_PEERS_MAX: usize = 2 * CONNECTED_NODES_MAX;

/// The interval in which faults are summed up: one line in the log for each peer and rule.
pub const FAULT_INTERVAL: Duration = Duration::from_secs(60);

/// Faults of one peer in an interval at which it is cut off. Honest nodes hand on what they verified; one of an
/// older version might hand over a few documents that a newer one refuses, with every repair.
pub const FAULTS_PER_INTERVAL_MAX: u64 = 256;

/// Rules counted for one peer: more than VALIDATION.md lists for any one document kind.
pub const FAULT_RULES_MAX: usize = 64;
