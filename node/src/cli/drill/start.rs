//! `refpoint drill start`: shows whom a drill reaches and what time it is there, asks, and starts it.

use std::time::Duration;

use refpoint_protocol::membership::charter::{MemberStatus, WorkingGroup};

use crate::{
    api::views::{
        directory::{DirectoryRow, local_hour},
        drill::{DRILL_PRECEDENCE, DrillRequest, DrillStarted, WITHIN_DEFAULT},
        instant::Instant,
    },
    cli::{
        directory::group,
        drill::group_name,
        failure::Failure,
        human,
        node::{Node, converse, member},
        output::{Consent, Output, table},
    },
    client::Client,
};

/// Start a drill: a marked test message, which an officer acknowledges like any other.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    #[command(flatten)]
    whom: Whom,
    /// How long an answer counts, 60s to 14d; then the drill is over and no longer waits for anybody.
    #[arg(long, value_name = "TIME", default_value = "3h", value_parser = human::parse_duration)]
    within: Duration,
    /// Start without asking.
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// The members' codes, such as KE or KE,FR.
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    to: Vec<String>,
    /// All active members of this working group: africa, americas, eurasia or mena.
    #[arg(long, value_name = "NAME", value_parser = group)]
    group: Option<WorkingGroup>,
    /// All active members.
    #[arg(long)]
    all: bool,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    converse(async {
        let rows = chosen(&client, &arguments.whom).await?;
        let request = DrillRequest {
            members: rows.iter().map(|row| row.member.clone()).collect(),
            within_seconds: arguments.within.as_secs(),
        };
        request.check()?;
        output.talk(preview(&rows, &request, human::now()));
        let under_way = client.drills().await?.into_iter().find(|drill| drill.ends > human::now());
        if let Some(drill) = under_way {
            output.talk(format!("note: {} is not over before {}", drill.drill, human::instant(drill.ends)));
        }
        output.confirm("Start the drill?", Consent::from_flag(arguments.yes))?;
        let started = client.start_drill(&request).await?;
        output.result(page(&started), &started)?;
        match &started.reason {
            None => Ok(()),
            Some(reason) => Err(incomplete(&started, reason)),
        }
    })
}

/// The members asked for, as the directory has them; this node's own never.
async fn chosen(client: &Client, whom: &Whom) -> Result<Vec<DirectoryRow>, Failure> {
    let mut rows = client.directory().await?;
    if whom.to.is_empty() {
        let own = client.status().await?.facts.member;
        rows.retain(|row| row.member != own && row.status == MemberStatus::Active);
        rows.retain(|row| whom.group.is_none_or(|group| row.group == group));
        if rows.is_empty() {
            let why = "no other active member is in it";
            let hint = "see the members and their groups: refpoint directory list";
            return Err(Failure::usage("no drill was started", why, hint));
        }
        return Ok(rows);
    }
    let mut chosen = Vec::new();
    for text in &whom.to {
        let code = member(text)?;
        match rows.iter().find(|row| row.member == code) {
            Some(row) => chosen.push(row.clone()),
            // The node says who was probably meant.
            None => chosen.push(client.directory_entry(&code).await?.row),
        }
    }
    Ok(chosen)
}

/// Whom it reaches, what time it is there, and what that means.
fn preview(rows: &[DirectoryRow], request: &DrillRequest, now: Instant) -> String {
    let mut rows: Vec<&DirectoryRow> = rows.iter().collect();
    rows.sort_by_key(|row| (row.group, &row.member));
    let precedence = DRILL_PRECEDENCE.name().to_uppercase();
    let within = human::duration(request.within_seconds);
    let cells = |row: &&DirectoryRow| {
        [
            human::member(&row.member),
            group_name(Some(row.group)),
            row.local_time.clone().unwrap_or_else(|| "unknown".to_owned()),
            if row.connected { "connected".to_owned() } else { "away".to_owned() },
        ]
    };
    let members = human::count(rows.len() as u64, "member");
    let mut text = format!("DRILL, {precedence}, TLP:GREEN, {within} to answer, to {members}:\n");
    text.push_str(&table(["member", "working group", "local time", "node"], rows.iter().map(cells)));
    let hour = |row: &&&DirectoryRow| row.time_zone.as_deref().and_then(|zone| local_hour(zone, now));
    let asleep: Vec<&str> =
        rows.iter().filter(|row| hour(row).is_some_and(is_night)).map(|row| row.member.as_str()).collect();
    if !asleep.is_empty() {
        text.push_str(&format!(
            "It is night ({NIGHT_FIRST}:00 to {NIGHT_END:02}:00) at {} of them: it WAKES the officer on duty there.\n  {}\n",
            asleep.len(),
            asleep.join(" ")
        ));
    }
    let unknown = rows.iter().filter(|row| hour(row).is_none()).count();
    if unknown > 0 {
        text.push_str(&format!(
            "What time it is at {unknown} of them is not known: it may wake somebody there.\n"
        ));
    }
    let away = rows.iter().filter(|row| !row.connected).count();
    if away > 0 {
        text.push_str(&format!(
            "The nodes of {away} of them are away: they have the same time, and count as asked.\n"
        ));
    }
    text.trim_end().to_owned()
}

const fn is_night(hour: i8) -> bool {
    hour >= NIGHT_FIRST || hour < NIGHT_END
}

fn page(started: &DrillStarted) -> String {
    let DrillStarted { drill, ends, messages, asked, .. } = started;
    format!(
        "DRILL started: {drill}\n{} asked in {}, until {}\nwho answered: refpoint drill report {}",
        human::count(asked.len() as u64, "member"),
        human::count(messages.len() as u64, "message"),
        human::instant(*ends),
        &drill.digits().get(..8).unwrap_or_default(),
    )
}

fn incomplete(started: &DrillStarted, reason: &str) -> Failure {
    let codes: Vec<&str> = started.not_asked.iter().map(|member| member.as_str()).collect();
    Failure::error(
        format!("{} members were not asked: {}", codes.len(), codes.join(" ")),
        reason,
        "the others were; put right what is named, then start a drill for these with --to",
    )
}

/// The hours of the night, local: a call then wakes whoever is on call at home.
const NIGHT_FIRST: i8 = 22;
const NIGHT_END: i8 = 7;

const _: () = assert!(WITHIN_DEFAULT.as_secs() == 3 * 3_600, "as the command's own default says");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::api::views::{directory::Freshness, names::MemberNames};

    fn row(code: &str, group: WorkingGroup, zone: Option<&str>, connected: bool) -> DirectoryRow {
        let (member, now) = (code.parse().unwrap(), "2026-11-24T03:02:00Z".parse().unwrap());
        DirectoryRow {
            names: MemberNames::of(&member),
            member,
            status: MemberStatus::Active,
            group,
            unit: None,
            languages: Vec::new(),
            on_duty: None,
            time_zone: zone.map(str::to_owned),
            local_time: zone.and_then(|zone| crate::api::views::directory::local_time(zone, now)),
            freshness: Freshness::Fresh,
            issued: None,
            age_seconds: None,
            disputed: false,
            sample: false,
            connected,
        }
    }

    #[test]
    fn whom_it_wakes_is_said_before_it_is_started() {
        let rows = [
            row("SG", WorkingGroup::Eurasia, Some("Asia/Singapore"), true),
            row("FR", WorkingGroup::Eurasia, Some("Europe/Paris"), true),
            row("BR", WorkingGroup::Americas, Some("America/Sao_Paulo"), false),
            row("X-LO", WorkingGroup::Africa, None, true),
        ];
        let request = DrillRequest {
            members: rows.iter().map(|row| row.member.clone()).collect(),
            within_seconds: 10_800,
        };
        let text = preview(&rows, &request, "2026-11-24T03:02:00Z".parse().unwrap());
        for part in [
            "DRILL, PRIORITY, TLP:GREEN, 3 h 0 min to answer, to 4 members:",
            "11:02 (Tue)",
            "It is night (22:00 to 07:00) at 2 of them: it WAKES the officer on duty there.\n  BR FR\n",
            "What time it is at 1 of them is not known",
            "The nodes of 1 of them are away",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert_eq!([21, 22, 0, 6, 7].map(is_night), [false, true, true, true, false]);
    }
}
