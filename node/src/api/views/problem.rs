//! What the API answers when it does not do as asked (RFC 9457, `application/problem+json`).

use serde::{Deserialize, Serialize};

/// A problem: safe to show, with a code that stays the same from version to version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// `urn:refpoint:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code: what programs compare.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, to what, and why.
    pub detail: String,
    /// What to do.
    pub hint: String,
    /// With `ambiguous-id`: the ids that the prefix fits, at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

impl Problem {
    /// Composes a problem.
    #[must_use]
    pub fn new(status: u16, code: &str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:refpoint:problem:{code}"),
            code: code.to_owned(),
            status,
            detail: detail.into(),
            hint: hint.into(),
            candidates: Vec::new(),
        }
    }
}
