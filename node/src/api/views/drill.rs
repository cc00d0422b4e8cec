//! Drills: who was asked, who answered after how long, and how that compares with the drills before. Members and
//! times alone: no role, no person, no content.

use std::time::Duration;

use refpoint_protocol::{
    ids::{MemberCode, MessageId},
    limits::{EXPIRY_MAX, MEMBERS_MAX},
    membership::charter::WorkingGroup,
    message::{drill::DrillId, header::Precedence},
};
use serde::{Deserialize, Serialize};

use super::{
    instant::Instant,
    receipt::MachineWord,
    send::{EXPIRY_MIN, SendError},
};

/// A drill to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillRequest {
    /// Whom to ask, each once.
    pub members: Vec<MemberCode>,
    /// Seconds in which an answer counts; then its messages stop waiting. A minute to 14 days.
    pub within_seconds: u64,
}

impl DrillRequest {
    /// Checks the form.
    ///
    /// # Errors
    /// [`SendError`] for the first rule that is broken.
    pub fn check(&self) -> Result<(), SendError> {
        let mut members = self.members.clone();
        members.sort_unstable();
        if members.is_empty() {
            return Err(SendError::NoRecipient);
        }
        if let Some((twice, _)) = members.iter().zip(members.iter().skip(1)).find(|(one, next)| one == next) {
            return Err(SendError::Twice(twice.clone()));
        }
        if members.len() > MEMBERS_MAX {
            return Err(SendError::TooManyRecipients { got: members.len() });
        }
        let within = Duration::from_secs(self.within_seconds);
        if within < EXPIRY_MIN || within > EXPIRY_MAX {
            return Err(SendError::Expiry { got: self.within_seconds });
        }
        Ok(())
    }
}

/// A drill whose messages are durable in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillStarted {
    /// Its id.
    pub drill: DrillId,
    /// When it began.
    pub started: Instant,
    /// When its last message stops waiting.
    pub ends: Instant,
    /// Its messages: each reaches as many members as a message can.
    pub messages: Vec<MessageId>,
    /// Who is asked.
    pub asked: Vec<MemberCode>,
    /// Who is not, because the node could not take another message.
    pub not_asked: Vec<MemberCode>,
    /// Why not, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One line of the list of drills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillRow {
    /// Its id.
    pub drill: DrillId,
    /// When it began.
    pub started: Instant,
    /// When its last message stops waiting.
    pub ends: Instant,
    /// Seconds in which an answer counts.
    pub within_seconds: u64,
    /// How urgent its messages are.
    pub precedence: Precedence,
    /// How many members were asked.
    pub asked: u64,
    /// How many had it in time, and how fast.
    pub delivered: Pace,
    /// At how many a person answered in time, and how fast.
    pub acknowledged: Pace,
}

/// How many answered, and how fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// How many answered, late ones too.
    pub answered: u64,
    /// How many answered within the drill's time.
    pub in_time: u64,
    /// Milliseconds after which more than half of those asked had answered; absent if no more have. Whoever did not
    /// answer counts as slower than all others, so silence never makes this better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_ms: Option<u64>,
    /// Milliseconds of the slowest answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowest_ms: Option<u64>,
}

/// What the drills before say of the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// In how many of the last drills it was asked.
    pub drills: u64,
    /// In how many of them an answer came.
    pub answered: u64,
    /// The middle of their milliseconds, the greater of two; absent if that one has no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_ms: Option<u64>,
    /// Milliseconds by which it is slower now (negative: faster); absent if one of the two is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change_ms: Option<i64>,
}

/// A drill in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillReport {
    /// The line of the list.
    #[serde(flatten)]
    pub row: DrillRow,
    /// The member that started it.
    pub by: MemberCode,
    /// When this was made.
    pub now: Instant,
    /// Whether its time is over: until then who did not answer may still do so in time.
    pub over: bool,
    /// The drills that it is compared with, newest first.
    pub earlier: Vec<DrillRow>,
    /// All that were asked together.
    pub all: GroupFigures,
    /// By working group, as the charter has them now.
    pub groups: Vec<GroupFigures>,
    /// Each member that was asked, by code; none is left out.
    pub members: Vec<MemberAnswer>,
}

/// How the members of a working group answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFigures {
    /// The working group; absent for all together, and for those that the charter no longer lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<WorkingGroup>,
    /// How many were asked.
    pub asked: u64,
    /// Machines: how many had it, and how fast.
    pub delivered: Pace,
    /// The same in the drills before: the middle of their medians.
    pub delivered_before: Before,
    /// Persons: at how many one answered, and how fast.
    pub acknowledged: Pace,
    /// The same in the drills before.
    pub acknowledged_before: Before,
}

/// How one member answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAnswer {
    /// The member.
    pub member: MemberCode,
    /// Its working group; absent if the charter no longer lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<WorkingGroup>,
    /// The message that asked it.
    pub message: MessageId,
    /// The best that a machine has said.
    pub state: MachineWord,
    /// Machine: when one of its nodes had it. Absent: not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Answer>,
    /// The same in the drills before.
    pub delivered_before: Before,
    /// Person: when somebody there first answered. Absent: nobody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Answer>,
    /// The same in the drills before.
    pub acknowledged_before: Before,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Milliseconds from the message's making to it.
    pub after_ms: u64,
    /// By whose clock: from making to the arrival of the answer by this node's, or, where that was not kept, by what
    /// the other side says.
    pub clock: WhoseClock,
    /// When the other side says that it answered.
    pub said: Instant,
    /// Whether that was within the drill's time.
    pub in_time: bool,
}

/// By whose clock a time was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhoseClock {
    /// This node's alone.
    Here,
    /// The other side's against this node's: a claim.
    There,
}

/// How long a drill waits unless said: the handling time of its precedence.
pub const WITHIN_DEFAULT: Duration = Duration::from_secs(3 * 3_600);

/// How urgent a drill is: never before a flash or immediate message, on the wire or at a desk. One for all drills,
/// so that they compare.
pub const DRILL_PRECEDENCE: Precedence = Precedence::Priority;
