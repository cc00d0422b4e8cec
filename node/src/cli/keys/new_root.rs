//! `refpoint keys new-root`: new root keys and a joining request with them, after both old ones were lost.
//!
//! Nothing changes until a charter version replaces the root: that is the stewards' decision, made by voice.

use std::{fs, path::PathBuf};

use refpoint_protocol::{
    document::{Signature, encode, sign},
    membership::{charter::MemberKind, request::JoiningRequest},
};
use serde_json::json;

use super::Place;
use crate::{
    armor::{Label, armor},
    cli::{ConfigFile, RootPassphrase, Work, failure::Failure, folder::node_secret, output::Output, qr},
    clock::Clock,
    fingerprint::spoken,
    keyfile::{PUBLIC_FILE, PassphrasePurpose, RootSecret, obtain_passphrase, write_key, write_new},
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// A new folder for root.key, next-root.key and the request.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    #[command(flatten)]
    passphrase: RootPassphrase,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "no root key was made";
    let config = arguments.config.load()?;
    let node = node_secret(&config)?;
    let (_, evidence) = Place::find(&config, what)?;
    let view = evidence.membership();
    let Some(member) = view.member(&config.member) else {
        let why = format!("the charter does not list {}", config.member);
        return Err(Failure::error(what, why, "join first: refpoint init makes a newcomer's request"));
    };
    let (root_file, next_file) = (arguments.dir.join("root.key"), arguments.dir.join("next-root.key"));
    let request_file = arguments.dir.join(format!("{}.request", config.member));
    if let Some(there) = [&root_file, &next_file, &request_file].into_iter().find(|file| file.exists()) {
        let why = format!("{} exists already, and nothing is overwritten", there.display());
        return Err(Failure::error(what, why, "name a new folder with --dir"));
    }
    let protection =
        obtain_passphrase(&arguments.passphrase.source(), PassphrasePurpose::Protect, "the root keys")?;
    let (root, next) = (RootSecret::generate()?, RootSecret::generate()?);
    let request = JoiningRequest {
        member: config.member.clone(),
        kind: MemberKind::of(&config.member),
        group: member.group,
        alg: Signature::ED25519,
        root: root.key(),
        next: next.commitment(),
        node: node.key(),
        addresses: config.announce.iter().map(ToString::to_string).collect(),
        created: Clock::start(0).now(),
    };
    let broken = |error| Failure::error(what, error, "report this: the fault is the program's");
    let envelope = sign(&request, None, &[root.signing_key(), node.signing_key()]).map_err(broken)?;
    let print = spoken(request.root.as_bytes());
    let comment = [
        format!("Request of {} for a new root key in a Refpoint federation. Not secret.", config.member),
        format!("Fingerprint of the root key: {print}"),
        "Compare the fingerprint by voice before you trust this file.".to_owned(),
    ];
    let text = armor(Label::JoiningRequest, &comment, &encode(&envelope).map_err(broken)?);
    let lock = Some((&protection, arguments.work.factor()));
    write_key(&root_file, &config.member, &root, lock)?;
    write_key(&next_file, &config.member, &next, lock)?;
    write_new(&request_file, text.as_bytes(), PUBLIC_FILE).map_err(|error| {
        // Keys that nobody asked for yet are of no use.
        let _ = (fs::remove_file(&root_file), fs::remove_file(&next_file));
        Failure::error(what, format!("cannot write {}: {error}", request_file.display()), "check the folder")
    })?;
    let next = format!("refpoint charter propose replace-root {}", request_file.display());
    let human = format!(
        "new root keys of {} are in {}\n\nfingerprint, to read aloud to the stewards:\n\n    {print}\n\n{}\n\
         Next: send {} to a steward, who runs\n  {next}\nand sign what comes back with the new root key too",
        config.member,
        arguments.dir.display(),
        qr::root(config.member.as_str(), &print),
        request_file.display(),
    );
    let machine = json!({
        "member": config.member, "root_key": request.root, "fingerprint": print, "node_key": request.node,
        "request": request_file, "next": [next],
    });
    output.result(human, &machine)
}
