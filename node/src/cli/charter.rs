//! `refpoint charter`: the founding, and every later change of who is a member, one step on each machine.

mod combine;
mod countersign;
mod gather;
mod import;
mod new;
mod newest;
mod propose;
mod publish;
mod review;
mod show;
mod sign;
mod version;

use std::path::Path;

use clap::Subcommand;
pub(super) use combine::check_founded;
pub(super) use import::hand_in;
use refpoint_protocol::membership::charter::Refounded;
use serde_json::{Value, json};

use super::{failure::Failure, init::group_name, output::Output};
use crate::{
    ceremony::Ceremony,
    countries::Country,
    fingerprint::spoken,
    keyfile::{PUBLIC_FILE, write_new},
};

/// Found a federation, and change who is a member: each step is a file, shown in full before it is signed.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Draft the first charter from joining requests.
    New(new::Arguments),
    /// Propose the next version: admit, suspend, reinstate, withdraw, other stewards, another root key.
    Propose(propose::Arguments),
    /// Show how a proposal differs from the version before it, and whose signatures it has and lacks.
    Review(review::Arguments),
    /// Show a draft or proposal in full and sign it with this member's root key.
    Sign(sign::Arguments),
    /// Combine the signed copies: a founding's into federation.join, a later version's into charter-N.join.
    Combine(combine::Arguments),
    /// Hand a complete version to the running node, which passes it on to all.
    Publish(publish::Arguments),
    /// Hand signed documents to the running node on anybody's behalf: charter versions, key sets.
    Import(import::Arguments),
    /// Show a request, a draft, a proposal, a signed copy or a complete charter.
    Show(show::Arguments),
}

pub(super) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::New(arguments) => new::run(arguments, output),
        Command::Propose(arguments) => propose::run(arguments, output),
        Command::Review(arguments) => review::run(arguments, output),
        Command::Publish(arguments) => publish::run(arguments, output),
        Command::Import(arguments) => import::run(arguments, output),
        Command::Sign(arguments) => sign::run(arguments, output),
        Command::Combine(arguments) => combine::run(arguments, output),
        Command::Show(arguments) => show::run(arguments, output),
    }
}

/// The whole charter for people: every member, code, name, group, duty and root fingerprint.
fn shown(ceremony: &Ceremony) -> String {
    let charter = ceremony.charter();
    let mut text = format!(
        "charter version {}, {} members\nfederation   {}\nstewards     {} ({} of {} sign every later version)\n\n",
        charter.version,
        charter.members.len(),
        spoken(ceremony.id().as_bytes()),
        charter.stewards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        charter.threshold,
        charter.stewards.len(),
    );
    if let Some(Refounded { federation, tips }) = &charter.refounds {
        text.push_str(&format!(
            "its founders say that it takes the place of another federation:\n             {}\n",
            spoken(federation.as_bytes())
        ));
        for tip in tips {
            text.push_str(&format!("  at version   {}\n", spoken(tip.as_bytes())));
        }
        text.push('\n');
    }
    for entry in &charter.members {
        let name = Country::find(&entry.code).map_or("", |country| country.name_en.as_str());
        let steward = if charter.stewards.contains(&entry.code) { "steward" } else { "" };
        let signed = if ceremony.signed().contains(&entry.code) { "signed" } else { "not signed" };
        text.push_str(&format!(
            "{:<10} {name:<32} {:<9} {steward:<8} {signed}\n           root {}\n",
            entry.code.as_str(),
            group_name(entry.group),
            spoken(entry.root.as_bytes()),
        ));
        if let Some(request) = ceremony.requests().get(&entry.code) {
            let addresses = &request.payload().addresses;
            let at = if addresses.is_empty() { "dials out only".to_owned() } else { addresses.join(", ") };
            text.push_str(&format!("           node {} at {at}\n", request.payload().node.short()));
        }
    }
    text
}

/// The same for programs.
fn described(ceremony: &Ceremony) -> Value {
    let charter = ceremony.charter();
    let members: Vec<Value> = charter
        .members
        .iter()
        .map(|entry| {
            let request = ceremony.requests().get(&entry.code).map(|request| request.payload());
            json!({
                "code": entry.code,
                "name": Country::find(&entry.code).map(|country| country.name_en.as_str()),
                "kind": entry.kind,
                "group": entry.group,
                "steward": charter.stewards.contains(&entry.code),
                "root_key": entry.root,
                "fingerprint": spoken(entry.root.as_bytes()),
                "next_root_hash": entry.next,
                "node_key": request.map(|request| request.node),
                "addresses": request.map(|request| &request.addresses),
                "signed": ceremony.signed().contains(&entry.code),
            })
        })
        .collect();
    json!({
        "federation": ceremony.id(),
        "fingerprint": spoken(ceremony.id().as_bytes()),
        "version": charter.version,
        "refounds": charter.refounds,
        "threshold": charter.threshold,
        "stewards": charter.stewards,
        "members": members,
        "complete": ceremony.unsigned().next().is_none(),
    })
}

/// Writes a result that must not exist yet.
fn write_result(file: &Path, text: &str) -> Result<(), Failure> {
    write_new(file, text.as_bytes(), PUBLIC_FILE).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::error(
            "nothing was written",
            format!("{} exists already, and nothing is overwritten", file.display()),
            "name another file with --out, or move the old one away",
        ),
        _ => Failure::error(
            "nothing was written",
            format!("cannot write {}: {error}", file.display()),
            "check that the folder is yours and the disk not full, or name another file with --out",
        ),
    })
}
