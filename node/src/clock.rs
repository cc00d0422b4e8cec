//! The only source of time: wall-anchored, and never backwards within a run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use refpoint_protocol::time::Timestamp;

/// Gives the time to everything else.
///
/// The wall clock is read once, at the start; from there on the monotonic clock counts. A wall clock that
/// is set while the node runs is noticed by [`Clock::wall_offset`] and changes nothing here.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Timestamp,
    started: Instant,
}

impl Clock {
    /// Starts at the wall clock's time, shifted by `shift` milliseconds: zero but in tests of wrong clocks.
    #[must_use]
    pub fn start(shift_millis: i64) -> Self {
        let millis = wall_millis().saturating_add_signed(shift_millis);
        Self { anchor: Timestamp::from_millis(millis), started: Instant::now() }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.anchor.after(self.started.elapsed())
    }

    /// How long until `deadline`, zero if it has passed.
    #[must_use]
    pub fn until(&self, deadline: Timestamp) -> Duration {
        deadline.since(self.now())
    }

    /// Milliseconds by which the wall clock has moved away from this clock since the start.
    #[must_use]
    pub fn wall_offset(&self) -> i64 {
        let (wall, now) = (wall_millis(), self.now().as_millis());
        i64::try_from(wall).unwrap_or(i64::MAX).saturating_sub(i64::try_from(now).unwrap_or(i64::MAX))
    }
}

/// Milliseconds since the epoch; a clock set before 1970 counts as the epoch.
fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
