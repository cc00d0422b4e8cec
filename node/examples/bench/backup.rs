//! A backup of a large store while messages come in: how long a commit has to wait for it at most.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Instant,
};

use refpoint::store::{Options, SledStore, StorageKey, Store, Writer};
use refpoint_protocol::storage::{Change, Grade, Table};

use super::{Figure, percentile};

/// Measures the snapshot of a store of so many messages, and durable commits beside it, one in flight.
pub(super) fn measure() -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let key = StorageKey::from_bytes(&[7; 32]);
    let (store, _) = SledStore::open(&folder.path().join("data"), &key, &Options::default())?;
    for first in (0..MESSAGES).step_by(FILLED_TOGETHER) {
        let changes: Vec<Change> =
            (first..).take(FILLED_TOGETHER).flat_map(|number| message(number as u64)).collect();
        store.apply(&changes)?;
        store.sync()?;
    }
    let store = Arc::new(store);
    let (mut alone, _) = beside(&store, MESSAGES as u64, || {
        std::thread::sleep(std::time::Duration::from_secs(ALONE_SECONDS));
        Ok(())
    })?;
    let (mut times, took) = beside(&store, 2 * MESSAGES as u64, || Ok(store.snapshot().map(drop)?))?;
    let figure = |name, value, aim| Figure { name, value, unit: "ms", ratio: None, aim };
    Ok(vec![
        figure("backup_snapshot", took, ""),
        figure("commit_p50", percentile(&mut alone, 50), ""),
        figure("commit_worst", percentile(&mut alone, 100), ""),
        figure("commit_p50_beside_backup", percentile(&mut times, 50), ""),
        figure("commit_worst_beside_backup", percentile(&mut times, 100), "<= 100"),
    ])
}

/// Commits one message after another until `work` is done. Returns the milliseconds of each, and of the work.
fn beside(
    store: &Arc<SledStore>,
    first: u64,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Vec<f64>, f64)> {
    let writer = Writer::start(Arc::clone(store) as Arc<dyn Store>)?;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let commits = scope.spawn(|| {
            let mut times = Vec::new();
            let mut number = first;
            while !done.load(Ordering::Relaxed) {
                let (told, heard) = mpsc::channel();
                let begun = Instant::now();
                writer.submit_blocking(message(number), Grade::Durable, move |result| {
                    // Nobody listens any more only if the program has failed already.
                    let _unheard = told.send(result);
                })?;
                heard.recv()??;
                times.push(begun.elapsed().as_secs_f64() * 1e3);
                number += 1;
            }
            anyhow::Ok(times)
        });
        let begun = Instant::now();
        let worked = work();
        let took = begun.elapsed().as_secs_f64() * 1e3;
        done.store(true, Ordering::Relaxed);
        let times = commits.join().map_err(|_| anyhow::anyhow!("the commits panicked"))??;
        worked?;
        Ok((times, took))
    })
}

/// What a delivered message leaves, roughly; one in so many has an attachment, in a file of its own.
fn message(number: u64) -> Vec<Change> {
    let mut key = [0; 32];
    key.iter_mut()
        .zip(number.wrapping_mul(SPREAD).to_be_bytes().into_iter().cycle())
        .for_each(|(into, from)| *into = from);
    let bytes = if number.is_multiple_of(ATTACHMENT_EVERY) { 70_000 } else { 1_500 };
    vec![
        Change::put(Table::Inbox, key, vec![1; 200]),
        Change::put(Table::InboxContent, key, vec![2; bytes]),
        Change::put(Table::MessageIds, key, vec![3; 8]),
    ]
}

/// Messages in the store: some three years of a busy unit, a hundred a day.
const MESSAGES: usize = 100_000;

const FILLED_TOGETHER: usize = 500;

const ALONE_SECONDS: u64 = 5;

const ATTACHMENT_EVERY: u64 = 500;

/// Odd, so that keys spread over the whole range and none comes twice.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
