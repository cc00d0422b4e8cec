//! `refpoint audit export`: of a running node through its API, of a stopped one from its folder.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use refpoint_protocol::{audit::Exporter, ids::FederationId, ids::NodeKey};
use serde_json::json;

use super::{audited, shown};
use crate::{
    bundle::{Entries, Export},
    cli::{
        ConfigFile,
        failure::Failure,
        folder::{OpenFolder, node_secret},
        human,
        node::converse,
        output::Output,
    },
    client::{Client, ClientError},
    config::Config,
    fingerprint::spoken,
    founding::stored_trust,
    runtime::journal::stopped_checkpoint,
};

/// Write the directory into one file, with every signature, for auditors: no messages, no contact details.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The bundle to write; a complete one appears there, or nothing.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also the journal: every step of every message, as ids, members and times; no content. The file tells who wrote to
    /// whom, when.
    #[arg(long)]
    messages: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "no bundle was written";
    let config = arguments.config.load()?;
    let file = &arguments.file;
    if file.exists() {
        let why = format!("{} exists already", file.display());
        return Err(Failure::error(what, why, "choose another name; a bundle is never overwritten"));
    }
    let part = Part::new(file)?;
    let entries = if arguments.messages { Entries::Included } else { Entries::LeftOut };
    let federation = written(&config, &part, entries).map_err(|failure| failure.during(what))?;
    // What leaves the house holds, or does not leave it.
    let checked = audited(&part.path, federation, output).map_err(|failure| {
        let (why, _) = failure.into_why_and_remedy();
        Failure::unverified(
            what,
            why,
            "what this node has stored is damaged: run `refpoint doctor`, or restore a backup",
        )
    })?;
    part.keep(file)?;
    let bytes = fs::metadata(file).map_or(0, |metadata| metadata.len());
    let print = spoken(federation.as_bytes());
    let told = checked.entries.as_ref().map_or_else(String::new, |entries| {
        format!(
            "; it tells who wrote to whom and when, in {} journal entries about messages",
            entries.messages
        )
    });
    let human = format!(
        "{}: {}, {}\nroot        {}\nfederation  {print}\n\
         It holds no content of any message and no contact details{told}. Whoever checks it needs the fingerprint from two stewards:\n  \
         refpoint audit verify {} --federation '{print}'",
        file.display(),
        shown::counted(&checked),
        human::bytes(bytes),
        checked.root,
        file.display(),
    );
    let machine = json!({ "file": file, "bytes": bytes, "bundle": shown::summary(&checked) });
    output.result(human, &machine)
}

/// Has the bundle written, and says of which federation it is.
fn written(config: &Config, part: &Part, entries: Entries) -> Result<FederationId, Failure> {
    let mut out = part.file.try_clone().map_err(|error| part.failed(error))?;
    let client = Client::new(&config.socket);
    let by_node = converse(async {
        let mut bundle = match client.bundle(entries).await {
            Ok(bundle) => bundle,
            Err(ClientError::NotRunning { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        while let Some(piece) = bundle.next().await? {
            out.write_all(&piece).map_err(|error| part.failed(error))?;
        }
        Ok(Some(client.own_documents().await?.federation))
    })?;
    match by_node {
        Some(federation) => Ok(federation),
        None => by_hand(config, part, entries),
    }
}

fn by_hand(config: &Config, part: &Part, entries: Entries) -> Result<FederationId, Failure> {
    if !config.data.is_dir() {
        let why = format!("there is no data folder {}", config.data.display());
        return Err(Failure::error("no bundle was written", why, "name the node's --config"));
    }
    let secret = node_secret(config)?;
    let key = secret.signing_key();
    let folder = OpenFolder::open(config)?;
    let trust = stored_trust(folder.store.as_ref())?;
    let federation = trust.federation();
    let node = NodeKey::from_bytes(key.verifying_key().to_bytes());
    let exporter = Exporter { federation, member: config.member.clone(), node };
    let now = human::now().timestamp();
    let journal = stopped_checkpoint(folder.store.as_ref(), &exporter, key, now)?;
    let export = Export { store: folder.store.as_ref(), trust, exporter, journal, entries, key, now };
    let mut out = std::io::BufWriter::new(&part.file);
    export.write(&mut out).map_err(|error| part.failed(error))?;
    Ok(federation)
}

/// The file while it is written: removed unless it is kept.
pub(super) struct Part {
    path: PathBuf,
    pub(super) file: File,
}

impl Part {
    pub(super) fn new(file: &Path) -> Result<Self, Failure> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let path = file.with_file_name(name);
        let opened = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path);
        let file = opened.map_err(|error| {
            let why = format!("{}: {error}", path.display());
            Failure::error(
                "nothing was written",
                why,
                "check that the folder is yours, and remove what is left of an earlier attempt",
            )
        })?;
        Ok(Self { path, file })
    }

    pub(super) fn failed(&self, error: impl std::fmt::Display) -> Failure {
        let why = format!("{}: {error}", self.path.display());
        Failure::error("nothing was written", why, "check that the disk is not full, then try again")
    }

    pub(super) fn keep(&self, file: &Path) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| self.failed(error))?;
        // A second name fails where one exists; renaming would overwrite it.
        fs::hard_link(&self.path, file).map_err(|error| self.failed(error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(file = %self.path.display(), %error, "a part of a bundle stays");
        }
    }
}

/// Its owner writes, its group reads: addresses of fixed channels are in no bundle, and names of members are.
const MODE: u32 = 0o640;
