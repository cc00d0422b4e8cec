//! Group commit: order, grades, refusals, and what a failure does to those who wait.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use futures::FutureExt as _;
use refpoint::store::{
    Fullness, Keys, MemoryStore, Reserve, Rows, SetAside, Store, StoreError, WhenFull, Writer,
};
use refpoint_protocol::storage::{Change, Grade, Table};

use super::{open, put, value};

/// A memory store that counts, and can hold a call back until the test lets it go.
#[derive(Default)]
struct Watched {
    store: MemoryStore,
    syncs: AtomicUsize,
    sync_gate: Gate,
}

/// Holds back the next call that passes it.
#[derive(Default)]
struct Gate(Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>);

impl Gate {
    /// What says that the call has come, and what lets it go on.
    fn hold_next(&self) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (entered, waits) = mpsc::channel();
        let (open, opened) = mpsc::channel();
        *self.0.lock().unwrap() = Some((entered, opened));
        (waits, open)
    }

    fn pass(&self) {
        let held = self.0.lock().unwrap().take();
        if let Some((entered, opened)) = held {
            entered.send(()).unwrap();
            opened.recv().unwrap();
        }
    }
}

impl Store for Watched {
    fn apply_leaving(&self, changes: &[Change], reserve: Reserve) -> Result<(), StoreError> {
        self.store.apply_leaving(changes, reserve)
    }
    fn sync(&self) -> Result<(), StoreError> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.sync_gate.pass();
        self.store.sync()
    }
    fn settle(&self) -> Result<(), StoreError> {
        self.store.settle()
    }
    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.value(table, key)
    }
    fn scan(&self, table: Table, keys: Keys<'_>) -> Rows<'_> {
        self.store.scan(table, keys)
    }
    fn set_aside(&self) -> Result<Vec<SetAside>, StoreError> {
        self.store.set_aside()
    }
    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.store.size_on_disk()
    }
    fn free_on_disk(&self) -> Result<u64, StoreError> {
        self.store.free_on_disk()
    }
}

fn one(number: u64) -> Vec<Change> {
    vec![put(Table::Inbox, &number.to_be_bytes(), b"row")]
}

#[test]
fn completions_run_in_the_order_of_submission_whatever_their_grade() {
    let store = Arc::new(Watched::default());
    let writer = Writer::start(store.clone()).unwrap();
    let (done, completions) = mpsc::channel();
    for number in 0..500_u64 {
        let (batch, grade) = match number % 3 {
            0 => (one(number), Grade::Durable),
            1 => (one(number), Grade::Cached),
            _ => (Vec::new(), Grade::Durable),
        };
        let done = done.clone();
        writer.submit_blocking(batch, grade, move |result| done.send((number, result)).unwrap()).unwrap();
    }
    writer.close().unwrap();
    drop(done);
    let all: Vec<_> = completions.iter().collect();
    assert_eq!(all, (0..500).map(|number| (number, Ok(()))).collect::<Vec<_>>());
    store.store.crash();
    assert_eq!(store.scan(Table::Inbox, Keys::All).count(), 334, "closing stored everything");
}

#[test]
fn a_durable_batch_is_answered_only_when_a_crash_cannot_take_it() {
    let store = Arc::new(Watched::default());
    let writer = Writer::start(store.clone()).unwrap();
    for number in 0..50 {
        let (done, completion) = mpsc::channel();
        let seen = store.clone();
        writer
            .submit_blocking(one(number), Grade::Durable, move |result| {
                done.send((result, seen.store.unsynced())).unwrap();
            })
            .unwrap();
        assert_eq!(completion.recv().unwrap(), (Ok(()), 0));
    }
}

#[test]
fn one_sync_covers_all_that_wait_and_an_empty_batch_waits_its_turn() {
    let store = Arc::new(Watched::default());
    let writer = Writer::start(store.clone()).unwrap();
    let (waits, open) = store.sync_gate.hold_next();
    let (done, completions) = mpsc::channel();
    for number in 0..100 {
        let done = done.clone();
        let batch = if number == 50 { Vec::new() } else { one(number) };
        writer
            .submit_blocking(batch, Grade::Durable, move |result| done.send((number, result)).unwrap())
            .unwrap();
        if number == 0 {
            waits.recv().unwrap();
        }
    }
    // The device is at work on the first; the others gather meanwhile.
    assert!(completions.try_recv().is_err(), "nothing is said while the sync is under way");
    open.send(()).unwrap();
    for number in 0..100 {
        assert_eq!(completions.recv().unwrap(), (number, Ok(())));
    }
    assert_eq!(store.syncs.load(Ordering::SeqCst), 2);
}

#[test]
fn cached_batches_are_answered_without_a_sync_and_synced_soon_after() {
    let store = Arc::new(Watched::default());
    let (waits, open) = store.sync_gate.hold_next();
    let writer = Writer::start(store.clone()).unwrap();
    let (done, completion) = mpsc::channel();
    writer.submit_blocking(one(1), Grade::Cached, move |result| done.send(result).unwrap()).unwrap();
    assert_eq!(completion.recv().unwrap(), Ok(()));
    // Nobody asks for it, and it comes all the same.
    waits.recv().unwrap();
    open.send(()).unwrap();
    drop(writer);
    assert_eq!(store.store.unsynced(), 0);
}

#[test]
fn a_refused_batch_does_not_take_its_neighbours_with_it() {
    let store = Arc::new(Watched::default());
    let writer = Writer::start(store.clone()).unwrap();
    let (waits, open) = store.sync_gate.hold_next();
    let (done, completions) = mpsc::channel();
    let too_long = vec![put(Table::Inbox, &[0; 300], b"row")];
    for (number, batch) in [one(0), one(1), too_long, one(3)].into_iter().enumerate() {
        let done = done.clone();
        writer
            .submit_blocking(batch, Grade::Durable, move |result| done.send((number, result)).unwrap())
            .unwrap();
        if number == 0 {
            waits.recv().unwrap();
        }
    }
    open.send(()).unwrap();
    writer.close().unwrap();
    drop(done);
    let failed: Vec<usize> =
        completions.iter().filter(|(_, result)| result.is_err()).map(|(number, _)| number).collect();
    assert_eq!(failed, [2]);
    store.store.crash();
    assert_eq!(store.scan(Table::Inbox, Keys::All).count(), 3);
}

#[test]
fn a_full_disk_is_told_and_the_writer_goes_on() {
    let store = Arc::new(MemoryStore::new());
    let writer = Writer::start(store.clone()).unwrap();
    let commit = |batch| futures::executor::block_on(writer.commit(batch, Grade::Durable));
    store.fill_disk(Fullness::Full);
    assert!(matches!(commit(one(1)), Err(StoreError::DiskFull { .. })));
    store.fill_disk(Fullness::Space);
    commit(one(1)).unwrap();
}

/// Submits one row that must be stored, whose number is told when it is.
fn submit_waiting(writer: &Writer, number: u64, done: &mpsc::Sender<(u64, Result<(), StoreError>)>) {
    let done = done.clone();
    let then = move |result| done.send((number, result)).unwrap();
    let submitted = writer.submit_as(one(number), Grade::Durable, WhenFull::Wait, then);
    futures::executor::block_on(submitted).unwrap();
}

#[test]
fn what_must_be_stored_waits_for_room_and_all_after_it_comes_in_order() {
    let store = Arc::new(MemoryStore::new());
    let writer = Writer::start(store.clone()).unwrap();
    let (done, completions) = mpsc::channel();
    store.fill_disk(Fullness::Full);
    submit_waiting(&writer, 1, &done);
    let told = done.clone();
    writer.submit_blocking(one(2), Grade::Durable, move |result| told.send((2, result)).unwrap()).unwrap();
    let told = done.clone();
    writer
        .submit_blocking(Vec::new(), Grade::Durable, move |result| told.send((3, result)).unwrap())
        .unwrap();
    while !writer.waits_for_room().now() {
        thread::yield_now();
    }
    assert!(completions.try_recv().is_err(), "nothing overtakes what waits");
    store.fill_disk(Fullness::Space);
    let all: Vec<_> = completions.iter().take(3).collect();
    assert_eq!(all, [(1, Ok(())), (2, Ok(())), (3, Ok(()))]);
    writer.close().unwrap();
    assert_eq!(store.scan(Table::Inbox, Keys::All).count(), 2);
}

#[test]
fn closing_does_not_wait_for_room_that_never_comes() {
    let store = Arc::new(MemoryStore::new());
    let writer = Writer::start(store.clone()).unwrap();
    let (done, completions) = mpsc::channel();
    store.fill_disk(Fullness::Full);
    submit_waiting(&writer, 1, &done);
    submit_waiting(&writer, 2, &done);
    writer.close().unwrap();
    drop(done);
    let answers: Vec<_> = completions.iter().collect();
    let refused = |(_, result): &(u64, _)| matches!(result, Err(StoreError::DiskFull { .. }));
    assert!(answers.len() == 2 && answers.iter().all(refused), "{answers:?}");
}

#[test]
fn what_peers_hold_too_leaves_the_larger_reserve_and_what_must_be_stored_uses_it() {
    let store = Arc::new(MemoryStore::new());
    let writer = Writer::start(store.clone()).unwrap();
    let (done, completions) = mpsc::channel();
    store.fill_disk(Fullness::Low);
    for (number, when_full) in [(1, WhenFull::Keep), (2, WhenFull::Refuse), (3, WhenFull::Wait)] {
        let batch = match when_full {
            WhenFull::Keep => vec![put(Table::NodeRecords, b"header", b"1")],
            _ => vec![put(Table::Bodies, &[number], b"1")],
        };
        let done = done.clone();
        let then = move |result: Result<(), StoreError>| done.send((number, result.is_ok())).unwrap();
        futures::executor::block_on(writer.submit_as(batch, Grade::Durable, when_full, then)).unwrap();
    }
    writer.close().unwrap();
    drop(done);
    assert_eq!(completions.iter().collect::<Vec<_>>(), [(1, true), (2, false), (3, true)]);
    assert_eq!(store.value(Table::NodeRecords, b"header"), Ok(None));
}

#[test]
fn what_peers_hold_too_is_read_from_memory_until_it_is_stored_and_the_latest_counts() {
    let store = Arc::new(MemoryStore::new());
    let writer = Writer::start(store.clone()).unwrap();
    let (kept, over) = (writer.kept().clone(), writer.kept().over(store.clone()));
    let submit = |changes: Vec<Change>, when_full| {
        let (done, stored) = mpsc::channel();
        let then = move |result| done.send(result).unwrap();
        futures::executor::block_on(writer.submit_as(changes, Grade::Cached, when_full, then)).unwrap();
        stored.recv().unwrap()
    };
    let row = |key: &[u8], value: &[u8]| vec![put(Table::Bodies, key, value)];
    store.fill_disk(Fullness::Low);
    for (key, value) in [(b"a", b"old"), (b"a", b"new"), (b"b", b"one"), (b"c", b"one"), (b"d", b"one")] {
        assert_eq!(submit(row(key, value), WhenFull::Keep), Ok(()));
    }
    assert_eq!(over.value(Table::Bodies, b"a"), Ok(Some(b"new".to_vec())));
    assert_eq!(store.value(Table::Bodies, b"a"), Ok(None), "there is no room for it");
    // What is deleted meanwhile does not come back, and what is stored meanwhile is not overwritten.
    assert_eq!(submit(vec![Change::delete(Table::Bodies, b"b")], WhenFull::Refuse), Ok(()));
    assert_eq!(submit(row(b"c", b"two"), WhenFull::Wait), Ok(()));
    assert_eq!((over.value(Table::Bodies, b"b"), kept.count()), (Ok(None), 2));

    store.fill_disk(Fullness::Space);
    while kept.count() > 0 {
        thread::yield_now();
    }
    for (key, value) in [(b"a", Some("new")), (b"b", None), (b"c", Some("two")), (b"d", Some("one"))] {
        assert_eq!(store.value(Table::Bodies, key), Ok(value.map(|value| value.as_bytes().to_vec())));
    }
    store.fill_disk(Fullness::Low);
    assert_eq!(submit(row(b"e", b"one"), WhenFull::Keep), Ok(()));
    store.fill_disk(Fullness::Space);
    writer.close().unwrap();
    store.crash();
    assert_eq!(store.scan(Table::Bodies, Keys::All).count(), 4, "closing stored what there was room for");
}

#[test]
fn what_waits_in_memory_is_bounded_and_says_when_it_is_full() {
    let store = Arc::new(MemoryStore::new());
    let writer = Writer::start(store.clone()).unwrap();
    store.fill_disk(Fullness::Low);
    let mut bytes = 0_usize;
    while !writer.kept().is_full() {
        let row = put(Table::Bodies, &bytes.to_be_bytes(), &value(1, 500_000));
        futures::executor::block_on(writer.submit_as(vec![row], Grade::Cached, WhenFull::Keep, |_| {}))
            .unwrap();
        bytes += 500_000;
        // The writer itself takes no more than 64 MiB at once.
        assert!(bytes <= (32 + 64) * 1024 * 1024 + 1_000_000, "it is bounded");
    }
    store.fill_disk(Fullness::Space);
    writer.close().unwrap();
    assert_eq!(store.scan(Table::Bodies, Keys::All).count(), bytes / 500_000);
}

#[test]
fn a_failed_sync_is_told_to_all_that_wait_and_is_never_tried_again() {
    let store = Arc::new(Watched::default());
    let writer = Writer::start(store.clone()).unwrap();
    let commit = |batch| futures::executor::block_on(writer.commit(batch, Grade::Durable));
    store.store.fail_next_sync();
    assert!(matches!(commit(one(1)), Err(StoreError::Failed { .. })));
    assert!(matches!(commit(one(2)), Err(StoreError::Stopped { .. })));
    store.store.crash();
    assert_eq!(store.scan(Table::Inbox, Keys::All).count(), 0);
}

#[test]
fn while_too_much_is_under_way_the_next_batch_waits() {
    let store = Arc::new(Watched::default());
    let writer = Writer::start(store.clone()).unwrap();
    let (waits, open) = store.sync_gate.hold_next();
    let (done, completions) = mpsc::channel();
    writer.submit_blocking(one(0), Grade::Durable, |_| {}).unwrap();
    waits.recv().unwrap();
    let submit = || {
        let (batch, done) = (vec![put(Table::InboxContent, b"id", &value(1, 4_000_000))], done.clone());
        writer.submit(batch, Grade::Durable, move |result| done.send(result).unwrap())
    };
    let mut accepted = 0;
    while submit().now_or_never().is_some() {
        accepted += 1;
        assert!(accepted < 100, "the queue is bounded");
    }
    open.send(()).unwrap();
    // There is room again as soon as something is answered.
    futures::executor::block_on(submit()).unwrap();
    writer.close().unwrap();
    drop(done);
    assert_eq!(completions.iter().filter(Result::is_ok).count(), accepted + 1);
}

#[test]
fn it_stores_on_a_disk_from_many_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(open(folder.path()).0);
    let writer = Arc::new(Writer::start(Arc::clone(&store)).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..64_u64)
            .map(|task| {
                let writer = Arc::clone(&writer);
                tokio::spawn(async move {
                    for number in 0..20_u64 {
                        writer.commit(one(task * 1_000 + number), Grade::Durable).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    drop(writer);
    drop(store);
    let (store, opened) = open(folder.path());
    assert_eq!(opened.checked, None, "it was closed in order");
    assert_eq!(store.scan(Table::Inbox, Keys::All).count(), 64 * 20);
}
