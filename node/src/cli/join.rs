//! `refpoint join`: checks a federation against its spoken fingerprint, and makes this node a part of it.

use std::path::PathBuf;

use refpoint_protocol::membership::key_set::KeySet;
use serde_json::json;

use super::{
    ConfigFile, RootPassphrase,
    charter::check_founded,
    failure::Failure,
    folder::{OpenFolder, node_secret},
    output::Output,
    owner,
};
use crate::{
    armor::Label,
    ceremony::Ceremony,
    clock::Clock,
    fingerprint::{heard, spoken},
    founding::{first_key_set, joined_federation, joining_changes, key_set_place, sign_key_set},
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
    let set = first_key_set(entry, federation.id(), node.key(), Clock::start(0).now());
    let signed = sign_first(arguments, &federation, &set, &mut folder)?;
    report(arguments, &federation, &set, &node.key().to_string(), &signed, output)
}

/// Signs the first key set and stores it with the charter, both or neither.
fn sign_first(
    arguments: &Arguments,
    federation: &Ceremony,
    set: &KeySet,
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
    folder.store.apply(&joining_changes(federation, &envelope).map_err(broken)?)?;
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
