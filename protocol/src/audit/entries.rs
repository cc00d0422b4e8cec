//! The entries of the exporter's journal in a bundle: the whole list, so that its root, and every earlier one, is made
//! anew from them. They hold ids, members and states, no content.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    bundle::Exporter,
    journal::{Entry, JournalCheckpoint},
    merkle::Tree,
    note::{Note, NoteError},
    witness::WitnessName,
};
use crate::{
    heads::JournalPosition,
    ids::{MemberCode, TreeRoot},
    machine::{Event, NumberedEvent},
    membership::Membership,
    relay::rows::decode_row,
    time::Timestamp,
};

/// What a bundle has of its exporter's journal, beside the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntries {
    /// The root of the first entries, by their number: one for each size from 0 to the checkpoint's.
    roots: Vec<TreeRoot>,
    /// Entries about messages.
    pub messages: u64,
    /// Entries that this program cannot read.
    pub unread: u64,
    /// Where the journal before stood, as the first entry names it; after a restore that is what the backup had.
    pub follows: Option<JournalPosition>,
    /// Where a witness saw the journal before last, if that is further, and the witness's member: by the exporter's word.
    pub witnessed: Option<(MemberCode, JournalPosition)>,
    /// The last cosigned state and who cosigned it when, if there is one.
    pub cosigned: Option<CosignedState>,
}

/// A state of a journal that others cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignedState {
    /// Its entries.
    pub size: u64,
    /// The witnesses, each with the time by its clock.
    pub by: Vec<(WitnessName, Timestamp)>,
}

/// What is wrong with the entries, or with a cosigned checkpoint of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// A line out of form or place.
    #[error(
        "an entry in base64, or one cosigned checkpoint before all entries, is expected after the journal's line"
    )]
    Form,
    /// Not the list that the checkpoint is of.
    #[error("they are {got} entries with another root than the checkpoint of {said} says")]
    Root {
        /// Entries of the checkpoint.
        said: u64,
        /// Entries in the bundle.
        got: u64,
    },
    /// The cosigned checkpoint is no checkpoint of this journal, or of another past of it, or not cosigned as it should be.
    #[error("the cosigned checkpoint is not of this journal's past, or not cosigned: {0}")]
    Cosigned(String),
}

impl JournalEntries {
    /// Reads and checks the lines after the journal's.
    ///
    /// # Errors
    /// [`EntriesError`].
    pub(super) fn read(
        lines: &[&[u8]],
        (exporter, journal): (&Exporter, &JournalCheckpoint),
        membership: &Membership,
    ) -> Result<Self, EntriesError> {
        let (cosigned, lines) = match lines.split_first() {
            Some((first, rest)) if first.starts_with(COSIGNED.as_bytes()) => {
                (Some(decoded(first, COSIGNED)?), rest)
            }
            _ => (None, lines),
        };
        let (mut tree, mut messages, mut unread) = (Tree::default(), 0, 0);
        let (mut follows, mut witnessed) = (None, None);
        let mut roots = vec![tree.root()];
        for line in lines {
            let leaf = decoded(line, ENTRY)?;
            tree.push(&leaf);
            roots.push(tree.root());
            match decode_row::<Entry>(&leaf) {
                Ok(Entry::Event(NumberedEvent { event: Event::Relay(_), .. })) => messages += 1,
                Ok(Entry::Began { follows: before, .. }) => follows = before,
                Ok(Entry::Witnessed { by, before, .. }) => witnessed = Some((by, before)),
                Ok(Entry::Event(_) | Entry::Missed { .. }) => {}
                Err(_) => unread += 1,
            }
        }
        if (tree.size(), tree.root()) != (journal.size, journal.root) {
            return Err(EntriesError::Root { said: journal.size, got: tree.size() });
        }
        let mut entries = Self { roots, messages, unread, follows, witnessed, cosigned: None };
        entries.cosigned =
            cosigned.map(|note| entries.cosigned_state(&note, exporter, journal, membership)).transpose()?;
        Ok(entries)
    }

    /// The root of the first so many entries.
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<TreeRoot> {
        self.roots.get(usize::try_from(size).ok()?).copied()
    }

    fn cosigned_state(
        &self,
        note: &[u8],
        exporter: &Exporter,
        journal: &JournalCheckpoint,
        membership: &Membership,
    ) -> Result<CosignedState, EntriesError> {
        let wrong = |why: String| EntriesError::Cosigned(why);
        let note = Note::parse(note).map_err(|error| wrong(error.to_string()))?;
        let read = JournalCheckpoint::of(&note).map_err(|error| wrong(error.to_string()))?;
        if read.origin != journal.origin || self.root_at(read.size) != Some(read.root) {
            return Err(wrong("its root is not that of the first so many entries".to_owned()));
        }
        let own = read.origin.to_string();
        let mut by: Vec<(WitnessName, Timestamp)> = Vec::new();
        for signature in note.signatures.iter().filter(|it| it.name != own) {
            let (witness, at) = cosigned(&note, &signature.name, exporter, membership).map_err(wrong)?;
            if by.iter().any(|(known, _)| *known == witness) {
                return Err(wrong(format!("node {} cosigned it twice", witness.node.short())));
            }
            by.push((witness, at));
        }
        if by.is_empty() {
            return Err(wrong("nobody cosigned it".to_owned()));
        }
        Ok(CosignedState { size: read.size, by })
    }
}

/// Who cosigned a note of this exporter's under a name, and when by its clock; or why that does not count.
pub(super) fn cosigned(
    note: &Note,
    name: &str,
    exporter: &Exporter,
    membership: &Membership,
) -> Result<(WitnessName, Timestamp), String> {
    let witness: WitnessName = name.parse().map_err(|error: NoteError| error.to_string())?;
    if witness.federation != exporter.federation || witness.member == exporter.member {
        return Err("it is of another federation, or of the exporter's own member".to_owned());
    }
    if membership.node_of(&witness.member, &witness.node).is_none() {
        return Err(format!("no key set in it lists node {} for {}", witness.node.short(), witness.member));
    }
    let seconds = note.cosigned_by(name, witness.node.as_bytes()).ok_or("its signature does not verify")?;
    Ok((witness, Timestamp::from_millis(seconds.saturating_mul(1_000))))
}

fn decoded(line: &[u8], word: &str) -> Result<Vec<u8>, EntriesError> {
    let encoded = line.strip_prefix(word.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
    STANDARD.decode(encoded.ok_or(EntriesError::Form)?).map_err(|_| EntriesError::Form)
}

/// What an entry's line begins with.
pub(super) const ENTRY: &str = "entry";

/// What the line of the cosigned checkpoint begins with.
pub(super) const COSIGNED: &str = "cosigned";
