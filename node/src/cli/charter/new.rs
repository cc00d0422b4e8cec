//! `refpoint charter new`: from joining requests to a draft that everybody can read.

use std::{collections::BTreeMap, path::PathBuf};

use refpoint_protocol::{
    audit::Audited,
    document::Payload as _,
    ids::{CharterVersion, ContentHash, Incarnation, MemberCode},
    limits::MEMBERS_MAX,
    membership::{
        MemberView,
        charter::{Charter, MemberEntry, MemberStatus},
    },
};
use serde_json::json;

use super::{described, shown, write_result};
use crate::{
    armor::Label,
    ceremony::{Ceremony, read_request},
    cli::{audit, failure::Failure, output::Output},
    fingerprint::spoken,
    keyfile::random_32,
    refounding::refounded,
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
    /// A bundle of the federation whose place this one takes, of `refpoint audit export`.
    #[arg(long, value_name = "BUNDLE", requires = "old_federation")]
    refounds: Option<PathBuf>,
    /// The fingerprint of that federation.
    #[arg(long, value_name = "FINGERPRINT", requires = "refounds")]
    old_federation: Option<String>,
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
    let before = match (&arguments.refounds, &arguments.old_federation) {
        (Some(bundle), Some(federation)) => {
            Some(audit::pinned(bundle, federation, output).map_err(|failure| failure.during(what))?)
        }
        _ => None,
    };
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
        refounds: before.as_ref().map(refounded),
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
    let compared = before.map(|before| Compared::of(&charter, &before));
    let talk = compared.as_ref().map_or_else(String::new, Compared::shown);
    let human = format!(
        "{}{talk}\nwritten to {}\nNext: send it to every member; each compares the fingerprints and runs\n  {next}",
        shown(&draft),
        arguments.out.display(),
    );
    let machine =
        json!({ "file": arguments.out, "charter": described(&draft), "before": compared, "next": [next] });
    output.result(human, &machine)
}

/// The members of a new federation against those of the one whose place it takes.
#[derive(serde::Serialize)]
struct Compared {
    /// Active in both.
    taken_over: Vec<MemberCode>,
    /// Active in the old one alone.
    left_out: Vec<MemberCode>,
    /// Not active in the old one.
    new: Vec<MemberCode>,
}

impl Compared {
    fn of(charter: &Charter, before: &Audited) -> Self {
        let membership = before.evidence.membership();
        let was_active = |code: &MemberCode| membership.member(code).is_some_and(MemberView::is_active);
        let codes = charter.members.iter().map(|entry| entry.code.clone());
        let (taken_over, new) = codes.partition(was_active);
        let active = membership.members().filter(|member| member.is_active());
        let left_out = active.filter(|member| charter.member(&member.code).is_none());
        Self { taken_over, left_out: left_out.map(|member| member.code.clone()).collect(), new }
    }

    fn shown(&self) -> String {
        let line = |what: &str, codes: &[MemberCode]| {
            let list: Vec<&str> = codes.iter().map(MemberCode::as_str).collect();
            format!("{what:<44} {}\n", if list.is_empty() { "none".to_owned() } else { list.join(", ") })
        };
        format!(
            "\n{}{}{}",
            line("members of the old federation that go on:", &self.taken_over),
            line("members of the old one that are left out:", &self.left_out),
            line("members that the old one had not, or no more:", &self.new),
        )
    }
}
