//! `refpoint charter import`: any signed documents to the running node, on anybody's behalf.

use std::path::PathBuf;

use refpoint_protocol::document::{Envelope, encode};
use serde_json::json;

use crate::{
    api::views::{
        bytes::Base64,
        document::{ImportOutcome, ImportRequest, ImportedDocument},
    },
    ceremony::read_documents,
    cli::{ConfigFile, failure::Failure, node::converse, output::Output},
    client::Client,
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Signed documents, or a complete charter.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "nothing was imported";
    let documents = read_documents(&arguments.file).map_err(|error| Failure::from(error).during(what))?;
    let client = Client::new(arguments.config.load()?.socket);
    let told = hand_in(&client, &documents, what)?;
    let lines: String = told
        .iter()
        .map(|document| {
            let outcome = match document.outcome {
                ImportOutcome::Accepted => "taken, stored and passed on",
                ImportOutcome::Known => "was here already",
                ImportOutcome::Pending => "waits for one that it builds on",
                ImportOutcome::Refused => "refused",
            };
            let id = document.id.map_or_else(String::new, |id| id.short());
            format!("{:<16} {id:<8} {outcome}\n", document.kind.as_deref().unwrap_or("unknown"))
        })
        .collect();
    output.result(lines, &json!({ "documents": told }))
}

/// Hands documents in one by one, ancestors first, and stops at the first that is refused.
///
/// # Errors
/// [`Failure`] with the node's reason; what came before is stored.
pub(in crate::cli) fn hand_in(
    client: &Client,
    documents: &[Envelope],
    what: &str,
) -> Result<Vec<ImportedDocument>, Failure> {
    let mut told = Vec::with_capacity(documents.len());
    for envelope in documents {
        let bytes = encode(envelope)
            .map_err(|error| Failure::error(what, error, "report this: the fault is the program's"))?;
        let request = ImportRequest { envelopes: vec![Base64::from(bytes)] };
        let reply = converse(async { Ok(client.import(&request).await?) })?;
        for document in reply.documents {
            if document.outcome == ImportOutcome::Refused {
                let kind = document.kind.as_deref().unwrap_or("document").to_owned();
                let why = document.reason.unwrap_or_else(|| "no reason given".to_owned());
                let remedy = "do not use the file; ask for the original, and tell whoever sent it";
                return Err(Failure::unverified(what, format!("the node refused a {kind}: {why}"), remedy));
            }
            told.push(document);
        }
    }
    Ok(told)
}
