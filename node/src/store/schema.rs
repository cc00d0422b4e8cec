//! The schema version: what guards a data folder, and how an older one becomes a newer one.
//!
//! The `schema` file can be read without touching the database, so a program that is too old refuses before it
//! changes anything. The founding record within the database is the truth about its rows. An upgrade writes the
//! file first: whatever happens then, no older program opens the folder, and this one goes on where it was.

use std::{fs, io};

use refpoint_protocol::{audit::tiers_of, storage::Table};

use super::{
    Keys, OpenError, SledStore, Store, StoreError,
    folder::{Layout, replace_file},
    record::{self, Place, Shape, StorageKey},
    sled::{FOUNDING, row_key},
};

/// The schema that this version writes.
pub(super) const CURRENT: u32 = 6;

/// One step of an upgrade, done for the report that opening returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The schema before.
    pub from: u32,
    /// The schema after.
    pub to: u32,
    /// How many rows were written.
    pub rows: u64,
}

/// A step from one schema to the next. It may be cut short and run again, so it must be harmless to repeat.
pub(super) struct Migration {
    /// The schema that it starts from.
    pub(super) from: u32,
    /// Rewrites rows and returns how many.
    pub(super) run: fn(&SledStore) -> Result<u64, StoreError>,
}

/// Every step that there has been, oldest first.
pub(super) const MIGRATIONS: &[Migration] = &[
    // Parcels in custody have tables of their own: nothing to rewrite, but a program that does not know them
    // would keep them and never hand them over.
    Migration { from: 1, run: |_| Ok(0) },
    // The write-ahead log: a program that does not know it would open a database without its last batches.
    Migration { from: 2, run: |_| Ok(0) },
    // The journal has a table of its own, and begins with the first start.
    Migration { from: 3, run: |_| Ok(0) },
    // The journal's proofs are made from roots of its subtrees, which a program of schema 4 would not go on with.
    Migration { from: 4, run: add_journal_tiers },
    // Settlements have a table of their own: a program that does not know it would apply what stands beside them.
    Migration { from: 5, run: |_| Ok(0) },
];

/// Stores the roots of the journals' subtrees. Damaged entries are told by whoever reads the journal.
fn add_journal_tiers(store: &SledStore) -> Result<u64, StoreError> {
    let mut fatal = None;
    let rows = store.scan(Table::Journal, Keys::All).map_while(|row| match row {
        Err(error) if error.is_fatal() => {
            fatal = Some(error);
            None
        }
        row => Some(row),
    });
    let changes = tiers_of(rows.flatten());
    if let Some(error) = fatal {
        return Err(error);
    }
    store.apply(&changes)?;
    Ok(changes.len() as u64)
}

/// Reads the schema file; refuses a newer folder before anything is changed. `None` is a new folder.
pub(super) fn guard(layout: &Layout, known: u32) -> Result<Option<u32>, OpenError> {
    let path = layout.schema();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) if cause.kind() == io::ErrorKind::InvalidData => {
            return Err(OpenError::NotASchema { path });
        }
        Err(cause) => return Err(OpenError::Folder { doing: "read", path, cause }),
    };
    let found: u32 = text
        .strip_prefix(SCHEMA_WORDS)
        .and_then(|number| number.trim_end().parse().ok())
        .ok_or(OpenError::NotASchema { path })?;
    if found > known {
        return Err(OpenError::NewerSchema { folder: layout.folder().to_path_buf(), found, known });
    }
    Ok(Some(found))
}

/// Writes the schema file.
pub(super) fn write_guard(layout: &Layout, schema: u32) -> Result<(), OpenError> {
    let path = layout.schema();
    replace_file(&path, format!("{SCHEMA_WORDS}{schema}\n").as_bytes()).map_err(|cause| OpenError::Folder {
        doing: "write",
        path,
        cause,
    })
}

/// What the founding record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Founding {
    /// There is none.
    Missing,
    /// It is damaged.
    Damaged,
    /// It was made with another storage key.
    OtherKey,
    /// The database has this schema.
    Schema(u32),
}

/// Reads the founding record.
pub(super) fn founding(store: &SledStore) -> Result<Founding, StoreError> {
    let row =
        store.call("reading the founding record", || store.database.get(row_key(FOUNDING, FOUNDING_KEY)))?;
    Ok(row.map_or(Founding::Missing, |row| founding_of(&row, &store.storage_key)))
}

/// What a founding record says under this storage key.
pub(super) fn founding_of(row: &[u8], storage_key: &StorageKey) -> Founding {
    let Ok((Shape::Inline, value)) = record::decode(FOUNDING_PLACE, row, storage_key) else {
        return Founding::Damaged;
    };
    let Some((schema, check)) = value.split_first_chunk::<4>() else { return Founding::Damaged };
    match record::decode(KEY_CHECK_PLACE, check, storage_key) {
        Ok(_) => Founding::Schema(u32::from_be_bytes(*schema)),
        Err(_) => Founding::OtherKey,
    }
}

/// Writes the founding record durably.
pub(super) fn write_founding(store: &SledStore, schema: u32) -> Result<(), StoreError> {
    let row = founding_row(schema, &store.storage_key)?;
    store.call("writing the founding record", || {
        store.database.insert(row_key(FOUNDING, FOUNDING_KEY), row)
    })?;
    store.sync_all()
}

/// Brings a database from `from` to `target`, one step at a time.
pub(super) fn migrate(
    store: &SledStore,
    migrations: &[Migration],
    mut from: u32,
    target: u32,
) -> Result<Vec<Migrated>, OpenError> {
    let mut report = Vec::new();
    if from == target {
        return Ok(report);
    }
    write_guard(&store.layout, target)?;
    while from < target {
        let failed =
            |cause| OpenError::Migration { folder: store.layout.folder().to_path_buf(), from, cause };
        let step = migrations.iter().find(|step| step.from == from).ok_or_else(|| {
            failed(StoreError::Failed {
                doing: "looking for a migration",
                cause: "there is none from this schema".to_owned(),
            })
        })?;
        let rows = (step.run)(store).map_err(failed)?;
        // The rows are on the device before the founding record says so.
        store.sync().and_then(|()| write_founding(store, from + 1)).map_err(failed)?;
        report.push(Migrated { from, to: from + 1, rows });
        from += 1;
    }
    Ok(report)
}

fn founding_row(schema: u32, storage_key: &StorageKey) -> Result<Vec<u8>, StoreError> {
    let check = record::encode(KEY_CHECK_PLACE, Shape::Inline, &[], storage_key)?;
    let value = [schema.to_be_bytes().as_slice(), &check].concat();
    record::encode(FOUNDING_PLACE, Shape::Inline, &value, storage_key)
}

/// The founding record's key.
pub(super) const FOUNDING_KEY: &[u8] = b"founded";

const FOUNDING_PLACE: Place<'_> = Place { prefix: FOUNDING, key: FOUNDING_KEY, secret: false };

/// An empty secret record: it opens only under the key that the folder was made with.
const KEY_CHECK_PLACE: Place<'_> = Place { prefix: FOUNDING, key: b"key-check", secret: true };

/// What the schema file says before the number.
const SCHEMA_WORDS: &str = "refpoint storage schema ";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::{
        audit::{entry_key, tier_key},
        storage::Change,
        time::Timestamp,
    };

    use super::*;
    use crate::store::Options;

    fn open(folder: &std::path::Path) -> SledStore {
        SledStore::open(folder, &StorageKey::from_bytes(&[7; 32]), &Options::default()).unwrap().0
    }

    /// Adds a byte to every own state, once: what has it already is left alone.
    fn lengthen(store: &SledStore, to: usize) -> Result<u64, StoreError> {
        let rows: Vec<_> = store.scan(Table::OwnState, Keys::All).collect::<Result<_, _>>()?;
        let changes: Vec<Change> = rows
            .into_iter()
            .filter(|(_, value)| value.len() < to)
            .map(|(key, value)| Change::put(Table::OwnState, key, [value.as_slice(), b"+"].concat()))
            .collect();
        store.apply(&changes)?;
        Ok(changes.len() as u64)
    }

    fn failing(store: &SledStore) -> Result<u64, StoreError> {
        lengthen(store, 3)?;
        Err(StoreError::Unwritable { cause: "out of handles".to_owned() })
    }

    #[test]
    fn migrations_run_in_order_report_their_rows_and_go_on_after_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        for key in [b"a", b"b"] {
            store.apply(&[Change::put(Table::OwnState, *key, *b"1")]).unwrap();
        }
        let (now, next, last) = (CURRENT, CURRENT + 1, CURRENT + 2);
        let first = Migration { from: now, run: |store| lengthen(store, 2) };
        let second = Migration { from: next, run: |store| lengthen(store, 3) };
        let broken = [Migration { from: next, run: failing }, first];
        let error = migrate(&store, &broken, now, last).unwrap_err();
        assert!(matches!(error, OpenError::Migration { from, .. } if from == next), "{error}");
        assert_eq!(founding(&store).unwrap(), Founding::Schema(next), "the first step counts");
        assert!(
            matches!(guard(&store.layout, now), Err(OpenError::NewerSchema { found, .. }) if found == last),
            "an older program stays out from the first step on"
        );
        let report = migrate(&store, &[second], next, last).unwrap();
        assert_eq!(report, [Migrated { from: next, to: last, rows: 0 }], "repeating a step is harmless");
        assert_eq!(founding(&store).unwrap(), Founding::Schema(last));
        for key in [b"a", b"b"] {
            assert_eq!(store.value(Table::OwnState, key).unwrap(), Some(b"1++".to_vec()));
        }
    }

    #[test]
    fn journals_get_the_roots_that_their_proofs_are_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let began = [7, 8].map(Timestamp::from_millis);
        let entries =
            (0..256).map(|number| (began[0], number)).chain((0..513).map(|number| (began[1], number)));
        let entry = |(began, number): (Timestamp, u64)| {
            Change::put(Table::Journal, entry_key(began, number), number.to_be_bytes())
        };
        store.apply(&entries.map(entry).collect::<Vec<_>>()).unwrap();
        assert_eq!(add_journal_tiers(&store).unwrap(), 3);
        let rows: Vec<_> = store.scan(Table::JournalTiers, Keys::All).collect::<Result<_, _>>().unwrap();
        let key = |began, number| tier_key(began, 1, number).unwrap();
        let keys: Vec<_> = rows.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys, [key(began[0], 0), key(began[1], 0), key(began[1], 1)]);
        assert_eq!(rows[0].1, rows[1].1, "the same entries");
        assert_eq!(add_journal_tiers(&store).unwrap(), 3, "repeating it is harmless");
    }

    #[test]
    fn a_missing_step_is_an_error_and_no_migration_is_needed_for_the_current_schema() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        assert_eq!(migrate(&store, MIGRATIONS, CURRENT, CURRENT).unwrap(), []);
        let missing = migrate(&store, &[], CURRENT, CURRENT + 1);
        assert!(matches!(missing, Err(OpenError::Migration { from: CURRENT, .. })));
    }
}
