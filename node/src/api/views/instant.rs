//! Instants as people and other programs read them.

use std::{fmt, str::FromStr};

use refpoint_protocol::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant, in JSON an RFC 3339 text in UTC with milliseconds: `2026-11-24T03:02:11.000Z`.
///
/// It is as exact as a [`Timestamp`]. One past the year 9999, which only a forged document holds, is shown as
/// the last instant that the calendar can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Timestamp);

/// Why a text is not an instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a date and time such as 2026-11-25T06:00Z, with the zone at the end")]
pub struct InstantError(String);

impl Instant {
    /// The protocol's form.
    #[must_use]
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }

    /// The calendar's form.
    #[must_use]
    pub fn calendar(self) -> jiff::Timestamp {
        let millis = i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX)
    }

    /// Whole seconds from this instant to `now`, zero if it lies in the future.
    #[must_use]
    pub fn age_seconds(self, now: Self) -> u64 {
        now.0.since(self.0).as_secs()
    }
}

impl From<Timestamp> for Instant {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp)
    }
}

impl From<jiff::Timestamp> for Instant {
    /// Takes a calendar instant; one before 1970 counts as the epoch.
    fn from(calendar: jiff::Timestamp) -> Self {
        Self(Timestamp::from_millis(u64::try_from(calendar.as_millisecond()).unwrap_or(0)))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.calendar())
    }
}

impl FromStr for Instant {
    type Err = InstantError;

    fn from_str(text: &str) -> Result<Self, InstantError> {
        let parsed = text.parse::<jiff::Timestamp>();
        parsed.map(Self::from).map_err(|_| InstantError(text.to_owned()))
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_instant_is_a_utc_text_and_comes_back_to_the_millisecond() {
        let instant = Instant::from(Timestamp::from_millis(1_795_489_331_007));
        assert_eq!(serde_json::to_string(&instant).unwrap(), "\"2026-11-24T03:02:11.007Z\"");
        assert_eq!(instant.to_string().parse(), Ok(instant));
        assert_eq!("2026-11-24T03:02Z".parse::<Instant>().unwrap().to_string(), "2026-11-24T03:02:00.000Z");
    }

    #[test]
    fn the_last_instant_of_the_wire_can_be_shown() {
        assert!(Instant::from(Timestamp::MAX).to_string().starts_with("9999-12-30"));
    }

    #[test]
    fn what_is_no_instant_is_refused_with_an_example() {
        for text in ["", "tomorrow", "2026-11-24", "2026-13-24T00:00Z"] {
            assert!(text.parse::<Instant>().unwrap_err().to_string().contains("2026-11-25T06:00Z"), "{text}");
        }
    }
}
