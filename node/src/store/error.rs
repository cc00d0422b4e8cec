//! What can go wrong with stored records: the errors of use, and those of opening a folder.

use std::{fmt, io, path::PathBuf};

use refpoint_protocol::{
    limits::{STORED_KEY_BYTES_MAX, STORED_VALUE_BYTES_MAX},
    storage::Table,
};

/// Why a record was not read or a batch not stored.
///
/// Cloneable, since one failed sync answers every batch of its group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Too little space is left. Nothing of the batch was applied and the store goes on.
    #[error(
        "the disk of {folder} is too full to store this: {available} bytes are free, {needed} are needed with the reserve; free some space, the node goes on by itself"
    )]
    DiskFull {
        /// The data folder.
        folder: String,
        /// Bytes free for this process.
        available: u64,
        /// Bytes that the batch and the reserve need.
        needed: u64,
    },
    /// A record does not fit its bounds: a fault of the caller. Nothing was applied.
    #[error(
        "a record of {table} has a key of {key_bytes} bytes and a value of {value_bytes}; at most {STORED_KEY_BYTES_MAX} and {STORED_VALUE_BYTES_MAX} are stored"
    )]
    TooLarge {
        /// The table's name.
        table: &'static str,
        /// Bytes of the key.
        key_bytes: usize,
        /// Bytes of the value.
        value_bytes: usize,
    },
    /// A record was damaged on the disk. It is set aside and stays an error until it is stored anew or deleted.
    #[error(
        "a record of {} is damaged ({damage}) and was set aside: {}; it is fetched again where a peer has it",
        table.name(),
        Key(key)
    )]
    Damaged {
        /// The table.
        table: Table,
        /// The record's key.
        key: Vec<u8>,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A file could not be opened or measured just now, which says nothing about its content. The store goes on.
    #[error("cannot read {what}: {cause}; it is tried again when it is next asked for")]
    Unreadable {
        /// What was to be read.
        what: &'static str,
        /// The system's words.
        cause: String,
    },
    /// A file for a large value could not be made. Nothing of the batch was applied and the store goes on.
    #[error("cannot make a file for a large record: {cause}; nothing was stored, and it can be tried again")]
    Unwritable {
        /// The system's words.
        cause: String,
    },
    /// The device or the database failed. The store has stopped; the node must stop too and check everything
    /// when it starts again.
    #[error(
        "storage failed while {doing}: {cause}; the node must stop, check the disk, then start again: it verifies every record at the start"
    )]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The system's or the database's words.
        cause: String,
    },
    /// The store has stopped after an earlier failure and takes nothing more.
    #[error("storage has stopped ({first}); restart the node: it verifies every record at the start")]
    Stopped {
        /// The failure that stopped it.
        first: String,
    },
    /// The writer has been closed.
    #[error("storage is closed: the node is shutting down")]
    Closed,
}

impl StoreError {
    /// Says whether the store has stopped for good, so that the node must stop too.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::Stopped { .. } => true,
            Self::DiskFull { .. }
            | Self::TooLarge { .. }
            | Self::Damaged { .. }
            | Self::Unreadable { .. }
            | Self::Unwritable { .. }
            | Self::Closed => false,
        }
    }

    /// Says whether the same batch can be stored later, once there is room on the disk or a handle is free.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::Unwritable { .. })
    }
}

/// Whether the system says that the device or this user's share of it is full.
pub(super) fn is_lack_of_room(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What is wrong with a damaged record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The record is shorter than any record.
    #[error("cut short")]
    Short,
    /// The record begins with a format that this version does not know.
    #[error("unknown format {0}")]
    Format(u8),
    /// The checksum over table, key and value does not match, or a secret value does not open.
    #[error("checksum mismatch")]
    Checksum,
    /// The file that holds the value is missing.
    #[error("content file missing")]
    FileMissing,
    /// The file that holds the value does not match its hash.
    #[error("content file does not match its hash")]
    FileHash,
    /// The file that holds the value cannot be read.
    #[error("content file unreadable: the device reports an error")]
    FileUnreadable,
    /// It was found damaged before and has not been replaced since.
    #[error("set aside earlier")]
    SetAside,
}

/// Why a data folder was not opened. Nothing was changed in it unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file in it cannot be used.
    #[error(
        "cannot {doing} {}: {cause}; check that it exists and belongs to the user who runs the node", path.display()
    )]
    Folder {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's words.
        #[source]
        cause: std::io::Error,
    },
    /// Another process has the folder.
    #[error(
        "{} is in use by another node ({holder}); stop that one first, or give this one a data folder of its own",
        folder.display()
    )]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// What the lock file says of the holder.
        holder: String,
    },
    /// The folder was written by a newer version. It is left unchanged.
    #[error(
        "{} has storage schema {found}, this version reads up to {known}; run the newer refpoint again, or restore a backup made before the upgrade",
        folder.display()
    )]
    NewerSchema {
        /// The data folder.
        folder: PathBuf,
        /// The folder's schema.
        found: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// The schema file holds something else than a schema.
    #[error(
        "{} is not a storage schema of refpoint; restore the file from a backup, or name another data folder",
        path.display()
    )]
    NotASchema {
        /// The schema file.
        path: PathBuf,
    },
    /// The storage key is not the one that the folder was made with.
    #[error(
        "the storage key does not fit {}; put back the key file that belongs to this folder", folder.display()
    )]
    WrongKey {
        /// The data folder.
        folder: PathBuf,
    },
    /// The folder says that it holds records, and the database is gone.
    #[error(
        "the database of {} is missing or empty although the folder was in use; it is not started empty: restore a backup, or move the folder away and set the node up again",
        folder.display()
    )]
    DatabaseMissing {
        /// The data folder.
        folder: PathBuf,
    },
    /// The database opens by no means known. It was put back as it was found.
    #[error(
        "the database of {} cannot be opened ({cause}), also not without its snapshots; it lies unchanged in {}: copy it away, then restore a backup, or move the folder away and set the node up again",
        folder.display(), database.display()
    )]
    Unrecoverable {
        /// The data folder.
        folder: PathBuf,
        /// Where the database lies, unchanged.
        database: PathBuf,
        /// What the last attempt said.
        cause: String,
    },
    /// A step of an upgrade failed; the folder keeps its old schema.
    #[error("{} could not be upgraded from schema {from}: {cause}", folder.display())]
    Migration {
        /// The data folder.
        folder: PathBuf,
        /// The schema that the step starts from.
        from: u32,
        /// What failed.
        #[source]
        cause: StoreError,
    },
    /// The database opened and failed at once.
    #[error("the database of {} failed: {cause}", folder.display())]
    Store {
        /// The data folder.
        folder: PathBuf,
        /// What failed.
        #[source]
        cause: StoreError,
    },
}

/// Shows a key as text where it is one, else in hexadecimal.
struct Key<'a>(&'a [u8]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                f.write_str(text)
            }
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}
