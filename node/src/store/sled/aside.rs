//! Damaged rows: moved out of their tables, so that they are reported and stop nothing else.

use std::sync::atomic::Ordering;

use refpoint_protocol::storage::Table;

use super::{
    SET_ASIDE, SledStore, StoreError,
    content::Unread,
    keys::{aside_key, row_key},
    record::{self, Place, Shape},
};

/// What became of a damaged row.
pub(in crate::store) enum Moved {
    /// It was set aside.
    Aside,
    /// It was replaced before that, so it is no longer of interest.
    Replaced,
}

impl SledStore {
    /// Moves a damaged row out of its table, unless it has been replaced meanwhile.
    pub(in crate::store) fn put_aside(
        &self,
        table: Table,
        key: &[u8],
        row: &[u8],
    ) -> Result<Moved, StoreError> {
        let mut writing = self.writing();
        let row_key = row_key(table.id(), key);
        if self.raw_row("reading a damaged row", &row_key)?.as_deref() != Some(row) {
            return Ok(Moved::Replaced);
        }
        let aside = aside_key(table, key);
        let place = Place { prefix: SET_ASIDE, key: aside.get(1..).unwrap_or_default(), secret: false };
        let remains = record::encode(place, Shape::Inline, row, &self.storage_key)?;
        self.apply_rows(&mut writing, vec![(row_key, None), (aside, Some(remains))])?;
        self.set_aside.fetch_add(1, Ordering::SeqCst);
        drop(writing);
        Ok(Moved::Aside)
    }

    /// Turns what could not be read into what the caller gets: an error, or nothing if the row was replaced.
    pub(super) fn unread(
        &self,
        table: Table,
        key: &[u8],
        row: &[u8],
        unread: Unread,
    ) -> Result<Option<StoreError>, StoreError> {
        match unread {
            Unread::Unreadable(cause) => {
                Ok(Some(StoreError::Unreadable { what: "a content file", cause: cause.to_string() }))
            }
            Unread::Damaged(damage) => match self.put_aside(table, key, row)? {
                Moved::Replaced => Ok(None),
                Moved::Aside => {
                    let error = StoreError::Damaged { table, key: key.to_vec(), damage };
                    tracing::error!(table = table.name(), "{error}");
                    Ok(Some(error))
                }
            },
        }
    }
}
