//! Text as people's editors save it: a byte order mark may lead, and lines may end in Windows' two bytes.
//!
//! It takes the mark away and nothing else: TOML, armored blocks and messages read both kinds of line ends.

/// The text without a leading byte order mark, which some editors write and nobody sees.
#[must_use]
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// U+FEFF (RFC 3629, section 6).
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leading_mark_is_taken_away() {
        assert_eq!(without_mark("\u{feff}member"), "member");
        assert_eq!(without_mark("mem\u{feff}ber"), "mem\u{feff}ber");
        assert_eq!(without_mark(""), "");
    }
}
