//! The bundle as text: written line by line, and taken apart again. Here is decided whether it is whole; what its
//! documents say is the report's.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::SigningKey;

use super::{
    entries::{COSIGNED, ENTRY, JournalEntries},
    error::{AuditError, JournalError, LineError},
    journal::{JournalCheckpoint, TIME},
    merkle::Tree,
    note::{Checkpoint, Note, NoteError},
};
use crate::{
    directory::header::{Header, NodeRecordHeader, ReferencePointHeader},
    document::{Envelope, Kind, Unverified},
    evidence::{AnyDocument, verify_any},
    ids::{CharterId, DocumentId, FederationId, MemberCode, NodeKey, TreeRoot},
    membership::{Membership, charter::Charter, key_set::KeySet, settlement::Settlement},
    time::Timestamp,
};

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

    /// Adds the newest checkpoint that others cosigned, after the journal's line; the text is its line.
    #[must_use]
    pub fn cosigned(&mut self, checkpoint: &str) -> String {
        self.line(format!("{COSIGNED} {}", STANDARD.encode(checkpoint)))
    }

    /// Adds an entry of the journal, all of them in their order, at the end; the text is its line.
    #[must_use]
    pub fn entry(&mut self, leaf: &[u8]) -> String {
        self.line(format!("{ENTRY} {}", STANDARD.encode(leaf)))
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
    /// The line after them, if it begins as the checkpoint of a journal does.
    journal: Option<&'a [u8]>,
    /// What follows that.
    entries: Vec<&'a [u8]>,
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
        let place = lines.iter().position(|line| line.starts_with(JOURNAL.as_bytes()));
        let mut entries = lines.split_off(place.unwrap_or(lines.len()));
        let journal = (!entries.is_empty()).then(|| entries.remove(0));
        let (said, got) = ((checkpoint.size, checkpoint.root), (tree.size(), tree.root()));
        Ok(Self { lines, journal, entries, note, federation, exporter, made, said, got })
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

    /// The entries of the exporter's journal, if it has them: with a checkpoint alone there are none.
    pub(super) fn entries(
        &self,
        journal: &JournalCheckpoint,
        membership: &Membership,
    ) -> Result<Option<JournalEntries>, AuditError> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        let read = JournalEntries::read(&self.entries, (&self.exporter, journal), membership);
        read.map(Some).map_err(|why| AuditError::Entries { line: Self::line_of(self.lines.len() + 1), why })
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
        Kind::Settlement => {
            Some(settlement_words(Unverified::<Settlement>::open(envelope).ok()?.claimed().charter))
        }
        Kind::JoiningRequest | Kind::Message | Kind::Receipt | Kind::Head => None,
    }
}

/// What a verified document is, in a few words.
pub(super) fn words(document: &AnyDocument) -> String {
    match document {
        AnyDocument::Charter(charter) => charter_words(charter.payload()),
        AnyDocument::Settlement(it) => settlement_words(it.span().charter),
        AnyDocument::KeySet(set) => key_set_words(set.payload()),
        AnyDocument::NodeRecord(it) => header_words(Kind::NodeRecord, &it.payload().0),
        AnyDocument::ReferencePoint(it) => header_words(Kind::ReferencePoint, &it.payload().0),
    }
}

fn charter_words(charter: &Charter) -> String {
    format!("charter version {}", charter.version)
}

fn settlement_words(charter: CharterId) -> String {
    format!("the settlement of charter {}", charter.short())
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
pub(super) const FIRST_LINE: &str = "refpoint audit bundle 1";

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
