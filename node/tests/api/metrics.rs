//! `/metrics`: the page is well formed, holds nothing but figures, and the dashboard and the alerts rest on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use refpoint::api;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{
    contract::get,
    fake::{Fake, Server},
    samples,
};

/// One figure's name without its ending, and its type.
type Families = BTreeMap<String, String>;

/// Reads a page by the rules of OpenMetrics 1.0: every sample belongs to the family declared before it, labels are
/// quoted, values are numbers, nothing stands twice, and the last line is the end.
fn read(page: &str) -> Families {
    let mut families = Families::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            assert_eq!(lines.next(), None, "something follows the end");
            return families;
        }
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, about) = (words.next(), words.next().unwrap(), words.next().unwrap());
            assert!(name.starts_with("refpoint_"), "{line}");
            match what {
                Some("HELP") => assert!(about.ends_with('.'), "{line}"),
                Some("TYPE") => {
                    assert!(families.insert(name.to_owned(), about.to_owned()).is_none(), "twice: {line}");
                    name.clone_into(&mut current);
                }
                other => panic!("{other:?} in {line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(seen.insert(series.to_owned()), "twice: {line}");
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| (name, labels));
        let ending = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} under {current}"));
        let allowed: &[&str] = match families[&current].as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("a figure of type {other}"),
        };
        assert!(allowed.contains(&ending), "{line}");
        if !labels.is_empty() {
            for label in labels.strip_suffix('}').unwrap().split("\",") {
                let (key, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
                assert!(!value.trim_end_matches('"').contains(['"', '\\']), "{line}");
            }
        }
    }
    panic!("the end is missing");
}

async fn page() -> String {
    let server = Server::start();
    let answer = get(&server, "/metrics").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    body.to_owned()
}

#[tokio::test]
async fn the_page_is_well_formed_and_says_what_the_node_says() {
    let page = page().await;
    let families = read(&page);
    assert!(families.len() > 30, "{families:?}");
    for line in [
        "refpoint_health 0",
        "refpoint_peers_connected 2",
        "refpoint_member_connected{member=\"FR\"} 1",
        "refpoint_directory_entry_age_seconds{member=\"KE\"} 3600",
        "refpoint_messages_sent{precedence=\"flash\",drill=\"false\",state=\"delivered\"} 2",
        "refpoint_messages_sent{precedence=\"flash\",drill=\"true\",state=\"queued\"} 1",
        "refpoint_messages_received{precedence=\"routine\",drill=\"false\",state=\"unacknowledged\"} 4",
        "refpoint_queue_depth{queue=\"machine-urgent\"} 3",
        "refpoint_relay_latency_seconds_bucket{le=\"0.25\",precedence=\"flash\",drill=\"false\"} 1",
        "refpoint_events_total{event=\"fork-seen\"} 0",
        "refpoint_store_sync_seconds_count 1",
        "refpoint_clock_offset_seconds 0.02",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is missing in\n{page}");
    }
    // Figures alone: no id, no address, no text of anybody.
    for (what, text) in [
        ("a node's key", samples::node_key(0xf1).to_string()),
        ("a message's id", samples::message_id(0x7a).short()),
        ("an address", "example".to_owned()),
        ("a unit", "Cyber Unit".to_owned()),
    ] {
        assert!(!page.contains(&text), "{what} in\n{page}");
    }
}

#[tokio::test]
async fn the_port_answers_figures_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(api::metrics::serve(listener, Fake::new(), stop.clone()));
    let ask = async |line: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = ask("GET /metrics").await;
    read(answer.split_once("\r\n\r\n").unwrap().1);
    for path in ["/v1/status", "/v1/messages", "/", "/metrics/x"] {
        assert!(ask(&format!("GET {path}")).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    assert!(ask("POST /metrics").await.starts_with("HTTP/1.1 405"));
    stop.cancel();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_node_that_cannot_answer_says_so_to_prometheus_too() {
    let server = Server::start();
    let why = "it is stopping".to_owned();
    let failure = refpoint::api::backend::BackendError::Unavailable { why };
    server.fake.change(|state| state.failure = Some(failure));
    assert!(get(&server, "/metrics").await.starts_with("HTTP/1.1 503"));
}

/// The names of figures in a text, with the endings of series taken off.
fn named(text: &str, families: &Families) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("refpoint_") {
        let rest = &text[at..];
        let end = rest.find(|it: char| !(it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_'));
        let name = &rest[..end.unwrap_or(rest.len())];
        let endings = ["", "_total", "_bucket", "_sum", "_count"];
        let family = endings.iter().find_map(|ending| {
            let family = name.strip_suffix(ending)?;
            let kind = families.get(family)?.as_str();
            let fits = match *ending {
                "" => kind == "gauge",
                "_total" => kind == "counter",
                _ => kind == "histogram",
            };
            fits.then(|| family.to_owned())
        });
        names.insert(family.unwrap_or_else(|| panic!("there is no figure {name}")));
    }
    names
}

fn repository(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(file)).unwrap()
}

#[tokio::test]
async fn dashboard_and_alerts_name_figures_that_exist_and_leave_none_out() {
    let families = read(&page().await);
    let dashboard = repository("config/grafana-dashboard.json");
    let value: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = value["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            assert!(!named(target["expr"].as_str().unwrap(), &families).is_empty());
        }
    }
    let mut shown = named(&dashboard, &families);
    shown.extend(named(&repository("config/alerts.yml"), &families));
    // The version is a label of what is shown elsewhere.
    let hidden: Vec<_> = families.keys().filter(|name| !shown.contains(*name)).collect();
    assert_eq!(hidden, ["refpoint_build_info"], "figures that nobody looks at");
}

#[tokio::test]
async fn the_events_that_alerts_wait_for_are_counted_from_the_start() {
    let page = page().await;
    let rules = repository("config/alerts.yml");
    let selectors = rules.split("refpoint_events_total{event=").skip(1);
    let mut waited_for = 0;
    for selector in selectors {
        let kinds = selector.trim_start_matches('~').split('"').nth(1).unwrap();
        for kind in kinds.split('|') {
            assert!(page.contains(&format!("refpoint_events_total{{event=\"{kind}\"}} ")), "{kind}");
            waited_for += 1;
        }
    }
    assert!(waited_for >= 3, "{waited_for}");
}

#[test]
fn every_alert_has_its_paragraph_and_every_paragraph_its_alert() {
    let rules = repository("config/alerts.yml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let unique: BTreeSet<&str> = alerts.iter().copied().collect();
    assert!(unique.len() == alerts.len() && alerts.len() > 15, "{alerts:?}");
    for (alert, rule) in alerts.iter().zip(rules.split("- alert: ").skip(1)) {
        for part in ["expr:", "severity:", "summary:"] {
            assert!(rule.contains(part), "{alert} has no {part}");
        }
    }
    let text = repository("node/OPERATIONS.md");
    let mut written = BTreeSet::new();
    for paragraph in text.split("\n\n").filter(|paragraph| paragraph.trim_start().starts_with("**Refpoint")) {
        let (name, meaning) = paragraph.trim_start().trim_start_matches("**").split_once(".** ").unwrap();
        assert!(meaning.len() > 80, "{name}: say what it means and what to do");
        assert!(written.insert(name), "{name} has two paragraphs");
    }
    assert_eq!(written, unique);
}
