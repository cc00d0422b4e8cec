//! `refpoint join`: checks a federation against its spoken fingerprint, and makes this node a part of it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use refpoint_protocol::{
    document::encode,
    ids::{MemberCode, NodeKey},
    membership::key_set::KeySet,
    storage::{Change, Table},
    time::Timestamp,
};
use serde_json::json;

use super::{
    ConfigFile, RootPassphrase,
    charter::check_founded,
    failure::Failure,
    folder::{OpenFolder, node_secret},
    keys::{evidence_from, find_node},
    output::Output,
    owner,
};
use crate::{
    api::views::document::OwnDocuments,
    armor::Label,
    ceremony::Ceremony,
    clock::Clock,
    fingerprint::{heard, spoken},
    founding::{
        Succession, first_key_set, joined_federation, joining_changes, key_set_change, key_set_place,
        next_key_set, sign_key_set,
    },
    keyfile::{
        KeyKind, PassphrasePurpose, RootSecret, SignedRecord, obtain_passphrase, read_header, read_key,
    },
    store::Store as _,
};

/// Join a federation: check its fingerprint, sign the first key set, store both.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The combined charter, federation.join.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The federation's fingerprint as two stewards read it aloud; spaces do not matter.
    #[arg(long, value_name = "TEXT")]
    fingerprint: String,
    /// What another member wrote with `refpoint keys export`, for a member that lost its node.
    #[arg(long, value_name = "FILE", requires = "replace")]
    documents: Option<PathBuf>,
    /// The key of the node that was lost, or its first digits: it is retired.
    #[arg(long, value_name = "NODE", requires = "documents")]
    replace: Option<String>,
    /// The file of this member's root key.
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    #[command(flatten)]
    passphrase: RootPassphrase,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = format!("{} was not joined", arguments.file.display());
    let told = heard(&arguments.fingerprint).map_err(|error| {
        Failure::usage(
            &*what,
            format!("the fingerprint is none: {error}"),
            "give all sixteen groups, in quotes",
        )
    })?;
    let config = arguments.config.load()?;
    owner::check(&config.data, &what)?;
    let (_, federation) = Ceremony::read(&arguments.file, &[Label::Federation])
        .map_err(|error| Failure::from(error).during(&*what))?;
    if federation.id().as_bytes() != &told {
        let why = format!(
            "its fingerprint is another than the one given:\nfile   {}\ngiven  {}",
            spoken(federation.id().as_bytes()),
            spoken(&told)
        );
        let remedy =
            "do not use this file; hear the fingerprint from two stewards, and ask them for the file";
        return Err(Failure::unverified(what, why, remedy));
    }
    check_founded(&federation).map_err(|why| {
        Failure::unverified(&*what, why, "ask the stewards for the complete federation.join")
    })?;
    let member = &config.member;
    let Some(entry) = federation.charter().member(member) else {
        let why = format!("its charter does not list {member}, the member of {}", config.file.display());
        return Err(Failure::unverified(what, why, "correct `member`, or ask the stewards to be admitted"));
    };
    let header = read_header(&arguments.root_key, KeyKind::Root)?;
    if header.public != entry.root.to_string() {
        let why =
            format!("its charter lists another root key of {member} than {}", arguments.root_key.display());
        return Err(Failure::unverified(what, why, "use the root key whose request went into the charter"));
    }
    let node = node_secret(&config)?;
    let mut folder = OpenFolder::open(&config)?;
    if let Some(joined) = joined_federation(&*folder.store)? {
        let why = format!(
            "{} has joined a federation already: {}",
            config.data.display(),
            spoken(joined.as_bytes())
        );
        return Err(Failure::error(what, why, "use a folder of its own for each federation"));
    }
    let issued = Clock::start(0).now();
    let (set, earlier) = match (&arguments.documents, &arguments.replace) {
        (Some(file), Some(replaced)) => next_set(file, replaced, &federation, member, (node.key(), issued))
            .map_err(|failure| failure.during(&*what))?,
        _ => (first_key_set(entry, federation.id(), node.key(), issued), Vec::new()),
    };
    let signed = sign_first(arguments, &federation, &set, earlier, &mut folder)?;
    report(arguments, &federation, &set, &node.key().to_string(), &signed, output)
}

/// The key set that follows those in another member's file, and what is stored of them.
fn next_set(
    file: &Path,
    replaced: &str,
    federation: &Ceremony,
    member: &MemberCode,
    (node, issued): (NodeKey, Timestamp),
) -> Result<(KeySet, Vec<Change>), Failure> {
    let (what, again) = ("the documents are not used", "ask another member for `refpoint keys export` again");
    let text = read_bounded(file).map_err(|error| {
        Failure::error(what, format!("cannot read {}: {error}", file.display()), "check the file's name")
    })?;
    let documents: OwnDocuments = serde_json::from_str(&text)
        .map_err(|error| Failure::unverified(what, format!("{}: {error}", file.display()), again))?;
    if documents.federation != federation.federation() {
        return Err(Failure::unverified(what, "they are of another federation", again));
    }
    let evidence = evidence_from(documents)?;
    let replaced = find_node(replaced, &evidence.membership().active_nodes(member))?;
    let change = Succession { node, replaced: Some(replaced), issued };
    let set = next_key_set(&evidence, member, &change)?;
    let trust = evidence.trust();
    let broken = |error| Failure::error(what, error, "report this: the fault is the program's");
    let mut earlier = Vec::new();
    for charter in trust.charters() {
        let bytes = encode(charter.envelope().as_ref()).map_err(broken)?;
        earlier.push(Change::put(Table::Charters, *charter.id().as_bytes(), bytes));
    }
    for set in trust.key_sets() {
        earlier.push(key_set_change(evidence.federation(), set.envelope()).map_err(broken)?);
    }
    Ok((set, earlier))
}

/// Reads a text file of bounded size.
fn read_bounded(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(file)?.take(DOCUMENTS_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > DOCUMENTS_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    Ok(text)
}

/// Signs the key set and stores it with the charter, both or neither.
fn sign_first(
    arguments: &Arguments,
    federation: &Ceremony,
    set: &KeySet,
    earlier: Vec<Change>,
    folder: &mut OpenFolder,
) -> Result<String, Failure> {
    let mut record = SignedRecord::beside(&arguments.root_key)?;
    let (_, root) = read_key::<RootSecret>(&arguments.root_key, || {
        obtain_passphrase(&arguments.passphrase.source(), PassphrasePurpose::Open, "the root key")
    })?;
    let broken =
        |error| Failure::error("nothing was stored", error, "report this: the fault is the program's");
    let envelope = sign_key_set(set, federation.federation(), &root).map_err(broken)?;
    let id = envelope.id(Some(federation.federation()));
    let places = [key_set_place(set)];
    record.check(&places, id)?;
    let mut changes = earlier;
    changes.extend(joining_changes(federation, &envelope).map_err(broken)?);
    folder.store.apply(&changes)?;
    folder.store.sync()?;
    // The signature is still in this folder alone, which nobody else has open: the record may follow it.
    record.enter(&places, id)?;
    Ok(id.to_string())
}

fn report(
    arguments: &Arguments,
    federation: &Ceremony,
    set: &KeySet,
    node: &str,
    key_set: &str,
    output: &Output,
) -> Result<(), Failure> {
    let hinted = federation.requests().get(&set.member).map(|request| request.payload().node.to_string());
    if hinted.as_deref() != Some(node) {
        output.talk(
            "note: this node has another key than the joining request says; the key set lists this one",
        );
    }
    let next = "refpoint run";
    let human = format!(
        "{} has joined the federation of {} members\nfederation  {}\nkey set     epoch {}, node {}, review due in {} days\n\n\
         Take {} offline again, with {6}.signed beside it. Next:\n  {next}",
        set.member,
        federation.charter().members.len(),
        spoken(federation.id().as_bytes()),
        set.epoch,
        node.chars().take(8).collect::<String>(),
        set.review.since(set.issued).as_secs() / 86_400,
        arguments.root_key.display(),
    );
    let machine = json!({
        "member": set.member,
        "federation": federation.id(),
        "fingerprint": spoken(federation.id().as_bytes()),
        "key_set": key_set,
        "epoch": set.epoch,
        "review": set.review,
        "node_key": node,
        "next": [next],
    });
    output.result(human, &machine)
}

/// Bytes of another member's documents: charters of 256 KiB and key sets of years, in base64.
const DOCUMENTS_BYTES_MAX: u64 = 16 * 1024 * 1024;
