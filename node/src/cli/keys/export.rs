//! `refpoint keys export`: what a member needs to join again after it lost its node, out of another member's.

use std::path::PathBuf;

use serde_json::json;

use super::evidence_from;
use crate::{
    cli::{
        failure::Failure,
        node::{Node, converse, member},
        output::Output,
    },
    keyfile::{PUBLIC_FILE, write_new},
};

/// What goes out for a member that lost its node.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The member.
    #[arg(value_name = "CODE")]
    member: String,
    /// The file to write; it holds nothing secret.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    node: Node,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "nothing was exported";
    let code = member(&arguments.member)?;
    let client = arguments.node.client()?;
    let documents = converse(async { Ok(client.documents_of(&code).await?) })?;
    let text = serde_json::to_string_pretty(&documents)
        .map_err(|error| Failure::error(what, error, "report this: the fault is the program's"))?;
    let nodes = evidence_from(&documents)?.membership().active_nodes(&code);
    if nodes.is_empty() {
        let why = format!("no key set of {code} is held here");
        return Err(Failure::error(what, why, "ask another member, or wait for this node's connections"));
    }
    write_new(&arguments.out, text.as_bytes(), PUBLIC_FILE).map_err(|error| {
        let why = format!("cannot write {}: {error}", arguments.out.display());
        Failure::error(what, why, "name a file that is not there yet, in a folder of yours")
    })?;
    let shown: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    let human = format!(
        "{}: the key sets of {code}; send it to {code}. Its active nodes:\n  {}",
        arguments.out.display(),
        shown.join("\n  ")
    );
    output.result(human, &json!({ "file": arguments.out, "member": code, "nodes": nodes }))
}
