//! `refpoint directory history`, `diff` and `at`: what the members' entries were, as far as this node can tell.

use std::fmt::Write as _;

use refpoint_protocol::{
    ids::{MemberCode, Sequence},
    limits::INTEGER_MAX,
};
use serde::Serialize;

use crate::{
    api::views::{
        directory::ReferencePointView,
        history::{
            ChainHistoryView, ContentState, DirectoryAtView, DirectoryHistoryView, MemberAt, PastEntry,
        },
        instant::Instant,
    },
    cli::{
        failure::Failure,
        human,
        node::{Node, converse, member},
        output::{Output, table},
        safe_text::line,
    },
    reference_point_diff::{Difference, differences},
};

/// Whose history.
#[derive(clap::Args)]
pub(in crate::cli) struct History {
    #[command(flatten)]
    node: Node,
    /// The member's code, such as FR.
    member: String,
}

/// Which two entries.
#[derive(clap::Args)]
pub(in crate::cli) struct Diff {
    #[command(flatten)]
    node: Node,
    /// The earlier entry, such as FR@12: the number in the chain shown now. For another chain the first digits of
    /// the header's id, at least eight: FR@5c0ffee1.
    before: String,
    /// The later entry, named alike; another member's does as well.
    after: String,
}

/// Which time.
#[derive(clap::Args)]
pub(in crate::cli) struct At {
    #[command(flatten)]
    node: Node,
    /// A day, which means its first moment in UTC, or a moment such as 2026-11-01T08:00Z.
    #[arg(value_parser = moment)]
    at: Instant,
}

/// Lists a member's entries.
pub(super) fn history(arguments: &History, output: &Output) -> Result<(), Failure> {
    let member = member(&arguments.member)?;
    let client = arguments.node.client()?;
    let history = converse(async { Ok(client.directory_history(&member).await?) })?;
    output.result(history_page(&history), &history)
}

/// Shows what changed between two entries.
pub(super) fn diff(arguments: &Diff, output: &Output) -> Result<(), Failure> {
    let (before, after) = (Place::read(&arguments.before)?, Place::read(&arguments.after)?);
    let client = arguments.node.client()?;
    let (old, new) = converse(async {
        let old = client.directory_history(&before.member).await?;
        let new = if after.member == before.member {
            old.clone()
        } else {
            client.directory_history(&after.member).await?
        };
        Ok((old, new))
    })?;
    let (before, old) = before.find(&old)?;
    let (after, new) = after.find(&new)?;
    let differences = differences(Some(old), new);
    let page = diff_page(&before, &after, &differences);
    output.result(page, &DiffView { before, after, differences })
}

/// Shows the directory at a time.
pub(super) fn at(arguments: &At, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    let view = converse(async { Ok(client.directory_at(arguments.at).await?) })?;
    output.result(at_page(&view), &view)
}

/// What `diff --json` prints.
#[derive(Serialize)]
struct DiffView {
    before: FoundEntry,
    after: FoundEntry,
    differences: Vec<Difference>,
}

/// An entry that was named.
#[derive(Serialize)]
struct FoundEntry {
    member: MemberCode,
    #[serde(flatten)]
    entry: PastEntry,
}

/// An entry as a person names it.
struct Place {
    text: String,
    member: MemberCode,
    which: Which,
}

enum Which {
    /// In the chain shown now.
    Number(Sequence),
    /// In any chain, by the first digits of a header's id.
    Header(String),
}

impl Place {
    fn read(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::usage(
                "no entries were compared",
                format!("{text:?} names no entry"),
                "write the member and a number out of `refpoint directory history`, such as FR@12",
            )
        };
        let (code, which) = text.split_once('@').ok_or_else(wrong)?;
        let is_id = which.len() >= ID_DIGITS_LEAST && which.chars().all(|c| c.is_ascii_hexdigit());
        let which = match which.parse() {
            Ok(number) if !is_id && number <= INTEGER_MAX => Which::Number(Sequence(number)),
            _ if is_id => Which::Header(which.to_lowercase()),
            _ => return Err(wrong()),
        };
        Ok(Self { text: text.to_owned(), member: member(code)?, which })
    }

    /// The entry and its content.
    fn find<'a>(
        &self,
        history: &'a DirectoryHistoryView,
    ) -> Result<(FoundEntry, &'a ReferencePointView), Failure> {
        let entry = match &self.which {
            Which::Number(number) => shown_chain(history)
                .and_then(|chain| chain.entries.iter().find(|it| it.first <= *number && *number <= it.last)),
            Which::Header(digits) => {
                let all = history.chains.iter().flat_map(|chain| &chain.entries);
                let mut fits = all.filter(|entry| entry.header.to_string().starts_with(digits.as_str()));
                fits.next().filter(|_| fits.next().is_none())
            }
        };
        let list = format!("see which there are: refpoint directory history {}", self.member);
        let what = format!("{} cannot be compared", self.text);
        let Some(entry) = entry else {
            return Err(Failure::error(what, "this node holds no such entry, or several", list));
        };
        let Some(content) = history.contents.get(&entry.hash) else {
            let why = format!("of that entry only the signed header is here; its content {}", why_not(entry));
            let remedy = "another node cannot give it either once it is let go everywhere; a backup of that time, \
                or the unit itself, has it";
            return Err(Failure::error(what, why, remedy));
        };
        Ok((FoundEntry { member: self.member.clone(), entry: entry.clone() }, content))
    }
}

/// The chain of the header shown now, or the last one.
fn shown_chain(history: &DirectoryHistoryView) -> Option<&ChainHistoryView> {
    let shown = history.shown?;
    let newest = |chain: &&ChainHistoryView| chain.entries.iter().any(|entry| entry.header == shown);
    let by_first = history.chains.iter().find(newest);
    // A renewal is shown now: the chain whose last entry it renews is the newest by time.
    by_first.or_else(|| {
        let last = |chain: &&ChainHistoryView| chain.entries.last().map(|entry| entry.renewed);
        history.chains.iter().max_by_key(last)
    })
}

fn history_page(history: &DirectoryHistoryView) -> String {
    if history.chains.is_empty() {
        return format!("{} has published nothing that is held here", history.member);
    }
    let current = shown_chain(history);
    let mut page = String::new();
    for chain in &history.chains {
        let is_current = current.is_some_and(|current| current == chain);
        let mark = if is_current { ": shown now, its numbers are meant by " } else { "" };
        let example = if is_current { format!("{}@NUMBER", history.member) } else { String::new() };
        let epoch = chain.epoch;
        let _fits = writeln!(page, "node {}, key set of epoch {epoch}{mark}{example}", chain.node.short());
        let rows = chain.entries.iter().map(|entry| {
            let unit = history.contents.get(&entry.hash).and_then(|it| it.names.first());
            let numbers = if entry.first == entry.last {
                entry.first.to_string()
            } else {
                format!("{} to {}", entry.first, entry.last)
            };
            [
                numbers,
                human::instant(entry.issued),
                human::instant(entry.renewed),
                unit.map_or_else(|| format!("content {}", why_not(entry)), |name| line(&name.text)),
                entry.header.short().to_string(),
            ]
        });
        let _fits = writeln!(page, "{}", table(["number", "issued", "last renewed", "unit", "header"], rows));
        for [first, last] in &chain.gaps {
            let _fits = writeln!(page, "numbers {first} to {last} exist and are not here yet");
        }
        if let Some(fork) = chain.disputed_from {
            let _fits =
                writeln!(page, "DISPUTED from number {fork} on: its node signed two different entries");
        }
    }
    let kept = history.contents_kept;
    let _fits = write!(
        page,
        "Times are those that the unit's node wrote. Headers are kept for ever, of each chain the newest {kept} \
         contents."
    );
    page
}

fn diff_page(before: &FoundEntry, after: &FoundEntry, differences: &[Difference]) -> String {
    let name = |found: &FoundEntry| {
        format!("{}@{}, issued {}", found.member, found.entry.first, human::instant(found.entry.issued))
    };
    let mut page = format!("{}\n{}\n", name(before), name(after));
    if differences.is_empty() {
        page.push_str("the contents are the same");
    }
    for Difference { field, published, new } in differences {
        let _fits = writeln!(page, "{field}");
        published.iter().for_each(|text| page.push_str(&format!("  - {}\n", line(text))));
        new.iter().for_each(|text| page.push_str(&format!("  + {}\n", line(text))));
    }
    page.trim_end().to_owned()
}

fn at_page(view: &DirectoryAtView) -> String {
    let rows = view.members.iter().map(|row| cells(row, view.at));
    let table = table(["member", "name", "unit then", "number", "issued", "answers"], rows);
    let since = view.complete_since.map_or_else(
        || "this node does not hold every member's newest entry: it cannot answer for all".to_owned(),
        |since| {
            format!("this node can show every member's entry of any time since {}", human::instant(since))
        },
    );
    format!(
        "the directory at {}\n{table}\n{since}.\nTimes are those that the units' nodes wrote. Charter versions bear \
         no time: listed are the members of now.",
        human::instant(view.at)
    )
}

fn cells(row: &MemberAt, at: Instant) -> [String; 6] {
    let Some(entry) = &row.entry else {
        let none = "nothing issued by then is here".to_owned();
        let empty = String::new;
        return [row.member.to_string(), line(&row.names.en), none, empty(), empty(), empty()];
    };
    let unit = entry.reference_point.as_ref().map(|point| {
        let name = point.names.first().map(|name| line(&name.text)).unwrap_or_default();
        super::marked(name, point.sample)
    });
    let duty = entry.reference_point.as_ref().and_then(|point| point.on_duty.as_ref());
    let age = human::duration(entry.issued.age_seconds(at));
    let newer = if entry.may_be_older { ", a newer one may be missing here" } else { "" };
    [
        row.member.to_string(),
        line(&row.names.en),
        unit.unwrap_or_else(|| format!("content {}", gone(entry.content))),
        entry.sequence.to_string(),
        format!("{}, {age} before{newer}", human::instant(entry.issued)),
        duty.map(|duty| line(&duty.role)).unwrap_or_default(),
    ]
}

const fn why_not(entry: &PastEntry) -> &'static str {
    gone(entry.content)
}

/// What became of a content that is not shown.
const fn gone(content: ContentState) -> &'static str {
    match content {
        ContentState::Held => "is here",
        ContentState::Missing => "has not come yet",
        ContentState::Erased => "was erased",
        ContentState::Unreadable => "cannot be read",
        ContentState::LetGo => "is older than what a node keeps",
    }
}

/// Reads a day or a moment.
fn moment(text: &str) -> Result<Instant, String> {
    let day = text.parse::<jiff::civil::Date>().ok().filter(|_| !text.contains(['T', 't', ' ']));
    let moment = day.map_or_else(|| text.to_owned(), |day| format!("{day}T00:00Z"));
    moment.parse::<Instant>().map_err(|error| error.to_string())
}

/// Digits of a header's id that name it; fewer are numbers.
const ID_DIGITS_LEAST: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_day_is_its_first_moment_and_a_moment_is_itself() {
        assert_eq!(moment("2026-11-01").unwrap().to_string(), "2026-11-01T00:00:00.000Z");
        assert_eq!(moment("2026-11-01T08:00Z").unwrap().to_string(), "2026-11-01T08:00:00.000Z");
        for bad in ["yesterday", "2026-13-01", "2026-11-01T08:00", ""] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn entries_are_named_by_number_or_by_id() {
        assert!(matches!(Place::read("FR@12").unwrap().which, Which::Number(Sequence(12))));
        assert!(
            matches!(Place::read("FR@5C0FFEE1").unwrap().which, Which::Header(digits) if digits == "5c0ffee1")
        );
        for bad in ["FR", "FR@", "FR@x", "FR@-1", "@12", "FR@12@13"] {
            assert!(Place::read(bad).is_err(), "{bad}");
        }
    }
}
