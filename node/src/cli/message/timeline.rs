//! `refpoint message receipts`, and the timeline that `show` ends with: who said what, machine or person.

use crate::{
    api::views::{
        instant::Instant,
        message::RecipientState,
        receipt::{Proof, ReceiptRow, ReceiptsView},
    },
    cli::{
        failure::Failure,
        human,
        message::list::{machine, machine_word, person, person_word, promise},
        node::{Node, converse, id},
        output::Output,
        safe_text::line,
    },
};

/// Which message.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// The message's id, or the first four or more of its digits.
    id: String,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let id = id(&arguments.id)?;
    let client = arguments.node.client()?;
    let receipts = converse(async { Ok(client.receipts(&id).await?) })?;
    output.result(page(&receipts, human::now()), &receipts)
}

fn page(receipts: &ReceiptsView, now: Instant) -> String {
    let states = states(&receipts.recipients, now);
    let drill = if receipts.drill { "DRILL       this is an exercise\n" } else { "" };
    format!("message     {}\n{drill}{states}\n{}", receipts.message, lines(&receipts.timeline))
}

/// Where a message stands: for each recipient a line of its machines and a line of its people.
pub(super) fn states(states: &[RecipientState], now: Instant) -> String {
    states
        .iter()
        .map(|state| {
            let member = state.member.to_string();
            format!("{member:<11} machine: {}\n            person:  {}\n", machine(state, now), person(state))
        })
        .collect()
}

/// All that was said, oldest first, a line each.
pub(super) fn lines(timeline: &[ReceiptRow]) -> String {
    timeline.iter().map(|row| format!("{}\n", timeline_line(row))).collect()
}

fn timeline_line(row: &ReceiptRow) -> String {
    match row {
        ReceiptRow::Machine { at, member, node, kept_for, word, reason, proof } => {
            let kept = kept_for.map(|node| format!(" for node {}", node.short())).unwrap_or_default();
            let reason = reason.as_deref().map(|reason| format!(": {}", line(reason))).unwrap_or_default();
            let speaker = format!("node {}", node.short());
            let said = format!("{}{kept}{reason}", machine_word(*word));
            format!("{}  machine  {member} {speaker:<16} {said}{}", human::instant(*at), vouched(*proof))
        }
        ReceiptRow::Person { at, member, role, word, will, form, by, proof } => {
            let said = format!("{}{}", person_word(*word), promise(*will, form.as_ref(), *by));
            let role = line(role.reveal());
            format!("{}  person   {member} {role:<16} {said}{}", human::instant(*at), vouched(*proof))
        }
    }
}

const fn vouched(proof: Proof) -> &'static str {
    match proof {
        Proof::Signed => "   (signed)",
        Proof::Unproven => "   (UNPROVEN: the signer's key may not have counted then)",
        Proof::Own => "",
    }
}
