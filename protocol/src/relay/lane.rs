//! What waits for one node, in which order it goes, and how much is on its way.
//!
//! The outbox and custody queue by the same rules: the most urgent first, the longest waiting every so often, and
//! never more unanswered than a window holds. In custody the members that handed something over go by turns.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
};

use crate::{
    ids::MemberCode,
    limits::{AGEING_INTERVAL, URGENT_RESERVE},
    message::header::Precedence,
    time::Timestamp,
};

/// The place of something in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<K> {
    pub(super) key: K,
    pub(super) precedence: Precedence,
    /// Its turn among those of one precedence ([`Lane::turn_of`]); 0 for all where there is but one owner.
    pub(super) turn: u64,
    /// Since when it waits: the oldest of one precedence and turn goes first.
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
pub(super) struct Lane<K> {
    by_precedence: BTreeSet<(Reverse<Precedence>, u64, Timestamp, K)>,
    by_age: BTreeMap<(Timestamp, K), Place<K>>,
    window: Window<K>,
    served: u64,
    turns: BTreeMap<Precedence, Turns>,
}

/// Whose turn it is among the members that share a queue: by bytes, so that whoever has a heap of them waiting holds
/// nobody else up. Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996).
#[derive(Default)]
struct Turns {
    /// The turn of what was served last.
    now: u64,
    /// Where each member's next item starts, if that is later.
    next: BTreeMap<MemberCode, u64>,
}

impl Turns {
    fn of(&mut self, member: MemberCode, size: usize) -> u64 {
        let next = self.next.entry(member).or_default();
        let turn = self.now.max(*next);
        *next = turn.saturating_add(size.max(1) as u64);
        turn
    }

    fn serve(&mut self, turn: u64) {
        self.now = self.now.max(turn);
        let now = self.now;
        self.next.retain(|_, next| *next > now);
    }
}

impl<K: Ord + Copy> Window<K> {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, sizes: BTreeMap::new(), bytes: 0 }
    }

    /// Whether something fits; what is not urgent leaves a reserve to what is.
    pub(super) fn fits(&self, precedence: Precedence, size: usize) -> bool {
        let share =
            |bound: usize| if precedence.is_urgent() { bound } else { bound - bound / URGENT_RESERVE };
        self.sizes.is_empty()
            || (self.sizes.len() < share(self.bounds.count) && self.bytes + size <= share(self.bounds.bytes))
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

impl<K: Ord + Copy> Lane<K> {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self {
            by_precedence: BTreeSet::new(),
            by_age: BTreeMap::new(),
            window: Window::new(bounds),
            served: 0,
            turns: BTreeMap::new(),
        }
    }

    /// The turn of a member's next item of so many bytes.
    pub(super) fn turn_of(&mut self, precedence: Precedence, member: MemberCode, size: usize) -> u64 {
        self.turns.entry(precedence).or_default().of(member, size)
    }

    /// Puts something in the queue; what is there already keeps its place.
    pub(super) fn queue(&mut self, place: Place<K>) {
        if let Entry::Vacant(free) = self.by_age.entry((place.since, place.key)) {
            free.insert(place);
            self.by_precedence.insert(rank(&place));
        }
    }

    /// Takes something out of queue and window.
    pub(super) fn remove(&mut self, key: K, since: Timestamp) {
        if let Some(place) = self.by_age.remove(&(since, key)) {
            self.by_precedence.remove(&rank(&place));
        }
        self.window.land(&key);
    }

    /// Takes the next thing to be sent, and counts it as on its way; `None` if nothing waits or nothing fits.
    ///
    /// The most urgent goes first, by turns and then the oldest of one precedence first; every [`AGEING_INTERVAL`]th time the
    /// oldest of all, so that nothing waits for ever behind what is more urgent.
    pub(super) fn take_next(&mut self) -> Option<Place<K>> {
        let aged = self.served % AGEING_INTERVAL == AGEING_INTERVAL - 1;
        let oldest = if aged { self.by_age.values().next().copied() } else { None };
        let urgent = self
            .by_precedence
            .first()
            .and_then(|(_, _, since, key)| self.by_age.get(&(*since, *key)))
            .copied();
        // An old normal item that may not use the reserve does not hold up an urgent one.
        let fits = |place: &Place<K>| self.window.fits(place.precedence, place.size);
        let place = [oldest, urgent].into_iter().flatten().find(fits)?;
        self.served += 1;
        // What went for its age had not its turn yet, and moves nobody else's.
        if urgent == Some(place)
            && let Some(turns) = self.turns.get_mut(&place.precedence)
        {
            turns.serve(place.turn);
        }
        self.remove(place.key, place.since);
        self.window.launch(place.key, place.size);
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

const fn rank<K: Copy>(place: &Place<K>) -> (Reverse<Precedence>, u64, Timestamp, K) {
    (Reverse(place.precedence), place.turn, place.since, place.key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::limits::{IN_FLIGHT_BYTES_PER_PEER_MAX, IN_FLIGHT_PER_PEER_MAX};

    fn place(key: u64, precedence: Precedence) -> Place<u64> {
        Place { key, precedence, turn: 0, since: Timestamp::from_millis(key), size: 512 }
    }

    fn lane() -> Lane<u64> {
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
        assert_eq!(normal, IN_FLIGHT_PER_PEER_MAX - IN_FLIGHT_PER_PEER_MAX / URGENT_RESERVE);
        (300..600).for_each(|n| lane.queue(place(n, Precedence::Flash)));
        let mut urgent = 0;
        while let Some(place) = lane.take_next() {
            assert_eq!(place.precedence, Precedence::Flash);
            urgent += 1;
        }
        assert!(urgent > 0 && normal + urgent <= IN_FLIGHT_PER_PEER_MAX, "{urgent}");
        let landed = lane.in_flight()[0];
        lane.land(&landed);
        assert!(lane.take_next().is_some());
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
    fn members_go_by_turns_of_bytes_and_a_heap_of_one_holds_nobody_up() {
        let mut lane = Lane::new(Bounds { count: 1, bytes: usize::MAX });
        let (us, br): (MemberCode, MemberCode) = ("US".parse().unwrap(), "BR".parse().unwrap());
        let queue = |lane: &mut Lane<u64>, key: u64, member: &MemberCode, precedence, size| {
            let turn = lane.turn_of(precedence, member.clone(), size);
            lane.queue(Place { turn, size, ..place(key, precedence) });
        };
        let next = |lane: &mut Lane<u64>| {
            let taken = lane.take_next().map(|place| place.key);
            taken.iter().for_each(|key| lane.land(key));
            taken
        };
        (0..40).for_each(|key| queue(&mut lane, key, &us, Precedence::Flash, 1_000_000));
        assert_eq!(next(&mut lane), Some(0));
        (100..106).for_each(|key| queue(&mut lane, key, &br, Precedence::Flash, 400_000));
        // Among the turns the eighth is the oldest of all.
        let order: Vec<_> = (0..9).map(|_| next(&mut lane).unwrap()).collect();
        assert_eq!(order, [100, 101, 102, 1, 103, 104, 2, 105, 3]);
        // A class has turns of its own, and who was served has no debt once the queue got to it.
        queue(&mut lane, 200, &us, Precedence::Priority, 1);
        queue(&mut lane, 300, &br, Precedence::Flash, 1);
        assert_eq!(next(&mut lane), Some(300));
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
        assert!(!window.fits(Precedence::Flash, 20));
        window.land(&1);
        assert!(window.is_empty() && window.fits(Precedence::Flash, 1_000), "one is always allowed");
    }
}
