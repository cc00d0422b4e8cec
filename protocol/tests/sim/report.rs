//! What a simulation counts, and the one line that it ends with.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Counts of one simulation, or of many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    kinds: BTreeMap<&'static str, u64>,
    pub(crate) node_hours: f64,
    pub(crate) events: u64,
    pub(crate) messages: u64,
    pub(crate) receipts: u64,
    pub(crate) settled: u64,
    /// Bytes of heads and of settlements' certificates that went over links, in the seconds of nodes that follow.
    pub(crate) head_bytes: u64,
    pub(crate) certificate_bytes: u64,
    pub(crate) counted_seconds: f64,
    /// Milliseconds that each update took to each node.
    pub(crate) updates: Vec<u64>,
}

impl Counts {
    pub(crate) fn add(&mut self, kind: &'static str) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    pub(crate) fn count(&self, kind: &str) -> u64 {
        self.kinds.get(kind).copied().unwrap_or_default()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (kind, count) in &other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.node_hours += other.node_hours;
        self.events += other.events;
        self.messages += other.messages;
        self.receipts += other.receipts;
        self.settled += other.settled;
        self.head_bytes += other.head_bytes;
        self.certificate_bytes += other.certificate_bytes;
        self.counted_seconds += other.counted_seconds;
        self.updates.extend(&other.updates);
    }

    /// Milliseconds within which that many in a hundred updates reached a node, `None` without any.
    fn update_percentile(&self, percent: usize) -> Option<u64> {
        let mut updates = self.updates.clone();
        updates.sort_unstable();
        updates.get((updates.len() * percent).div_ceil(100).saturating_sub(1)).copied()
    }

    /// Of what went over links, one node's share a second; `None` if nothing was counted for long enough.
    fn a_node_second(&self, bytes: u64) -> Option<f64> {
        let share = bytes as f64 / self.counted_seconds;
        (self.counted_seconds > 0.0).then(|| (share * 10.0).round() / 10.0)
    }

    /// The fields of the one line.
    pub(crate) fn to_json(&self, minutes: f64, processor_minutes: f64, violations: u64) -> Value {
        json!({
            "node_hours": (self.node_hours * 10.0).round() / 10.0,
            "node_hours_a_minute": (self.node_hours / minutes.max(1e-6)).round(),
            "node_hours_a_processor_minute": (self.node_hours / processor_minutes.max(1e-6)).round(),
            "faults": self.kinds,
            "events": self.events,
            "messages": self.messages,
            "receipts": self.receipts,
            "settled": self.settled,
            "head_bytes_a_node_second": self.a_node_second(self.head_bytes),
            "certificate_bytes_a_node_second": self.a_node_second(self.certificate_bytes),
            "updates": self.updates.len(),
            "update_p50_ms": self.update_percentile(50),
            "update_p99_ms": self.update_percentile(99),
            "violations": violations,
        })
    }
}
