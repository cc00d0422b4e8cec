//! `refpoint sample`: the sample federation, with folders for the members that are to run.

use std::{path::PathBuf, time::Instant};

use refpoint_protocol::ids::MemberCode;
use serde_json::json;

use super::{
    failure::Failure,
    output::{Output, table},
};
use crate::{
    clock::Clock,
    countries::Country,
    fingerprint::spoken,
    sample::{Draw, Sample},
};

/// Found a sample federation of the 196 members, for trying things out on one machine.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The folder to fill; it must be empty or not there.
    #[arg(value_name = "FOLDER")]
    directory: PathBuf,
    /// Members that get a folder ready for `refpoint run`, separated by commas.
    #[arg(long, value_name = "CODES", value_delimiter = ',', default_value = "FR,SG,BR,KE,JO")]
    run: Vec<MemberCode>,
    /// Make the same keys each time, for benchmarks; everybody knows them.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let started = Instant::now();
    let mut draw = arguments.seed.map_or(Draw::System, |seed| Draw::Seeded { seed, drawn: 0 });
    let mut running = arguments.run.clone();
    running.sort();
    running.dedup();
    let steps = Country::all().map_or(0, <[Country]>::len) + running.len();
    let bar = output.progress(steps as u64, "founding the sample");
    let sample = Sample::found(&mut draw, &running, Clock::start(0).now(), || bar.inc(1))?;
    let folders = sample.write_folders(&arguments.directory, &running, || bar.inc(1))?;
    bar.finish_and_clear();
    let rows = folders.iter().map(|place| {
        [
            place.member.to_string(),
            place.listen.to_string(),
            format!("refpoint run --config {}", place.config.display()),
        ]
    });
    let human = format!(
        "a sample federation of {} members, made in {:.1} s; nobody in it is real\nfederation  {}\n\n{}",
        sample.members.len(),
        started.elapsed().as_secs_f64(),
        spoken(sample.federation.as_bytes()),
        table(["member", "listens on", "start with"], rows),
    );
    let machine = json!({
        "federation": sample.federation,
        "fingerprint": spoken(sample.federation.as_bytes()),
        "sample": true,
        "members": sample.members.len(),
        "running": folders,
    });
    output.result(human, &machine)
}
