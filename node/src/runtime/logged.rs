//! Which events stand in the log as well: those for which an operator who reads only the log must do something, or
//! whose end he waits for.

use refpoint_protocol::machine::{Event, JournalNews};

/// Writes down what an operator must hear of.
pub(super) fn log(event: &Event) {
    match event {
        Event::TwinSeen => tracing::error!(
            "another machine uses this node's key: find it and stop it, then start this node again"
        ),
        Event::ForkSeen { member, node, kind, sequence } => tracing::warn!(
            %member, node = %node.short(), ?kind, %sequence,
            "a member's node contradicted itself: its entry is disputed"
        ),
        Event::HeadsContradict { member, node, what, .. } => tracing::warn!(
            %member, node = %node.short(), ?what,
            "a node signed two heads that cannot both be true: call that unit"
        ),
        Event::CharterChanged { tips } if tips.len() > 1 => tracing::warn!(
            tips = tips.len(),
            "the charter has several newest versions: a steward signed twice, and a merge is needed"
        ),
        Event::CharterSettled { charter } => {
            tracing::info!(charter = %charter.short(), "members' heads settled a charter version");
        }
        Event::BesideSettled { charter, version, signed_by } => tracing::error!(
            charter = %charter.short(), %version, ?signed_by,
            "a charter version stands beside a settled one: evidence, not applied"
        ),
        Event::ClockJudged { right: false, offset_millis } => tracing::warn!(
            offset_ms = offset_millis,
            "this node's clock is wrong, so it signs no entries and lets nothing expire: correct it"
        ),
        Event::ClockJudged { right: true, offset_millis } => {
            tracing::info!(offset_ms = offset_millis, "this node's clock is right");
        }
        Event::Journal(JournalNews::Doubted { member, node, doubt }) => tracing::warn!(
            %member, node = %node.short(), ?doubt,
            "a node's journal contradicts what this node cosigned of it"
        ),
        _ => {}
    }
}
