//! A node's clock: read once at its start, then counted on, so that it is wrong by the same for a whole run.

use refpoint_protocol::time::Timestamp;

/// Milliseconds by which the clock of a run is ahead of the true time; negative if it is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock(pub(crate) i64);

impl Clock {
    /// What it shows at a true time.
    pub(crate) fn at(self, millis: u64) -> Timestamp {
        Timestamp::from_millis(millis.saturating_add_signed(self.0))
    }

    /// When it shows a time.
    pub(crate) fn shows(self, time: Timestamp) -> u64 {
        time.as_millis().saturating_add_signed(-self.0)
    }
}
