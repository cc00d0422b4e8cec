//! `refpoint charter new`: from joining requests to a draft that everybody can read.

use std::{collections::BTreeMap, path::PathBuf};

use refpoint_protocol::{
    document::Payload as _,
    ids::{CharterVersion, ContentHash, Incarnation, MemberCode},
    limits::MEMBERS_MAX,
    membership::charter::{Charter, MemberEntry, MemberStatus},
};
use serde_json::json;

use super::{described, shown, write_result};
use crate::{
    armor::Label,
    ceremony::{Ceremony, read_request},
    cli::{failure::Failure, output::Output},
    fingerprint::spoken,
    keyfile::random_32,
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// How many stewards must sign every later version: more than half of them, and not all.
    #[arg(long, value_name = "NUMBER")]
    threshold: u64,
    /// A member whose root counts towards the threshold; give at least three.
    #[arg(long = "steward", value_name = "CODE", required = true)]
    stewards: Vec<MemberCode>,
    /// The joining requests of all members.
    #[arg(value_name = "REQUEST", required = true, num_args = 1..=MEMBERS_MAX)]
    requests: Vec<PathBuf>,
    /// Where the draft goes.
    #[arg(long, value_name = "FILE", default_value = "charter.draft")]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "no draft was made";
    let mut requests = BTreeMap::new();
    for file in &arguments.requests {
        let request = read_request(file).map_err(|error| Failure::from(error).during(what))?;
        let member = request.payload().member.clone();
        if let Some((earlier, _)) = requests.insert(member.clone(), (file, request)) {
            let why = format!("{} and {} are both of {member}", earlier.display(), file.display());
            return Err(Failure::error(what, why, "ask the unit which of the two counts, and give that one"));
        }
    }
    let entries = requests.values().map(|(_, request)| {
        let request = request.payload();
        MemberEntry {
            code: request.member.clone(),
            kind: request.kind,
            incarnation: Incarnation(0),
            alg: request.alg,
            root: request.root,
            next: request.next,
            status: MemberStatus::Active,
            group: request.group,
        }
    });
    let mut stewards = arguments.stewards.clone();
    stewards.sort();
    let charter = Charter {
        version: CharterVersion(1),
        nonce: Some(ContentHash::from_bytes(*random_32()?)),
        parents: Vec::new(),
        threshold: arguments.threshold,
        stewards,
        members: entries.collect(),
    };
    charter.check_form().map_err(|error| {
        Failure::unverified(
            what,
            format!("rule {error}"),
            "correct --steward, --threshold or the list of requests",
        )
    })?;
    let envelopes = requests.into_values().map(|(_, request)| request.envelope().as_ref().clone()).collect();
    let draft = Ceremony::draft(&charter, envelopes)?;
    let comment = [
        format!("Draft of a Refpoint charter with {} members. Not secret.", charter.members.len()),
        format!("Federation: {}", spoken(draft.id().as_bytes())),
    ];
    write_result(&arguments.out, &draft.to_text(Label::CharterDraft, &comment)?)?;
    let next = format!("refpoint charter sign {} --root-key FILE", arguments.out.display());
    let human = format!(
        "{}\nwritten to {}\nNext: send it to every member; each compares the fingerprints and runs\n  {next}",
        shown(&draft),
        arguments.out.display(),
    );
    let machine = json!({ "file": arguments.out, "charter": described(&draft), "next": [next] });
    output.result(human, &machine)
}
