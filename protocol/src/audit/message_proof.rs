//! The evidence that one message was delivered and acknowledged, as one file for a third party who has no node: what was
//! signed, whose keys counted, and by which witnessed time the node had journalled it.
//!
//! The file is text: lines of this proof under its exporter's signature, then an audit bundle with the charter versions
//! and key sets that its signers are judged by. Reading the file and telling people is the node's.

mod judge;
mod lines;
mod proven;
#[cfg(test)]
mod tests;

use std::fmt;

use ed25519_dalek::SigningKey;

use self::lines::Line;
pub use self::{
    judge::check_message_proof,
    lines::{Continues, Included},
    proven::{Grounds, Journalled, ProvenHeader, ProvenMessage, ProvenReceipt, ProvenStatement, Witnessed},
};
use super::{
    bundle::Exporter,
    journal::TIME,
    merkle::Tree,
    note::{Checkpoint, Note, NoteError},
    report::Refused,
};
use crate::{
    document::Envelope,
    ids::{FederationId, MemberCode, MessageId, NodeKey, TreeRoot},
    relay::rows::SignedStatement,
    time::Timestamp,
};

/// What a proof consists of, beside the bundle. It has no `Debug`: statements hold what a person said.
pub struct MessageProof {
    /// The message.
    pub message: MessageId,
    /// Its signed header, if it is still held.
    pub header: Option<Envelope>,
    /// Receipts of it.
    pub receipts: Vec<Envelope>,
    /// Statements about it.
    pub statements: Vec<SignedStatement>,
    /// Checkpoints of the exporter's journals with their cosignatures, by when the journal began and by size.
    pub checkpoints: Vec<Note>,
    /// That each checkpoint of a journal continues the one before.
    pub continues: Vec<Continues>,
    /// Entries about the message.
    pub entries: Vec<Included>,
}

impl MessageProof {
    /// Writes the file; `bundle` is a whole bundle of the same exporter, with this root.
    #[must_use]
    pub fn write(
        self,
        exporter: &Exporter,
        key: &SigningKey,
        now: Timestamp,
        (bundle, root): (&str, TreeRoot),
    ) -> String {
        let Self { message, header, receipts, statements, checkpoints, continues, entries } = self;
        let (mut text, mut tree) = (String::new(), Tree::default());
        let mut add = |line: String| {
            tree.push(line.as_bytes());
            text.push_str(&line);
            text.push('\n');
        };
        add(FIRST_LINE.to_owned());
        add(format!("{FEDERATION} {}", exporter.federation));
        add(format!("{MESSAGE} {message}"));
        add(format!("{BUNDLE} {root}"));
        let header = header.into_iter().map(Line::Header);
        let lines = header
            .chain(receipts.into_iter().map(Line::Receipt))
            .chain(statements.into_iter().map(Line::Statement))
            .chain(checkpoints.into_iter().map(Line::Checkpoint))
            .chain(continues.into_iter().map(Line::Continues))
            .chain(entries.into_iter().map(Line::Entry));
        lines.for_each(|line| add(line.to_string()));
        let origin = origin(exporter);
        let extensions = vec![format!("{TIME} {}", now.as_millis())];
        let checkpoint =
            Checkpoint { origin: origin.clone(), size: tree.size(), root: tree.root(), extensions };
        format!("{text}\n{}{bundle}", Note::sign(checkpoint.text(), &origin, key))
    }
}

/// Whether a file begins as a proof does, of whatever version.
#[must_use]
pub fn is_message_proof(bytes: &[u8]) -> bool {
    bytes.starts_with(FORMAT.as_bytes())
}

/// Why a proof, or something in it, is not what it is taken for. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// Another file.
    #[error("this is no proof of a message: it does not begin with the line '{FIRST_LINE}'")]
    NotAProof,
    /// A proof of a later program.
    #[error("this proof is of version {0:?}, which this program does not read")]
    Newer(String),
    /// The end is missing.
    #[error("it is cut off: the bundle at its end is missing")]
    Truncated,
    /// The signed end of its lines is out of form, or another's.
    #[error("the signed end of its lines is damaged: {0}")]
    End(NoteError),
    /// A line out of form.
    #[error("line {line} is damaged: {why}")]
    Line {
        /// Which.
        line: u64,
        /// How.
        why: &'static str,
    },
    /// Another federation than the one pinned.
    #[error("it is about another federation: {got}, and {pinned} was asked for")]
    OtherFederation {
        /// The pinned one.
        pinned: FederationId,
        /// The proof's.
        got: FederationId,
    },
    /// Lines were left out, added or changed.
    #[error("its lines, or those of its bundle, are not those that its exporter signed: they were changed")]
    Changed,
    /// Not the exporter's signature.
    #[error("it is not signed by node {} of {member}", node.short())]
    Signature {
        /// The exporter's member.
        member: MemberCode,
        /// The exporter.
        node: NodeKey,
    },
    /// The bundle in it.
    #[error("the bundle in it is refused: {0}")]
    Bundle(Box<Refused>),
    /// Something that does not prove what it is there for.
    #[error("line {line}: {what} is false: {why}")]
    False {
        /// Which line.
        line: u64,
        /// What it is.
        what: &'static str,
        /// The broken rule's id in VALIDATION.md.
        rule: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl ProofFault {
    /// The broken rule's id in VALIDATION.md.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::NotAProof | Self::Newer(_) | Self::Truncated | Self::End(_) | Self::Line { .. } => "MP-01",
            Self::OtherFederation { .. } | Self::Changed | Self::Signature { .. } => "MP-02",
            Self::Bundle(_) => "MP-03",
            Self::False { rule, .. } => rule,
        }
    }
}

/// Why a proof is refused: everything that is wrong with it, at most
/// [`crate::limits::AUDIT_FAULTS_SHOWN_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRefused(pub Vec<ProofFault>);

impl fmt::Display for ProofRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|fault| format!("{}: {fault}", fault.rule())).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ProofRefused {}

impl From<ProofFault> for ProofRefused {
    fn from(fault: ProofFault) -> Self {
        Self(vec![fault])
    }
}

/// The name under which the exporter signs.
fn origin(exporter: &Exporter) -> String {
    let Exporter { federation, member, node } = exporter;
    format!("{ORIGIN}/{federation}/{member}/{node}")
}

/// The first line, up to the version.
const FORMAT: &str = "refpoint message proof ";

/// The first line.
const FIRST_LINE: &str = "refpoint message proof 1";

/// What the second line begins with.
const FEDERATION: &str = "federation";

/// What the third line begins with.
const MESSAGE: &str = "message";

/// What the fourth line begins with.
const BUNDLE: &str = "bundle";

/// What the origin of the signed end begins with.
const ORIGIN: &str = "refpoint-proof";
