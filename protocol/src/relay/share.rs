//! Whose part of a bounded store is how large, so that nobody's flood takes anybody else's place.
//!
//! It counts and decides whether there is room; what is kept lies with whoever asks.

use std::collections::BTreeMap;

/// How a bounded store is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShareBounds {
    /// All holders together, as long as nobody needs its floor.
    pub(super) all: usize,
    /// One holder, however empty the store is.
    pub(super) each: usize,
    /// What every holder may have, however full the store is.
    pub(super) floor: usize,
}

/// What each holder has of one store.
#[derive(Clone, Debug)]
pub(super) struct Shares<K> {
    held: BTreeMap<K, usize>,
    total: usize,
}

impl<K: Ord + Clone> Shares<K> {
    /// Whether a holder may have so much more.
    pub(super) fn has_room(&self, bounds: ShareBounds, holder: &K, more: usize) -> bool {
        let own = self.of(holder).saturating_add(more);
        let all = self.total.saturating_add(more);
        own <= bounds.each && (all <= bounds.all || own <= bounds.floor)
    }

    /// What a holder has.
    pub(super) fn of(&self, holder: &K) -> usize {
        self.held.get(holder).copied().unwrap_or_default()
    }

    /// What all have.
    #[cfg(test)]
    pub(super) const fn total(&self) -> usize {
        self.total
    }

    pub(super) fn add(&mut self, holder: &K, more: usize) {
        *self.held.entry(holder.clone()).or_default() += more;
        self.total += more;
    }

    pub(super) fn remove(&mut self, holder: &K, less: usize) {
        let Some(own) = self.held.get_mut(holder) else { return };
        let less = less.min(*own);
        *own -= less;
        self.total -= less;
        if *own == 0 {
            self.held.remove(holder);
        }
    }
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), total: 0 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    const BOUNDS: ShareBounds = ShareBounds { all: 10, each: 8, floor: 2 };

    #[test]
    fn nobody_takes_another_ones_floor_and_nobody_more_than_its_share() {
        let mut shares = Shares::default();
        shares.add(&"flood", 8);
        assert!(!shares.has_room(BOUNDS, &"flood", 1), "its share is full, the store is not");
        shares.add(&"second", 2);
        for late in ["third", "fourth"] {
            assert!(shares.has_room(BOUNDS, &late, 2), "the floor is there in a full store");
            assert!(!shares.has_room(BOUNDS, &late, 3));
            shares.add(&late, 2);
            assert!(!shares.has_room(BOUNDS, &late, 1));
        }
        shares.remove(&"flood", 8);
        assert!(shares.has_room(BOUNDS, &"third", 1));
        assert_eq!((shares.total(), shares.of(&"flood"), shares.of(&"second")), (6, 0, 2));
    }
}
