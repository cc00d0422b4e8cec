//! `refpoint keys rotate`: brings the announced next root key into use.
//!
//! The rotation is recorded and written to a file before the node has it: a second one would leave the member
//! without any valid key, so what was signed once is only ever handed in again.

use std::path::PathBuf;

use refpoint_protocol::{
    ids::{KeySetId, MemberCode},
    membership::{MemberView, Membership, charter::root_hash},
};
use serde_json::json;

use super::{Place, shown};
use crate::{
    ceremony::documents_text,
    cli::{
        ConfigFile, RootPassphrase, Work,
        failure::Failure,
        folder::node_secret,
        output::{Consent, Output},
    },
    clock::Clock,
    fingerprint::spoken,
    founding::{Revealed, Succession, key_set_place, rotated_key_set, sign_key_set},
    keyfile::{
        KeyKind, PUBLIC_FILE, PassphrasePurpose, RootSecret, SignedRecord, obtain_passphrase, read_header,
        read_key, write_key, write_new,
    },
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The file of the next root key, which becomes the root key.
    #[arg(long, value_name = "FILE")]
    next_root_key: PathBuf,
    /// Where the new next root key goes: another medium, kept elsewhere.
    #[arg(long, value_name = "FILE")]
    new_next_root_key: PathBuf,
    /// The last key set that this member signed itself, by its first digits: after a theft. Unless said, the newest.
    #[arg(long, value_name = "DIGITS")]
    base: Option<String>,
    /// Where the signed rotation is kept; unless said, CODE-rotation-GENERATION.documents.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Sign without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    passphrase: RootPassphrase,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let node = node_secret(&config)?;
    let header = read_header(&arguments.next_root_key, KeyKind::Root)?;
    let (place, evidence) = Place::find(&config, WHAT)?;
    let federation = evidence.federation();
    let view = evidence.membership();
    let revealed = header.public.parse().map_err(|error| {
        Failure::unverified(
            WHAT,
            format!("the next root key's header is damaged: {error}"),
            "restore its copy",
        )
    })?;
    let announced = view.member(&config.member).map(|member| member.next);
    if announced != Some(root_hash(&revealed)) {
        let why = format!(
            "{} is not the next root key that {} announced",
            arguments.next_root_key.display(),
            config.member
        );
        return Err(Failure::unverified(WHAT, why, "bring the medium with the next root key"));
    }
    if arguments.new_next_root_key.exists() {
        let why = format!("{} exists already", arguments.new_next_root_key.display());
        return Err(Failure::error(WHAT, why, "name a new file on another medium"));
    }
    let base = match &arguments.base {
        Some(digits) => Some(find_base(digits, &evidence, &view, &config.member)?),
        None => None,
    };
    let new_next = RootSecret::generate()?;
    let change = Succession { node: node.key(), ended: Vec::new(), issued: Clock::start(0).now() };
    let reveals = Revealed { root: revealed, next: new_next.commitment(), base };
    let set = rotated_key_set(&evidence, &config.member, &change, reveals)
        .map_err(|error| Failure::from(error).during(WHAT))?;
    let default = || PathBuf::from(format!("{}-rotation-{}.documents", config.member, set.generation));
    let out = arguments.out.clone().unwrap_or_else(default);
    let mut record = SignedRecord::beside(&arguments.next_root_key)?;
    let places = [key_set_place(&set)];
    if let Some(signed) = record.signed(&places[0]) {
        let why = format!("this rotation was signed before, as {}", signed.short());
        let remedy = format!("hand that one in: refpoint charter import {}", out.display());
        return Err(Failure::unverified(WHAT, why, remedy));
    }
    output.talk(format!("{}root key from now on\n    {}\n", shown(&set), spoken(revealed.as_bytes())));
    output.confirm("Rotate to this root key?", Consent::from_flag(arguments.yes))?;
    let source = arguments.passphrase.source();
    let (_, root) = read_key::<RootSecret>(&arguments.next_root_key, || {
        obtain_passphrase(&source, PassphrasePurpose::Open, "the next root key")
    })?;
    let protection = obtain_passphrase(&source, PassphrasePurpose::Protect, "the new next root key")?;
    let broken = |error| Failure::error(WHAT, error, "report this: the fault is the program's");
    let envelope = sign_key_set(&set, federation, &root).map_err(broken)?;
    let id = envelope.id(Some(federation));
    let comment =
        [format!("Rotation of the root key of {}, generation {}. Not secret.", set.member, set.generation)];
    let text = documents_text(&comment, std::slice::from_ref(&envelope))?;
    write_key(
        &arguments.new_next_root_key,
        &config.member,
        &new_next,
        Some((&protection, arguments.work.factor())),
    )?;
    write_new(&out, text.as_bytes(), PUBLIC_FILE).map_err(|error| {
        Failure::error(
            WHAT,
            format!("cannot write {}: {error}", out.display()),
            "name another file with --out",
        )
    })?;
    record.enter(&places, id)?;
    let next = place.take(&evidence, &envelope, "the rotation is signed, and the node has not taken it")?;
    let human = format!(
        "{}stored; the node publishes it as soon as it runs, and {} keeps a copy.\n{} is the root key from now on: \
         keep it with its record {}.signed.\n{} is the next root key: keep it elsewhere. Next:\n  {next}",
        shown(&set),
        out.display(),
        arguments.next_root_key.display(),
        arguments.next_root_key.display(),
        arguments.new_next_root_key.display(),
    );
    let machine = json!({
        "key_set": id, "generation": set.generation, "epoch": set.epoch, "member": set.member,
        "nodes": set.nodes, "root_key": revealed, "file": out, "next": [next],
    });
    output.result(human, &machine)
}

/// The one key set of the member's present line whose id begins with a text.
fn find_base(
    digits: &str,
    evidence: &refpoint_protocol::evidence::Evidence,
    view: &Membership,
    member: &MemberCode,
) -> Result<KeySetId, Failure> {
    let line = view.member(member).and_then(MemberView::line);
    let sets = line.map_or_else(Vec::new, |line| evidence.trust().generation_key_sets(&line));
    let wanted = digits.to_lowercase();
    let found: Vec<KeySetId> = sets
        .iter()
        .map(|set| KeySetId::from(set.id()))
        .filter(|id| wanted.len() >= super::PREFIX_LEAST && id.to_string().starts_with(&wanted))
        .collect();
    match found.as_slice() {
        [one] => Ok(*one),
        _ => Err(Failure::usage(
            WHAT,
            format!("{digits:?} names {} key sets of this member", found.len()),
            "give the first digits as `refpoint keys status` shows them, eight at least",
        )),
    }
}

const WHAT: &str = "the root key was not rotated";
