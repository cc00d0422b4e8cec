//! What happened since the start: counters and times, kept by the parts that see it happen.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use refpoint_protocol::{
    machine::{Event, JournalNews},
    message::header::Precedence,
    relay::{event::RelayEvent, views::Drill},
};

use super::PREFIX;

/// The counters and times of one run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Counted(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    events: Family<[(&'static str, &'static str); 1], Counter>,
    received: Family<Of, Counter>,
    latency: Family<Of, Histogram>,
    acknowledgement: Family<Of, Histogram>,
    unread: Counter,
    syncs: SyncTimes,
}

/// Labels of a figure about messages: precedence, and whether it is a drill.
type Of = [(&'static str, &'static str); 2];

/// How long the device takes for one sync. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SyncTimes(Histogram);

/// A node said that it has a message of this one on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// How urgent the message is.
    pub precedence: Precedence,
    /// Whether it is a test.
    pub drill: Drill,
    /// How long after it was made its delivery was known here.
    pub after: Duration,
}

/// A person acknowledged a message of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// How urgent the message is.
    pub precedence: Precedence,
    /// Whether it is a test.
    pub drill: Drill,
    /// How long after it was made the acknowledgement was known here.
    pub after: Duration,
}

impl Default for SyncTimes {
    fn default() -> Self {
        Self(Histogram::new(SYNC_BUCKETS))
    }
}

impl SyncTimes {
    /// Counts one sync that took this long.
    pub fn took(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self::with_syncs(SyncTimes::default())
    }
}

impl Counted {
    /// Starts at zero, showing the syncs that storage counts.
    #[must_use]
    pub fn with_syncs(syncs: SyncTimes) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let events = Family::default();
        registry.register("events", "What happened since the start, by kind", events.clone());
        let received = Family::default();
        let what = "Messages that arrived since the start, by precedence, drills apart";
        registry.register("messages_arrived", what, received.clone());
        let latency = Family::<Of, Histogram>::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS));
        let what = "From the making of a message here to the receipt of its delivery to one node";
        registry.register("relay_latency_seconds", what, latency.clone());
        let acknowledgement =
            Family::<Of, Histogram>::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS));
        let what = "From the making of a message here to a person's acknowledgement";
        registry.register("acknowledgement_seconds", what, acknowledgement.clone());
        let unread = Counter::default();
        let what = "Events that came faster than they could be counted, and are in no other figure";
        registry.register("events_uncounted", what, unread.clone());
        let what = "How long storage took to be on the device, for each sync";
        registry.register("store_sync_seconds", what, syncs.0.clone());
        let counted =
            Self(Arc::new(Inner { registry, events, received, latency, acknowledgement, unread, syncs }));
        // From the start on each figure of messages is there, so that a rate over it has a beginning.
        for precedence in Precedence::ALL {
            for drill in [false, true] {
                let of = labels(precedence, Drill(drill));
                drop(counted.0.received.get_or_create(&of));
                drop(counted.0.latency.get_or_create(&of));
                drop(counted.0.acknowledgement.get_or_create(&of));
            }
        }
        for kind in EVENT_KINDS {
            drop(counted.0.events.get_or_create(&[("event", kind)]));
        }
        counted
    }

    /// The syncs.
    #[must_use]
    pub fn syncs(&self) -> &SyncTimes {
        &self.0.syncs
    }

    /// Counts an event.
    pub fn happened(&self, event: &Event) {
        self.0.events.get_or_create(&[("event", kind(event))]).inc();
        if let Event::Relay(RelayEvent::MessageArrived { precedence, drill, .. }) = event {
            self.0.received.get_or_create(&labels(*precedence, Drill(*drill))).inc();
        }
    }

    /// Counts a delivery.
    pub fn delivered(&self, Delivered { precedence, drill, after }: Delivered) {
        self.0.latency.get_or_create(&labels(precedence, drill)).observe(after.as_secs_f64());
    }

    /// Counts an acknowledgement.
    pub fn acknowledged(&self, Acknowledged { precedence, drill, after }: Acknowledged) {
        self.0.acknowledgement.get_or_create(&labels(precedence, drill)).observe(after.as_secs_f64());
    }

    /// Counts events that nobody could count.
    pub fn uncounted(&self, events: u64) {
        self.0.unread.inc_by(events);
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0.registry
    }
}

/// The labels of a figure about messages.
pub(super) const fn labels(precedence: Precedence, drill: Drill) -> Of {
    [("precedence", precedence.name()), ("drill", if drill.0 { "true" } else { "false" })]
}

const fn kind(event: &Event) -> &'static str {
    match event {
        Event::Relay(relay) => match relay {
            RelayEvent::MessageQueued { .. } => "message-queued",
            RelayEvent::MessageDelivered { .. } => "message-delivered",
            RelayEvent::MessageInCustody { .. } => "message-in-custody",
            RelayEvent::CustodyRefused { .. } => "custody-refused",
            RelayEvent::CustodyTaken { .. } => "custody-taken",
            RelayEvent::CustodyEnded { .. } => "custody-ended",
            RelayEvent::MessageRefused { .. } => "message-refused",
            RelayEvent::MessageStopped { .. } => "message-stopped",
            RelayEvent::MessageExpired { .. } => "message-expired",
            RelayEvent::MessageArrived { .. } => "message-arrived",
            RelayEvent::StatementArrived { .. } => "statement-arrived",
            RelayEvent::SubmitRefused { .. } => "submit-refused",
        },
        Event::PeerConnected { .. } => "peer-connected",
        Event::PeerDisconnected { .. } => "peer-disconnected",
        Event::DirectoryChanged { .. } => "directory-changed",
        Event::CharterChanged { .. } => "charter-changed",
        Event::CharterSettled { .. } => "charter-settled",
        Event::BesideSettled { .. } => "charter-beside-settled",
        Event::KeySetChanged { .. } => "key-set-changed",
        Event::ForkSeen { .. } => "fork-seen",
        Event::HeadsContradict { .. } => "heads-contradict",
        Event::Published { .. } => "published",
        Event::TwinSeen => "twin-seen",
        Event::Operated(_) => "operated",
        Event::Journal(news) => match news {
            JournalNews::Doubted { .. } => "journal-doubted",
            JournalNews::Succeeded { .. } => "journal-succeeded",
            JournalNews::OwnLost { .. } => "own-journal-lost",
        },
        Event::ClockJudged { .. } => "clock-judged",
    }
}

/// The kinds that rates are taken of and alerts wait for: there from the start, or the first one is no increase.
/// Others appear when they first happen.
const EVENT_KINDS: [&str; 10] = [
    "message-queued",
    "message-delivered",
    "message-refused",
    "message-expired",
    "peer-connected",
    "peer-disconnected",
    "fork-seen",
    "journal-doubted",
    "journal-succeeded",
    "own-journal-lost",
];

/// Seconds: from a delivery within one region to a message that waited out its lifetime. Between them the steps
/// that people care about: half a second, the handling times of the precedences, a day.
const LATENCY_BUCKETS: [f64; 17] = [
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 600.0, 1_800.0, 10_800.0, 21_600.0,
    86_400.0, 259_200.0,
];

/// Seconds: from a device with its own power to one that is failing.
const SYNC_BUCKETS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
