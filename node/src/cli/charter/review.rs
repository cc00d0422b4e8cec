//! `refpoint charter review`: how a proposal differs from the version before it, and what it still needs.

use std::path::PathBuf;

use refpoint_protocol::ids::CharterId;
use serde_json::json;

use super::{
    described as described_founding,
    newest::of_running_node,
    shown,
    version::{described, reviewed},
};
use crate::{
    armor::Label,
    ceremony::{AnyCeremony, Proposal},
    cli::{ConfigFile, failure::Failure, output::Output},
    client::Client,
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// A proposal, a signed copy or a complete charter.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let (label, ceremony) = AnyCeremony::read(&arguments.file, &CEREMONIES)?;
    match ceremony {
        AnyCeremony::Founding(founding) => {
            let machine = json!({ "holds": label.text(), "charter": described_founding(&founding) });
            output.result(format!("{}\n\n{}", label.text(), shown(&founding)), &machine)
        }
        AnyCeremony::Later(proposal) => {
            let place = place(&proposal, &arguments.config)?;
            let told = match &place {
                Some(Place::Next) => "it follows the newest version that the node here holds\n".to_owned(),
                Some(Place::Published) => "the node here holds it already\n".to_owned(),
                Some(Place::Overtaken(versions)) => {
                    format!(
                        "IT DOES NOT FOLLOW version {versions}, which the node here holds: propose anew\n"
                    )
                }
                None => String::new(),
            };
            let follows = place.map(|place| place == Place::Next);
            let machine = json!({
                "holds": label.text(), "charter": described(&proposal), "follows_newest_here": follows,
            });
            output.result(format!("{}\n\n{}{told}", label.text(), reviewed(&proposal)), &machine)
        }
    }
}

/// Where a proposal stands in what a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It follows the newest.
    Next,
    /// It is held already.
    Published,
    /// Other versions were published meanwhile: their numbers.
    Overtaken(String),
}

/// Where a proposal stands with the running node; `None` if there is no node here, as on a machine for signing.
pub(super) fn place(proposal: &Proposal, config: &ConfigFile) -> Result<Option<Place>, Failure> {
    let Ok(config) = config.load() else { return Ok(None) };
    let Some(newest) = of_running_node(&Client::new(&config.socket))? else { return Ok(None) };
    if newest.trust.federation() != proposal.federation() {
        return Err(Failure::unverified(
            "the proposal is not used",
            "it is of another federation than the node here",
            "do not sign it; call whoever sent it",
        ));
    }
    if newest.trust.charter(&proposal.id()).is_some() {
        return Ok(Some(Place::Published));
    }
    // A version that the node lacks travels along; one that the proposal does not build on overtakes it.
    let beyond: Vec<CharterId> = newest
        .trust
        .charter_tips()
        .into_iter()
        .filter(|tip| proposal.before().charter(tip).is_none())
        .collect();
    if beyond.is_empty() {
        return Ok(Some(Place::Next));
    }
    let numbers = beyond.iter().filter_map(|id| newest.trust.charter(id)).map(|held| held.payload().version);
    Ok(Some(Place::Overtaken(numbers.map(|version| version.to_string()).collect::<Vec<_>>().join(", "))))
}

/// Refuses a proposal that does not follow what the node here holds.
pub(super) fn refuse_overtaken(place: Option<&Place>, what: &str) -> Result<(), Failure> {
    let Some(Place::Overtaken(versions)) = place else { return Ok(()) };
    Err(Failure::unverified(
        what,
        format!("version {versions} was published meanwhile, and the proposal does not follow it"),
        "propose the change anew: `refpoint charter propose …` follows the newest version; who has signed this \
         one signs with --give-up only if both follow the same version",
    ))
}

/// Every label of a charter.
pub(super) const CEREMONIES: [Label; 4] =
    [Label::CharterDraft, Label::CharterProposal, Label::SignedCharter, Label::Federation];
