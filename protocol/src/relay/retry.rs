//! When to try again: exponential back-off with full jitter, and the one table of timers.

use std::{collections::BTreeSet, time::Duration};

use rand_core::Rng;

use super::{exchange::WakeReason, rows::CustodyKey};
use crate::{
    ids::{MessageId, NodeKey},
    limits::{RECEIPT_WAIT, RETRY_FIRST, RETRY_MAX, SLOWEST_LINK_BYTES_PER_SECOND},
    time::Timestamp,
};

/// What is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A parcel was not answered, or its back-off ends.
    Retry(MessageId, NodeKey),
    /// It is time to see whether a parcel needs custodians.
    Custody(MessageId, NodeKey),
    /// What is kept for a node is offered again.
    Offer(NodeKey),
    /// A parcel out of custody was not answered, or its back-off ends.
    HandOver(CustodyKey),
    /// An answer that was passed back was not echoed.
    PassBack(NodeKey),
    /// A parcel in custody expires.
    CustodyExpires(CustodyKey),
    /// The answer to a parcel in custody need not be kept any longer.
    ForgetAnswer(CustodyKey),
    /// A message expires.
    Expire(MessageId),
    /// An acknowledged message's content need not be kept any longer.
    DropContent(MessageId),
    /// A sent message's row need not be kept any longer.
    ForgetSent(MessageId),
    /// A received id, and what is kept under it, need not be kept any longer.
    ForgetReceived(MessageId),
    /// An opened message has waited long enough for its signer's key set.
    DropHeld(MessageId),
}

impl Timer {
    const fn reason(self) -> WakeReason {
        match self {
            Self::Retry(..) | Self::Custody(..) | Self::Offer(_) | Self::HandOver(_) | Self::PassBack(_) => {
                WakeReason::Retry
            }
            Self::Expire(_) | Self::CustodyExpires(_) => WakeReason::Expiry,
            Self::DropContent(_)
            | Self::ForgetSent(_)
            | Self::ForgetReceived(_)
            | Self::ForgetAnswer(_)
            | Self::DropHeld(_) => WakeReason::Cleanup,
        }
    }
}

/// All timers, by time. Each owner has at most one of a kind for a message (and node), so the table is bounded
/// by what the owners hold.
#[derive(Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Timestamp, Timer)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.by_time.insert((at, timer));
    }

    pub(super) fn clear(&mut self, at: Timestamp, timer: Timer) {
        self.by_time.remove(&(at, timer));
    }

    pub(super) fn next(&self) -> Option<(Timestamp, WakeReason)> {
        self.by_time.first().map(|(at, timer)| (*at, timer.reason()))
    }

    /// Takes the first timer that is due.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, Timer)> {
        let due = *self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&due);
        Some(due)
    }
}

/// How long to wait before the next attempt: uniform between [`PAUSE_MIN`] and a bound that doubles with each
/// attempt from [`RETRY_FIRST`] to [`RETRY_MAX`] (full jitter).
pub(super) fn pause(attempts: u32, rng: &mut impl Rng) -> Duration {
    let bound = u64::try_from(doubled(RETRY_FIRST, attempts, RETRY_MAX).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(rng.next_u64() % (bound + 1)).max(PAUSE_MIN)
}

/// A time that doubled so many times, up to a bound.
pub(super) fn doubled(first: Duration, times: u32, bound: Duration) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(bound)
}

/// How long a parcel of so many bytes may stay unanswered.
pub(super) fn receipt_wait(bytes: usize) -> Duration {
    RECEIPT_WAIT + Duration::from_secs((bytes / SLOWEST_LINK_BYTES_PER_SECOND) as u64)
}

/// The shortest pause: a peer that refuses at once is not asked in a tight loop.
const PAUSE_MIN: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn pauses_grow_to_minutes_and_are_spread() {
        let mut rng = ChaCha8Rng::from_seed([1; 32]);
        for (attempts, bound) in [(0, 2), (1, 4), (5, 64), (8, 300), (60, 300)] {
            let pauses: Vec<_> = (0..500).map(|_| pause(attempts, &mut rng)).collect();
            assert!(pauses.iter().all(|p| *p >= PAUSE_MIN && *p <= Duration::from_secs(bound)), "{attempts}");
            let half = Duration::from_secs(bound) / 2;
            let low = pauses.iter().filter(|p| **p < half).count();
            assert!((150..350).contains(&low), "{attempts}: {low} of 500 below the half");
        }
    }

    #[test]
    fn timers_come_in_order_and_only_when_due() {
        let mut timers = Timers::default();
        let (one, two) =
            (Timer::Expire(MessageId::from_bytes([1; 32])), Timer::DropHeld(MessageId::from_bytes([2; 32])));
        let at = Timestamp::from_millis;
        timers.set(at(20), two);
        timers.set(at(10), one);
        assert_eq!(timers.next(), Some((at(10), WakeReason::Expiry)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(30)), Some((at(10), one)));
        timers.clear(at(20), two);
        assert_eq!((timers.next(), timers.pop_due(Timestamp::MAX)), (None, None));
    }

    #[test]
    fn large_parcels_may_take_longer() {
        assert_eq!(receipt_wait(1_000), RECEIPT_WAIT);
        assert_eq!(receipt_wait(1024 * 1024), RECEIPT_WAIT + Duration::from_secs(128));
    }
}
