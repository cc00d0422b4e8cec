//! `refpoint directory show`: one member on one page, ways to reach it first.

use refpoint_protocol::{
    directory::reference_point::{Channel, ChannelKind, Competence, CompetenceMode, CompetenceTask},
    membership::{charter::MemberStatus, key_set::NodeState},
};

use super::freshness;
use crate::{
    api::views::directory::{DirectoryEntryView, DirectoryNodeView, InheritedView, ReferencePointView},
    cli::{
        failure::Failure,
        human,
        node::{Node, converse, member},
        output::Output,
        safe_text::line,
    },
};

/// Which member.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// The member's code, such as KE.
    member: String,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let member = member(&arguments.member)?;
    let client = arguments.node.client()?;
    let entry = converse(async { Ok(client.directory_entry(&member).await?) })?;
    output.result(page(&entry), &entry)
}

/// The channels, one a line, in the order in which to try them.
pub(in crate::cli) fn channel_lines(channels: &[Channel]) -> Vec<String> {
    channels
        .iter()
        .map(|channel| {
            let hours = if channel.always { "24/7" } else { "not at any hour" };
            let note = channel.note.as_deref().map(|note| format!(" ({})", line(note))).unwrap_or_default();
            format!("{:<10} {}   {hours}{note}", kind(channel.kind), line(&channel.value))
        })
        .collect()
}

fn page(entry: &DirectoryEntryView) -> String {
    let row = &entry.row;
    let names = &row.names;
    let mut page =
        format!("{}  {} · {} · {} · {}\n", row.member, names.en, names.fr, names.es, line(&names.ar));
    let mut add = |label: &str, text: &str| page.push_str(&format!("{label:<12} {text}\n"));
    match row.status {
        MemberStatus::Active => {}
        MemberStatus::Suspended => add("membership", "SUSPENDED by the charter: messages stop"),
        MemberStatus::Withdrawn => add("membership", "WITHDRAWN: no longer a member"),
    }
    if row.sample {
        add("", "SAMPLE: this is no real unit");
    }
    match &entry.reference_point {
        Some(unit) => unit_lines(unit, entry, &mut add),
        None => match &entry.before {
            Some(before) => inherited_lines(before, entry, &mut add),
            None => add("unit", "nothing to show: see 'entry'"),
        },
    }
    let issued = row.issued.map(|issued| format!(", signed {}", human::instant(issued))).unwrap_or_default();
    let sequence = entry.sequence.map(|sequence| format!(", number {sequence}")).unwrap_or_default();
    add("entry", &format!("{}{issued}{sequence}", freshness(row)));
    let epoch =
        entry.key_set_epoch.map_or_else(|| "none in force".to_owned(), |epoch| format!("epoch {epoch}"));
    let review = entry.key_set_review.map(|review| format!(", review by {:.10}", review.to_string()));
    add("key set", &format!("{epoch}{}", review.unwrap_or_default()));
    add("root key", &line(&entry.root_fingerprint));
    for node in &entry.nodes {
        add("node", &node_line(node));
    }
    page
}

/// What the federation before said: better than nothing at 3 a.m., and never taken for more.
fn inherited_lines(before: &InheritedView, entry: &DirectoryEntryView, add: &mut dyn FnMut(&str, &str)) {
    let issued = human::instant(before.issued);
    add(
        "FROM BEFORE",
        &format!("nothing is published here yet; what follows was signed {issued} in the federation"),
    );
    add("", "whose place this one takes, and may have changed");
    unit_lines(&before.reference_point, entry, add);
}

fn unit_lines(unit: &ReferencePointView, entry: &DirectoryEntryView, add: &mut dyn FnMut(&str, &str)) {
    for name in &unit.names {
        add("unit", &format!("{} [{}]", line(&name.text), line(&name.language)));
    }
    if let Some(agency) = &unit.agency {
        add("agency", &line(agency));
    }
    let local = entry.row.local_time.as_deref().unwrap_or("unknown here");
    add("local time", &format!("{local}   {}", line(&unit.time_zone)));
    match &unit.on_duty {
        Some(duty) => {
            add("answers now", &format!("{}, speaks {}", line(&duty.role), line(&duty.languages.join(", "))));
        }
        None => add("answers now", "not said"),
    }
    add("languages", &line(&unit.languages.join(", ")));
    for channel in channel_lines(&unit.channels) {
        add("reach", &channel);
    }
    for mode in [CompetenceMode::Performs, CompetenceMode::Facilitates] {
        let tasks: Vec<&str> =
            unit.competences.iter().filter(|competence| competence.mode == mode).map(task).collect();
        let label = if mode == CompetenceMode::Performs { "does" } else { "passes on" };
        if !tasks.is_empty() {
            add(label, &tasks.join(", "));
        }
    }
}

fn node_line(node: &DirectoryNodeView) -> String {
    let state = match node.state {
        NodeState::Active if node.connected => "connected".to_owned(),
        NodeState::Active => match node.last_contact {
            Some(last) => format!("away, last contact {}", human::instant(last)),
            None => "away, never seen".to_owned(),
        },
        NodeState::Retired => "retired".to_owned(),
        NodeState::Compromised => "COMPROMISED".to_owned(),
    };
    let sealing =
        if node.can_be_sealed_to || node.state != NodeState::Active { "" } else { "; no sealing key yet" };
    format!("{}  {state}{sealing}   {}", node.node.short(), line(&node.addresses.join(", ")))
}

/// A kind of channel as people call it.
pub(in crate::cli) const fn kind(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Telephone => "telephone",
        ChannelKind::Mobile => "mobile",
        ChannelKind::Email => "e-mail",
        ChannelKind::Fax => "fax",
        ChannelKind::Other => "other",
    }
}

const fn task(competence: &Competence) -> &'static str {
    match competence.task {
        CompetenceTask::Advice => "technical advice",
        CompetenceTask::Preservation => "preservation of data",
        CompetenceTask::Evidence => "collection of evidence",
        CompetenceTask::LegalInformation => "legal information",
        CompetenceTask::LocatingSuspects => "locating suspects",
        CompetenceTask::Emergency => "emergency disclosure",
    }
}
