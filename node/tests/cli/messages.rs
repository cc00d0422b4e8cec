//! Commands that send, read, acknowledge and watch.

use std::{fs, process::Stdio};

use refpoint::api::views::{event::Event, message::PersonWord};
use refpoint_protocol::{
    message::{
        body::{Tlp, Word},
        header::Precedence,
    },
    redact::Redacted,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use super::program::{Run, command, run, run_with};
use crate::api::{
    fake::{DEADLINE, Server, sent_id},
    samples,
};

const SEND: [&str; 8] = ["message", "send", "FR", "--precedence", "flash", "--tlp", "amber", "--yes"];

async fn send(server: &Server, more: &[&str]) -> Run {
    let arguments: Vec<&str> = SEND.iter().chain(&["--file", "-"]).chain(more).copied().collect();
    run_with(server, &arguments, "please preserve\n").await
}

fn delivered(code: &str) -> Event {
    let (message, member) = (sent_id(), samples::member(code));
    Event::MessageDelivered { message, member, node: samples::node_key(0xf1), late: false, drill: false }
}

fn acknowledged(code: &str) -> Event {
    let (message, member) = (sent_id(), samples::member(code));
    Event::StatementMade { message, member, word: Word::Acknowledged, drill: false }
}

#[tokio::test]
async fn sending_shows_whom_it_reaches_and_that_it_is_queued_then_delivered() {
    let server = Server::start();
    server.fake.change(|state| state.on_send = vec![delivered("FR")]);
    let run = send(&server, &[]).await;
    let seen =
        ["France", "Francia", "15:00 (Tue)", "duty officer, speaks en", "queued", "FR is connected since"];
    run.shows(0, &seen);
    run.shows(0, &["5e5e5e5e", "machine  FR delivered", "expires 2026-11-27T12:00:00Z"]);
    assert!(!run.talk.contains("acknowledged") && !run.out.contains("acknowledged"), "{run:?}");
    let sent = server.fake.change(|state| state.sent.pop()).unwrap();
    assert_eq!(sent.text, Some(Redacted("please preserve\n".into())));
    assert_eq!(
        (sent.precedence, sent.tlp, sent.expires_in_seconds),
        (Precedence::Flash, Tlp::Amber, Some(259_200))
    );
}

#[tokio::test]
async fn without_a_terminal_nothing_is_sent_unless_a_person_agreed_before() {
    let server = Server::start();
    let arguments: Vec<&str> = SEND[..7].iter().chain(&["--file", "-"]).copied().collect();
    run_with(&server, &arguments, "text").await.shows(2, &["nothing was done", "--yes"]);
    server.fake.change(|state| assert!(state.sent.is_empty()));
}

#[tokio::test]
async fn text_and_reference_are_never_arguments() {
    let server = Server::start();
    let with_text: Vec<&str> = SEND.iter().chain(&["--text", "secret"]).copied().collect();
    assert_eq!(run(&server, &with_text).await.code, 2);
    let without: Vec<&str> = SEND.to_vec();
    run(&server, &without).await.shows(2, &["--file"]);

    fs::write(server.folder.path().join("reference"), "CASE 7/26\n").unwrap();
    fs::write(server.folder.path().join("dump.csv"), "a,b\n").unwrap();
    server.fake.change(|state| state.on_send = vec![delivered("FR")]);
    send(&server, &["--reference-file", "reference", "--attach", "dump.csv", "--drill"])
        .await
        .shows(0, &["DRILL"]);
    let sent = server.fake.change(|state| state.sent.pop()).unwrap();
    assert_eq!(sent.reference, Some(Redacted("CASE 7/26".into())));
    assert_eq!(
        (sent.attachments[0].name.reveal().as_str(), sent.attachments[0].media_type.as_str()),
        ("dump.csv", "text/csv")
    );
    assert!(sent.drill);
}

#[tokio::test]
async fn undelivered_in_time_ends_with_5_and_unacknowledged_with_6() {
    let server = Server::start();
    let waiting = ["--wait", "delivered", "--timeout", "1s"];
    send(&server, &waiting).await.shows(5, &["not delivered", "refpoint message receipts 5e5e5e5e"]);

    server.fake.change(|state| state.on_send = vec![delivered("FR")]);
    send(&server, &waiting).await.shows(0, &["machine  FR delivered"]);

    let waiting = ["--wait", "acknowledged", "--timeout", "1s"];
    server.fake.change(|state| state.on_send = vec![delivered("FR")]);
    send(&server, &waiting).await.shows(6, &["not acknowledged", "no person at FR"]);

    server.fake.change(|state| state.on_send = vec![delivered("FR"), acknowledged("FR")]);
    send(&server, &waiting).await.shows(0, &["person   FR acknowledged"]);

    server.fake.change(|state| state.on_send = Vec::new());
    send(&server, &waiting).await.shows(5, &["not delivered"]);
}

#[tokio::test]
async fn all_recipients_count_and_a_final_refusal_ends_the_wait() {
    let server = Server::start();
    let stopped = Event::MessageStopped {
        message: sent_id(),
        member: Some(samples::member("BR")),
        reason: "suspended by charter version 2".into(),
        drill: false,
    };
    server.fake.change(|state| state.on_send = vec![delivered("FR"), stopped]);
    let arguments =
        ["message", "send", "FR,BR", "--precedence", "immediate", "--tlp", "red", "--yes", "--file", "-"];
    let arguments: Vec<&str> =
        arguments.iter().chain(&["--wait", "delivered", "--timeout", "19s"]).copied().collect();
    run_with(&server, &arguments, "x").await.shows(5, &["suspended by charter version 2", "FR delivered"]);

    // One that stops altogether fails for whoever has not got it, and for nobody else.
    let taken_back = Event::MessageStopped {
        message: sent_id(),
        member: None,
        reason: "taken back by the sender".into(),
        drill: false,
    };
    server.fake.change(|state| state.on_send = vec![delivered("FR"), taken_back]);
    run_with(&server, &arguments, "x").await.shows(5, &["BR: taken back by the sender", "FR delivered"]);

    let expired = Event::MessageExpired {
        message: sent_id(),
        members: ["FR", "BR"].map(samples::member).to_vec(),
        drill: false,
    };
    server.fake.change(|state| state.on_send = vec![expired]);
    run_with(&server, &arguments, "x").await.shows(5, &["FR: it expired", "BR: it expired"]);
}

#[tokio::test]
async fn after_ten_seconds_the_published_telephone_is_shown() {
    let server = Server::start();
    send(&server, &[]).await.shows(0, &["not delivered within 10 s", "+254 20 000 0000", "queued"]);
}

#[tokio::test]
async fn the_telephone_is_shown_whenever_waiting_ends_without_delivery() {
    let server = Server::start();
    let wait = ["--wait", "delivered", "--timeout", "1s"];
    send(&server, &wait).await.shows(5, &["not delivered within 1 s; it stays queued", "+254 20 000 0000"]);
    let json = send(&server, &[&wait[..], &["--json"]].concat()).await;
    assert_eq!(json.json()["call"][0]["telephones"][0]["value"], "+254 20 000 0000", "{json:?}");
    assert_eq!((json.code, &json.json()["call"][0]["member"]), (5, &"FR".into()));
    server.fake.change(|state| state.on_send = vec![delivered("FR")]);
    let json = send(&server, &[&wait[..], &["--json"]].concat()).await.json();
    assert_eq!(json["call"], serde_json::json!([]));
}

#[tokio::test]
async fn who_waited_for_a_person_is_told_the_role_and_the_promise() {
    let server = Server::start();
    let person = PersonWord {
        form: Some(Redacted("preservation report".into())),
        by: Some(samples::at("20:00:00")),
        ..samples::acknowledgement("duty officer")
    };
    server.fake.change(|state| {
        state.on_send = vec![delivered("FR"), acknowledged("FR")];
        state.on_send_said = Some(person);
    });
    let wait = ["--wait", "acknowledged", "--timeout", "5s"];
    let told = "person   FR acknowledged by duty officer, 2026-11-24T12:00:00Z; will be answered, as \
                preservation report, by 2026-11-24T20:00:00Z";
    send(&server, &wait).await.shows(0, &[told]);
}

#[tokio::test]
async fn a_text_of_blanks_is_not_sent_and_a_byte_order_mark_is_no_text() {
    let server = Server::start();
    let arguments: Vec<&str> = SEND.iter().chain(&["--file", "-"]).copied().collect();
    for blank in ["", " \n\t\r\n", "\u{feff}\n", "\u{a0}\u{2003}"] {
        run_with(&server, &arguments, blank).await.shows(2, &["nothing was sent", "no text but blanks"]);
    }
    server.fake.change(|state| state.on_send = vec![delivered("FR")]);
    run_with(&server, &arguments, "\u{feff}preserve\r\n").await.shows(0, &["queued"]);
    let sent = server.fake.change(|state| state.sent.pop()).unwrap();
    assert_eq!(sent.text, Some(Redacted("preserve\r\n".into())));
}

#[tokio::test]
async fn what_was_acknowledged_is_not_said_again_unless_it_says_more() {
    let server = Server::start();
    let ack =
        |more: &[&'static str]| [&["message", "ack", "7a7a", "--as", "duty officer"][..], more].concat();
    run(&server, &ack(&["--will", "yes"])).await.shows(0, &["acknowledged: message 7a7a7a7a"]);
    let again = run(&server, &ack(&[])).await;
    again.shows(0, &["acknowledged by duty officer, 2026-11-24T12:00:00Z", "already", "nothing was sent"]);
    assert_eq!(run(&server, &ack(&["--json"])).await.json()["unchanged"], true);
    server.fake.change(|state| assert_eq!(state.stated.len(), 1));
    run(&server, &ack(&["--form", "report"])).await.shows(0, &["FR is told"]);
    let other = ["message", "ack", "7a7a", "--as", "head of unit"];
    run(&server, &other).await.shows(0, &["FR is told"]);
    server.fake.change(|state| assert_eq!(state.stated.len(), 3));
    for nobody in ["", "  "] {
        let missing = run(&server, &["message", "ack", "7a7a", "--as", nobody]).await;
        missing.shows(2, &["the role", "is missing", "--as \"duty officer\"", "never a name"]);
    }
}

#[tokio::test]
async fn members_are_shown_by_code_and_name() {
    let server = Server::start();
    run(&server, &["message", "inbox"]).await.shows(0, &["FR (France)"]);
    run(&server, &["message", "show", "7a7a"]).await.shows(0, &["from        FR (France)", "KE (Kenya)"]);
}

#[tokio::test]
async fn a_program_gets_one_json_and_is_not_kept_waiting() {
    let server = Server::start();
    let json = send(&server, &["--json"]).await.json();
    assert_eq!(json["sent"]["id"], sent_id().to_string());
    assert_eq!(json["outcome"]["recipients"]["FR"]["delivered"], false);
}

#[tokio::test]
async fn unknown_and_repeated_recipients_are_refused_before_anything_is_sent() {
    let server = Server::start();
    for (recipients, code, text) in [
        ("Kenya", 2, "did you mean KE (Kenya)?"),
        ("ZZ", 1, "not a member of this federation"),
        ("FR,FR", 2, "named twice"),
    ] {
        let arguments =
            ["message", "send", recipients, "--precedence", "flash", "--tlp", "red", "--yes", "--file", "-"];
        run_with(&server, &arguments, "x").await.shows(code, &[text]);
    }
    server.fake.change(|state| assert!(state.sent.is_empty()));
}

#[tokio::test]
async fn the_inbox_is_listed_and_a_person_acknowledges() {
    let server = Server::start();
    run(&server, &["message", "inbox"]).await.shows(0, &["7a7a7a7a", "FLASH", "AMBER", "FR", "nobody yet"]);
    let ack = [
        "message",
        "ack",
        "7a7a",
        "--as",
        "duty officer",
        "--will",
        "yes",
        "--by",
        "+8h",
        "--form",
        "report",
    ];
    run(&server, &ack).await.shows(0, &["acknowledged: message 7a7a7a7a", "FR is told"]);
    let (_, stated) = server.fake.change(|state| state.stated.pop()).unwrap();
    assert_eq!((stated.word, stated.will, stated.by.is_some()), (Word::Acknowledged, Some(true), true));
    run(&server, &["message", "inbox"]).await.shows(0, &["nothing is unacknowledged"]);
    run(&server, &["message", "inbox", "--all"])
        .await
        .shows(0, &["acknowledged by duty officer", "; will be answered"]);

    let bad = ["message", "ack", "7a7a", "--as", "duty officer", "--will", "no", "--by", "+8h"];
    run(&server, &bad).await.shows(2, &["will not come"]);
    run(&server, &["message", "ack", "ffff", "--as", "x"])
        .await
        .shows(1, &["begins with ffff", "refpoint message inbox"]);
    run(&server, &["message", "ack", "7a", "--as", "x"]).await.shows(2, &["4 to 64"]);
}

#[tokio::test]
async fn machine_and_person_stand_on_lines_of_their_own() {
    let server = Server::start();
    let receipts = run(&server, &["message", "receipts", "7a7a"]).await;
    receipts.shows(0, &["machine: delivered", "person:  nobody yet", "machine  KE node e1e1e1e1"]);
    let merged = |line: &str| line.contains("delivered") && line.contains("acknowledged");
    assert!(!receipts.out.lines().any(merged), "{receipts:?}");
}

#[tokio::test]
async fn hostile_text_cannot_move_the_cursor_or_forge_the_screen() {
    let server = Server::start();
    let hostile = "hello\u{1b}[2J\u{1b}[1;1H\r\nfrom        SG\nperson:  acknowledged\u{9b}31m \u{202e}live\u{2069} مرحبا";
    server.fake.change(|state| {
        state.messages = vec![samples::inbox_message(samples::message_id(0x7a), hostile)];
        let unit = "Unit\u{1b}]0;owned\u{7}\nKE  forged";
        state.entries = vec![samples::entry("FR", unit)];
        state.facts.unit = Some(unit.into());
    });
    for arguments in
        [&["message", "show", "7a7a"][..], &["directory", "show", "FR"], &["directory", "list"], &["status"]]
    {
        let run = run(&server, arguments).await;
        assert_eq!(run.code, 0, "{run:?}");
        let is_hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!run.out.chars().any(is_hostile), "{run:?}");
        let forges = |line: &str| {
            line.starts_with("from        SG")
                || line.starts_with("person:")
                || line.starts_with("KE  forged")
        };
        assert!(!run.out.lines().any(forges), "{run:?}");
    }
    let show = run(&server, &["message", "show", "7a7a"]).await;
    show.shows(0, &["  | from        SG", "from        FR", "\u{2068}"]);
    for line in show.out.lines() {
        let opened = line.matches('\u{2068}').count();
        assert_eq!(opened, line.matches('\u{2069}').count(), "{line:?}");
    }
}

#[tokio::test]
async fn attachments_are_saved_under_safe_names_and_never_over_a_file() {
    let server = Server::start();
    let save = ["message", "show", "7a7a", "--save-attachments", "out"];
    run(&server, &save).await.shows(0, &["saved attachment 1"]);
    run(&server, &save).await.shows(0, &["evil log-1.txt"]);
    let out = server.folder.path().join("out");
    assert_eq!(fs::read(out.join("evil log.txt")).unwrap(), samples::attachment_bytes());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 2);
    assert!(!server.folder.path().join("evil log.txt").exists());
}

#[tokio::test]
async fn a_watch_prints_what_waits_and_each_arrival_over_a_restart() {
    let mut server = Server::start();
    let mut child = command(&server, &["message", "watch", "--json"]).stdin(Stdio::null()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let arrival = |byte| Event::MessageReceived {
        message: samples::message_id(byte),
        sender: samples::member("FR"),
        precedence: Precedence::Immediate,
        tlp: Tlp::Green,
        drill: false,
    };
    let mut next = async |wanted: &str| loop {
        let line =
            timeout(DEADLINE, talk.next_line()).await.expect("a line in time").unwrap().expect("it goes on");
        if line.contains(wanted) {
            return;
        }
    };
    next("unacknowledged: ").await;
    next("watching").await;
    server.fake.emit(arrival(0x11));
    let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.contains("\"number\":1") && line.contains(&"11".repeat(32)), "{line}");

    server.stop().await;
    next("NOT WATCHING").await;
    server.fake.emit(arrival(0x22));
    server.restart();
    let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.contains("\"number\":2") && line.contains(&"22".repeat(32)), "{line}");
    child.kill().await.unwrap();
}
