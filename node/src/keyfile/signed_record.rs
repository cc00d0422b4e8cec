//! What a root key has signed, kept beside it, so that it never signs two things for one place.
//!
//! Two charter versions on one parent, or two key sets of one epoch, are a fork that the whole federation sees.
//! The record travels with the key: it is the file `<key file>.signed`, one line `place id` each, with comments.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use refpoint_protocol::ids::DocumentId;

use super::{OWNER_ONLY_FILE, folder_of, sync_folder, write_new};
use crate::text_file::without_mark;

/// The record of one root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRecord {
    file: PathBuf,
    lines: Vec<(String, DocumentId)>,
}

/// Why something is not signed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The record cannot be read or written.
    #[error("cannot use the record of what this root key signed, {}: {source}", file.display())]
    Io {
        /// The record.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The record has a line that is none.
    #[error("line {line} of {} is not 'place id'", file.display())]
    Damaged {
        /// The record.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Another document was signed for this place.
    #[error("this root key has signed another document for '{place}': {}", earlier.short())]
    Other {
        /// The record.
        file: PathBuf,
        /// The place.
        place: String,
        /// What was signed.
        earlier: DocumentId,
    },
    /// What is to be given up was never signed for this place.
    #[error("{} names no document {beginning}… that was signed for this place", file.display())]
    NotSigned {
        /// The record.
        file: PathBuf,
        /// What the person named.
        beginning: String,
    },
}

impl SignedRecord {
    /// Where the record of a root key's file lies.
    #[must_use]
    pub fn path_beside(root_key: &Path) -> PathBuf {
        let mut name = root_key.as_os_str().to_owned();
        name.push(".signed");
        PathBuf::from(name)
    }

    /// Reads the record beside a root key's file; none yet is an empty one.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn beside(root_key: &Path) -> Result<Self, RecordError> {
        let file = Self::path_beside(root_key);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(RecordError::Io { file, source }),
        };
        let mut lines = Vec::new();
        let entries = |(_, line): &(usize, &str)| !line.is_empty() && !line.starts_with('#');
        for (index, line) in without_mark(&text).lines().enumerate().filter(entries) {
            let parsed =
                line.rsplit_once(' ').and_then(|(place, id)| Some((place.to_owned(), id.parse().ok()?)));
            let Some(parsed) = parsed else {
                return Err(RecordError::Damaged { file, line: index + 1 });
            };
            lines.push(parsed);
        }
        Ok(Self { file, lines })
    }

    /// Checks that nothing else was signed for the places.
    ///
    /// # Errors
    /// [`RecordError::Other`].
    pub fn check(&self, places: &[String], id: DocumentId) -> Result<(), RecordError> {
        for (place, earlier) in &self.lines {
            if places.contains(place) && *earlier != id {
                let (file, place) = (self.file.clone(), place.clone());
                return Err(RecordError::Other { file, place, earlier: *earlier });
            }
        }
        Ok(())
    }

    /// Writes down, on the device, what is about to be signed: before the signature leaves this function's caller.
    ///
    /// # Errors
    /// [`RecordError`]; then nothing may be signed.
    pub fn enter(&mut self, places: &[String], id: DocumentId) -> Result<(), RecordError> {
        self.check(places, id)?;
        let known = |place: &String| self.lines.iter().any(|(known, _)| known == place);
        let new: Vec<_> =
            places.iter().filter(|place| !known(place)).map(|place| (place.clone(), id)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.lines.extend(new);
        let lines: String = self.lines.iter().map(|(place, id)| format!("{place} {id}\n")).collect();
        self.replace(&format!("{HEAD}{lines}"))
            .map_err(|source| RecordError::Io { file: self.file.clone(), source })
    }

    /// Gives up what was signed for a place, so that another may be signed; the record keeps both. The beginning of
    /// the earlier document's id says that a person means that one.
    ///
    /// # Errors
    /// [`RecordError::NotSigned`] if no such document was signed there.
    pub fn give_up(&mut self, places: &[String], beginning: &str) -> Result<(), RecordError> {
        let wanted = beginning.to_lowercase();
        let is_it = |place: &String, id: &DocumentId| {
            places.contains(place) && wanted.len() >= PREFIX_LEAST && id.to_string().starts_with(&wanted)
        };
        let mut given_up = 0;
        for (place, id) in &mut self.lines {
            if is_it(place, id) {
                *place = format!("{GIVEN_UP}{place}");
                given_up += 1;
            }
        }
        if given_up == 0 {
            let (file, beginning) = (self.file.clone(), beginning.to_owned());
            return Err(RecordError::NotSigned { file, beginning });
        }
        Ok(())
    }

    /// The document that was signed for a place.
    #[must_use]
    pub fn signed(&self, place: &str) -> Option<DocumentId> {
        self.lines.iter().find(|(signed, _)| signed == place).map(|(_, id)| *id)
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let mut name = self.file.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(name);
        write_new(&beside, text.as_bytes(), OWNER_ONLY_FILE)?;
        let (folder, made) = (fs::metadata(folder_of(&self.file))?, fs::metadata(&beside)?);
        // Signed by root in a folder of another user's, who could not read the record and so not sign any more.
        if folder.uid() != made.uid() && made.uid() == 0 {
            chown(&beside, Some(folder.uid()), Some(folder.gid()))?;
        }
        fs::rename(&beside, &self.file)?;
        sync_folder(folder_of(&self.file))
    }
}

/// Says what the file is to whoever finds it beside the key.
const HEAD: &str = "\
# What this root key has signed, so that it never signs two different things for one place, which every member
# would see as a fork. Keep it with the key, on every medium; not secret. One line each: place, document.
";

/// Digits of an id that tell what a key signed apart: those that the refusal shows.
const PREFIX_LEAST: usize = 8;

/// Stands before a place whose document was given up.
const GIVEN_UP: &str = "given-up ";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_place_is_signed_for_once_across_runs() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("root.key");
        let [one, two] = [1, 2].map(|byte| DocumentId::from_bytes([byte; 32]));
        let places = ["charter founding".to_owned()];
        SignedRecord::beside(&key).unwrap().enter(&places, one).unwrap();
        let mut record = SignedRecord::beside(&key).unwrap();
        record.enter(&places, one).unwrap();
        assert!(
            matches!(record.enter(&places, two), Err(RecordError::Other { earlier, .. }) if earlier == one)
        );
        record.enter(&["key-set 1.0.0".to_owned()], two).unwrap();
        assert_eq!(SignedRecord::beside(&key).unwrap(), record);
        let file = folder.path().join("root.key.signed");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# What this root key has signed"), "{text}");
        fs::write(&file, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
        assert_eq!(SignedRecord::beside(&key).unwrap(), record);
    }

    #[test]
    fn a_record_belongs_to_the_folders_owner_whoever_signs() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("root.key");
        let owner = if rustix::process::geteuid().is_root() {
            chown(folder.path(), Some(4_000_000), Some(4_000_000)).unwrap();
            4_000_000
        } else {
            rustix::process::geteuid().as_raw()
        };
        let id = DocumentId::from_bytes([1; 32]);
        SignedRecord::beside(&key).unwrap().enter(&["charter founding".to_owned()], id).unwrap();
        assert_eq!(fs::metadata(folder.path().join("root.key.signed")).unwrap().uid(), owner);
    }

    #[test]
    fn what_is_given_up_makes_room_and_stays_on_record() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("root.key");
        let [one, two] = [1, 2].map(|byte| DocumentId::from_bytes([byte; 32]));
        let places = ["charter after 00".to_owned()];
        let mut record = SignedRecord::beside(&key).unwrap();
        record.enter(&places, one).unwrap();
        for wrong in ["", "0101", "02020202"] {
            assert!(matches!(record.give_up(&places, wrong), Err(RecordError::NotSigned { .. })), "{wrong}");
        }
        record.give_up(&places, "01010101").unwrap();
        record.enter(&places, two).unwrap();
        let mut read = SignedRecord::beside(&key).unwrap();
        assert_eq!(
            (read.signed("charter after 00"), read.signed("given-up charter after 00")),
            (Some(two), Some(one))
        );
        assert!(
            matches!(read.enter(&places, one), Err(RecordError::Other { earlier, .. }) if earlier == two)
        );
    }

    #[test]
    fn a_damaged_record_signs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("root.key");
        fs::write(folder.path().join("root.key.signed"), "charter founding xyz\n").unwrap();
        assert!(matches!(SignedRecord::beside(&key), Err(RecordError::Damaged { line: 1, .. })));
    }
}
