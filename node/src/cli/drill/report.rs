//! `refpoint drill report`: who answered a drill and how fast, against the drills before; as tables, JSON, CSV and a
//! page.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    api::views::{
        drill::{Answer, Before, DrillReport, GroupFigures, MemberAnswer, Pace, WhoseClock},
        receipt::MachineWord,
    },
    cli::{
        drill::{change, group_name, list, page, sheet, span},
        failure::{Exit, Failure},
        human,
        message::machine_word,
        node::{Node, converse},
        output::{Output, table},
    },
    client::Client,
};

/// Show who had a drill and who acknowledged it, after how long, against the last five drills; the newest drill
/// unless one is named.
///
/// Times are by this node's clock, from the making of the message to the arrival of the answer here; one marked * is by
/// the other side's clock.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// The drill's id, or four or more of its digits.
    id: Option<String>,
    /// Also write a sheet: a line for each member; an older file of that name is replaced.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Also write one self-contained page with charts; an older file of that name is replaced.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// End with exit code 5 unless all had it in time, and 6 unless a person at each acknowledged it in time.
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    let report = converse(async { found(&client, arguments.id.as_deref()).await })?;
    if let Some(file) = &arguments.csv {
        let sheet = sheet::sheet(&report).map_err(|error| {
            Failure::error("the sheet was not made", error, "report this: the fault is the program's")
        })?;
        write(file, &sheet, output)?;
    }
    if let Some(file) = &arguments.html {
        write(file, page::page(&report).as_bytes(), output)?;
    }
    output.result(text(&report), &report)?;
    if arguments.check { checked(&report) } else { Ok(()) }
}

/// A drill by its digits, or the newest.
pub(super) async fn found(client: &Client, id: Option<&str>) -> Result<DrillReport, Failure> {
    let digits = match id {
        Some(id) => id.strip_prefix("drill-").unwrap_or(id).to_owned(),
        None => match client.drills().await?.first() {
            Some(newest) => newest.drill.digits(),
            None => {
                let hint = "start one: refpoint drill start --all";
                return Err(Failure::error("there is no drill", "none was started here", hint));
            }
        },
    };
    let prefix = digits.parse().map_err(|_| {
        let why = format!("{digits:?} is no drill's id: give 4 to 16 of its digits");
        Failure::usage("no drill was looked for", why, "list the ids: refpoint drill list")
    })?;
    Ok(client.drill(&prefix).await?)
}

fn write(file: &Path, bytes: &[u8], output: &Output) -> Result<(), Failure> {
    fs::write(file, bytes).map_err(|error| {
        let why = format!("{}: {error}", file.display());
        Failure::error("the report was not written", why, "name a file in a folder of yours")
    })?;
    output.talk(format!("written: {}", file.display()));
    Ok(())
}

/// The exit codes of messages: 5 for a machine's silence, 6 for people's.
fn checked(report: &DrillReport) -> Result<(), Failure> {
    let missing = |is_in_time: &dyn Fn(&MemberAnswer) -> bool| -> Vec<String> {
        let late = report.members.iter().filter(|answer| !is_in_time(answer));
        late.map(|answer| answer.member.to_string()).collect()
    };
    let in_time = |answer: Option<Answer>| answer.is_some_and(|answer| answer.in_time);
    let reached = |answer: &MemberAnswer| in_time(answer.delivered) || in_time(answer.acknowledged);
    let undelivered = missing(&reached);
    let silent = missing(&|answer| in_time(answer.acknowledged));
    let drill = report.row.drill;
    let hint = format!("see refpoint drill report {drill}, and refpoint peers for whoever is away");
    let failure = |exit, what: &str, codes: &[String]| {
        let so_far = if report.over { "" } else { " so far" };
        let what =
            format!("{drill} was not {what} in time by {} of {}{so_far}", codes.len(), report.row.asked);
        Failure::new(exit, what, codes.join(" "), hint.clone())
    };
    match (undelivered.as_slice(), silent.as_slice()) {
        ([], []) => Ok(()),
        ([], silent) => Err(failure(Exit::NotAcknowledged, "acknowledged", silent)),
        (undelivered, _) => Err(failure(Exit::NotDelivered, "received", undelivered)),
    }
}

fn text(report: &DrillReport) -> String {
    let row = &report.row;
    let standing = if report.over { "over" } else { "NOT OVER: answers still count" };
    let mut text = format!(
        "DRILL {}  {}  by {}, started {}, {} to answer, {standing}\n\n",
        row.drill,
        row.precedence.name().to_uppercase(),
        human::member(&report.by),
        human::instant(row.started),
        human::duration(row.within_seconds),
    );
    let head =
        ["working group", "asked", "delivered", "most by", "before", "acknowledged", "most by", "before"];
    let all = (report.groups.len() > 1).then_some(("all".to_owned(), &report.all));
    let groups = report.groups.iter().map(|figures| (group_name(figures.group), figures));
    text.push_str(&table(
        head,
        groups.chain(all).map(|(name, figures)| group_cells(name, figures, report.over)),
    ));
    text.push('\n');
    let head = ["member", "working group", "delivered", "before", "acknowledged", "before"];
    text.push_str(&table(head, report.members.iter().map(|answer| member_cells(answer, report.over))));
    if report
        .members
        .iter()
        .any(|member| [member.delivered, member.acknowledged].iter().flatten().any(is_claim))
    {
        text.push_str("* by the other side's clock: when the answer came here was not kept\n");
    }
    if !report.earlier.is_empty() {
        text.push_str("\nbefore:\n");
        text.push_str(&list::lines(&report.earlier, report.now));
    }
    text
}

fn group_cells(name: String, figures: &GroupFigures, over: bool) -> [String; 8] {
    let in_time = |pace: &Pace| {
        let late = pace.answered.saturating_sub(pace.in_time);
        let late = if late > 0 { format!(" (+{late} late)") } else { String::new() };
        format!("{}{late}", pace.in_time)
    };
    [
        name,
        figures.asked.to_string(),
        in_time(&figures.delivered),
        half(&figures.delivered, over),
        before(&figures.delivered_before),
        in_time(&figures.acknowledged),
        half(&figures.acknowledged, over),
        before(&figures.acknowledged_before),
    ]
}

fn member_cells(member: &MemberAnswer, over: bool) -> [String; 6] {
    let not_delivered = || match member.state {
        // Its receipt may be on its way while a person there has answered already.
        MachineWord::Delivered => String::new(),
        state if over => format!("NOT DELIVERED ({})", machine_word(state)),
        state => format!("not yet ({})", machine_word(state)),
    };
    let nobody = || if over { "NOBODY".to_owned() } else { "nobody yet".to_owned() };
    [
        human::member(&member.member),
        group_name(member.group),
        member.delivered.as_ref().map_or_else(not_delivered, answered),
        before(&member.delivered_before),
        member.acknowledged.as_ref().map_or_else(nobody, answered),
        before(&member.acknowledged_before),
    ]
}

/// When more than half of those asked had answered; while a drill goes on they still may.
pub(super) fn half(pace: &Pace, over: bool) -> String {
    let not = if over { "never" } else { "not yet" };
    pace.median_ms.map_or_else(|| not.to_owned(), span)
}

fn is_claim(answer: &Answer) -> bool {
    answer.clock == WhoseClock::There
}

/// After how long, and what is to be known of that.
pub(super) fn answered(answer: &Answer) -> String {
    let late = if answer.in_time { "" } else { " LATE" };
    let claim = if is_claim(answer) { "*" } else { "" };
    format!("{}{claim}{late}", span(answer.after_ms))
}

/// The middle of the drills before, how many of them were answered where some were not, and the change.
pub(super) fn before(before: &Before) -> String {
    let Before { drills, answered, median_ms, change_ms } = *before;
    if drills == 0 {
        return "-".to_owned();
    }
    let of = if answered < drills { format!(" ({answered} of {drills} answered)") } else { String::new() };
    let median = median_ms.map_or_else(|| "never".to_owned(), span);
    let change = change_ms.map(|millis| format!(", now {}", change(millis))).unwrap_or_default();
    format!("{median}{change}{of}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::drills::tests::sample;

    #[test]
    fn the_tables_name_each_member_and_what_it_did_not_do() {
        let text = text(&sample());
        for part in [
            "DRILL drill-1515151515151515  PRIORITY  by JO (Jordan), started",
            "3 h 0 min to answer, over",
            "NOT DELIVERED (expired)",
            "NOBODY",
            "4 h 0 min LATE",
            "1.2 s, now -300 ms",
            "never (1 of 2 answered)",
            "no member now",
            "before:\n drill ",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let mut running = sample();
        running.over = false;
        let text = super::text(&running);
        assert!(
            text.contains("NOT OVER") && text.contains("nobody yet") && !text.contains("NOBODY"),
            "{text}"
        );
    }

    #[test]
    fn a_drill_that_goes_on_has_not_failed_yet() {
        let nobody = Pace::default();
        assert_eq!([true, false].map(|over| half(&nobody, over)), ["never", "not yet"]);
    }

    #[test]
    fn the_check_tells_silent_machines_from_silent_people() {
        let mut report = sample();
        let failure = checked(&report).unwrap_err();
        assert_eq!(failure.exit(), Exit::NotDelivered);
        assert!(failure.to_string().contains("KE") && !failure.to_string().contains("X-LO"), "{failure}");
        report.members.retain(|answer| answer.member.as_str() != "KE");
        let failure = checked(&report).unwrap_err();
        assert_eq!(failure.exit(), Exit::NotAcknowledged);
        assert!(failure.to_string().contains("BR X-LO"), "{failure}");
        report.members.retain(|answer| answer.acknowledged.is_some_and(|answer| answer.in_time));
        assert_eq!(checked(&report), Ok(()));
    }
}
