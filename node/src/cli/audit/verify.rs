//! `refpoint audit verify`: a bundle checked from the pinned federation up, without any node.

use std::path::PathBuf;

use super::{Pinned, audited, shown};
use crate::cli::{failure::Failure, output::Output};

/// Check a bundle: every signature, chain and place, from the pinned federation up; exit code 4 if anything is false.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The bundle.
    #[arg(value_name = "BUNDLE")]
    file: PathBuf,
    #[command(flatten)]
    pinned: Pinned,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let federation = arguments.pinned.federation()?;
    let audited = audited(&arguments.file, federation, output)?;
    let human = format!("{} holds\n{}", arguments.file.display(), shown::report(&audited));
    output.result(human, &shown::report_json(&audited))
}
