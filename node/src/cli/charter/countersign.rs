//! Signing a later charter version: shown in full, compared with what the key signed before, and for a member that
//! it admits with the member's first key set.

use refpoint_protocol::{
    document::Envelope,
    ids::{DocumentId, MemberCode},
};
use serde_json::json;

use super::{
    review::{place, refuse_overtaken},
    sign::Arguments,
    version::{described, missing, shown_in_full},
    write_result,
};
use crate::{
    armor::Label,
    ceremony::Proposal,
    cli::{
        failure::Failure,
        output::{Consent, Output},
    },
    fingerprint::spoken,
    founding::{first_key_set, key_set_place, sign_key_set},
    keyfile::{KeyHeader, PassphrasePurpose, RootSecret, SignedRecord, obtain_passphrase, read_key},
};

pub(super) fn run(
    arguments: &Arguments,
    proposal: &Proposal,
    header: &KeyHeader,
    output: &Output,
) -> Result<(), Failure> {
    let what = "nothing was signed";
    let version = proposal.charter().version;
    let Some(member) = member_of(proposal, header) else {
        let why = format!(
            "the root key of {} in {} is neither a steward's nor new in this version",
            header.member,
            arguments.root_key.display()
        );
        return Err(Failure::unverified(what, why, "use the root key that the charter lists"));
    };
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| arguments.draft.with_file_name(format!("{member}-{version}.signed")));
    if out.exists() {
        let why = format!("{} exists already", out.display());
        return Err(Failure::error(what, why, "send that one; or name another file with --out"));
    }
    let here = place(proposal, &arguments.config).map_err(|why| why.during(what))?;
    refuse_overtaken(here.as_ref(), what)?;
    let mut record = SignedRecord::beside(&arguments.root_key)?;
    check_federation(&record, proposal, what)?;
    let parents = proposal.charter().parents.iter();
    let places: Vec<String> = parents.map(|parent| format!("charter after {parent}")).collect();
    let id = DocumentId::from(proposal.id());
    if let Some(beginning) = &arguments.give_up {
        record.give_up(&places, beginning)?;
    }
    record.check(&places, id)?;
    output.talk(shown_in_full(proposal));
    let question = format!("Does {member} sign version {version} of the charter?");
    output.confirm(&question, Consent::from_flag(arguments.yes))?;
    let (_, root) = read_key::<RootSecret>(&arguments.root_key, || {
        obtain_passphrase(&arguments.passphrase.source(), PassphrasePurpose::Open, "the root key")
    })?;
    let key_set = own_key_set(proposal, &member, &root, &record)?;
    let signed = proposal.signed_by(&root, key_set.as_ref().map(|(envelope, _)| envelope.clone()))?;
    let comment = [
        format!("Refpoint charter version {version}, signed by {member}. Not secret."),
        format!("Fingerprint: {}", spoken(signed.id().as_bytes())),
    ];
    let text = signed.to_text(Label::SignedCharter, &comment)?;
    // Written down first: a signature that got out without a record could be followed by another.
    record.enter(&places, id)?;
    record.enter(&[FEDERATION.to_owned()], proposal.federation().into())?;
    if let Some((envelope, place)) = &key_set {
        record.enter(std::slice::from_ref(place), envelope.id(Some(proposal.federation())))?;
    }
    write_result(&out, &text)?;
    let still = missing(&signed);
    let next = if still.is_empty() {
        format!("refpoint charter combine {}", out.display())
    } else {
        "refpoint charter combine FILES…".to_owned()
    };
    let first = if key_set.is_some() {
        format!("\nThe first key set of {member} is in it: `refpoint join` needs the root key no more.")
    } else {
        String::new()
    };
    let lacks =
        if still.is_empty() { "nothing is missing".to_owned() } else { format!("still missing: {still}") };
    let human = format!(
        "{member} has signed.{first}\nwritten to {}\n{lacks}\nNext: send it to whoever combines the signatures:\n  {next}",
        out.display(),
    );
    let machine = json!({
        "file": out,
        "member": member,
        "key_set": key_set.map(|(envelope, _)| envelope.id(Some(proposal.federation()))),
        "charter": described(&signed),
        "next": [next],
    });
    output.result(human, &machine)
}

/// Whose signature it would be.
fn member_of(proposal: &Proposal, header: &KeyHeader) -> Option<MemberCode> {
    let root = header.public.parse().ok()?;
    proposal.wanted().member_of(&root).cloned()
}

/// A root key that belongs to one federation signs nothing of another, whoever hands it in.
fn check_federation(record: &SignedRecord, proposal: &Proposal, what: &str) -> Result<(), Failure> {
    let known = [FOUNDING, FEDERATION].into_iter().find_map(|place| record.signed(place));
    match known {
        Some(known) if known != proposal.federation().into() => Err(Failure::unverified(
            what,
            format!("this root key belongs to the federation {}, and the file is of another", known.short()),
            "do not sign it; call whoever sent it",
        )),
        _ => Ok(()),
    }
}

/// The first key set of a member that this version admits, signed by its new root: it travels with the version, so
/// that the newcomer's node is known from the moment at which its member is.
fn own_key_set(
    proposal: &Proposal,
    member: &MemberCode,
    root: &RootSecret,
    record: &SignedRecord,
) -> Result<Option<(Envelope, String)>, Failure> {
    let Some(request) = proposal.requests().get(member) else { return Ok(None) };
    let entry = proposal.charter().member(member).filter(|entry| entry.root == root.key());
    let Some(entry) = entry else { return Ok(None) };
    // Dated as its request, so that whoever signs the same proposal again makes the same key set.
    let set = first_key_set(entry, proposal.id(), request.payload().node, request.payload().created);
    let broken =
        |error| Failure::error("nothing was signed", error, "report this: the fault is the program's");
    let envelope = sign_key_set(&set, proposal.federation(), root).map_err(broken)?;
    let place = key_set_place(&set);
    record.check(std::slice::from_ref(&place), envelope.id(Some(proposal.federation())))?;
    Ok(Some((envelope, place)))
}

/// The place in the record of what a root key signed: the federation that it belongs to.
const FEDERATION: &str = "federation";

/// The place of a founding, whose document's id is the federation's.
const FOUNDING: &str = "charter founding";
