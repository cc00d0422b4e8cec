//! The write-ahead log: what was synced is there although sled never wrote it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use refpoint::store::{Keys, Options, Recovered, Remedy, SledStore, Store};
use refpoint_protocol::storage::{Change, Table};

use super::{LARGE, copy_folder, open, options, put, storage_key, value};

/// Number `n` replaces the one before it, and every third has a content file.
fn batch(number: u64) -> [Change; 3] {
    let content = value(number, if number.is_multiple_of(3) { LARGE } else { 700 });
    [
        put(Table::InboxContent, &number.to_be_bytes(), &content),
        put(Table::OwnState, b"last", &number.to_be_bytes()),
        Change::delete(Table::Inbox, number.to_be_bytes()),
    ]
}

fn store(store: &SledStore, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        store.apply(&batch(number)).unwrap();
        store.sync().unwrap();
    }
}

fn held(store: &SledStore) -> Vec<u64> {
    let rows = store.scan(Table::InboxContent, Keys::All).collect::<Result<Vec<_>, _>>().unwrap();
    rows.iter().for_each(|(key, row)| {
        let number = u64::from_be_bytes(key.as_slice().try_into().unwrap());
        assert!(row.starts_with(&number.to_be_bytes()));
    });
    rows.into_iter().map(|(key, _)| u64::from_be_bytes(key.try_into().unwrap())).collect()
}

/// A folder with four batches that was closed in order, and a copy of it as it was then.
fn closed_with_four() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (folder, before) = (root.path().join("data"), root.path().join("before"));
    let (first, _) = open(&folder);
    store(&first, 1..=4);
    drop(first);
    copy_folder(&folder, &before);
    (root, folder, before)
}

/// Puts an old database in the place of a folder's own, as if sled had written nothing since.
fn with_database(folder: &Path, database: &Path, root: &Path) -> PathBuf {
    let mixed = root.join("mixed");
    copy_folder(folder, &mixed);
    fs::remove_dir_all(mixed.join("database")).unwrap();
    copy_folder(&database.join("database"), &mixed.join("database"));
    mixed
}

#[test]
fn what_was_synced_is_found_although_sled_never_wrote_it() {
    let (root, folder, before) = closed_with_four();
    let (second, _) = open(&folder);
    store(&second, 5..=20);
    let mixed = with_database(&folder, &before, root.path());
    for _ in 0..2 {
        let (store, opened) = open(&mixed);
        assert_eq!((opened.recovered, opened.set_aside), (None, 0));
        assert_eq!(held(&store), (1..=20).collect::<Vec<_>>());
        assert_eq!(store.value(Table::OwnState, b"last").unwrap(), Some(20_u64.to_be_bytes().to_vec()));
    }
}

#[test]
fn a_log_that_does_not_follow_the_database_is_a_loss_that_is_told_and_its_own_rows_are_kept() {
    let (root, folder, before) = closed_with_four();
    let (second, _) = open(&folder);
    store(&second, 5..=9);
    // Its end brings 5 to 9 into the database, and the log begins anew.
    drop(second);
    let (third, _) = open(&folder);
    store(&third, 10..=12);
    let mixed = with_database(&folder, &before, root.path());
    let (store, opened) = open(&mixed);
    let recovered = opened.recovered.unwrap();
    assert!(
        matches!(recovered, Recovered { lost: 5, remedy: Remedy::AsFound | Remedy::WithoutSnapshots, .. }),
        "{recovered:?}"
    );
    assert_eq!(held(&store), [1, 2, 3, 4, 10, 11, 12]);
}

#[test]
fn a_log_of_any_size_loses_nothing_when_it_begins_anew() {
    for log_bytes in [0, 1, 900, 3_000, 20_000] {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("data");
        let options = Options { log_bytes, ..options() };
        let (first, _) = SledStore::open(&folder, &storage_key(), &options).unwrap();
        for last in 1..=30 {
            first.apply(&batch(last)).unwrap();
            // Now and then several batches share a sync.
            if last % 4 == 0 {
                continue;
            }
            first.sync().unwrap();
            let copy = root.path().join(format!("copy-{last}"));
            copy_folder(&folder, &copy);
            let (second, opened) = SledStore::open(&copy, &storage_key(), &options).unwrap();
            assert_eq!((opened.recovered, opened.set_aside), (None, 0), "{log_bytes} bytes, after {last}");
            assert_eq!(held(&second), (1..=last).collect::<Vec<_>>(), "{log_bytes} bytes");
        }
    }
}

#[test]
fn a_log_that_was_left_behind_says_nothing_about_a_new_database() {
    let root = tempfile::tempdir().unwrap();
    let (folder, new) = (root.path().join("data"), root.path().join("new"));
    let (first, _) = open(&folder);
    store(&first, 1..=3);
    fs::create_dir(&new).unwrap();
    fs::copy(folder.join("wal"), new.join("wal")).unwrap();
    let (store, opened) = open(&new);
    assert!(opened.is_new && opened.recovered.is_none());
    assert!(held(&store).is_empty());
}
