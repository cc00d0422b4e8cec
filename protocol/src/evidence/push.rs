//! What gossip carries: one document, and the body that belongs to it.

use serde::{Deserialize, Serialize};

use crate::{
    document::{DecodeError, Envelope, EnvelopeError, decode},
    limits::BODY_BYTES_MAX,
};

/// The data of one gossip message: its id on the mesh is SHA-256 of these bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// A charter version, key set or chain header.
    pub document: Envelope,
    /// The body of a chain header; left out in a renewal without change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_bytes::ByteBuf>,
}

/// Why gossip is refused before anything in it is verified: invalid in every state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Not the bytes of a pushed document.
    #[error("PU-01: not a pushed document: {0}")]
    Decode(#[from] DecodeError),
    /// Its envelope passes a bound.
    #[error("PU-01: {0}")]
    Envelope(#[from] EnvelopeError),
    /// Its body passes the bound.
    #[error("PU-01: a body of {0} bytes, at most {BODY_BYTES_MAX} are allowed")]
    Body(usize),
}

impl Pushed {
    /// Bytes of the largest pushed document.
    pub const BYTES_MAX: usize = Envelope::BYTES_MAX + BODY_BYTES_MAX + 64;

    /// Decodes and bounds what gossip brought.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PushError> {
        let pushed: Self = decode(bytes, Self::BYTES_MAX)?;
        pushed.document.check_bounds()?;
        match &pushed.body {
            Some(body) if body.len() > BODY_BYTES_MAX => Err(PushError::Body(body.len())),
            _ => Ok(pushed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::encode;

    fn pushed(payload: usize, body: Option<usize>) -> Vec<u8> {
        let document = Envelope {
            kind: "charter".into(),
            version: 1,
            payload: vec![0; payload],
            signatures: Vec::new(),
        };
        encode(&Pushed { document, body: body.map(|length| vec![0; length].into()) }).unwrap()
    }

    #[test]
    fn what_gossip_carries_is_bounded_before_it_is_verified() {
        assert!(Pushed::from_bytes(&pushed(10, None)).is_ok());
        assert!(Pushed::from_bytes(&pushed(10, Some(BODY_BYTES_MAX))).is_ok());
        let long = Pushed::from_bytes(&pushed(10, Some(BODY_BYTES_MAX + 1)));
        assert_eq!(long, Err(PushError::Body(BODY_BYTES_MAX + 1)));
        assert!(matches!(Pushed::from_bytes(&pushed(300_000, None)), Err(PushError::Envelope(_))));
        assert!(matches!(Pushed::from_bytes(b"junk"), Err(PushError::Decode(_))));
        let mut cut = pushed(10, None);
        cut.pop();
        assert!(matches!(Pushed::from_bytes(&cut), Err(PushError::Decode(_))));
    }
}
