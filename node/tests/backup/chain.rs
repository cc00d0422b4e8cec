//! A restored node goes on with its own chain where others saw it last, and never writes a second end to it.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use refpoint::reference_point_file::text_of;
use refpoint_protocol::testing::chains;
use serde_json::Value;

use super::quick;
use crate::founding::{parsed, text};

const MEMBERS: [&str; 4] = ["FR", "SG", "BR", "KE"];
const KE: usize = 3;

/// Four of a sample federation: as many as it takes for three others to tell one what it signed.
struct Four {
    root: tempfile::TempDir,
    nodes: [Option<Child>; 4],
}

impl Four {
    fn running() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("s");
        let mut four = Self { root, nodes: [None, None, None, None] };
        parsed(&four.run(&["sample", text(&folder), "--run", &MEMBERS.join(",")]));
        (0..4).for_each(|at| four.start(at));
        four
    }

    fn folder(&self, at: usize) -> PathBuf {
        self.root.path().join("s").join(MEMBERS[at])
    }

    fn start(&mut self, at: usize) {
        let log = File::options().create(true).append(true).open(self.root.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_refpoint"));
        command
            .arg("run")
            .current_dir(self.folder(at))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.nodes[at] = Some(command.spawn().unwrap());
    }

    fn kill(&mut self, at: usize) {
        let mut child = self.nodes[at].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_refpoint"));
        command.args(arguments).arg("--json").stdin(Stdio::null());
        command.env_remove("REFPOINT_CONFIG").output().unwrap()
    }

    fn at(&self, at: usize, arguments: &[&str]) -> Output {
        let config = self.folder(at).join("refpoint.toml");
        self.run(&[arguments, &["--config", text(&config)]].concat())
    }

    fn until(&self, at: usize, arguments: &[&str], what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let output = self.at(at, arguments);
            if output.status.success() {
                let value = serde_json::from_slice(&output.stdout).unwrap();
                if holds(&value) {
                    return value;
                }
            }
            let log = || fs::read_to_string(self.root.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(90), "{what} did not happen:\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Publishes another entry of Kenya and waits until France shows it. Returns its sequence.
    fn publish(&self, number: u8) -> u64 {
        let file = self.root.path().join("entry.toml");
        let mut entry = chains::reference_point(number);
        entry.names[0].text = format!("Unit {number}");
        fs::write(&file, text_of(&entry)).unwrap();
        let signs = |status: &Value| status["chain"]["state"] == "publishing";
        self.until(KE, &["status"], "that Kenya signs", signs);
        let told = parsed(&self.at(KE, &["directory", "publish", text(&file), "--yes"]));
        let sequence = told["published"]["sequence"].as_u64().unwrap();
        self.until(0, &["directory", "show", "KE"], "Kenya's entry at France", |entry| {
            entry["sequence"] == sequence
        });
        sequence
    }
}

impl Drop for Four {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten() {
            // It may have ended by itself.
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

fn saved(folder: &Path) -> PathBuf {
    let file = folder.join("backup-passphrase");
    fs::write(&file, "a passphrase of Kenya\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

#[test]
fn a_node_restored_from_an_old_backup_goes_on_with_its_chain_and_never_forks_it() {
    let mut four = Four::running();
    let passphrase = saved(four.root.path());
    let backup = four.root.path().join("old.age");
    let first = four.publish(1);
    let create = ["backup", "create", text(&backup), "--passphrase-file", text(&passphrase)];
    parsed(&four.at(KE, &[&create[..], quick()].concat()));
    let second = four.publish(2);
    let third = four.publish(3);
    assert_eq!((second, third), (first + 1, first + 2));
    four.kill(KE);
    let folder = four.folder(KE);
    fs::remove_dir_all(&folder).unwrap();
    let restore = ["backup", "restore", text(&backup), "--dir", text(&folder)];
    parsed(&four.run(&[&restore[..], &["--passphrase-file", text(&passphrase)]].concat()));
    four.start(KE);
    // What it signed after the backup it learns from the others, and signs behind it.
    let shown = |entry: &Value| entry["sequence"].as_u64() >= Some(third);
    four.until(KE, &["directory", "show", "KE"], "Kenya's own newest entry at Kenya", shown);
    let fourth = four.publish(4);
    assert_eq!(fourth, third + 1);
    for (at, member) in MEMBERS.iter().enumerate() {
        let entry = four
            .until(at, &["directory", "show", "KE"], "the newest entry", |entry| entry["sequence"] == fourth);
        assert_eq!(entry["disputed"], false, "{member}");
        assert_eq!(parsed(&four.at(at, &["status"]))["directory"]["disputed"], 0);
    }
}
