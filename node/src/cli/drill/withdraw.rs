//! `refpoint drill withdraw`: a person here calls a drill off.

use std::collections::BTreeSet;

use refpoint_protocol::message::body::Word;
use serde::Serialize;

use super::report::found;
use crate::{
    api::views::{drill::DrillReport, send::StatementReply},
    cli::{
        failure::Failure,
        human,
        message::Speaker,
        node::{Node, converse, id},
        output::{Consent, Output},
    },
};

/// Call a drill off: who has not had it is not woken any more; who has sees that it is over. The newest drill unless
/// one is named.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// The drill's id, or four or more of its digits.
    id: Option<String>,
    #[command(flatten)]
    speaker: Speaker,
    /// Call it off without asking.
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct CalledOff {
    drill: String,
    messages: Vec<StatementReply>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let request = arguments.speaker.says(Word::Withdrawn);
    request.check()?;
    let client = arguments.node.client()?;
    converse(async {
        let report = found(&client, arguments.id.as_deref()).await?;
        let name = report.row.drill.to_string();
        output.talk(preview(&report));
        output.confirm("Call the drill off?", Consent::from_flag(arguments.yes))?;
        let messages: BTreeSet<_> = report.members.iter().map(|asked| asked.message).collect();
        let mut told = Vec::new();
        for message in messages {
            told.push(client.state(&id(&message.to_string())?, &request).await?);
        }
        let text = format!("DRILL called off: {name}, in {}", human::count(told.len() as u64, "message"));
        output.result(text, &CalledOff { drill: name, messages: told })
    })
}

fn preview(report: &DrillReport) -> String {
    let DrillReport { row, .. } = report;
    let had = report.members.iter().filter(|asked| asked.delivered.is_some()).count() as u64;
    format!(
        "DRILL {}, started at {}, to {}; {had} had it already and are told that it is called off",
        row.drill,
        human::instant(row.started),
        human::count(report.members.len() as u64, "member"),
    )
}
