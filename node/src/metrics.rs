//! Figures for Prometheus: what happened since the start, and what is now, in the OpenMetrics text format.
//!
//! No figure holds content, a person or a case, and none an id of a message. Labels are words of this program
//! (precedence, state, queue, finding) or the codes of the charter's members, so their number is bounded whatever
//! others send.

mod counted;
mod gauges;

use refpoint_protocol::{ids::MemberCode, relay::views::Tally};

pub use counted::{Acknowledged, Counted, Delivered, SyncTimes};
pub use gauges::Severity;

use crate::api::views::{
    heads::HeadStanding,
    status::{StatusFacts, StatusView},
};

/// All that one answer shows.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The facts of `status`.
    pub status: StatusFacts,
    /// Messages by state and precedence.
    pub messages: Tally,
    /// The charter's active members, in the order of their codes.
    pub members: Vec<MemberFigures>,
    /// How many nodes stand in which way to this one, by their heads.
    pub heads: Vec<(HeadStanding, u64)>,
    /// What waits inside the node.
    pub queues: Vec<QueueDepth>,
    /// What happened since the start.
    pub counted: Counted,
}

/// One member in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFigures {
    /// The member.
    pub member: MemberCode,
    /// Whether a node of it is connected; `None` for this node's own member.
    pub connected: Option<bool>,
    /// How many seconds ago its entry was signed; `None` if it has none.
    pub entry_age_seconds: Option<u64>,
}

/// How much waits in one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// Which.
    pub queue: Queue,
    /// How many pieces.
    pub depth: u64,
}

/// The node's queues, all of them bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// Urgent messages, receipts and commands before the machine.
    MachineUrgent,
    /// Everything else before the machine.
    MachineNormal,
    /// Looks at the machine, for the commands and this page.
    MachineLooks,
    /// Urgent messages to be verified, sealed or opened.
    CryptoUrgent,
    /// Other messages.
    CryptoNormal,
    /// The directory's documents.
    CryptoBackground,
    /// Batches between the machine's decision and its being carried out: what waits for the disk.
    Batches,
}

impl Queue {
    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MachineUrgent => "machine-urgent",
            Self::MachineNormal => "machine-normal",
            Self::MachineLooks => "machine-looks",
            Self::CryptoUrgent => "crypto-urgent",
            Self::CryptoNormal => "crypto-normal",
            Self::CryptoBackground => "crypto-background",
            Self::Batches => "batches",
        }
    }
}

impl Measured {
    /// The page that Prometheus reads.
    ///
    /// # Errors
    /// [`std::fmt::Error`] if a figure cannot be written, which is a fault of this program.
    pub fn text(self) -> Result<String, std::fmt::Error> {
        use prometheus_client::encoding::text::{encode_eof, encode_registry};
        let Self { status, messages, members, heads, queues, counted } = self;
        let view = StatusView::judge(status);
        let now = gauges::registry(&view, &messages, &members, &heads, &queues);
        let mut text = String::new();
        encode_registry(&mut text, &now)?;
        encode_registry(&mut text, counted.registry())?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// What every name begins with.
const PREFIX: &str = "refpoint";

/// The type of the page: OpenMetrics, which Prometheus reads since 2018.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
