//! A copy of all rows that the running node made for a backup.

use std::path::PathBuf;

use refpoint_protocol::{ids::FederationId, storage::Table};
use serde::{Deserialize, Serialize};

use crate::store::Snapshot;

/// Where the copy lies, for the node's own user alone, and what it has. Whoever asked for it removes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotReply {
    /// Its folder.
    pub folder: PathBuf,
    /// The federation, unless the node has joined none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federation: Option<FederationId>,
    /// The schema of its rows.
    pub schema: u32,
    /// Rows.
    pub rows: u64,
    /// Content files.
    pub files: u64,
    /// Bytes of both.
    pub bytes: u64,
    /// Messages received.
    pub inbox: u64,
    /// Messages sent.
    pub outbox: u64,
    /// Damaged records that were set aside, now or earlier.
    pub set_aside: u64,
    /// The most milliseconds for which the node stored nothing at one time.
    pub paused_ms: u64,
}

impl SnapshotReply {
    /// What is told of a snapshot.
    #[must_use]
    pub fn of(snapshot: Snapshot, federation: Option<FederationId>) -> Self {
        let count = |table| snapshot.tables.get(&table).copied().unwrap_or_default();
        Self {
            federation,
            schema: snapshot.schema,
            rows: snapshot.tables.values().sum(),
            files: snapshot.files,
            bytes: snapshot.bytes,
            inbox: count(Table::Inbox),
            outbox: count(Table::Outbox),
            set_aside: snapshot.set_aside,
            paused_ms: u64::try_from(snapshot.paused.as_millis()).unwrap_or(u64::MAX),
            folder: snapshot.folder,
        }
    }
}
