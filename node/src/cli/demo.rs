//! `refpoint demo`: a federation on this machine, with what happens between its members.

use std::path::PathBuf;

use super::{failure::Failure, output::Output};
use crate::demo::{self, DemoError, Options};

/// See a federation work on this machine: 196 sample members, five of them running.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// End after the last step, with exit code 0 if all of them worked.
    #[arg(long)]
    once: bool,
    /// Keep the nodes' folders here, to look at them afterwards.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let options = Options { once: arguments.once, json: output.is_json(), keep: arguments.keep.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::error("the demo did not start", error, "try again"))?;
    runtime.block_on(demo::run(&options)).map_err(|error| {
        let remedy = match &error {
            DemoError::Folder(_) | DemoError::Start(_) | DemoError::Signal(_) => {
                "look at the free space and the limits of this machine, then run it again"
            }
            _ => "run it again with --keep FOLDER and look at the nodes' logs there",
        };
        Failure::error("a step of the demo failed", error, remedy)
    })
}
