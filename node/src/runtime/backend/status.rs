//! The facts of `status`.

use std::{path::PathBuf, sync::Arc};

use refpoint_protocol::{
    directory::view::Age,
    document::Verified,
    machine::Machine,
    membership::{NodeStanding, Trust, charter::Charter},
    message::header::Precedence,
    relay::views::Unseen,
    time::Timestamp,
};

use super::{Operator, directory::chain_state};
use crate::{
    api::views::{
        names::MemberNames,
        status::{
            BESIDE_SHOWN_MAX, BesideSettled, CharterStatus, ClockStatus, DirectoryCounts, KeySetStatus,
            PeerCounts, StatusFacts, Unacknowledged,
        },
    },
    fingerprint::spoken,
    network::Summary,
};

/// What the machine does not know.
pub(super) struct Around {
    pub(super) summary: Summary,
    pub(super) started: Timestamp,
    pub(super) disk_free_bytes: u64,
    pub(super) storage_notes: Vec<String>,
    pub(super) alert_failure: Option<String>,
    pub(super) ever_dialled_in: bool,
    pub(super) journal_cosigned: Option<Timestamp>,
}

/// Gathers the facts.
pub(super) fn facts(machine: &Machine, now: Timestamp, operator: &Operator, around: Around) -> StatusFacts {
    let Around {
        summary,
        started,
        disk_free_bytes,
        storage_notes,
        alert_failure,
        ever_dialled_in,
        journal_cosigned,
    } = around;
    let config = machine.config();
    let evidence = machine.evidence();
    let (trust, membership) = (evidence.trust(), evidence.membership());
    let own = membership.member(&config.member);
    let asked = membership.witnesses_asked(&config.member);
    let entries = evidence.directory().members(now);
    let points = || entries.iter().filter_map(|entry| entry.reference_point.as_ref());
    let unit = entries.iter().find(|entry| entry.member == config.member);
    let unit = unit.and_then(|entry| entry.reference_point.as_ref()).and_then(|point| point.entry.as_ref());
    let counts = machine.messages().counts();
    let members_connected: std::collections::BTreeSet<_> =
        machine.connected().values().map(|connection| &connection.member).collect();
    StatusFacts {
        member: config.member.clone(),
        names: MemberNames::of(&config.member),
        unit: unit.and_then(|entry| entry.names.first()).map(|name| name.text.clone()),
        federation_fingerprint: spoken(config.federation.as_bytes()),
        node_fingerprint: spoken(config.node.as_bytes()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: now.into(),
        started: started.into(),
        key_set: KeySetStatus {
            epoch: own.filter(|own| !own.is_disputed()).and_then(|own| own.epoch),
            review: own.and_then(|own| own.review).map(Into::into),
            lists_this_node: membership
                .node_of(&config.member, &config.node)
                .is_some_and(NodeStanding::is_active),
        },
        root_keys_here: operator
            .root_keys
            .iter()
            .filter(|file| file.exists())
            .cloned()
            .collect::<Vec<PathBuf>>(),
        clock: ClockStatus {
            offset_ms: machine.clocks().median_offset(now, asked),
            witnesses: machine.clocks().witnesses(now) as u64,
            asked: asked as u64,
            wrong: machine.clocks().is_wrong(now, asked),
        },
        listening: summary.listening.iter().map(ToString::to_string).collect(),
        announced: config.addresses.clone(),
        peers: PeerCounts {
            connected: machine.connected().len() as u64,
            known: known_nodes(machine),
            members_connected: members_connected.len() as u64,
            members_away: membership
                .members()
                .filter(|member| member.is_active() && member.code != config.member)
                .filter(|member| !members_connected.contains(&member.code))
                .count() as u64,
            ever_dialled_in,
        },
        directory: DirectoryCounts {
            members: membership.members().filter(|member| member.is_active()).count() as u64,
            entries: points().count() as u64,
            stale: points().filter(|point| point.header.age == Age::Stale).count() as u64,
            disputed: points().filter(|point| point.header.disputed_from.is_some()).count() as u64,
        },
        directory_digest: digest(machine),
        charter: CharterStatus {
            version: membership.version(),
            tips: membership.tips().to_vec(),
            settled: membership
                .settled()
                .and_then(|id| trust.charter(&id))
                .map(|held| held.payload().version),
            beside: beside(trust),
            beside_count: membership.ignored().len() as u64,
            contradicting: membership.contradicting().to_vec(),
            counted_for_several: trust.counted_for_several().into_iter().collect(),
            this_member_active: own.is_some_and(refpoint_protocol::membership::MemberView::is_active),
        },
        chain: chain_state(machine, now),
        unacknowledged: unacknowledged(machine),
        unacknowledged_drills: machine.messages().unseen_drills(),
        outbox_waiting_drills: counts.waiting_drills as u64,
        outbox_waiting: counts.waiting as u64,
        outbox_oldest: counts.waiting_since.map(Into::into),
        held: counts.held as u64,
        held_bytes: counts.held_bytes,
        held_oldest: counts.held_since.map(Into::into),
        journal_cosigned: journal_cosigned.map(Into::into),
        disk_free_bytes,
        refused_for_memory: summary.refused_for_memory.map(Into::into),
        storage_notes,
        alert_failure,
        alert_configured: operator.alert_configured,
        newer_documents: machine.newer(),
        bugs: machine.bugs(),
    }
}

/// Active nodes of others that have an address or are connected: those that a message could reach.
fn known_nodes(machine: &Machine) -> u64 {
    let (evidence, connected) = (machine.evidence(), machine.connected());
    let others = evidence.listings().iter().filter(|listing| listing.node != machine.config().node);
    let has_address =
        |listing| evidence.directory().record(listing).is_some_and(|it| !it.addresses.is_empty());
    others.filter(|listing| connected.contains_key(&listing.node) || has_address(listing)).count() as u64
}

/// One value that is equal on two nodes exactly if they hold the same directory: what heads name.
fn digest(machine: &Machine) -> String {
    machine.evidence().digest_root().map(|root| root.to_string()).unwrap_or_default()
}

fn unacknowledged(machine: &Machine) -> Vec<Unacknowledged> {
    let unseen = machine.messages().unseen();
    let waiting = |precedence: Precedence| {
        let Unseen { count, oldest: (oldest, oldest_id) } = *unseen.get(&precedence)?;
        Some(Unacknowledged { precedence, count, oldest: oldest.into(), oldest_id })
    };
    Precedence::ALL.into_iter().filter_map(waiting).collect()
}

/// The first versions that stand beside a settled one.
fn beside(trust: &Trust) -> Vec<BesideSettled> {
    let membership = trust.membership();
    let ignored = trust.charters().filter(|held| membership.ignored().contains(&held.id().into()));
    let shown = |held: &Arc<Verified<Charter>>| {
        let charter = held.id().into();
        let signed_by = trust.stewards_who_signed(&charter).into_iter().collect();
        BesideSettled { charter, version: held.payload().version, signed_by }
    };
    ignored.take(BESIDE_SHOWN_MAX).map(shown).collect()
}
