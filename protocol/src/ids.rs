//! Identifiers and the other small values that must never be mixed up.
//!
//! Byte-string identifiers are made alike by one macro; integers by another. On the wire a byte
//! identifier is a CBOR byte string, an integer a CBOR unsigned integer, a member code a text.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not the identifier it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text has another length than the identifier.
    #[error("expected {expected} hexadecimal digits, got {got}")]
    Length {
        /// Digits expected.
        expected: usize,
        /// Characters found.
        got: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("not a hexadecimal digit in {0:?}")]
    Digit(String),
    /// The text is neither a two-letter country code nor a bureau's `X-NAME`.
    #[error("{0:?} is not a member code: two capital letters, or X- and up to 16 of A-Z, 0-9 and -")]
    MemberCode(String),
}

/// Defines 32-byte identifiers: one shape, distinct types.
macro_rules! id_type {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; 32]);

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                compare(&self.0, &other.0)
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// Wraps the 32 bytes; it says nothing about where they came from.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits, for people and logs.
            #[must_use]
            pub fn short(&self) -> String {
                let mut text = format!("{self}");
                text.truncate(8);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                bytes_from_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(de::Error::custom)
                } else {
                    <serde_bytes::ByteArray<32>>::deserialize(deserializer).map(|b| Self(b.into_array()))
                }
            }
        }
    )*};
}

/// Defines counting integers: one shape, distinct types.
macro_rules! count_type {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The one after, or `None` past the wire's integers (2^53 − 1).
            #[must_use]
            pub fn next(self) -> Option<Self> {
                (self.0 < crate::limits::INTEGER_MAX).then(|| Self(self.0 + 1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

id_type! {
    /// SHA-256 of what is signed: the name of any document.
    DocumentId;
    /// The document id of a charter version.
    CharterId;
    /// The document id of a charter's first version, which names the federation.
    FederationId;
    /// The document id of a key set.
    KeySetId;
    /// The document id of a chain header.
    HeaderId;
    /// The document id of a head.
    HeadId;
    /// The document id of a message's signed header.
    MessageId;
    /// A member's offline Ed25519 public key.
    RootKey;
    /// A node's online Ed25519 public key; the libp2p peer id follows from it.
    NodeKey;
    /// SHA-256 of a sealing key's public bytes.
    SealingKeyId;
    /// SHA-256 of bytes that travel beside a signed document: a body, a ciphertext, a next root key.
    ContentHash;
    /// The root of a Merkle tree (RFC 9162, section 2.1).
    TreeRoot;
}

count_type! {
    /// Counts a charter's versions, from 1.
    CharterVersion;
    /// Rises with every replacement of a member's root by the charter, and with every readmission.
    Incarnation;
    /// Counts the rotations of a root key to its pre-committed successor, from 0.
    Generation;
    /// Counts the key sets of one generation, from 0.
    Epoch;
    /// The place of a header in its chain, from 0.
    Sequence;
}

/// Implements the widening of a particular document's id to [`DocumentId`] and the explicit way back.
macro_rules! document_ids {
    ($($name:ident),*) => {$(
        impl From<$name> for DocumentId {
            fn from(id: $name) -> Self {
                Self(id.0)
            }
        }
        impl From<DocumentId> for $name {
            fn from(id: DocumentId) -> Self {
                Self(id.0)
            }
        }
    )*};
}
document_ids!(CharterId, FederationId, KeySetId, HeaderId, HeadId, MessageId);

impl From<FederationId> for CharterId {
    fn from(id: FederationId) -> Self {
        Self(id.0)
    }
}

impl From<CharterId> for FederationId {
    fn from(id: CharterId) -> Self {
        Self(id.0)
    }
}

/// A member: a country's ISO 3166-1 alpha-2 code (`KE`) or a bureau's `X-NAME`.
///
/// Only the form is checked here; whether such a member exists is the charter's to say.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MemberCode {
    /// The code, and zeros after it: in place, since codes are copied and compared with everything that happens.
    padded: [u8; Self::LENGTH_MAX],
    length: u8,
}

impl MemberCode {
    /// Bytes of the longest code.
    const LENGTH_MAX: usize = 2 + Self::BUREAU_NAME_MAX;
    /// Letters of a country code (ISO 3166-1 alpha-2).
    const COUNTRY_LENGTH: usize = 2;
    /// The longest bureau name after `X-`: long enough for an acronym and a city.
    const BUREAU_NAME_MAX: usize = 16;

    /// Checks the form.
    ///
    /// # Errors
    /// [`IdError::MemberCode`] if the text is neither form.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let country = text.len() == Self::COUNTRY_LENGTH && text.bytes().all(|b| b.is_ascii_uppercase());
        let bureau = text.strip_prefix("X-").is_some_and(|name| {
            !name.is_empty()
                && name.len() <= Self::BUREAU_NAME_MAX
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
        });
        let mut padded = [0; Self::LENGTH_MAX];
        match (padded.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) if country || bureau => {
                place.copy_from_slice(text.as_bytes());
                Ok(Self { padded, length })
            }
            _ => Err(IdError::MemberCode(text.to_owned())),
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.padded.get(..usize::from(self.length)).unwrap_or_default();
        // Capital letters, digits and hyphens alone, as `new` has seen to.
        std::str::from_utf8(text).unwrap_or_default()
    }
}

/// As the texts are ordered: no code has a zero in it.
impl Ord for MemberCode {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.padded, &other.padded)
    }
}

impl PartialOrd for MemberCode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for MemberCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for MemberCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MemberCode {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl Serialize for MemberCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MemberCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

/// The order of bytes. Most identifiers differ in their first eight, which one comparison of integers tells: maps
/// of them are asked with everything that happens.
fn compare<const N: usize>(one: &[u8; N], other: &[u8; N]) -> Ordering {
    let first = |bytes: &[u8; N]| bytes.first_chunk().map(|first| u64::from_be_bytes(*first));
    first(one).cmp(&first(other)).then_with(|| one.cmp(other))
}

fn bytes_from_hex(text: &str) -> Result<[u8; 32], IdError> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return Err(IdError::Length { expected: 64, got: text.chars().count() });
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |b: u8| char::from(b).to_digit(16).ok_or_else(|| IdError::Digit(text.to_owned()));
        let [high, low] = [pair.first(), pair.last()].map(|b| digit(b.copied().unwrap_or_default()));
        // Two hexadecimal digits always fit a byte.
        *byte = u8::try_from(high? << 4 | low?).unwrap_or_default();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_codes_have_two_forms() {
        for good in ["KE", "X-AMERIPOL", "X-LO-24"] {
            assert_eq!(MemberCode::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "K", "ke", "KEN", "K1", "X-", "X-aa", "X-ABCDEFGHIJKLMNOPQ", "ÉÉ"] {
            assert!(MemberCode::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn codes_are_ordered_as_their_texts() {
        let mut texts =
            ["X-LO-24", "X-LO-2", "BR", "X-AMERIPOL-BOGOTA1", "X-AMERIPOL-BOGOTA0", "X-AMERIPOL", "KE"];
        let mut codes: Vec<MemberCode> = texts.iter().map(|text| MemberCode::new(text).unwrap()).collect();
        texts.sort_unstable();
        codes.sort();
        assert_eq!(codes.iter().map(MemberCode::as_str).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn identifiers_are_ordered_as_their_bytes() {
        let differing = |place: usize| {
            (0..=2).map(move |byte| {
                let mut bytes = [1; 32];
                bytes[place] = byte;
                bytes
            })
        };
        for one in (0..32).flat_map(differing) {
            for other in (0..32).flat_map(differing) {
                let ids = (DocumentId::from_bytes(one), DocumentId::from_bytes(other));
                assert_eq!(ids.0.cmp(&ids.1), one.cmp(&other));
            }
        }
    }

    #[test]
    fn identifiers_round_trip_as_hexadecimal() {
        let id = DocumentId::from_bytes([0xA7; 32]);
        assert_eq!(format!("{id}").parse(), Ok(id));
        assert!("zz".parse::<DocumentId>().is_err());
        assert!("zz".repeat(32).parse::<DocumentId>().is_err());
    }
}
