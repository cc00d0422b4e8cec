//! `refpoint directory`: who can be reached, where and how; and this unit's own entry.

mod history;
mod publish;
mod show;

pub(in crate::cli) use show::channel_lines;

use clap::Subcommand;
use refpoint_protocol::membership::charter::WorkingGroup;

use super::{
    failure::Failure,
    human,
    node::{Node, converse},
    output::{Output, table},
    safe_text::line,
};
use crate::api::views::directory::{DirectoryRow, Freshness};

/// Look members up, and publish this unit's own entry.
#[derive(Subcommand)]
pub(super) enum Command {
    /// List all members: the unit, its local time, who answers now, its languages, and how fresh that is.
    List(List),
    /// Show all that is known of one member.
    Show(show::Arguments),
    /// List what a member's entries were, as far as this node holds them.
    History(history::History),
    /// Show what changed between two entries, such as FR@12 and FR@15.
    Diff(history::Diff),
    /// Show the directory as it was at a time, and since when this node can tell.
    At(history::At),
    /// Publish this unit's entry from a file, after showing what changes.
    Publish(publish::Publish),
    /// Let this node sign its own entry again without waiting for other members.
    Resume(publish::Resume),
}

/// Which members.
#[derive(clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    node: Node,
    /// Only this working group: africa, americas, eurasia or mena.
    #[arg(long, value_parser = group)]
    group: Option<WorkingGroup>,
    /// Only entries that are not fresh.
    #[arg(long)]
    stale: bool,
}

pub(super) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list(arguments, output),
        Command::Show(arguments) => show::run(arguments, output),
        Command::History(arguments) => history::history(arguments, output),
        Command::Diff(arguments) => history::diff(arguments, output),
        Command::At(arguments) => history::at(arguments, output),
        Command::Publish(arguments) => publish::publish(arguments, output),
        Command::Resume(arguments) => publish::resume(arguments, output),
    }
}

fn list(arguments: &List, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    let mut rows = converse(async { Ok(client.directory().await?) })?;
    rows.retain(|row| arguments.group.is_none_or(|group| row.group == group));
    rows.retain(|row| !arguments.stale || row.freshness != Freshness::Fresh);
    if rows.is_empty() {
        return output.result("no member fits", &rows);
    }
    let human = table(
        ["member", "name", "unit", "local time", "answers now", "languages", "entry", "node"],
        rows.iter().map(cells),
    );
    output.result(human, &rows)
}

fn cells(row: &DirectoryRow) -> [String; 8] {
    let unit = row.unit.as_deref().map(line).unwrap_or_default();
    [
        row.member.to_string(),
        line(&row.names.en),
        marked(unit, row.sample),
        row.local_time.clone().unwrap_or_default(),
        row.on_duty.as_ref().map(|duty| line(&duty.role)).unwrap_or_default(),
        line(&row.languages.join(" ")),
        freshness(row),
        if row.connected { "connected".to_owned() } else { "away".to_owned() },
    ]
}

/// A unit's name with the mark of a sample, unless the name says so itself.
pub(in crate::cli) fn marked(unit: String, sample: bool) -> String {
    let says_so = unit.to_lowercase().contains("(sample)");
    if sample && !says_so { format!("{unit} (SAMPLE)") } else { unit }
}

/// How fresh an entry is, with its age where that matters, and whether it is disputed.
fn freshness(row: &DirectoryRow) -> String {
    let age = row.age_seconds.map(human::duration).unwrap_or_default();
    let word = match row.freshness {
        Freshness::Fresh => "fresh".to_owned(),
        Freshness::Stale => format!("STALE, {age} old"),
        Freshness::Future => "from a clock ahead".to_owned(),
        Freshness::Missing => "none".to_owned(),
        Freshness::BodyMissing => "not here yet".to_owned(),
        Freshness::Erased => "erased".to_owned(),
    };
    if row.disputed { format!("{word}, DISPUTED") } else { word }
}

pub(in crate::cli) fn group(text: &str) -> Result<WorkingGroup, String> {
    match text.to_lowercase().as_str() {
        "africa" => Ok(WorkingGroup::Africa),
        "americas" => Ok(WorkingGroup::Americas),
        "eurasia" => Ok(WorkingGroup::Eurasia),
        "mena" => Ok(WorkingGroup::Mena),
        _ => Err("use africa, americas, eurasia or mena".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::marked;

    #[test]
    fn a_sample_is_marked_once() {
        assert_eq!(marked("Cyber Unit".to_owned(), true), "Cyber Unit (SAMPLE)");
        assert_eq!(marked("Cyber Unit (sample)".to_owned(), true), "Cyber Unit (sample)");
        assert_eq!(marked("Cyber Unit".to_owned(), false), "Cyber Unit");
    }
}
