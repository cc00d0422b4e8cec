//! `refpoint audit verify`: a bundle, or a message's proof, checked from the pinned federation up, without any node.

use std::path::PathBuf;

use super::{Pinned, audited_bytes, proof, read, shown};
use crate::cli::{failure::Failure, output::Output};

/// Check a bundle or a message's proof: every signature, chain and place, from the pinned federation up; exit code 4 if anything is false.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The bundle, or the proof.
    #[arg(value_name = "BUNDLE")]
    file: PathBuf,
    #[command(flatten)]
    pinned: Pinned,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let federation = arguments.pinned.federation()?;
    let bytes = read(&arguments.file)?;
    if let Some(verified) = proof::verified(&bytes, &arguments.file, federation) {
        let proven = verified?;
        let human = format!("{} holds\n{}", arguments.file.display(), proof::report(&proven));
        return output.result(human, &proof::report_json(&proven));
    }
    let audited = audited_bytes(&bytes, &arguments.file, federation, output)?;
    let human = format!("{} holds\n{}", arguments.file.display(), shown::report(&audited));
    output.result(human, &shown::report_json(&audited))
}
