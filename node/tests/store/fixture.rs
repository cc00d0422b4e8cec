//! A folder of every schema that there has been, checked in, opens with what was put into it.
//!
//! A new schema gets a new folder from the ignored test below; the old ones stay as they are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use refpoint::store::{Keys, Migrated, SledStore, Store};
use refpoint_protocol::storage::Table;

use super::{LARGE, open, options, put, storage_key, value};

/// The schema that this program writes.
const CURRENT: u32 = 6;

fn fixture(schema: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema-{schema}"))
}

/// What every fixture holds: of each table a short record and one that needs a file.
fn records(table: Table) -> [(Vec<u8>, Vec<u8>); 2] {
    let number = u64::from(table.id());
    [(b"large".to_vec(), value(number, LARGE)), (b"small".to_vec(), value(number, 64))]
}

#[test]
fn a_folder_of_schema_1_opens_with_all_that_is_in_it() {
    opens(1, |table| !matches!(table, Table::Custody | Table::CustodyParcels) && before_journals(table));
}

#[test]
fn a_folder_of_schema_2_opens_with_all_that_is_in_it() {
    opens(2, before_journals);
}

#[test]
fn a_folder_of_schema_3_opens_with_all_that_is_in_it() {
    opens(3, before_journals);
}

#[test]
fn a_folder_of_schema_4_opens_with_all_that_is_in_it() {
    opens(4, before_witnesses);
}

#[test]
fn a_folder_of_schema_5_opens_with_all_that_is_in_it() {
    opens(5, before_settlements);
}

#[test]
fn a_folder_of_schema_6_opens_with_all_that_is_in_it() {
    opens(6, |_| true);
}

fn before_journals(table: Table) -> bool {
    table != Table::Journal && before_witnesses(table)
}

fn before_witnesses(table: Table) -> bool {
    !matches!(table, Table::JournalTiers | Table::Cosigned | Table::Witnessed) && before_settlements(table)
}

fn before_settlements(table: Table) -> bool {
    table != Table::Settlements
}

/// Opens a copy of a fixture, which had these tables. Its journal has no entry that a step would add rows for.
fn opens(schema: u32, had: impl Fn(Table) -> bool) {
    let migrated: Vec<_> = (schema..CURRENT).map(|from| Migrated { from, to: from + 1, rows: 0 }).collect();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&fixture(schema), copy.path());
    let (store, opened) = open(copy.path());
    assert!(!opened.is_new && opened.recovered.is_none() && opened.migrated == migrated, "{opened:?}");
    assert_eq!(opened.checked, None, "the folder was closed in order");
    for table in Table::ALL {
        let rows: Vec<_> = store.scan(table, Keys::All).collect::<Result<_, _>>().unwrap();
        let expected = if had(table) { records(table).to_vec() } else { Vec::new() };
        assert!(rows == expected, "{}", table.name());
    }
    assert_eq!(
        fs::read_to_string(copy.path().join("schema")).unwrap(),
        format!("refpoint storage schema {CURRENT}\n")
    );
}

#[test]
#[ignore = "writes tests/fixtures/schema-N; run it once when the schema changes"]
fn write_the_fixture_of_this_schema() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = SledStore::open(folder.path(), &storage_key(), &options()).unwrap();
    for table in Table::ALL {
        for (key, value) in records(table) {
            store.apply(&[put(table, &key, &value)]).unwrap();
        }
    }
    drop(store);
    let schema = fs::read_to_string(folder.path().join("schema")).unwrap();
    let schema = schema.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(!fixture(schema).exists(), "a fixture that is checked in is never written again");
    copy_folder(folder.path(), &fixture(schema));
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else if !["lock", "wal"].iter().any(|name| entry.file_name() == *name) {
            // After an orderly end all is in the database, and the log is four mebibytes of nothing.
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
