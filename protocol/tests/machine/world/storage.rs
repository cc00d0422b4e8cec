//! A node's storage in the world of a few machines: rows by table and key, which a restart reads back.

use std::sync::Arc;

use refpoint_protocol::{
    document::Envelope,
    ids::{ContentHash, DocumentId},
    storage::{Change, Table},
};

use super::Node;

impl Node {
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
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
