//! What a node's facts mean: findings, each with what to do, and the one next command. Pure.

use std::{collections::BTreeSet, time::Duration};

use refpoint_protocol::{ids::MemberCode, message::header::Precedence};

use crate::{api::views::instant::Instant, plural::count, review::Stage};

use super::{ChainState, Finding, Health, NextCommand, StatusFacts, Unacknowledged};

/// All that is wrong or should be looked at, worst first.
pub(super) fn findings(facts: &StatusFacts) -> Vec<Finding> {
    let mut found = Found::default();
    membership(facts, &mut found);
    chain_and_clock(facts, &mut found);
    mesh(facts, &mut found);
    machine(facts, &mut found);
    journal(facts, &mut found);
    messages(facts, &mut found);
    // Stable: within one severity the order above, in which the cause of others comes first, stays.
    found.0.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found.0
}

#[derive(Default)]
struct Found(Vec<Finding>);

impl Found {
    /// Something to be done elsewhere than on the command line.
    fn add(&mut self, severity: Health, code: &str, what: impl Into<String>, to_do: impl Into<String>) {
        self.0.push(Finding {
            severity,
            code: code.into(),
            what: what.into(),
            to_do: to_do.into(),
            command: None,
        });
    }

    /// Something that a command does: `to_do` is completed by it.
    fn run(&mut self, severity: Health, code: &str, what: impl Into<String>, to_do: &str, command: &str) {
        self.add(severity, code, what, format!("{to_do}: {command}"));
        if let Some(finding) = self.0.last_mut() {
            finding.command = Some(command.to_owned());
        }
    }
}

fn membership(facts: &StatusFacts, found: &mut Found) {
    let member = &facts.member;
    if !facts.charter.this_member_active {
        let what = format!("the charter does not list {member} as an active member; others refuse this node");
        found.add(
            Health::Failing,
            "member-not-active",
            what,
            "call a steward: only a charter version changes that",
        );
    } else if facts.key_set.epoch.is_none() {
        let what = format!("{member} has no valid key set here, so no other node admits this one");
        found.run(
            Health::Failing,
            "no-key-set",
            what,
            "where the root key is, run",
            "refpoint keys issue --root-key FILE",
        );
    } else if !facts.key_set.lists_this_node {
        let what = format!("{member}'s key set does not list this node's key as active");
        found.run(Health::Failing, "node-not-listed", what, "list it", "refpoint keys issue --root-key FILE");
    }
    if facts.charter.tips.len() > 1 {
        let what = format!(
            "two valid charter versions follow one ({} tips): nobody is admitted until they are merged",
            facts.charter.tips.len()
        );
        found.add(Health::Degraded, "charter-disputed", what, "call the stewards: a steward signed twice");
    }
    settlements(facts, found);
    if let Some(review) = facts.key_set.review {
        let days = |duration: Duration| duration.as_secs() / 86_400;
        let (review, now) = (review.timestamp(), facts.now.timestamp());
        let (to_do, command) = ("sign a new one", "refpoint keys issue --root-key FILE");
        let stage = Stage::of(review, now);
        match stage {
            Stage::Far => {}
            Stage::Overdue => {
                let what =
                    format!("the key set is overdue by {} days; it stays valid", days(now.since(review)));
                found.run(Health::Degraded, "key-set-overdue", what, to_do, command);
            }
            Stage::Within60Days | Stage::Within30Days | Stage::Within7Days => {
                let what = format!("the key set's review is due in {} days", days(review.since(now)));
                let near = stage >= Stage::Within7Days;
                let severity = if near { Health::Degraded } else { Health::Ok };
                found.run(severity, "key-set-review", what, to_do, command);
            }
        }
    }
    if !facts.root_keys_here.is_empty() {
        let files: Vec<String> = facts.root_keys_here.iter().map(|file| file.display().to_string()).collect();
        let what = format!("a root key lies on this machine: {}", files.join(", "));
        found.add(Health::Degraded, "root-key-here", what, "move it to two offline media and delete it here");
    }
}

fn settlements(facts: &StatusFacts, found: &mut Found) {
    let charter = &facts.charter;
    if !charter.contradicting.is_empty() {
        let what = format!(
            "members' heads settle {} charter versions that contradict each other, and none of them counts; {} signed for several",
            charter.contradicting.len(),
            listed(&charter.counted_for_several),
        );
        let to_do = "call the stewards and those members: their nodes' keys may be in other hands, or they saw a merge of the two";
        found.add(Health::Degraded, "settlements-contradict", what, to_do);
    }
    if let Some(first) = charter.beside.first() {
        let others = charter.beside_count.saturating_sub(1);
        let what = format!(
            "charter version {} ({}), signed by {}, stands beside a settled version{}: evidence, not applied",
            first.version,
            first.charter.short(),
            listed(&first.signed_by),
            if others == 0 { String::new() } else { format!(", and {others} more do") },
        );
        let to_do = "call those stewards: they signed twice, or their old root keys are in other hands";
        found.add(Health::Degraded, "charter-beside-settled", what, to_do);
    }
}

fn listed(members: &[MemberCode]) -> String {
    members.iter().map(MemberCode::as_str).collect::<Vec<_>>().join(", ")
}

fn chain_and_clock(facts: &StatusFacts, found: &mut Found) {
    if facts.clock.wrong {
        let seconds = facts.clock.offset_ms.unwrap_or_default() / 1_000;
        let what = format!(
            "this machine's clock differs by {seconds} s from {} members: no record is signed, nothing expires",
            facts.clock.witnesses
        );
        found.add(
            Health::Failing,
            "clock-wrong",
            what,
            "set the clock (chrony, systemd-timesyncd), then restart the node",
        );
    }
    match &facts.chain {
        ChainState::Publishing { .. } => {}
        ChainState::Waiting { repairs, needed } => {
            let what = format!(
                "this node signs no entry of its own yet: {repairs} of {needed} members have told it what it signed before"
            );
            let to_do = "wait for connections; only if nobody can be reached";
            found.run(Health::Degraded, "chain-waiting", what, to_do, RESUME);
        }
        // The clock's own finding says it all.
        ChainState::Stopped { .. } if facts.clock.wrong => {}
        ChainState::Stopped { why, to_do } => {
            let what = format!("this node signs no entry of its own: {why}");
            found.add(Health::Failing, "chain-stopped", what, to_do.clone());
        }
    }
}

fn mesh(facts: &StatusFacts, found: &mut Found) {
    let peers = facts.peers;
    if peers.connected == 0 && facts.directory.members > 1 {
        let what = "no other node is connected: messages wait in the outbox".to_owned();
        found.run(
            Health::Failing,
            "no-peers",
            what,
            "check this machine's network and firewall; each peer's reason",
            "refpoint peers",
        );
    }
    if !peers.ever_dialled_in && !facts.announced.is_empty() && facts.directory.members > 1 {
        let (announced, ports) = (facts.announced.join(", "), ports(&facts.announced));
        let is_up_for_a_while = facts.started.age_seconds(facts.now) >= DIAL_IN_WAIT.as_secs();
        if peers.members_away > 0 && is_up_for_a_while {
            let what = format!(
                "no other node has ever reached this one at {announced}, and {} without a connection may be trying in vain",
                count(peers.members_away, "member")
            );
            let to_do = format!("open {ports} in the firewall for incoming connections");
            found.add(Health::Degraded, "never-dialled-in", what, to_do);
        } else {
            let what = format!("no other node has dialled this one at {announced} so far");
            let to_do = format!(
                "make sure that {ports} is open for incoming connections: a member that cannot be dialled needs it"
            );
            found.add(Health::Ok, "never-dialled-in", what, to_do);
        }
    }
    if facts.unit.is_none() {
        let what =
            format!("{} has published no reference point: others see no unit and no telephone", facts.member);
        found.run(
            Health::Degraded,
            "not-published",
            what,
            "publish it",
            "refpoint directory publish reference-point.toml",
        );
    }
    if facts.directory.disputed > 0 {
        let what =
            format!("{} directory entries are disputed: their chains are forked", facts.directory.disputed);
        found.add(Health::Ok, "entries-disputed", what, "nothing here: those members' next key sets end it");
    }
    if facts.newer_documents > 0 {
        let what = format!("{} documents are newer than this program can read", facts.newer_documents);
        found.add(Health::Ok, "newer-documents", what, "plan an upgrade of refpoint");
    }
    if facts.bugs > 0 {
        let what = format!("this program broke {} rules of its own since it was started", facts.bugs);
        found.add(Health::Degraded, "bug", what, "report it with the node's log; the node goes on");
    }
}

fn machine(facts: &StatusFacts, found: &mut Found) {
    let megabytes = facts.disk_free_bytes / 1_000_000;
    if facts.disk_free_bytes < DISK_FAILING_BYTES {
        let what = format!("{megabytes} MB are free on the data folder's disk: messages are refused soon");
        found.add(Health::Failing, "disk-full", what, "free space on it now");
    } else if facts.disk_free_bytes < DISK_LOW_BYTES {
        let what = format!("{megabytes} MB are free on the data folder's disk");
        found.add(Health::Degraded, "disk-low", what, "free space on it");
    }
    let refused = facts.refused_for_memory.filter(|at| at.age_seconds(facts.now) < MEMORY_TOLD.as_secs());
    if refused.is_some() {
        let what = "this node has too much in memory: it keeps its connections and takes no further one";
        let to_do = "restart it if that lasts: messages are kept; then report it with the node's log";
        found.add(Health::Degraded, "memory-full", what, to_do);
    }
    for note in &facts.storage_notes {
        let to_do = "keep the copied database, and check the disk; what peers hold comes back by itself";
        found.add(Health::Degraded, "storage", note.clone(), to_do);
    }
    if let Some(failure) = &facts.alert_failure {
        let to_do = "run the alert_command of refpoint.toml by hand and repair it; until then keep open";
        found.run(Health::Failing, "alert-failed", format!("nobody is woken: {failure}"), to_do, WATCH);
    } else if !facts.alert_configured {
        let what = "no alert_command is configured: a message wakes nobody".to_owned();
        found.run(Health::Ok, "no-alert", what, "set alert_command in refpoint.toml, or keep open", WATCH);
    }
}

/// Journals are cosigned about once an hour: a day without means that nobody could, or would.
fn journal(facts: &StatusFacts, found: &mut Found) {
    let hours = |since: Instant| since.age_seconds(facts.now) / 3_600;
    let had_time = hours(facts.started) >= COSIGNING_HOURS && facts.peers.members_connected > 0;
    let hours = hours(facts.journal_cosigned.unwrap_or(facts.started));
    if hours >= COSIGNED_HOURS_MAX && had_time {
        let what = format!(
            "no other member has cosigned this node's journal for {hours} hours: nobody could tell if it were rewritten"
        );
        let to_do = "have it cosigned now, and see who refuses and why";
        found.run(Health::Degraded, "journal-uncosigned", what, to_do, "refpoint audit witness");
    }
}

fn messages(facts: &StatusFacts, found: &mut Found) {
    if facts.unacknowledged_drills > 0 {
        let what = format!("{} not acknowledged", count(facts.unacknowledged_drills, "drill"));
        found.run(Health::Ok, "drills", what, "read and acknowledge them", "refpoint message inbox");
    }
    for row in facts.unacknowledged.iter().filter(|row| is_late(row, facts)) {
        let minutes = row.oldest.age_seconds(facts.now) / 60;
        let messages = count(row.count, &format!("{} message", row.precedence));
        let what = format!("{messages} not acknowledged, the oldest for {minutes} min");
        let command = format!("refpoint message show {}", row.oldest_id.short());
        found.run(Health::Degraded, "unacknowledged", what, "read it, then acknowledge it", &command);
    }
}

/// Whether the oldest message has waited longer than its precedence's handling time (ACP 121).
fn is_late(row: &Unacknowledged, facts: &StatusFacts) -> bool {
    let minutes = match row.precedence {
        Precedence::Flash => 10,
        Precedence::Immediate => 30,
        Precedence::Priority => 180,
        Precedence::Routine => 360,
    };
    row.oldest.age_seconds(facts.now) > minutes * 60
}

/// The one next command: a waiting message before all else, then the first finding that names a command.
pub(super) fn next_command(facts: &StatusFacts, findings: &[Finding]) -> Option<NextCommand> {
    if let Some(row) = facts.unacknowledged.iter().max_by_key(|row| row.precedence) {
        let why =
            format!("waiting for a person: {}", count(row.count, &format!("{} message", row.precedence)));
        return Some(NextCommand {
            command: format!("refpoint message show {}", row.oldest_id.short()),
            why,
        });
    }
    findings.iter().find_map(|finding| {
        Some(NextCommand { command: finding.command.clone()?, why: finding.what.clone() })
    })
}

/// The distinct ports of announced addresses, which end in `:port` or hold `/tcp/port`.
fn ports(addresses: &[String]) -> String {
    let port = |address: &String| {
        let text = match address.split_once("/tcp/") {
            Some((_, rest)) => rest.split('/').next(),
            None => address.rsplit(':').next(),
        };
        text.filter(|text| text.parse::<u16>().is_ok()).map(|text| format!("TCP port {text}"))
    };
    let ports: Vec<String> = addresses.iter().filter_map(port).collect::<BTreeSet<_>>().into_iter().collect();
    if ports.is_empty() { "its TCP port".to_owned() } else { ports.join(" and ") }
}

/// Lets this node sign its own chain again.
const RESUME: &str = "refpoint directory resume";

/// Within this time after a start those who can dial this node have done so: their pauses last five minutes at most.
const DIAL_IN_WAIT: Duration = Duration::from_secs(600);

/// How long a refusal for want of memory is told: whoever was refused has dialled again within five minutes.
const MEMORY_TOLD: Duration = Duration::from_secs(600);

/// Hours without a cosignature that somebody is to hear of: rounds are hourly, and a failed one is made again soon.
const COSIGNED_HOURS_MAX: u64 = 24;

/// Hours after a start within which a node that was down for long has been cosigned again.
const COSIGNING_HOURS: u64 = 2;

/// Prints each arrival and rings the bell.
const WATCH: &str = "refpoint message watch";

/// Free space below which a week of the largest messages may not fit.
const DISK_LOW_BYTES: u64 = 2_000_000_000;

/// Free space below which the database may fail to write within hours.
const DISK_FAILING_BYTES: u64 = 200_000_000;
