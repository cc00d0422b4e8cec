//! The journal: what a node did and accepted, as a list that only grows, so that whoever kept one of its checkpoints
//! sees when its past was rewritten. It follows the stored events and nothing waits for it. It holds ids, members and
//! states, no content.

use std::{fmt, str::FromStr};

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

use super::{
    merkle::{Tree, proof::TIER_LEVELS},
    note::{Checkpoint, Note, NoteError},
};
use crate::{
    document::EncodeError,
    heads::JournalPosition,
    ids::{FederationId, MemberCode, NodeKey, TreeRoot},
    machine::{Event, NumberedEvent},
    relay::rows::{RowError, decode_row, encode_row},
    storage::{Change, Table},
    time::Timestamp,
};

/// A node's journal: its size and root, and how far it has followed the events. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// When it began: tells the journals of one node apart.
    began: Timestamp,
    /// Where the journal before it stood, if this node had one: after a restore, as far as the backup knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follows: Option<JournalPosition>,
    /// How far that had come when a witness cosigned it last, if further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    witnessed: Option<JournalPosition>,
    tree: Tree,
    /// The newest event that was looked at.
    last_event: u64,
}

/// One entry: a leaf is its canonical encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The first one.
    Began {
        /// When.
        at: Timestamp,
        /// Where the journal before stood: after a restore, as far as the backup knew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<JournalPosition>,
    },
    /// A witness cosigned more of the journal before than this one's first entry names: what a restore from an older
    /// backup lost.
    Witnessed {
        /// When this node heard of it.
        at: Timestamp,
        /// The witness's member.
        by: MemberCode,
        /// Where the journal before stood.
        before: JournalPosition,
    },
    /// Something happened.
    Event(NumberedEvent),
    /// These events are gone, from the one number to the other: the disk was full, or the node was stopped hard.
    Missed {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
}

impl Journal {
    /// Begins a journal that follows the events after a number. The changes are its first rows.
    ///
    /// # Errors
    /// [`EncodeError`] if an invariant of ours is broken.
    pub fn begin(
        now: Timestamp,
        follows: Option<JournalPosition>,
        last_event: u64,
    ) -> Result<(Self, Vec<Change>), EncodeError> {
        let mut journal = Self { began: now, follows, witnessed: None, tree: Tree::default(), last_event };
        let mut changes = vec![Change::delete(Table::OwnState, Journal::ENDED)];
        journal.add(&Entry::Began { at: now, follows }, &mut changes)?;
        changes.push(journal.head()?);
        Ok((journal, changes))
    }

    /// Goes on from the row [`Journal::HEAD`] of [`Table::OwnState`].
    ///
    /// # Errors
    /// [`RowError`] if it is damaged or newer than this program.
    pub fn restore(head: &[u8]) -> Result<Self, RowError> {
        decode_row(head)
    }

    /// Follows events, in the order of their numbers; the changes are to be stored as one batch. Those that it leaves
    /// out come and go by the hundred and are nobody's deed: connections, and what others publish.
    ///
    /// # Errors
    /// [`EncodeError`] if an invariant of ours is broken.
    pub fn follow(
        &mut self,
        events: impl IntoIterator<Item = NumberedEvent>,
    ) -> Result<Vec<Change>, EncodeError> {
        let mut changes = Vec::new();
        let before = self.last_event;
        for event in events.into_iter().filter(|event| event.number > before) {
            let expected = self.last_event + 1;
            if event.number > expected {
                self.add(&Entry::Missed { from: expected, to: event.number - 1 }, &mut changes)?;
            }
            self.last_event = event.number;
            if is_journalled(&event.event) {
                self.add(&Entry::Event(event), &mut changes)?;
            }
        }
        if self.last_event != before {
            changes.push(self.head()?);
        }
        Ok(changes)
    }

    /// Notes where a witness cosigned the journal before this one, if that is further than this one knows. The changes
    /// are to be stored as one batch.
    ///
    /// # Errors
    /// [`EncodeError`] if an invariant of ours is broken.
    pub fn witnessed(
        &mut self,
        now: Timestamp,
        by: MemberCode,
        before: JournalPosition,
    ) -> Result<Vec<Change>, EncodeError> {
        let is_known = |known: JournalPosition| before.reach() <= known.reach();
        if before.began >= self.began || self.witnessed.or(self.follows).is_some_and(is_known) {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        self.witnessed = Some(before);
        self.add(&Entry::Witnessed { at: now, by, before }, &mut changes)?;
        changes.push(self.head()?);
        Ok(changes)
    }

    /// The newest event that was looked at.
    #[must_use]
    pub const fn last_event(&self) -> u64 {
        self.last_event
    }

    /// Where it stands, for a journal that follows it.
    #[must_use]
    pub fn stands(&self) -> JournalPosition {
        JournalPosition { began: self.began, size: self.tree.size(), root: self.tree.root() }
    }

    /// Says where it stands, signed by its node. Only what is on the device may be signed.
    #[must_use]
    pub fn checkpoint(
        &self,
        (federation, member, node): (FederationId, MemberCode, NodeKey),
        key: &SigningKey,
        now: Timestamp,
    ) -> Note {
        let origin = JournalOrigin { federation, member, node, began: self.began }.to_string();
        let JournalPosition { size, root, .. } = self.stands();
        let extensions = vec![format!("{TIME} {}", now.as_millis())];
        let checkpoint = Checkpoint { origin: origin.clone(), size, root, extensions };
        Note::sign(checkpoint.text(), &origin, key)
    }

    /// The name in [`Table::OwnState`] of the row that a journal goes on from.
    pub const HEAD: &[u8] = b"journal";

    /// The name in [`Table::OwnState`] of the mark that ends a journal: see [`journal_ended_mark`].
    pub const ENDED: &[u8] = b"journal-ended";

    fn add(&mut self, entry: &Entry, changes: &mut Vec<Change>) -> Result<(), EncodeError> {
        let leaf = encode_row(entry)?;
        let key = entry_key(self.began, self.tree.size());
        push_stored(&mut self.tree, self.began, &leaf, changes);
        changes.push(Change::put(Table::Journal, key, leaf));
        Ok(())
    }

    fn head(&self) -> Result<Change, EncodeError> {
        Ok(Change::put(Table::OwnState, Self::HEAD, encode_row(self)?))
    }
}

/// The key of an entry in [`Table::Journal`].
#[must_use]
pub fn entry_key(began: Timestamp, number: u64) -> Vec<u8> {
    [began.as_millis().to_be_bytes(), number.to_be_bytes()].concat()
}

/// Of which journal an entry is, by when that began, and its number: from its key. `None` for other keys.
#[must_use]
pub fn entry_of_key(key: &[u8]) -> Option<(Timestamp, u64)> {
    let (began, number) = key.split_first_chunk::<8>()?;
    let number = <[u8; 8]>::try_from(number).ok()?;
    Some((Timestamp::from_millis(u64::from_be_bytes(*began)), u64::from_be_bytes(number)))
}

/// The key of a root in [`Table::JournalTiers`]; `None` for a tier that no list has.
#[must_use]
pub fn tier_key(began: Timestamp, tier: u32, number: u64) -> Option<Vec<u8>> {
    let tier = u8::try_from(tier).ok()?;
    Some([began.as_millis().to_be_bytes().as_slice(), &[tier], &number.to_be_bytes()].concat())
}

/// The rows of [`Table::JournalTiers`] of journals that have none: their entries' rows come in the order of their keys.
/// Rows with other keys, and what follows a gap, are passed over.
pub fn tiers_of(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Vec<Change> {
    let (mut began, mut tree, mut changes) = (None, Tree::default(), Vec::new());
    for (key, leaf) in rows {
        let Some((of, number)) = entry_of_key(&key) else { continue };
        if began != Some(of) {
            (began, tree) = (Some(of), Tree::default());
        }
        if number == tree.size() {
            push_stored(&mut tree, of, &leaf, &mut changes);
        }
    }
    changes
}

/// Adds a leaf, and what is stored beside it.
fn push_stored(tree: &mut Tree, began: Timestamp, leaf: &[u8], changes: &mut Vec<Change>) {
    tree.push_telling(leaf, |level, number, root| {
        let is_stored = level > 0 && level.is_multiple_of(TIER_LEVELS);
        let key = is_stored.then(|| tier_key(began, level / TIER_LEVELS, number)).flatten();
        changes.extend(key.map(|key| Change::put(Table::JournalTiers, key, *root.as_bytes())));
    });
}

/// The row by which a restore says that the journal it brought back is not to be gone on with: its node may have
/// signed more since, and a new one begins.
#[must_use]
pub fn journal_ended_mark() -> Change {
    Change::put(Table::OwnState, Journal::ENDED, [1])
}

/// A journal's name: the origin of its checkpoints, and the name of the key under them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalOrigin {
    /// The federation.
    pub federation: FederationId,
    /// The node's member.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
    /// When it began.
    pub began: Timestamp,
}

impl fmt::Display for JournalOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { federation, member, node, began } = self;
        write!(f, "{ORIGIN}/{federation}/{member}/{node}/{}", began.as_millis())
    }
}

impl FromStr for JournalOrigin {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let read = || {
            let mut parts = text.strip_prefix(ORIGIN)?.strip_prefix('/')?.split('/');
            let origin = Self {
                federation: parts.next()?.parse().ok()?,
                member: parts.next()?.parse().ok()?,
                node: parts.next()?.parse().ok()?,
                began: Timestamp::from_millis(parts.next()?.parse().ok()?),
            };
            (origin.to_string() == text).then_some(origin)
        };
        read().ok_or(NoteError::Checkpoint("origin"))
    }
}

/// A signed checkpoint of a journal, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalCheckpoint {
    /// Whose.
    pub origin: JournalOrigin,
    /// Its entries.
    pub size: u64,
    /// Their root.
    pub root: TreeRoot,
    /// When it was signed, by its node's clock.
    pub made: Timestamp,
}

impl JournalCheckpoint {
    /// Where the journal stood.
    #[must_use]
    pub const fn position(&self) -> JournalPosition {
        JournalPosition { began: self.origin.began, size: self.size, root: self.root }
    }

    /// Reads a checkpoint that its own node signed.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn read(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = Note::parse(bytes)?;
        if note.signatures.len() != 1 {
            return Err(NoteError::Signatures(note.signatures.len()));
        }
        Self::of(&note)
    }

    /// Reads a checkpoint that its own node signed, whoever else did.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn of(note: &Note) -> Result<Self, NoteError> {
        let checkpoint = Checkpoint::parse(&note.text)?;
        let origin: JournalOrigin = checkpoint.origin.parse()?;
        let made = checkpoint.time(TIME).ok_or(NoteError::Checkpoint("time"))?;
        if !note.is_signed_by(&checkpoint.origin, origin.node.as_bytes()) {
            return Err(NoteError::Unsigned);
        }
        Ok(Self { origin, size: checkpoint.size, root: checkpoint.root, made })
    }
}

const fn is_journalled(event: &Event) -> bool {
    match event {
        Event::Relay(_)
        | Event::CharterChanged { .. }
        | Event::CharterSettled { .. }
        | Event::BesideSettled { .. }
        | Event::KeySetChanged { .. }
        | Event::ForkSeen { .. }
        | Event::HeadsContradict { .. }
        | Event::Published { .. }
        | Event::TwinSeen
        | Event::Operated(_)
        | Event::Journal(_)
        | Event::ClockJudged { .. } => true,
        Event::PeerConnected { .. } | Event::PeerDisconnected { .. } | Event::DirectoryChanged { .. } => {
            false
        }
    }
}

/// What a journal's origin begins with.
const ORIGIN: &str = "refpoint-journal";

/// What a checkpoint's third line begins with, before milliseconds since 1970.
pub(super) const TIME: &str = "time";
