//! `refpoint charter propose`: the next charter version, refused with the rule if it could never become one.

use std::path::PathBuf;

use clap::Subcommand;
use refpoint_protocol::{
    document::Envelope, ids::MemberCode, limits::MEMBERS_MAX, membership::proposal::CharterChange,
};
use serde_json::json;

use super::{
    newest::newest,
    version::{described, reviewed},
    write_result,
};
use crate::{
    armor::Label,
    ceremony::{Proposal, read_request},
    cli::{ConfigFile, failure::Failure, output::Output},
    fingerprint::spoken,
};

/// What the next version changes. It follows the newest one that is known; if that is no longer the newest when the
/// proposal is published, propose anew.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    change: Change,
}

#[derive(Subcommand)]
enum Change {
    /// Admit units that asked for it, or take one back that withdrew.
    Admit {
        /// Their joining requests.
        #[arg(value_name = "REQUEST", required = true, num_args = 1..=MEMBERS_MAX)]
        requests: Vec<PathBuf>,
        #[command(flatten)]
        stewards: Stewards,
        #[command(flatten)]
        place: Place,
    },
    /// Cut members off until a later version takes them back.
    Suspend(Codes),
    /// Take suspended members back.
    Reinstate(Codes),
    /// Let members go; one comes back by being admitted anew.
    Withdraw(Codes),
    /// Name the stewards, and how many of them must sign every later version.
    Stewards {
        /// All of them, separated by commas.
        #[arg(long, value_name = "CODES", value_delimiter = ',', required = true)]
        set: Vec<MemberCode>,
        /// More than half of them, and not all.
        #[arg(long, value_name = "NUMBER")]
        threshold: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Give a member that lost its root key another; its key sets so far end.
    ReplaceRoot {
        /// The unit's request with the new root key, as `refpoint keys new-root` makes it.
        #[arg(value_name = "REQUEST")]
        request: PathBuf,
        #[command(flatten)]
        stewards: Stewards,
        #[command(flatten)]
        place: Place,
    },
    /// Where two versions follow one: follow both, with the removals of both. Nothing else needs to change.
    Merge {
        #[command(flatten)]
        stewards: Stewards,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(clap::Args)]
struct Codes {
    /// The members.
    #[arg(value_name = "CODE", required = true, num_args = 1..=MEMBERS_MAX)]
    members: Vec<MemberCode>,
    #[command(flatten)]
    stewards: Stewards,
    #[command(flatten)]
    place: Place,
}

/// New stewards beside another change: a steward who leaves must be one no more.
#[derive(clap::Args)]
struct Stewards {
    /// Also name all stewards anew, separated by commas.
    #[arg(long, value_name = "CODES", value_delimiter = ',', requires = "threshold")]
    stewards: Vec<MemberCode>,
    /// And how many of them must sign.
    #[arg(long, value_name = "NUMBER", requires = "stewards")]
    threshold: Option<u64>,
}

#[derive(clap::Args)]
struct Place {
    /// A complete charter to follow, instead of the newest that the node has.
    #[arg(long, value_name = "FILE")]
    charter: Option<PathBuf>,
    /// Where the proposal goes.
    #[arg(long, value_name = "FILE", default_value = "charter.proposal")]
    out: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "nothing was proposed";
    let Asked { changes, requests, place } = asked(&arguments.change)?;
    let newest = newest(place.charter.as_deref(), &place.config).map_err(|why| why.during(what))?;
    let charter = newest.trust.propose(&changes)?;
    let proposal = Proposal::draft(&newest.trust, &charter, requests, newest.hints)?;
    let comment = [
        format!("Proposal of Refpoint charter version {}. Not secret.", charter.version),
        format!("Fingerprint: {}", spoken(proposal.id().as_bytes())),
    ];
    write_result(&place.out, &proposal.to_text(Label::CharterProposal, &comment)?)?;
    let next = format!("refpoint charter sign {} --root-key FILE", place.out.display());
    let asking = if proposal.requests().is_empty() {
        String::new()
    } else {
        "\nCompare each new root key by telephone with the unit that asks.".to_owned()
    };
    let human = format!(
        "{}\nwritten to {}{asking}\nNext: send it to those who must sign; each reads it and runs\n  {next}",
        reviewed(&proposal),
        place.out.display(),
    );
    let machine = json!({ "file": place.out, "charter": described(&proposal), "next": [next] });
    output.result(human, &machine)
}

struct Asked<'a> {
    changes: Vec<CharterChange>,
    requests: Vec<Envelope>,
    place: &'a Place,
}

fn asked(change: &Change) -> Result<Asked<'_>, Failure> {
    let of_codes = |codes: &Codes, change: fn(MemberCode) -> CharterChange| {
        codes.members.iter().cloned().map(change).collect::<Vec<_>>()
    };
    let (mut changes, stewards, place, files) = match change {
        Change::Admit { requests, stewards, place } => {
            (Vec::new(), Some(stewards), place, requests.as_slice())
        }
        Change::Suspend(codes) => {
            (of_codes(codes, CharterChange::Suspend), Some(&codes.stewards), &codes.place, &[][..])
        }
        Change::Reinstate(codes) => {
            (of_codes(codes, CharterChange::Reinstate), Some(&codes.stewards), &codes.place, &[][..])
        }
        Change::Withdraw(codes) => {
            (of_codes(codes, CharterChange::Withdraw), Some(&codes.stewards), &codes.place, &[][..])
        }
        Change::Stewards { set, threshold, place } => {
            let named =
                CharterChange::Stewards { stewards: set.iter().cloned().collect(), threshold: *threshold };
            (vec![named], None, place, &[][..])
        }
        Change::ReplaceRoot { request, stewards, place } => {
            (Vec::new(), Some(stewards), place, std::slice::from_ref(request))
        }
        Change::Merge { stewards, place } => (Vec::new(), Some(stewards), place, &[][..]),
    };
    let mut requests = Vec::new();
    for file in files {
        let request =
            read_request(file).map_err(|error| Failure::from(error).during("nothing was proposed"))?;
        requests.push(request.envelope().as_ref().clone());
        let request = request.payload().clone();
        changes.push(match change {
            Change::ReplaceRoot { .. } => CharterChange::ReplaceRoot(request),
            _ => CharterChange::Admit(request),
        });
    }
    if let Some(Stewards { stewards, threshold: Some(threshold) }) = stewards {
        let stewards = stewards.iter().cloned().collect();
        changes.push(CharterChange::Stewards { stewards, threshold: *threshold });
    }
    Ok(Asked { changes, requests, place })
}
