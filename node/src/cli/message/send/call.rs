//! Whom to call about a message that did not arrive: the published telephones of the units.

use std::time::Duration;

use refpoint_protocol::{
    directory::reference_point::{Channel, ChannelKind},
    ids::MemberCode,
};
use serde::Serialize;

use crate::{
    api::views::directory::DirectoryEntryView,
    cli::{directory::channel_lines, human, message::outcome::Outcome},
};

/// One recipient that neither a machine nor a person has confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Call {
    /// The recipient.
    member: MemberCode,
    /// Its published telephones, in the order in which to try them; none if it published none.
    telephones: Vec<Channel>,
    /// Whether its delivery has failed for good; else the message stays queued.
    given_up: bool,
}

/// Those whom the message has not reached so far.
pub(super) fn undelivered(outcome: &Outcome, entries: &[DirectoryEntryView]) -> Vec<Call> {
    let call = |(member, standing): (&MemberCode, &super::Standing)| {
        let entry = entries.iter().find(|entry| entry.row.member == *member);
        let unit = entry.and_then(|entry| entry.reference_point.as_ref());
        let is_spoken =
            |channel: &&Channel| matches!(channel.kind, ChannelKind::Telephone | ChannelKind::Mobile);
        Call {
            member: member.clone(),
            telephones: unit.iter().flat_map(|unit| &unit.channels).filter(is_spoken).cloned().collect(),
            given_up: standing.failed.is_some(),
        }
    };
    outcome.undelivered().map(call).collect()
}

/// The same for people.
pub(super) fn page(calls: &[Call], waited: Duration) -> String {
    let queued = if calls.iter().all(|call| call.given_up) { "" } else { "; it stays queued" };
    let mut text = format!("not delivered within {} s{queued}. Call:\n", waited.as_secs());
    for call in calls {
        text.push_str(&format!("  {}\n", human::member(&call.member)));
        if call.telephones.is_empty() {
            text.push_str("    it has published no telephone\n");
        }
        for channel in channel_lines(&call.telephones) {
            text.push_str(&format!("    {channel}\n"));
        }
    }
    text.trim_end().to_owned()
}
