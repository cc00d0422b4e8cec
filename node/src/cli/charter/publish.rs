//! `refpoint charter publish`: a complete version to the running node, which verifies, stores and pushes it.

use std::path::PathBuf;

use refpoint_protocol::document::Envelope;
use serde_json::json;

use super::{
    import::hand_in,
    review::{Place, place, refuse_overtaken},
    version::{described, missing, reviewed},
};
use crate::{
    armor::Label,
    ceremony::{AnyCeremony, Proposal},
    cli::{
        ConfigFile,
        failure::Failure,
        output::{Consent, Output},
    },
    client::Client,
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The complete version, charter-N.join.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Publish without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "nothing was published";
    let (_, ceremony) = AnyCeremony::read(&arguments.file, &[Label::Federation])
        .map_err(|error| Failure::from(error).during(what))?;
    let AnyCeremony::Later(proposal) = ceremony else {
        let why = "it founds a federation, and a node that runs has joined one";
        return Err(Failure::usage(what, why, "join with it: refpoint join"));
    };
    if !proposal.wanted().is_complete() {
        let why = format!("signatures are missing: {}", missing(&proposal));
        return Err(Failure::unverified(what, why, "combine the signed copies first"));
    }
    let client = Client::new(arguments.config.load()?.socket);
    let here = place(&proposal, &arguments.config).map_err(|why| why.during(what))?;
    refuse_overtaken(here.as_ref(), what)?;
    output.talk(reviewed(&proposal));
    if here != Some(Place::Published) {
        let question = format!("Publish version {} to all members?", proposal.charter().version);
        output.confirm(&question, Consent::from_flag(arguments.yes))?;
    }
    let told = hand_in(&client, &documents(&proposal), what)?;
    let version = proposal.charter().version;
    let without: Vec<String> = proposal.without_key_set().map(ToString::to_string).collect();
    let note = if without.is_empty() {
        String::new()
    } else {
        format!("\nThe first key set of {} is not in it, and comes with its node.", without.join(", "))
    };
    let human = format!(
        "version {version} of the charter is stored and on its way to every member{note}\nNext:\n  refpoint status"
    );
    let machine = json!({
        "version": version, "charter": described(&proposal), "documents": told, "next": ["refpoint status"],
    });
    output.result(human, &machine)
}

/// What it takes to hold the version: those before, itself, and the newcomers' first key sets.
fn documents(proposal: &Proposal) -> Vec<Envelope> {
    let before = proposal.before().charters().map(|held| held.envelope().as_ref().clone());
    let own = [proposal.envelope().clone()].into_iter();
    before.chain(own).chain(proposal.key_sets().values().cloned()).collect()
}
