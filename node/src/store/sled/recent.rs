//! Rows that were applied and are not in sled yet: every read looks here first.
//!
//! A row goes into sled before it goes from here, so whoever looks here and then there misses nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{PoisonError, RwLock},
};

use sled::IVec;

use crate::store::wal::Entry;

/// The rows by key, each with the number of its batch; nothing stands for a removal.
#[derive(Default)]
pub(super) struct Recent(RwLock<BTreeMap<IVec, (u64, Option<IVec>)>>);

/// A range of row keys.
pub(super) type KeyRange = (Bound<Vec<u8>>, Bound<Vec<u8>>);

impl Recent {
    /// Adds the rows of a batch.
    pub(super) fn add(&self, entry: &Entry) {
        let rows = entry
            .changes
            .iter()
            .map(|(key, row)| (IVec::from(key.as_slice()), (entry.number, row.as_deref().map(IVec::from))));
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(rows);
    }

    /// Removes the rows of a batch, which are in sled now, but for those that a later batch changed again.
    pub(super) fn settle(&self, entry: &Entry) {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, _) in &entry.changes {
            if rows.get(key.as_slice()).is_some_and(|(number, _)| *number == entry.number) {
                rows.remove(key.as_slice());
            }
        }
    }

    /// What a key has here: nothing, a removal, or a row.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<IVec>> {
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(key).map(|(_, row)| row.clone())
    }

    fn range(&self, range: &KeyRange) -> VecDeque<(IVec, Option<IVec>)> {
        let bound = |bound: &Bound<Vec<u8>>| bound.as_ref().map(|key| IVec::from(key.as_slice()));
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let range = rows.range((bound(&range.0), bound(&range.1)));
        range.map(|(key, (_, row))| (key.clone(), row.clone())).collect()
    }

    /// The rows of a range of keys from here and from sled, in order.
    pub(super) fn merged(&self, database: &::sled::Db, range: KeyRange) -> Merged {
        // In this order: see above.
        let recent = self.range(&range);
        Merged { recent, rows: database.range(range), first: None, last: None }
    }
}

/// A key and its row.
pub(in crate::store) type KeyAndRow = (IVec, IVec);

/// The rows of sled, but where there is something more recent.
pub(in crate::store) struct Merged {
    recent: VecDeque<(IVec, Option<IVec>)>,
    rows: ::sled::Iter,
    /// Looked at, and not returned yet.
    first: Option<KeyAndRow>,
    last: Option<KeyAndRow>,
}

impl Iterator for Merged {
    type Item = ::sled::Result<KeyAndRow>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.first.is_none() {
                self.first = match self.rows.next() {
                    Some(Ok(row)) => Some(row),
                    Some(Err(error)) => return Some(Err(error)),
                    None => self.last.take(),
                };
            }
            let Some((recent, _)) = self.recent.front() else { return self.first.take().map(Ok) };
            if self.first.as_ref().is_some_and(|(key, _)| key < recent) {
                return self.first.take().map(Ok);
            }
            self.first.take_if(|(key, _)| key == recent);
            if let Some((key, Some(row))) = self.recent.pop_front() {
                return Some(Ok((key, row)));
            }
        }
    }
}

impl DoubleEndedIterator for Merged {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            if self.last.is_none() {
                self.last = match self.rows.next_back() {
                    Some(Ok(row)) => Some(row),
                    Some(Err(error)) => return Some(Err(error)),
                    None => self.first.take(),
                };
            }
            let Some((recent, _)) = self.recent.back() else { return self.last.take().map(Ok) };
            if self.last.as_ref().is_some_and(|(key, _)| key > recent) {
                return self.last.take().map(Ok);
            }
            self.last.take_if(|(key, _)| key == recent);
            if let Some((key, Some(row))) = self.recent.pop_back() {
                return Some(Ok((key, row)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn from_both_ends_and_mixed_a_scan_is_that_of_one_map(
            old in vec((0_u8..12, 0_u8..4), 0..12),
            new in vec((0_u8..12, proptest::option::of(0_u8..4)), 0..12),
            from_back in vec(any::<bool>(), 30),
        ) {
            let database = ::sled::Config::new().temporary(true).open().unwrap();
            let mut model = BTreeMap::new();
            for (key, row) in old {
                database.insert([key], &[row]).unwrap();
                model.insert(vec![key], vec![row]);
            }
            let recent = Recent::default();
            let mut entries = Vec::new();
            for (number, (key, row)) in (1..).zip(new) {
                let entry = Entry { number, changes: vec![(vec![key], row.map(|row| vec![row]))] };
                recent.add(&entry);
                entries.push(entry);
                match row {
                    Some(row) => model.insert(vec![key], vec![row]),
                    None => model.remove(&vec![key]),
                };
            }
            let mut rows = recent.merged(&database, (Bound::Included(vec![2]), Bound::Excluded(vec![10])));
            let mut expected: VecDeque<_> = model.range(vec![2]..vec![10]).collect();
            for back in from_back {
                let (row, expected) = if back {
                    (rows.next_back(), expected.pop_back())
                } else {
                    (rows.next(), expected.pop_front())
                };
                let row = row.map(|row| row.unwrap());
                prop_assert_eq!(
                    row.as_ref().map(|(key, row)| (key.to_vec(), row.to_vec())),
                    expected.map(|(key, row)| (key.clone(), row.clone()))
                );
            }
            // What was changed again stays until its own batch is in sled.
            for entry in &entries {
                recent.settle(entry);
                let later = entries.iter().any(|later| {
                    later.number > entry.number && later.changes[0].0 == entry.changes[0].0
                });
                prop_assert_eq!(recent.get(&entry.changes[0].0).is_some(), later);
            }
        }
    }
}
