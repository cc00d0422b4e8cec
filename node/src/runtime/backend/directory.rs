//! The directory and the peers as the API shows them.

use std::collections::{BTreeMap, BTreeSet};

use refpoint_protocol::{
    directory::{
        own_chain::{Standing, StopReason},
        view::{Age, BodyMark, MemberView as Entry, NodeListing},
    },
    evidence::Evidence,
    ids::{MemberCode, NodeKey},
    machine::Machine,
    membership::{KeyState, MemberView as Listed, key_set::NodeState},
    peers::PeerFaults,
    time::Timestamp,
};

use crate::{
    api::views::{
        directory::{
            DirectoryEntryView, DirectoryNodeView, DirectoryRow, Freshness, InheritedView,
            ReferencePointView, local_time,
        },
        instant::Instant,
        names::MemberNames,
        peer::{Direction, FaultView, PeerView},
        send::RecipientContact,
        status::ChainState,
    },
    ceremony::Hint,
    fingerprint::spoken,
    network::{self, HintRow, PeerRow, TransportKind},
    refounding::Inherited,
};

/// Every member's line, by code.
pub(super) fn rows(machine: &Machine, now: Timestamp) -> Vec<DirectoryRow> {
    let membership = machine.evidence().membership();
    membership
        .members()
        .map(|member| row(machine, member, entry(machine.evidence(), member, now).as_ref(), now))
        .collect()
}

/// Where the nodes that count say that they are: what newcomers are told for their first dials.
pub(super) fn hints(machine: &Machine) -> Vec<Hint> {
    let evidence = machine.evidence();
    let hint = |listing: &NodeListing| {
        let record = evidence.directory().record(listing).filter(|record| !record.addresses.is_empty())?;
        let (member, addresses) = (listing.member.clone(), record.addresses.clone());
        Some(Hint { member, node: listing.node, addresses })
    };
    evidence.listings().iter().filter_map(hint).collect()
}

/// All about one member; `None` if the charter does not list it.
pub(super) fn entry_view(
    machine: &Machine,
    code: &MemberCode,
    network: &[PeerRow],
    before: Option<Inherited>,
    now: Timestamp,
) -> Option<DirectoryEntryView> {
    let evidence = machine.evidence();
    let membership = evidence.membership();
    let member = membership.member(code)?;
    let held = entry(evidence, member, now);
    let point = held.as_ref().and_then(|entry| entry.reference_point.as_ref());
    let nodes = membership.nodes().filter(|(_, standing)| standing.member == *code);
    let nodes = nodes.map(|(node, standing)| {
        let listing = evidence.listing(code, *node);
        let record = listing.and_then(|listing| evidence.directory().record(listing));
        DirectoryNodeView {
            node: *node,
            rank: standing.rank,
            state: node_state(standing.state),
            addresses: record.map(|record| record.addresses.clone()).unwrap_or_default(),
            connected: machine.connected().contains_key(node) || *node == machine.config().node,
            last_contact: network
                .iter()
                .find(|peer| peer.node == *node)
                .and_then(|peer| peer.last_contact)
                .map(Into::into),
            can_be_sealed_to: listing
                .is_some_and(|listing| evidence.directory().sealing_key(listing, now).is_some()),
        }
    });
    let has_published = point.is_some();
    Some(DirectoryEntryView {
        row: row(machine, member, held.as_ref(), now),
        reference_point: point.and_then(|point| point.entry.as_deref()).map(ReferencePointView::from),
        before: before.filter(|_| !has_published).map(|before| InheritedView {
            federation_fingerprint: spoken(before.federation.as_bytes()),
            issued: before.issued,
            reference_point: before.entry,
        }),
        fresh_until: point.map(|point| point.header.fresh_until.into()),
        sequence: point.map(|point| point.header.sequence),
        key_set_epoch: member.epoch,
        key_set_review: member.review.map(Into::into),
        root_fingerprint: member.root.map_or_else(|| "disputed".to_owned(), |root| spoken(root.as_bytes())),
        nodes: nodes.collect(),
    })
}

/// The nodes of others, joined with what the network knows of them.
pub(super) fn peers(
    machine: &Machine,
    network: Vec<PeerRow>,
    met: &FirstDials,
    now: Timestamp,
) -> Vec<PeerView> {
    let evidence = machine.evidence();
    let mut known: BTreeMap<(MemberCode, Option<NodeKey>), PeerView> = BTreeMap::new();
    let membership = evidence.membership();
    let listed: BTreeSet<&MemberCode> = evidence.listings().iter().map(|listing| &listing.member).collect();
    for member in membership.members().filter(|member| member.is_active()) {
        if !listed.contains(&member.code) && member.code != machine.config().member {
            known.insert((member.code.clone(), None), met.view(&member.code, now));
        }
    }
    for listing in evidence.listings().iter().filter(|listing| listing.node != machine.config().node) {
        let record = evidence.directory().record(listing);
        let addresses = record.map(|record| record.addresses.clone()).unwrap_or_default();
        let reason = if addresses.is_empty() { "it publishes no address" } else { "not dialled yet" };
        let view = PeerView {
            node: Some(listing.node),
            addresses,
            reason: Some(reason.to_owned()),
            faults: machine.faults().of(&listing.node).map(faults).unwrap_or_default(),
            ..away(&listing.member)
        };
        known.insert((listing.member.clone(), Some(listing.node)), view);
    }
    for peer in network {
        let Some(view) = known.get_mut(&(peer.member.clone(), Some(peer.node))) else { continue };
        view.last_contact = peer.last_contact.map(Into::into);
        view.next_dial = peer.next_dial_in.map(|wait| now.after(wait).into());
        if let Some(connection) = peer.connection {
            view.connected = true;
            view.reason = None;
            view.direction = Some(match connection.direction {
                network::Direction::Inbound => Direction::Inbound,
                network::Direction::Outbound => Direction::Outbound,
            });
            view.transport = Some(match connection.transport {
                TransportKind::Tcp => "tcp/tls1.3/yamux".to_owned(),
                TransportKind::Memory => "memory/tls1.3/yamux".to_owned(),
            });
            view.group = Some(connection.group.to_string());
            view.addresses = vec![connection.address.to_string()];
            view.latency_us = connection.latency.and_then(|latency| u64::try_from(latency.as_micros()).ok());
            view.since = Some(connection.since.into());
        } else {
            view.since = view.last_contact;
            if let Some(reason) = peer.reason {
                view.reason = Some(reason);
            }
        }
    }
    known.into_values().collect()
}

/// A node of which nothing is known but its member.
fn away(member: &MemberCode) -> PeerView {
    PeerView {
        member: member.clone(),
        names: MemberNames::of(member),
        node: None,
        connected: false,
        direction: None,
        transport: None,
        group: None,
        addresses: Vec::new(),
        latency_us: None,
        since: None,
        last_contact: None,
        reason: None,
        next_dial: None,
        faults: Vec::new(),
    }
}

/// Where members are dialled whose nodes are not known yet, and how those dials went.
pub(super) struct FirstDials {
    pub(super) addresses: BTreeMap<MemberCode, Vec<String>>,
    pub(super) dials: Vec<HintRow>,
}

impl FirstDials {
    fn view(&self, member: &MemberCode, now: Timestamp) -> PeerView {
        let addresses = self.addresses.get(member).cloned().unwrap_or_default();
        let is_its = |dial: &&HintRow| addresses.contains(&dial.address.to_string());
        let dial = self.dials.iter().find(is_its);
        let reason = match dial {
            Some(HintRow { reason: Some(reason), .. }) => reason.clone(),
            Some(_) => "not dialled yet".to_owned(),
            None if addresses.is_empty() => {
                "its node is not known yet: it must dial, or another node must bring its key set".to_owned()
            }
            None => "waits for another node to bring its key set".to_owned(),
        };
        let next_dial = dial.and_then(|dial| dial.next_dial_in).map(|wait| now.after(wait).into());
        PeerView { addresses, reason: Some(reason), next_dial, ..away(member) }
    }
}

fn faults(faults: &PeerFaults) -> Vec<FaultView> {
    faults.by_rule().map(|(rule, count)| FaultView { rule: rule.to_owned(), count }).collect()
}

/// Whether this node signs its own chain, in the API's words.
pub(super) fn chain_state(machine: &Machine, now: Timestamp) -> ChainState {
    let stopped = |why: String, to_do: &str| ChainState::Stopped { why, to_do: to_do.to_owned() };
    match machine.standing(now) {
        Standing::Signing => ChainState::Publishing { last: last_published(machine).map(Into::into) },
        Standing::Waiting { witnesses, needed, .. } => {
            ChainState::Waiting { repairs: witnesses.len() as u64, needed: needed as u64 }
        }
        Standing::NotListed => stopped(
            "no current key set lists this node's key".to_owned(),
            "list it: refpoint keys issue --root-key FILE",
        ),
        Standing::ClockWrong { offset_ms } => {
            stopped(clock_words(offset_ms), "set the clock, then start the node again")
        }
        Standing::Stopped(StopReason::Twin { .. } | StopReason::TwinMet) => {
            stopped("another machine uses this node's key".to_owned(), TWIN_TO_DO)
        }
        Standing::Stopped(StopReason::Forked { sequence, .. }) => stopped(
            format!("its chain is forked at {sequence}"),
            "sign a new key set, which alone ends that: refpoint keys issue --root-key FILE",
        ),
        Standing::Stopped(StopReason::Full { .. }) => stopped(
            "its chain is full".to_owned(),
            "sign a new key set, which begins another: refpoint keys issue --root-key FILE",
        ),
    }
}

/// What to do about a machine with the same key.
pub(super) const TWIN_TO_DO: &str = "find that machine and stop it, then start this node again; if it is not yours, \
    the key is stolen: give this node a new one (node/OPERATIONS.md)";

/// A clock that is wrong, in words; the offset is the members' clocks less this node's, in milliseconds.
pub(super) fn clock_words(offset_ms: i64) -> String {
    let side = if offset_ms < 0 { "ahead of" } else { "behind" };
    format!("this node's clock is {} s {side} the members' median", offset_ms.unsigned_abs() / 1_000)
}

/// Whether a member can be reached now, by the best of its nodes.
pub(super) fn contact(member: &MemberCode, peers: &[PeerView]) -> RecipientContact {
    let nodes = peers.iter().filter(|peer| peer.member == *member);
    let best = nodes.max_by_key(|peer| (peer.connected, peer.last_contact));
    RecipientContact {
        member: member.clone(),
        connected: best.is_some_and(|peer| peer.connected),
        since: best.and_then(|peer| peer.since),
        reason: match best {
            None => Some("no node of this member is known yet".to_owned()),
            Some(peer) => peer.reason.clone(),
        },
    }
}

/// When this node last signed a header.
fn last_published(machine: &Machine) -> Option<Timestamp> {
    let chains = machine.evidence().chains().of_node(machine.config().node);
    chains.filter_map(|(_, chain)| chain.newest()).map(|header| header.issued).max()
}

fn entry(evidence: &Evidence, member: &Listed, now: Timestamp) -> Option<Entry> {
    evidence.directory().member(&member.code, now)
}

fn row(machine: &Machine, member: &Listed, entry: Option<&Entry>, now: Timestamp) -> DirectoryRow {
    let view = entry.and_then(|entry| entry.reference_point.as_ref());
    let point = view.and_then(|view| view.entry.as_deref());
    let connected = machine.connected().values().any(|connection| connection.member == member.code);
    DirectoryRow {
        member: member.code.clone(),
        names: MemberNames::of(&member.code),
        status: member.status,
        group: member.group,
        unit: point.and_then(|point| point.names.first()).map(|name| name.text.clone()),
        languages: point.map(|point| point.languages.clone()).unwrap_or_default(),
        on_duty: point.and_then(|point| point.on_duty.clone()),
        time_zone: point.map(|point| point.time_zone.clone()),
        local_time: point.and_then(|point| local_time(&point.time_zone, Instant::from(now))),
        freshness: view.map_or(Freshness::Missing, |view| match (view.header.body, view.header.age) {
            (BodyMark::Erased, _) => Freshness::Erased,
            (BodyMark::Missing | BodyMark::Unreadable, _) => Freshness::BodyMissing,
            (BodyMark::Held, Age::Fresh) => Freshness::Fresh,
            (BodyMark::Held, Age::Stale) => Freshness::Stale,
            (BodyMark::Held, Age::Future) => Freshness::Future,
        }),
        issued: view.map(|view| view.header.issued.into()),
        age_seconds: view.map(|view| view.header.age_at(now).as_secs()),
        disputed: view.is_some_and(|view| view.header.disputed_from.is_some()),
        sample: point.is_some_and(|point| point.sample),
        connected: connected || member.code == machine.config().member,
    }
}

fn node_state(state: KeyState) -> NodeState {
    match state {
        KeyState::Active => NodeState::Active,
        KeyState::Compromised { .. } => NodeState::Compromised,
        KeyState::Retired { .. }
        | KeyState::LeftOut { .. }
        | KeyState::Disputed
        | KeyState::MemberSuspended
        | KeyState::MemberWithdrawn
        | KeyState::RootReplaced
        | KeyState::RootDisputed
        | KeyState::AwaitingAdmission => NodeState::Retired,
    }
}
