//! Checks that directory texts share: what a terminal, a log and a browser can show without harm.
//!
//! Right-to-left text and its marks are fine: names are shown in the script of their country.

use crate::{
    document::FormError,
    limits::{ADDRESS_BYTES_MAX, LANGUAGE_BYTES_MAX},
};

/// Refuses an empty text, one beyond `max` bytes, one with control characters, and one that opens
/// with U+FEFF, which some decoders strip and others keep.
pub(super) fn check_text(rule: &'static str, field: &str, text: &str, max: usize) -> Result<(), FormError> {
    if text.is_empty() || text.len() > max {
        return broken(rule, format!("{field}: {} bytes, expected 1 to {max}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return broken(rule, format!("{field}: a control character"));
    }
    if text.starts_with('\u{FEFF}') {
        return broken(rule, format!("{field}: begins with U+FEFF"));
    }
    Ok(())
}

/// Refuses what has not the form of a BCP 47 code: subtags of 1 to 8 letters and digits joined by hyphens.
pub(super) fn check_language(rule: &'static str, field: &str, code: &str) -> Result<(), FormError> {
    let subtag =
        |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    if code.len() > LANGUAGE_BYTES_MAX || !code.split('-').all(subtag) {
        return broken(rule, format!("{field}: not a BCP 47 language code"));
    }
    Ok(())
}

/// Refuses what is not `host:port`: a DNS name, an IPv4 address or an IPv6 address in brackets, and a
/// port from 1.
pub(super) fn check_address(rule: &'static str, address: &str) -> Result<(), FormError> {
    if address.len() > ADDRESS_BYTES_MAX {
        return broken(rule, format!("address: {} bytes, at most {ADDRESS_BYTES_MAX}", address.len()));
    }
    let valid = address.rsplit_once(':').is_some_and(|(host, port)| is_port(port) && is_host(host));
    if valid { Ok(()) } else { broken(rule, format!("address {address:?}: expected host:port")) }
}

/// Refuses more than `max` entries.
pub(super) fn check_count(
    rule: &'static str,
    field: &str,
    count: usize,
    max: usize,
) -> Result<(), FormError> {
    if count > max { broken(rule, format!("{field}: {count} entries, at most {max}")) } else { Ok(()) }
}

/// A broken rule.
pub(super) const fn broken<T>(rule: &'static str, what: String) -> Result<T, FormError> {
    Err(FormError { rule, what })
}

fn is_port(text: &str) -> bool {
    // The digits alone: `parse` also takes a plus sign and leading zeros.
    !text.starts_with('0')
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    if text.parse::<std::net::Ipv4Addr>().is_ok() {
        return true;
    }
    let label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits alone would be a mistyped IPv4 address.
    let top = text.rsplit('.').next().unwrap_or_default();
    text.len() <= HOST_BYTES_MAX && text.split('.').all(label) && !top.bytes().all(|b| b.is_ascii_digit())
}

/// Bytes of a DNS label (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Bytes of a DNS name in text form (RFC 1035, section 2.3.4, less the root's dot and length).
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        let good = ["node.sg.example:4001", "127.0.0.1:1", "[::1]:65535", "localhost:80", "a_b.example:9"];
        for address in good {
            assert_eq!(check_address("NR-02", address), Ok(()), "{address}");
        }
        let long = format!("{}:1", "a.".repeat(130));
        let bad = [
            "",
            ":1",
            "host",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "host:01",
            "::1:80",
            "[::1]",
            "[x]:1",
            "-a.b:1",
            "a..b:1",
            "a b:1",
            "1.2.3:4",
            "256.1.1.1:4",
            "a/b:1",
            "user@host:1",
            long.as_str(),
        ];
        for address in bad {
            assert!(check_address("NR-02", address).is_err(), "{address}");
        }
    }

    #[test]
    fn texts_may_be_right_to_left_and_not_control_a_terminal() {
        for good in ["وحدة الجرائم", "\u{200F}abc", "Unité", "a"] {
            assert_eq!(check_text("RP-03", "name", good, 64), Ok(()), "{good}");
        }
        for bad in ["", "a\u{1B}[2J", "a\nb", "\u{FEFF}a", "\u{85}", &"a".repeat(65)] {
            assert!(check_text("RP-03", "name", bad, 64).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn languages_have_the_form_of_bcp_47() {
        for good in ["en", "zh-Hant-TW", "x-test"] {
            assert_eq!(check_language("RP-04", "languages", good), Ok(()), "{good}");
        }
        for bad in ["", "en_GB", "en-", "-", "abcdefghi", "é"] {
            assert!(check_language("RP-04", "languages", bad).is_err(), "{bad}");
        }
    }
}
