//! What the next key set is made from, and the import of signed documents such as it.

use refpoint_protocol::ids::{DocumentId, FederationId};
use serde::{Deserialize, Serialize};

use super::bytes::Base64;
use crate::ceremony::Hint;

/// What a next key set is made from: the charters and what settled them, one member's key sets and its nodes' chains, as they are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnDocuments {
    /// The federation.
    pub federation: FederationId,
    /// Envelopes as bytes of their canonical form, ancestors first.
    pub envelopes: Vec<Base64>,
    /// Where nodes of members say that they are: for newcomers' first dials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Hint>,
}

/// Signed envelopes to take in, as bytes of their canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// At most [`DOCUMENTS_MAX`], ancestors first.
    pub envelopes: Vec<Base64>,
}

/// What became of each envelope, in the order of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReply {
    /// One for each envelope.
    pub documents: Vec<ImportedDocument>,
}

/// What became of one envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedDocument {
    /// Its document id, unless it could not be decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<DocumentId>,
    /// Its kind, such as `keyset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What became of it.
    pub outcome: ImportOutcome,
    /// With `refused`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What can become of an imported document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportOutcome {
    /// It is new, durable, and passed on.
    Accepted,
    /// It was here already.
    Known,
    /// An ancestor is missing; it is kept and neither refused nor believed.
    Pending,
    /// It is invalid.
    Refused,
}

/// Envelopes of one import: a founding charter's history and the key sets of a member fit ten times over.
pub const DOCUMENTS_MAX: usize = 64;
