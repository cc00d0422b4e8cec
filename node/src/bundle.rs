//! Writes what a store holds of the directory as an audit bundle, row by row, however much it is.
//!
//! Charter versions, what settled them and key sets come from one look at the evidence, so that everything in a bundle has what it stands
//! on whatever is stored meanwhile; headers come from the store. Bodies are left out: a bundle is kept, and a roster
//! must not be.

use std::{
    io::{self, Write},
    sync::Arc,
};

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    audit::{BundleError, BundleWriter, Exporter, JournalCheckpoint, note::Note},
    directory::header::{ChainPayload, NodeRecordHeader, ReferencePointHeader},
    document::{EncodeError, Envelope, Kind, Unverified, encode},
    ids::DocumentId,
    membership::{Trust, settlement::Certificate},
    storage::Table,
    time::Timestamp,
};

use crate::store::{Keys, Store, StoreError};

/// What is exported, and who says so.
pub struct Export<'a> {
    /// Where the headers lie.
    pub store: &'a dyn Store,
    /// Charter versions, what settled them, and key sets.
    pub trust: Trust,
    /// This node.
    pub exporter: Exporter,
    /// Where its journal stands, signed; `None` if it has none, or cannot say now.
    pub journal: Option<Note>,
    /// Whether all of the journal's entries are to be in it.
    pub entries: Entries,
    /// Its key's secret half.
    pub key: &'a SigningKey,
    /// The time.
    pub now: Timestamp,
}

/// Whether a bundle has the entries of the exporter's journal, message events among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// Where it stands alone.
    LeftOut,
    /// All of them.
    Included,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Documents.
    pub documents: u64,
    /// Stored headers that are damaged, and are gaps in the bundle until peers bring them back.
    pub damaged: u64,
}

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Where it should go takes no more.
    #[error("the bundle cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A broken invariant of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A broken invariant of ours.
    #[error(transparent)]
    Order(#[from] BundleError),
}

/// Certificates of settled charter versions, in a bundle's order.
pub(crate) fn sorted_settlements(trust: &Trust) -> Vec<&Arc<Certificate>> {
    let mut settlements: Vec<_> = trust.settlements().collect();
    settlements.sort_unstable_by_key(|certificate| certificate.id());
    settlements
}

impl Export<'_> {
    /// Writes the bundle.
    ///
    /// # Errors
    /// [`ExportError`]; what was written then has no end, and is refused as cut off.
    pub fn write(self, out: &mut dyn Write) -> Result<Exported, ExportError> {
        let Self { store, trust, exporter, journal, entries, key, now } = self;
        let (mut writer, head) = BundleWriter::begin(exporter.federation);
        out.write_all(head.as_bytes())?;
        let mut exported = Exported::default();
        let mut charters: Vec<_> = trust.charters().map(|it| (it.id(), it.envelope())).collect();
        charters.sort_unstable_by_key(|(id, _)| *id);
        let key_sets = trust.key_sets().map(|it| (it.id(), it.envelope()));
        let charters = charters.into_iter().map(|it| (Kind::Charter, it));
        let settlements = sorted_settlements(&trust);
        let settlements = settlements.iter().map(|it| (Kind::Settlement, (it.id(), it.envelope())));
        let key_sets = key_sets.map(|it| (Kind::KeySet, it));
        for (kind, (id, envelope)) in charters.chain(settlements).chain(key_sets) {
            let line = writer.document(kind, id, &encode(envelope.as_ref())?)?;
            out.write_all(line.as_bytes())?;
            exported.documents += 1;
        }
        for (kind, table) in
            [(Kind::NodeRecord, Table::NodeRecords), (Kind::ReferencePoint, Table::ReferencePoints)]
        {
            for row in store.scan(table, Keys::All) {
                let (key, value) = match row {
                    Ok(row) => row,
                    Err(error) if error.is_fatal() => return Err(error.into()),
                    Err(_) => {
                        exported.damaged += 1;
                        continue;
                    }
                };
                let header = match kind {
                    Kind::NodeRecord => stored::<NodeRecordHeader>(&key, &value, &trust),
                    _ => stored::<ReferencePointHeader>(&key, &value, &trust),
                };
                match header {
                    Stored::Founded(id) => {
                        out.write_all(writer.document(kind, id, &value)?.as_bytes())?;
                        exported.documents += 1;
                    }
                    // It came after the look at the evidence.
                    Stored::Later => {}
                    Stored::Damaged => exported.damaged += 1,
                }
            }
        }
        if let Some(checkpoint) = journal {
            out.write_all(writer.journal(&checkpoint).as_bytes())?;
            if entries == Entries::Included
                && let Ok(stands) = JournalCheckpoint::of(&checkpoint)
            {
                write_entries(store, &mut writer, &stands, out)?;
            }
        }
        out.write_all(writer.finish(&exporter, key, now).as_bytes())?;
        out.flush()?;
        Ok(exported)
    }
}

/// The newest cosigned checkpoint, then the entries up to where the journal stands.
fn write_entries(
    store: &dyn Store,
    writer: &mut BundleWriter,
    stands: &JournalCheckpoint,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let began = stands.origin.began.as_millis().to_be_bytes();
    // What was cosigned after the look at the journal is for the next bundle.
    for row in store.scan(Table::Cosigned, Keys::Prefix(&began)).rev() {
        let (_, note) = row?;
        let text = String::from_utf8_lossy(&note);
        if Note::parse(&note)
            .is_ok_and(|note| JournalCheckpoint::of(&note).is_ok_and(|it| it.size <= stands.size))
        {
            out.write_all(writer.cosigned(&text).as_bytes())?;
            break;
        }
    }
    let size = usize::try_from(stands.size).unwrap_or(usize::MAX);
    for row in store.scan(Table::Journal, Keys::Prefix(&began)).take(size) {
        out.write_all(writer.entry(&row?.1).as_bytes())?;
    }
    Ok(())
}

enum Stored {
    Founded(DocumentId),
    Later,
    Damaged,
}

/// A stored header: what it is, and whether its key set is among those exported. Nobody verifies it here; whoever
/// reads the bundle does.
fn stored<P: ChainPayload>(key: &[u8], value: &[u8], trust: &Trust) -> Stored {
    let opened = Envelope::from_bytes(value).ok().and_then(|envelope| Unverified::<P>::open(envelope).ok());
    let Some(opened) = opened else { return Stored::Damaged };
    let id = opened.claimed_id(trust.federation());
    if id.as_bytes() != key {
        return Stored::Damaged;
    }
    match trust.key_set(&opened.claimed().header().key_set) {
        Some(_) => Stored::Founded(id),
        None => Stored::Later,
    }
}
