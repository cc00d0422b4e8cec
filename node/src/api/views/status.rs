//! The node's state on one page: facts, what they mean, and the one next command.

mod health;

use std::path::PathBuf;

use refpoint_protocol::{
    ids::{CharterId, CharterVersion, Epoch, MemberCode},
    message::header::Precedence,
};
use serde::{Deserialize, Serialize};

use super::{instant::Instant, names::MemberNames};

/// The node's state. The facts come from the node; health, findings and the next command follow from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// The worst of the findings.
    pub health: Health,
    /// What is wrong or should be looked at, worst first, each with what to do. Empty if nothing is.
    pub findings: Vec<Finding>,
    /// The one next command; absent if there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextCommand>,
    /// The facts.
    #[serde(flatten)]
    pub facts: StatusFacts,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It does its work.
    Ok,
    /// It does its work, and somebody should look at something.
    Degraded,
    /// It does not do its work.
    Failing,
}

impl Health {
    /// The word on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
        }
    }
}

/// One thing that is wrong or should be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it does to the node's health; `ok` for a reminder that leaves it alone.
    pub severity: Health,
    /// A stable code, such as `clock-wrong`.
    pub code: String,
    /// What is the matter, and why.
    pub what: String,
    /// What to do.
    pub to_do: String,
    /// The command that does it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// What to type next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextCommand {
    /// The command.
    pub command: String,
    /// Why.
    pub why: String,
}

/// What the node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusFacts {
    /// This node's member.
    pub member: MemberCode,
    /// The member's names.
    pub names: MemberNames,
    /// The published unit's first name, if one is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The federation's id in groups to read aloud.
    pub federation_fingerprint: String,
    /// This node's key in groups to read aloud.
    pub node_fingerprint: String,
    /// The program's version.
    pub version: String,
    /// When these facts were gathered, by this node's clock.
    pub now: Instant,
    /// When this run began.
    pub started: Instant,
    /// The member's key set.
    pub key_set: KeySetStatus,
    /// Files of root keys and next root keys that lie on this machine, where they should not.
    pub root_keys_here: Vec<PathBuf>,
    /// This node's clock.
    pub clock: ClockStatus,
    /// Addresses on which it listens.
    pub listening: Vec<String>,
    /// Addresses that it announces.
    pub announced: Vec<String>,
    /// The other members' nodes.
    pub peers: PeerCounts,
    /// The directory.
    pub directory: DirectoryCounts,
    /// One value that is equal on two nodes exactly if they hold the same directory.
    pub directory_digest: String,
    /// The charter.
    pub charter: CharterStatus,
    /// This node's own chain.
    pub chain: ChainState,
    /// Messages that no person here has acknowledged, most urgent first; precedences without any are left out.
    pub unacknowledged: Vec<Unacknowledged>,
    /// Drills that no person here has acknowledged; they count in nothing else.
    #[serde(default)]
    pub unacknowledged_drills: u64,
    /// Drills, and words about drills, that wait for a recipient; they count in nothing else.
    #[serde(default)]
    pub outbox_waiting_drills: u64,
    /// Messages that wait in the outbox for at least one recipient.
    pub outbox_waiting: u64,
    /// When the oldest of them was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox_oldest: Option<Instant>,
    /// Parcels that this node keeps, sealed, for other members' nodes that are out of reach.
    pub held: u64,
    /// Bytes of them.
    pub held_bytes: u64,
    /// Since when the oldest of them is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_oldest: Option<Instant>,
    /// When other members' nodes last cosigned where this node's journal stands; absent if none ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal_cosigned: Option<Instant>,
    /// Bytes free on the data folder's file system.
    pub disk_free_bytes: u64,
    /// When this node last refused a connection because it has too much in memory; absent if never in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_for_memory: Option<Instant>,
    /// What storage had to do at the start, and what it found damaged since, in plain words.
    pub storage_notes: Vec<String>,
    /// Why the alert command failed last, in plain words, until it works again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_failure: Option<String>,
    /// Whether an alert command is configured.
    pub alert_configured: bool,
    /// Documents that this version cannot read: a sign that others run a newer one.
    pub newer_documents: u64,
    /// How often this program broke a rule of its own since the start: zero, or something to report.
    #[serde(default)]
    pub bugs: u64,
}

/// The member's key set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySetStatus {
    /// Its epoch; absent if several tips contradict each other or none is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// When it should be looked at again. Past it, it is overdue and stays valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Instant>,
    /// Whether this node's key is active in it.
    pub lists_this_node: bool,
}

/// This node's clock against the other members'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// Milliseconds by which the median of the other members' clocks is ahead; absent with fewer than asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<i64>,
    /// Members whose clocks are known.
    pub witnesses: u64,
    /// How many are asked before the clock is judged: three, or all others where the charter has fewer.
    pub asked: u64,
    /// Whether it is more than ten minutes away, so that this node signs no record and applies no expiry.
    pub wrong: bool,
}

/// The other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerCounts {
    /// Nodes connected.
    pub connected: u64,
    /// Active nodes of others that have an address or are connected.
    pub known: u64,
    /// Members of which at least one node is connected.
    pub members_connected: u64,
    /// Other active members of which no node is connected.
    #[serde(default)]
    pub members_away: u64,
    /// Whether any node of another member ever dialled in, in this run or before.
    pub ever_dialled_in: bool,
}

/// The directory in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryCounts {
    /// Active members of the charter.
    pub members: u64,
    /// Members with an entry.
    pub entries: u64,
    /// Entries that were not renewed in time.
    pub stale: u64,
    /// Entries whose chain is forked.
    pub disputed: u64,
}

/// The charter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CharterStatus {
    /// The highest version.
    pub version: CharterVersion,
    /// The tips; more than one is a dispute that the stewards end, or more than two thirds of the members' heads.
    pub tips: Vec<CharterId>,
    /// The newest version that is settled, by members' heads or as the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<CharterVersion>,
    /// The first versions that stand beside a settled one: evidence, not applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<BesideSettled>,
    /// How many such versions there are.
    #[serde(default)]
    pub beside_count: u64,
    /// Versions that heads settle though none builds on another: none of them counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contradicting: Vec<CharterId>,
    /// The members whose heads settle several of those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted_for_several: Vec<MemberCode>,
    /// Whether this member is active in it.
    pub this_member_active: bool,
}

/// A charter version that stands beside a settled one: evidence, not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BesideSettled {
    /// Its id.
    pub charter: CharterId,
    /// Its number.
    pub version: CharterVersion,
    /// The stewards who signed it, by the version that it follows.
    pub signed_by: Vec<MemberCode>,
}

/// Versions beside a settled one that `status` names: whoever makes one can make thousands.
pub const BESIDE_SHOWN_MAX: usize = 8;

/// Whether this node signs its own chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum ChainState {
    /// It does.
    Publishing {
        /// When it last did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Instant>,
    },
    /// It waits until other members have told it what it signed before.
    Waiting {
        /// Members that have.
        repairs: u64,
        /// Members that are needed.
        needed: u64,
    },
    /// It has stopped until a person says otherwise.
    Stopped {
        /// Why, in plain words.
        why: String,
        /// What to do.
        #[serde(default)]
        to_do: String,
    },
}

/// Unacknowledged messages of one precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unacknowledged {
    /// The precedence.
    pub precedence: Precedence,
    /// How many, drills left out.
    pub count: u64,
    /// When the oldest came.
    pub oldest: Instant,
    /// Its id.
    pub oldest_id: refpoint_protocol::ids::MessageId,
}

impl StatusView {
    /// Judges the facts.
    #[must_use]
    pub fn judge(facts: StatusFacts) -> Self {
        let findings = health::findings(&facts);
        let health = findings.iter().map(|finding| finding.severity).max().unwrap_or(Health::Ok);
        let next = health::next_command(&facts, &findings);
        Self { health, findings, next, facts }
    }
}
