//! What every store does alike, run against each backend through the same functions.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use refpoint::store::{Fullness, Keys, MemoryStore, Options, SledStore, Store, StoreError};
use refpoint_protocol::{
    limits::{STORED_KEY_BYTES_MAX, STORED_VALUE_BYTES_MAX},
    storage::{Change, Table},
};

use super::{LARGE, open, options, put, storage_key, value};

/// A store, its folder where it has one, and a way to lose power and come back.
struct Subject {
    store: Option<Arc<dyn Store>>,
    backend: Backend,
}

enum Backend {
    Memory(Arc<MemoryStore>),
    Sled(tempfile::TempDir),
}

impl Subject {
    fn memory() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self { store: Some(store.clone()), backend: Backend::Memory(store) }
    }

    fn sled() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = open(folder.path());
        Self { store: Some(Arc::new(store)), backend: Backend::Sled(folder) }
    }

    fn store(&self) -> &dyn Store {
        self.store.as_deref().unwrap()
    }

    /// Ends in order and comes back.
    fn restart(&mut self) {
        match &self.backend {
            Backend::Memory(store) => {
                store.sync().unwrap();
                store.crash();
            }
            Backend::Sled(folder) => {
                drop(self.store.take());
                self.store = Some(Arc::new(open(folder.path()).0));
            }
        }
    }
}

/// Runs each function below against both stores.
macro_rules! for_both {
    ($($name:ident)*) => {
        mod memory {
            $(#[test] fn $name() { super::$name(super::Subject::memory()); })*
        }
        mod sled {
            $(#[test] fn $name() { super::$name(super::Subject::sled()); })*
        }
    };
}

for_both! {
    what_was_stored_is_read_back_before_and_after_a_restart
    a_batch_replaces_and_deletes_over_several_tables
    the_last_change_of_a_key_wins
    tables_do_not_see_each_other
    scans_visit_exactly_their_keys_in_order_both_ways
    what_is_too_large_is_refused_and_changes_nothing
    the_largest_record_is_stored
    an_empty_batch_changes_nothing
    values_grow_and_shrink_between_row_and_file
}

fn what_was_stored_is_read_back_before_and_after_a_restart(mut subject: Subject) {
    let mut expected = BTreeMap::new();
    for (number, table) in Table::ALL.into_iter().enumerate() {
        for length in [0, 1, 100, 4_000, 4_096, LARGE] {
            let key = [table.id(), u8::try_from(length % 251).unwrap()];
            let stored = value(number as u64, length);
            subject.store().apply(&[put(table, &key, &stored)]).unwrap();
            expected.insert((table, key.to_vec()), stored);
        }
    }
    for _ in 0..2 {
        for ((table, key), stored) in &expected {
            assert_eq!(
                subject.store().value(*table, key).unwrap().as_ref(),
                Some(stored),
                "{}",
                table.name()
            );
        }
        subject.restart();
    }
}

fn a_batch_replaces_and_deletes_over_several_tables(subject: Subject) {
    let store = subject.store();
    store
        .apply(&[
            put(Table::Inbox, b"a", b"1"),
            put(Table::Inbox, b"b", b"2"),
            put(Table::MessageIds, b"a", b"3"),
        ])
        .unwrap();
    store
        .apply(&[
            Change::delete(Table::Inbox, *b"a"),
            put(Table::Inbox, b"b", b"4"),
            Change::delete(Table::MessageIds, *b"absent"),
            put(Table::Receipts, b"a", b"5"),
        ])
        .unwrap();
    assert_eq!(store.value(Table::Inbox, b"a").unwrap(), None);
    assert_eq!(store.value(Table::Inbox, b"b").unwrap(), Some(b"4".to_vec()));
    assert_eq!(store.value(Table::MessageIds, b"a").unwrap(), Some(b"3".to_vec()));
    assert_eq!(store.value(Table::Receipts, b"a").unwrap(), Some(b"5".to_vec()));
}

fn the_last_change_of_a_key_wins(subject: Subject) {
    let store = subject.store();
    let large = value(1, LARGE);
    store
        .apply(&[
            put(Table::Inbox, b"a", b"1"),
            Change::delete(Table::Inbox, *b"a"),
            put(Table::Inbox, b"a", &large),
            put(Table::Inbox, b"b", &large),
            Change::delete(Table::Inbox, *b"b"),
        ])
        .unwrap();
    assert_eq!(store.value(Table::Inbox, b"a").unwrap(), Some(large));
    assert_eq!(store.value(Table::Inbox, b"b").unwrap(), None);
}

fn tables_do_not_see_each_other(subject: Subject) {
    let store = subject.store();
    for table in Table::ALL {
        // The key of one table begins with the id of the next.
        store.apply(&[put(table, &[table.id() + 1, 0xff], table.name().as_bytes())]).unwrap();
    }
    for table in Table::ALL {
        let rows: Vec<_> = store.scan(table, Keys::All).collect::<Result<_, _>>().unwrap();
        assert_eq!(rows, [(vec![table.id() + 1, 0xff], table.name().as_bytes().to_vec())]);
    }
}

fn scans_visit_exactly_their_keys_in_order_both_ways(subject: Subject) {
    let store = subject.store();
    let keys: [&[u8]; 9] = [b"", b"\0", b"a", b"a\0", b"ab", b"b", b"\xfe\xff", b"\xff", b"\xff\xff\xff"];
    for key in keys.iter().rev() {
        store.apply(&[put(Table::Events, key, key)]).unwrap();
    }
    for scan in [
        Keys::All,
        Keys::Prefix(b""),
        Keys::Prefix(b"a"),
        Keys::Prefix(b"\xff"),
        Keys::Prefix(b"\xff\xff"),
        Keys::Prefix(b"absent"),
        Keys::From(b"a\0"),
        Keys::From(b""),
        Keys::After(b"a"),
        Keys::After(b"\xff\xff\xff"),
    ] {
        let expected: Vec<Vec<u8>> =
            keys.iter().filter(|key| scan.contain(key)).map(|key| key.to_vec()).collect();
        let forwards: Vec<Vec<u8>> = store.scan(Table::Events, scan).map(|row| row.unwrap().0).collect();
        assert_eq!(forwards, expected, "{scan:?}");
        let mut backwards: Vec<Vec<u8>> =
            store.scan(Table::Events, scan).rev().map(|row| row.unwrap().0).collect();
        backwards.reverse();
        assert_eq!(backwards, expected, "{scan:?}");
    }
}

fn what_is_too_large_is_refused_and_changes_nothing(subject: Subject) {
    let store = subject.store();
    let long_key = vec![1; STORED_KEY_BYTES_MAX + 1];
    let long_value = vec![1; STORED_VALUE_BYTES_MAX + 1];
    for change in [put(Table::Inbox, &long_key, b"x"), put(Table::Inbox, b"x", &long_value)] {
        let error = store.apply(&[put(Table::Inbox, b"first", b"1"), change]).unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { table: "inbox", .. }), "{error}");
        assert_eq!(store.value(Table::Inbox, b"first").unwrap(), None);
    }
    store.apply(&[put(Table::Inbox, b"first", b"1")]).unwrap();
}

fn the_largest_record_is_stored(mut subject: Subject) {
    let key = vec![0xff; STORED_KEY_BYTES_MAX];
    let largest = value(3, STORED_VALUE_BYTES_MAX);
    subject.store().apply(&[put(Table::OutboxContent, &key, &largest)]).unwrap();
    subject.restart();
    assert_eq!(subject.store().value(Table::OutboxContent, &key).unwrap(), Some(largest));
    let longest_row = value(4, 4_096 - 1 - STORED_KEY_BYTES_MAX);
    subject.store().apply(&[put(Table::Events, &key, &longest_row)]).unwrap();
    assert_eq!(subject.store().value(Table::Events, &key).unwrap(), Some(longest_row));
}

fn an_empty_batch_changes_nothing(subject: Subject) {
    let store = subject.store();
    store.apply(&[]).unwrap();
    store.sync().unwrap();
    store.sync().unwrap();
    for table in Table::ALL {
        assert_eq!(store.scan(table, Keys::All).count(), 0);
    }
}

fn values_grow_and_shrink_between_row_and_file(mut subject: Subject) {
    for table in [Table::Bodies, Table::InboxContent] {
        for (number, length) in [10, LARGE, LARGE, 10, LARGE, 0].into_iter().enumerate() {
            let stored = value(number as u64, length);
            subject.store().apply(&[put(table, b"key", &stored)]).unwrap();
            assert_eq!(subject.store().value(table, b"key").unwrap(), Some(stored.clone()));
            subject.store().sync().unwrap();
            assert_eq!(subject.store().value(table, b"key").unwrap(), Some(stored.clone()));
            subject.restart();
            assert_eq!(subject.store().value(table, b"key").unwrap(), Some(stored));
        }
    }
}

#[test]
fn a_memory_store_forgets_in_a_crash_what_was_not_synced() {
    let store = MemoryStore::new();
    store.apply(&[put(Table::Inbox, b"a", b"1")]).unwrap();
    store.sync().unwrap();
    for number in 2..6_u8 {
        store.apply(&[put(Table::Inbox, b"a", &[number]), put(Table::MessageIds, &[number], b"")]).unwrap();
    }
    assert_eq!(store.unsynced(), 4);
    store.crash_keeping(2);
    assert_eq!(store.value(Table::Inbox, b"a").unwrap(), Some(vec![3]));
    assert_eq!(store.scan(Table::MessageIds, Keys::All).count(), 2);
    store.apply(&[put(Table::Inbox, b"a", b"9")]).unwrap();
    store.crash();
    assert_eq!(store.value(Table::Inbox, b"a").unwrap(), Some(vec![3]));
}

#[test]
fn a_failed_sync_stops_the_memory_store_until_its_restart() {
    let store = MemoryStore::new();
    store.apply(&[put(Table::Inbox, b"a", b"1")]).unwrap();
    store.fail_next_sync();
    assert!(store.sync().unwrap_err().is_fatal());
    for error in [
        store.sync().unwrap_err(),
        store.apply(&[put(Table::Inbox, b"b", b"1")]).unwrap_err(),
        store.value(Table::Inbox, b"a").unwrap_err(),
        store.scan(Table::Inbox, Keys::All).next().unwrap().unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
    }
    store.crash();
    assert_eq!(store.value(Table::Inbox, b"a").unwrap(), None);
}

#[test]
fn a_full_disk_refuses_what_is_stored_and_lets_deletions_through() {
    let memory = MemoryStore::new();
    memory.apply(&[put(Table::Inbox, b"old", b"1")]).unwrap();
    memory.fill_disk(Fullness::Full);
    refuses_but_deletes(&memory);

    let folder = tempfile::tempdir().unwrap();
    let (sled, _) = open(folder.path());
    sled.apply(&[put(Table::Inbox, b"old", b"1")]).unwrap();
    drop(sled);
    let full = Options { reserve_bytes: u64::MAX, bulk_reserve_bytes: u64::MAX, ..options() };
    let (sled, _) = SledStore::open(folder.path(), &storage_key(), &full).unwrap();
    refuses_but_deletes(&sled);
}

fn refuses_but_deletes(store: &dyn Store) {
    let error =
        store.apply(&[put(Table::Inbox, b"new", b"1"), Change::delete(Table::Inbox, *b"old")]).unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { .. }) && !error.is_fatal(), "{error}");
    assert_eq!(store.value(Table::Inbox, b"old").unwrap(), Some(b"1".to_vec()), "nothing was applied");
    store.apply(&[Change::delete(Table::Inbox, *b"old")]).unwrap();
    store.sync().unwrap();
    assert_eq!(store.value(Table::Inbox, b"old").unwrap(), None);
}

#[test]
fn bulk_is_refused_before_what_keeps_a_node_going() {
    let folder = tempfile::tempdir().unwrap();
    let nearly_full = Options { bulk_reserve_bytes: u64::MAX, ..options() };
    let (store, _) = SledStore::open(folder.path(), &storage_key(), &nearly_full).unwrap();
    let message = [put(Table::Inbox, b"id", b"row"), put(Table::InboxContent, b"id", &value(1, LARGE))];
    assert!(matches!(store.apply(&message), Err(StoreError::DiskFull { .. })));
    assert_eq!(store.value(Table::Inbox, b"id").unwrap(), None);
    store.apply(&[put(Table::Receipts, b"id", b"delivered")]).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("content")).unwrap().count(), 0);
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Apply(Vec<(Table, Vec<u8>, Option<usize>)>),
    Sync,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let table = prop::sample::select(vec![Table::Charters, Table::Inbox, Table::InboxContent]);
    let key = prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0xff]), 0..3);
    let length = prop::option::weighted(
        0.7,
        prop_oneof![8 => 0..300_usize, 1 => 4_000..4_200_usize, 1 => 9_000..20_000_usize],
    );
    prop_oneof![
        12 => prop::collection::vec((table, key, length), 0..6).prop_map(Step::Apply),
        3 => Just(Step::Sync),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_agree_after_any_history(steps in prop::collection::vec(step(), 1..30)) {
        let (mut memory, mut sled) = (Subject::memory(), Subject::sled());
        let mut number = 0;
        for step in steps {
            match step {
                Step::Apply(changes) => {
                    let batch: Vec<Change> = changes
                        .into_iter()
                        .map(|(table, key, length)| {
                            number += 1;
                            Change { table, key, value: length.map(|length| value(number, length)) }
                        })
                        .collect();
                    prop_assert_eq!(memory.store().apply(&batch), sled.store().apply(&batch));
                }
                Step::Sync => {
                    memory.store().sync().unwrap();
                    sled.store().sync().unwrap();
                }
                Step::Restart => {
                    memory.restart();
                    sled.restart();
                }
            }
            for table in [Table::Charters, Table::Inbox, Table::InboxContent] {
                let of = |subject: &Subject| subject.store().scan(table, Keys::All).collect::<Vec<_>>();
                prop_assert!(of(&memory) == of(&sled), "tables differ: {}", table.name());
            }
        }
        let Backend::Sled(folder) = &sled.backend else { unreachable!() };
        sled.store().sync().unwrap();
        let in_files = [Table::Charters, Table::Inbox, Table::InboxContent]
            .into_iter()
            .flat_map(|table| sled.store().scan(table, Keys::All).map(|row| row.unwrap().1.len()).collect::<Vec<_>>())
            .filter(|length| *length > 4_090)
            .count();
        let files = std::fs::read_dir(folder.path().join("content")).unwrap().count();
        prop_assert!(files >= in_files && files <= in_files + 20, "{} files for {} large values", files, in_files);
    }
}
