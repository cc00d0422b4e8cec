//! Nodes that are lost with their disks, in every state of a message, and come back from a backup or without one.

use std::fs;

use serde_json::Value;

use super::{Shelf, rows};
use crate::{founding::text, processes::Federation};

const BR: usize = 2;
const SG: usize = 1;
const FR: usize = 0;

fn sent_id(output: &std::process::Output) -> String {
    let sent: Value = serde_json::from_slice(&output.stdout).unwrap();
    sent["sent"]["id"].as_str().unwrap().to_owned()
}

/// Sends to Brazil and waits for the receipt.
fn delivered(federation: &Federation) -> String {
    let output = federation.send(FR, "BR", &["--wait", "delivered", "--timeout", "60s"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    sent_id(&output)
}

/// Waits until Brazil's inbox has exactly these, in whatever order, and then that it stays so.
fn inbox_becomes(federation: &Federation, ids: &[&str]) {
    let mut wanted: Vec<&str> = ids.to_vec();
    wanted.sort_unstable();
    let has = |value: &Value| {
        let mut found: Vec<&str> = rows(value).iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert!(found.len() <= wanted.len(), "doubled: {found:?}");
        found.sort_unstable();
        found == wanted
    };
    federation.ask_until(BR, &["message", "inbox", "--all"], "every message, once", has);
    // Everybody has told everybody what is missing.
    federation.until(FR, "nothing waiting at France", |status| status["outbox_waiting"] == 0);
    assert!(has(&federation.unit(BR).run_ok(&["message", "inbox", "--all"])));
}

/// A person at Brazil acknowledges a message, and France knows.
fn acknowledge(federation: &Federation, id: &str) {
    federation.unit(BR).run_ok(&["message", "ack", id, "--as", "duty officer", "--will", "yes"]);
    federation.ask_until(FR, &["message", "receipts", id], "the word", is_acknowledged);
}

fn is_acknowledged(value: &Value) -> bool {
    value["recipients"][0]["person"]["word"] == "acknowledged"
}

/// What Brazil shows as acknowledged by nobody.
fn unacknowledged(federation: &Federation) -> Vec<String> {
    let open = federation.unit(BR).run_ok(&["message", "inbox"]);
    rows(&open).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_recipient_restored_from_an_old_backup_is_offered_all_that_it_lost_once() {
    let mut federation = Federation::running();
    let shelf = Shelf::of(&federation, BR);
    let first = delivered(&federation);
    let made = shelf.back_up(federation.unit(BR), "old.age");
    assert_eq!(made["messages"]["received"], 1);
    // Lost after the backup: one that nobody has acknowledged, one that somebody has, and the word about the first.
    let unread = delivered(&federation);
    let acknowledged = delivered(&federation);
    acknowledge(&federation, &first);
    acknowledge(&federation, &acknowledged);
    federation.kill(BR);
    shelf.replace(federation.unit(BR), "old.age");
    federation.start(BR);
    inbox_becomes(&federation, &[&first, &unread, &acknowledged]);
    let one = |value: &Value| rows(value).len() == 1;
    federation.ask_until(BR, &["message", "inbox"], "what its own people said", one);
    assert_eq!(unacknowledged(&federation), [unread.as_str()]);
    assert_eq!(federation.unit(FR).run_ok(&["status"])["directory"]["disputed"], 0);
    // What was said at France stays.
    assert!(is_acknowledged(&federation.unit(FR).run_ok(&["message", "receipts", &acknowledged])));
    // Once more, and again nothing is doubled.
    federation.kill(BR);
    federation.start(BR);
    inbox_becomes(&federation, &[&first, &unread, &acknowledged]);
}

#[test]
fn a_sender_and_a_custodian_that_are_restored_bring_their_messages_to_the_end() {
    let mut federation = Federation::running();
    let (sender, custodian) = (Shelf::of(&federation, FR), Shelf::of(&federation, SG));
    // With it France has Brazil's sealing key.
    let first = delivered(&federation);
    federation.kill(BR);
    federation.kill(SG);
    federation.until(FR, "nobody", |status| status["peers"]["connected"] == 0);
    // Queued at the sender alone.
    let queued = sent_id(&federation.send(FR, "BR", &["--wait", "delivered", "--timeout", "1s"]));
    assert_eq!(sender.back_up(federation.unit(FR), "queued.age")["messages"]["sent"], 2);
    federation.kill(FR);
    sender.replace(federation.unit(FR), "queued.age");
    federation.start(FR);
    federation.until(FR, "the queued message", |status| status["outbox_waiting"] == 1);
    // In custody, and both who have it are restored; the sender is gone for good then.
    federation.start(SG);
    federation.until(SG, "custody", |status| status["held"] == 1);
    let kept = |value: &Value| value["recipients"][0]["machine"] == "custody";
    federation.ask_until(FR, &["message", "receipts", &queued], "the custody receipt", kept);
    custodian.back_up(federation.unit(SG), "custody.age");
    federation.kill(FR);
    federation.kill(SG);
    let restored = custodian.replace(federation.unit(SG), "custody.age");
    assert_eq!(restored["messages"]["kept_for_others"], 1);
    federation.start(SG);
    federation.start(BR);
    let has = |value: &Value| {
        assert!(rows(value).len() <= 2, "doubled");
        rows(value).len() == 2
    };
    federation.ask_until(BR, &["message", "inbox", "--all"], "the message from the custodian", has);
    federation.until(SG, "nothing kept", |status| status["held"] == 0);
    // Its sender, restored from before the custody, hears of the delivery and sends nothing twice.
    sender.replace(federation.unit(FR), "queued.age");
    federation.start(FR);
    let told = |value: &Value| value["recipients"][0]["machine"] == "delivered";
    federation.ask_until(FR, &["message", "receipts", &queued], "the receipt", told);
    inbox_becomes(&federation, &[&first, &queued]);
}

#[test]
fn a_node_rebuilt_without_a_backup_receives_what_waits_sealed_anew() {
    let mut federation = Federation::running();
    let shelf = Shelf::of(&federation, BR);
    let unread = delivered(&federation);
    let acknowledged = delivered(&federation);
    acknowledge(&federation, &acknowledged);
    let lost = federation.unit(BR).run_ok(&["keys", "export", "BR", "--out", "own.documents"]);
    let lost = lost["nodes"][0].as_str().unwrap()[..8].to_owned();
    federation.kill(BR);
    federation.until(FR, "Brazil's absence", |status| status["peers"]["connected"] == 1);
    let waiting = sent_id(&federation.send(FR, "BR", &["--wait", "delivered", "--timeout", "1s"]));
    fs::remove_dir_all(&federation.unit(BR).folder).unwrap();
    fs::create_dir(&federation.unit(BR).folder).unwrap();
    let documents = shelf.file("BR.documents");
    let told = federation.unit(SG).run_ok(&["keys", "export", "BR", "--out", text(&documents)]);
    assert_eq!(told["nodes"][0].as_str().unwrap()[..8], lost);
    let unit = federation.unit(BR);
    fs::copy(&shelf.passphrase, unit.passphrase()).unwrap();
    crate::founding::parsed(&unit.init(&[]));
    let config = unit.folder.join("refpoint.toml");
    let settings = fs::read_to_string(&config).unwrap();
    let rang = federation.unit(BR).folder.join("rang");
    let alarm = format!("alert_command = [\"sh\", \"-c\", \"cat >> {}\"]", text(&rang));
    fs::write(&config, format!("{settings}allow_private_addresses = true\n{alarm}\n")).unwrap();
    let join = federation.founding.desk.join("federation.join");
    let root = shelf.file("root.key");
    let fingerprint = federation.unit(SG).run_ok(&["status"])["federation_fingerprint"].clone();
    let joined = unit.run_ok(&[
        "join",
        text(&join),
        "--fingerprint",
        fingerprint.as_str().unwrap(),
        "--root-key",
        text(&root),
        "--documents",
        text(&documents),
        "--replace",
        &lost,
    ]);
    assert_eq!(joined["epoch"], 1);
    federation.start(BR);
    inbox_becomes(&federation, &[&unread, &waiting, &acknowledged]);
    // Nobody is woken again for what a person took on the lost node.
    let mut open = unacknowledged(&federation);
    open.sort_unstable();
    let mut expected = [unread.clone(), waiting.clone()];
    expected.sort_unstable();
    assert_eq!(open, expected);
    let alarms = || fs::read_to_string(&rang).unwrap_or_default();
    let rung = |_: &Value| alarms().contains(&unread) && alarms().contains(&waiting);
    federation.until(BR, "the alarms", rung);
    assert!(!alarms().contains(&acknowledged));
    for id in [&unread, &waiting, &acknowledged] {
        let machine = federation.unit(FR).run_ok(&["message", "receipts", id]);
        assert_eq!(machine["recipients"][0]["machine"], "delivered");
    }
}
