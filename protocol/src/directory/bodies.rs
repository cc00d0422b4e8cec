//! Bodies of recent headers: matched by hash and length, decoded once, and let go when no header
//! within the policy names them. Refuses what nothing names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    chain::BodyRef,
    header::ChainKind,
    node_record::{BodyError, NodeRecord},
    reference_point::ReferencePoint,
};
use crate::{ids::ContentHash, limits::BODY_BYTES_MAX};

/// The bodies that recent headers name.
#[derive(Clone, Debug, Default)]
pub struct Bodies {
    entries: BTreeMap<BodyKey, Entry>,
    released: BTreeSet<ContentHash>,
}

/// A body as one kind of chain names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyKey {
    /// Which kind of chain: it says how the bytes are read.
    pub kind: ChainKind,
    /// Hash and length.
    pub body: BodyRef,
}

/// What is known of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// Not held yet.
    Missing,
    /// Erased here; the header stays as proof that there was one.
    Erased,
    /// Its bytes came and cannot be read: its node's fault. It is not stored and not fetched again.
    Unreadable(BodyError),
    /// A node record.
    NodeRecord(Arc<NodeRecord>),
    /// A reference point.
    ReferencePoint(Arc<ReferencePoint>),
}

/// What became of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyAcceptance {
    /// Held now: store it under its hash.
    New(ContentHash),
    /// Held already, erased, or known to be unreadable.
    Known(ContentHash),
    /// No recent header names it.
    Unwanted(ContentHash),
    /// A header names it and it cannot be read: its node's fault, never its bearer's. Do not store it.
    Unreadable(ContentHash, BodyError),
    /// Longer than any body: not even hashed.
    TooLong(usize),
}

#[derive(Clone, Debug)]
struct Entry {
    /// How many chains and names keep it.
    count: u32,
    state: BodyState,
}

impl Bodies {
    /// Takes bytes in, if a recent header names them.
    pub fn accept(&mut self, bytes: &[u8]) -> BodyAcceptance {
        if bytes.len() > BODY_BYTES_MAX {
            return BodyAcceptance::TooLong(bytes.len());
        }
        let hash = ContentHash::from_bytes(Sha256::digest(bytes).into());
        let body = BodyRef { hash, length: bytes.len() as u64 };
        let mut outcome = BodyAcceptance::Unwanted(hash);
        for kind in [ChainKind::NodeRecord, ChainKind::ReferencePoint] {
            let Some(entry) = self.entries.get_mut(&BodyKey { kind, body }) else { continue };
            if entry.state != BodyState::Missing {
                if matches!(outcome, BodyAcceptance::Unwanted(_)) {
                    outcome = BodyAcceptance::Known(hash);
                }
                continue;
            }
            let read = match kind {
                ChainKind::NodeRecord => {
                    NodeRecord::from_bytes(bytes).map(Arc::new).map(BodyState::NodeRecord)
                }
                ChainKind::ReferencePoint => {
                    ReferencePoint::from_bytes(bytes).map(Arc::new).map(BodyState::ReferencePoint)
                }
            };
            match read {
                Ok(state) => {
                    entry.state = state;
                    outcome = BodyAcceptance::New(hash);
                }
                Err(error) => {
                    entry.state = BodyState::Unreadable(error.clone());
                    if !matches!(outcome, BodyAcceptance::New(_)) {
                        outcome = BodyAcceptance::Unreadable(hash, error);
                    }
                }
            }
        }
        outcome
    }

    /// Forgets a content; returns whether any recent header names it.
    pub fn erase(&mut self, hash: ContentHash) -> bool {
        let mut named = false;
        for (_, entry) in self.entries.iter_mut().filter(|(key, _)| key.body.hash == hash) {
            entry.state = BodyState::Erased;
            named = true;
        }
        named
    }

    /// What is known of a body, `None` if no recent header names it.
    #[must_use]
    pub fn state(&self, key: &BodyKey) -> Option<&BodyState> {
        self.entries.get(key).map(|entry| &entry.state)
    }

    /// Lets the bodies in `old` go and keeps those in `new`: one hold each.
    pub fn replace(&mut self, kind: ChainKind, old: &[BodyRef], new: &[BodyRef]) {
        for body in new {
            let fresh = || Entry { count: 0, state: BodyState::Missing };
            let entry = self.entries.entry(BodyKey { kind, body: *body }).or_insert_with(fresh);
            entry.count = entry.count.saturating_add(1);
            self.released.remove(&body.hash);
        }
        for body in old {
            let key = BodyKey { kind, body: *body };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.count = entry.count.saturating_sub(1);
            if entry.count == 0 {
                self.entries.remove(&key);
                if self.count(body.hash) == 0 {
                    self.released.insert(body.hash);
                }
            }
        }
    }

    /// Hashes let go since the last call.
    pub fn take_released(&mut self) -> BTreeSet<ContentHash> {
        std::mem::take(&mut self.released)
    }

    /// How many chains and names keep a content.
    #[must_use]
    pub fn count(&self, hash: ContentHash) -> u32 {
        let of_kind = |kind| {
            let first = BodyKey { kind, body: BodyRef { hash, length: 0 } };
            let from_first = self.entries.range(first..);
            from_first.take_while(move |(key, _)| key.kind == kind && key.body.hash == hash)
        };
        let entries = [ChainKind::NodeRecord, ChainKind::ReferencePoint].into_iter().flat_map(of_kind);
        entries.fold(0, |sum, (_, entry)| sum.saturating_add(entry.count))
    }
}
