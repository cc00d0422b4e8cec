//! `refpoint charter sign`: shows the draft in full, asks, and adds this member's signature.
//!
//! A founding is signed here, a later version by `countersign`.

use std::path::{Path, PathBuf};

use refpoint_protocol::document::sign;
use serde_json::json;

use super::{countersign, described, shown, write_result};
use crate::{
    armor::Label,
    ceremony::{AnyCeremony, Ceremony},
    cli::{
        ConfigFile, RootPassphrase,
        failure::Failure,
        output::{Consent, Output},
    },
    fingerprint::spoken,
    keyfile::{
        KeyHeader, KeyKind, PassphrasePurpose, RootSecret, SignedRecord, obtain_passphrase, read_header,
        read_key,
    },
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The draft, the proposal, or a copy that others have signed.
    #[arg(value_name = "DRAFT")]
    pub(super) draft: PathBuf,
    /// The file of this member's root key.
    #[arg(long, value_name = "FILE")]
    pub(super) root_key: PathBuf,
    #[command(flatten)]
    pub(super) passphrase: RootPassphrase,
    /// Sign without being asked: for scripts that have shown the draft to a person.
    #[arg(long)]
    pub(super) yes: bool,
    /// Give up what this key signed for the same place, named by its first digits; the key's record keeps both.
    #[arg(long, value_name = "DIGITS")]
    pub(super) give_up: Option<String>,
    /// Where the signed copy goes; unless said, CODE.signed or CODE-VERSION.signed beside the draft.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let (_, draft) = AnyCeremony::read(&arguments.draft, &DRAFTS)
        .map_err(|error| Failure::from(error).during("nothing was signed"))?;
    let header = read_header(&arguments.root_key, KeyKind::Root)?;
    match draft {
        AnyCeremony::Founding(draft) => sign_founding(arguments, &draft, &header, output),
        AnyCeremony::Later(proposal) => countersign::run(arguments, &proposal, &header, output),
    }
}

fn sign_founding(
    arguments: &Arguments,
    draft: &Ceremony,
    header: &KeyHeader,
    output: &Output,
) -> Result<(), Failure> {
    let what = "nothing was signed";
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
    if let Some(beginning) = &arguments.give_up {
        record.give_up(&places, beginning)?;
    }
    record.check(&places, draft.id().into())?;
    output.talk(shown(draft));
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

/// What may be signed.
const DRAFTS: [Label; 3] = [Label::CharterDraft, Label::CharterProposal, Label::SignedCharter];

/// The place in the record of what a root key signed: a member founds one federation.
const FOUNDING: &str = "charter founding";
