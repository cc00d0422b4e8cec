//! `refpoint backup verify`: every byte of a backup checked, and what it holds.

use std::path::PathBuf;

use super::{Asked, Keys, as_json, kibibytes, shown};
use crate::{
    backup::check,
    cli::{failure::Failure, output::Output},
};

/// Decrypt a backup and check every file, key and record in it; exit code 4 if anything is wrong.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let (asked, asked_node) = (Asked::default(), Asked::default());
    let bar = output.progress(kibibytes(&arguments.file), "KiB checked");
    let opener = arguments.keys.opener(&asked, &bar);
    let node_passphrase = arguments.keys.node_passphrase(&asked_node, &bar);
    let mut bytes = 0;
    let checked = check(&arguments.file, &opener, &node_passphrase, |moved| {
        bytes += moved;
        bar.set_position(bytes / 1024);
    });
    bar.finish_and_clear();
    let checked = checked?;
    output.result(format!("{} is whole\n{}", arguments.file.display(), shown(&checked)), &as_json(&checked))
}
