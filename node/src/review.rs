//! When a person is to be told that the key set should be looked at again: 60, 30 and 7 days before, and past it.
//!
//! One place for `status`, `doctor`, `keys status`, the log and the figures. Nothing ends on that date: it only tells.

use std::time::Duration;

use refpoint_protocol::time::Timestamp;

/// How near a review date is, the nearer the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// More than 60 days away: nothing to tell.
    Far,
    /// At most 60 days: two months in which to bring the root key's owners together.
    Within60Days,
    /// At most 30 days: time to see that the medium and its passphrase are there.
    Within30Days,
    /// At most seven days: from here on it counts against the node's health.
    Within7Days,
    /// Past it. What is overdue stays valid.
    Overdue,
}

impl Stage {
    /// How near `review` is at `now`.
    #[must_use]
    pub fn of(review: Timestamp, now: Timestamp) -> Self {
        let left = review.since(now);
        if review <= now {
            Self::Overdue
        } else if left <= days(7) {
            Self::Within7Days
        } else if left <= days(30) {
            Self::Within30Days
        } else if left <= days(60) {
            Self::Within60Days
        } else {
            Self::Far
        }
    }

    /// For the figures: 0 is far, 4 is overdue.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::Far => 0,
            Self::Within60Days => 1,
            Self::Within30Days => 2,
            Self::Within7Days => 3,
            Self::Overdue => 4,
        }
    }

    /// The days of this stage's warning, if it has some.
    #[must_use]
    pub const fn warned(self) -> Option<u64> {
        match self {
            Self::Within60Days => Some(60),
            Self::Within30Days => Some(30),
            Self::Within7Days => Some(7),
            Self::Far | Self::Overdue => None,
        }
    }
}

/// What the log was last told of a review date, kept over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Told {
    /// Of which date.
    pub review: Timestamp,
    /// How near it was.
    pub stage: Stage,
    /// When.
    pub at: Timestamp,
}

/// Whether the log is to be told now: when a stage begins, from seven days on daily, and never twice within a day.
#[must_use]
pub fn is_due(review: Timestamp, told: Option<Told>, now: Timestamp) -> bool {
    let stage = Stage::of(review, now);
    let Some(told) = told else { return stage > Stage::Far };
    let begins = stage > told.stage || review != told.review;
    let is_rested = now.since(told.at) >= days(1);
    stage > Stage::Far && is_rested && (begins || stage >= Stage::Within7Days)
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn review() -> Timestamp {
        Timestamp::from_millis(0).after(days(400))
    }

    #[test]
    fn each_stage_begins_on_its_day() {
        let a_moment = Duration::from_millis(1);
        for (left, stage, before) in [
            (60, Stage::Within60Days, Stage::Far),
            (30, Stage::Within30Days, Stage::Within60Days),
            (7, Stage::Within7Days, Stage::Within30Days),
            (0, Stage::Overdue, Stage::Within7Days),
        ] {
            let begins = review().before(days(left));
            assert_eq!(Stage::of(review(), begins), stage);
            assert_eq!(Stage::of(review(), begins.before(a_moment)), before);
            assert!(stage > before && stage.number() > before.number());
        }
        assert_eq!(Stage::of(review(), review().after(days(1_000))), Stage::Overdue);
    }

    /// Asks every hour of 100 days around the date, with a restart at each: what was told is kept.
    #[test]
    fn the_log_is_told_at_60_30_and_7_days_then_daily_and_never_twice_a_day() {
        let mut told: Option<Told> = None;
        let mut lines = Vec::new();
        let start = review().before(days(90));
        for hour in 0..100 * 24_u32 {
            let now = start.after(HOUR * hour);
            if is_due(review(), told, now) {
                told = Some(Told { review: review(), stage: Stage::of(review(), now), at: now });
                lines.push(hour / 24);
            }
        }
        assert_eq!(lines.get(..3), Some([30, 60, 83].as_slice()));
        assert_eq!(lines.get(3..), Some((84..100).collect::<Vec<_>>().as_slice()));
    }

    #[test]
    fn a_new_key_set_has_a_date_of_its_own() {
        let now = review().before(days(3));
        let told = Some(Told { review: review(), stage: Stage::Within7Days, at: now.before(days(2)) });
        assert!(!is_due(now.after(days(400)), told, now));
        // One that was signed with a near date is told, and not within a day of the last word.
        assert!(is_due(now.after(days(50)), told, now));
        let just_now = told.map(|told| Told { at: now.before(HOUR), ..told });
        assert!(!is_due(now.after(days(50)), just_now, now));
    }
}
