//! `refpoint charter sign`: shows the draft in full, asks, and adds this member's signature.

use std::path::{Path, PathBuf};

use refpoint_protocol::document::sign;
use serde_json::json;

use super::{described, shown, write_result};
use crate::{
    armor::Label,
    ceremony::Ceremony,
    cli::{
        RootPassphrase,
        failure::Failure,
        output::{Consent, Output},
    },
    fingerprint::spoken,
    keyfile::{
        KeyKind, PassphrasePurpose, RootSecret, SignedRecord, obtain_passphrase, read_header, read_key,
    },
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The draft.
    #[arg(value_name = "DRAFT")]
    draft: PathBuf,
    /// The file of this member's root key.
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    #[command(flatten)]
    passphrase: RootPassphrase,
    /// Sign without being asked: for scripts that have shown the draft to a person.
    #[arg(long)]
    yes: bool,
    /// Where the signed copy goes; unless said, CODE.signed beside the draft.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "nothing was signed";
    let (_, draft) = Ceremony::read(&arguments.draft, &[Label::CharterDraft, Label::SignedCharter])
        .map_err(|error| Failure::from(error).during(what))?;
    let header = read_header(&arguments.root_key, KeyKind::Root)?;
    let listed = draft.charter().members.iter().find(|entry| entry.root.to_string() == header.public);
    let Some(entry) = listed else {
        let why = format!(
            "the root key of {} in {} is not in this draft",
            header.member,
            arguments.root_key.display()
        );
        return Err(Failure::unverified(
            what,
            why,
            "use the root key whose request is in the draft, or ask for a new draft",
        ));
    };
    let out = arguments.out.clone().unwrap_or_else(|| beside(&arguments.draft, entry.code.as_str()));
    if out.exists() {
        let why = format!("{} exists already", out.display());
        return Err(Failure::error(what, why, "send that one; or name another file with --out"));
    }
    let mut record = SignedRecord::beside(&arguments.root_key)?;
    let places = [FOUNDING.to_owned()];
    record.check(&places, draft.id().into())?;
    output.talk(shown(&draft));
    let question = format!("Does {} sign this charter?", entry.code);
    output.confirm(&question, Consent::from_flag(arguments.yes))?;
    let (_, root) = read_key::<RootSecret>(&arguments.root_key, || {
        obtain_passphrase(&arguments.passphrase.source(), PassphrasePurpose::Open, "the root key")
    })?;
    let broken = |error| Failure::error(what, error, "report this: the fault is the program's");
    let envelope = sign(draft.charter(), None, &[root.signing_key()]).map_err(broken)?;
    let signed = draft.with_signatures_of(envelope)?;
    let comment = [
        format!("Refpoint charter signed by {}. Not secret.", entry.code),
        format!("Federation: {}", spoken(signed.id().as_bytes())),
    ];
    let text = signed.to_text(Label::SignedCharter, &comment)?;
    // Written down first: a signature that got out without a record could be followed by another.
    record.enter(&places, signed.id().into())?;
    write_result(&out, &text)?;
    let human = format!(
        "{} has signed.\nwritten to {}\nNext: send it to whoever combines the signatures:\n  \
         refpoint charter combine *.signed",
        entry.code,
        out.display(),
    );
    let machine = json!({
        "file": out,
        "member": entry.code,
        "charter": described(&signed),
        "next": ["refpoint charter combine *.signed"],
    });
    output.result(human, &machine)
}

fn beside(draft: &Path, code: &str) -> PathBuf {
    draft.with_file_name(format!("{code}.signed"))
}

/// The place in the record of what a root key signed: a member founds one federation.
const FOUNDING: &str = "charter founding";
