//! The store: one suite for every backend, then what only a disk can suffer.

mod conformance;
mod crash;
mod damage;
mod fixture;
mod folder;
mod log;
mod writer;

use std::{fs, path::Path};

use refpoint::store::{Opened, Options, SledStore, StorageKey};
use refpoint_protocol::storage::{Change, Table};

/// The storage key of every test folder, the checked-in ones included.
fn storage_key() -> StorageKey {
    StorageKey::from_bytes(b"a storage key for tests only, 32")
}

/// Space is no matter in tests, unless they say so.
fn options() -> Options {
    Options { reserve_bytes: 0, bulk_reserve_bytes: 0, ..Options::default() }
}

fn open(folder: &Path) -> (SledStore, Opened) {
    SledStore::open(folder, &storage_key(), &options()).expect("the folder opens")
}

/// A value that only this number has.
fn value(number: u64, length: usize) -> Vec<u8> {
    number.to_be_bytes().into_iter().cycle().take(length).collect()
}

fn put(table: Table, key: &[u8], value: &[u8]) -> Change {
    Change::put(table, key, value)
}

/// Copies a data folder as a power cut would leave it, but for the lock.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else if entry.file_name() != "lock" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// More than fits a row, so that it lies in a content file.
const LARGE: usize = 20_000;
