//! `refpoint charter combine`: all signatures in one file. A founding's is what members join with; a later version's,
//! put together by `gather`, is what is published.

use std::{path::PathBuf, sync::Arc};

use refpoint_protocol::{
    document::Unverified,
    limits::MEMBERS_MAX,
    membership::{Trust, charter::Charter},
};
use serde_json::json;

use super::{described, gather, shown, write_result};
use crate::{
    armor::Label,
    ceremony::{AnyCeremony, Ceremony},
    cli::{failure::Failure, output::Output},
    fingerprint::spoken,
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The signed copies: a founding's of all members, a later version's of as many as must sign.
    #[arg(value_name = "SIGNED", required = true, num_args = 1..=MEMBERS_MAX)]
    pub(super) files: Vec<PathBuf>,
    /// Where the result goes; unless said, federation.join for a founding, charter-VERSION.join for a later version.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "nothing was combined";
    let mut whole: Option<AnyCeremony> = None;
    let first = arguments.files.first().map(|file| file.display().to_string()).unwrap_or_default();
    for file in &arguments.files {
        let (_, copy) = AnyCeremony::read(file, &[Label::SignedCharter, Label::Federation])
            .map_err(|error| Failure::from(error).during(what))?;
        match &mut whole {
            None => whole = Some(copy),
            Some(whole) => whole.merge(copy).map_err(|fault| {
                let why = format!("{} does not go with {first}: {fault}", file.display());
                Failure::unverified(
                    what,
                    why,
                    "name the signed copies of one draft alone: either may be a file of an earlier charter, or a member \
                     signed another draft",
                )
            })?,
        }
    }
    match whole {
        Some(AnyCeremony::Founding(federation)) => founded(arguments, &federation, output),
        Some(AnyCeremony::Later(proposal)) => gather::run(arguments, &proposal, output),
        None => Err(Failure::usage(what, "no signed copy was named", "name every member's signed copy")),
    }
}

fn founded(arguments: &Arguments, federation: &Ceremony, output: &Output) -> Result<(), Failure> {
    let what = "nothing was combined";
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from("federation.join"));
    let missing: Vec<&str> = federation.unsigned().map(|entry| entry.code.as_str()).collect();
    if !missing.is_empty() {
        let why = format!(
            "{} of {} members have not signed: {}",
            missing.len(),
            federation.charter().members.len(),
            missing.join(", ")
        );
        return Err(Failure::error(
            what,
            why,
            "a founding needs every member's signature: ask those named for theirs",
        ));
    }
    check_founded(federation)
        .map_err(|why| Failure::unverified(what, why, "ask for the signed copies again"))?;
    let print = spoken(federation.id().as_bytes());
    let comment = [
        format!("A Refpoint federation of {} members. Not secret.", federation.charter().members.len()),
        format!("Fingerprint: {print}"),
        "Hear the fingerprint from two stewards before you join.".to_owned(),
    ];
    write_result(&out, &federation.to_text(Label::Federation, &comment)?)?;
    let next = format!("refpoint join {} --fingerprint \"{print}\" --root-key FILE", out.display());
    let human = format!(
        "{}\nwritten to {}\n\nfingerprint of the federation, to read aloud to every member:\n\n    {print}\n\n\
         Next: send the file to every member; each hears the fingerprint and runs\n  {next}",
        shown(federation),
        out.display(),
    );
    let machine = json!({ "file": out, "charter": described(federation), "next": [next] });
    output.result(human, &machine)
}

/// Lets the rules themselves say that the charter founds a federation.
pub(in crate::cli) fn check_founded(federation: &Ceremony) -> Result<(), String> {
    let id = federation.federation();
    let verified = Unverified::<Charter>::open(federation.envelope().clone())
        .and_then(|open| open.verify(id))
        .map_err(|error| error.to_string())?;
    let accepted = Trust::new(id).accept_charter(Arc::new(verified));
    accepted.map(drop).map_err(|error| format!("rule {}: {error}", error.rule()))
}
