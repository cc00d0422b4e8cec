//! `doctor`: every FAIL that there is, each with what to do, and exit code 1 with any of them alone.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use refpoint::{
    api::views::{
        dial_back::{DialBackReply, Outcome},
        directory::Freshness,
        status::{ChainState, ClockStatus, StatusFacts},
    },
    keyfile::{NodeSecret, StorageKey, WorkFactor, passphrase_from, write_key},
    store::{Options, SledStore, StorageKey as StoreKey},
};
use serde_json::Value;

use super::program::{Run, run};
use crate::api::{
    fake::{Server, State},
    samples,
};

/// A folder as `init` makes it, whose node answers at the server's socket.
fn folder(server: &Server, more: &str) -> PathBuf {
    let folder = server.folder.path();
    fs::create_dir_all(folder.join("data")).unwrap();
    if !folder.join("keys").exists() {
        write_key(
            &folder.join("keys/node.key"),
            &samples::member("KE"),
            &NodeSecret::generate().unwrap(),
            None,
        )
        .unwrap();
        let storage = StorageKey::from_bytes([7; 32]);
        write_key(&folder.join("keys/storage.key"), &samples::member("KE"), &storage, None).unwrap();
    }
    let config = folder.join("refpoint.toml");
    let socket = server.socket.display();
    let text = format!(
        "member = \"KE\"\nlisten = \"127.0.0.1:4001\"\nsocket = \"{socket}\"\nalert_command = [\"sh\"]\n{more}"
    );
    fs::write(&config, text).unwrap();
    config
}

const ANNOUNCED: &str = "announce = [\"127.0.0.1:4001\"]\nallow_private_addresses = true\n";

async fn doctor(server: &Server, config: &Path) -> Run {
    run(server, &["doctor", "--json", "--config", config.to_str().unwrap()]).await
}

/// The one check that fails, with what to do about it.
#[track_caller]
fn fails(run: &Run, check: &str, what: &str) {
    assert_eq!(run.code, 1, "{run:?}");
    let checks = run.json()["checks"].as_array().unwrap().clone();
    let failed: Vec<&Value> = checks.iter().filter(|line| line["verdict"] == "FAIL").collect();
    assert!(failed.iter().all(|line| line["fix"].as_str().is_some_and(|fix| fix.len() > 8)), "{failed:?}");
    let found =
        failed.iter().any(|line| line["check"] == check && line["what"].as_str().unwrap().contains(what));
    assert!(found, "{check}: {what} is not among {failed:#?}");
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert_eq!(run.json()["well"], false);
}

#[tokio::test]
async fn a_clock_is_judged_by_as_many_as_the_charter_has() {
    let server = Server::start();
    let config = folder(&server, ANNOUNCED);
    server.fake.change(|state| {
        state.facts.clock = ClockStatus { offset_ms: None, witnesses: 1, asked: 2, wrong: false };
    });
    let page = run(&server, &["doctor", "--config", config.to_str().unwrap()]).await;
    page.shows(0, &["WARN  clock", "1 of 2 other members' clocks are known"]);
}

#[tokio::test]
async fn a_node_that_is_well_has_no_fail_and_every_line_has_its_verdict() {
    let server = Server::start();
    let config = folder(&server, ANNOUNCED);
    let seen = doctor(&server, &config).await;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert_eq!(seen.json()["well"], true);
    let page = run(&server, &["doctor", "--config", config.to_str().unwrap()]).await;
    page.shows(0, &["OK    clock", "OK    reached from outside", "FR dialled", "disk writes"]);
    for line in page.out.lines() {
        let verdict = ["OK  ", "WARN", "FAIL", "    "].iter().any(|verdict| line.starts_with(verdict));
        assert!(verdict, "{line}");
    }
}

#[tokio::test]
async fn each_fault_that_the_running_node_tells_fails_alone() {
    type Change = fn(&mut State);
    fn facts(state: &mut State, change: impl FnOnce(&mut StatusFacts)) {
        change(&mut state.facts);
    }
    let cases: [(&str, &str, Change); 9] = [
        ("clock", "700 s from the median", |state| {
            facts(state, |facts| (facts.clock.offset_ms, facts.clock.wrong) = (Some(700_000), true));
        }),
        ("key set", "does not list this node", |state| {
            facts(state, |facts| facts.key_set.lists_this_node = false);
        }),
        ("review date", "overdue", |state| {
            facts(state, |facts| facts.key_set.review = Some(samples::at("11:00:00")));
        }),
        ("charter", "does not list this member", |state| {
            facts(state, |facts| facts.charter.this_member_active = false);
        }),
        ("peers", "0 of 2", |state| facts(state, |facts| facts.peers.connected = 0)),
        ("own records", "a twin", |state| {
            facts(state, |facts| {
                facts.chain =
                    ChainState::Stopped { why: "a twin".into(), to_do: "find the other machine".into() }
            });
        }),
        ("alert command", "exit status 3", |state| {
            facts(state, |facts| facts.alert_failure = Some("exit status 3".into()));
        }),
        ("listening", "nowhere", |state| facts(state, |facts| facts.listening.clear())),
        ("reference point", "not renewed", |state| {
            for entry in &mut state.entries {
                entry.row.freshness = Freshness::Stale;
            }
        }),
    ];
    for (check, what, change) in cases {
        let server = Server::start();
        let config = folder(&server, ANNOUNCED);
        server.fake.change(change);
        fails(&doctor(&server, &config).await, check, what);
    }
    for freshness in [Freshness::Missing, Freshness::Erased] {
        let server = Server::start();
        let config = folder(&server, ANNOUNCED);
        server
            .fake
            .change(|state| state.entries.iter_mut().for_each(|entry| entry.row.freshness = freshness));
        fails(&doctor(&server, &config).await, "reference point", "");
    }
}

#[tokio::test]
async fn what_another_node_saw_fails_with_its_own_remedy() {
    for (outcome, what) in [
        (Outcome::OtherNode, "another node answered"),
        (Outcome::Refused, "refused"),
        (Outcome::TimedOut, "no answer in time"),
        (Outcome::Unreachable, "no way there"),
    ] {
        let server = Server::start();
        let config = folder(&server, ANNOUNCED);
        server.fake.change(|state| state.dialled_back.seen[0].outcome = outcome);
        fails(&doctor(&server, &config).await, "reached from outside", what);
    }
    // Nobody who could say anything is no fault of the address.
    for reply in [
        DialBackReply { asked: None, why: Some("FR is busy".into()), seen: Vec::new() },
        DialBackReply { seen: Vec::new(), ..samples::reached() },
    ] {
        let server = Server::start();
        let config = folder(&server, ANNOUNCED);
        server.fake.change(|state| state.dialled_back = reply);
        assert_eq!(doctor(&server, &config).await.code, 0);
    }
}

#[tokio::test]
async fn each_fault_of_the_machine_fails_alone() {
    let server = Server::start();
    let config = folder(&server, "announce = [\"node.invalid:4001\"]\n");
    fails(&doctor(&server, &config).await, "announced address", "does not resolve");
    folder(&server, &format!("{ANNOUNCED}anounce = []\n"));
    fails(&doctor(&server, &config).await, "configuration", "anounce");
    folder(&server, &format!("{ANNOUNCED}data = \"none\"\n"));
    let absent = doctor(&server, &config).await;
    assert_eq!(absent.code, 1);
    assert!(absent.out.contains("cannot look at") && absent.out.contains("cannot write to"), "{absent:?}");
    folder(&server, ANNOUNCED);
    let key = server.folder.path().join("keys/node.key");
    let set_mode = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(0o644);
    fails(&doctor(&server, &config).await, "node key", "may be read by others");
    set_mode(0o600);
    let good = fs::read(&key).unwrap();
    fs::write(&key, "nothing").unwrap();
    fails(&doctor(&server, &config).await, "node key", "damaged");
    fs::remove_file(&key).unwrap();
    fails(&doctor(&server, &config).await, "node key", "there is no node key");
    let other = NodeSecret::generate().unwrap();
    write_key(&key, &samples::member("FR"), &other, None).unwrap();
    fails(&doctor(&server, &config).await, "node key", "belongs to FR");
    fs::remove_file(&key).unwrap();
    let phrase = passphrase_from("the right passphrase");
    write_key(&key, &samples::member("KE"), &other, Some((&phrase, WorkFactor::SAMPLE))).unwrap();
    // What systemd hands over cannot be tried from here.
    let untried = doctor(&server, &config).await;
    assert_eq!(untried.code, 0, "{untried:?}");
    assert!(untried.out.contains("not tried"), "{untried:?}");
    let passphrase = server.folder.path().join("passphrase");
    fs::write(&passphrase, "the wrong passphrase\n").unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    folder(&server, &format!("{ANNOUNCED}passphrase_file = \"passphrase\"\n"));
    fails(&doctor(&server, &config).await, "node key", "does not open");
    fs::write(&passphrase, "the right passphrase\n").unwrap();
    assert_eq!(doctor(&server, &config).await.code, 0);
    fs::write(&key, good).unwrap();
}

#[tokio::test]
async fn a_stopped_node_is_examined_and_the_checks_that_need_it_are_named() {
    let mut server = Server::start();
    let config = folder(&server, ANNOUNCED);
    server.stop().await;
    let fresh = doctor(&server, &config).await;
    fails(&fresh, "storage", "has joined no federation");
    for check in ["clock", "peers", "reference point", "reached from outside"] {
        let checks = fresh.json()["checks"].as_array().unwrap().clone();
        let line = checks.iter().find(|line| line["check"] == check).unwrap().clone();
        assert_eq!(line["verdict"], "WARN", "{line}");
        assert!(line["what"].as_str().unwrap().contains("needs the running node"), "{line}");
    }
    // A folder that is open elsewhere, and one whose key is another.
    let data = server.folder.path().join("data");
    let held = SledStore::open(&data, &StoreKey::from_bytes(&[7; 32]), &Options::default()).unwrap();
    fails(&doctor(&server, &config).await, "storage", "is in use");
    drop(held);
    let storage = server.folder.path().join("keys/storage.key");
    fs::remove_file(&storage).unwrap();
    write_key(&storage, &samples::member("KE"), &StorageKey::from_bytes([8; 32]), None).unwrap();
    fails(&doctor(&server, &config).await, "storage", "does not fit");
}
