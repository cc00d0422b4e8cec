//! What another node saw when it dialled this one back.

use refpoint_protocol::ids::MemberCode;
use serde::{Deserialize, Serialize};

/// What one other node saw at the announced addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialBackReply {
    /// The member whose node dialled; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<MemberCode>,
    /// Without `asked`: why the last one that was asked did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was seen; empty if the node that dialled knows no address of this one.
    pub seen: Vec<Seen>,
}

/// What was seen at one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The address.
    pub address: String,
    /// `reached`, `other-node`, `refused`, `timed-out`, `unreachable` or `not-dialled`.
    pub outcome: Outcome,
}

/// What can be seen at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// This node answered and was introduced.
    Reached,
    /// Another node answered.
    OtherNode,
    /// The port is closed, or whoever answered was not introduced.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// There is no way there, or the name leads nowhere.
    Unreachable,
    /// It is not a public address, and such are not dialled.
    NotDialled,
}
