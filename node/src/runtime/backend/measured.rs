//! What the figures for Prometheus take from the machine.

use refpoint_protocol::{ids::MemberCode, machine::Machine, relay::views::Tally, time::Timestamp};

use crate::metrics::MemberFigures;

/// Messages in numbers, and the charter's active members.
pub(super) fn of_machine(machine: &Machine, now: Timestamp) -> (Tally, Vec<MemberFigures>) {
    let (evidence, own) = (machine.evidence(), &machine.config().member);
    let entries = evidence.directory().members(now);
    let age = |code: &MemberCode| {
        let entry = entries.iter().find(|entry| entry.member == *code)?;
        Some(now.since(entry.reference_point.as_ref()?.header.issued).as_secs())
    };
    let is_connected =
        |code: &MemberCode| machine.connected().values().any(|connection| connection.member == *code);
    let membership = evidence.membership();
    let active = membership.members().filter(|member| member.is_active());
    let mut members: Vec<_> = active
        .map(|member| MemberFigures {
            member: member.code.clone(),
            connected: (member.code != *own).then(|| is_connected(&member.code)),
            entry_age_seconds: age(&member.code),
        })
        .collect();
    members.sort_by(|a, b| a.member.cmp(&b.member));
    (machine.messages().tally(), members)
}
