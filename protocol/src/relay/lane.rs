//! What waits for one node, in which order it goes, and how much is on its way.
//!
//! The outbox and custody queue by the same rules: the most urgent first, the longest waiting every so often, and
//! never more unanswered than a window holds. In custody the members that handed something over go by turns.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
};

use crate::{limits::AGEING_INTERVAL, message::header::Precedence, relay::parcel::Class, time::Timestamp};

/// The place of something in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place<K, O> {
    pub(super) key: K,
    /// Whose it is: owners go by turns.
    pub(super) owner: O,
    pub(super) precedence: Precedence,
    /// Since when it waits: the oldest of one precedence and owner goes first.
    pub(super) since: Timestamp,
    pub(super) size: usize,
}

/// How much may be unanswered at once; one item is always allowed, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

/// What is on its way to one node and not answered yet.
pub(super) struct Window<K> {
    bounds: Bounds,
    sizes: BTreeMap<K, usize>,
    bytes: usize,
}

/// A queue and its window.
pub(super) struct Lane<K, O> {
    by_precedence: BTreeMap<Reverse<Precedence>, Turns<K, O>>,
    by_age: BTreeMap<(Timestamp, K), Place<K, O>>,
    window: Window<K>,
    served: u64,
}

/// What waits of one precedence, and whose turn it is. Owners go by turns of bytes, so that a heap of one holds up
/// nobody else: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996). What leaves untaken costs nothing.
struct Turns<K, O> {
    /// The turn of what was served last.
    now: u64,
    /// Where the next item of each owner starts: of those that wait, and of those that had more than the others.
    next: BTreeMap<O, u64>,
    waiting: BTreeMap<O, BTreeSet<(Timestamp, K)>>,
    /// Who waits, by turn.
    order: BTreeSet<(u64, O)>,
}

impl<K: Ord + Copy, O: Ord + Clone> Turns<K, O> {
    const fn new() -> Self {
        Self { now: 0, next: BTreeMap::new(), waiting: BTreeMap::new(), order: BTreeSet::new() }
    }

    fn insert(&mut self, owner: &O, item: (Timestamp, K)) {
        let items = self.waiting.entry(owner.clone()).or_default();
        if items.is_empty() {
            let next = self.next.entry(owner.clone()).or_default();
            *next = self.now.max(*next);
            self.order.insert((*next, owner.clone()));
        }
        items.insert(item);
    }

    fn remove(&mut self, owner: &O, item: &(Timestamp, K)) {
        let Some(items) = self.waiting.get_mut(owner) else { return };
        items.remove(item);
        if items.is_empty() {
            self.waiting.remove(owner);
            let next = self.next.get(owner).copied().unwrap_or_default();
            self.order.remove(&(next, owner.clone()));
            self.settle();
        }
    }

    fn first(&self) -> Option<&(Timestamp, K)> {
        let (_, owner) = self.order.first()?;
        self.waiting.get(owner)?.first()
    }

    /// An owner had something served: in its turn, or before it for its age, which moves nobody else's.
    fn serve(&mut self, owner: &O, size: usize, in_turn: bool) {
        let next = self.next.entry(owner.clone()).or_insert(self.now);
        let turn = *next;
        *next = turn.saturating_add(size.max(1) as u64);
        if self.order.remove(&(turn, owner.clone())) {
            self.order.insert((*next, owner.clone()));
        }
        if in_turn {
            self.now = self.now.max(turn);
        }
        self.settle();
    }

    /// Forgets whose next item starts no later than anybody's.
    fn settle(&mut self) {
        let (now, waiting) = (self.now, &self.waiting);
        self.next.retain(|owner, next| *next > now || waiting.contains_key(owner));
    }
}

impl<K: Ord + Copy> Window<K> {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, sizes: BTreeMap::new(), bytes: 0 }
    }

    /// Whether something of a class fits.
    pub(super) fn fits(&self, class: Class, size: usize) -> bool {
        let part = |bound: usize| class.part_of(bound as u64);
        self.sizes.is_empty()
            || ((self.sizes.len() as u64) < part(self.bounds.count)
                && (self.bytes + size) as u64 <= part(self.bounds.bytes))
    }

    pub(super) fn launch(&mut self, key: K, size: usize) {
        if let Some(earlier) = self.sizes.insert(key, size) {
            self.bytes -= earlier;
        }
        self.bytes += size;
    }

    /// Counts something as no longer on its way.
    pub(super) fn land(&mut self, key: &K) {
        if let Some(size) = self.sizes.remove(key) {
            self.bytes -= size;
        }
    }

    /// Keys of all that is on its way.
    pub(super) fn keys(&self) -> Vec<K> {
        self.sizes.keys().copied().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }
}

impl<K: Ord + Copy, O: Ord + Clone> Lane<K, O> {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self {
            by_precedence: BTreeMap::new(),
            by_age: BTreeMap::new(),
            window: Window::new(bounds),
            served: 0,
        }
    }

    /// Puts something in the queue; what is there already keeps its place.
    pub(super) fn queue(&mut self, place: Place<K, O>) {
        let item = (place.since, place.key);
        if let Entry::Vacant(free) = self.by_age.entry(item) {
            let turns = self.by_precedence.entry(Reverse(place.precedence)).or_insert_with(Turns::new);
            turns.insert(&place.owner, item);
            free.insert(place);
        }
    }

    /// Takes something out of queue and window.
    pub(super) fn remove(&mut self, key: K, since: Timestamp) {
        self.take(&(since, key));
        self.window.land(&key);
    }

    /// Takes the next thing to be sent, and counts it as on its way; `None` if nothing waits or nothing fits.
    ///
    /// The most urgent goes first, by turns of the owners and of each the oldest; every [`AGEING_INTERVAL`]th time
    /// the oldest of all, so that nothing waits for ever behind what is more urgent. It takes the place that the most
    /// urgent would have, whatever its class and size, so that no reserve and no full window holds it up: by one item
    /// more may be on its way than the bound says.
    pub(super) fn take_next(&mut self) -> Option<Place<K, O>> {
        let first = self.by_precedence.values().find_map(Turns::first).copied()?;
        let place = self.by_age.get(&first)?;
        if !self.window.fits(place.precedence.class(), place.size) {
            return None;
        }
        let aged = self.served % AGEING_INTERVAL == AGEING_INTERVAL - 1;
        let item = if aged { *self.by_age.keys().next()? } else { first };
        let precedence = Reverse(self.by_age.get(&item)?.precedence);
        let in_turn = self.by_precedence.get(&precedence).and_then(Turns::first) == Some(&item);
        let place = self.take(&item)?;
        self.served += 1;
        if let Some(turns) = self.by_precedence.get_mut(&precedence) {
            turns.serve(&place.owner, place.size, in_turn);
        }
        self.window.launch(place.key, place.size);
        Some(place)
    }

    fn take(&mut self, item: &(Timestamp, K)) -> Option<Place<K, O>> {
        let place = self.by_age.remove(item)?;
        if let Some(turns) = self.by_precedence.get_mut(&Reverse(place.precedence)) {
            turns.remove(&place.owner, item);
        }
        Some(place)
    }

    /// Counts something as no longer on its way.
    pub(super) fn land(&mut self, key: &K) {
        self.window.land(key);
    }

    /// Keys of all that is on its way.
    pub(super) fn in_flight(&self) -> Vec<K> {
        self.window.keys()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_age.is_empty() && self.window.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::limits::{IN_FLIGHT_BYTES_PER_PEER_MAX, IN_FLIGHT_PER_PEER_MAX, URGENT_RESERVE};

    fn place(key: u64, precedence: Precedence) -> Place<u64, &'static str> {
        Place { key, owner: "", precedence, since: Timestamp::from_millis(key), size: 512 }
    }

    fn lane() -> Lane<u64, &'static str> {
        Lane::new(Bounds { count: IN_FLIGHT_PER_PEER_MAX, bytes: IN_FLIGHT_BYTES_PER_PEER_MAX })
    }

    #[test]
    fn urgent_goes_first_and_the_oldest_is_never_forgotten() {
        let mut lane = lane();
        (0..4).for_each(|n| lane.queue(place(n, Precedence::Routine)));
        (100..120).for_each(|n| lane.queue(place(n, Precedence::Flash)));
        let order: Vec<_> = std::iter::from_fn(|| lane.take_next()).map(|p| p.precedence).collect();
        assert_eq!(order.len(), 24);
        let routine: Vec<_> = (0..24).filter(|at| order[*at] == Precedence::Routine).collect();
        assert_eq!(routine, [7, 15, 22, 23], "each eighth, then what is left");
    }

    #[test]
    fn what_is_in_flight_is_bounded_and_urgent_has_a_reserve() {
        let mut lane = lane();
        (0..300).for_each(|n| lane.queue(place(n, Precedence::Routine)));
        let normal = std::iter::from_fn(|| lane.take_next()).count();
        assert_eq!(
            normal as u64,
            IN_FLIGHT_PER_PEER_MAX as u64 - IN_FLIGHT_PER_PEER_MAX as u64 / URGENT_RESERVE
        );
        (300..600).for_each(|n| lane.queue(place(n, Precedence::Flash)));
        let reserve: Vec<_> = std::iter::from_fn(|| lane.take_next()).map(|place| place.precedence).collect();
        assert_eq!(normal + reserve.len(), IN_FLIGHT_PER_PEER_MAX);
        let aged = reserve.iter().filter(|precedence| **precedence == Precedence::Routine).count();
        assert_eq!(aged, 2, "each eighth: {reserve:?}");
        let landed = lane.in_flight()[0];
        lane.land(&landed);
        assert!(lane.take_next().is_some());
    }

    #[test]
    fn the_oldest_has_its_turn_in_a_full_window_whatever_its_class_and_size() {
        let bytes = 6 * 1024 * 1024;
        let mut lane = Lane::new(Bounds { count: 16, bytes });
        let large = 1024 * 1024 + 256 * 1024;
        lane.queue(Place { size: large, ..place(0, Precedence::Routine) });
        let heap = |key| Place { size: 700 * 1024, ..place(key, Precedence::Flash) };
        (1..100).for_each(|key| lane.queue(heap(key)));
        let first: Vec<_> = std::iter::from_fn(|| lane.take_next()).map(|place| place.key).collect();
        assert_eq!(first, [1, 2, 3, 4, 5, 6, 7, 0], "the window is full all the while");
        for key in 8..100 {
            lane.land(&(key - 7));
            let taken = lane.take_next().map(|place| place.key);
            let on_its_way: usize = lane.in_flight().len();
            assert!(taken.is_none() || on_its_way <= 9, "{on_its_way}");
        }
    }

    #[test]
    fn one_large_item_always_goes_and_bytes_are_bounded() {
        let mut lane = lane();
        let large = |n| Place { size: 5 * 1024 * 1024, ..place(n, Precedence::Flash) };
        lane.queue(large(1));
        lane.queue(large(2));
        assert!(lane.take_next().is_some());
        assert!(lane.take_next().is_none(), "the second waits for the first");
        lane.land(&1);
        assert!(lane.take_next().is_some());
    }

    #[test]
    fn owners_go_by_turns_of_bytes_and_a_heap_of_one_holds_nobody_up() {
        let mut lane = Lane::new(Bounds { count: 1, bytes: usize::MAX });
        let flash = |key, owner, size| Place { owner, size, ..place(key, Precedence::Flash) };
        let next = |lane: &mut Lane<u64, &'static str>| {
            let taken = lane.take_next().map(|place| place.key);
            taken.iter().for_each(|key| lane.land(key));
            taken.unwrap()
        };
        (0..40).for_each(|key| lane.queue(flash(key, "US", 1_000_000)));
        assert_eq!(next(&mut lane), 0);
        (100..106).for_each(|key| lane.queue(flash(key, "BR", 400_000)));
        // Among the turns the eighth is the oldest of all.
        let order: Vec<_> = (0..9).map(|_| next(&mut lane)).collect();
        assert_eq!(order, [100, 101, 102, 1, 103, 104, 2, 105, 3]);
    }

    #[test]
    fn what_goes_for_its_age_is_in_turn_in_its_own_class() {
        let mut lane = Lane::new(Bounds { count: 100, bytes: usize::MAX });
        let normal = |key, owner| Place { owner, size: 1_000_000, ..place(key, Precedence::Routine) };
        (0..20).for_each(|key| lane.queue(normal(key, "BR")));
        let next = |lane: &mut Lane<u64, &'static str>| {
            let taken = lane.take_next()?.key;
            lane.land(&taken);
            Some(taken)
        };
        for key in 0..160 {
            lane.queue(place(1_000 + key, Precedence::Flash));
            next(&mut lane);
        }
        // All of its normal ones went while urgent ones did, and none of that is held against it.
        assert!(lane.by_precedence[&Reverse(Precedence::Routine)].waiting.is_empty());
        (2_000..2_020).for_each(|key| lane.queue(normal(key, "US")));
        lane.queue(normal(3_000, "BR"));
        while next(&mut lane).is_some_and(|key| key < 2_000) {}
        let order: Vec<_> = (0..2).filter_map(|_| next(&mut lane)).collect();
        assert!(order.contains(&3_000), "{order:?}");
    }

    #[test]
    fn what_leaves_unserved_costs_its_owner_no_turn() {
        let mut lane = lane();
        lane.queue(Place { owner: "US", ..place(1, Precedence::Flash) });
        for key in 100..200 {
            lane.queue(Place { owner: "BR", size: 1_000_000, ..place(key, Precedence::Flash) });
            lane.remove(key, Timestamp::from_millis(key));
        }
        lane.queue(Place { owner: "BR", ..place(200, Precedence::Flash) });
        lane.queue(Place { owner: "US", ..place(2, Precedence::Flash) });
        let order: Vec<_> = std::iter::from_fn(|| lane.take_next()).map(|place| place.key).collect();
        assert_eq!(order, [200, 1, 2]);
        assert!(lane.by_precedence.values().all(|turns| turns.waiting.is_empty() && turns.order.is_empty()));
    }

    #[test]
    fn removal_leaves_nothing() {
        let mut lane = lane();
        lane.queue(place(1, Precedence::Flash));
        lane.queue(place(1, Precedence::Flash));
        assert!(!lane.is_empty());
        lane.remove(1, Timestamp::from_millis(1));
        assert!(lane.is_empty() && lane.take_next().is_none());
    }

    #[test]
    fn launching_again_counts_once() {
        let mut window = Window::new(Bounds { count: 2, bytes: 100 });
        window.launch(1, 60);
        window.launch(1, 90);
        assert!(!window.fits(Class::Urgent, 20));
        window.land(&1);
        assert!(window.is_empty() && window.fits(Class::Urgent, 1_000), "one is always allowed");
    }
}
