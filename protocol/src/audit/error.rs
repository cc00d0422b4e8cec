//! What can be wrong with a bundle, by the rules of VALIDATION.md.

use super::{bundle::FIRST_LINE, entries::EntriesError, note::NoteError};
use crate::{
    document::{EnvelopeError, Kind},
    ids::{DocumentId, FederationId, MemberCode, NodeKey, TreeRoot},
};

/// Why a bundle, or something in it, is not what it is taken for. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// Another file.
    #[error("this is no audit bundle: it does not begin with the line '{FIRST_LINE}'")]
    NotABundle,
    /// A bundle of a later program.
    #[error("this bundle is of version {0:?}, which this program does not read")]
    Newer(String),
    /// The end is missing.
    #[error("it is cut off: the exporter's checkpoint at its end is missing")]
    Truncated,
    /// The checkpoint is out of form.
    #[error("the exporter's checkpoint at its end is damaged: {0}")]
    Checkpoint(#[from] NoteError),
    /// The checkpoint is not of a bundle, or of another federation than the bundle.
    #[error("the checkpoint at its end is {0:?}'s, not that of an exporter of this federation")]
    Origin(String),
    /// Another federation than the one pinned.
    #[error("it is about another federation: {got}, and {pinned} was asked for")]
    OtherFederation {
        /// The pinned one.
        pinned: FederationId,
        /// The bundle's.
        got: FederationId,
    },
    /// Lines were left out or added.
    #[error("it has {got} lines, and its exporter signed {said}: lines were left out or added")]
    Count {
        /// What the exporter signed.
        said: u64,
        /// What there are.
        got: u64,
    },
    /// Lines were changed.
    #[error("its lines have the Merkle root {got}, and its exporter signed {said}: they were changed")]
    Root {
        /// What the exporter signed.
        said: TreeRoot,
        /// What they have.
        got: TreeRoot,
    },
    /// A line out of form.
    #[error("line {line} is damaged: {why}")]
    Line {
        /// Which.
        line: u64,
        /// How.
        why: LineError,
    },
    /// The same document again.
    #[error("line {line} is the document of the line before again")]
    Doubled {
        /// Which.
        line: u64,
    },
    /// Not in its place.
    #[error("line {line} does not stand in its place: documents are sorted by kind and id")]
    OutOfOrder {
        /// Which.
        line: u64,
    },
    /// A document that is wrong in every state.
    #[error("line {line}: {what} is false: it breaks rule {rule}: {why}")]
    False {
        /// Which line.
        line: u64,
        /// What it says to be, such as `key set of KE, generation 0, epoch 3`.
        what: String,
        /// The broken rule's id in VALIDATION.md.
        rule: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A document that nobody who holds only this bundle could have accepted.
    #[error(
        "line {line}: {what} stands on {}, which the bundle does not have",
        missing.iter().map(|id| id.short()).collect::<Vec<_>>().join(" and ")
    )]
    Unfounded {
        /// Which line.
        line: u64,
        /// What it is, such as `charter version 3`.
        what: String,
        /// Its ancestors that are missing.
        missing: Vec<DocumentId>,
    },
    /// The checkpoint of the exporter's journal is not one.
    #[error("line {line}: the checkpoint of the exporter's journal is false: {why}")]
    Journal {
        /// Which line.
        line: u64,
        /// What is wrong.
        why: JournalError,
    },
    /// The entries of the exporter's journal are not those of its checkpoint.
    #[error("line {line} and those after it: the entries of the exporter's journal are false: {why}")]
    Entries {
        /// The first of them.
        line: u64,
        /// What is wrong.
        why: EntriesError,
    },
    /// The exporter is no node of the federation, as far as the bundle says.
    #[error("its exporter, node {} of {member}, is listed by no key set in it", node.short())]
    ExporterUnknown {
        /// Its member.
        member: MemberCode,
        /// The node.
        node: NodeKey,
    },
    /// Somebody else's signature under the checkpoint, or none.
    #[error("the checkpoint at its end is not signed by node {} of {member}", node.short())]
    ExporterSignature {
        /// Its member.
        member: MemberCode,
        /// The node.
        node: NodeKey,
    },
}

/// How a line is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not the federation's line, where it must stand.
    #[error("the federation's id is expected here")]
    Federation,
    /// No known beginning.
    #[error("it does not begin with the name of a kind of document")]
    Label,
    /// Another kind in the envelope than before it.
    #[error("it says {label} and holds a {kind:?}")]
    Kind {
        /// What the line begins with.
        label: Kind,
        /// What the envelope says.
        kind: String,
    },
    /// Not base64 in its one form.
    #[error("it is not base64 in its one form")]
    Base64,
    /// Not an envelope.
    #[error("{0}")]
    Envelope(#[from] EnvelopeError),
}

/// Why a line is no checkpoint of the exporter's journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Not base64 in its one form.
    #[error("it is not base64 in its one form")]
    Base64,
    /// Not a checkpoint, or not signed by its node.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Another node's.
    #[error("it is another node's journal")]
    Other,
}

impl AuditError {
    /// The broken rule's id in VALIDATION.md.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::NotABundle | Self::Newer(_) => "AU-01",
            Self::Truncated | Self::Checkpoint(_) | Self::Origin(_) => "AU-02",
            Self::OtherFederation { .. } => "AU-03",
            Self::Count { .. } | Self::Root { .. } => "AU-04",
            Self::Line { .. } => "AU-05",
            Self::Doubled { .. } | Self::OutOfOrder { .. } => "AU-06",
            Self::False { .. } => "AU-07",
            Self::Unfounded { .. } => "AU-08",
            Self::Journal { .. } => "AU-10",
            Self::Entries { .. } => "AU-11",
            Self::ExporterUnknown { .. } | Self::ExporterSignature { .. } => "AU-09",
        }
    }
}
