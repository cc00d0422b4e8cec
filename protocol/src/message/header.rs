//! A message's signed header: what is bound, and nothing of what is said.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    crypto::{PADDED_BYTES_MAX, TAG_BYTES, is_bucket},
    document::{FormError, Kind, Payload},
    ids::{ContentHash, MemberCode},
    limits::{EXPIRY_MAX, MESSAGE_HEADER_BYTES_MAX, RECIPIENTS_MAX},
    relay::parcel::Class,
    time::Timestamp,
};

/// The signed header. Its document id is the message's id.
///
/// The sender stands among the recipients only where the body is a statement: then its sibling nodes
/// get a copy. The header does not tell, so this is checked when the parcel is opened (MB-08).
///
/// It names ciphertext hash, nonce and key commitment, so that no two recipients can be shown
/// different texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageHeader {
    /// The sending member; the signing node key is one of its nodes'.
    pub sender: MemberCode,
    /// The members that it is for, sorted, each once.
    pub recipients: Vec<MemberCode>,
    /// How urgent it is.
    pub precedence: Precedence,
    /// When it was made.
    pub created: Timestamp,
    /// When the sender stops waiting.
    pub expires: Timestamp,
    /// SHA-256 of the ciphertext.
    pub ciphertext: ContentHash,
    /// Bytes of the ciphertext.
    pub length: u64,
    /// Commitment to the content key: the second half of HKDF(content key).
    pub commitment: ContentHash,
    /// The XChaCha20-Poly1305 nonce.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 24],
}

impl Payload for MessageHeader {
    const KIND: Kind = Kind::Message;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = MESSAGE_HEADER_BYTES_MAX;

    fn check_form(&self) -> Result<(), FormError> {
        let broken = |rule, what| Err(FormError { rule, what });
        let count = self.recipients.len();
        if count == 0 || count > RECIPIENTS_MAX {
            return broken("MS-01", format!("{count} recipients, 1 to {RECIPIENTS_MAX} are allowed"));
        }
        if !self.recipients.is_sorted_by(|one, next| one < next) {
            return broken("MS-02", "recipients out of order or doubled".into());
        }
        if self.expires <= self.created || self.expires > self.created.after(EXPIRY_MAX) {
            let lifetime = self.expires.since(self.created).as_secs();
            return broken("MS-03", format!("a lifetime of {lifetime} s, at most fourteen days are allowed"));
        }
        let padded = usize::try_from(self.length).ok().and_then(|length| length.checked_sub(TAG_BYTES));
        if !padded.is_some_and(|size| size <= PADDED_BYTES_MAX && is_bucket(size)) {
            return broken("MS-04", format!("a ciphertext of {} bytes is no padded body", self.length));
        }
        Ok(())
    }
}

/// Precedence, with the handling times of ACP 121: flash within 10 minutes, immediate within 30,
/// priority within 3 hours, routine within 6. Ordered: flash is greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precedence {
    /// Within six hours.
    Routine,
    /// Within three hours.
    Priority,
    /// Within thirty minutes.
    Immediate,
    /// Within ten minutes.
    Flash,
}

impl Precedence {
    /// All, most urgent first.
    pub const ALL: [Self; 4] = [Self::Flash, Self::Immediate, Self::Priority, Self::Routine];

    /// The word on the wire and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::Priority => "priority",
            Self::Immediate => "immediate",
            Self::Flash => "flash",
        }
    }

    /// Whether its parcels travel in the urgent class.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        self >= Self::Immediate
    }

    /// The class of its parcels: all that a custodian learns of the precedence.
    #[must_use]
    pub fn class(self) -> Class {
        if self.is_urgent() { Class::Urgent } else { Class::Normal }
    }
}

impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn header() -> MessageHeader {
        MessageHeader {
            sender: "BR".parse().unwrap(),
            recipients: vec!["KE".parse().unwrap(), "X-LO".parse().unwrap()],
            precedence: Precedence::Flash,
            created: Timestamp::from_millis(1_000),
            expires: Timestamp::from_millis(1_001),
            ciphertext: ContentHash::from_bytes([1; 32]),
            length: 528,
            commitment: ContentHash::from_bytes([2; 32]),
            nonce: [3; 24],
        }
    }

    fn rule(change: impl Fn(&mut MessageHeader)) -> Option<&'static str> {
        let mut header = header();
        change(&mut header);
        header.check_form().err().map(|error| error.rule)
    }

    #[test]
    fn recipients_are_few_sorted_and_named_once() {
        assert_eq!(rule(|_| ()), None);
        assert_eq!(rule(|h| h.recipients.clear()), Some("MS-01"));
        let many = |n: u8| (0..n).map(|i| format!("A{}", char::from(b'A' + i)).parse().unwrap());
        assert_eq!(rule(|h| h.recipients = many(26).collect()), None);
        let bureaus = |n: usize| (0..n).map(|i| format!("X-{i:02}").parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(rule(|h| h.recipients = bureaus(32)), None);
        assert_eq!(rule(|h| h.recipients = bureaus(33)), Some("MS-01"));
        assert_eq!(rule(|h| h.recipients.reverse()), Some("MS-02"));
        assert_eq!(rule(|h| h.recipients[1] = h.recipients[0].clone()), Some("MS-02"));
    }

    #[test]
    fn lifetimes_are_positive_and_bounded() {
        assert_eq!(rule(|h| h.expires = h.created), Some("MS-03"));
        assert_eq!(rule(|h| h.expires = Timestamp::default()), Some("MS-03"));
        assert_eq!(rule(|h| h.expires = h.created.after(EXPIRY_MAX)), None);
        assert_eq!(
            rule(|h| h.expires = Timestamp::from_millis(h.created.after(EXPIRY_MAX).as_millis() + 1)),
            Some("MS-03")
        );
        assert_eq!(rule(|h| h.created = Timestamp::MAX), Some("MS-03"));
    }

    #[test]
    fn lengths_are_those_of_padded_bodies() {
        for bad in [0, 15, 16, 512, 529, 16 + 4_097, PADDED_BYTES_MAX as u64 * 2 + 16, u64::MAX] {
            assert_eq!(rule(|h| h.length = bad), Some("MS-04"), "{bad}");
        }
        assert_eq!(rule(|h| h.length = PADDED_BYTES_MAX as u64 + 16), None);
    }
}
