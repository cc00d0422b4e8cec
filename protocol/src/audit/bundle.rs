//! The bundle as text: written line by line, and taken apart again. Here is decided whether it is whole; what its
//! documents say is the report's.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;

use super::{
    journal::{JournalCheckpoint, TIME},
    merkle::Tree,
    note::{Checkpoint, Note, NoteError},
};
use crate::{
    directory::header::{Header, NodeRecordHeader, ReferencePointHeader},
    document::{Envelope, EnvelopeError, Kind, Unverified},
    evidence::{AnyDocument, verify_any},
    ids::{DocumentId, FederationId, MemberCode, NodeKey, TreeRoot},
    membership::{charter::Charter, key_set::KeySet},
    time::Timestamp,
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
    #[error("it says {label} and holds a {kind}")]
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
            Self::ExporterUnknown { .. } | Self::ExporterSignature { .. } => "AU-09",
        }
    }
}

/// The node that wrote a bundle: its name under the checkpoint, and the checkpoint's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// The federation.
    pub federation: FederationId,
    /// The node's member.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
}

impl fmt::Display for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ORIGIN}/{}/{}/{}", self.federation, self.member, self.node)
    }
}

impl FromStr for Exporter {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<Self, AuditError> {
        let read = || {
            let mut parts = text.split('/');
            let (origin, federation, member, node) =
                (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            let federation = federation.parse().ok()?;
            let whole = origin == ORIGIN && parts.next().is_none();
            let exporter = Self { federation, member: member.parse().ok()?, node: node.parse().ok()? };
            // Capital digits would be a second name for the same node.
            (whole && exporter.to_string() == text).then_some(exporter)
        };
        read().ok_or_else(|| AuditError::Origin(text.chars().take(ECHO_CHARS_MAX).collect()))
    }
}

/// Writes a bundle. Documents come sorted by kind, in the order of [`Kind::EVIDENCE`], and by ascending id.
#[derive(Clone, Debug)]
pub struct BundleWriter {
    tree: Tree,
    last: Option<(usize, DocumentId)>,
}

/// A bundle is not written as asked: the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Out of order, or twice.
    #[error("a document was added to a bundle after a later one, or twice")]
    Order,
    /// Not evidence.
    #[error("a {0} is no part of a bundle")]
    Kind(Kind),
}

impl BundleWriter {
    /// Begins a bundle; the text is its first lines.
    #[must_use]
    pub fn begin(federation: FederationId) -> (Self, String) {
        let lines = [FIRST_LINE.to_owned(), format!("{FEDERATION} {federation}")];
        let mut writer = Self { tree: Tree::default(), last: None };
        let text = lines.iter().map(|line| writer.line(line.clone())).collect();
        (writer, text)
    }

    /// Adds a document by the bytes of its envelope as they were received; the text is its line.
    ///
    /// # Errors
    /// [`BundleError`]; nothing is added then.
    pub fn document(&mut self, kind: Kind, id: DocumentId, envelope: &[u8]) -> Result<String, BundleError> {
        let place = Kind::EVIDENCE.iter().position(|known| *known == kind).ok_or(BundleError::Kind(kind))?;
        if self.last.is_some_and(|last| last >= (place, id)) {
            return Err(BundleError::Order);
        }
        self.last = Some((place, id));
        Ok(self.line(format!("{kind} {}", STANDARD.encode(envelope))))
    }

    /// Adds the checkpoint of the exporter's own journal, after all documents; the text is its line.
    #[must_use]
    pub fn journal(&mut self, checkpoint: &Note) -> String {
        self.line(format!("{JOURNAL} {}", STANDARD.encode(checkpoint.to_string())))
    }

    /// The Merkle root of the lines so far.
    #[must_use]
    pub fn root(&self) -> TreeRoot {
        self.tree.root()
    }

    /// Ends the bundle: the text is the exporter's signed checkpoint.
    #[must_use]
    pub fn finish(self, exporter: &Exporter, key: &SigningKey, now: Timestamp) -> String {
        let origin = exporter.to_string();
        let extensions = vec![format!("{TIME} {}", now.as_millis())];
        let (size, root) = (self.tree.size(), self.tree.root());
        let checkpoint = Checkpoint { origin: origin.clone(), size, root, extensions };
        format!("\n{}", Note::sign(checkpoint.text(), &origin, key))
    }

    fn line(&mut self, mut line: String) -> String {
        self.tree.push(line.as_bytes());
        line.push('\n');
        line
    }
}

/// A bundle taken apart: nothing in it is verified but that its form holds.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    lines: Vec<&'a [u8]>,
    /// The last line, if it begins as the checkpoint of a journal does.
    journal: Option<&'a [u8]>,
    note: Note,
    /// The federation that the bundle says to be about.
    pub federation: FederationId,
    /// Who says to have written it.
    pub exporter: Exporter,
    /// When, by the exporter's clock.
    pub made: Timestamp,
    /// The lines' number and root as the exporter signed them.
    pub said: (u64, TreeRoot),
    /// The lines' number and root as they are.
    pub got: (u64, TreeRoot),
}

impl<'a> Frame<'a> {
    /// Takes a bundle apart.
    ///
    /// # Errors
    /// [`AuditError`] if nothing else can be said of it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, AuditError> {
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if first != FIRST_LINE.as_bytes() {
            let version =
                first.strip_prefix(FORMAT.as_bytes()).and_then(|text| std::str::from_utf8(text).ok());
            return Err(match version {
                Some(version) => AuditError::Newer(version.chars().take(ECHO_CHARS_MAX).collect()),
                None => AuditError::NotABundle,
            });
        }
        let parted = bytes.windows(2).position(|pair| pair == b"\n\n").ok_or(AuditError::Truncated)?;
        let (before, after) = bytes.split_at_checked(parted).unwrap_or((bytes, &[]));
        let note = Note::parse(after.get(2..).unwrap_or_default())?;
        if note.signatures.len() != 1 {
            return Err(NoteError::Signatures(note.signatures.len()).into());
        }
        let checkpoint = Checkpoint::parse(&note.text)?;
        let exporter: Exporter = checkpoint.origin.parse()?;
        let made = checkpoint.time(TIME).ok_or(NoteError::Checkpoint("time"))?;
        let mut tree = Tree::default();
        let lines: Vec<&[u8]> = before.split(|byte| *byte == b'\n').collect();
        lines.iter().for_each(|line| tree.push(line));
        let second = lines.get(1).and_then(|line| std::str::from_utf8(line).ok());
        let federation =
            second.and_then(|line| line.strip_prefix(FEDERATION)?.strip_prefix(' ')?.parse().ok());
        let federation = federation.ok_or(AuditError::Line { line: 2, why: LineError::Federation })?;
        if exporter.federation != federation {
            return Err(AuditError::Origin(checkpoint.origin));
        }
        let mut lines: Vec<&[u8]> = lines.into_iter().skip(LINES_OF_HEAD).collect();
        let journal = lines.pop_if(|line| line.starts_with(JOURNAL.as_bytes()));
        let (said, got) = ((checkpoint.size, checkpoint.root), (tree.size(), tree.root()));
        Ok(Self { lines, journal, note, federation, exporter, made, said, got })
    }

    /// How many documents it has.
    #[must_use]
    pub fn documents(&self) -> usize {
        self.lines.len()
    }

    /// Opens and verifies one document, numbered from 0: a pure and costly function, about 40 µs a signature.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(&self, index: usize) -> Result<AnyDocument, AuditError> {
        let line = Self::line_of(index);
        let text = self.lines.get(index).copied().unwrap_or_default();
        let (label, envelope) = parse(text).map_err(|why| AuditError::Line { line, why })?;
        if label.name() != envelope.kind {
            return Err(AuditError::Line { line, why: LineError::Kind { label, kind: envelope.kind } });
        }
        verify_any(envelope, self.federation).map_err(|error| {
            let claimed = parse(text).ok().and_then(|(_, envelope)| claimed(label, envelope));
            let what = claimed.unwrap_or_else(|| format!("a {label}"));
            AuditError::False { line, what, rule: error.rule(), why: error.to_string() }
        })
    }

    /// The checkpoint of the exporter's journal, if there is one.
    pub(super) fn journal(&self) -> Result<Option<JournalCheckpoint>, AuditError> {
        let Some(text) = self.journal else { return Ok(None) };
        let read = || {
            let encoded = text.strip_prefix(JOURNAL.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
            let bytes = STANDARD.decode(encoded.unwrap_or_default()).map_err(|_| JournalError::Base64)?;
            let checkpoint = JournalCheckpoint::read(&bytes)?;
            let Exporter { federation, member, node } = &self.exporter;
            let origin = &checkpoint.origin;
            let own = (&origin.federation, &origin.member, &origin.node) == (federation, member, node);
            if own { Ok(Some(checkpoint)) } else { Err(JournalError::Other) }
        };
        read().map_err(|why| AuditError::Journal { line: Self::line_of(self.lines.len()), why })
    }

    /// The line of a document, numbered from 1.
    pub(super) const fn line_of(index: usize) -> u64 {
        (index + LINES_OF_HEAD + 1) as u64
    }

    /// Whether the exporter signed the checkpoint.
    pub(super) fn is_signed(&self) -> bool {
        self.note.is_signed_by(&self.exporter.to_string(), self.exporter.node.as_bytes())
    }
}

fn parse(line: &[u8]) -> Result<(Kind, Envelope), LineError> {
    let split = line.iter().position(|byte| *byte == b' ').ok_or(LineError::Label)?;
    let (label, encoded) = line.split_at_checked(split).unwrap_or((line, &[]));
    let kind = std::str::from_utf8(label).ok().and_then(Kind::from_name);
    let kind = kind.filter(|kind| Kind::EVIDENCE.contains(kind)).ok_or(LineError::Label)?;
    // The engine refuses missing or superfluous padding and bits after the end.
    let bytes = STANDARD.decode(encoded.get(1..).unwrap_or_default()).map_err(|_| LineError::Base64)?;
    Ok((kind, Envelope::from_bytes(&bytes)?))
}

/// What a document that does not verify says to be.
fn claimed(label: Kind, envelope: Envelope) -> Option<String> {
    match label {
        Kind::Charter => Some(charter_words(Unverified::open(envelope).ok()?.claimed())),
        Kind::KeySet => Some(key_set_words(Unverified::open(envelope).ok()?.claimed())),
        Kind::NodeRecord => {
            let opened = Unverified::<NodeRecordHeader>::open(envelope).ok()?;
            Some(header_words(label, &opened.claimed().0))
        }
        Kind::ReferencePoint => {
            let opened = Unverified::<ReferencePointHeader>::open(envelope).ok()?;
            Some(header_words(label, &opened.claimed().0))
        }
        Kind::JoiningRequest | Kind::Message | Kind::Receipt | Kind::Head => None,
    }
}

/// What a verified document is, in a few words.
pub(super) fn words(document: &AnyDocument) -> String {
    match document {
        AnyDocument::Charter(charter) => charter_words(charter.payload()),
        AnyDocument::KeySet(set) => key_set_words(set.payload()),
        AnyDocument::NodeRecord(it) => header_words(Kind::NodeRecord, &it.payload().0),
        AnyDocument::ReferencePoint(it) => header_words(Kind::ReferencePoint, &it.payload().0),
    }
}

fn charter_words(charter: &Charter) -> String {
    format!("charter version {}", charter.version)
}

fn key_set_words(set: &KeySet) -> String {
    format!("key set of {}, generation {}, epoch {}", set.member, set.generation, set.epoch)
}

fn header_words(kind: Kind, header: &Header) -> String {
    format!("{kind} {} of {}'s node {}", header.sequence, header.member, header.node.short())
}

/// The first line, up to the version.
const FORMAT: &str = "refpoint audit bundle ";

/// The first line.
const FIRST_LINE: &str = "refpoint audit bundle 1";

/// What the second line begins with.
const FEDERATION: &str = "federation";

/// What the line of the exporter's journal begins with.
const JOURNAL: &str = "journal";

/// Lines before the first document.
const LINES_OF_HEAD: usize = 2;

/// What the checkpoint's origin begins with.
const ORIGIN: &str = "refpoint-bundle";

/// Characters of something wrong that are repeated in the error.
const ECHO_CHARS_MAX: usize = 200;
