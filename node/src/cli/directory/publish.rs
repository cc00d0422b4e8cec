//! `refpoint directory publish` and `resume`: what this node says of its own unit.

use std::{fs::File, io::Read, path::PathBuf};

use crate::{
    api::views::{
        directory::{PublishRequest, ReferencePointView},
        status::ChainState,
    },
    cli::{
        failure::Failure,
        human,
        node::{Node, converse},
        output::{Consent, Output},
        safe_text::line,
    },
    reference_point_diff::{Difference, differences},
    reference_point_file,
};

/// What to publish.
#[derive(clap::Args)]
pub(in crate::cli) struct Publish {
    #[command(flatten)]
    node: Node,
    /// The entry: reference-point.toml as `refpoint init` wrote it, filled in.
    #[arg(value_name = "FILE")]
    entry: PathBuf,
    /// Publish without asking.
    #[arg(long)]
    yes: bool,
}

/// Whether to ask.
#[derive(clap::Args)]
pub(in crate::cli) struct Resume {
    #[command(flatten)]
    node: Node,
    /// Resume without asking.
    #[arg(long)]
    yes: bool,
}

pub(super) fn publish(arguments: &Publish, output: &Output) -> Result<(), Failure> {
    let entry = read(&arguments.entry)?;
    let client = arguments.node.client()?;
    converse(async {
        let published = client.published().await?;
        let changes = differences(published.reference_point.as_ref(), &entry);
        if changes.is_empty() {
            let human = "nothing to do: exactly this is published already";
            return output.result(human, &serde_json::json!({ "changes": changes, "published": null }));
        }
        let title = match published.sequence {
            Some(sequence) => format!("{}'s entry number {sequence} would change:", published.member),
            None => format!("{}'s first entry would be:", published.member),
        };
        output.talk(format!("{title}\n{}", listed(&changes)));
        let question = "All members will see this. Publish it?";
        output.confirm(question, Consent::from_flag(arguments.yes))?;
        let request = PublishRequest { reference_point: entry, replaces: published.sequence };
        let reply = client.publish(&request).await?;
        let human = format!(
            "published as number {} at {}; {} nodes were connected, the others learn it when they are",
            reply.sequence,
            human::instant(reply.issued),
            reply.connected
        );
        output.result(human, &serde_json::json!({ "changes": changes, "published": reply }))
    })
}

pub(super) fn resume(arguments: &Resume, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    converse(async {
        let chain = client.status().await?.facts.chain;
        if let ChainState::Publishing { .. } = chain {
            let human = "nothing to do: this node signs its own entry";
            return output.result(human, &serde_json::json!({ "before": chain, "now": chain }));
        }
        output.talk(format!("this node {}.\n{RESUME_EXPLAINED}", state(&chain)));
        output.confirm("Is this the only machine with this key?", Consent::from_flag(arguments.yes))?;
        let reply = client.resume().await?;
        output.result(format!("done: this node {}", state(&reply.now)), &reply)
    })
}

fn read(file: &PathBuf) -> Result<ReferencePointView, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        let what = format!("{} cannot be read", file.display());
        Failure::error(what, error, "name the right file; `refpoint init` writes a commented one")
    };
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| failed(&error))?;
    opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(&format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    // The node draws the salt of what it signs; this one is only the form's.
    let body = reference_point_file::parse(&text, [0; 16])?;
    Ok(ReferencePointView::from(&body))
}

fn listed(changes: &[Difference]) -> String {
    let mut text = String::new();
    for Difference { field, published, new } in changes {
        text.push_str(&format!("  {field}\n"));
        for (sign, lines) in [('-', published), ('+', new)] {
            for value in lines {
                text.push_str(&format!("    {sign} {}\n", line(value)));
            }
        }
    }
    text
}

fn state(chain: &ChainState) -> String {
    match chain {
        ChainState::Publishing { .. } => "signs its own entry".to_owned(),
        ChainState::Waiting { repairs, needed } => {
            format!("waits until {needed} members have told it what it signed before; {repairs} have")
        }
        ChainState::Stopped { why, .. } => format!("signs no entry of its own: {}", line(why)),
    }
}

/// Why the node waits, and when a person may end that.
const RESUME_EXPLAINED: &str = "\
Two machines with one key, or a restored backup that signs again what was signed already, make this unit's
entry DISPUTED at every member until the root key's owner signs a new key set. So the node waits for others.
Messages flow meanwhile. Go on only if no other member can be reached, or if you know that the cause is gone.";

/// Bytes of an entry's file: its body's bound, and four times as many comments.
const FILE_BYTES_MAX: u64 = 80 * 1024;
