//! Whether this node's clock can be believed: compared with what other members' clocks say.
//!
//! It decides about nothing but this node: another member's wrong clock is that member's.

use std::collections::BTreeMap;

use crate::{
    ids::MemberCode,
    limits::{CLOCK_SKEW_MAX, CLOCK_WITNESS_AGE, MEMBERS_MAX},
    time::Timestamp,
};

/// What other members' clocks said, each member's last word.
#[derive(Clone, Debug, Default)]
pub struct ClockWitnesses {
    words: BTreeMap<MemberCode, Word>,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    /// Theirs less ours, in milliseconds.
    offset: i64,
    heard: Timestamp,
}

impl ClockWitnesses {
    /// Notes what a member's clock said at `now`. The way it took is not known and counts as none.
    pub fn hear(&mut self, member: MemberCode, theirs: Timestamp, now: Timestamp) {
        self.words.retain(|_, word| is_recent(word, now));
        if self.words.len() < MEMBERS_MAX || self.words.contains_key(&member) {
            self.words.insert(member, Word { offset: offset(theirs, now), heard: now });
        }
    }

    /// The median of the members' clocks less this node's, in milliseconds; `None` with fewer than `asked`
    /// members ([`crate::membership::Membership::witnesses_asked`]) heard within [`CLOCK_WITNESS_AGE`].
    #[must_use]
    pub fn median_offset(&self, now: Timestamp, asked: usize) -> Option<i64> {
        let offsets = self.offsets(now);
        if offsets.len() < asked { None } else { median(&offsets) }
    }

    /// How many members' clocks were heard lately.
    #[must_use]
    pub fn witnesses(&self, now: Timestamp) -> usize {
        self.words.values().filter(|word| is_recent(word, now)).count()
    }

    /// Whether the clock is further than [`CLOCK_SKEW_MAX`] from the median: then this node signs no
    /// record and applies no expiry.
    #[must_use]
    pub fn is_wrong(&self, now: Timestamp, asked: usize) -> bool {
        let sides = self.sides(now);
        sides.count >= asked && !sides.is_median_near()
    }
}

impl ClockWitnesses {
    /// Whether at least `needed` members' clocks were heard lately and their median is near this node's:
    /// only then something expires. A clock that nobody has confirmed may be days off after a start.
    #[must_use]
    pub fn confirm(&self, now: Timestamp, needed: usize) -> bool {
        let sides = self.sides(now);
        sides.count >= needed && sides.is_median_near()
    }

    /// Where the recent words lie. Asked with everything that happens, so it sorts and keeps nothing.
    fn sides(&self, now: Timestamp) -> Sides {
        let mut sides = Sides::default();
        for word in self.words.values().filter(|word| is_recent(word, now)) {
            let far = u128::from(word.offset.unsigned_abs()) > CLOCK_SKEW_MAX.as_millis();
            sides.count += 1;
            sides.behind += usize::from(far && word.offset < 0);
            sides.ahead += usize::from(far && word.offset > 0);
        }
        sides
    }

    fn offsets(&self, now: Timestamp) -> Vec<i64> {
        let mut offsets: Vec<i64> =
            self.words.values().filter(|word| is_recent(word, now)).map(|word| word.offset).collect();
        offsets.sort_unstable();
        offsets
    }
}

/// The one in the middle; of two in the middle the nearer to zero, so that of two members a liar's clock alone
/// makes no other wrong.
fn median(sorted: &[i64]) -> Option<i64> {
    let lower = sorted.get(sorted.len().checked_sub(1)? / 2)?;
    let upper = sorted.get(sorted.len() / 2)?;
    Some(*[lower, upper].into_iter().min_by_key(|offset| offset.unsigned_abs())?)
}

/// How many words there are, and how many of them are further than [`CLOCK_SKEW_MAX`] behind or ahead.
#[derive(Clone, Copy, Debug, Default)]
struct Sides {
    count: usize,
    behind: usize,
    ahead: usize,
}

impl Sides {
    /// Whether the median, as [`median`] has it, is neither behind nor ahead. Of nothing it is.
    const fn is_median_near(self) -> bool {
        let (lower, upper) = (self.count.saturating_sub(1) / 2, self.count / 2);
        self.count == 0 || self.is_near(lower) || self.is_near(upper)
    }

    /// Whether the word at that place of all in their order is near.
    const fn is_near(self, at: usize) -> bool {
        at >= self.behind && at < self.count - self.ahead
    }
}

fn is_recent(word: &Word, now: Timestamp) -> bool {
    now.since(word.heard) <= CLOCK_WITNESS_AGE
}

fn offset(theirs: Timestamp, ours: Timestamp) -> i64 {
    // Both are below 2^53.
    let signed = |time: Timestamp| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    signed(theirs) - signed(ours)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn witnesses(minutes: &[i64]) -> ClockWitnesses {
        let mut witnesses = ClockWitnesses::default();
        for (member, minutes) in ["AA", "BB", "CC", "DD"].iter().zip(minutes) {
            let theirs = Timestamp::from_millis((1_800_000_000_000 + minutes * 60_000) as u64);
            witnesses.hear(MemberCode::new(member).unwrap(), theirs, NOW);
        }
        witnesses
    }

    #[test]
    fn one_liar_does_not_make_a_clock_wrong() {
        assert!(!witnesses(&[0, 1, 90_000]).is_wrong(NOW, 3));
        assert!(!witnesses(&[-90_000, 1, 0]).is_wrong(NOW, 3));
    }

    #[test]
    fn three_members_make_it_wrong_and_two_do_not() {
        assert!(witnesses(&[11, 12, 13]).is_wrong(NOW, 3));
        assert!(witnesses(&[-11, -12, -13]).is_wrong(NOW, 3));
        assert!(!witnesses(&[11, 12]).is_wrong(NOW, 3));
        assert!(!witnesses(&[10, 10, 10]).is_wrong(NOW, 3));
    }

    #[test]
    fn where_fewer_are_asked_all_of_them_must_agree_that_it_is_wrong() {
        assert!(witnesses(&[11, 12]).is_wrong(NOW, 2));
        assert!(witnesses(&[-12, -11]).is_wrong(NOW, 2));
        assert!(!witnesses(&[-90_000, 1]).is_wrong(NOW, 2), "one of two may lie");
        assert!(!witnesses(&[1, 90_000]).is_wrong(NOW, 2), "one of two may lie");
        assert!(!witnesses(&[-90_000, 90_000, 1, 2]).is_wrong(NOW, 3));
        assert!(!witnesses(&[11]).is_wrong(NOW, 2), "only one of two was heard");
        assert!(witnesses(&[11]).is_wrong(NOW, 1));
        assert_eq!(witnesses(&[]).median_offset(NOW, 0), None);
    }

    #[test]
    fn a_clock_is_confirmed_by_as_many_as_are_needed_and_near() {
        assert!(!witnesses(&[]).confirm(NOW, 1));
        assert!(witnesses(&[]).confirm(NOW, 0));
        assert!(!witnesses(&[0, 0]).confirm(NOW, 3));
        assert!(witnesses(&[0, 9, 90_000]).confirm(NOW, 3));
        assert!(!witnesses(&[11]).confirm(NOW, 1));
        let later = NOW.after(CLOCK_WITNESS_AGE).after(Duration::from_millis(1));
        assert!(!witnesses(&[0, 0, 0]).confirm(later, 1));
    }

    #[test]
    fn what_was_heard_long_ago_does_not_count() {
        let later = NOW.after(CLOCK_WITNESS_AGE).after(Duration::from_millis(1));
        assert!(witnesses(&[11, 12, 13]).is_wrong(NOW.after(CLOCK_WITNESS_AGE), 3));
        assert!(!witnesses(&[11, 12, 13]).is_wrong(later, 3));
    }
}
