//! `refpoint audit heads`: what the members' signed heads say, as a table, as JSON, and as a page with a picture.

mod page;

use std::{fs, path::PathBuf};

use refpoint_protocol::heads::Contradicted;

use crate::{
    api::views::heads::{HeadRow, HeadStanding, HeadsReport},
    cli::{
        failure::Failure,
        human,
        node::{Node, converse},
        output::{Output, table},
    },
};

/// Show who holds the same directory, who is behind and since when, who is silent, who contradicts himself.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// Also write one self-contained page with a picture; an older one of that name is replaced.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// All nodes, also those that hold the same.
    #[arg(long)]
    all: bool,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    let report = converse(async { Ok(client.heads().await?) })?;
    if let Some(file) = &arguments.html {
        fs::write(file, page::page(&report)).map_err(|error| {
            Failure::error(
                "the page was not written",
                format!("{}: {error}", file.display()),
                "name a file in a folder of yours",
            )
        })?;
        output.talk(format!("the page: {}", file.display()));
    }
    output.result(text(&report, arguments.all), &report)
}

fn text(report: &HeadsReport, all: bool) -> String {
    let held = human::duration(report.since.age_seconds(report.now));
    let mut text = format!("{} has held {} for {held}\n", report.member, report.digest.short());
    for standing in HeadStanding::ALL.into_iter().rev() {
        let count = report.count(standing);
        if count > 0 {
            text.push_str(&format!("{count:>6} {}\n", standing.meaning()));
        }
    }
    let mut rows: Vec<&HeadRow> =
        report.nodes.iter().filter(|row| all || row.standing != HeadStanding::Same).collect();
    rows.sort_by_key(|row| row.standing);
    if !rows.is_empty() {
        let head = ["member", "node", "stands", "since", "last head", "digest"];
        text.push('\n');
        text.push_str(&table(head, rows.iter().map(|row| drawn(row, report))));
    }
    for (row, proof) in rows.iter().filter_map(|row| Some((row, row.proof.as_ref()?))) {
        let [one, other] = proof.heads;
        let (why, cause) = match proof.what {
            Contradicted::Place => (
                format!("number {} of one run", proof.number),
                "its node's key is in two hands, or two machines run its folder",
            ),
            Contradicted::Journal => (
                "of which the later takes back a part of its journal".to_owned(),
                "its disk was rolled back, or somebody rewrote what its node has done",
            ),
        };
        text.push_str(&format!(
            "\n{}: heads {one} and {other}, {why}, cannot both be true.\n  Call that unit: {cause}.\n",
            human::member(&row.member),
        ));
    }
    text
}

fn drawn(row: &HeadRow, report: &HeadsReport) -> [String; 6] {
    let ago = |at: crate::api::views::instant::Instant| {
        format!("{} ago", human::duration(at.age_seconds(report.now)))
    };
    let since = row.since.map(|since| format!("{} ({})", human::instant(since), ago(since)));
    let head = row.head.as_ref();
    [
        human::member(&row.member),
        row.node.short(),
        row.standing.name().to_owned(),
        since.unwrap_or_default(),
        row.received.map(ago).unwrap_or_default(),
        head.map(|head| head.digest.short()).unwrap_or_default(),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::ids::{ContentHash, HeadId, NodeKey, Sequence};

    use super::*;
    use crate::api::views::heads::{HeadProof, HeadView};

    /// One node in each standing.
    pub(in crate::cli) fn report() -> HeadsReport {
        let at = |text: &str| format!("2026-11-24T{text}Z").parse().unwrap();
        let digest = |byte| ContentHash::from_bytes([byte; 32]);
        let head = |byte| HeadView {
            id: HeadId::from_bytes([byte; 32]),
            run: at("09:00:00"),
            number: Sequence(4),
            time: at("11:58:00"),
            charter: Vec::new(),
            digest: digest(byte),
            journal: None,
        };
        let row = |code: &str, standing, since: Option<&str>, digest: Option<u8>| HeadRow {
            member: code.parse().unwrap(),
            node: NodeKey::from_bytes([7; 32]),
            standing,
            since: since.map(at),
            head: digest.map(head),
            received: digest.map(|_| at("11:59:00")),
            proof: (standing == HeadStanding::Contradicts).then(|| HeadProof {
                what: Contradicted::Place,
                run: at("09:00:00"),
                number: Sequence(3),
                heads: [HeadId::from_bytes([8; 32]), HeadId::from_bytes([9; 32])],
            }),
        };
        HeadsReport {
            member: "KE".parse().unwrap(),
            node: NodeKey::from_bytes([1; 32]),
            now: at("12:00:00"),
            digest: digest(1),
            since: at("11:55:00"),
            own: Some(head(1)),
            nodes: vec![
                row("BR", HeadStanding::Behind, Some("11:55:00"), Some(2)),
                row("CI", HeadStanding::Unmatched, Some("11:59:00"), Some(3)),
                row("FR", HeadStanding::Same, None, Some(1)),
                row("JO", HeadStanding::Silent, Some("09:30:00"), Some(2)),
                row("SG", HeadStanding::NotHeard, Some("09:00:00"), None),
                row("X-LO", HeadStanding::Contradicts, None, Some(4)),
            ],
        }
    }

    #[test]
    fn the_table_names_each_that_is_not_the_same_and_never_calls_behind_different() {
        let report = report();
        let text = text(&report, false);
        for part in [
            "KE has held 01010101 for 5 min 0 s",
            "1 hold the same directory",
            "1 behind this node",
            "BR (Brazil)",
            "2026-11-24T11:55:00Z (5 min 0 s ago)",
            "cannot both be true",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("FR (France)") && super::text(&report, true).contains("FR (France)"));
        assert!(!text.to_lowercase().contains("different"), "{text}");
    }
}
