//! Ages, sizes and durations as people write and read them.

use std::time::Duration;

use refpoint_protocol::ids::MemberCode;

pub(super) use crate::plural::count;
use crate::{
    api::views::{instant::Instant, names::MemberNames},
    clock::Clock,
};

/// The time now, by this machine's clock.
pub(super) fn now() -> Instant {
    Clock::start(0).now().into()
}

/// A duration in its two largest units: `12 d 3 h`, `4 min 29 s`.
pub(super) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// An instant without its milliseconds: `2026-11-24T03:02:11Z`.
pub(super) fn instant(instant: Instant) -> String {
    format!("{:.0}", instant.calendar())
}

/// A member by code and English name: `KE (Kenya)`; a bureau by its code.
pub(super) fn member(code: &MemberCode) -> String {
    let name = MemberNames::of(code).en;
    if name == code.as_str() { name } else { format!("{code} ({name})") }
}

/// A size in bytes, kB, MB or GB.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// Reads a duration: a whole number and `s`, `m`, `h` or `d`.
///
/// # Errors
/// What is wrong, for clap to show.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 60s, 30m, 72h or 14d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// Reads a point in time: RFC 3339 with a zone, or `+` and a duration from `now`.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn parse_moment(text: &str, now: Instant) -> Result<Instant, String> {
    match text.strip_prefix('+') {
        Some(duration) => Ok(now.timestamp().after(parse_duration(duration)?).into()),
        None => text.parse().map_err(|error| format!("{error}; or +8h from now")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown_in_units() {
        assert_eq!(parse_duration("72h"), Ok(Duration::from_secs(259_200)));
        for bad in ["", "h", "72", "-1h", "1.5h", "1w", "99999999999999999999d", "5 h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        let shown = [59, 269, 7_320, 1_047_600].map(duration);
        assert_eq!(shown, ["59 s", "4 min 29 s", "2 h 2 min", "12 d 3 h"]);
    }

    #[test]
    fn one_thing_is_no_things() {
        assert_eq!([0, 1, 2].map(|number| count(number, "check")), ["0 checks", "1 check", "2 checks"]);
    }

    #[test]
    fn a_member_is_shown_by_code_and_name() {
        let [country, bureau] = ["KE", "X-LO"].map(|code| member(&code.parse().unwrap()));
        assert_eq!((country.as_str(), bureau.as_str()), ("KE (Kenya)", "X-LO"));
    }

    #[test]
    fn a_moment_is_absolute_or_from_now() {
        let now: Instant = "2026-11-24T22:00:00Z".parse().unwrap();
        assert_eq!(parse_moment("+8h", now).unwrap().to_string(), "2026-11-25T06:00:00.000Z");
        assert_eq!(parse_moment("2026-11-25T06:00Z", now).unwrap().to_string(), "2026-11-25T06:00:00.000Z");
        assert!(parse_moment("tomorrow", now).unwrap_err().contains("+8h"));
    }
}
