//! Snapshots: whole between two batches, checked, one at a time; and a folder made of one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use refpoint_protocol::storage::{Change, Table};

use super::*;
use crate::store::{Keys, Options, StorageKey, content::hash_of};

const LARGE: usize = 9_000;

fn key() -> StorageKey {
    StorageKey::from_bytes(&[7; 32])
}

fn open(folder: &Path) -> SledStore {
    let options = Options { reserve_bytes: 0, bulk_reserve_bytes: 0, ..Options::default() };
    SledStore::open(folder, &key(), &options).unwrap().0
}

fn put(table: Table, number: u32, bytes: usize) -> Change {
    Change::put(table, number.to_be_bytes(), vec![u8::try_from(number % 251).unwrap(); bytes])
}

/// All files of a snapshot, examined.
fn examined(folder: &Path) -> Result<Examined, SnapshotFault> {
    let mut examination = Examination::new(key());
    examination.rows(&mut File::open(Snapshot::rows_file(folder)).unwrap(), |_, _, _| ())?;
    for file in Snapshot::content_files(folder).unwrap() {
        let hash = hash_of(file.file_name().unwrap().to_str().unwrap()).unwrap();
        examination.content(&hash, &fs::read(file).unwrap())?;
    }
    examination.finish(&[])
}

/// A folder made of a snapshot.
fn rebuilt(snapshot: &Path, into: &Path) {
    let mut rebuild = Rebuild::begin(into, key()).unwrap();
    rebuild.rows(&mut File::open(Snapshot::rows_file(snapshot)).unwrap()).unwrap();
    for file in Snapshot::content_files(snapshot).unwrap() {
        let hash = hash_of(file.file_name().unwrap().to_str().unwrap()).unwrap();
        rebuild.content(&hash, &fs::read(file).unwrap()).unwrap();
    }
    rebuild.finish(&[Change::put(Table::OwnState, *b"mark", [1])]).unwrap();
}

#[test]
fn a_folder_made_of_a_snapshot_has_every_record_and_the_mark() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(folder.path());
    for table in Table::ALL {
        store.apply(&[put(table, 1, 60), put(table, 2, LARGE)]).unwrap();
    }
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.tables.len(), Table::ALL.len());
    assert_eq!((snapshot.files, snapshot.set_aside), (Table::ALL.len() as u64, 0));
    assert_eq!(fs::metadata(&snapshot.folder).unwrap().permissions().mode() & 0o777, 0o700);
    let found = examined(&snapshot.folder).unwrap();
    assert_eq!((found.tables, found.files), (snapshot.tables.clone(), snapshot.files));
    // What comes later is not in it, and what goes later stays in it.
    store
        .apply(&[put(Table::Inbox, 3, 60), Change::delete(Table::InboxContent, 2_u32.to_be_bytes())])
        .unwrap();
    store.sync().unwrap();
    let into = copy.path().join("data");
    rebuilt(&snapshot.folder, &into);
    let (again, opened) = SledStore::open(&into, &key(), &Options::default()).unwrap();
    assert!(opened.recovered.is_none() && opened.set_aside == 0, "{opened:?}");
    assert!(opened.checked.is_some(), "the first opening checks every row");
    for table in Table::ALL {
        let rows: Vec<_> = again.scan(table, Keys::All).map(Result::unwrap).collect();
        let mut expected =
            vec![(1_u32.to_be_bytes().to_vec(), vec![1; 60]), (2_u32.to_be_bytes().to_vec(), vec![2; LARGE])];
        if table == Table::OwnState {
            expected.push((b"mark".to_vec(), vec![1]));
        }
        assert!(rows == expected, "{}", table.name());
    }
}

#[test]
fn a_snapshot_lies_between_two_batches_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // So that a copy is one of several stretches, with what changes at both ends.
    let filling: Vec<_> = (1_000..4_000).map(|number| put(Table::NodeRecords, number, 20)).collect();
    store.apply(&filling).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Each batch keeps three tables in step, and ends the files of the one before.
            for number in 0..400_u32 {
                let mut batch: Vec<_> =
                    [Table::Inbox, Table::MessageIds].map(|table| put(table, number, 40)).into();
                batch.push(put(Table::InboxContent, number, LARGE));
                batch.extend(
                    number.checked_sub(3).map(|old| Change::delete(Table::InboxContent, old.to_be_bytes())),
                );
                store.apply(&batch).unwrap();
                store.sync().unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut seen = BTreeSet::new();
        loop {
            let is_last = done.load(Ordering::SeqCst);
            let snapshot = store.snapshot().unwrap();
            let found = examined(&snapshot.folder).unwrap();
            let count = |table| found.tables.get(&table).copied().unwrap_or_default();
            assert_eq!(count(Table::Inbox), count(Table::MessageIds));
            assert_eq!(count(Table::InboxContent), count(Table::Inbox).min(3));
            seen.insert(count(Table::Inbox));
            if is_last {
                break;
            }
        }
        assert!(seen.len() > 1, "snapshots were made while the other thread wrote: {seen:?}");
    });
}

#[test]
fn a_large_store_is_copied_in_stretches_and_the_copy_is_of_the_moment_it_began() {
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(folder.path());
    let filling: Vec<_> = (0..3_000).map(|number| put(Table::Inbox, number, 40)).collect();
    store.apply(&filling).unwrap();
    let [kept, ended, replaced] = [1, 2, 3];
    store.apply(&[kept, ended, replaced].map(|number| put(Table::InboxContent, number, LARGE))).unwrap();
    store.sync().unwrap();
    let mut rows = RowCopy::begin(&store).unwrap();
    let mut copied = rows.stretch().unwrap().unwrap();
    assert!(copied.len() < 3_000, "there is more than one stretch");
    // Behind it, before it, and none of what comes anew; some of it twice, and put back as it was.
    for number in [0, 2_999] {
        store.apply(&[put(Table::Inbox, number, 50)]).unwrap();
        store.apply(&[Change::delete(Table::Inbox, number.to_be_bytes())]).unwrap();
    }
    store.apply(&[put(Table::Inbox, 3_000, 40), put(Table::MessageIds, 1, 8)]).unwrap();
    store.apply(&[Change::delete(Table::InboxContent, ended.to_be_bytes())]).unwrap();
    store.apply(&[put(Table::InboxContent, replaced, LARGE + 1)]).unwrap();
    store.sync().unwrap();
    while let Some(more) = rows.stretch().unwrap() {
        copied.extend(more);
    }
    let of = |table: Table| copied.keys().filter(move |key| key.first() == Some(&table.id())).count();
    assert_eq!((of(Table::Inbox), of(Table::MessageIds), of(Table::InboxContent)), (3_000, 0, 3));
    let files = || fs::read_dir(folder.path().join("content")).unwrap().count();
    assert_eq!(files(), 4, "the files that rows of the copy name are there until it ends");
    drop(rows);
    assert_eq!(files(), 2);
    // And the store itself has what was done meanwhile.
    let snapshot = store.snapshot().unwrap();
    rebuilt(&snapshot.folder, &copy.path().join("data"));
    let (again, _) = SledStore::open(&copy.path().join("data"), &key(), &Options::default()).unwrap();
    let inbox = again.scan(Table::Inbox, Keys::All).map(|row| row.unwrap().0);
    assert!(inbox.eq((1..=3_000_u32).filter(|number| *number != 2_999).map(|n| n.to_be_bytes().to_vec())));
}

#[test]
fn a_snapshot_that_is_being_read_is_not_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let first = store.snapshot().unwrap();
    let claim = Snapshot::claim(&first.folder).unwrap();
    assert!(matches!(store.snapshot(), Err(SnapshotError::InUse)));
    drop(store);
    let store = open(folder.path());
    assert!(first.folder.exists(), "an opening leaves it to its reader");
    drop(claim);
    store.snapshot().unwrap();
    drop(store);
    drop(open(folder.path()));
    assert!(!first.folder.exists(), "what nobody reads is swept");
    assert!(matches!(Snapshot::claim(&first.folder), Err(SnapshotError::Io { .. })));
}

#[test]
fn damaged_records_are_set_aside_and_the_rest_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store
        .apply(&[put(Table::Inbox, 1, 60), put(Table::Inbox, 2, 60), put(Table::InboxContent, 3, LARGE)])
        .unwrap();
    store.sync_all().unwrap();
    let flipped = {
        let row_key = crate::store::sled::row_key(Table::Inbox.id(), &1_u32.to_be_bytes());
        let mut row = store.database.get(&row_key).unwrap().unwrap().to_vec();
        *row.last_mut().unwrap() ^= 1;
        (row_key, row)
    };
    store.database.insert(flipped.0, flipped.1).unwrap();
    let content = fs::read_dir(folder.path().join("content")).unwrap().next().unwrap().unwrap();
    fs::remove_file(content.path()).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!((snapshot.set_aside, snapshot.files), (2, 0));
    let found = examined(&snapshot.folder).unwrap();
    assert_eq!((found.set_aside, found.tables), (2, [(Table::Inbox, 1)].into()));
}

#[test]
fn a_snapshot_that_is_not_whole_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.apply(&[put(Table::Inbox, 1, 60), put(Table::InboxContent, 2, LARGE)]).unwrap();
    let snapshot = store.snapshot().unwrap();
    let rows = Snapshot::rows_file(&snapshot.folder);
    let whole = fs::read(&rows).unwrap();
    for length in 0..whole.len() {
        fs::write(&rows, &whole[..length]).unwrap();
        assert!(examined(&snapshot.folder).is_err(), "cut to {length}");
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&rows, flipped).unwrap();
        assert!(examined(&snapshot.folder).is_err(), "byte {at}");
    }
    fs::write(&rows, &whole).unwrap();
    let mut other = Examination::new(StorageKey::from_bytes(&[8; 32]));
    let refused = other.rows(&mut File::open(&rows).unwrap(), |_, _, _| ());
    assert!(matches!(refused, Err(SnapshotFault::OtherKey)));
    let content = Snapshot::content_files(&snapshot.folder).unwrap().remove(0);
    let mut bytes = fs::read(&content).unwrap();
    bytes[100] ^= 1;
    fs::write(&content, &bytes).unwrap();
    assert!(matches!(examined(&snapshot.folder), Err(SnapshotFault::Damaged { .. })));
    fs::remove_file(&content).unwrap();
    assert!(matches!(examined(&snapshot.folder), Err(SnapshotFault::Missing(_))));
    fs::write(content.with_file_name("0".repeat(64)), bytes).unwrap();
    assert!(matches!(examined(&snapshot.folder), Err(SnapshotFault::Unnamed(_))));
    // A folder that holds a database already is left alone.
    assert!(matches!(Rebuild::begin(folder.path(), key()), Err(RebuildError::Open(_))));
    drop(store);
    assert!(matches!(Rebuild::begin(folder.path(), key()), Err(RebuildError::Occupied(_))));
}
