//! The write-ahead log: what makes a batch durable with one write and one fdatasync.
//!
//! sled's own `flush` writes several buffers one after another and waits for the device after each. So a batch's rows
//! go to this file before anybody is told, and into sled after that. sled brings them to the device in its own time; when the log is full, or the store closes, sled is flushed and synced, and the log begins anew. An
//! opening applies to sled what it lacks of the log.
//!
//! The file has its full size from the start and is overwritten in place, so that a sync has no metadata to write.
//! That also means that old entries lie behind the last one. An entry counts only if its checksum is right, its
//! generation is that of the first entry, and its number follows the one before.
//!
//! ```text
//! entry = checksum (16, SHA-256 over the rest) generation (8) number (8) length (4) change*
//! change = key length (2) row length (4, all ones for a removal) key row
//! ```

use std::{
    fs::File,
    io::{self, BufReader, Read, Take},
    os::unix::fs::FileExt,
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{
    error::is_lack_of_room,
    folder::{open_in_place, sync_folder},
};

/// A row that changes: its key, and the row or nothing for a removal.
pub(super) type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// One batch in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The batch's number.
    pub(super) number: u64,
    /// Its changes.
    pub(super) changes: Vec<RowChange>,
}

impl Entry {
    /// Bytes that the entry takes in the log.
    pub(super) fn size(&self) -> u64 {
        let changes = self
            .changes
            .iter()
            .map(|(key, row)| CHANGE_HEADER_BYTES + key.len() + row.as_ref().map_or(0, Vec::len));
        (HEADER_BYTES + changes.sum::<usize>()) as u64
    }

    fn write_to(&self, generation: [u8; GENERATION_BYTES], out: &mut Vec<u8>) -> io::Result<()> {
        let too_large = |_| io::Error::new(io::ErrorKind::InvalidInput, "a batch too large for the log");
        let start = out.len();
        out.extend([0; CHECKSUM_BYTES]);
        out.extend(generation);
        out.extend(self.number.to_be_bytes());
        let length = self.size().saturating_sub(HEADER_BYTES as u64);
        out.extend(u32::try_from(length).map_err(too_large)?.to_be_bytes());
        for (key, row) in &self.changes {
            out.extend(u16::try_from(key.len()).map_err(too_large)?.to_be_bytes());
            let row_length = row.as_ref().map_or(Ok(REMOVED), |row| u32::try_from(row.len()));
            out.extend(row_length.map_err(too_large)?.to_be_bytes());
            out.extend(key);
            out.extend(row.iter().flatten());
        }
        let (_, written) = out.split_at_mut(start);
        if let Some((sum, rest)) = written.split_first_chunk_mut::<CHECKSUM_BYTES>() {
            *sum = checksum(rest);
        }
        Ok(())
    }
}

/// The open log.
pub(super) struct WriteAheadLog {
    file: File,
    size: u64,
    /// What entries are written now, or `None` as long as the entries found must stay as they are.
    writing: Option<Writing>,
}

struct Writing {
    generation: [u8; GENERATION_BYTES],
    end: u64,
}

impl WriteAheadLog {
    /// Opens the log, which is made with this size if it is not there, and reads its entries. They stay until
    /// [`WriteAheadLog::restart`]; before that the log takes nothing.
    pub(super) fn open(path: &Path, size: u64) -> io::Result<(Self, Vec<Entry>)> {
        let file = open_in_place(path)?;
        let length = file.metadata()?.len();
        let entries = entries_in(BufReader::with_capacity(BUFFER_BYTES, &file).take(length))?;
        let mut log = Self { file, size: length, writing: None };
        match log.extend(size) {
            Ok(()) => path.parent().map_or(Ok(()), sync_folder)?,
            // A full disk must not keep a node from starting; without the log each sync is one of sled.
            Err(cause) if is_lack_of_room(&cause) => {
                tracing::warn!("no room for the write-ahead log, so the node is slower: {cause}");
                log.size = 0;
            }
            Err(cause) => return Err(cause),
        }
        Ok((log, entries))
    }

    /// Fills the file with zeros up to a size.
    fn extend(&mut self, size: u64) -> io::Result<()> {
        if self.size < size {
            let zeros = [0; BUFFER_BYTES];
            while self.size < size {
                let bytes = zeros.len().min(usize::try_from(size - self.size).unwrap_or(usize::MAX));
                self.file.write_all_at(zeros.get(..bytes).unwrap_or_default(), self.size)?;
                self.size = self.size.saturating_add(bytes as u64);
            }
            self.file.sync_all()?;
        }
        Ok(())
    }

    /// Ends in order: all that was logged is on the device elsewhere, and the next opening need not read it. If this
    /// does not reach the device, it reads entries that the database knows.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.writing.take().is_some() && self.size > 0 {
            self.file.write_all_at(&[0; CHECKSUM_BYTES], 0)?;
        }
        Ok(())
    }

    /// Begins anew: all that was logged is on the device elsewhere. Nothing is written before the next entry, so a
    /// power cut brings the old entries back, which are all known to the database.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        let mut generation = [0; GENERATION_BYTES];
        getrandom::fill(&mut generation).map_err(io::Error::other)?;
        self.writing = Some(Writing { generation, end: 0 });
        Ok(())
    }

    /// Says whether entries may be written at all by now, and as many bytes as these fit.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.end.saturating_add(bytes) <= self.size)
    }

    /// Whether the log is in use, so that a full sync of the database ends its entries.
    pub(super) const fn is_in_use(&self) -> bool {
        self.writing.is_some()
    }

    /// Writes entries for which there is room, and returns once they are on the device.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let Some(writing) = &mut self.writing else {
            return Err(io::Error::other("the log is not in use yet"));
        };
        let mut bytes = Vec::new();
        for entry in entries {
            entry.write_to(writing.generation, &mut bytes)?;
        }
        self.file.write_all_at(&bytes, writing.end)?;
        self.file.sync_data()?;
        writing.end = writing.end.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Puts another file in the place of the log's, for tests of what fails.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

/// The entries from the beginning up to the first that does not count.
fn entries_in<R: Read>(mut input: Take<R>) -> io::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut generation = None;
    while let Some((entry, of)) = next_entry(&mut input)? {
        let follows = entries.last().is_none_or(|last| last.number.checked_add(1) == Some(entry.number));
        if *generation.get_or_insert(of) != of || !follows {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The entry that begins here, unless none does that is whole, with its generation.
fn next_entry<R: Read>(input: &mut Take<R>) -> io::Result<Option<(Entry, [u8; GENERATION_BYTES])>> {
    let mut bytes = vec![0; HEADER_BYTES];
    if input.limit() < HEADER_BYTES as u64 {
        return Ok(None);
    }
    input.read_exact(&mut bytes)?;
    let length = bytes.last_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length));
    if input.limit() < u64::from(length) {
        return Ok(None);
    }
    bytes.resize(HEADER_BYTES.saturating_add(usize::try_from(length).map_err(io::Error::other)?), 0);
    input.read_exact(bytes.get_mut(HEADER_BYTES..).unwrap_or_default())?;
    Ok(whole_entry(&bytes))
}

fn whole_entry(bytes: &[u8]) -> Option<(Entry, [u8; GENERATION_BYTES])> {
    let (sum, rest) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
    if *sum != checksum(rest) {
        return None;
    }
    let (generation, rest) = rest.split_first_chunk::<GENERATION_BYTES>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (_length, mut body) = rest.split_first_chunk::<4>()?;
    let mut changes = Vec::new();
    while !body.is_empty() {
        let (key_length, rest) = body.split_first_chunk::<2>()?;
        let (row_length, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*key_length)))?;
        let (row, rest) = match u32::from_be_bytes(*row_length) {
            REMOVED => (None, rest),
            length => {
                let (row, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Some(row.to_vec()), rest)
            }
        };
        changes.push((key.to_vec(), row));
        body = rest;
    }
    Some((Entry { number: u64::from_be_bytes(*number), changes }, *generation))
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.iter_mut().zip(Sha256::digest(bytes)).for_each(|(into, from)| *into = from);
    sum
}

/// What is read or written at once where the whole log is: memory that is freed soon and stays small.
const BUFFER_BYTES: usize = 16 * 1024;

/// Half a SHA-256: against torn writes and bit rot, not against people, who could replace the whole file.
const CHECKSUM_BYTES: usize = 16;

/// Drawn anew at each beginning: old entries behind the last one are never taken for new ones.
const GENERATION_BYTES: usize = 8;

const HEADER_BYTES: usize = CHECKSUM_BYTES + GENERATION_BYTES + 8 + 4;

const CHANGE_HEADER_BYTES: usize = 2 + 4;

/// The row length that stands for a removal; a row has at most 4 KiB.
const REMOVED: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn entry(number: u64) -> Entry {
        let row = vec![u8::try_from(number % 251).unwrap(); 40];
        Entry { number, changes: vec![(number.to_be_bytes().to_vec(), Some(row)), (b"gone".to_vec(), None)] }
    }

    fn entries(numbers: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
        numbers.map(entry).collect()
    }

    fn found(path: &Path) -> Vec<Entry> {
        WriteAheadLog::open(path, 0).unwrap().1
    }

    #[test]
    fn what_was_appended_is_found_and_a_restart_leaves_it_until_the_next_entry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wal");
        let (mut log, none) = WriteAheadLog::open(&path, 4_096).unwrap();
        assert!(none.is_empty() && !log.has_room(0), "nothing before the opening is complete");
        assert!(log.append(&entries(1..=1)).is_err());
        log.restart().unwrap();
        log.append(&entries(1..=3)).unwrap();
        log.append(&entries(4..=9)).unwrap();
        assert_eq!(found(&path), entries(1..=9));
        log.restart().unwrap();
        assert_eq!(found(&path), entries(1..=9));
        // The old entries 2 to 9 lie behind it.
        log.append(&entries(10..=10)).unwrap();
        assert_eq!(found(&path), entries(10..=10));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4_096);
        log.end().unwrap();
        assert!(found(&path).is_empty() && !log.has_room(0));
    }

    #[test]
    fn old_entries_whose_numbers_would_follow_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wal");
        let (mut log, _) = WriteAheadLog::open(&path, 4_096).unwrap();
        log.restart().unwrap();
        log.append(&entries(1..=3)).unwrap();
        log.restart().unwrap();
        // Numbers come again after a database lost its end.
        log.append(&entries(1..=1)).unwrap();
        assert_eq!(found(&path), entries(1..=1));
    }

    #[test]
    fn room_is_counted_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let size = entry(1).size();
        let (mut log, _) = WriteAheadLog::open(&folder.path().join("wal"), 2 * size).unwrap();
        log.restart().unwrap();
        log.append(&entries(1..=1)).unwrap();
        assert!(log.has_room(size) && !log.has_room(size + 1));
        log.append(&entries(2..=2)).unwrap();
        assert!(!log.has_room(1));
    }

    #[test]
    fn each_flipped_byte_and_each_cut_ends_the_log_before_the_entry_that_it_hits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wal");
        let (mut log, _) = WriteAheadLog::open(&path, 0).unwrap();
        log.size = u64::MAX;
        log.restart().unwrap();
        log.append(&entries(1..=3)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let size = usize::try_from(entry(1).size()).unwrap();
        assert_eq!(bytes.len(), 3 * size);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let whole = at / size;
            for (bytes, how) in [(&flipped[..], "flipped"), (&bytes[..at], "cut")] {
                let found = entries_in(bytes.take(bytes.len() as u64)).unwrap();
                assert_eq!(found, entries(1..=whole as u64), "{how} at byte {at}");
            }
        }
    }
}
