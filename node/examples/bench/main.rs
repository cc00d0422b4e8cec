//! Measures whole nodes against the floor; run it by `scripts/bench`.
//!
//! Everything is measured in this one run. A ratio is a figure over the same work without the program around it.

mod audit;
mod backup;
mod crowd;
mod custody;
mod federation;
mod few;
mod floor;
mod mesh;
mod process;
mod relay;

use std::{fs::File, io::Write as _, path::PathBuf};

/// One figure.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// Against the floor, where there is one.
    ratio: Option<f64>,
    /// What is aimed at.
    aim: &'static str,
}

/// What is asked of the bench.
struct Arguments {
    program: PathBuf,
    json: Option<PathBuf>,
    /// How many nodes.
    mesh: Option<usize>,
    /// Which parts; all but the mesh if none is named.
    parts: Vec<Part>,
}

/// A part of the bench that can be asked for alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Relay,
    Custody,
    Process,
    Cold,
    Rest,
    Audit,
    Backup,
    Mesh,
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments()?;
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut figures = Vec::new();
    let wanted = |part| arguments.parts.contains(&part);
    if wanted(Part::Relay) {
        say("the relay between two nodes over TCP on loopback, in this process, and the floor beside it");
        figures.extend(runtime.block_on(relay::measure())?);
    }
    if wanted(Part::Custody) {
        say("a custodian's hand-over between three nodes over TCP on loopback");
        figures.extend(runtime.block_on(custody::measure())?);
    }
    if wanted(Part::Process) {
        say("single processes");
        figures.extend(process::measure(&arguments.program)?);
    }
    if wanted(Part::Cold) {
        say("a newcomer's first directory");
        figures.extend(runtime.block_on(crowd::cold_directory())?);
    }
    if wanted(Part::Audit) {
        say("a bundle of 196 members and 10,000 signatures, checked by the program");
        figures.extend(audit::measure(&arguments.program)?);
    }
    if wanted(Part::Backup) {
        say("a backup of 100,000 messages while others come in");
        figures.extend(backup::measure()?);
    }
    if wanted(Part::Rest) {
        say("a process with 195 connections (two minutes)");
        figures.extend(runtime.block_on(crowd::at_rest(&arguments.program))?);
    }
    if let Some(size) = arguments.mesh {
        say(&format!("{size} nodes in this process, all connected (196: some minutes on two cores)"));
        figures.extend(runtime.block_on(mesh::measure(size))?);
    }
    table(&figures);
    if let Some(file) = arguments.json {
        let mut file = File::create(file)?;
        for Figure { name, value, unit, ratio, .. } in &figures {
            writeln!(
                file,
                "{}",
                serde_json::json!({ "name": name, "value": value, "unit": unit, "ratio": ratio })
            )?;
        }
    }
    Ok(())
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut arguments =
        Arguments { program: "target/release/refpoint".into(), json: None, mesh: None, parts: Vec::new() };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().ok_or_else(|| anyhow::anyhow!("{argument} wants a value"));
        match argument.as_str() {
            "--program" => arguments.program = value()?.into(),
            "--json" => arguments.json = Some(value()?.into()),
            "--mesh" => arguments.mesh = Some(value()?.parse()?),
            "--relay" => arguments.parts.push(Part::Relay),
            "--custody" => arguments.parts.push(Part::Custody),
            "--process" => arguments.parts.push(Part::Process),
            "--cold" => arguments.parts.push(Part::Cold),
            "--audit" => arguments.parts.push(Part::Audit),
            "--backup" => arguments.parts.push(Part::Backup),
            "--rest" => arguments.parts.push(Part::Rest),
            "--mesh-alone" => {
                arguments.mesh = Some(value()?.parse()?);
                arguments.parts.push(Part::Mesh);
            }
            other => anyhow::bail!("unknown argument {other}; see scripts/bench --help"),
        }
    }
    if arguments.parts.is_empty() {
        arguments.parts = vec![
            Part::Relay,
            Part::Custody,
            Part::Process,
            Part::Cold,
            Part::Audit,
            Part::Backup,
            Part::Rest,
        ];
    }
    Ok(arguments)
}

#[expect(clippy::print_stderr, reason = "progress is talk, not a result")]
fn say(what: &str) {
    eprintln!("measuring {what} ...");
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn table(figures: &[Figure]) {
    println!("{:<24} {:>12} {:<5} {:>8}  aim", "figure", "value", "unit", "x floor");
    for Figure { name, value, unit, ratio, aim } in figures {
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        println!("{name:<24} {value:>12.3} {unit:<5} {ratio:>8}  {aim}");
    }
}

/// The value below which this part of the times lies.
fn percentile(times: &mut [f64], part: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = (times.len() * part / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}
