//! `refpoint drill list`: the drills that this node started and remembers.

use crate::{
    api::views::{
        drill::{DrillRow, Pace},
        instant::Instant,
    },
    cli::{
        drill::report::half,
        failure::Failure,
        human,
        node::{Node, converse},
        output::{Output, table},
    },
};

/// List the drills that this node started, newest first: how many members had them and answered in time.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    let rows = converse(async { Ok(client.drills().await?) })?;
    if rows.is_empty() {
        return output.result("no drill was started here: refpoint drill start --help", &rows);
    }
    output.result(lines(&rows, human::now()), &rows)
}

/// The table, newest first.
pub(super) fn lines(rows: &[DrillRow], now: Instant) -> String {
    let head =
        ["drill", "started", "to answer", "delivered in time", "most by", "acknowledged in time", "most by"];
    table(head, rows.iter().map(|row| cells(row, now)))
}

fn cells(row: &DrillRow, now: Instant) -> [String; 7] {
    let in_time = |pace: &Pace| format!("{} of {}", pace.in_time, row.asked);
    let over = row.ends <= now;
    [
        row.drill.to_string(),
        human::instant(row.started),
        human::duration(row.within_seconds),
        in_time(&row.delivered),
        half(&row.delivered, over),
        in_time(&row.acknowledged),
        half(&row.acknowledged, over),
    ]
}
