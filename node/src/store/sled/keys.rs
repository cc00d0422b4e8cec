//! The keys of the one tree: a prefix byte that names the table, or the store's own use, and the key within.

use refpoint_protocol::storage::Table;

/// The key of a row in the tree.
pub(in crate::store) fn row_key(prefix: u8, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(prefix);
    bytes.extend_from_slice(key);
    bytes
}

/// The key under which a damaged row is set aside.
pub(super) fn aside_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut bytes = vec![SET_ASIDE, table.id()];
    bytes.extend_from_slice(key);
    bytes
}

/// The prefix of the store's own records: who founded the database, under which schema and key.
pub(in crate::store) const FOUNDING: u8 = 0x00;

/// The prefix of damaged rows that wait for being replaced; then the table's id and the key.
pub(in crate::store) const SET_ASIDE: u8 = 0x01;
