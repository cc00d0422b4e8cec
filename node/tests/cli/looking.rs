//! Commands that look: status, peers, directory.

use std::fs;

use refpoint::api::views::status::ChainState;

use super::program::run;
use crate::api::{fake::Server, samples};

#[tokio::test]
async fn without_a_node_every_command_says_how_to_start_it_and_ends_with_3() {
    let mut server = Server::start();
    server.stop().await;
    for arguments in [&["status"][..], &["status", "--check"], &["peers"], &["message", "inbox"]] {
        run(&server, arguments).await.shows(3, &["refpoint run", "node.sock"]);
    }
    let json = run(&server, &["--json", "peers"]).await;
    assert!(json.talk.contains("\"exit\":\"not-running\""), "{json:?}");
}

#[tokio::test]
async fn status_shows_health_why_and_the_next_command() {
    let server = Server::start();
    run(&server, &["status"])
        .await
        .shows(0, &["Kenya (KE) / Cyber Unit", "OK", "up 3 h 0 min", "epoch 0", "2 of 2 nodes"]);
    run(&server, &["status", "--check"]).await.shows(0, &["ok: nothing wrong; peers 2/2"]);

    server.fake.change(|state| {
        state.facts.peers.connected = 0;
        state.facts.unacknowledged = vec![samples::unacknowledged()];
    });
    let page = run(&server, &["status"]).await;
    page.shows(
        0,
        &[
            "FAILING",
            "no other node is connected",
            "FLASH unacknowledged, oldest 2 min 0 s",
            "refpoint message show 7a7a7a7a",
        ],
    );
    let check = run(&server, &["status", "--check"]).await;
    check.shows(1, &["failing: no-peers"]);
    assert_eq!(check.out.lines().count(), 1, "{check:?}");
    assert_eq!(run(&server, &["status", "--json"]).await.json()["health"], "failing");
}

#[tokio::test]
async fn drills_that_wait_are_counted_apart() {
    let server = Server::start();
    server.fake.change(|state| state.facts.unacknowledged_drills = 2);
    run(&server, &["status"]).await.shows(0, &["2 drills not acknowledged", "2 drills unacknowledged"]);
    run(&server, &["status", "--check"]).await.shows(0, &["ok: nothing wrong", "drills 2,"]);
}

#[tokio::test]
async fn peers_show_direction_latency_and_a_reason_when_down() {
    let server = Server::start();
    let texts =
        ["up, dialled in", "12.3 ms", "X25519MLKEM768", "down", "no answer at 192.0.2.2:4001", "never"];
    let shown = run(&server, &["peers"]).await;
    shown.shows(0, &texts);
    assert!(shown.out.find("FR (France)") < shown.out.find("BR (Brazil)"), "connected first: {shown:?}");
    let down = run(&server, &["peers", "--down", "--json"]).await.json();
    assert_eq!(down.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_directory_is_listed_filtered_and_shown() {
    let server = Server::start();
    run(&server, &["directory", "list"])
        .await
        .shows(0, &["Kenya", "France", "15:00 (Tue)", "duty officer", "STALE", "(SAMPLE)"]);
    let africa = run(&server, &["directory", "list", "--group", "africa", "--json"]).await.json();
    assert_eq!(africa[0]["member"], "KE");
    let stale = run(&server, &["directory", "list", "--stale", "--json"]).await.json();
    assert_eq!((stale.as_array().unwrap().len(), &stale[0]["member"]), (1, &"BR".into()));

    let texts =
        ["Kenya · Kenya · Kenia", "+254 20 000 0000", "24/7", "preservation of data", "SAMPLE", "ROOT-AAAA"];
    run(&server, &["directory", "show", "KE"]).await.shows(0, &texts);
    run(&server, &["directory", "show", "Kenia"]).await.shows(2, &["did you mean KE (Kenya)?"]);
    run(&server, &["directory", "show", "ZZ"])
        .await
        .shows(1, &["ZZ is not a member", "refpoint directory list"]);
}

#[tokio::test]
async fn what_entries_were_is_listed_compared_and_shown_at_a_time() {
    let server = Server::start();
    let texts =
        ["0 to 11", "older than what a node keeps", "Old Unit", "New Unit", "KE@NUMBER", "5 to 6 exist"];
    run(&server, &["directory", "history", "KE"]).await.shows(0, &texts);
    run(&server, &["directory", "history", "ZZ"]).await.shows(1, &["ZZ is not a member"]);

    let diff = async |before: &str, after: &str| run(&server, &["directory", "diff", before, after]).await;
    diff("KE@12", "KE@15").await.shows(0, &["- en: Old Unit", "+ en: New Unit", "languages"]);
    diff("KE@13", "KE@14").await.shows(0, &["the contents are the same"]);
    diff("KE@a4a4a4a4", "KE@12").await.shows(0, &["- en: First Unit", "+ en: Old Unit"]);
    diff("KE@3", "KE@12")
        .await
        .shows(1, &["KE@3 cannot be compared", "older than what a node keeps", "backup"]);
    diff("KE@16", "KE@12").await.shows(1, &["no such entry", "refpoint directory history KE"]);
    diff("KE", "KE@12").await.shows(2, &["such as FR@12"]);
    let json = run(&server, &["directory", "diff", "KE@12", "FR@15", "--json"]).await.json();
    assert_eq!((&json["before"]["member"], &json["after"]["member"]), (&"KE".into(), &"FR".into()));
    assert_eq!(json["differences"][0]["field"], "unit");

    let texts = [
        "the directory at 2026-11-01",
        "nothing issued by then is here",
        "content is older than what a node keeps",
        "Cyber Unit (SAMPLE)",
        "any time since 2026-11-24T06:00",
        "members of now",
    ];
    run(&server, &["directory", "at", "2026-11-01"]).await.shows(0, &texts);
    let json = run(&server, &["directory", "at", "2026-11-01T00:00Z", "--json"]).await.json();
    assert_eq!(json["at"], "2026-11-01T00:00:00.000Z");
    run(&server, &["directory", "at", "yesterday"]).await.shows(2, &["2026-11-25T06:00Z"]);
}

#[tokio::test]
async fn publishing_shows_the_difference_asks_and_publishes_once() {
    let server = Server::start();
    let mut unit = samples::unit("Renamed Unit");
    unit.sample = false;
    let text = refpoint::reference_point_file::text_of(&unit.into_body([0; 16]));
    fs::write(server.folder.path().join("point.toml"), text).unwrap();

    let asked = run(&server, &["directory", "publish", "point.toml"]).await;
    asked.shows(2, &["- en: Cyber Unit", "+ en: Renamed Unit", "--yes"]);
    assert_eq!(server.fake.change(|state| state.published.sequence.unwrap().0), 3);

    run(&server, &["directory", "publish", "point.toml", "--yes"]).await.shows(0, &["published as number 4"]);
    run(&server, &["directory", "publish", "point.toml", "--yes"]).await.shows(0, &["nothing to do"]);
    run(&server, &["directory", "publish", "absent.toml", "--yes"])
        .await
        .shows(1, &["absent.toml", "what to do"]);
}

#[tokio::test]
async fn resuming_explains_and_asks() {
    let server = Server::start();
    run(&server, &["directory", "resume"]).await.shows(0, &["nothing to do"]);
    let stopped =
        || ChainState::Stopped { why: "another machine signs with this key".into(), to_do: "stop it".into() };
    server.fake.change(|state| state.facts.chain = stopped());
    run(&server, &["directory", "resume"]).await.shows(2, &["another machine", "DISPUTED", "--yes"]);
    server.fake.change(|state| assert_eq!(state.facts.chain, stopped()));
    run(&server, &["directory", "resume", "--yes"]).await.shows(0, &["signs its own entry"]);
}
