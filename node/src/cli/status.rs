//! `refpoint status`: the node's state on one page, or one line for monitoring.

use super::{
    failure::Failure,
    human,
    node::{Node, converse},
    output::Output,
    safe_text::line,
};
use crate::api::views::status::{ChainState, ClockStatus, Health, StatusFacts, StatusView};

/// Show the node's health and why, its peers, its directory, waiting messages and the one next command.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// Print one line for monitoring; the exit code is 0 if the health is ok, 1 if not, 3 without a node.
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    let status = converse(async { Ok(client.status().await?) });
    if !arguments.check {
        let status = status?;
        return output.result(page(&status), &status);
    }
    match status {
        Err(failure) => {
            output.result("failing: the node did not answer", &serde_json::json!({ "health": "failing" }))?;
            Err(failure)
        }
        Ok(status) => {
            output.result(check_line(&status), &status)?;
            match status.findings.first().filter(|_| status.health != Health::Ok) {
                None => Ok(()),
                Some(worst) => {
                    let what = format!("the node's health is {}", status.health.name());
                    Err(Failure::error(what, line(&worst.what), line(&worst.to_do)))
                }
            }
        }
    }
}

fn check_line(status: &StatusView) -> String {
    let counted: Vec<&str> = status
        .findings
        .iter()
        .filter(|finding| finding.severity != Health::Ok)
        .map(|finding| finding.code.as_str())
        .collect();
    let facts = &status.facts;
    let codes = if counted.is_empty() { "nothing wrong".to_owned() } else { counted.join(", ") };
    let unacknowledged: u64 = facts.unacknowledged.iter().map(|row| row.count).sum();
    format!(
        "{}: {codes}; peers {}/{}, unacknowledged {unacknowledged}, drills {}, waiting {}, disk {}",
        status.health.name(),
        facts.peers.connected,
        facts.peers.known,
        facts.unacknowledged_drills,
        facts.outbox_waiting,
        human::bytes(facts.disk_free_bytes)
    )
}

fn page(status: &StatusView) -> String {
    let facts = &status.facts;
    let mut page = format!(
        "{} ({}){}   {}   up {}   {}\n",
        line(&facts.names.en),
        facts.member,
        facts.unit.as_deref().map(|unit| format!(" / {}", line(unit))).unwrap_or_default(),
        status.health.name().to_uppercase(),
        human::duration(facts.started.age_seconds(facts.now)),
        line(&facts.version)
    );
    for finding in &status.findings {
        let mark = if finding.severity == Health::Ok { "note" } else { finding.severity.name() };
        page.push_str(&format!(
            "  {mark:<9} {}\n            → {}\n",
            line(&finding.what),
            line(&finding.to_do)
        ));
    }
    page.push('\n');
    for (label, text) in rows(facts) {
        page.push_str(&format!("{label:<11} {text}\n"));
    }
    if let Some(next) = &status.next {
        page.push_str(&format!("\nnext        {}\n            ({})\n", line(&next.command), line(&next.why)));
    }
    page
}

fn rows(facts: &StatusFacts) -> Vec<(&'static str, String)> {
    let peers = facts.peers;
    let directory = facts.directory;
    let others = directory.members.saturating_sub(1);
    let dialled =
        if peers.ever_dialled_in { "others reach this node" } else { "nobody has dialled in so far" };
    let mut rows = vec![
        ("federation", line(&facts.federation_fingerprint)),
        ("node key", line(&facts.node_fingerprint)),
        ("key set", key_set(facts)),
        ("charter", charter(facts)),
        ("clock", clock(facts)),
        ("listening", joined(&facts.listening)),
        ("announced", joined(&facts.announced)),
        (
            "peers",
            format!(
                "{} of {} nodes, {} of {others} members; {dialled}",
                peers.connected,
                peers.known,
                others.saturating_sub(peers.members_away)
            ),
        ),
        (
            "directory",
            format!(
                "{} of {} members have an entry, {} stale, {} disputed",
                directory.entries, directory.members, directory.stale, directory.disputed
            ),
        ),
        ("own records", chain(facts)),
        ("inbox", inbox(facts)),
        ("outbox", outbox(facts)),
        ("custody", custody(facts)),
        ("disk", format!("{} free", human::bytes(facts.disk_free_bytes))),
    ];
    let alert = match &facts.alert_failure {
        Some(_) => "failing",
        None if facts.alert_configured => "ok",
        None => "not configured",
    };
    rows.push(("alert", alert.to_owned()));
    rows
}

fn key_set(facts: &StatusFacts) -> String {
    let epoch =
        facts.key_set.epoch.map_or_else(|| "none in force".to_owned(), |epoch| format!("epoch {epoch}"));
    let review = facts.key_set.review.map(|review| {
        let is_overdue = review <= facts.now;
        let word = if is_overdue { "OVERDUE since" } else { "review by" };
        format!(", {word} {:.10}", review.to_string())
    });
    format!("{epoch}{}", review.unwrap_or_default())
}

fn charter(facts: &StatusFacts) -> String {
    let tips: Vec<String> = facts.charter.tips.iter().map(|tip| tip.short()).collect();
    let word = if tips.len() > 1 { "DISPUTED tips" } else { "tip" };
    let settled = facts.charter.settled.map(|version| format!(", settled up to {version}"));
    let beside = match facts.charter.beside_count {
        0 => String::new(),
        count => format!(", {count} BESIDE IT not applied"),
    };
    let (version, tips) = (facts.charter.version, tips.join(", "));
    format!("version {version}, {word} {tips}{}{beside}", settled.unwrap_or_default())
}

fn clock(facts: &StatusFacts) -> String {
    match facts.clock.offset_ms {
        None => {
            let ClockStatus { witnesses, asked, .. } = facts.clock;
            format!("not judged: {witnesses} of {asked} members' clocks are known")
        }
        Some(offset) => {
            let seconds = offset.unsigned_abs() / 1_000;
            let thousandths = offset.unsigned_abs() % 1_000;
            let sign = if offset < 0 { '-' } else { '+' };
            let judged = if facts.clock.wrong { "WRONG" } else { "ok" };
            format!(
                "{judged}, others are {sign}{seconds}.{thousandths:03} s away ({} members)",
                facts.clock.witnesses
            )
        }
    }
}

fn chain(facts: &StatusFacts) -> String {
    match &facts.chain {
        ChainState::Publishing { last: Some(last) } => {
            format!("signed and renewed, last {} ago", human::duration(last.age_seconds(facts.now)))
        }
        ChainState::Publishing { last: None } => "ready, nothing signed yet".to_owned(),
        ChainState::Waiting { repairs, needed } => format!("waiting for {needed} members, {repairs} so far"),
        ChainState::Stopped { why, .. } => format!("STOPPED: {}", line(why)),
    }
}

fn inbox(facts: &StatusFacts) -> String {
    let counted: Vec<String> = facts
        .unacknowledged
        .iter()
        .map(|row| {
            let age = human::duration(row.oldest.age_seconds(facts.now));
            format!("{} {} unacknowledged, oldest {age}", row.count, row.precedence.name().to_uppercase())
        })
        .collect();
    let drills = match facts.unacknowledged_drills {
        0 => None,
        1 => Some("1 drill unacknowledged".to_owned()),
        drills => Some(format!("{drills} drills unacknowledged")),
    };
    let all: Vec<String> = counted.into_iter().chain(drills).collect();
    if all.is_empty() { "nothing unacknowledged".to_owned() } else { all.join("; ") }
}

fn outbox(facts: &StatusFacts) -> String {
    let oldest = facts.outbox_oldest.map(|oldest| human::duration(oldest.age_seconds(facts.now)));
    let requests = match (facts.outbox_waiting, oldest) {
        (0, _) => "nothing waiting".to_owned(),
        (waiting, None) => format!("{waiting} waiting"),
        (waiting, Some(oldest)) => format!("{waiting} waiting, oldest {oldest}"),
    };
    match facts.outbox_waiting_drills {
        0 => requests,
        1 => format!("{requests}; 1 drill waiting"),
        drills => format!("{requests}; {drills} drills waiting"),
    }
}

fn custody(facts: &StatusFacts) -> String {
    let oldest = facts.held_oldest.map(|oldest| human::duration(oldest.age_seconds(facts.now)));
    match (facts.held, oldest) {
        (0, _) | (_, None) => "nothing kept for others".to_owned(),
        (held, Some(oldest)) => {
            format!("{held} kept for others ({}), oldest {oldest}", human::bytes(facts.held_bytes))
        }
    }
}

fn joined(addresses: &[String]) -> String {
    if addresses.is_empty() { "nowhere".to_owned() } else { line(&addresses.join(", ")) }
}
