//! What bounds heads, bundles, journals and their witnesses.

use core::time::Duration;

use super::{CHARTER_PARENTS_MAX, MEMBERS_MAX, NODES_PER_MEMBER_MAX};

/// Bytes of a head: its fields need about 300, sixteen charter tips the rest.
pub const HEAD_BYTES_MAX: usize = 1024;

/// Charter tips that a head names: as many as one merge can name.
pub const HEAD_TIPS_MAX: usize = CHARTER_PARENTS_MAX;

/// How often a node signs a head while what it holds changes: minutes are what an auditor asks for, and 196 nodes
/// together cost each of them a kilobyte a second.
pub const HEAD_INTERVAL: Duration = Duration::from_secs(300);

/// How often at rest: that a node is silent is known within two hours, for a few bytes a second.
pub const HEAD_REST_INTERVAL: Duration = Duration::from_secs(3_600);

/// How long after a start the first head waits: the first repairs are done by then.
pub const HEAD_SETTLE: Duration = Duration::from_secs(20);

/// How far ahead of this node's clock a head's time may be: two clocks that are both right may be as far apart.
pub const HEAD_AHEAD_MAX: Duration = Duration::from_secs(2 * super::CLOCK_SKEW_MAX.as_secs());

/// After this without a head a node is silent: one hourly head may be lost, with a quarter of an hour to spare.
pub const HEAD_SILENCE: Duration = Duration::from_secs(2 * 3_600 + 900);

/// Connected nodes up to which a node passes every head on: with so few its neighbours may have no other way to it.
pub const HEAD_PASSED_BY_ALL_MAX: usize = 16;

/// How long after a contradiction both its heads are told to all. Gossip knows for a minute that it saw a head, and carries
/// none twice within that.
pub const HALVES_TOLD_AFTER: Duration = Duration::from_secs(150);

/// Heads kept of each node, so that one that comes late is compared with its neighbours: twenty minutes of change.
pub const HEADS_KEPT_PER_NODE: usize = 4;

/// Nodes whose heads are kept: every member's, several each.
pub const HEARD_NODES_MAX: usize = 1_024;

/// Own digests that are remembered, to tell who is behind: two weeks of a change every five minutes.
pub const HEAD_HISTORY_MAX: usize = 4_096;

/// Faults of a bundle that are told one by one: enough to see what kind of damage it is, and one screen.
pub const AUDIT_FAULTS_SHOWN_MAX: usize = 32;

/// Gaps of one chain that are told one by one; a chain has at most half as many as it has headers.
pub const AUDIT_GAPS_SHOWN_MAX: usize = 64;

/// Nodes of whose journals a witness remembers what their heads said, a head of some 500 B each: all that the members'
/// key sets list as a rule, so that no honest node is one too many.
pub const HEARD_JOURNALS_MAX: usize = MEMBERS_MAX * NODES_PER_MEMBER_MAX;

/// Bytes of a journal's checkpoint: about 450 with the longest names, and room for what a later version adds.
pub const CHECKPOINT_BYTES_MAX: usize = 1024;

/// Hashes of a consistency proof to a witness: what any two sizes below 2^63 ask for.
pub const WITNESS_PROOF_MAX: usize = 64;

/// Bytes of a request to cosign, or of its answer: a checkpoint and the longest proof.
pub const WITNESS_FRAME_BYTES_MAX: usize = 4096;

const _: () =
    assert!(HEAD_BYTES_MAX + 512 <= WITNESS_FRAME_BYTES_MAX, "a head with one signature is an answer");

/// How many members' nodes are to cosign each checkpoint: one may be in league with the asker, and one away.
pub const WITNESSES_WANTED: usize = 3;

/// How often a node has its journal cosigned: between which hours something was journalled is then known.
pub const WITNESS_INTERVAL: Duration = Duration::from_secs(3_600);

/// How soon again after fewer than [`WITNESSES_WANTED`] cosigned.
pub const WITNESS_RETRY: Duration = Duration::from_secs(600);

/// How long after a start the first request waits: connections are up, and the records of the start are journalled.
pub const WITNESS_SETTLE: Duration = Duration::from_secs(60);

/// Nodes asked in one round, those that do not cosign included.
pub const WITNESS_ASKS_MAX: usize = 2 * WITNESSES_WANTED;

/// Requests of one node that a witness looks at in a row: a round, one that is answered with what is held, and an
/// operator who asks again.
pub const WITNESS_BURST: u32 = 8;

/// How long earns a node one more.
pub const WITNESS_EARNED: Duration = Duration::from_secs(60);

/// Ended journals of one node whose last checkpoint a witness keeps: a node is restored once in years.
pub const WITNESS_ENDED_MAX: usize = 4;

/// Documents of one import that its journal entry names: a charter version, a key set and what they stand on, many times
/// over; an entry stays a short row.
pub const IMPORTED_IDS_MAX: usize = 32;
