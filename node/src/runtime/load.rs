//! Reads back at the start what the machine needs, every row checked. A damaged row is reported, set aside by
//! the store, and fetched again from peers where they have it.

use std::cell::RefCell;

use refpoint_protocol::{
    document::Envelope,
    evidence::AnyDocument,
    ids::{ContentHash, DocumentId},
    machine::{Config, Machine, NumberedEvent, Restored, Stored, sealing_seed_from_row},
    relay::Relay,
    storage::Table,
    time::Timestamp,
};

use super::{ingest::Verifier, jobs::Seeds};
use crate::{
    founding::TRUST,
    store::{Keys, Store, StoreError},
};

/// A machine that goes on, and what could not be read for it.
pub(super) struct Loaded {
    /// The machine and what it orders first.
    pub(super) restored: Restored,
    /// The event log, oldest first.
    pub(super) events: Vec<NumberedEvent>,
    /// Rows that could not be read, by table: shown in `status`.
    pub(super) damaged: Vec<(Table, String)>,
}

/// Reads everything back. Tables that others can fill pass row by row: no more of them is in memory than the
/// machine keeps.
///
/// # Errors
/// [`StoreError`] if the store itself has stopped; damaged rows are no error.
pub(super) fn restore(
    store: &dyn Store,
    verifier: &Verifier,
    seeds: &Seeds,
    config: Config,
    (now, seed): (Timestamp, [u8; 32]),
) -> Result<Loaded, StoreError> {
    let reading = Reading { store, verifier, damaged: RefCell::default(), stopped: RefCell::default() };
    let mut events = Vec::new();
    for (_, value) in reading.rows(Table::Events) {
        match NumberedEvent::from_row(&value) {
            Ok(event) => events.push(event),
            Err(error) => reading.damaged(Table::Events, error.to_string()),
        }
    }
    let seed_rows: Vec<_> = reading.rows(Table::SealingSeeds).collect();
    for (_, row) in &seed_rows {
        // One that cannot be read is among the problems that the machine's restore names.
        if let Ok((seed, _)) = sealing_seed_from_row(row) {
            seeds.add(&seed);
        }
    }
    let headers = [Table::NodeRecords, Table::ReferencePoints].into_iter();
    let relay = Relay::TABLES
        .into_iter()
        .flat_map(|table| reading.rows(table).map(move |(key, value)| (table, key, value)));
    let stored = Stored {
        trust: TRUST.into_iter().flat_map(|table| reading.documents(table)).collect(),
        headers: Box::new(headers.flat_map(|table| reading.documents(table))),
        bodies: Box::new(reading.rows(Table::Bodies).map(|(_, body)| body)),
        own_state: reading.rows(Table::OwnState).collect(),
        seeds: seed_rows,
        relay: Box::new(relay),
        newest_event: events.last().map_or(0, |event| event.number),
    };
    let restored = Machine::restore(config, stored, now, seed);
    let Reading { damaged, stopped, .. } = reading;
    match stopped.into_inner() {
        Some(error) => Err(error),
        None => Ok(Loaded { restored, events, damaged: damaged.into_inner() }),
    }
}

/// A pass over the store, with what went wrong on the way.
struct Reading<'a> {
    store: &'a dyn Store,
    verifier: &'a Verifier,
    damaged: RefCell<Vec<(Table, String)>>,
    /// The store has stopped: nothing more comes, and nothing that came counts.
    stopped: RefCell<Option<StoreError>>,
}

impl Reading<'_> {
    /// The rows of a table that are whole.
    fn rows(&self, table: Table) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        self.store.scan(table, Keys::All).filter_map(move |row| match row {
            Ok(row) => Some(row),
            Err(error) if error.is_fatal() => {
                self.stopped.borrow_mut().get_or_insert(error);
                None
            }
            Err(error) => {
                self.damaged(table, error.to_string());
                None
            }
        })
    }

    /// The documents of a table that verify.
    fn documents(&self, table: Table) -> impl Iterator<Item = AnyDocument> {
        self.rows(table).filter_map(move |(_, value)| {
            let document = Envelope::from_bytes(&value).map_err(|error| error.to_string());
            let verified =
                document.and_then(|it| self.verifier.verify(it).map_err(|error| error.to_string()));
            verified.map_err(|error| self.damaged(table, error)).ok()
        })
    }

    fn damaged(&self, table: Table, error: String) {
        tracing::error!(table = table.name(), %error, "a stored row cannot be read");
        self.damaged.borrow_mut().push((table, error));
    }
}

/// The hashes in quarantine.
pub(super) fn quarantined(store: &dyn Store) -> Result<Vec<ContentHash>, StoreError> {
    let mut hashes = Vec::new();
    for row in store.scan(Table::Quarantine, Keys::All) {
        match row {
            Ok((key, _)) => hashes.extend(<[u8; 32]>::try_from(key).map(ContentHash::from_bytes)),
            Err(error) if error.is_fatal() => return Err(error),
            // A hash that cannot be read is found again with the document that it is of.
            Err(_) => {}
        }
    }
    Ok(hashes)
}

/// One stored envelope, by its document id.
pub(super) fn envelope(store: &dyn Store, id: &DocumentId) -> Option<Envelope> {
    let tables = [Table::ReferencePoints, Table::NodeRecords].into_iter().chain(TRUST);
    for table in tables {
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
