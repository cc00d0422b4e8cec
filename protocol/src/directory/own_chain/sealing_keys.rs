//! The life of this node's sealing keys: when a successor is made, what is published, when a seed dies.

use super::{OwnEffect, WakeReason};
use crate::{
    directory::node_record::SealingKeyEntry,
    limits::{SEALING_KEY_LEAD, SEALING_KEY_VALIDITY, SEALING_KEYS_MAX, SEALING_SEED_GRACE},
    time::Timestamp,
};

/// The sealing keys whose seeds are on disk, oldest first.
#[derive(Clone, Debug)]
pub(super) struct SealingKeys {
    keys: Vec<SealingKeyEntry>,
    /// Whether one is being made.
    is_generating: bool,
}

impl SealingKeys {
    pub(super) fn new(mut keys: Vec<SealingKeyEntry>) -> Self {
        keys.sort_by_key(|key| key.from);
        Self { keys, is_generating: false }
    }

    pub(super) fn all(&self) -> &[SealingKeyEntry] {
        &self.keys
    }

    pub(super) fn generated(&mut self, entry: SealingKeyEntry) {
        self.is_generating = false;
        self.keys.push(entry);
        self.keys.sort_by_key(|key| key.from);
    }

    pub(super) const fn failed(&mut self) {
        self.is_generating = false;
    }

    pub(super) fn published(&self, now: Timestamp) -> Vec<SealingKeyEntry> {
        published(&self.keys, now)
    }

    pub(super) fn decide(&mut self, now: Timestamp) -> Vec<OwnEffect> {
        let mut effects = Vec::new();
        let newest_until = self.keys.last().map(|key| key.until);
        let due = newest_until.is_none_or(|until| now >= until.before(SEALING_KEY_LEAD));
        if due && !self.is_generating {
            self.is_generating = true;
            // After a long absence there is no gap to fill: the new key begins now.
            let from = newest_until.unwrap_or(now).max(now);
            effects.push(OwnEffect::GenerateSealingKey { from, until: from.after(SEALING_KEY_VALIDITY) });
        }
        // The newest is never destroyed: without it the node could not be written to.
        while self.keys.len() > 1 {
            let Some(oldest) = self.keys.first().filter(|key| now >= key.until.after(SEALING_SEED_GRACE))
            else {
                break;
            };
            effects.push(OwnEffect::DestroySeed { id: oldest.id() });
            self.keys.remove(0);
        }
        effects
    }

    pub(super) fn wakeups(&self) -> Vec<(Timestamp, WakeReason)> {
        let successor =
            self.keys.last().map(|key| (key.until.before(SEALING_KEY_LEAD), WakeReason::SealingKey));
        let older = self.keys.len().saturating_sub(1);
        let seeds = self.keys.iter().take(older);
        let seeds = seeds.map(|key| (key.until.after(SEALING_SEED_GRACE), WakeReason::SeedDestruction));
        successor.into_iter().filter(|_| !self.is_generating).chain(seeds).collect()
    }
}

/// The keys that a node record lists at `now`: those whose days are not over; if they all are, the newest.
#[must_use]
pub fn published(keys: &[SealingKeyEntry], now: Timestamp) -> Vec<SealingKeyEntry> {
    let mut listed: Vec<_> = keys.iter().filter(|key| key.until > now).cloned().collect();
    if listed.is_empty() {
        listed.extend(keys.last().cloned());
    }
    let surplus = listed.len().saturating_sub(SEALING_KEYS_MAX);
    listed.drain(..surplus);
    listed
}
