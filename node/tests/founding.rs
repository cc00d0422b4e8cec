//! Three units found a federation in three folders, exactly as on three machines, by running the program.

mod init;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use refpoint::store::{Keys, Options, SledStore, StorageKey, Store as _};
use refpoint_protocol::storage::Table;
use serde_json::Value;

use crate::{addresses::Hosts, audit};

/// A unit's machine: a folder of its own, its passphrase in a file.
pub(crate) struct Unit {
    pub(crate) code: &'static str,
    pub(crate) folder: PathBuf,
    /// Where it listens on this machine, if it is to run.
    pub(crate) port: Option<u16>,
    pub(crate) hosts: Hosts,
}

/// Three units and the folder in which files are handed over.
pub(crate) struct Founding {
    _root: tempfile::TempDir,
    pub(crate) units: [Unit; 3],
    pub(crate) desk: PathBuf,
}

#[test]
fn three_units_found_a_federation_and_join_it() {
    let founding = Founding::prepared();
    let federation = founding.combined();
    let join = founding.desk.join("federation.join");
    for unit in &founding.units {
        let joined = unit.run_ok(&[
            "join",
            text(&join),
            "--fingerprint",
            &federation,
            "--root-key",
            text(&unit.root_key()),
        ]);
        assert_eq!(joined["member"], unit.code);
        assert_eq!(joined["epoch"], 0);
        let store = unit.store();
        let rows = |table| store.scan(table, Keys::All).count();
        assert_eq!((rows(Table::Charters), rows(Table::KeySets)), (1, 1));
        assert_eq!(refpoint::founding::joined_hints(&store).unwrap().len(), 3);
    }
    audit::stopped_folders_are_exported_and_checked_without_a_node(&founding, &federation);
    // Nothing is joined twice.
    let unit = &founding.units[0];
    let again =
        unit.run(&["join", text(&join), "--fingerprint", &federation, "--root-key", text(&unit.root_key())]);
    assert_failed(&again, 1, "has joined a federation already");
}

#[test]
fn a_draft_that_breaks_a_rule_is_refused_with_the_rule() {
    let founding = Founding::prepared();
    let requests = founding.requests();
    let new = |stewards: &[&str], threshold: &str, requests: &[&Path]| {
        let mut arguments = vec!["charter", "new", "--threshold", threshold];
        for steward in stewards {
            arguments.extend(["--steward", *steward]);
        }
        arguments.extend(requests.iter().map(|path| text(path)));
        founding.on_desk(&arguments)
    };
    let [fr, sg, br] = requests.each_ref().map(PathBuf::as_path);
    let all = [fr, sg, br];
    let stewards = ["FR", "SG", "BR"];
    assert_failed(&new(&stewards, "1", &all), 4, "CH-09");
    assert_failed(&new(&stewards, "3", &all), 4, "CH-09");
    assert_failed(&new(&["FR", "SG"], "2", &all), 4, "CH-08");
    assert_failed(&new(&["FR", "SG", "KE"], "2", &all), 4, "CH-08");
    assert_failed(&new(&["FR", "SG", "SG"], "2", &all), 4, "CH-08");
    assert_failed(&new(&stewards, "2", &[fr, sg, br, br]), 1, "both of BR");
    assert_failed(&new(&stewards, "2", &[fr, sg, Path::new("none.request")]), 1, "none.request");
    assert!(!founding.desk.join("charter.draft").exists());
}

#[test]
fn requests_that_are_not_whole_are_refused() {
    let founding = Founding::prepared();
    let [fr, ..] = founding.requests();
    let good = fs::read_to_string(&fr).unwrap();
    let bad = founding.desk.join("bad.request");
    let key = fs::read_to_string(founding.units[0].root_key()).unwrap();
    let cases = [
        ("garbage".to_owned(), "BEGIN REFPOINT"),
        (good.chars().take(good.len() / 2).collect(), "cut short"),
        (format!("{good}{good}"), "more than one block"),
        ("x".repeat(13_000_000), "at most"),
        (tampered(&good), "does not verify"),
        (good.replace("JOINING REQUEST", "CHARTER DRAFT"), "CHARTER DRAFT"),
        (key, "BEGIN REFPOINT"),
    ];
    for (content, told) in cases {
        fs::write(&bad, content).unwrap();
        let arguments = ["charter", "new", "--threshold", "2", "--steward", "FR", text(&bad)];
        assert_failed(&founding.on_desk(&arguments), 4, told);
        assert_failed(&founding.on_desk(&["charter", "show", text(&bad)]), 4, "");
    }
    fs::write(&bad, [0xFF, 0xFE, 0x00]).unwrap();
    assert_failed(&founding.on_desk(&["charter", "show", text(&bad)]), 4, "not text");
    assert_failed(&founding.on_desk(&["charter", "show", text(&founding.desk)]), 1, "cannot read");
}

#[test]
fn a_root_key_signs_one_founding_and_only_its_own() {
    let founding = Founding::prepared();
    founding.draft("charter.draft", &[]);
    let [fr, sg, _] = &founding.units;
    let draft = founding.desk.join("charter.draft");
    let sign = |unit: &Unit, draft: &Path, root: &Path| {
        unit.run(&["charter", "sign", text(draft), "--root-key", text(root), "--yes"])
    };
    // Nobody is asked where nobody can answer.
    assert_failed(
        &fr.run(&["charter", "sign", text(&draft), "--root-key", text(&fr.root_key())]),
        2,
        "--yes",
    );
    assert!(!fr.folder.join("keys/root.key.signed").exists());
    assert_failed(&sign(fr, &draft, &fr.folder.join("keys/next-root.key")), 4, "not in this draft");
    assert_failed(&sign(fr, &draft, &fr.folder.join("keys/node.key")), 1, "holds a node key");
    assert_failed(&sign(fr, &draft, &fr.folder.join("keys/none.key")), 1, "there is no root key");
    assert_failed(&sign(fr, &founding.requests()[0], &fr.root_key()), 4, "JOINING REQUEST");
    fr.write_passphrase("not the passphrase");
    assert_failed(&sign(fr, &draft, &fr.root_key()), 4, "does not open");
    fr.write_passphrase(&fr.secret());
    fs::set_permissions(fr.root_key(), fs::Permissions::from_mode(0o644)).unwrap();
    assert_failed(&sign(fr, &draft, &fr.root_key()), 1, "chmod 600");
    fs::set_permissions(fr.root_key(), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!founding.desk.join("FR.signed").exists());

    assert!(sign(fr, &draft, &fr.root_key()).status.success());
    founding.draft("second.draft", &[]);
    let second = founding.desk.join("second.draft");
    fs::rename(founding.desk.join("FR.signed"), founding.desk.join("FR.first")).unwrap();
    assert_failed(&sign(fr, &second, &fr.root_key()), 4, "has signed another document");
    assert!(!founding.desk.join("FR.signed").exists());
    // The same draft again is the same signature.
    assert!(sign(fr, &draft, &fr.root_key()).status.success());
    assert_eq!(
        fs::read(founding.desk.join("FR.first")).unwrap(),
        fs::read(founding.desk.join("FR.signed")).unwrap()
    );

    // Copies of two drafts are not combined, and a missing member is named.
    assert!(sign(sg, &second, &sg.root_key()).status.success());
    let combine = founding.on_desk(&["charter", "combine", "FR.signed", "SG.signed"]);
    assert_failed(&combine, 4, "another charter");
    assert_failed(&combine, 4, "SG.signed does not go with FR.signed");
    assert_failed(&founding.on_desk(&["charter", "combine", "FR.signed"]), 1, "have not signed: BR, SG");
    let unsigned = founding.on_desk(&["charter", "combine", "charter.draft"]);
    assert_failed(&unsigned, 4, "CHARTER DRAFT");
    assert!(!founding.desk.join("federation.join").exists());
}

#[test]
fn joining_checks_fingerprint_root_key_member_and_completeness() {
    let founding = Founding::prepared();
    let federation = founding.combined();
    let join = founding.desk.join("federation.join");
    let [fr, sg, _] = &founding.units;
    let with = |file: &Path, fingerprint: &str, root: &Path| {
        fr.run(&["join", text(file), "--fingerprint", fingerprint, "--root-key", text(root)])
    };
    let other = if federation.starts_with('0') {
        federation.replacen('0', "1", 1)
    } else {
        format!("0{}", &federation[1..])
    };
    assert_failed(&with(&join, &other, &fr.root_key()), 4, "fingerprint is another");
    assert_failed(&with(&join, &federation[..20], &fr.root_key()), 2, "all 64 are needed");
    assert_failed(&with(&join, &federation, &sg.root_key()), 4, "another root key");
    assert_failed(&with(&founding.desk.join("FR.signed"), &federation, &fr.root_key()), 4, "SIGNED CHARTER");
    let bad = founding.desk.join("bad.join");
    let good = fs::read_to_string(&join).unwrap();
    for (content, told) in [
        (good.chars().take(good.len() / 2).collect::<String>(), "cut short"),
        (tampered(&good), ""),
        (
            fs::read_to_string(founding.desk.join("FR.signed"))
                .unwrap()
                .replace("SIGNED CHARTER", "FEDERATION"),
            "CH-17",
        ),
    ] {
        fs::write(&bad, content).unwrap();
        assert_failed(&with(&bad, &federation, &fr.root_key()), 4, told);
    }
    let config = fs::read_to_string(fr.folder.join("refpoint.toml")).unwrap();
    fs::write(fr.folder.join("refpoint.toml"), config.replace("\"FR\"", "\"KE\"")).unwrap();
    assert_failed(&with(&join, &federation, &fr.root_key()), 4, "does not list KE");
    fs::write(fr.folder.join("refpoint.toml"), format!("{config}anounce = []\n")).unwrap();
    assert_failed(&with(&join, &federation, &fr.root_key()), 1, "did you mean \"announce\"?");
    fs::write(fr.folder.join("refpoint.toml"), &config).unwrap();
    fs::rename(fr.folder.join("keys/node.key"), fr.folder.join("keys/away.key")).unwrap();
    assert_failed(&with(&join, &federation, &fr.root_key()), 1, "there is no node key");
    fs::rename(fr.folder.join("keys/away.key"), fr.folder.join("keys/node.key")).unwrap();
    // After all of this nothing was stored, and the right words still join.
    assert!(!fr.folder.join("data").exists());
    assert!(with(&join, &federation, &fr.root_key()).status.success());
}

#[test]
fn key_sets_follow_each_other_and_replace_a_node() {
    let founding = Founding::prepared();
    let federation = founding.combined();
    let join = founding.desk.join("federation.join");
    let unit = &founding.units[2];
    let root = unit.root_key();
    let issue = |more: &[&str]| {
        let mut arguments = vec!["keys", "issue", "--root-key", text(&root), "--yes"];
        arguments.extend(more);
        unit.run(&arguments)
    };
    assert_failed(&issue(&[]), 1, "has joined no federation");
    let joined = unit.run_ok(&["join", text(&join), "--fingerprint", &federation, "--root-key", text(&root)]);
    let old_node = joined["node_key"].as_str().unwrap().to_owned();
    let held = unit.store();
    assert_failed(&issue(&[]), 1, "is in use by another node");
    drop(held);
    let second = parsed(&issue(&[]));
    assert_eq!((&second["epoch"], second["nodes"].as_array().unwrap().len()), (&Value::from(1), 1));
    assert_failed(&issue(&["--replace", &old_node]), 2, "is this one");
    let nobody = if old_node.starts_with('0') { "ffffffff" } else { "00000000" };
    assert_failed(&issue(&["--replace", nobody]), 2, "names 0 active nodes");
    assert_failed(&issue(&["--replace", &old_node[..4]]), 2, "at least 8 digits");
    // A new machine's key takes the old one's place.
    fs::remove_file(unit.folder.join("keys/node.key")).unwrap();
    let node = refpoint::keyfile::NodeSecret::generate().unwrap();
    refpoint::keyfile::write_key(&unit.folder.join("keys/node.key"), &"BR".parse().unwrap(), &node, None)
        .unwrap();
    let third = parsed(&issue(&["--replace", &old_node[..8]]));
    assert_eq!(third["epoch"], 2);
    let nodes = third["nodes"].as_array().unwrap();
    let state = |key: &str| nodes.iter().find(|entry| entry["key"] == *key).unwrap()["state"].clone();
    assert_eq!((state(&old_node), state(&node.key().to_string())), ("retired".into(), "active".into()));
    let evidence = refpoint::founding::stored_evidence(&unit.store(), &"BR".parse().unwrap()).unwrap();
    assert_eq!(evidence.membership().active_nodes(&"BR".parse().unwrap()), [node.key()]);
    // Another member's root key signs nothing here.
    let foreign_key = founding.units[0].root_key();
    let foreign = unit.run(&["keys", "issue", "--root-key", text(&foreign_key), "--yes"]);
    assert_failed(&foreign, 4, "another root key");
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let founding = Founding::prepared();
    let federation = founding.combined();
    let join = founding.desk.join("federation.join");
    let unit = &founding.units[0];
    // A file where the folder should be stands for every folder that cannot be used: modes do not stop root.
    fs::write(unit.folder.join("data"), "not a folder").unwrap();
    let refused =
        unit.run(&["join", text(&join), "--fingerprint", &federation, "--root-key", text(&unit.root_key())]);
    assert_failed(&refused, 1, "data");
    let record = fs::read_to_string(unit.folder.join("keys/root.key.signed")).unwrap();
    assert!(!record.contains("key-set"), "{record}");
}

#[test]
fn a_missing_configuration_says_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let unit = Unit { code: "KE", folder: root.path().to_owned(), port: None, hosts: Hosts::LOOPBACK };
    assert_failed(&unit.run(&["config", "show", "--config", "none.toml"]), 1, "refpoint init");
}

impl Founding {
    /// Three folders after `init`, with the requests handed over.
    pub(crate) fn prepared() -> Self {
        Self::prepared_at([(None, Hosts::LOOPBACK); 3])
    }

    /// The same, with the places on this machine where the nodes are to run.
    pub(crate) fn prepared_at(places: [(Option<u16>, Hosts); 3]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let desk = root.path().join("desk");
        fs::create_dir(&desk).unwrap();
        let mut places = places.into_iter();
        let units = ["FR", "SG", "BR"].map(|code| {
            let (port, hosts) = places.next().unwrap();
            Unit { code, folder: root.path().join(code), port, hosts }
        });
        for unit in &units {
            fs::create_dir(&unit.folder).unwrap();
            unit.write_passphrase(&unit.secret());
            let made = parsed(&unit.init(&[]));
            assert_eq!(made["member"], unit.code);
            fs::copy(
                unit.folder.join(format!("{}.request", unit.code)),
                desk.join(format!("{}.request", unit.code)),
            )
            .unwrap();
        }
        Self { _root: root, units, desk }
    }

    fn requests(&self) -> [PathBuf; 3] {
        ["FR", "SG", "BR"].map(|code| self.desk.join(format!("{code}.request")))
    }

    /// Drafts the charter; gives what the command said.
    fn draft(&self, name: &str, more: &[&str]) -> Value {
        let requests = self.requests();
        let mut arguments = vec!["charter", "new", "--threshold", "2", "--out", name];
        arguments.extend(["--steward", "FR", "--steward", "SG", "--steward", "BR"]);
        arguments.extend(more);
        arguments.extend(requests.iter().map(|path| text(path)));
        let made = parsed(&self.on_desk(&arguments));
        assert_eq!(made["charter"]["members"].as_array().unwrap().len(), 3);
        made
    }

    /// Drafts, signs on each machine and combines; gives the fingerprint to read aloud.
    pub(crate) fn combined(&self) -> String {
        self.draft("charter.draft", &[]);
        self.signed_and_combined()
    }

    /// The same for a federation that takes another's place; gives what the draft's command said as well.
    pub(crate) fn combined_after(&self, bundle: &Path, old_federation: &str) -> (Value, String) {
        let more = ["--refounds", text(bundle), "--old-federation", old_federation];
        let drafted = self.draft("charter.draft", &more);
        (drafted, self.signed_and_combined())
    }

    fn signed_and_combined(&self) -> String {
        let draft = self.desk.join("charter.draft");
        for unit in &self.units {
            let root = unit.root_key();
            let arguments = ["charter", "sign", text(&draft), "--root-key", text(&root), "--yes"];
            assert_eq!(unit.run_ok(&arguments)["member"], unit.code);
        }
        let combined = parsed(&self.on_desk(&["charter", "combine", "FR.signed", "SG.signed", "BR.signed"]));
        assert_eq!(combined["charter"]["complete"], true);
        combined["charter"]["fingerprint"].as_str().unwrap().to_owned()
    }

    pub(crate) fn on_desk(&self, arguments: &[&str]) -> Output {
        run_in(&self.desk, None, arguments)
    }
}

impl Unit {
    /// A further unit with a folder of its own, before `init`.
    pub(crate) fn new(code: &'static str, folder: PathBuf, port: Option<u16>) -> Self {
        fs::create_dir(&folder).unwrap();
        let unit = Self { code, folder, port, hosts: Hosts::LOOPBACK };
        unit.write_passphrase(&unit.secret());
        unit
    }

    pub(crate) fn init(&self, more: &[&str]) -> Output {
        let at = |host: &str| self.port.map(|port| format!("{host}:{port}"));
        let named = format!("node.{}.example:4001", self.code.to_lowercase());
        let (announce, listen) = (at(self.hosts.announce).unwrap_or(named), at(self.hosts.listen));
        let mut arguments = vec!["init", "--member", self.code, "--announce", &announce];
        if let Some(listen) = &listen {
            arguments.extend(["--listen", listen]);
        }
        // Guessing must be costly in earnest and quick in tests; release builds know no other way.
        if cfg!(debug_assertions) {
            arguments.extend(["--work-factor", "4"]);
        }
        arguments.extend(more);
        self.run(&arguments)
    }

    pub(crate) fn secret(&self) -> String {
        format!("the passphrase of {}", self.code)
    }

    pub(crate) fn passphrase(&self) -> PathBuf {
        self.folder.join("passphrase")
    }

    fn write_passphrase(&self, text: &str) {
        fs::write(self.passphrase(), format!("{text}\n")).unwrap();
        fs::set_permissions(self.passphrase(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.folder.join("keys/root.key")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run_in(&self.folder, Some(&self.passphrase()), arguments)
    }

    pub(crate) fn run_ok(&self, arguments: &[&str]) -> Value {
        parsed(&self.run(arguments))
    }

    pub(crate) fn store(&self) -> SledStore {
        let asked = || panic!("the storage key is under no passphrase");
        let file = self.folder.join("keys/storage.key");
        let (_, key) = refpoint::keyfile::read_key::<refpoint::keyfile::StorageKey>(&file, asked).unwrap();
        let key = StorageKey::from_bytes(key.as_bytes());
        SledStore::open(&self.folder.join("data"), &key, &Options::default()).unwrap().0
    }
}

/// Runs the program as a script would: no terminal, JSON results.
pub(crate) fn run_in(folder: &Path, passphrase: Option<&Path>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refpoint"));
    command.args(arguments).arg("--json").current_dir(folder).stdin(std::process::Stdio::null());
    command
        .env_remove("REFPOINT_PASSPHRASE_FILE")
        .env_remove("REFPOINT_CONFIG")
        .env_remove("CREDENTIALS_DIRECTORY");
    if let Some(file) = passphrase {
        command.env("REFPOINT_PASSPHRASE_FILE", file);
    }
    command.output().unwrap()
}

pub(crate) fn parsed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The command failed with this code, said this on standard error, and printed no result.
pub(crate) fn assert_failed(output: &Output, code: i32, told: &str) {
    let errors = String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"");
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(told), "{told:?} is not in: {errors}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The same block with one bit of its content flipped and the checksum made right again, as a forger would.
pub(crate) fn tampered(file: &str) -> String {
    let (label, mut bytes) = refpoint::armor::dearmor(file).unwrap();
    let middle = bytes.len() * 2 / 3;
    bytes[middle] ^= 1;
    refpoint::armor::armor(label, &[], &bytes)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
