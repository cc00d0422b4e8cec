//! Bytes in JSON: standard base64 with padding (RFC 4648, section 4).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use refpoint_protocol::redact::Redacted;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes that may belong to a case: they serialise as base64 and show nothing in `Debug`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base64(pub Redacted<Vec<u8>>);

impl Base64 {
    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.0.reveal()
    }

    /// The bytes, owned.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        self.0.0
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Redacted(bytes))
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.as_slice()))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        // The reason is left out: it would quote a byte of the content.
        let bytes =
            STANDARD.decode(text.as_bytes()).map_err(|_| de::Error::custom("not base64 with padding"))?;
        Ok(Self::from(bytes))
    }
}
