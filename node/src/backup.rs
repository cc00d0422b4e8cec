//! Backups: one file that holds a node, encrypted, from which the node can be restored.
//!
//! A backup is a plain age file (age-encryption.org/v1), under a passphrase or for X25519 recipients. Inside:
//!
//! ```text
//! "refpoint backup\n"
//! 'M' frame                        the manifest: of whom, from when, which schema
//! ( 'F' frame, bytes, SHA-256 )*   files: the configuration, keys, then the raw rows, then content files
//! 'E' frame                        how many files and bytes, what is known to be missing, SHA-256 of all before
//! ```
//!
//! A frame is a length of four bytes and canonical CBOR. Rows and content files lie in it as they lay on the disk,
//! secret ones still under the storage key, which is among the keys. A file's name is one of a fixed set, so a
//! restore writes nowhere else. The passphrase of the node's keys, if they are under one, is never part of it.

mod archive;
mod check;
mod create;
mod restore;
mod seal;

use std::{io, path::PathBuf};

use refpoint_protocol::{
    document::{DecodeError, EncodeError},
    ids::{FederationId, MemberCode, NodeKey},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

pub use self::{
    check::{Checked, NodePassphrase, check},
    create::{Content, Created, Replace, create},
    restore::{Restored, restore},
    seal::{BackupKey, Opener, Recipients},
};
use crate::{
    keyfile::{KeyFileError, PassphraseError},
    store::{OpenError, RebuildError, SnapshotError, SnapshotFault},
};

/// What a backup says of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The form of the backup.
    pub format: u64,
    /// When it was made, by the clock of the machine that made it.
    pub made: Timestamp,
    /// The member.
    pub member: MemberCode,
    /// The node's key.
    pub node: NodeKey,
    /// The federation; absent if the node had joined none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federation: Option<FederationId>,
    /// The storage schema of its rows.
    pub schema: u64,
    /// The program that made it.
    pub program: String,
    /// Whether the node was running.
    pub running: bool,
    /// Whether root keys are in it.
    pub root_keys: bool,
}

/// Why a backup was not made, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The backup is there already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The folder to restore into holds something.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {cause}", file.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// The file is no age file at all.
    #[error("{} is no backup: it is not an age file", .0.display())]
    NotAge(PathBuf),
    /// The file is an age file and holds something else.
    #[error("{} holds no backup of a node", .0.display())]
    NotABackup(PathBuf),
    /// It was made by a newer program.
    #[error("it has form {found}, this version reads up to {FORMAT}")]
    Newer {
        /// The form.
        found: u64,
    },
    /// It is under a passphrase and another one was given.
    #[error("the passphrase does not open {}", .0.display())]
    WrongPassphrase(PathBuf),
    /// It is under a passphrase, and an identity was given.
    #[error("{} is under a passphrase, not for a recipient", .0.display())]
    UnderPassphrase(PathBuf),
    /// It is for recipients, and no identity was given.
    #[error("{} is for a recipient: an identity opens it, not a passphrase", .0.display())]
    ForRecipient(PathBuf),
    /// It is for other recipients.
    #[error("{} is for none of the identities given", .0.display())]
    WrongIdentity(PathBuf),
    /// An identity file holds no identity.
    #[error("{} holds no age identity (a line AGE-SECRET-KEY-1…): {why}", file.display())]
    NoIdentity {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// Others than the owner may read an identity file.
    #[error("{} may be read by others than its owner (mode {mode:03o})", file.display())]
    Permissions {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// age refused to encrypt.
    #[error("it cannot be encrypted: {0}")]
    Encrypt(String),
    /// Bytes were changed.
    #[error("it is damaged: what stands after byte {at} of its content was changed or cut off")]
    Damaged {
        /// Bytes of content that were whole.
        at: u64,
    },
    /// The end is missing.
    #[error("it is cut short after byte {at} of its content")]
    CutShort {
        /// Bytes of content that were there.
        at: u64,
    },
    /// Something follows its end.
    #[error("something follows its end")]
    TooLong,
    /// A frame does not decode.
    #[error("a frame of it is damaged: {0}")]
    Frame(#[from] DecodeError),
    /// Something stands where a frame should begin.
    #[error("something else stands where {expected} should begin")]
    Unexpected {
        /// What should begin.
        expected: &'static str,
    },
    /// A file's hash is another one.
    #[error("{name} in it does not match its hash")]
    Hash {
        /// The file.
        name: String,
    },
    /// The count, the bytes or the hash at its end do not match what came before.
    #[error("its end does not match what came before")]
    End,
    /// A file's name is not known, comes twice, or comes too early.
    #[error("the file {name:?} has no place there")]
    Name {
        /// The name.
        name: String,
    },
    /// A file is missing.
    #[error("{name} is missing in it")]
    Missing {
        /// The file.
        name: &'static str,
    },
    /// A file is larger than its kind may be.
    #[error("{name} has {bytes} bytes, at most {max} are expected")]
    FileTooLong {
        /// The file.
        name: String,
        /// Its bytes.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// What the manifest says is not what the rows or keys say.
    #[error("its manifest names another {0} than its content")]
    Manifest(&'static str),
    /// The rows or content files are not whole.
    #[error(transparent)]
    Rows(#[from] SnapshotFault),
    /// A key file does not open.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// No passphrase could be had.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// There is no snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The data folder was not made.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The data folder that was made does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A value of ours without a canonical form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl BackupError {
    pub(crate) fn io(doing: &'static str, file: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { doing, file: file.to_path_buf(), cause }
    }
}

/// The form that this version writes.
pub const FORMAT: u64 = 1;
