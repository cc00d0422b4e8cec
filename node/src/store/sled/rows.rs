//! Scans: the rows of one table in order, each checked as it comes.

use std::ops::Bound;

use refpoint_protocol::storage::Table;

use super::{
    Keys, Row, SledStore, Store,
    recent::{KeyAndRow, KeyRange, Merged},
    row_key,
};

/// A scan in progress.
pub(super) struct SledRows<'a> {
    store: &'a SledStore,
    table: Table,
    errors: std::vec::IntoIter<Row>,
    /// `None` after sled has failed.
    rows: Option<Merged>,
}

impl<'a> SledRows<'a> {
    /// Begins a scan; `errors` are told first.
    pub(super) fn start(store: &'a SledStore, table: Table, keys: Keys<'_>, errors: Vec<Row>) -> Self {
        let rows = store.raw_rows(bounds(table, keys));
        Self { store, table, errors: errors.into_iter(), rows: Some(rows) }
    }

    fn step(&mut self, step: impl Fn(&mut Merged) -> Option<::sled::Result<KeyAndRow>>) -> Option<Row> {
        loop {
            let rows = self.rows.as_mut()?;
            let (key, row) = match self.store.call("scanning", || step(rows).transpose()) {
                Ok(found) => found?,
                Err(error) => {
                    self.rows = None;
                    return Some(Err(error));
                }
            };
            let key = key.get(1..).unwrap_or_default().to_vec();
            let unread = match self.store.open_row(self.table, &key, &row) {
                Ok(value) => return Some(Ok((key, value))),
                Err(unread) => unread,
            };
            match self.store.unread(self.table, &key, &row, unread) {
                Ok(Some(error)) | Err(error) => return Some(Err(error)),
                // Replaced meanwhile: what is there now is as good an answer.
                Ok(None) => match self.store.value(self.table, &key) {
                    Ok(Some(value)) => return Some(Ok((key, value))),
                    Ok(None) => {}
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}

impl Iterator for SledRows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        self.errors.next().or_else(|| self.step(Merged::next))
    }
}

impl DoubleEndedIterator for SledRows<'_> {
    fn next_back(&mut self) -> Option<Row> {
        self.step(Merged::next_back).or_else(|| self.errors.next_back())
    }
}

/// The range of row keys that a scan visits.
fn bounds(table: Table, keys: Keys<'_>) -> KeyRange {
    let start = row_key(table.id(), &keys.start());
    let prefix = match keys {
        Keys::Prefix(_) => start.clone(),
        Keys::All | Keys::From(_) | Keys::After(_) => vec![table.id()],
    };
    with_prefix(start, prefix)
}

/// From a key to the last that begins with these bytes.
pub(super) fn with_prefix(start: Vec<u8>, mut prefix: Vec<u8>) -> KeyRange {
    // The first key past all of them: the last byte that can grow, grown by one.
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            break;
        }
    }
    (Bound::Included(start), Bound::Excluded(prefix))
}
