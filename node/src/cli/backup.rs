//! `refpoint backup`: make one encrypted file of a node, check it, make a node of it again.

mod create;
mod restore;
mod verify;

use std::{cell::OnceCell, path::PathBuf};

use age::secrecy::SecretString;
use clap::Subcommand;
use indicatif::ProgressBar;
use refpoint_protocol::storage::Table;
use serde_json::{Value, json};

use super::{failure::Failure, human, output::Output};
use crate::{
    api::views::instant::Instant,
    backup::{Checked, Opener},
    fingerprint::spoken,
    keyfile::{PassphraseError, PassphraseFile, PassphrasePurpose, obtain_passphrase},
};

/// Back a node up into one encrypted file, check such a file, restore a node from it.
#[derive(Subcommand)]
pub(super) enum Command {
    Create(create::Arguments),
    Verify(verify::Arguments),
    Restore(restore::Arguments),
}

pub(super) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Create(arguments) => create::run(arguments, output),
        Command::Verify(arguments) => verify::run(arguments, output),
        Command::Restore(arguments) => restore::run(arguments, output),
    }
}

/// What opens a backup.
#[derive(clap::Args)]
struct Keys {
    /// File with the backup's passphrase, one line, readable by its owner alone; else the terminal is asked.
    #[arg(long, value_name = "FILE", env = "REFPOINT_BACKUP_PASSPHRASE_FILE", conflicts_with = "identity")]
    passphrase_file: Option<PathBuf>,
    /// File with the age identity that the backup was made for.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// File with the passphrase of the node's own keys, if they are under one; else the terminal is asked.
    #[arg(long, value_name = "FILE")]
    node_passphrase_file: Option<PathBuf>,
}

impl Keys {
    /// What opens the backup. A question stands where the bar stood meanwhile.
    fn opener<'a>(&'a self, asked: &'a Asked, bar: &'a ProgressBar) -> Opener<'a> {
        let from = PassphraseFile(self.passphrase_file.clone());
        let passphrase = Box::new(move || bar.suspend(|| asked.once(&from, "the backup")));
        Opener { identity: self.identity.clone(), passphrase }
    }

    fn node_passphrase<'a>(
        &self,
        asked: &'a Asked,
        bar: &'a ProgressBar,
    ) -> impl Fn() -> Result<SecretString, PassphraseError> + 'a {
        let from = PassphraseFile(self.node_passphrase_file.clone());
        move || bar.suspend(|| asked.once(&from, "the node's keys in the backup"))
    }
}

/// A passphrase that is asked for once, however often it is needed.
#[derive(Default)]
struct Asked(OnceCell<SecretString>);

impl Asked {
    fn once(&self, from: &PassphraseFile, what: &str) -> Result<SecretString, PassphraseError> {
        if let Some(known) = self.0.get() {
            return Ok(known.clone());
        }
        let passphrase = obtain_passphrase(from, PassphrasePurpose::Open, what)?;
        Ok(self.0.get_or_init(|| passphrase).clone())
    }
}

/// What a backup holds, for people.
fn shown(checked: &Checked) -> String {
    let manifest = &checked.manifest;
    let made: Instant = manifest.made.into();
    let age = human::now().timestamp().since(manifest.made).as_secs();
    let federation = manifest.federation.map(|federation| spoken(federation.as_bytes()));
    let mut text = format!(
        "made        {} ({} ago), {}\nmember      {}, node {}\nfederation  {}\nmessages    {} received, {} sent, {} kept for others\n\
         records     {}, storage schema {}, and {} content files\nkeys        {}\n",
        human::instant(made),
        human::duration(age),
        if manifest.running { "while the node ran" } else { "of a stopped node" },
        manifest.member,
        manifest.node.short(),
        federation.unwrap_or_else(|| "none joined yet".to_owned()),
        checked.count(Table::Inbox),
        checked.count(Table::Outbox),
        checked.count(Table::CustodyParcels),
        checked.rows.tables.values().sum::<u64>(),
        checked.rows.schema,
        checked.rows.files,
        if manifest.root_keys { "the node's, and root keys" } else { "the node's; no root keys" },
    );
    let lost = checked.rows.set_aside + checked.rows.left_out;
    if lost > 0 {
        text.push_str(&format!("damaged     {lost} records were damaged already when it was made\n"));
    }
    text
}

/// What a backup holds, for programs.
fn as_json(checked: &Checked) -> Value {
    let manifest = &checked.manifest;
    let made: Instant = manifest.made.into();
    let tables: serde_json::Map<String, Value> =
        checked.rows.tables.iter().map(|(table, rows)| (table.name().to_owned(), json!(rows))).collect();
    json!({
        "format": manifest.format,
        "made": made,
        "member": manifest.member,
        "node_key": manifest.node,
        "federation": manifest.federation,
        "running": manifest.running,
        "program": manifest.program,
        "schema": checked.rows.schema,
        "root_keys": manifest.root_keys,
        "messages": {
            "received": checked.count(Table::Inbox),
            "sent": checked.count(Table::Outbox),
            "kept_for_others": checked.count(Table::CustodyParcels),
        },
        "rows": checked.rows.tables.values().sum::<u64>(),
        "tables": tables,
        "content_files": checked.rows.files,
        "damaged_before": checked.rows.set_aside + checked.rows.left_out,
        "files": checked.files,
    })
}

/// A file's length in KiB, for progress.
fn kibibytes(file: &std::path::Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len() / 1024)
}
