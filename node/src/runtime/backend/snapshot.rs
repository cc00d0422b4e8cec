//! Snapshots of the running node's store, for backups.

use std::sync::Arc;

use refpoint_protocol::ids::FederationId;

use crate::{
    api::{backend::BackendError, views::snapshot::SnapshotReply},
    store::{SledStore, SnapshotError, StoreError},
};

/// Makes one on a thread that may wait for the disk.
pub(super) async fn of(
    store: Option<&Arc<SledStore>>,
    federation: FederationId,
) -> Result<SnapshotReply, BackendError> {
    let Some(store) = store.map(Arc::clone) else {
        return Err(BackendError::Unavailable { why: "it keeps nothing on a disk".to_owned() });
    };
    let made = tokio::task::spawn_blocking(move || store.snapshot()).await;
    let made = made.map_err(|error| BackendError::Storage { why: error.to_string() })?;
    let snapshot = made.map_err(|error| match error {
        SnapshotError::InUse => BackendError::Refused {
            code: "backup-under-way",
            message: error.to_string(),
            hint: "wait until it is done, then try again".to_owned(),
        },
        SnapshotError::Store(StoreError::DiskFull { available, needed, .. }) => BackendError::NoRoom {
            why: format!("a copy of the rows and the reserve need {needed} bytes, {available} are free"),
        },
        SnapshotError::Io { .. } | SnapshotError::Store(_) => {
            BackendError::Storage { why: error.to_string() }
        }
    })?;
    let reply = SnapshotReply::of(snapshot, Some(federation));
    tracing::info!(bytes = reply.bytes, paused_ms = reply.paused_ms, "a snapshot for a backup was made");
    Ok(reply)
}
