//! Damage on the disk: single records, content files, and what a power cut leaves of the database.

use std::{fs, io::Write, os::unix::fs::FileExt, path::Path};

use refpoint::store::{Checked, Keys, OpenError, Remedy, SledStore, Store, StoreError};
use refpoint_protocol::storage::{Change, Table};

use super::{LARGE, open, options, put, storage_key, value};

/// A folder with many records of both sizes, closed in order.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    for number in 0..RECORDS {
        store.apply(&[put(Table::Inbox, &number.to_be_bytes(), &value(number, 500))]).unwrap();
    }
    store.apply(&[put(Table::InboxContent, b"large", &value(1, LARGE))]).unwrap();
    drop(store);
    // sled writes a snapshot when it opens a log that has grown.
    drop(open(folder.path()));
    folder
}

/// Makes the next start one after a crash.
fn unmark(folder: &Path) {
    fs::remove_file(folder.join("clean")).unwrap();
}

fn assert_filled(store: &SledStore) {
    for number in 0..RECORDS {
        assert_eq!(store.value(Table::Inbox, &number.to_be_bytes()).unwrap(), Some(value(number, 500)));
    }
    assert_eq!(store.value(Table::InboxContent, b"large").unwrap(), Some(value(1, LARGE)));
}

fn only_content_file(folder: &Path) -> std::path::PathBuf {
    let mut files: Vec<_> =
        fs::read_dir(folder.join("content")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

/// Opens sled itself, to do what no store would.
fn tamper(folder: &Path, tamper: impl FnOnce(&sled::Db)) {
    let database = sled::open(folder.join("database")).unwrap();
    tamper(&database);
    database.flush().unwrap();
}

fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    [&[table.id()], key].concat()
}

#[test]
fn a_damaged_record_is_an_error_until_it_is_replaced_and_never_silent() {
    let folder = filled();
    let key = 7_u64.to_be_bytes();
    tamper(folder.path(), |database| {
        let mut row = database.get(row_key(Table::Inbox, &key)).unwrap().unwrap().to_vec();
        let last = row.len() - 1;
        row[last] ^= 1;
        database.insert(row_key(Table::Inbox, &key), row).unwrap();
    });
    let (store, opened) = open(folder.path());
    assert_eq!(opened.set_aside, 0, "an orderly folder is not checked");
    for _ in 0..2 {
        let error = store.value(Table::Inbox, &key).unwrap_err();
        assert!(
            matches!(&error, StoreError::Damaged { table: Table::Inbox, key: of, .. } if *of == key),
            "{error}"
        );
        assert!(!error.is_fatal());
    }
    let (whole, errors): (Vec<_>, Vec<_>) = store.scan(Table::Inbox, Keys::All).partition(Result::is_ok);
    assert_eq!((whole.len() as u64, errors.len()), (RECORDS - 1, 1));
    assert_eq!(store.set_aside().unwrap().len(), 1);
    drop(store);

    let (store, opened) = open(folder.path());
    assert_eq!(opened.set_aside, 1, "it is told at every start");
    assert!(store.value(Table::Inbox, &key).is_err());
    store.apply(&[put(Table::Inbox, &key, b"fetched again")]).unwrap();
    assert_eq!(store.value(Table::Inbox, &key).unwrap(), Some(b"fetched again".to_vec()));
    assert!(store.set_aside().unwrap().is_empty());
    drop(store);
    assert_eq!(open(folder.path()).1.set_aside, 0);
}

#[test]
fn a_record_in_the_wrong_place_does_not_read() {
    let folder = filled();
    tamper(folder.path(), |database| {
        let row = database.get(row_key(Table::Inbox, &1_u64.to_be_bytes())).unwrap().unwrap();
        database.insert(row_key(Table::Inbox, &2_u64.to_be_bytes()), row).unwrap();
    });
    let (store, _) = open(folder.path());
    assert!(store.value(Table::Inbox, &1_u64.to_be_bytes()).is_ok());
    assert!(matches!(store.value(Table::Inbox, &2_u64.to_be_bytes()), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_scan_meets_damage_as_an_error_among_its_rows() {
    let folder = filled();
    tamper(folder.path(), |database| {
        for number in [0_u64, 5, RECORDS - 1] {
            database.insert(row_key(Table::Inbox, &number.to_be_bytes()), b"\x01\x00garbage").unwrap();
        }
    });
    let (store, _) = open(folder.path());
    let (whole, errors): (Vec<_>, Vec<_>) = store.scan(Table::Inbox, Keys::All).partition(Result::is_ok);
    assert_eq!((whole.len() as u64, errors.len()), (RECORDS - 3, 3));
    assert!(errors.iter().all(|row| matches!(row, Err(StoreError::Damaged { .. }))));
    store.apply(&[Change::delete(Table::Inbox, 5_u64.to_be_bytes())]).unwrap();
    assert_eq!(store.set_aside().unwrap().len(), 2, "deleting gives a record up");
}

#[test]
fn flipped_cut_and_missing_content_files_are_noticed_and_replaced() {
    let flip: fn(&Path) = |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[LARGE / 2] ^= 0x10;
        fs::write(path, bytes).unwrap();
    };
    let cut: fn(&Path) = |path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(100).unwrap();
    };
    let remove: fn(&Path) = |path| fs::remove_file(path).unwrap();
    for harm in [flip, cut, remove] {
        let folder = filled();
        let file = only_content_file(folder.path());
        harm(&file);
        let (store, _) = open(folder.path());
        for _ in 0..2 {
            let error = store.value(Table::InboxContent, b"large").unwrap_err();
            assert!(matches!(error, StoreError::Damaged { table: Table::InboxContent, .. }), "{error}");
        }
        store.apply(&[put(Table::InboxContent, b"large", &value(1, LARGE))]).unwrap();
        store.sync().unwrap();
        assert_filled(&store);
        assert_ne!(only_content_file(folder.path()), file, "the damaged file is gone with its row");
    }
}

#[test]
fn a_start_after_a_crash_checks_every_row_and_sweeps_unnamed_files() {
    let folder = filled();
    tamper(folder.path(), |database| {
        database.insert(row_key(Table::Inbox, &3_u64.to_be_bytes()), b"\x01\x00garbage").unwrap();
    });
    let content = folder.path().join("content");
    fs::write(content.join("ab".repeat(32)), "no row names this").unwrap();
    fs::write(content.join(format!("{}.part", "cd".repeat(32))), "unfinished").unwrap();
    fs::write(content.join("README"), "somebody else's").unwrap();
    unmark(folder.path());
    let (store, opened) = open(folder.path());
    let damaged = vec![(Table::Inbox, 3_u64.to_be_bytes().to_vec())];
    assert_eq!(opened.checked, Some(Checked { rows: RECORDS, damaged, swept: 2 }));
    assert_eq!(opened.set_aside, 1);
    assert!(content.join("README").exists());
    assert_eq!(store.value(Table::InboxContent, b"large").unwrap(), Some(value(1, LARGE)));
}

#[test]
fn a_snapshot_that_was_being_written_does_not_keep_the_folder_shut() {
    for content in [&b""[..], b"half a snapshot"] {
        let folder = filled();
        fs::write(folder.path().join("database/snap.00000000FFFFFFFF.generating"), content).unwrap();
        let (store, opened) = open(folder.path());
        let recovered = opened.recovered.expect("a recovery is reported");
        assert_eq!(recovered.remedy, Remedy::WithoutUnfinishedSnapshots);
        assert!(recovered.copy.join("snap.00000000FFFFFFFF.generating").exists());
        assert_eq!(opened.checked.unwrap().damaged, []);
        assert_filled(&store);
        drop(store);
        assert_eq!(open(folder.path()).1.recovered, None, "once is enough");
    }
}

#[test]
fn an_empty_newest_snapshot_does_not_keep_the_folder_shut() {
    let folder = filled();
    let snapshot = fs::read_dir(folder.path().join("database"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snap."))
        .max()
        .expect("sled has written a snapshot");
    fs::File::create(&snapshot).unwrap();
    let (store, opened) = open(folder.path());
    assert_eq!(opened.recovered.unwrap().remedy, Remedy::WithoutSnapshots);
    assert_filled(&store);
}

#[test]
fn a_database_beyond_help_is_put_back_and_never_replaced_by_an_empty_one() {
    let folder = filled();
    let database = folder.path().join("database");
    for name in fs::read_dir(&database).unwrap().map(|entry| entry.unwrap().path()) {
        if name.is_file() && !name.ends_with("conf") {
            let length = fs::metadata(&name).unwrap().len();
            fs::write(&name, vec![0x5a; usize::try_from(length).unwrap()]).unwrap();
        }
    }
    unmark(folder.path());
    let before = fs::read(database.join("db")).unwrap();
    for _ in 0..2 {
        let error = SledStore::open(folder.path(), &storage_key(), &options()).err().unwrap();
        let OpenError::Unrecoverable { database: lies, .. } = &error else { panic!("{error}") };
        assert_eq!(*lies, database);
        assert!(error.to_string().contains(&database.display().to_string()));
    }
    assert!(fs::read(database.join("db")).unwrap() == before, "it is as it was");
    let copies = fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("database."));
    assert_eq!(copies.count(), 0, "failing again and again does not fill the disk");
}

#[test]
fn an_opening_that_was_cut_short_leaves_the_first_copy_in_place() {
    let folder = filled();
    unmark(folder.path());
    // As if the opening before had been killed after sled had cut the database short.
    let (database, copy) = (folder.path().join("database"), folder.path().join("database.before-opening"));
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&database).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    fs::OpenOptions::new().write(true).open(database.join("db")).unwrap().set_len(0).unwrap();
    let error = SledStore::open(folder.path(), &storage_key(), &options()).err().unwrap();
    assert!(matches!(error, OpenError::Unrecoverable { .. }), "{error}");
    // The copy was put back, and it is whole.
    let (store, opened) = open(folder.path());
    assert_eq!(opened.recovered, None);
    assert_filled(&store);
    assert!(!copy.exists());
}

/// Whatever is done to the database file, the folder opens with a report, or is refused; no record reads wrong,
/// none is missing without a word, and nothing panics.
#[test]
fn a_harmed_database_file_never_gives_a_wrong_record() {
    let cut: fn(&mut fs::File, u64) = |file, length| file.set_len(length * 2 / 3).unwrap();
    let zero_tail: fn(&mut fs::File, u64) = |file, length| {
        file.write_all_at(&vec![0; 65_536], length - 65_536).unwrap();
    };
    let flip: fn(&mut fs::File, u64) = |file, length| {
        for place in (0..length).step_by(9_973) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, place).unwrap();
            file.write_all_at(&[byte[0] ^ 4], place).unwrap();
        }
    };
    let empty: fn(&mut fs::File, u64) = |file, _| file.set_len(0).unwrap();
    for (name, harm) in [("cut", cut), ("zero tail", zero_tail), ("flip", flip), ("empty", empty)] {
        let folder = filled();
        let path = folder.path().join("database/db");
        let mut file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        harm(&mut file, length);
        file.flush().unwrap();
        let harmed = file.metadata().unwrap().len();
        drop(file);
        unmark(folder.path());
        match SledStore::open(folder.path(), &storage_key(), &options()) {
            Err(OpenError::Unrecoverable { .. }) => {
                assert!(path.exists(), "{name}: the database is still there");
            }
            Err(error) => panic!("{name}: {error}"),
            Ok((store, opened)) => {
                let mut there = 0;
                for number in 0..RECORDS {
                    match store.value(Table::Inbox, &number.to_be_bytes()) {
                        Ok(Some(read)) => {
                            assert_eq!(read, value(number, 500), "{name}");
                            there += 1;
                        }
                        Ok(None) | Err(StoreError::Damaged { .. }) => {}
                        Err(error) => panic!("{name}: {error}"),
                    }
                }
                let told = opened.recovered.is_some() || opened.set_aside > 0;
                assert!(there == RECORDS || told, "{name}: {there} of {RECORDS} and no word: {opened:?}");
                if let Some(recovered) = &opened.recovered {
                    assert_eq!(fs::metadata(recovered.copy.join("db")).unwrap().len(), harmed, "{name}");
                    drop(store);
                    assert_eq!(open(folder.path()).1.recovered, None, "{name}: it is told once");
                }
            }
        }
    }
}

/// Enough for several segments of sled's log.
const RECORDS: u64 = 3_000;
