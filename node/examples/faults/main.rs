//! Breaks what real nodes stand on, while officers write, and counts what was lost or doubled (`scripts/faults`);
//! attacks a running node, and measures what it takes (`scripts/attacks`).
//!
//! Nothing outside this run's own folder, mounts and network namespaces is touched.

mod arena;
mod attacks;
mod autopsy;
mod chain;
mod clocks;
mod cuts;
mod disks;
mod draw;
mod fleet;
mod ground;
mod image;
mod kills;
mod ledger;
mod links;
mod members;
mod namespaces;
mod peer;
mod proxy;
mod replays;
mod report;
mod traffic;
mod trial;
mod verdict;

use std::{path::PathBuf, time::Duration};

use self::{ground::Ground, report::Report, trial::Trial};

/// What is asked of a run.
struct Arguments {
    program: PathBuf,
    is_short: bool,
    kills: u64,
    cuts: u64,
    minutes: u64,
    seed: u64,
    /// Only these kinds, if any are named.
    only: Vec<String>,
    /// Attacks instead of faults, each for so many seconds.
    attacks: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = tokio_util::sync::CancellationToken::new();
        let signals = tokio::spawn(refpoint::shutdown::on_signal(stop.clone()));
        let ground = Ground::take()?;
        let outcome = tokio::select! {
            outcome = run(&arguments, &ground) => outcome,
            () = stop.cancelled() => Err(anyhow::anyhow!("stopped by a signal")),
        };
        signals.abort();
        outcome
    })
}

async fn run(arguments: &Arguments, ground: &Ground) -> anyhow::Result<()> {
    if let Some(seconds) = arguments.attacks {
        let time = Duration::from_secs(seconds);
        let kept = attacks::all(&arguments.program, &ground.folder("")?, time, &arguments.only).await?;
        anyhow::ensure!(kept, "a bound was not kept, or a node ended");
        return Ok(());
    }
    let report = all(arguments, ground).await?;
    report.print();
    anyhow::ensure!(report.is_clean(), "something was lost or doubled");
    Ok(())
}

/// All trials at once, each with a fleet of its own: they wait more than they work. What this machine does not permit
/// is left out, and the report says so.
async fn all(arguments: &Arguments, ground: &Ground) -> anyhow::Result<Report> {
    let time = Duration::from_secs(arguments.minutes * 60);
    let trial = Trial::new(&arguments.program, ground, arguments.seed, time)?;
    let rounds = |long: u64| if arguments.is_short { 1 } else { long };
    let wanted = |kind: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == kind);
    tokio::try_join!(
        when(wanted("kills"), kills::run(&trial, arguments.kills)),
        when(wanted("cuts"), cuts::run(&trial, arguments.cuts)),
        when(wanted("links"), links::run(&trial, rounds(5))),
        when(wanted("namespaces"), namespaces::run(&trial, rounds(10))),
        when(wanted("disks"), disks::run(&trial, rounds(5))),
        when(wanted("clocks"), clocks::run(&trial, rounds(5))),
    )?;
    Ok(trial.into_report())
}

async fn when(wanted: bool, run: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    if wanted { run.await } else { Ok(()) }
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut arguments = Arguments {
        program: "target/debug/refpoint".into(),
        is_short: false,
        kills: 500,
        cuts: 1_000,
        minutes: 60,
        seed: 1,
        only: Vec::new(),
        attacks: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or_else(|| anyhow::anyhow!("{argument} wants a value"));
        match argument.as_str() {
            "--program" => arguments.program = value()?.into(),
            "--short" => {
                (arguments.is_short, arguments.kills, arguments.cuts, arguments.minutes) = (true, 8, 16, 2);
            }
            "--kills" => arguments.kills = value()?.parse()?,
            "--cuts" => arguments.cuts = value()?.parse()?,
            "--minutes" => arguments.minutes = value()?.parse()?,
            "--seed" => arguments.seed = value()?.parse()?,
            "--attacks" => arguments.attacks = Some(value()?.parse()?),
            "--only" => arguments.only = value()?.split(',').map(str::to_owned).collect(),
            other => anyhow::bail!("unknown argument {other}; see scripts/faults --help"),
        }
    }
    arguments.program = std::path::absolute(&arguments.program)?;
    Ok(arguments)
}

#[expect(clippy::print_stderr, reason = "progress is talk, not a result")]
fn say(what: &str) {
    eprintln!("{what}");
}
