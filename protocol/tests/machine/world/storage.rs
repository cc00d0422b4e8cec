//! A node's storage in the world of a few machines: rows by table and key, which a restart reads back.

use std::{collections::BTreeSet, sync::Arc};

use refpoint_protocol::{
    document::{Envelope, encode},
    evidence::AnyDocument,
    ids::{ContentHash, DocumentId},
    storage::{Change, Grade, Table},
};

use super::{Node, Rows, World};

impl World {
    /// A copy of a node's folder.
    pub(crate) fn copied(&self, node: usize) -> Rows {
        self.nodes[node].store.clone()
    }

    /// Starts a node from a copy of its folder.
    pub(crate) fn put_back(&mut self, node: usize, copy: Rows) {
        // What is under way ends first, so that nothing of it is stored into the copy.
        self.restart(node);
        self.nodes[node].store = copy;
        self.restart(node);
    }

    /// Tables in which a node stored something since it started that a loss of power may take back.
    pub(crate) fn unsynced(&self, node: usize) -> &BTreeSet<Table> {
        &self.nodes[node].unsynced
    }

    /// A node's certificates.
    pub(crate) fn settlements(&self, node: usize) -> Vec<DocumentId> {
        let rows = self.nodes[node].store.keys().filter(|(table, _)| *table == Table::Settlements);
        rows.map(|(_, key)| DocumentId::from_bytes(key.as_slice().try_into().unwrap())).collect()
    }

    /// Stores a certificate of a version beside those that are there, as if the program had ended before one of them
    /// was erased.
    pub(crate) fn store_settlement(&mut self, node: usize, version: &AnyDocument) {
        let AnyDocument::Charter(version) = version else { panic!("no charter version") };
        let mut trust = self.federation.trust();
        trust.accept_charter(Arc::clone(version)).unwrap();
        let units = self.federation.units.iter();
        let heads =
            units.map(|unit| self.federation.head(unit.code.as_str(), 0, &[version])).collect::<Vec<_>>();
        let certificate = trust.settle(&heads).unwrap().unwrap();
        let row = encode(certificate.envelope().as_ref()).unwrap();
        self.nodes[node].store.insert((Table::Settlements, certificate.id().as_bytes().to_vec()), row);
    }
}

impl Node {
    pub(super) fn apply(&mut self, grade: Grade, changes: Vec<Change>) {
        if grade == Grade::Cached {
            self.unsynced.extend(changes.iter().map(|change| change.table));
        }
        for change in changes {
            match change.value {
                Some(value) => drop(self.store.insert((change.table, change.key), value)),
                None => drop(self.store.remove(&(change.table, change.key))),
            }
        }
    }

    pub(super) fn envelopes(&self, ids: &[DocumentId]) -> Vec<Option<Arc<Envelope>>> {
        let tables =
            [Table::Charters, Table::Settlements, Table::KeySets, Table::NodeRecords, Table::ReferencePoints];
        let load = |id: &DocumentId| {
            let row = tables.iter().find_map(|table| self.store.get(&(*table, id.as_bytes().to_vec())));
            row.map(|row| Arc::new(Envelope::from_bytes(row).unwrap()))
        };
        ids.iter().map(load).collect()
    }

    pub(super) fn bodies(&self, hashes: &[ContentHash]) -> Vec<Option<Vec<u8>>> {
        hashes
            .iter()
            .map(|hash| self.store.get(&(Table::Bodies, hash.as_bytes().to_vec())).cloned())
            .collect()
    }
}
