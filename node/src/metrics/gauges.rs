//! What is now: made anew for each answer, so that nothing is shown that is gone.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeGaugeValue,
    metrics::{
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};
use refpoint_protocol::relay::views::{ReceivedState, RecipientState, Tally};

use super::{MemberFigures, PREFIX, QueueDepth, counted::labels};
use crate::{
    api::views::{
        heads::HeadStanding,
        instant::Instant,
        status::{ChainState, Health, StatusFacts, StatusView},
    },
    review::Stage,
};

/// How a node's health is told in a number: the worse the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Severity(pub u64);

impl From<Health> for Severity {
    fn from(health: Health) -> Self {
        Self(match health {
            Health::Ok => 0,
            Health::Degraded => 1,
            Health::Failing => 2,
        })
    }
}

/// All figures about the present.
pub(super) fn registry(
    view: &StatusView,
    messages: &Tally,
    members: &[MemberFigures],
    heads: &[(HeadStanding, u64)],
    queues: &[QueueDepth],
) -> Registry {
    let mut figures = Figures(Registry::with_prefix(PREFIX));
    node(view, &mut figures);
    mesh_and_directory(&view.facts, members, &mut figures);
    reviews(&view.facts, &mut figures);
    relay(&view.facts, messages, &mut figures);
    let standings =
        heads.iter().map(|(standing, count)| (vec![("standing", standing.name().to_owned())], *count));
    figures.family("heads", "Other nodes by what their newest head says, seen from here", standings);
    let depths = queues.iter().map(|it| (vec![("queue", it.queue.name().to_owned())], it.depth));
    figures.family("queue_depth", "Pieces that wait in each of the node's queues", depths);
    figures.0
}

struct Figures(Registry);

impl Figures {
    fn one<N>(&mut self, name: &str, about: &str, value: N)
    where
        N: EncodeGaugeValue + std::fmt::Debug + Send + Sync + 'static,
    {
        self.0.register(name, about, ConstGauge::new(value));
    }

    fn family(&mut self, name: &str, about: &str, values: impl Iterator<Item = (Labels, u64)>) {
        let family = Family::<Labels, Gauge<u64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, about, family);
    }
}

type Labels = Vec<(&'static str, String)>;

fn node(view: &StatusView, figures: &mut Figures) {
    let facts = &view.facts;
    // No `info` metric: the older readers of the text format do not know that type.
    let version = vec![("version", facts.version.clone())];
    figures.family("build_info", "The program's version", std::iter::once((version, 1)));
    figures.one("start_time_seconds", "When this run began, in seconds since 1970", seconds(facts.started));
    let about = "How the node is: 0 does its work, 1 somebody should look, 2 does not do its work";
    figures.one("health", about, Severity::from(view.health).0);
    let findings = view.findings.iter().map(|finding| {
        let labels = vec![("code", finding.code.clone()), ("severity", finding.severity.name().to_owned())];
        (labels, 1)
    });
    figures.family("finding", "What `refpoint status` names, by its code", findings);
    figures.one("disk_free_bytes", "Bytes free on the data folder's file system", facts.disk_free_bytes);
    let about = "Times that this program broke a rule of its own since the start";
    figures.one("bugs", about, facts.bugs);
    let about = "Documents that this version cannot read, since the start";
    figures.one("newer_documents", about, facts.newer_documents);
    if let Some(offset) = facts.clock.offset_ms {
        let about = "Seconds by which the median of the other members' clocks is ahead of this one";
        figures.one("clock_offset_seconds", about, as_f64(offset) / 1_000.0);
    }
    figures.one("clock_witnesses", "Members whose clocks are known", facts.clock.witnesses);
    let publishing = matches!(facts.chain, ChainState::Publishing { .. });
    figures.one("publishing", "Whether this node signs its own entry", u64::from(publishing));
}

fn mesh_and_directory(facts: &StatusFacts, members: &[MemberFigures], figures: &mut Figures) {
    let peers = &facts.peers;
    figures.one("peers_connected", "Nodes connected", peers.connected);
    figures.one("peers_known", "Active nodes of others that could be reached", peers.known);
    figures.one("members_connected", "Other members with a node connected", peers.members_connected);
    figures.one("members_away", "Other active members with no node connected", peers.members_away);
    let connected = members.iter().filter_map(|it| Some((of(it), u64::from(it.connected?))));
    figures.family("member_connected", "Whether a node of the member is connected", connected);
    let directory = &facts.directory;
    figures.one("directory_members", "Active members of the charter", directory.members);
    figures.one("directory_entries", "Members with an entry", directory.entries);
    figures.one("directory_stale", "Entries that were not renewed in time", directory.stale);
    figures.one("directory_disputed", "Entries whose chain is forked", directory.disputed);
    let ages = members.iter().filter_map(|it| Some((of(it), it.entry_age_seconds?)));
    let about = "Seconds since the member signed the entry that is shown";
    figures.family("directory_entry_age_seconds", about, ages);
    figures.one("charter_version", "The charter's highest version", facts.charter.version.0);
    let settled = facts.charter.settled.map_or(0, |version| version.0);
    figures.one("charter_settled_version", "The newest charter version that is settled", settled);
    let about = "Charter versions beside a settled one: evidence, not applied";
    figures.one("charter_beside_settled", about, facts.charter.beside_count);
    let about = "Charter versions that heads settle though none builds on another";
    figures.one("charter_settlements_contradicting", about, facts.charter.contradicting.len() as u64);
    let about = "Newest charter versions: more than one is a dispute";
    figures.one("charter_tips", about, facts.charter.tips.len() as u64);
}

fn of(figures: &MemberFigures) -> Labels {
    vec![("member", figures.member.to_string())]
}

fn reviews(facts: &StatusFacts, figures: &mut Figures) {
    let review = facts.key_set.review.map(|review| (vec![("of", "key-set".to_owned())], seconds(review)));
    let about = "When it is to be looked at again, in seconds since 1970; past it, it stays valid";
    figures.family("review_timestamp_seconds", about, review.into_iter());
    let stage = facts.key_set.review.map(|review| {
        let stage = Stage::of(review.timestamp(), facts.now.timestamp());
        (vec![("of", "key-set".to_owned())], stage.number())
    });
    let about = "How near that is: 0 far, 1 within 60 days, 2 within 30, 3 within 7, 4 overdue";
    figures.family("review_stage", about, stage.into_iter());
    let about = "Whether this member's key set lists this node as active";
    figures.one("key_set_lists_this_node", about, u64::from(facts.key_set.lists_this_node));
}

fn relay(facts: &StatusFacts, messages: &Tally, figures: &mut Figures) {
    let sent = messages.sent.iter().map(|((precedence, drill, state), count)| {
        let mut of: Labels = labels(*precedence, *drill).map(|(name, value)| (name, value.to_owned())).into();
        of.push(("state", sent_state(*state).to_owned()));
        (of, *count)
    });
    let about = "Messages that this node sent and remembers, once for each recipient, by state";
    figures.family("messages_sent", about, sent);
    let received = messages.received.iter().map(|((precedence, drill, state), count)| {
        let mut of: Labels = labels(*precedence, *drill).map(|(name, value)| (name, value.to_owned())).into();
        of.push(("state", received_state(*state).to_owned()));
        (of, *count)
    });
    let about = "Messages that this node received and remembers, by state";
    figures.family("messages_received", about, received);
    let age = |at: Option<Instant>| at.map_or(0, |at| at.age_seconds(facts.now));
    let oldest = facts.unacknowledged.iter().map(|waiting| {
        let of = vec![("precedence", waiting.precedence.name().to_owned())];
        (of, age(Some(waiting.oldest)))
    });
    let about = "Seconds that the oldest message has waited for a person here; drills left out";
    figures.family("unacknowledged_oldest_seconds", about, oldest);
    figures.one(
        "unacknowledged_drills",
        "Drills that no person here has acknowledged",
        facts.unacknowledged_drills,
    );
    let about = "Messages and statements that wait for a recipient; drills left out";
    figures.one("outbox_waiting", about, facts.outbox_waiting);
    figures.one("outbox_waiting_drills", "Drills that wait for a recipient", facts.outbox_waiting_drills);
    let about = "Seconds that the oldest of them has waited, 0 without any";
    figures.one("outbox_oldest_seconds", about, age(facts.outbox_oldest));
    figures.one("custody_parcels", "Sealed parcels kept for other members' nodes", facts.held);
    figures.one("custody_bytes", "Bytes of them", facts.held_bytes);
    let about = "Seconds that the oldest of them has been kept, 0 without any";
    figures.one("custody_oldest_seconds", about, age(facts.held_oldest));
}

const fn sent_state(state: RecipientState) -> &'static str {
    match state {
        RecipientState::Undeliverable => "undeliverable",
        RecipientState::Expired => "expired",
        RecipientState::Stopped => "stopped",
        RecipientState::Refused => "refused",
        RecipientState::Queued => "queued",
        RecipientState::Sent => "sent",
        RecipientState::Custody => "custody",
        RecipientState::Delivered => "delivered",
    }
}

const fn received_state(state: ReceivedState) -> &'static str {
    match state {
        ReceivedState::Unacknowledged => "unacknowledged",
        ReceivedState::Acknowledged => "acknowledged",
        ReceivedState::Withdrawn => "withdrawn",
    }
}

fn seconds(at: Instant) -> u64 {
    at.timestamp().as_millis() / 1_000
}

/// Milliseconds as a figure: exact up to 2^53 of them, which is longer than any clock is wrong.
#[allow(clippy::cast_precision_loss)]
fn as_f64(millis: i64) -> f64 {
    millis as f64
}
