//! The written procedures for keys in OPERATIONS.md, followed to the letter by running the program.

use std::{fs, path::Path};

use refpoint::{
    ceremony::documents_text,
    founding::{Succession, next_key_set, sign_key_set, stored_evidence},
    keyfile::{NodeSecret, RootSecret, passphrase_from, read_key, write_key},
};
use refpoint_protocol::ids::MemberCode;
use serde_json::Value;

use crate::{
    founding::{Founding, Unit, assert_failed, parsed, text},
    processes::Federation,
};

/// Guessing must be costly in earnest and quick in tests; release builds know no other way.
const WORK: &[&str] = if cfg!(debug_assertions) { &["--work-factor", "4"] } else { &[] };

fn rotate(unit: &Unit, next: &Path, new_next: &Path, more: &[&str]) -> std::process::Output {
    let files = ["--next-root-key", text(next), "--new-next-root-key", text(new_next)];
    unit.run(&[&["keys", "rotate", "--yes"], &files[..], WORK, more].concat())
}

fn has_messages(count: usize) -> impl Fn(&Value) -> bool {
    move |value| value.as_array().or_else(|| value["messages"].as_array()).unwrap().len() == count
}

#[test]
fn after_a_theft_of_the_root_key_the_next_one_takes_over_and_no_message_is_lost() {
    let mut federation = Federation::founded();
    let br: MemberCode = "BR".parse().unwrap();
    let (thief, stolen) = {
        let unit = federation.unit(2);
        let asked = || Ok(passphrase_from(&unit.secret()));
        let (_, root) = read_key::<RootSecret>(&unit.root_key(), asked).unwrap();
        let evidence = stored_evidence(&unit.store(), &br).unwrap();
        let thief = NodeSecret::generate().unwrap().key();
        let issued = refpoint::clock::Clock::start(0).now();
        let change = Succession { node: thief, ended: Vec::new(), issued };
        let set = next_key_set(&evidence, &br, &change).unwrap();
        let envelope = sign_key_set(&set, evidence.federation(), &root).unwrap();
        let file = federation.founding.desk.join("stolen.documents");
        fs::write(&file, documents_text(&[], &[envelope]).unwrap()).unwrap();
        (thief, file)
    };
    federation.run_all();
    // A thief needs no member of his own: anybody may hand documents in.
    let taken = federation.unit(0).run_ok(&["charter", "import", text(&stolen)]);
    assert_eq!(taken["documents"][0]["outcome"], "accepted");
    let listed = |value: &Value| value["nodes"].as_array().unwrap().len() == 2;
    let before = federation.ask_until(2, &["keys", "status"], "the thief's key set at Brazil", listed);
    assert_eq!((&before["generation"], &before["epoch"]), (&0.into(), &1.into()));

    for _ in 0..3 {
        assert!(federation.send(0, "BR", &[]).status.success());
    }
    let unit = federation.unit(2);
    let own = fs::read_to_string(unit.folder.join("keys/root.key.signed")).unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("key-set BR 0.0.0 ")).unwrap().to_owned();
    let (next, new_next) = (unit.folder.join("keys/next-root.key"), unit.folder.join("keys/third.key"));
    // The stolen key rotates nothing, and neither does what names another's key set.
    assert_failed(&rotate(unit, &unit.root_key(), &new_next, &[]), 4, "not the next root key");
    assert_failed(&rotate(unit, &next, &new_next, &["--base", "0000"]), 2, "names 0 key sets");
    let rotated = parsed(&rotate(unit, &next, &new_next, &["--base", &own[..8]]));
    assert_eq!((&rotated["generation"], rotated["nodes"].as_array().unwrap().len()), (&1.into(), 1));
    for _ in 0..3 {
        assert!(federation.send(0, "BR", &[]).status.success());
    }
    federation.ask_until(2, &["message", "inbox", "--all"], "all messages at Brazil", has_messages(6));
    federation.until(0, "an empty outbox at France", |status| status["outbox_waiting"] == 0);
    federation.until(2, "Brazil's mesh", |status| status["peers"]["connected"] == 2);
    let voided = |value: &Value| {
        let nodes = value["nodes"].as_array().unwrap();
        nodes.iter().filter(|node| node["state"] == "active").count() == 1
            && nodes.iter().all(|node| node["node"] != thief.to_string() || node["state"] != "active")
    };
    federation.ask_until(0, &["directory", "show", "BR"], "that France knows", voided);

    // From now on the revealed key signs; a second rotation with it is refused.
    let unit = federation.unit(2);
    let by_old = unit.run(&["keys", "issue", "--root-key", text(&unit.root_key()), "--yes"]);
    assert_failed(&by_old, 4, "another root key");
    let issued = unit.run_ok(&["keys", "issue", "--root-key", text(&next), "--yes"]);
    assert_eq!((&issued["generation"], &issued["epoch"]), (&1.into(), &1.into()));
    assert_failed(
        &rotate(unit, &next, &unit.folder.join("keys/fourth.key"), &[]),
        4,
        "not the next root key",
    );
    // What was signed lies in a file, for whoever has to hand it in.
    let again = unit.run_ok(&["charter", "import", "BR-rotation-1.documents"]);
    assert_eq!(again["documents"][0]["outcome"], "known");
}

#[test]
fn a_seized_node_is_rebuilt_and_revoked_and_let_in_by_nobody() {
    let mut federation = Federation::running();
    assert!(federation.send(0, "BR", &["--wait", "delivered", "--timeout", "30s"]).status.success());
    federation.kill(2);
    assert!(federation.send(0, "BR", &[]).status.success());
    let root = federation.unit(2).root_key();
    let federation_print = federation.fingerprint().to_owned();
    let join = federation.founding.desk.join("federation.join");
    let documents = federation.founding.desk.join("BR.documents");
    let exported = federation.unit(0).run_ok(&["keys", "export", "BR", "--out", text(&documents)]);
    let lost = exported["nodes"][0].as_str().unwrap().to_owned();

    let new = federation.further("BR", "BR-new");
    let unit = federation.unit(new);
    for file in ["keys/root.key", "keys/next-root.key", "BR.request"] {
        fs::remove_file(unit.folder.join(file)).unwrap();
    }
    let again = ["--documents", text(&documents), "--replace", &lost[..8], "--root-key", text(&root)];
    let joined =
        unit.run_ok(&[&["join", text(&join), "--fingerprint", &federation_print], &again[..]].concat());
    assert_eq!(joined["epoch"], 1);
    federation.start(new);
    federation.until(new, "the rebuilt node's mesh", |status| status["peers"]["connected"] == 2);
    let unit = federation.unit(new);
    unit.run_ok(&[
        "keys",
        "revoke",
        &lost[..8],
        "--since",
        "2026-01-01T00:00:00Z",
        "--root-key",
        text(&root),
        "--yes",
    ]);
    // The one that waited, and the one whose only copy was on the lost disk.
    federation.ask_until(new, &["message", "inbox", "--all"], "both messages", has_messages(2));
    federation.until(0, "an empty outbox at France", |status| status["outbox_waiting"] == 0);

    // Whoever runs the seized disk is let in by nobody.
    federation.start(2);
    federation.until(2, "that the seized node knows", |status| status["key_set"]["lists_this_node"] == false);
    federation.until(2, "that it is refused", |status| status["peers"]["connected"] == 0);
    federation.until(0, "that France has not let it in", |status| status["peers"]["connected"] == 2);
}

#[test]
fn a_member_that_lost_both_root_keys_gets_a_new_one_by_a_charter_version() {
    let federation = Federation::running();
    let unit = federation.unit(2);
    let made = parsed(&unit.run(&[&["keys", "new-root", "--dir", "new"], WORK].concat()));
    let shown = federation.unit(0).run_ok(&["charter", "show", text(&unit.folder.join("new/BR.request"))]);
    assert_eq!(shown["fingerprint"], made["fingerprint"]);
    let request = unit.folder.join("new/BR.request");
    let proposal = federation.founding.desk.join("charter.proposal");
    federation.unit(0).run_ok(&[
        "charter",
        "propose",
        "replace-root",
        text(&request),
        "--out",
        text(&proposal),
    ]);
    let new = unit.folder.join("new/root.key");
    for (at, root) in
        [(0, federation.unit(0).root_key()), (1, federation.unit(1).root_key()), (2, new.clone())]
    {
        federation.unit(at).run_ok(&["charter", "sign", text(&proposal), "--root-key", text(&root), "--yes"]);
    }
    let copies = ["FR-2.signed", "SG-2.signed", "BR-2.signed"];
    parsed(&federation.founding.on_desk(&[&["charter", "combine"], &copies[..]].concat()));
    let complete = federation.founding.desk.join("charter-2.join");
    federation.unit(0).run_ok(&["charter", "publish", text(&complete), "--yes"]);
    federation.until(2, "the new root at Brazil", |status| {
        status["charter"]["version"] == 2 && status["key_set"]["lists_this_node"] == true
    });
    federation.until(2, "Brazil's mesh", |status| status["peers"]["connected"] == 2);
    let sent = federation.send(0, "BR", &["--wait", "delivered", "--timeout", "30s"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let issue = |root: &Path| unit.run(&["keys", "issue", "--root-key", text(root), "--yes"]);
    assert_failed(&issue(&unit.root_key()), 4, "another root key");
    assert_eq!(parsed(&issue(&new))["epoch"], 1);

    // Singapore lost its root key alone: it follows that procedure, as it stands in the document.
    let unit = federation.unit(1);
    let media = ["media", "other"].map(|name| unit.folder.join(name));
    media.iter().for_each(|folder| fs::create_dir(folder).unwrap());
    fs::rename(unit.folder.join("keys/next-root.key"), media[0].join("next-root.key")).unwrap();
    fs::remove_file(unit.root_key()).unwrap();
    fs::remove_file(unit.folder.join("keys/root.key.signed")).unwrap();
    let answers: Vec<Value> = procedure("The root key was lost")
        .iter()
        .map(|command| {
            let command = command.replace("/media", text(&media[0])).replace("/other", text(&media[1]));
            let words: Vec<&str> = command.strip_prefix("refpoint ").unwrap().split(' ').collect();
            let signs: &[&str] = if words.contains(&"status") { &[] } else { &["--yes"] };
            let makes: &[&str] = if words.contains(&"rotate") { WORK } else { &[] };
            unit.run_ok(&[&words, signs, makes].concat())
        })
        .collect();
    let place = |answer: &Value| (answer["generation"].clone(), answer["epoch"].clone());
    assert_eq!(
        answers.iter().map(place).collect::<Vec<_>>(),
        [0, 0, 1].map(|epoch| (1.into(), epoch.into()))
    );
    assert_eq!(answers[0]["node_key"], answers[2]["node_key"], "the node goes on with its key");
    let sent = federation.send(0, "SG", &["--wait", "delivered", "--timeout", "30s"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

/// The commands that a procedure of the operator's document names, in their order.
fn procedure(heading: &str) -> Vec<String> {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("OPERATIONS.md")).unwrap();
    let (_, section) = document.split_once(&format!("\n### {heading}\n")).expect(heading);
    let section = section.split("\n#").next().unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap());
    let lines: Vec<String> = blocks.flat_map(str::lines).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "{heading} names no commands");
    lines
}

#[test]
fn nodes_are_retired_and_revoked_and_the_status_says_what_counts() {
    let founding = Founding::prepared();
    let federation = founding.combined();
    let join = founding.desk.join("federation.join");
    let unit = &founding.units[2];
    let root = unit.root_key();
    let joined = unit.run_ok(&["join", text(&join), "--fingerprint", &federation, "--root-key", text(&root)]);
    let old = joined["node_key"].as_str().unwrap().to_owned();
    let keys = |arguments: &[&str]| {
        unit.run(&[&["keys"], arguments, &["--root-key", text(&root), "--yes"]].concat())
    };
    fs::remove_file(unit.folder.join("keys/node.key")).unwrap();
    let node = NodeSecret::generate().unwrap();
    write_key(&unit.folder.join("keys/node.key"), &"BR".parse().unwrap(), &node, None).unwrap();
    parsed(&keys(&["replace-node", &old]));
    let state = |key: &str| {
        let status = unit.run_ok(&["keys", "status"]);
        let nodes = status["nodes"].as_array().unwrap().clone();
        nodes.into_iter().find(|node| node["key"] == *key).unwrap()
    };
    assert_eq!(state(&old)["state"], "retired");
    assert_eq!(state(&node.key().to_string())["state"], "active");
    assert_failed(&keys(&["retire", &old]), 2, "names 0 active nodes");
    assert_failed(&keys(&["revoke", &old, "--since", "yesterday"]), 2, "no key set was issued");
    assert_failed(&keys(&["revoke", &old, "--since", "+1h"]), 2, "in the future");
    parsed(&keys(&["revoke", &old, "--since", "2026-01-02T03:04:05Z"]));
    let revoked = state(&old);
    assert_eq!(
        (&revoked["state"], &revoked["since"]),
        (&"compromised".into(), &"2026-01-02T03:04:05.000Z".into())
    );
    // What is in strange hands does not come back as merely retired.
    assert_failed(&keys(&["retire", &old]), 2, "names 0 active nodes");
    parsed(&keys(&["retire", &node.key().to_string()]));
    assert_eq!(state(&node.key().to_string())["state"], "retired");
    let status = unit.run_ok(&["keys", "status"]);
    assert_eq!(
        (&status["epoch"], &status["generation"], &status["notes"]),
        (&3.into(), &0.into(), &Value::Array(Vec::new()))
    );
}
