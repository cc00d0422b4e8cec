//! What survives: a child process commits without end, and is stopped or killed at moments it does not choose.
//!
//! The child is this test binary, started anew with one ignored test selected. It notes each number in a plain
//! file only after the store acknowledged it, so that file says what must be found. A killed process leaves the
//! page cache behind, so these tests show lost order and torn batches, not a missing fdatasync; that one shows
//! in the writer's tests and in what the store calls.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use refpoint::store::{Keys, Store, Writer};
use refpoint_protocol::storage::{Change, Grade, Table};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{LARGE, copy_folder, open, put, value};

/// Number `n` writes three rows in three tables as one batch; what is older by a window is deleted again.
fn batch(number: u64) -> Vec<Change> {
    let key = number.to_be_bytes();
    let content = value(number, if number.is_multiple_of(16) { LARGE } else { 700 });
    let mut changes = vec![
        put(Table::Inbox, &key, &value(number, 100)),
        put(Table::InboxContent, &key, &content),
        put(Table::OwnState, b"last", &key),
    ];
    if let Some(old) = number.checked_sub(WINDOW) {
        changes.push(Change::delete(Table::Inbox, old.to_be_bytes()));
        changes.push(Change::delete(Table::InboxContent, old.to_be_bytes()));
    }
    changes
}

/// Asserts that a folder holds every acknowledged batch and no half of any. Returns the last number in it.
fn assert_holds(folder: &Path, acknowledged: Option<u64>) -> Option<u64> {
    let (store, opened) = open(folder);
    assert_eq!(opened.recovered, None);
    assert_eq!(opened.set_aside, 0);
    let last = store
        .value(Table::OwnState, b"last")
        .unwrap()
        .map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    assert!(last >= acknowledged, "acknowledged {acknowledged:?}, found {last:?}");
    let expected: Vec<u64> = match last {
        None => Vec::new(),
        Some(last) => ((last + 1).saturating_sub(WINDOW)..=last).collect(),
    };
    for table in [Table::Inbox, Table::InboxContent] {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = store.scan(table, Keys::All).collect::<Result<_, _>>().unwrap();
        let numbers: Vec<u64> =
            rows.iter().map(|(key, _)| u64::from_be_bytes(key.as_slice().try_into().unwrap())).collect();
        assert_eq!(numbers, expected, "{} after {last:?}", table.name());
        for (number, (_, row)) in numbers.iter().zip(&rows) {
            let length = match (table, number.is_multiple_of(16)) {
                (Table::Inbox, _) => 100,
                (_, true) => LARGE,
                (_, false) => 700,
            };
            assert_eq!(*row, value(*number, length), "{} of {number}", table.name());
        }
    }
    let large = expected.iter().filter(|number| number.is_multiple_of(16)).count();
    assert_eq!(fs::read_dir(folder.join("content")).unwrap().count(), large, "no file is left over");
    last
}

struct Committing {
    child: Child,
    acknowledged: PathBuf,
}

impl Committing {
    fn start(root: &Path) -> Self {
        let acknowledged = root.join("acknowledged");
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::crash::child_commits_until_it_is_killed", "--ignored", "--nocapture"])
            .env(FOLDER, root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, acknowledged }
    }

    fn acknowledged(&self) -> Option<u64> {
        let bytes = fs::read(&self.acknowledged).unwrap_or_default();
        bytes.chunks_exact(8).next_back().map(|number| u64::from_be_bytes(number.try_into().unwrap()))
    }

    /// Waits until that many more numbers were acknowledged.
    fn wait_for(&mut self, more: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let goal = self.acknowledged().map_or(more, |last| last + more);
        while self.acknowledged().is_none_or(|last| last < goal) {
            assert!(self.child.try_wait().unwrap().is_none(), "the child ended by itself");
            assert!(Instant::now() < deadline, "the child does not come forward");
            std::thread::yield_now();
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Stops every thread of the child between two instructions.
    fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        // Already ended, unless an assertion failed.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_copy_of_a_live_folder_holds_all_that_was_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let mut committing = Committing::start(root.path());
    for round in 0..5_u64 {
        committing.wait_for(20 + round * 13);
        committing.freeze();
        let acknowledged = committing.acknowledged();
        let copy = root.path().join(format!("copy-{round}"));
        copy_folder(&root.path().join("data"), &copy);
        committing.thaw();
        assert_holds(&copy, acknowledged);
    }
    committing.kill();
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged_round_after_round() {
    let root = tempfile::tempdir().unwrap();
    let mut last = None;
    for round in 0..5_u64 {
        let mut committing = Committing::start(root.path());
        committing.wait_for(10 + round * 29);
        committing.kill();
        let found = assert_holds(&root.path().join("data"), committing.acknowledged());
        assert!(found > last, "the child went on where the last one ended");
        last = found;
    }
}

/// Commits one number after another with several batches under way, and notes what was acknowledged.
#[test]
#[ignore = "started by the tests above in a process of its own"]
fn child_commits_until_it_is_killed() {
    let root = PathBuf::from(std::env::var_os(FOLDER).expect("the folder is given"));
    let store: std::sync::Arc<dyn Store> = std::sync::Arc::new(open(&root.join("data")).0);
    let next = store
        .value(Table::OwnState, b"last")
        .unwrap()
        .map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()) + 1);
    let writer = Writer::start(store).unwrap();
    let mut notes = fs::OpenOptions::new().create(true).append(true).open(root.join("acknowledged")).unwrap();
    let (done, completions) = std::sync::mpsc::channel();
    // Bounded, so that a child whose parent is gone ends by itself.
    for number in next..next + 200_000 {
        let done = done.clone();
        writer
            .submit_blocking(batch(number), Grade::Durable, move |result| {
                done.send(result.map(|()| number)).unwrap();
            })
            .unwrap();
        if number - next >= 4 {
            let acknowledged = completions.recv().unwrap().unwrap();
            notes.write_all(&acknowledged.to_be_bytes()).unwrap();
        }
    }
}

/// How many numbers are kept.
const WINDOW: u64 = 100;

/// Tells the child its folder.
const FOLDER: &str = "REFPOINT_CRASH_TEST_FOLDER";
