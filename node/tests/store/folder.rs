//! The data folder: one process, owner only, a schema that guards it, a key that must fit.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use refpoint::store::{OpenError, SledStore, StorageKey, Store};
use refpoint_protocol::storage::Table;

use super::{LARGE, open, options, put, storage_key, value};

fn refused(folder: &Path) -> OpenError {
    SledStore::open(folder, &storage_key(), &options()).err().expect("the folder is refused")
}

/// Every file below a folder with its bytes, the lock excepted.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            all.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else if name != "lock" {
            all.insert(name, fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn a_new_folder_is_its_owners_alone_but_for_the_way_to_the_socket() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    let (store, opened) = open(&folder);
    assert!(opened.is_new);
    assert_eq!(opened.checked, None);
    store.apply(&[put(Table::Inbox, b"a", &value(1, LARGE))]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&parent.path().join("a"))), (0o710, 0o700));
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    for entry in fs::read_dir(folder.join("content")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_second_process_is_refused_with_the_number_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = open(folder.path());
    let error = refused(folder.path());
    let OpenError::InUse { holder, .. } = &error else { panic!("{error}") };
    assert_eq!(*holder, format!("process {}", std::process::id()));
    assert!(error.to_string().contains(&folder.path().display().to_string()));
    drop(first);
    open(folder.path());
}

#[test]
fn a_newer_folder_is_left_unchanged_and_names_the_version_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    store.apply(&[put(Table::Inbox, b"a", b"1")]).unwrap();
    drop(store);
    fs::write(folder.path().join("schema"), "refpoint storage schema 7\n").unwrap();
    let before = files(folder.path());
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::NewerSchema { found: 7, .. }), "{error}");
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_schema_file_that_is_none_is_refused() {
    for text in [&b"refpoint storage schema x\n"[..], b"", b"\xff\xfe"] {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()));
        fs::write(folder.path().join("schema"), text).unwrap();
        let error = refused(folder.path());
        assert!(matches!(error, OpenError::NotASchema { .. }), "{error}");
    }
}

#[test]
fn another_storage_key_is_refused_and_sets_nothing_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    store.apply(&[put(Table::Inbox, b"a", b"1")]).unwrap();
    drop(store);
    // Also when every row would be checked.
    fs::remove_file(folder.path().join("clean")).unwrap();
    let other = StorageKey::from_bytes(&[9; 32]);
    let error = SledStore::open(folder.path(), &other, &options()).err().unwrap();
    assert!(matches!(error, OpenError::WrongKey { .. }), "{error}");
    let (store, opened) = open(folder.path());
    assert_eq!(opened.set_aside, 0);
    assert_eq!(store.value(Table::Inbox, b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_folder_without_its_database_is_never_started_empty() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    fs::remove_dir_all(folder.path().join("database")).unwrap();
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::DatabaseMissing { .. }), "{error}");
    assert!(!folder.path().join("database").exists());
}

#[test]
fn an_unusable_folder_is_named_with_the_reason() {
    let parent = tempfile::tempdir().unwrap();
    let in_the_way = parent.path().join("file");
    fs::write(&in_the_way, "not a folder").unwrap();
    let dangling = parent.path().join("dangling");
    symlink(parent.path().join("absent/absent"), &dangling).unwrap();
    for folder in [in_the_way, dangling] {
        let error = refused(&folder);
        assert!(matches!(error, OpenError::Folder { .. }), "{error}");
        assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
    }
}

#[test]
fn a_start_that_was_cut_short_is_finished_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    // The schema file is the last thing that a first start writes.
    fs::remove_file(folder.path().join("schema")).unwrap();
    let (store, opened) = open(folder.path());
    assert!(!opened.is_new);
    store.apply(&[put(Table::Inbox, b"a", b"1")]).unwrap();
    assert!(folder.path().join("schema").exists());
}

#[test]
fn secret_values_do_not_appear_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let marker = b"THE-NAME-OF-A-PERSON";
    let long: Vec<u8> = marker.iter().copied().cycle().take(LARGE).collect();
    for table in Table::ALL.into_iter().filter(|table| table.is_secret()) {
        store.apply(&[put(table, b"short", marker), put(table, b"long", &long)]).unwrap();
    }
    store.sync().unwrap();
    let holds_marker = |folder: &Path| {
        files(folder).values().any(|bytes| bytes.windows(marker.len()).any(|window| window == marker))
    };
    assert!(!holds_marker(folder.path()));
    // What is public shows, so the search is able to find.
    store.apply(&[put(Table::Charters, b"short", marker)]).unwrap();
    store.sync().unwrap();
    assert!(holds_marker(folder.path()));
}
