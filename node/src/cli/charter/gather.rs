//! The signatures of a later charter version in one file, which is published and with which newcomers join.

use std::path::PathBuf;

use serde_json::json;

use super::{
    combine::Arguments,
    version::{described, missing, reviewed},
    write_result,
};
use crate::{
    armor::Label,
    ceremony::Proposal,
    cli::{failure::Failure, output::Output},
    fingerprint::spoken,
};

pub(super) fn run(arguments: &Arguments, proposal: &Proposal, output: &Output) -> Result<(), Failure> {
    let what = "nothing was combined";
    let version = proposal.charter().version;
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("charter-{version}.join")));
    if !proposal.wanted().is_complete() {
        let remedy = "ask those named for their signatures, and combine their copies with these";
        return Err(Failure::error(what, format!("signatures are missing: {}", missing(proposal)), remedy));
    }
    proposal.accepted().map_err(|why| Failure::unverified(what, why, "ask for the signed copies again"))?;
    let (own, print) = (spoken(proposal.id().as_bytes()), spoken(proposal.federation().as_bytes()));
    let comment = [
        format!("Refpoint charter version {version}, complete. Not secret."),
        format!("Federation:  {print}"),
        format!("Fingerprint: {own}"),
        "A newcomer hears both fingerprints from two stewards before it joins.".to_owned(),
    ];
    write_result(&out, &proposal.to_text(Label::Federation, &comment)?)?;
    let publish = format!("refpoint charter publish {}", out.display());
    let mut next = vec![publish.clone()];
    let mut newcomers = String::new();
    if !proposal.requests().is_empty() {
        let join = format!(
            "refpoint join {} --fingerprint \"{print}\" --version-fingerprint \"{own}\"",
            out.display()
        );
        newcomers = format!(
            "\nThen read both fingerprints to {}, who runs\n  {join}",
            proposal.requests().keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        );
        next.push(join);
    }
    let human = format!(
        "{}written to {}\n\nNext, on a node of any member:\n  {publish}{newcomers}",
        reviewed(proposal),
        out.display(),
    );
    output.result(human, &json!({ "file": out, "charter": described(proposal), "next": next }))
}
