//! `refpoint backup create`: of a running node through its API, of a stopped one from its folder.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::json;

use crate::{
    api::views::snapshot::SnapshotReply,
    backup::{BackupKey, Content, FORMAT, Manifest, Recipients, Replace, create},
    cli::{ConfigFile, Work, failure::Failure, folder::OpenFolder, human, node::converse, output::Output},
    client::{Client, ClientError},
    clock::Clock,
    config::Config,
    founding::joined_federation,
    keyfile::{KeyKind, PassphraseFile, PassphrasePurpose, obtain_passphrase, read_header},
    store::Snapshot,
};

/// Make one encrypted file of this node: keys, configuration, database and content; the node may run.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The backup to make; a complete one appears there, or nothing.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Encrypt for the holder of this age recipient's identity (age1…); may be repeated.
    #[arg(long, value_name = "AGE1…", conflicts_with = "passphrase_file")]
    recipient: Vec<BackupKey>,
    /// File with the backup's passphrase, one line, readable by its owner alone; else the terminal is asked.
    #[arg(long, value_name = "FILE", env = "REFPOINT_BACKUP_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
    /// Put the root keys in, too, if they lie here.
    #[arg(long)]
    with_root_keys: bool,
    /// Replace a backup of this name.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    config: ConfigFile,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "no backup was made";
    let config = arguments.config.load()?;
    let header = read_header(&config.node_key, KeyKind::Node)?;
    let node = header.public.parse().map_err(|error| {
        Failure::unverified(what, format!("{}: {error}", config.node_key.display()), "restore the key file")
    })?;
    let replace = if arguments.force { Replace::Allowed } else { Replace::Never };
    if replace == Replace::Never && arguments.file.exists() {
        return Err(crate::backup::BackupError::Exists(arguments.file.clone()).into());
    }
    let recipients = recipients(arguments)?;
    let (snapshot, running) = snapshot(&config).map_err(|failure| failure.during(what))?;
    let _removed_at_the_end = Leftover(snapshot.folder.clone());
    let claim = Snapshot::claim(&snapshot.folder).map_err(|error| {
        Failure::error(what, error, "run the command as the node's own user, one at a time")
    })?;
    let root_keys_here = Content::root_keys_here(&config);
    let manifest = Manifest {
        format: FORMAT,
        made: Clock::start(0).now(),
        member: config.member.clone(),
        node,
        federation: snapshot.federation,
        schema: snapshot.schema.into(),
        program: concat!("refpoint ", env!("CARGO_PKG_VERSION")).to_owned(),
        running,
        root_keys: arguments.with_root_keys && !root_keys_here.is_empty(),
    };
    let content = Content { manifest, config: &config, snapshot: &snapshot.folder };
    let began = Instant::now();
    let bar = output.progress(content.rough_bytes() / 1024, "KiB backed up");
    let mut bytes = 0;
    let made = create(&arguments.file, replace, &content, &recipients, |moved| {
        bytes += moved;
        bar.set_position(bytes / 1024);
    });
    bar.finish_and_clear();
    drop(claim);
    let made = made?;
    let left_here = if content.manifest.root_keys { &[][..] } else { &root_keys_here };
    report(arguments, &snapshot, made, left_here, began, output)
}

fn report(
    arguments: &Arguments,
    snapshot: &SnapshotReply,
    made: crate::backup::Created,
    root_keys_left: &[PathBuf],
    began: Instant,
    output: &Output,
) -> Result<(), Failure> {
    let file = arguments.file.display();
    let mut human = format!(
        "{file}: {} received and {} sent messages, {}, in {:.1} s\n",
        snapshot.inbox,
        snapshot.outbox,
        human::bytes(made.bytes),
        began.elapsed().as_secs_f64(),
    );
    let damaged = snapshot.set_aside + made.left_out;
    if damaged > 0 {
        human.push_str(&format!(
            "{damaged} damaged records of this node could not go in: see `refpoint status`\n"
        ));
    }
    for key in root_keys_left {
        human.push_str(&format!(
            "not in it: {}. Root keys belong on two offline media; --with-root-keys puts them in\n",
            key.display()
        ));
    }
    human.push_str(
        "not in it: the passphrase of the node's keys, if they are under one. Keep it elsewhere.\n",
    );
    human.push_str(&format!("Keep the file on another machine. Next:\n  refpoint backup verify {file}"));
    let machine = json!({
        "file": arguments.file,
        "bytes": made.bytes,
        "federation": snapshot.federation,
        "schema": snapshot.schema,
        "rows": snapshot.rows,
        "content_files": snapshot.files - made.left_out,
        "messages": { "received": snapshot.inbox, "sent": snapshot.outbox },
        "damaged_left_out": damaged,
        "root_keys_left_out": root_keys_left,
        "paused_ms": snapshot.paused_ms,
        "next": [format!("refpoint backup verify {file}")],
    });
    output.result(human, &machine)
}

fn recipients(arguments: &Arguments) -> Result<Recipients, Failure> {
    if !arguments.recipient.is_empty() {
        return Ok(Recipients::Keys(arguments.recipient.clone()));
    }
    let from = PassphraseFile(arguments.passphrase_file.clone());
    let passphrase = obtain_passphrase(&from, PassphrasePurpose::Protect, "the backup")?;
    Ok(Recipients::Passphrase(passphrase, arguments.work.factor()))
}

/// A snapshot by the running node, else of the folder that nobody has open; and whether the node runs.
fn snapshot(config: &Config) -> Result<(SnapshotReply, bool), Failure> {
    let client = Client::new(&config.socket);
    match converse(async { Ok(client.snapshot().await) })? {
        Ok(reply) => Ok((reply, true)),
        Err(ClientError::NotRunning { .. }) => {
            if !config.data.is_dir() {
                let why = format!("there is no data folder {}", config.data.display());
                return Err(Failure::error("no backup was made", why, "name the node's --config"));
            }
            let folder = OpenFolder::open(config)?;
            let federation = joined_federation(folder.store.as_ref())?;
            let made = folder.store.snapshot();
            let made = made.map_err(|error| Failure::from(crate::backup::BackupError::from(error)))?;
            Ok((SnapshotReply::of(made, federation), false))
        }
        Err(error) => Err(error.into()),
    }
}

/// The snapshot's folder, removed whatever happens.
struct Leftover(PathBuf);

impl Drop for Leftover {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(folder = %folder.display(), %error, "the node's copy of its rows stays until its next start");
    }
}
