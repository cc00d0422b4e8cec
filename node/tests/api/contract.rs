//! Each route, each failure, each bound.

use std::time::Duration;

use refpoint::{
    api::{
        backend::BackendError,
        views::{
            directory::PublishRequest,
            document::ImportRequest,
            drill::DrillRequest,
            message::MessageBox,
            problem::Problem,
            send::{AttachmentUpload, SendRequest, StatementRequest},
            status::{ChainState, Health, StatusView},
        },
    },
    bundle::Entries,
    client::ClientError,
};
use refpoint_protocol::{
    ids::Sequence,
    limits::ATTACHMENT_BYTES_MAX,
    message::{
        body::{Tlp, Word},
        header::Precedence,
    },
    redact::Redacted,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::{
    fake::{Server, sent_id},
    samples,
};

fn request() -> SendRequest {
    SendRequest {
        recipients: vec![samples::member("FR")],
        precedence: Precedence::Flash,
        tlp: Tlp::Amber,
        text: Some(Redacted("text".into())),
        reference: None,
        form: None,
        attachments: Vec::new(),
        expires_in_seconds: None,
        drill: false,
    }
}

fn problem<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Problem {
    match result {
        Err(ClientError::Problem(problem)) => {
            assert!(!problem.detail.is_empty() && !problem.hint.is_empty(), "{problem:?}");
            assert_eq!(problem.kind, format!("urn:refpoint:problem:{}", problem.code));
            *problem
        }
        other => panic!("a problem was expected, not {other:?}"),
    }
}

/// Sends bytes and returns status line, headers and body.
async fn raw(server: &Server, request: &str) -> String {
    let mut stream = UnixStream::connect(&server.socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub(super) async fn get(server: &Server, path: &str) -> String {
    raw(server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

async fn post(server: &Server, path: &str, body: &str) -> String {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    raw(server, &format!("{head}{body}")).await
}

#[tokio::test]
async fn every_route_answers_with_its_view() {
    let server = Server::start();
    let client = server.client();
    let id = samples::message_id(0x7a).short().parse().unwrap();

    assert_eq!(client.status().await.unwrap(), StatusView::judge(samples::facts()));
    assert_eq!(client.peers().await.unwrap(), samples::peers());
    assert_eq!(client.heads().await.unwrap(), samples::heads());
    assert_eq!(client.witness().await.unwrap(), samples::witness());
    assert_eq!(client.witnessed().await.unwrap(), samples::witnessed());
    assert_eq!(client.drills().await.unwrap(), [samples::drill().row]);
    assert_eq!(client.drill(&"d1d1".parse().unwrap()).await.unwrap(), samples::drill());
    assert_eq!(problem(client.drill(&"d2d2".parse().unwrap()).await).code, "unknown-drill");
    let drill = DrillRequest { members: vec![samples::member("FR")], within_seconds: 3_600 };
    let started = samples::drill_started(&drill, Vec::new());
    assert_eq!(client.start_drill(&drill).await.unwrap(), started);
    let twice = DrillRequest { members: vec![samples::member("FR"); 2], within_seconds: 3_600 };
    let short = DrillRequest { within_seconds: 59, ..drill.clone() };
    for wrong in [twice, short, DrillRequest { members: Vec::new(), ..drill.clone() }] {
        assert_eq!(problem(client.start_drill(&wrong).await).code, "not-well-formed");
    }
    assert_eq!(server.fake.change(|state| state.begun.clone()), [drill]);
    assert_eq!(client.directory().await.unwrap().len(), 3);
    let entry = client.directory_entry(&samples::member("KE")).await.unwrap();
    assert_eq!(entry, samples::entry("KE", "Cyber Unit"));
    let history = client.directory_history(&samples::member("KE")).await.unwrap();
    assert_eq!(history, samples::history(&samples::member("KE")));
    let then = samples::at("07:00:00");
    assert_eq!(client.directory_at(then).await.unwrap(), samples::directory_at(then));
    assert_eq!(client.published().await.unwrap().sequence, Some(Sequence(3)));

    let replaces = Some(Sequence(3));
    let publish = PublishRequest { reference_point: samples::unit("New Unit"), replaces };
    assert_eq!(client.publish(&publish).await.unwrap().sequence, Sequence(4));
    assert_eq!(problem(client.publish(&publish).await).code, "published-changed");
    assert!(matches!(client.resume().await.unwrap().now, ChainState::Publishing { .. }));
    let mut bundle = client.bundle(Entries::LeftOut).await.unwrap();
    let mut read = Vec::new();
    while let Some(piece) = bundle.next().await.unwrap() {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, b"two pieces");
    let mut bundle = client.bundle(Entries::Included).await.unwrap();
    assert_eq!(bundle.next().await.unwrap().unwrap(), b"with entries".as_slice());
    let mut proof = client.proof(&id).await.unwrap();
    assert_eq!(proof.next().await.unwrap().unwrap(), format!("a proof of {id}").as_bytes());
    let import = ImportRequest { envelopes: vec![vec![1, 2, 3].into()] };
    assert_eq!(client.import(&import).await.unwrap().documents.len(), 1);

    assert_eq!(client.messages(MessageBox::Inbox, false).await.unwrap().len(), 1);
    assert_eq!(client.messages(MessageBox::Outbox, true).await.unwrap().len(), 0);
    let message = client.message(&id).await.unwrap();
    assert_eq!(message, samples::inbox_message(samples::message_id(0x7a), "hello"));
    assert_eq!(client.receipts(&id).await.unwrap().timeline, message.timeline);
    let data = client.attachment(&id, 1).await.unwrap().data;
    assert_eq!(data.into_vec(), samples::attachment_bytes());
    assert_eq!(client.send(&request()).await.unwrap().id, sent_id());

    let statement = StatementRequest {
        word: Word::Acknowledged,
        role: Redacted("duty officer".into()),
        will: Some(true),
        form: None,
        by: Some("2026-11-25T06:00Z".parse().unwrap()),
    };
    client.state(&id, &statement).await.unwrap();
    assert_eq!(server.fake.change(|state| state.stated.clone()), [(samples::message_id(0x7a), statement)]);
    assert!(client.messages(MessageBox::Inbox, false).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_json_names_fields_as_documented() {
    let server = Server::start();
    let status = get(&server, "/v1/status").await;
    for part in
        ["\"health\":\"ok\"", "\"member\":\"KE\"", "\"now\":\"2026-11-24T12:00:00.000Z\"", "\"findings\":[]"]
    {
        assert!(status.contains(part), "{part} is missing in {status}");
    }
    let show = get(&server, "/v1/messages/7a7a").await;
    for part in
        ["\"machine\":\"delivered\"", "\"said_by\":\"machine\"", "\"tlp\":\"amber\"", "\"folder\":\"inbox\""]
    {
        assert!(show.contains(part), "{part} is missing in {show}");
    }
}

#[tokio::test]
async fn every_failure_of_the_node_has_its_status_and_code() {
    let server = Server::start();
    let why = || "it is so".to_owned();
    let cases = [
        (BackendError::UnknownMember { member: samples::member("KN") }, 404, "unknown-member"),
        (BackendError::UnknownMessage { id: "abcd".into() }, 404, "unknown-message"),
        (
            BackendError::AmbiguousId { id: "ab".into(), candidates: vec![samples::message_id(1)] },
            409,
            "ambiguous-id",
        ),
        (BackendError::UnknownAttachment { id: "ab".into(), number: 2, count: 1 }, 404, "unknown-attachment"),
        (BackendError::PublishedChanged { expected: None, published: None }, 409, "published-changed"),
        (BackendError::Refused { code: "suspended", message: why(), hint: why() }, 422, "suspended"),
        (BackendError::NoRoom { why: why() }, 507, "no-room"),
        (BackendError::Storage { why: why() }, 500, "storage"),
        (BackendError::Unavailable { why: why() }, 503, "unavailable"),
        (BackendError::Undecided, 503, "undecided"),
    ];
    for (failure, status, code) in cases {
        server.fake.change(|state| state.failure = Some(failure));
        let problem = problem(server.client().status().await);
        assert_eq!((problem.status, problem.code.as_str()), (status, code));
    }
    let raw = get(&server, "/v1/status").await;
    assert!(raw.starts_with("HTTP/1.1 503") && raw.contains("application/problem+json"), "{raw}");
}

#[tokio::test]
async fn an_unknown_member_is_answered_with_the_one_that_was_meant() {
    let server = Server::start();
    let unknown = problem(server.client().directory_entry(&samples::member("KN")).await);
    assert_eq!((unknown.status, unknown.code.as_str()), (404, "unknown-member"));
    for (text, hint) in [("kenya", "KE (Kenya)"), ("FRA", "FR (France)"), ("Br%C3%A9sil", "BR (Brazil)")] {
        let answer = get(&server, &format!("/v1/directory/{text}")).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(hint), "{answer}");
    }
}

#[tokio::test]
async fn an_ambiguous_prefix_lists_its_candidates() {
    let server = Server::start();
    let mut near = [0x7a; 32];
    near[31] = 1;
    let other = refpoint_protocol::ids::MessageId::from_bytes(near);
    server.fake.change(|state| state.messages.push(samples::inbox_message(other, "other")));
    let ambiguous = problem(server.client().message(&"7a7a".parse().unwrap()).await);
    assert_eq!(ambiguous.candidates.len(), 2);
    assert!(server.client().message(&other.to_string().parse().unwrap()).await.is_ok());
}

#[tokio::test]
async fn what_is_not_well_formed_changes_nothing() {
    let server = Server::start();
    let file = |name: &str, bytes: usize| AttachmentUpload {
        name: Redacted(name.into()),
        media_type: "text/plain".into(),
        data: vec![0; bytes].into(),
    };
    let many = ('A'..='Z').flat_map(|a| ['A', 'B'].map(|b| samples::member(&format!("{a}{b}")))).collect();
    let bad: Vec<SendRequest> = vec![
        SendRequest { recipients: Vec::new(), ..request() },
        SendRequest { recipients: many, ..request() },
        SendRequest { recipients: vec![samples::member("FR"); 2], ..request() },
        SendRequest { text: None, ..request() },
        SendRequest { text: Some(Redacted(String::new())), ..request() },
        SendRequest { reference: Some(Redacted("two\nlines".into())), ..request() },
        SendRequest { expires_in_seconds: Some(59), ..request() },
        SendRequest { expires_in_seconds: Some(15 * 86_400), ..request() },
        SendRequest { attachments: vec![file("a/b", 1)], ..request() },
        SendRequest { attachments: vec![file("", 1)], ..request() },
        SendRequest { attachments: vec![file("a", ATTACHMENT_BYTES_MAX + 1)], ..request() },
        SendRequest { attachments: vec![file("a", 700_000), file("b", 700_000)], ..request() },
        SendRequest { attachments: vec![file("a", 1); 17], ..request() },
    ];
    for request in bad {
        let problem = problem(server.client().send(&request).await);
        assert_eq!((problem.status, problem.code.as_str()), (422, "not-well-formed"));
    }
    let statement = |word, will, role: &str| StatementRequest {
        word,
        role: Redacted(role.into()),
        will,
        form: Some(Redacted("report".into())),
        by: None,
    };
    let id = "7a7a".parse().unwrap();
    for bad in [
        statement(Word::Acknowledged, Some(true), ""),
        statement(Word::Acknowledged, Some(false), "duty officer"),
        statement(Word::Closed, None, "duty officer"),
        statement(Word::Unacknowledged, None, "duty officer"),
    ] {
        assert_eq!(problem(server.client().state(&id, &bad).await).code, "not-well-formed");
    }
    let mut unit = samples::unit("Unit");
    unit.time_zone = "Mars/Olympus".into();
    let publish = PublishRequest { reference_point: unit, replaces: Some(Sequence(3)) };
    assert_eq!(problem(server.client().publish(&publish).await).code, "not-well-formed");
    let import = ImportRequest { envelopes: Vec::new() };
    assert_eq!(problem(server.client().import(&import).await).code, "envelope-count");
    server.fake.change(|state| assert!(state.sent.is_empty() && state.stated.is_empty()));
}

#[tokio::test]
async fn the_largest_attachment_passes() {
    let server = Server::start();
    let file = AttachmentUpload {
        name: Redacted("image.bin".into()),
        media_type: "application/octet-stream".into(),
        data: vec![0xa5; ATTACHMENT_BYTES_MAX].into(),
    };
    let request = SendRequest { attachments: vec![file], ..request() };
    server.client().send(&request).await.unwrap();
    assert_eq!(server.fake.change(|state| state.sent.pop()), Some(request));
}

#[tokio::test]
async fn garbage_is_answered_with_a_problem_and_changes_nothing() {
    let server = Server::start();
    let good = serde_json::to_string(&request()).unwrap();
    let unknown = good.replacen('{', "{\"typo\":1,", 1);
    let nested = "[".repeat(100_000);
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("\u{0}\u{1}", 400),
        ("null", 400),
        (unknown.as_str(), 400),
        (nested.as_str(), 400),
        (&good.replace("flash", "now"), 400),
        (&good.replace("\"FR\"", "\"france\""), 400),
    ] {
        let answer = post(&server, "/v1/messages", body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("urn:refpoint:problem:bad-json"), "{answer}");
    }
    for (path, status, code) in [
        ("/v1/messages?box=spam", 400, "bad-query"),
        ("/v1/messages", 400, "bad-query"),
        ("/v1/messages?box=inbox&typo=1", 400, "bad-query"),
        ("/v1/messages/7a7", 400, "not-an-id"),
        ("/v1/messages/%FF%FF%FF%FF", 400, "bad-path"),
        ("/v1/messages/7a7a/attachments/x", 400, "bad-path"),
        ("/v1/messages/7a7a/attachments/2", 404, "unknown-attachment"),
        ("/v1/messages/ffff", 404, "unknown-message"),
        ("/v1/events?after=x", 400, "bad-query"),
        ("/v2/status", 404, "unknown-route"),
        ("/", 404, "unknown-route"),
        ("/v1/nothing", 404, "unknown-route"),
        ("/v1/directory/resume", 405, "unknown-method"),
        ("/v1/directory/KN/history", 404, "unknown-member"),
        ("/v1/directory/kenya/history", 400, "not-a-member-code"),
        ("/v1/directory-at/yesterday", 400, "bad-path"),
    ] {
        let answer = get(&server, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{path}: {answer}");
    }
    let answer = post(&server, "/v1/status", "{}").await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("unknown-method"), "{answer}");
    assert_eq!(server.fake.change(|state| state.sent.len()), 0);
}

#[tokio::test]
async fn a_body_beyond_two_mebibytes_is_refused_before_it_is_kept() {
    let server = Server::start();
    let head =
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2097153\r\n\r\n";
    let answer = raw(&server, head).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("too-large"), "{answer}");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered() {
    let server = Server::start_within(Duration::from_millis(50));
    server.fake.change(|state| state.hangs = true);
    let problem = problem(server.client().status().await);
    assert_eq!((problem.status, problem.code.as_str()), (504, "timed-out"));
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_so() {
    let server = Server::start();
    server.fake.change(|state| state.hangs = true);
    let clients: Vec<_> = (0..65)
        .map(|_| {
            let client = server.client();
            tokio::spawn(async move { client.status().await })
        })
        .collect();
    // 64 hang; the one above is answered at once.
    let (first, _, others) = futures::future::select_all(clients).await;
    assert_eq!(problem(first.unwrap()).code, "busy");
    others.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn the_facts_decide_health_findings_and_the_next_command() {
    let server = Server::start();
    let status = || async { server.client().status().await.unwrap() };
    assert_eq!(status().await.next, None);

    server.fake.change(|state| state.facts.root_keys_here = vec!["/var/lib/refpoint/root.key".into()]);
    assert_eq!(status().await.health, Health::Degraded);

    let stopped = |why: &str, to_do: &str| ChainState::Stopped { why: why.into(), to_do: to_do.into() };
    server.fake.change(|state| state.facts.chain = stopped("a twin signs too", "stop the twin"));
    let seen = status().await;
    assert_eq!((seen.health, seen.findings[0].code.as_str()), (Health::Failing, "chain-stopped"));
    assert_eq!(seen.findings[0].to_do, "stop the twin");
    server.fake.change(|state| state.facts.chain = ChainState::Waiting { repairs: 1, needed: 2 });
    let waiting = status().await;
    assert!(waiting.findings.iter().any(|finding| finding.what.contains("1 of 2 members have told it")));
    assert_eq!(waiting.next.unwrap().command, "refpoint directory resume");

    server.fake.change(|state| state.facts.unacknowledged = vec![samples::unacknowledged()]);
    assert_eq!(status().await.next.unwrap().command, "refpoint message show 7a7a7a7a");

    server.fake.change(|state| {
        state.facts = samples::facts();
        state.facts.key_set.review = Some("2026-12-20T12:00Z".parse().unwrap());
    });
    let due = status().await;
    assert_eq!((due.health, due.findings[0].code.as_str()), (Health::Ok, "key-set-review"));
    for (change, code) in [
        (Box::new(|facts: &mut _| overdue(facts)) as Box<dyn Fn(&mut _)>, "key-set-overdue"),
        (
            Box::new(|facts: &mut refpoint::api::views::status::StatusFacts| facts.clock.wrong = true),
            "clock-wrong",
        ),
        (
            Box::new(|facts: &mut refpoint::api::views::status::StatusFacts| facts.peers.connected = 0),
            "no-peers",
        ),
        (
            Box::new(|facts: &mut refpoint::api::views::status::StatusFacts| facts.disk_free_bytes = 1),
            "disk-full",
        ),
        (
            Box::new(|facts: &mut refpoint::api::views::status::StatusFacts| {
                facts.refused_for_memory = Some(samples::at("11:55:00"));
            }),
            "memory-full",
        ),
        (
            Box::new(|facts: &mut refpoint::api::views::status::StatusFacts| facts.unit = None),
            "not-published",
        ),
        (
            Box::new(|facts: &mut refpoint::api::views::status::StatusFacts| {
                facts.alert_failure = Some("x".into())
            }),
            "alert-failed",
        ),
    ] {
        server.fake.change(|state| {
            state.facts = samples::facts();
            change(&mut state.facts);
        });
        let status = status().await;
        assert_ne!(status.health, Health::Ok, "{code}");
        assert!(
            status.findings.iter().any(|finding| finding.code == code && !finding.to_do.is_empty()),
            "{code}"
        );
    }
}

#[tokio::test]
async fn that_nobody_dialled_in_counts_only_where_somebody_stays_away() {
    let server = Server::start();
    let seen = || async {
        let status = server.client().status().await.unwrap();
        let finding = status.findings.into_iter().find(|finding| finding.code == "never-dialled-in");
        finding.map(|finding| (status.health, finding.to_do))
    };
    assert_eq!(seen().await, None);
    server.fake.change(|state| state.facts.peers.ever_dialled_in = false);
    let (health, to_do) = seen().await.unwrap();
    assert!(health == Health::Ok && to_do.contains("TCP port 4001"), "{health:?}: {to_do}");
    // One is away: perhaps it cannot reach this node, unless this node has only just started.
    server.fake.change(|state| state.facts.peers.members_away = 1);
    let (health, to_do) = seen().await.unwrap();
    assert!(health == Health::Degraded && to_do.contains("TCP port 4001"), "{health:?}: {to_do}");
    server.fake.change(|state| state.facts.started = samples::at("11:55:00"));
    assert_eq!(seen().await.unwrap().0, Health::Ok);
}

#[tokio::test]
async fn a_journal_that_nobody_cosigns_for_a_day_is_told_of_once_there_was_time_for_it() {
    let server = Server::start();
    let is_told = || async {
        let status = server.client().status().await.unwrap();
        status.findings.iter().any(|finding| finding.code == "journal-uncosigned")
    };
    let yesterday = |time: &str| format!("2026-11-23T{time}Z").parse().unwrap();
    server.fake.change(|state| state.facts.journal_cosigned = Some(yesterday("12:00:00")));
    assert!(is_told().await);
    server.fake.change(|state| state.facts.journal_cosigned = Some(yesterday("12:00:01")));
    assert!(!is_told().await);
    // Never cosigned, for as long as this run lasts.
    server.fake.change(|state| state.facts.journal_cosigned = None);
    assert!(!is_told().await);
    server.fake.change(|state| state.facts.started = yesterday("11:00:00"));
    assert!(is_told().await);
    // Down for a week, and just started; or alone.
    server.fake.change(|state| state.facts.journal_cosigned = Some(yesterday("00:00:00")));
    server.fake.change(|state| state.facts.started = samples::at("10:00:01"));
    assert!(!is_told().await);
    server.fake.change(|state| state.facts.started = samples::at("09:00:00"));
    assert!(is_told().await);
    server.fake.change(|state| state.facts.peers.members_connected = 0);
    assert!(!is_told().await);
}

fn overdue(facts: &mut refpoint::api::views::status::StatusFacts) {
    facts.key_set.review = Some(samples::at("00:00:00"));
}
