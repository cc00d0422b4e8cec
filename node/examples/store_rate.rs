//! Measures durable commits on this disk: one in flight, 64 in flight, and 64 of a size that needs a file.
//!
//! `cargo run --release --example store_rate [FOLDER]`; the folder must be new and is left behind.

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Instant,
};

use refpoint::store::{Options, SledStore, StorageKey, Store, Writer};
use refpoint_protocol::storage::{Change, Grade, Table};

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("store-rate"), PathBuf::from);
    let (store, _) = SledStore::open(&folder, &StorageKey::from_bytes(&[7; 32]), &Options::default())?;
    let store: Arc<dyn Store> = Arc::new(store);
    let writer = Writer::start(Arc::clone(&store))?;
    println!("{:>9} {:>7} {:>10} {:>9} {:>9}", "in flight", "bytes", "commits/s", "p50 ms", "p99 ms");
    for (in_flight, bytes, commits) in
        [(1, 1_500, 1_000), (64, 1_500, 20_000), (1, 70_000, 100), (64, 70_000, 500)]
    {
        let begun = Instant::now();
        let mut times = run(&writer, in_flight, bytes, commits)?;
        let seconds = begun.elapsed().as_secs_f64();
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        println!(
            "{in_flight:>9} {bytes:>7} {:>10.0} {:>9.3} {:>9.3}",
            f64::from(commits) / seconds,
            at(50),
            at(99)
        );
    }
    println!("{} bytes on the disk", store.size_on_disk()?);
    Ok(())
}

/// Commits with a fixed number in flight. Returns the milliseconds that each took.
fn run(writer: &Writer, in_flight: u32, bytes: usize, commits: u32) -> anyhow::Result<Vec<f64>> {
    let (done, completions) = mpsc::channel();
    let mut times = Vec::new();
    for number in 0..commits + in_flight {
        if number >= in_flight {
            times.push(completions.recv()??);
        }
        if number < commits {
            let (done, begun) = (done.clone(), Instant::now());
            let mut key = [0; 32];
            key.iter_mut()
                .zip(number.to_be_bytes().into_iter().cycle())
                .for_each(|(into, from)| *into = from);
            let batch = vec![
                Change::put(Table::Inbox, key, vec![1; 200]),
                Change::put(Table::InboxContent, key, vec![2; bytes]),
                Change::put(Table::MessageIds, key, vec![3; 8]),
            ];
            writer.submit_blocking(batch, Grade::Durable, move |result| {
                // Nobody listens any more only if the program has failed already.
                let _unheard = done.send(result.map(|()| begun.elapsed().as_secs_f64() * 1_000.0));
            })?;
        }
    }
    Ok(times)
}
