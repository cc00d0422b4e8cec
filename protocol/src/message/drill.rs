//! Drills: the network's ping test. Its messages carry its id as their reference, so that whoever answers can name it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::body::Body;

/// Names one drill: all messages of it carry it as their reference, `drill-` and sixteen hexadecimal digits.
///
/// A drill reaches more members than one message can, so no message's own id names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrillId([u8; 8]);

/// Why a text names no drill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a drill's id: `drill-` and sixteen hexadecimal digits")]
pub struct DrillIdError;

impl DrillId {
    /// Wraps eight bytes, which are random where a drill begins.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The drill that a message belongs to: its reference, if it is marked as a test and names one.
    #[must_use]
    pub fn of(body: &Body) -> Option<Self> {
        let reference = body.reference.as_ref().filter(|_| body.drill && body.statement.is_none())?;
        reference.reveal().parse().ok()
    }

    /// The sixteen digits, without the word before them.
    #[must_use]
    pub fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for DrillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.digits())
    }
}

impl fmt::Debug for DrillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrillId({})", self.digits())
    }
}

impl FromStr for DrillId {
    type Err = DrillIdError;

    fn from_str(text: &str) -> Result<Self, DrillIdError> {
        let digits = text.strip_prefix(PREFIX).ok_or(DrillIdError)?;
        let is_hex = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex).ok_or(DrillIdError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for DrillId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DrillId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What an id begins with, so that a person who reads a reference knows what it is.
const PREFIX: &str = "drill-";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{message::body::Tlp, redact::Redacted};

    #[test]
    fn an_id_comes_back_from_its_text_and_nothing_else_does() {
        let id = DrillId::from_bytes([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
        assert_eq!(id.to_string(), "drill-00010203fcfdfeff");
        assert_eq!(id.to_string().parse(), Ok(id));
        let bytes = crate::document::encode(&id).unwrap();
        assert_eq!(crate::document::decode::<DrillId>(&bytes, 64), Ok(id));
        for bad in [
            "",
            "drill-",
            "00010203fcfdfeff",
            "drill-00010203FCFDFEFF",
            "drill-0001",
            "drill-+0010203fcfdfef",
        ] {
            assert_eq!(bad.parse::<DrillId>(), Err(DrillIdError), "{bad:?}");
        }
    }

    #[test]
    fn only_a_marked_message_belongs_to_a_drill() {
        let id = DrillId::from_bytes([7; 8]);
        let mut body = Body {
            tlp: Tlp::Green,
            text: Some(Redacted("a test".into())),
            reference: Some(Redacted(id.to_string())),
            attachments: Vec::new(),
            statement: None,
            drill: true,
            form: None,
        };
        assert_eq!(DrillId::of(&body), Some(id));
        body.drill = false;
        assert_eq!(DrillId::of(&body), None);
        (body.drill, body.reference) = (true, Some(Redacted("BR-2026/17".into())));
        assert_eq!(DrillId::of(&body), None);
    }
}
