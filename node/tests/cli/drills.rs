//! Commands about drills: nobody is woken unasked, and nobody who did not answer is left out.

use std::fs;

use refpoint_protocol::message::body::Word;

use super::program::{run, run_with};
use crate::api::{fake::Server, samples};

#[tokio::test]
async fn a_drill_is_started_only_with_consent_and_shows_whom_it_reaches() {
    let server = Server::start();
    run(&server, &["drill", "start"]).await.shows(2, &["--to", "--group", "--all"]);
    let unasked = run(&server, &["drill", "start", "--all"]).await;
    unasked.shows(2, &["DRILL, PRIORITY", "to 2 members", "BR (Brazil)", "FR (France)", "say --yes"]);
    assert!(!unasked.talk.contains("KE (Kenya)"), "not the node's own member: {unasked:?}");
    assert!(server.fake.change(|state| state.begun.is_empty()));

    let started = run(&server, &["drill", "start", "--to", "fr", "--within", "1h", "--yes"]).await;
    started.shows(0, &["DRILL started: drill-d2d2d2d2d2d2d2d2", "refpoint drill report d2d2d2d2"]);
    let begun = server.fake.change(|state| std::mem::take(&mut state.begun));
    assert_eq!(
        (begun[0].members.as_slice(), begun[0].within_seconds),
        ([samples::member("FR")].as_slice(), 3_600)
    );
    run(&server, &["drill", "start", "--to", "KN", "--yes"]).await.shows(1, &["KN is not a member"]);
    run(&server, &["drill", "start", "--to", "FR,FR", "--yes"]).await.shows(2, &["FR is named twice"]);
    run(&server, &["drill", "start", "--all", "--within", "30s", "--yes"]).await.shows(2, &["30 s"]);

    server.fake.change(|state| state.not_asked = vec![samples::member("BR")]);
    let partly = run(&server, &["drill", "start", "--all", "--yes"]).await;
    partly.shows(1, &["DRILL started", "1 members were not asked: BR", "too many messages wait"]);
}

#[tokio::test]
async fn a_report_is_a_table_json_a_sheet_and_a_page() {
    let server = Server::start();
    run(&server, &["drill", "list"]).await.shows(0, &["drill-d1d1d1d1d1d1d1d1", "1 of 2"]);
    let report = run(&server, &["drill", "report"]).await;
    report.shows(0, &["DRILL drill-d1d1", "NOT DELIVERED (expired)", "NOBODY", "1 min 0 s"]);
    let files = ["--csv", "sheet.csv", "--html", "page.html"];
    let arguments = [&["--json", "drill", "show", "drill-d1d1d1d1d1d1d1d1"], &files[..]].concat();
    let told = run(&server, &arguments).await;
    let json = told.json();
    assert_eq!((&json["drill"], &json["asked"]), (&"drill-d1d1d1d1d1d1d1d1".into(), &2.into()));
    let members = json["members"].as_array().unwrap();
    assert_eq!((&members[0]["member"], &members[0]["state"]), (&"BR".into(), &"expired".into()));
    assert_eq!(members[1]["acknowledged"]["after_ms"], 60_000);
    let read = |file: &str| fs::read_to_string(server.folder.path().join(file)).unwrap();
    assert_eq!(read("sheet.csv").lines().count(), 3);
    assert!(read("page.html").contains("DRILL: 1 of 2 acknowledged in time"));
    run(&server, &["drill", "report", "--check"]).await.shows(5, &["not received in time by 1 of 2", "BR"]);
    run(&server, &["drill", "report", "beef"]).await.shows(1, &["no drill", "refpoint drill list"]);
    run(&server, &["drill", "report", "x"]).await.shows(2, &["refpoint drill list"]);
    run(&server, &["drill", "report", "--html", "no/where"]).await.shows(1, &["was not written"]);

    server.fake.change(|state| state.drills.clear());
    run(&server, &["drill", "list"]).await.shows(0, &["refpoint drill start"]);
    run(&server, &["drill", "report"]).await.shows(1, &["refpoint drill start --all"]);
}

#[tokio::test]
async fn a_drill_and_a_message_are_taken_back_only_with_consent() {
    let server = Server::start();
    let drill = ["drill", "withdraw", "--as", "duty officer"];
    run(&server, &drill).await.shows(2, &["DRILL drill-d1d1", "to 2 members; 1 had it already", "say --yes"]);
    let id = samples::message_id(0x5e).short();
    let sent = ["message", "send", "FR", "--precedence", "routine", "--tlp", "green", "--file", "-", "--yes"];
    run_with(&server, &sent, "x").await.shows(0, &[&id]);
    let message = ["message", "withdraw", &id, "--as", "duty officer"];
    run(&server, &message).await.shows(2, &["FR: does not get it from this node any more", "say --yes"]);
    assert!(server.fake.change(|state| state.stated.is_empty()));

    run(&server, &[&message[..], &["--yes"]].concat()).await.shows(0, &["taken back: message 5e5e5e5e"]);
    server.fake.change(|state| {
        let (about, said) = state.stated.pop().unwrap();
        assert_eq!((about, said.word), (samples::message_id(0x5e), Word::Withdrawn));
    });
    // What others sent is theirs.
    let received = samples::message_id(0x7a).short();
    let theirs = ["message", "withdraw", &received, "--as", "duty officer", "--yes"];
    run(&server, &theirs).await.shows(2, &["this unit received", "refpoint message ack"]);
    run(&server, &["drill", "withdraw", "beef", "--as", "x", "--yes"]).await.shows(1, &["no drill"]);
}

#[tokio::test]
async fn what_is_said_of_a_drill_is_marked_as_one() {
    let server = Server::start();
    server.fake.change(|state| state.messages[0].row.drill = true);
    let id = samples::message_id(0x7a).short();
    for arguments in
        [["message", "inbox"].as_slice(), &["message", "show", &id], &["message", "receipts", &id]]
    {
        run(&server, arguments).await.shows(0, &["DRILL"]);
    }
    assert_eq!(run(&server, &["--json", "message", "receipts", &id]).await.json()["drill"], true);
    let acknowledged = run(&server, &["message", "ack", &id, "--as", "duty officer"]).await;
    acknowledged.shows(0, &["acknowledged: DRILL, message 7a7a7a7a"]);
    let arguments = ["--precedence", "routine", "--tlp", "green", "--file", "-", "--yes", "--drill"];
    let send = [&["message", "send", "FR,BR"], &arguments[..]].concat();
    let sent =
        run_with(&server, &[&send[..], &["--wait", "delivered", "--timeout", "1s"]].concat(), "x").await;
    sent.shows(5, &["DRILL, message 5e5e5e5e", "drill 5e5e5e5e is not delivered"]);
    assert!(!sent.talk.to_lowercase().contains("call"), "nobody is called about an exercise: {sent:?}");
    // One line, however many it asks.
    server.fake.change(|state| state.messages.last_mut().unwrap().row.drill = true);
    let outbox = run(&server, &["message", "outbox"]).await;
    outbox.shows(0, &["FLASH DRILL", "2 members", "0 delivered", "0 acknowledged"]);
    server.fake.change(|state| state.facts.outbox_waiting_drills = 1);
    run(&server, &["status"]).await.shows(0, &["nothing waiting; 1 drill waiting"]);
}
