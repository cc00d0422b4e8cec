//! `refpoint backup restore`: a node's folder out of a backup, and what happens next.

use std::path::PathBuf;

use serde_json::json;

use super::{Asked, Keys, as_json, kibibytes, shown};
use crate::{
    backup::restore,
    cli::{failure::Failure, output::Output, owner},
};

/// Make a node's folder of a backup, after checking all of it. The old node must never run again.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The folder to make; it must be empty or not there.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    owner::check(&arguments.dir, "nothing was restored")?;
    let (asked, asked_node) = (Asked::default(), Asked::default());
    // Read once to check, once to write.
    let bar = output.progress(kibibytes(&arguments.file) * 2, "KiB restored");
    let opener = arguments.keys.opener(&asked, &bar);
    let node_passphrase = arguments.keys.node_passphrase(&asked_node, &bar);
    let mut bytes = 0;
    let restored = restore(&arguments.file, &arguments.dir, &opener, &node_passphrase, |moved| {
        bytes += moved;
        bar.set_position(bytes / 1024);
    });
    bar.finish_and_clear();
    let restored = restored?;
    let config = arguments.dir.join("refpoint.toml");
    let next = format!("refpoint run --config {}", config.display());
    let mut human = format!("{} is restored\n{}", arguments.dir.display(), shown(&restored.checked));
    for note in &restored.notes {
        human.push_str(&format!("note        {note}\n"));
    }
    for line in AFTERWARDS {
        human.push_str(line);
        human.push('\n');
    }
    human.push_str(&format!("Next:\n  {next}"));
    let mut machine = as_json(&restored.checked);
    if let Some(fields) = machine.as_object_mut() {
        fields.insert("dir".to_owned(), json!(arguments.dir));
        fields.insert("notes".to_owned(), json!(restored.notes));
        fields.insert("afterwards".to_owned(), json!(AFTERWARDS));
        fields.insert("next".to_owned(), json!([next]));
    }
    output.result(human, &machine)
}

/// What a person must know before the node is started.
const AFTERWARDS: [&str; 4] = [
    "Never run two copies: both would sign with one key. Make sure that the old node cannot start again.",
    "The node signs no entry of its own until other members told it what it signed before (`chain-waiting`).",
    "What it received after the backup is sent to it again, once each; what it sent is with its recipients.",
    "Only what had left this machine for nobody is lost: ask the officers what they wrote last.",
];
