//! Reads a whole backup and checks everything in it, without writing anything.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use age::{secrecy::SecretString, stream::StreamReader};
use refpoint_protocol::storage::Table;

use super::{
    BackupError, Manifest, Opener,
    archive::{ArchiveReader, Name, Next},
};
use crate::{
    founding::FEDERATION_KEY,
    keyfile::{NodeSecret, PassphraseError, Secret, StorageKey, open_key},
    store::{Examination, Examined, StorageKey as StoreKey},
};

/// Where the passphrase of the node's own keys comes from, asked only if they are under one.
pub type NodePassphrase<'a> = dyn Fn() -> Result<SecretString, PassphraseError> + 'a;

/// What a backup holds, every byte of it checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its rows and content files.
    pub rows: Examined,
    /// The configuration and keys in it, by name.
    pub files: Vec<String>,
}

impl Checked {
    /// How many rows of a table it holds.
    #[must_use]
    pub fn count(&self, table: Table) -> u64 {
        self.rows.tables.get(&table).copied().unwrap_or_default()
    }
}

/// Decrypts a backup and checks every file's hash, the keys, every row and every content file. `moved` hears of the
/// bytes read.
///
/// # Errors
/// [`BackupError`] names the first thing that is wrong.
pub fn check(
    file: &Path,
    opener: &Opener<'_>,
    node_passphrase: &NodePassphrase<'_>,
    moved: impl FnMut(u64),
) -> Result<Checked, BackupError> {
    let (mut archive, manifest) = open_archive(file, opener, moved)?;
    let mut progress = Progress::default();
    let mut examination = None;
    let mut files = Vec::new();
    let left_out = loop {
        let (name, bytes) = match archive.next()? {
            Next::End(left_out) => break left_out,
            Next::File(name, bytes) => (name, bytes),
        };
        progress.step(name)?;
        let missing = || BackupError::Missing { name: "keys/storage.key" };
        match name {
            Name::Rows => {
                let examination: &mut Examination = examination.as_mut().ok_or_else(missing)?;
                let mut federation = None;
                archive.body(name, bytes, |body| {
                    let seen = |table, key: &[u8], value: &[u8]| {
                        if table == Table::OwnState && key == FEDERATION_KEY {
                            federation = Some(value.to_vec());
                        }
                    };
                    Ok(examination.rows(body, seen)?)
                })?;
                let told = manifest.federation.map(|federation| federation.as_bytes().to_vec());
                if federation != told {
                    return Err(BackupError::Manifest("federation"));
                }
            }
            Name::Content(hash) => {
                let content = archive.small(name, bytes)?;
                examination.as_mut().ok_or_else(missing)?.content(&hash, &content)?;
            }
            name => {
                let text = archive.small(name, bytes)?;
                files.push(name.to_string());
                if name == Name::NodeKey {
                    let key: NodeSecret = key_in(&manifest, file, name, &text, node_passphrase)?;
                    if key.key() != manifest.node {
                        return Err(BackupError::Manifest("node key"));
                    }
                } else if name == Name::StorageKey {
                    let key: StorageKey = key_in(&manifest, file, name, &text, node_passphrase)?;
                    examination = Some(Examination::new(StoreKey::from_bytes(key.as_bytes())));
                }
            }
        }
    };
    progress.end()?;
    let examination = examination.ok_or(BackupError::Missing { name: "keys/storage.key" })?;
    let rows = examination.finish(&left_out)?;
    if u64::from(rows.schema) != manifest.schema {
        return Err(BackupError::Manifest("schema"));
    }
    Ok(Checked { manifest, rows, files })
}

/// An open backup, its manifest read.
pub(super) type OpenArchive<F> = ArchiveReader<StreamReader<BufReader<Told<F>>>>;

pub(super) fn open_archive<F: FnMut(u64)>(
    file: &Path,
    opener: &Opener<'_>,
    moved: F,
) -> Result<(OpenArchive<F>, Manifest), BackupError> {
    let input = File::open(file).map_err(BackupError::io("read", file))?;
    let input = BufReader::with_capacity(READ_BYTES, Told { input, moved });
    let content = opener.open(file, input)?;
    ArchiveReader::begin(content)?.ok_or_else(|| BackupError::NotABackup(file.to_path_buf()))
}

/// Opens a key file that lies in a backup.
pub(super) fn key_in<S: Secret>(
    manifest: &Manifest,
    backup: &Path,
    name: Name,
    text: &[u8],
    passphrase: &NodePassphrase<'_>,
) -> Result<S, BackupError> {
    let place = backup.join(name.to_string());
    let text = std::str::from_utf8(text).map_err(|_| BackupError::Name { name: name.to_string() })?;
    let (header, secret) = open_key(&place, text, passphrase)?;
    if header.member == manifest.member { Ok(secret) } else { Err(BackupError::Manifest("member")) }
}

/// Files come in one order, each once; that makes doubled and misplaced ones impossible.
#[derive(Default)]
pub(super) struct Progress {
    last: Option<Name>,
    needed: usize,
}

impl Progress {
    pub(super) fn step(&mut self, name: Name) -> Result<(), BackupError> {
        if self.last >= Some(name) {
            return Err(BackupError::Name { name: name.to_string() });
        }
        self.last = Some(name);
        self.needed += usize::from(NEEDED.iter().any(|(needed, _)| *needed == name));
        // What must have come by now, in their order.
        match NEEDED.get(self.needed) {
            Some((needed, text)) if *needed < name => Err(BackupError::Missing { name: text }),
            _ => Ok(()),
        }
    }

    pub(super) fn end(&self) -> Result<(), BackupError> {
        NEEDED.get(self.needed).map_or(Ok(()), |(_, text)| Err(BackupError::Missing { name: text }))
    }
}

/// A reader that tells how much it read.
pub(super) struct Told<F> {
    input: File,
    moved: F,
}

impl<F: FnMut(u64)> Read for Told<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(into)?;
        (self.moved)(read as u64);
        Ok(read)
    }
}

/// Without these it is no backup.
const NEEDED: [(Name, &str); 4] = [
    (Name::Config, "refpoint.toml"),
    (Name::NodeKey, "keys/node.key"),
    (Name::StorageKey, "keys/storage.key"),
    (Name::Rows, "data/rows"),
];

const READ_BYTES: usize = 256 * 1024;
