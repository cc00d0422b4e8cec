//! A second witness of how far the store has come, so that a database which lost its end does not say nothing.
//!
//! sled drops what it cannot read at the end of its log without a word. So each batch raises a number within the
//! database, and after each sync the number goes into a small file, in place and not waited for. A file ahead of
//! the database proves a loss; a file behind it (its last write did not reach the device) proves nothing.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use sha2::{Digest, Sha256};

use super::folder::open_in_place;

/// The open file.
pub(super) struct Progress {
    file: File,
}

impl Progress {
    /// Opens the file, which is made if it is not there. Returns it with the number that it holds.
    pub(super) fn open(path: &Path) -> io::Result<(Self, u64)> {
        let file = open_in_place(path)?;
        let mut bytes = [0; BYTES];
        let number = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => number_in(&bytes).unwrap_or(0),
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => 0,
            Err(cause) => return Err(cause),
        };
        Ok((Self { file }, number))
    }

    /// Notes a number; it reaches the device when the system gets to it.
    pub(super) fn note(&self, number: u64) -> io::Result<()> {
        let mut bytes = [0; BYTES];
        let digits = number.to_be_bytes();
        let sum = Sha256::digest(digits);
        bytes.iter_mut().zip(digits.into_iter().chain(sum)).for_each(|(into, from)| *into = from);
        self.file.write_all_at(&bytes, 0)
    }
}

/// The number, or `None` for a torn write, which proves nothing either.
fn number_in(bytes: &[u8; BYTES]) -> Option<u64> {
    let (digits, sum) = bytes.split_first_chunk::<8>()?;
    Sha256::digest(digits).starts_with(sum).then(|| u64::from_be_bytes(*digits))
}

/// The number and half a SHA-256 of it.
const BYTES: usize = 8 + 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_last_number_comes_back_and_a_torn_one_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress");
        let (progress, number) = Progress::open(&path).unwrap();
        assert_eq!(number, 0);
        for number in [7, 300, 12] {
            progress.note(number).unwrap();
            assert_eq!(Progress::open(&path).unwrap().1, number);
        }
        progress.file.write_all_at(&[9], 7).unwrap();
        assert_eq!(Progress::open(&path).unwrap().1, 0);
        progress.file.set_len(5).unwrap();
        assert_eq!(Progress::open(&path).unwrap().1, 0);
    }
}
