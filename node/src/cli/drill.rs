//! `refpoint drill`: test the network, and see who answers how fast. It shows members and times alone: no role, no
//! person, no content.

mod chart;
mod list;
mod page;
mod report;
mod sheet;
mod start;
mod withdraw;

use clap::Subcommand;
use refpoint_protocol::membership::charter::WorkingGroup;

use super::{failure::Failure, human, init, output::Output};

/// Test the network: ask members to acknowledge a marked message, and see who answers how fast.
#[derive(Subcommand)]
pub(super) enum Command {
    Start(start::Arguments),
    List(list::Arguments),
    #[command(visible_alias = "show")]
    Report(report::Arguments),
    Withdraw(withdraw::Arguments),
}

pub(super) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Start(arguments) => start::run(arguments, output),
        Command::List(arguments) => list::run(arguments, output),
        Command::Report(arguments) => report::run(arguments, output),
        Command::Withdraw(arguments) => withdraw::run(arguments, output),
    }
}

/// Milliseconds for people: as they are below a second, tenths of a second below a minute.
fn span(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        _ => human::duration(millis / 1_000),
    }
}

/// A change for people, with its sign: `+3.0 s` is slower.
fn change(millis: i64) -> String {
    let sign = if millis < 0 { '-' } else { '+' };
    format!("{sign}{}", span(millis.unsigned_abs()))
}

/// A working group for people; those of none together.
fn group_name(group: Option<WorkingGroup>) -> String {
    group.map_or("no member now", init::group_name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_as_exact_as_they_are_short() {
        let shown = [0, 949, 1_949, 59_999, 60_000, 10_860_000].map(span);
        assert_eq!(shown, ["0 ms", "949 ms", "1.9 s", "59.9 s", "1 min 0 s", "3 h 1 min"]);
        assert_eq!((change(-300), change(61_000)), ("-300 ms".to_owned(), "+1 min 1 s".to_owned()));
    }
}
