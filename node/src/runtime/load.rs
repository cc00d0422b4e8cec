//! Reads back at the start what the machine needs, every row checked. A damaged row is reported, set aside by
//! the store, and fetched again from peers where they have it.

use refpoint_protocol::{
    document::Envelope,
    evidence::AnyDocument,
    ids::{ContentHash, DocumentId},
    machine::{NumberedEvent, Stored},
    relay::Relay,
    storage::Table,
};

use super::ingest::Verifier;
use crate::store::{Keys, Store, StoreError};

/// What was read, and what could not be.
pub(super) struct Loaded {
    /// For the machine.
    pub(super) stored: Stored,
    /// The event log, oldest first.
    pub(super) events: Vec<NumberedEvent>,
    /// Rows that could not be read, by table: shown in `status`.
    pub(super) damaged: Vec<(Table, String)>,
}

/// Reads everything.
///
/// # Errors
/// [`StoreError`] if the store itself has stopped; damaged rows are no error.
pub(super) fn load(store: &dyn Store, verifier: &Verifier) -> Result<Loaded, StoreError> {
    let mut damaged = Vec::new();
    let mut documents: Vec<AnyDocument> = Vec::new();
    for table in [Table::Charters, Table::KeySets, Table::NodeRecords, Table::ReferencePoints] {
        for (_, value) in rows(store, table, &mut damaged)? {
            let document = Envelope::from_bytes(&value).map_err(|error| error.to_string());
            let verified = document.and_then(|it| verifier.verify(it).map_err(|error| error.to_string()));
            match verified {
                Ok(document) => documents.push(document),
                Err(error) => damaged.push((table, error)),
            }
        }
    }
    let bodies = rows(store, Table::Bodies, &mut damaged)?.into_iter().map(|(_, body)| body).collect();
    let mut events = Vec::new();
    for (_, value) in rows(store, Table::Events, &mut damaged)? {
        match NumberedEvent::from_row(&value) {
            Ok(event) => events.push(event),
            Err(error) => damaged.push((Table::Events, error.to_string())),
        }
    }
    let mut relay = Vec::new();
    for table in Relay::TABLES {
        let rows = rows(store, table, &mut damaged)?;
        relay.extend(rows.into_iter().map(|(key, value)| (table, key, value)));
    }
    let stored = Stored {
        documents,
        bodies,
        own_state: rows(store, Table::OwnState, &mut damaged)?,
        seeds: rows(store, Table::SealingSeeds, &mut damaged)?,
        relay,
        newest_event: events.last().map_or(0, |event| event.number),
    };
    for (table, error) in &damaged {
        tracing::error!(table = table.name(), %error, "a stored row cannot be read");
    }
    Ok(Loaded { stored, events, damaged })
}

/// The hashes in quarantine.
pub(super) fn quarantined(store: &dyn Store) -> Result<Vec<ContentHash>, StoreError> {
    let rows = rows(store, Table::Quarantine, &mut Vec::new())?;
    Ok(rows
        .into_iter()
        .filter_map(|(key, _)| <[u8; 32]>::try_from(key).ok())
        .map(ContentHash::from_bytes)
        .collect())
}

/// One stored envelope, by its document id.
pub(super) fn envelope(store: &dyn Store, id: &DocumentId) -> Option<Envelope> {
    for table in [Table::ReferencePoints, Table::NodeRecords, Table::KeySets, Table::Charters] {
        match store.value(table, id.as_bytes()) {
            Ok(None) => {}
            Ok(Some(bytes)) => match Envelope::from_bytes(&bytes) {
                Ok(envelope) => return Some(envelope),
                Err(error) => {
                    tracing::error!(document = %id.short(), %error, "a stored document cannot be read")
                }
            },
            Err(error) => tracing::error!(document = %id.short(), %error, "a stored document cannot be read"),
        }
    }
    None
}

/// One stored body, by its hash.
pub(super) fn body(store: &dyn Store, hash: &ContentHash) -> Option<Vec<u8>> {
    match store.value(Table::Bodies, hash.as_bytes()) {
        Ok(body) => body,
        Err(error) => {
            tracing::error!(%error, "a stored body cannot be read");
            None
        }
    }
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(store: &dyn Store, table: Table, damaged: &mut Vec<(Table, String)>) -> Result<Rows, StoreError> {
    let mut rows = Vec::new();
    for row in store.scan(table, Keys::All) {
        match row {
            Ok(row) => rows.push(row),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => damaged.push((table, error.to_string())),
        }
    }
    Ok(rows)
}
