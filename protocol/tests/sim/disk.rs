//! A node's disk: it loses what was not synced, fills, fails, and is restored from old copies. What peers hold too
//! and finds no room waits in memory, as the node's writer has it.

use std::{collections::BTreeMap, sync::Arc};

use refpoint_protocol::{
    document::Envelope,
    ids::{ContentHash, DocumentId},
    storage::{Change, Table},
};

/// Records by table and key.
#[derive(Clone, Default)]
pub(crate) struct Rows(BTreeMap<Table, BTreeMap<Vec<u8>, Arc<[u8]>>>);

impl Rows {
    pub(crate) fn insert(&mut self, (table, key): Place, value: Arc<[u8]>) -> Option<Arc<[u8]>> {
        self.0.entry(table).or_default().insert(key, value)
    }

    fn remove(&mut self, (table, key): &Place) -> Option<Arc<[u8]>> {
        self.0.get_mut(table)?.remove(key)
    }

    fn get(&self, table: Table, key: &[u8]) -> Option<&Arc<[u8]>> {
        self.0.get(&table)?.get(key)
    }

    fn of(&self, table: Table) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Arc<[u8]>)> {
        self.0.get(&table).into_iter().flatten()
    }

    fn take(&mut self) -> impl Iterator<Item = (Place, Arc<[u8]>)> {
        let tables = std::mem::take(&mut self.0).into_iter();
        tables.flat_map(|(table, rows)| rows.into_iter().map(move |(key, value)| ((table, key), value)))
    }
}

/// A table and a key in it.
pub(crate) type Place = (Table, Vec<u8>);

/// How much room is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Room {
    /// Enough.
    #[default]
    Plenty,
    /// None for what fills disks; small records still fit.
    Low,
    /// None.
    None,
}

/// The disk.
#[derive(Default)]
pub(crate) struct Disk {
    rows: Rows,
    /// What waits in memory for room: read like the rest, and gone with a crash.
    kept: Rows,
    /// What undoes each write that is not on the device yet, oldest first.
    unsynced: Vec<Undo>,
    writes: u64,
    pub(crate) room: Room,
    /// Whether the next sync fails.
    pub(crate) failing: bool,
    /// Old copies of the folder, with the time of each.
    copies: Vec<(u64, Rows)>,
}

struct Undo {
    write: u64,
    at: u64,
    before: Vec<(Place, Option<Arc<[u8]>>)>,
}

impl Disk {
    pub(crate) fn new(rows: Rows) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Applies changes as one batch, which is on the device after [`Disk::synced`] with the returned number.
    pub(crate) fn write(&mut self, at: u64, changes: Vec<Change>) -> u64 {
        self.writes += 1;
        let mut before = Vec::with_capacity(changes.len());
        for change in changes {
            let key = (change.table, change.key);
            self.kept.remove(&key);
            let old = match change.value {
                Some(value) => self.rows.insert(key.clone(), value.into()),
                None => self.rows.remove(&key),
            };
            before.push((key, old));
        }
        // What the system writes back by itself after some seconds.
        let written_back = self.unsynced.partition_point(|undo| undo.at + WRITE_BACK < at);
        self.unsynced.drain(..written_back);
        self.unsynced.push(Undo { write: self.writes, at, before });
        self.writes
    }

    /// Keeps in memory what found no room.
    pub(crate) fn keep(&mut self, changes: Vec<Change>) {
        for Change { table, key, value } in changes {
            if let Some(value) = value {
                self.kept.insert((table, key), value.into());
            }
        }
    }

    /// Stores what waited in memory.
    pub(crate) fn store_kept(&mut self, at: u64) {
        let changes: Vec<_> =
            self.kept.take().map(|((table, key), value)| Change::put(table, key, value.to_vec())).collect();
        if !changes.is_empty() {
            self.write(at, changes);
        }
    }

    /// The program ends: only what is on the disk remains.
    pub(crate) fn forget_kept(&mut self) {
        self.kept = Rows::default();
    }

    /// Everything up to this write is on the device.
    pub(crate) fn synced(&mut self, write: u64) {
        let done = self.unsynced.partition_point(|undo| undo.write <= write);
        self.unsynced.drain(..done);
    }

    /// The power goes: of what was not synced, the first `kept` writes remain. Returns how many are lost.
    pub(crate) fn lose(&mut self, kept: usize) -> usize {
        let lost = self.unsynced.split_off(kept.min(self.unsynced.len()));
        let count = lost.len();
        for undo in lost.into_iter().rev() {
            for (key, old) in undo.before.into_iter().rev() {
                match old {
                    Some(value) => drop(self.rows.insert(key, value)),
                    None => drop(self.rows.remove(&key)),
                }
            }
        }
        self.unsynced.clear();
        count
    }

    pub(crate) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Copies the folder as it is on the device.
    pub(crate) fn copy(&mut self, at: u64) {
        let mut rows = self.rows.clone();
        for (key, old) in self.unsynced.iter().rev().flat_map(|undo| undo.before.iter().rev()) {
            match old {
                Some(value) => drop(rows.insert(key.clone(), Arc::clone(value))),
                None => drop(rows.remove(key)),
            }
        }
        if self.copies.len() >= COPIES_MAX {
            self.copies.remove(0);
        }
        self.copies.push((at, rows));
    }

    /// Puts an old copy in place of the folder; `None` if there is none.
    pub(crate) fn restore(&mut self, which: usize) -> Option<u64> {
        let (at, rows) = self.copies.get(which)?.clone();
        (self.rows, self.unsynced) = (rows, Vec::new());
        Some(at)
    }

    pub(crate) fn copies(&self) -> usize {
        self.copies.len()
    }

    /// Whether a record is on the device, whatever has been made of it since.
    pub(crate) fn has_durably(&self, table: Table, key: &[u8]) -> bool {
        let mut undone = self.unsynced.iter().flat_map(|undo| &undo.before);
        let before = undone.find(|((at, changed), _)| *at == table && changed == key);
        before.map_or_else(|| self.rows.get(table, key).is_some(), |(_, before)| before.is_some())
    }

    /// The keys of a table on the device, whatever has been made of it since.
    pub(crate) fn durable_keys(&self, table: Table) -> impl Iterator<Item = &Vec<u8>> {
        let changed = self.unsynced.iter().flat_map(|undo| undo.before.iter().map(|(place, _)| place));
        let gone = changed.filter(move |(at, _)| *at == table).map(|(_, key)| key);
        let keys = self.table(table).map(|(key, _)| key).chain(gone);
        keys.filter(move |key| self.has_durably(table, key))
    }

    pub(crate) fn value(&self, table: Table, key: &[u8]) -> Option<Arc<[u8]>> {
        self.rows.get(table, key).cloned()
    }

    /// A record as the running program has it.
    fn lent(&self, table: Table, key: &[u8]) -> Option<Arc<[u8]>> {
        self.kept.get(table, key).or_else(|| self.rows.get(table, key)).cloned()
    }

    pub(crate) fn table(&self, table: Table) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Arc<[u8]>)> {
        self.rows.of(table)
    }

    /// Records in a table.
    pub(crate) fn count(&self, table: Table) -> usize {
        self.rows.0.get(&table).map_or(0, BTreeMap::len)
    }

    /// One for each id, `None` where it is not stored.
    pub(crate) fn envelopes(&self, ids: &[DocumentId]) -> Vec<Option<Arc<Envelope>>> {
        let tables =
            [Table::Charters, Table::Settlements, Table::KeySets, Table::NodeRecords, Table::ReferencePoints];
        let load = |id: &DocumentId| {
            let row = tables.iter().find_map(|table| self.lent(*table, id.as_bytes()));
            row.map(|row| Arc::new(Envelope::from_bytes(&row).unwrap()))
        };
        ids.iter().map(load).collect()
    }

    /// One for each hash, `None` where it is not stored.
    pub(crate) fn bodies(&self, hashes: &[ContentHash]) -> Vec<Option<Vec<u8>>> {
        let load = |hash: &ContentHash| self.lent(Table::Bodies, hash.as_bytes()).map(|body| body.to_vec());
        hashes.iter().map(load).collect()
    }
}

/// Milliseconds after which a system has written back what nobody synced.
const WRITE_BACK: u64 = 5_000;

/// Old copies kept of a folder.
const COPIES_MAX: usize = 3;
