//! Text armor: how ceremony files (requests, drafts, signed charters, `federation.join`) travel by e-mail.
//!
//! A file is one block between `-----BEGIN REFPOINT <LABEL>-----` and its `END` line: base64 in lines of 64
//! characters, then a line `=` with a checksum. Text around the block is ignored, since mail programs add
//! some. It refuses files beyond a bound, other labels, a second block, and anything that was damaged on the
//! way; it believes nothing of what is inside.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::text_file::without_mark;

/// What a block holds; the label stands in its first and last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// A unit's self-signed joining request: one envelope.
    JoiningRequest,
    /// A charter with the requests that it was made from: unsigned, partly or fully signed.
    CharterDraft,
    /// A later charter version with those that it builds on, unsigned.
    CharterProposal,
    /// A charter signed by one member, or by some.
    SignedCharter,
    /// A complete charter with the hints that a member needs to join.
    Federation,
    /// Charter versions and key sets, to be imported on anybody's behalf.
    SignedDocuments,
}

impl Label {
    /// Every label.
    pub const ALL: [Self; 6] = [
        Self::JoiningRequest,
        Self::CharterDraft,
        Self::CharterProposal,
        Self::SignedCharter,
        Self::Federation,
        Self::SignedDocuments,
    ];

    /// The text after `BEGIN REFPOINT`.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::JoiningRequest => "JOINING REQUEST",
            Self::CharterDraft => "CHARTER DRAFT",
            Self::CharterProposal => "CHARTER PROPOSAL",
            Self::SignedCharter => "SIGNED CHARTER",
            Self::Federation => "FEDERATION",
            Self::SignedDocuments => "SIGNED DOCUMENTS",
        }
    }

    /// The bytes that a block of this label may hold.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::JoiningRequest => REQUEST_BYTES_MAX,
            Self::CharterDraft
            | Self::CharterProposal
            | Self::SignedCharter
            | Self::Federation
            | Self::SignedDocuments => CEREMONY_BYTES_MAX,
        }
    }
}

/// Why a text holds no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArmorError {
    /// The text is larger than any ceremony file.
    #[error("it has {got} bytes, at most {max} are allowed")]
    TooLong {
        /// The bound.
        max: usize,
        /// What came.
        got: usize,
    },
    /// There is no first line of a block.
    #[error("there is no line '-----BEGIN REFPOINT …-----' in it")]
    NoBegin,
    /// There is no last line of the block.
    #[error("the line '-----END REFPOINT {0}-----' is missing: the file is cut short")]
    NoEnd(&'static str),
    /// The label is none that this program knows.
    #[error("it holds a {0:?}, which this program does not know")]
    UnknownLabel(String),
    /// A second block follows.
    #[error("it holds more than one block")]
    Several,
    /// A character is not base64.
    #[error("its text is damaged: not base64")]
    Base64,
    /// The checksum is missing or does not match: damage on the way, not yet a question of signatures.
    #[error("its checksum does not match: it was damaged or edited on the way")]
    Checksum,
}

/// Wraps bytes in a block; `comment` lines stand before it, for people.
#[must_use]
pub fn armor(label: Label, comment: &[String], bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3 / 2 + 256);
    for line in comment {
        text.push_str("# ");
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(&format!("{BEGIN}{}{DASHES}\n", label.text()));
    let mut column = 0;
    for character in STANDARD.encode(bytes).chars() {
        text.push(character);
        column += 1;
        if column == LINE_CHARACTERS {
            text.push('\n');
            column = 0;
        }
    }
    if column > 0 {
        text.push('\n');
    }
    text.push_str(&format!("={}\n{END}{}{DASHES}\n", checksum(bytes), label.text()));
    text
}

/// Finds the one block in a text.
///
/// # Errors
/// [`ArmorError`]; nothing inside the block is believed yet.
pub fn dearmor(text: &str) -> Result<(Label, Vec<u8>), ArmorError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(ArmorError::TooLong { max: FILE_BYTES_MAX, got: text.len() });
    }
    let mut lines = without_mark(text).lines().map(str::trim);
    let name = lines
        .by_ref()
        .find_map(|line| line.strip_prefix(BEGIN)?.strip_suffix(DASHES))
        .ok_or(ArmorError::NoBegin)?;
    let label = Label::ALL
        .into_iter()
        .find(|label| label.text() == name)
        .ok_or_else(|| ArmorError::UnknownLabel(name.chars().take(LINE_CHARACTERS).collect()))?;
    let end = format!("{END}{}{DASHES}", label.text());
    let (mut encoded, mut sum, mut ended) = (String::new(), None, false);
    for line in lines.by_ref() {
        if line == end {
            ended = true;
            break;
        }
        match line.strip_prefix('=') {
            Some(rest) => sum = Some(rest.to_owned()),
            None if sum.is_none() => encoded.push_str(line),
            None => return Err(ArmorError::Checksum),
        }
    }
    if !ended {
        return Err(ArmorError::NoEnd(label.text()));
    }
    if lines.any(|line| line.starts_with(BEGIN)) {
        return Err(ArmorError::Several);
    }
    let bytes = STANDARD.decode(encoded.as_bytes()).map_err(|_| ArmorError::Base64)?;
    if bytes.len() > label.bytes_max() {
        return Err(ArmorError::TooLong { max: label.bytes_max(), got: bytes.len() });
    }
    if sum.as_deref() == Some(checksum(&bytes).as_str()) {
        Ok((label, bytes))
    } else {
        Err(ArmorError::Checksum)
    }
}

/// The first six bytes of SHA-256, in base64: enough against accidents; signatures are for the rest.
fn checksum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    STANDARD.encode(digest.get(..6).unwrap_or_default())
}

/// Bytes of any ceremony file as text: [`CEREMONY_BYTES_MAX`] in base64 with line ends, and a mail around it.
pub const FILE_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Bytes of a joining request: its fields need about 500, eight addresses of 255 characters 2,100.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a charter with its requests and all versions before it: one of 196 members has about 45 KiB, so that
/// there is room for some 170 versions.
pub const CEREMONY_BYTES_MAX: usize = 8 * 1024 * 1024;

const BEGIN: &str = "-----BEGIN REFPOINT ";
const END: &str = "-----END REFPOINT ";
const DASHES: &str = "-----";
/// The line length of PEM (RFC 7468), which no mail program breaks.
const LINE_CHARACTERS: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_block_survives_what_mail_programs_do() {
        for length in [0, 1, 47, 48, 49, 1000] {
            let bytes = vec![0xA7; length];
            let text = armor(Label::CharterDraft, &["for people".to_owned()], &bytes);
            let mailed = format!("Dear colleague,\r\n\r\n{}\r\nRegards\r\n", text.replace('\n', " \r\n"));
            assert_eq!(dearmor(&mailed), Ok((Label::CharterDraft, bytes.clone())));
            let windows =
                format!("\u{feff}{}", armor(Label::CharterDraft, &[], &bytes).replace('\n', "\r\n"));
            assert_eq!(dearmor(&windows), Ok((Label::CharterDraft, bytes)));
        }
    }

    #[test]
    fn every_changed_character_of_the_block_is_refused() {
        let text = armor(Label::JoiningRequest, &[], &[7; 100]);
        let damaged = |index: usize| {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        };
        for index in 0..text.trim_end().len() {
            let result = dearmor(&damaged(index));
            // A line end turned into a letter may only join lines that do not matter.
            assert!(result.is_err(), "byte {index} changed and accepted: {result:?}");
        }
    }

    #[test]
    fn garbage_is_named() {
        assert_eq!(dearmor(""), Err(ArmorError::NoBegin));
        assert_eq!(dearmor("nonsense"), Err(ArmorError::NoBegin));
        let text = armor(Label::Federation, &[], &[1; 90]);
        let cut: String = text.chars().take(text.len() / 2).collect();
        assert_eq!(dearmor(&cut), Err(ArmorError::NoEnd("FEDERATION")));
        assert_eq!(dearmor(&text.repeat(2)), Err(ArmorError::Several));
        assert_eq!(
            dearmor(&text.replace("FEDERATION", "LICENCE")),
            Err(ArmorError::UnknownLabel("LICENCE".to_owned()))
        );
        let long = armor(Label::JoiningRequest, &[], &vec![0; REQUEST_BYTES_MAX + 1]);
        assert!(matches!(dearmor(&long), Err(ArmorError::TooLong { max: REQUEST_BYTES_MAX, .. })));
        assert!(matches!(dearmor(&"x".repeat(FILE_BYTES_MAX + 1)), Err(ArmorError::TooLong { .. })));
    }
}
