//! Storage: a few tables of records, atomic batches, and a clear word about what is on the device.
//!
//! This module owns the data folder and everything in it but keys and configuration. It knows no meaning of
//! any record; machines decide what is stored, and the [`Writer`] says when it is. Two stores behave alike
//! under one conformance suite: [`SledStore`] on a disk and [`MemoryStore`], which forgets in a
//! [`MemoryStore::crash`] what was not synced.
//!
//! ```text
//! <folder>/lock              one process a folder
//! <folder>/schema            guards the folder against older programs
//! <folder>/clean             there after an orderly end; without it every row is checked at the start
//! <folder>/progress          the number of the last batch stored, against a database that lost its end
//! <folder>/wal                the last batches, durable before sled has them on the device
//! <folder>/database/         sled: one tree, rows of at most 4 KiB
//! <folder>/content/<sha256>  larger values
//! <folder>/snapshot/         a copy of all rows, there only while a backup is made
//! <folder>/database.damaged-N  what a recovery put aside, for people to look at and remove
//! ```
//!
//! Why one tree and not one a table, what "on the device" takes with sled, and what remains at risk stands in
//! `node/STORAGE.md`.

mod content;
mod error;
mod folder;
mod memory;
mod progress;
mod record;
mod recovery;
mod schema;
mod sled;
mod snapshot;
mod wal;
mod writer;

use refpoint_protocol::storage::{Change, Table};

pub use self::{
    content::{CONTENT_BYTES_MAX, hash_of as content_hash, name_of as content_name},
    error::{Damage, OpenError, StoreError},
    memory::{Fullness, MemoryStore},
    record::StorageKey,
    recovery::{Checked, Opened, Recovered, Remedy},
    schema::Migrated,
    sled::{Options, SledStore},
    snapshot::{Claim, Examination, Examined, Rebuild, RebuildError, Snapshot, SnapshotError, SnapshotFault},
    writer::{Completion, KeptRows, WaitsForRoom, WhenFull, Writer},
};

/// What a store offers, whichever backend it has.
///
/// All calls block and are quick, [`Store::sync`] excepted; asynchronous code goes through [`Writer`].
pub trait Store: Send + Sync {
    /// Applies a batch over any tables: all of it or nothing, also across a power cut. What is applied is
    /// visible at once and durable after the next [`Store::sync`]. Later changes of one key win. The reserve
    /// is left that the tables ask for ([`Reserve::of`]).
    ///
    /// # Errors
    /// All errors leave everything as it was; those that are [`StoreError::is_fatal`] stop the store.
    fn apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.apply_leaving(changes, Reserve::of(changes))
    }

    /// Applies a batch like [`Store::apply`], and leaves this reserve whatever the tables.
    ///
    /// # Errors
    /// As [`Store::apply`].
    fn apply_leaving(&self, changes: &[Change], reserve: Reserve) -> Result<(), StoreError>;

    /// Returns once everything applied before this call is on the device.
    ///
    /// # Errors
    /// Any error stops the store: what a failed sync has written is unknown, and it is never tried again.
    fn sync(&self) -> Result<(), StoreError>;

    /// Does what [`Store::sync`] left for later, if anything: nothing durable depends on it.
    ///
    /// # Errors
    /// As [`Store::sync`].
    fn settle(&self) -> Result<(), StoreError>;

    /// The value under `key`, checked.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a record that is damaged; it has been set aside, and stays an error until it
    /// is stored anew or deleted.
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The records of a table in the order of their keys, each checked; from the back with `rev`.
    ///
    /// Records that were set aside and not yet replaced come first, as errors. An error is an item: the rows
    /// after it still come, unless it is fatal. What is written meanwhile may or may not appear.
    fn scan(&self, table: Table, keys: Keys<'_>) -> Rows<'_>;

    /// The damaged records that wait for being replaced, with what was left of them.
    ///
    /// # Errors
    /// Only when the store has stopped.
    fn set_aside(&self) -> Result<Vec<SetAside>, StoreError>;

    /// Bytes that the store takes on the disk.
    ///
    /// # Errors
    /// When the folder cannot be read; this does not stop the store.
    fn size_on_disk(&self) -> Result<u64, StoreError>;

    /// Bytes that can still be written to the disk, without regard to the reserve.
    ///
    /// # Errors
    /// When the folder cannot be read; this does not stop the store.
    fn free_on_disk(&self) -> Result<u64, StoreError>;
}

/// How much of the disk a batch must leave free. Whatever only deletes is never refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reserve {
    /// The smaller one, for the records that keep a node going.
    Small,
    /// The larger one, for what fills disks and for what peers hold too.
    Large,
}

impl Reserve {
    /// What the tables of a batch ask for: the larger one as soon as one of them is
    /// [bulk](Table::is_bulk).
    #[must_use]
    pub fn of(changes: &[Change]) -> Self {
        let is_bulk = |change: &Change| change.value.is_some() && change.table.is_bulk();
        if changes.iter().any(is_bulk) { Self::Large } else { Self::Small }
    }
}

/// Which keys a scan visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys<'a> {
    /// All of them.
    All,
    /// Those that begin with these bytes.
    Prefix(&'a [u8]),
    /// This key and those after it.
    From(&'a [u8]),
    /// Those after this key.
    After(&'a [u8]),
}

impl Keys<'_> {
    /// Says whether a scan visits this key.
    #[must_use]
    pub fn contain(&self, key: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::From(first) => key >= *first,
            Self::After(last) => key > *last,
        }
    }

    /// The first key that a scan can visit.
    fn start(&self) -> Vec<u8> {
        match self {
            Self::All => Vec::new(),
            Self::Prefix(key) | Self::From(key) => key.to_vec(),
            // The key that follows directly: the same with a zero byte.
            Self::After(key) => [key, [0].as_slice()].concat(),
        }
    }
}

/// A row of a scan: key and value.
pub type Row = Result<(Vec<u8>, Vec<u8>), StoreError>;

/// What a scan returns.
pub type Rows<'a> = Box<dyn DoubleEndedIterator<Item = Row> + Send + 'a>;

/// A damaged record that waits for being replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Its table.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// The bytes as they were found in its row, still encrypted if the table is secret.
    pub remains: Vec<u8>,
}

/// Refuses what no store takes, before anything is applied.
fn check_bounds(changes: &[Change]) -> Result<(), StoreError> {
    use refpoint_protocol::limits::{STORED_KEY_BYTES_MAX, STORED_VALUE_BYTES_MAX};
    let too_large = changes.iter().find(|change| {
        change.key.len() > STORED_KEY_BYTES_MAX
            || change.value.as_ref().is_some_and(|value| value.len() > STORED_VALUE_BYTES_MAX)
    });
    match too_large {
        None => Ok(()),
        Some(change) => Err(StoreError::TooLarge {
            table: change.table.name(),
            key_bytes: change.key.len(),
            value_bytes: change.value.as_ref().map_or(0, Vec::len),
        }),
    }
}
