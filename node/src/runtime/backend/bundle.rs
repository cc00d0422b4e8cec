//! The bundle that auditors take away: written by a thread that may wait for the disk, passed on as it is read.

use std::io::{self, Write};

use axum::body::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use refpoint_protocol::{audit::Exporter, machine::OperatorAction};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::NodeBackend;
use crate::{
    api::backend::BackendError,
    bundle::{Entries, Export, ExportError},
};

impl NodeBackend {
    pub(super) async fn written_bundle(
        &self,
        entries: Entries,
    ) -> Result<BoxStream<'static, Result<Bytes, BackendError>>, BackendError> {
        let (trust, now) = self.look(|machine, now| (machine.evidence().trust().clone(), now)).await?;
        let (pieces, read) = mpsc::channel(PIECES_WAITING_MAX);
        let handle = self.handle.clone();
        tokio::task::spawn_blocking(move || {
            let identity = handle.identity.as_ref();
            let (federation, member, node) = (identity.federation, identity.member.clone(), identity.node);
            let exporter = Exporter { federation, member, node };
            let journal = match handle.journal.checkpoint(&exporter, &identity.signing, now) {
                Ok(checkpoint) => Some(checkpoint),
                Err(error) => {
                    tracing::warn!(%error, "the journal's checkpoint is left out of a bundle");
                    None
                }
            };
            let (store, key) = (handle.store.as_ref(), &identity.signing);
            let export = Export { store, trust, exporter, journal, entries, key, now };
            let mut out = io::BufWriter::with_capacity(PIECE_BYTES, Pieces(pieces.clone()));
            match export.write(&mut out) {
                Ok(exported) => {
                    let (documents, damaged) = (exported.documents, exported.damaged);
                    tracing::info!(documents, damaged, "the directory was exported for an audit");
                    handle.operated(OperatorAction::ExportedDirectory);
                }
                // Whoever asked for it has gone.
                Err(ExportError::Write(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, "the directory was not exported");
                    // The reader learns by the answer's sudden end, and by the checkpoint that is not there.
                    let _gone = pieces.blocking_send(Err(BackendError::Storage { why: error.to_string() }));
                }
            }
        });
        Ok(ReceiverStream::new(read).boxed())
    }
}

/// Hands on what is written; an error once nobody reads any more.
struct Pieces(mpsc::Sender<Result<Bytes, BackendError>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes handed on at once: some hundred documents.
const PIECE_BYTES: usize = 64 * 1024;

/// Pieces that wait for a slow reader.
const PIECES_WAITING_MAX: usize = 8;
