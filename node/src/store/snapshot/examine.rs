//! Reads a snapshot's rows and content files with the same checks as the store itself, and counts them.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use refpoint_protocol::storage::Table;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{rows::read_row, table_of};
use crate::store::{
    Damage, StorageKey,
    content::{SALT_BYTES, name_of},
    record::{self, FileReference, Place, Shape},
    schema::{self, Founding},
    sled::{FOUNDING, SET_ASIDE, row_key},
};

/// An examination under way: first the rows, then every content file, then [`Examination::finish`].
pub struct Examination {
    storage_key: StorageKey,
    founded: Option<u32>,
    examined: Examined,
    /// The content files that rows name and that have not come yet.
    awaited: BTreeMap<[u8; 32], (Table, Vec<u8>, u64)>,
}

/// What an examination found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// The schema of the rows.
    pub schema: u32,
    /// How many rows each table has; tables without any are left out.
    pub tables: BTreeMap<Table, u64>,
    /// Damaged rows that had been set aside before.
    pub set_aside: u64,
    /// Content files.
    pub files: u64,
    /// Content files that rows name and that were known to be missing.
    pub left_out: u64,
}

/// What is wrong with a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// The rows cannot be read on.
    #[error("its rows cannot be read: {0}")]
    Rows(#[from] io::Error),
    /// A row belongs to no table.
    #[error("a row belongs to no table ({0:#04x})")]
    NoTable(u8),
    /// The founding record is missing, so nothing says which schema and key the rows have.
    #[error("its founding record is missing")]
    NotFounded,
    /// The founding record is damaged.
    #[error("its founding record is damaged")]
    FoundingDamaged,
    /// The storage key is another one.
    #[error("its rows were written with another storage key")]
    OtherKey,
    /// The rows were written by a newer program.
    #[error("its rows have storage schema {found}, this version reads up to {}", schema::CURRENT)]
    NewerSchema {
        /// The schema.
        found: u32,
    },
    /// A row does not read.
    #[error("a record of {} is damaged ({damage})", table.name())]
    Damaged {
        /// The table.
        table: Table,
        /// The record's key.
        key: Vec<u8>,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A content file is there that no row names.
    #[error("no record names the content file {0}")]
    Unnamed(String),
    /// A content file is missing.
    #[error("the content file {0} is missing")]
    Missing(String),
}

impl Examination {
    /// Begins.
    #[must_use]
    pub fn new(storage_key: StorageKey) -> Self {
        Self { storage_key, founded: None, examined: Examined::default(), awaited: BTreeMap::new() }
    }

    /// Reads all rows. `seen` is shown each record that lies in its row, opened.
    ///
    /// # Errors
    /// [`SnapshotFault`].
    pub fn rows(
        &mut self,
        input: &mut impl Read,
        mut seen: impl FnMut(Table, &[u8], &[u8]),
    ) -> Result<(), SnapshotFault> {
        while let Some((row_key, row)) = read_row(input)? {
            let Some((table, key)) = table_of(&row_key) else {
                self.own_row(&row_key, &row)?;
                continue;
            };
            let place = Place::of(table, key);
            let damaged = |damage| SnapshotFault::Damaged { table, key: key.to_vec(), damage };
            let (shape, value) = record::decode(place, &row, &self.storage_key).map_err(damaged)?;
            let value = Zeroizing::new(value);
            match shape {
                Shape::Inline => seen(table, key, &value),
                Shape::File => {
                    let reference = FileReference::from_bytes(&value);
                    let reference = reference.ok_or_else(|| damaged(Damage::Checksum))?;
                    self.awaited.insert(reference.hash, (table, key.to_vec(), reference.length));
                }
                Shape::Content => return Err(damaged(Damage::Checksum)),
            }
            *self.examined.tables.entry(table).or_default() += 1;
        }
        self.examined.schema = self.founded.ok_or(SnapshotFault::NotFounded)?;
        Ok(())
    }

    /// Checks one content file: named by a row, of its length and hash, and readable under the storage key.
    ///
    /// # Errors
    /// [`SnapshotFault`].
    pub fn content(&mut self, hash: &[u8; 32], bytes: &[u8]) -> Result<(), SnapshotFault> {
        let unnamed = || SnapshotFault::Unnamed(name_of(hash));
        let (table, key, length) = self.awaited.remove(hash).ok_or_else(unnamed)?;
        let damaged = |damage| SnapshotFault::Damaged { table, key: key.clone(), damage };
        if bytes.len() as u64 != length || Sha256::digest(bytes).as_slice() != hash {
            return Err(damaged(Damage::FileHash));
        }
        let place = Place::of(table, &key);
        let (shape, salted) = record::decode(place, bytes, &self.storage_key).map_err(damaged)?;
        let salted = Zeroizing::new(salted);
        if shape != Shape::Content || salted.len() < SALT_BYTES {
            return Err(damaged(Damage::FileHash));
        }
        self.examined.files += 1;
        Ok(())
    }

    /// Ends: every content file that a row names has come, but for those known to be left out.
    ///
    /// # Errors
    /// [`SnapshotFault::Missing`].
    pub fn finish(mut self, left_out: &[[u8; 32]]) -> Result<Examined, SnapshotFault> {
        for hash in left_out {
            self.examined.left_out += u64::from(self.awaited.remove(hash).is_some());
        }
        match self.awaited.first_key_value() {
            None => Ok(self.examined),
            Some((hash, _)) => Err(SnapshotFault::Missing(name_of(hash))),
        }
    }

    fn own_row(&mut self, key: &[u8], row: &[u8]) -> Result<(), SnapshotFault> {
        match key.first() {
            Some(&SET_ASIDE) => self.examined.set_aside += 1,
            Some(&FOUNDING) if *key == row_key(FOUNDING, schema::FOUNDING_KEY) => {
                self.founded = match schema::founding_of(row, &self.storage_key) {
                    Founding::Schema(found) if found > schema::CURRENT => {
                        return Err(SnapshotFault::NewerSchema { found });
                    }
                    Founding::Schema(found) => Some(found),
                    Founding::OtherKey => return Err(SnapshotFault::OtherKey),
                    Founding::Damaged | Founding::Missing => return Err(SnapshotFault::FoundingDamaged),
                };
            }
            other => return Err(SnapshotFault::NoTable(other.copied().unwrap_or_default())),
        }
        Ok(())
    }
}
