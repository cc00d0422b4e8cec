//! `refpoint audit compare`: whether two members see one directory, from their bundles alone.

use std::path::PathBuf;

use refpoint_protocol::audit::compare;
use serde_json::json;

use super::{Pinned, audited, shown};
use crate::cli::{failure::Failure, output::Output};

/// Check two bundles and compare them: the same, one behind, or contradicting each other or a journal itself (exit code 4).
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// One bundle.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another one.
    #[arg(value_name = "B")]
    b: PathBuf,
    #[command(flatten)]
    pinned: Pinned,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let federation = arguments.pinned.federation()?;
    let a = audited(&arguments.a, federation, output)?;
    let b = audited(&arguments.b, federation, output)?;
    let comparison = compare(&a, &b);
    let verdict = shown::Verdict::of(&comparison);
    let human = format!(
        "A  {}, {}\nB  {}, {}\n\n{}",
        arguments.a.display(),
        shown::exporter(&a),
        arguments.b.display(),
        shown::exporter(&b),
        shown::comparison(&comparison),
    );
    let machine = json!({
        "verdict": verdict,
        "a": shown::summary(&a),
        "b": shown::summary(&b),
        "differences": comparison.differences.iter().map(shown::difference_json).collect::<Vec<_>>(),
        "journal_rewritten": comparison.journal.as_ref().map(shown::journal::fork_json),
        "journal_rewound": comparison.rewound.as_ref().map(shown::journal::rewound_json),
        "journal_names_less": comparison.names_less.as_ref().map(shown::journal::names_less_json),
        "contradictions": comparison.contradictions.iter().map(shown::fork_json).collect::<Vec<_>>(),
    });
    output.result(human, &machine)?;
    match verdict {
        shown::Verdict::Same | shown::Verdict::Behind => Ok(()),
        shown::Verdict::Contradict => Err(Failure::unverified(
            "the two directories contradict each other",
            "somebody signed two stories, and told one to each exporter; both are shown with their signatures",
            "keep both bundles, and call the member named and two stewards; OPERATIONS.md says how such a fork ends",
        )),
        shown::Verdict::JournalsContradict => Err(Failure::unverified(
            "one node's journal contradicts itself",
            "its node signed both: its disk was rolled back (a snapshot of the virtual machine?), its past was rewritten, or \
             its key is in two hands",
            "keep both bundles, and call the member named; the directories do not contradict each other",
        )),
    }
}
