//! `refpoint audit proof`: the evidence of one message as a file for a third party, and what such a file proves.

use std::{io::Write as _, path::PathBuf};

use refpoint_protocol::{
    audit::{
        Journalled, ProvenHeader, ProvenMessage, ProvenReceipt, ProvenStatement, Witnessed,
        check_message_proof, is_message_proof,
    },
    membership::KeyState,
    relay::event::RelayEvent,
    time::Timestamp,
};
use serde_json::{Value, json};

use super::export::Part;
use crate::{
    api::{backend::IdPrefix, views::instant::Instant},
    cli::{
        failure::Failure,
        human,
        node::{Node, converse},
        output::Output,
    },
    fingerprint::spoken,
};

/// Write the evidence that a message was delivered and acknowledged into one file that needs no node to be checked.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The message's id, or its first digits.
    #[arg(value_name = "MESSAGE-ID")]
    id: IdPrefix,
    /// The file to write; a complete one appears there, or nothing.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    node: Node,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "no proof was written";
    let Arguments { id, file, node } = arguments;
    if file.exists() {
        let why = format!("{} exists already", file.display());
        return Err(Failure::error(what, why, "choose another name; a proof is never overwritten"));
    }
    let client = node.client()?;
    let part = Part::new(file)?;
    let mut text = Vec::new();
    let federation = converse(async {
        let mut pieces = client.proof(id).await?;
        while let Some(piece) = pieces.next().await? {
            text.extend_from_slice(&piece);
        }
        Ok(client.own_documents().await?.federation)
    })?;
    // What leaves the house holds, or does not leave it.
    let proven = check_message_proof(&text, federation).map_err(|refused| {
        Failure::error(what, refused, "report this: the node wrote a proof that it would refuse itself")
    })?;
    let mut out = &part.file;
    out.write_all(&text).map_err(|error| part.failed(error))?;
    part.keep(file)?;
    let print = spoken(federation.as_bytes());
    let shown = file.display();
    let human = format!(
        "{shown}\n{}\nThe file holds statements as they were signed, with the roles of those who spoke; it holds nothing \
         of what the message says.\nWhoever checks it needs the fingerprint from two stewards:\n  refpoint audit verify \
         {shown} --federation '{print}'",
        report(&proven),
    );
    output.result(human, &json!({ "file": file, "bytes": text.len(), "proof": report_json(&proven) }))
}

/// Whether a file is one of these, and what it proves if so.
pub(super) fn verified(
    bytes: &[u8],
    file: &std::path::Path,
    federation: refpoint_protocol::ids::FederationId,
) -> Option<Result<ProvenMessage, Failure>> {
    is_message_proof(bytes).then(|| {
        check_message_proof(bytes, federation).map_err(|refused| {
            let remedy =
                "do not use it: it was damaged, changed, or is another federation's; ask for the original";
            Failure::unverified(format!("{} is refused", file.display()), &refused, remedy)
        })
    })
}

/// What is proven, by whom, and what is not.
pub(super) fn report(proven: &ProvenMessage) -> String {
    let exporter = &proven.bundle.exporter;
    let mut text = format!(
        "message     {}{}\nfederation  {}\ngathered    {} by {}'s node {}{}\n\nproven:\n",
        proven.message,
        if proven.is_drill() {
            "\nDRILL       a test of the network, by the journal: it asked for nothing"
        } else {
            ""
        },
        spoken(exporter.federation.as_bytes()),
        at(proven.made),
        exporter.member,
        exporter.node.short(),
        marked(proven.bundle.exporter_state),
    );
    let mut line = |words: String| text.push_str(&format!("  - {words}\n"));
    if let Some(ProvenHeader { header, signer, state }) = &proven.header {
        let recipients = header.recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        line(format!(
            "{} sent it to {recipients}: signed by its node {}{}, {} by its clock",
            header.sender,
            signer.short(),
            marked(*state),
            at(header.created)
        ));
    }
    for ProvenReceipt { member, node, at: when, state, .. } in &proven.delivered {
        let (node, mark) = (node.short(), marked(*state));
        line(format!("delivered to {member}: signed by its node {node}{mark}, {} by its clock", at(*when)));
    }
    for ProvenStatement { member, signer, created, statement, state, .. } in &proven.said {
        line(format!(
            "{} by {} of {member}: signed by its node {}{}, {} by its clock",
            statement.word,
            statement.role.reveal(),
            signer.short(),
            marked(*state),
            at(*created)
        ));
    }
    for entry in &proven.journalled {
        line(journalled(entry, exporter.member.as_str()));
    }
    text.push_str("\nnot proven:\n");
    let mut line = |words: &str| text.push_str(&format!("  - {words}\n"));
    line("what the message says: only its id is in here, to which its signed header binds it");
    if proven.header.is_none() {
        line("who sent it and to whom: its signed header was not kept any more");
    }
    if proven.delivered.is_empty() {
        line("that it was delivered: no recipient's receipt is in here");
    }
    if !proven.said.iter().any(|it| it.statement.word == refpoint_protocol::message::body::Word::Acknowledged)
    {
        line("that a person acknowledged it: no such statement is in here");
    }
    if proven.journalled.iter().any(|entry| entry.after.is_none()) || proven.journalled.is_empty() {
        line(
            "when it was journalled, where nobody cosigned the journal since: those times are the exporter's word",
        );
    }
    if proven.journalled.is_empty() {
        line(
            "whether it was a drill: that is sealed with what it says, and no entry of the journal is in here",
        );
    }
    line("which person spoke: a node's key signs for its unit, and the role is what was typed there");
    text
}

fn journalled(entry: &Journalled, exporter: &str) -> String {
    let what = match &entry.event {
        RelayEvent::MessageQueued { statement: None, .. } => "queued here".to_owned(),
        RelayEvent::MessageQueued { statement: Some(label), .. } => format!("{} by {exporter}", label.word),
        RelayEvent::MessageDelivered { step, .. } => format!("delivered to {}", step.member),
        RelayEvent::StatementArrived { statement, member, .. } => format!("{} by {member}", statement.word),
        RelayEvent::MessageArrived { sender, .. } => format!("arrived from {sender}"),
        RelayEvent::MessageInCustody { custodian_member, .. } => format!("in custody of {custodian_member}"),
        _ => "a step of its way".to_owned(),
    };
    let by = |state: &Witnessed| {
        let each = state.by.iter().map(|(witness, when)| format!("{} at {}", witness.member, at(*when)));
        each.collect::<Vec<_>>().join(", ")
    };
    let before = entry.before.as_ref().map(|it| format!("not yet in it when cosigned by {}; ", by(it)));
    let after = entry
        .after
        .as_ref()
        .map_or_else(|| "not cosigned since".to_owned(), |it| format!("cosigned with it by {}", by(it)));
    let place = format!("entry {} of {exporter}'s journal, {} by its clock", entry.number, at(entry.at));
    format!("{what}: {place}; {}{after}", before.unwrap_or_default())
}

/// The same for programs.
pub(super) fn report_json(proven: &ProvenMessage) -> Value {
    let witnessed = |state: &Option<Witnessed>| {
        state.as_ref().map(|state| {
            let by = state.by.iter();
            let by: Vec<_> = by
                .map(|(it, when)| json!({ "member": it.member, "node": it.node, "at": at(*when) }))
                .collect();
            json!({ "entries": state.size, "by": by })
        })
    };
    let delivered = proven
        .delivered
        .iter()
        .map(|it| json!({ "member": it.member, "node": it.node, "at": at(it.at), "key": state(it.state), "id": it.id }));
    let said = proven.said.iter().map(|it| {
        json!({
            "member": it.member, "node": it.signer, "at": at(it.created), "key": state(it.state),
            "word": it.statement.word, "role": it.statement.role.reveal(), "id": it.id,
            "will": it.statement.will, "by": it.statement.by.map(at),
        })
    });
    let journal = proven.journalled.iter().map(|it| {
        json!({
            "began": at(it.began), "number": it.number, "at": at(it.at), "event": it.event,
            "before": witnessed(&it.before), "after": witnessed(&it.after),
        })
    });
    let header = proven.header.as_ref().map(|it| {
        json!({
            "sender": it.header.sender, "recipients": it.header.recipients, "node": it.signer,
            "created": at(it.header.created), "key": state(it.state),
        })
    });
    json!({
        "message": proven.message,
        "drill": proven.is_drill(),
        "exporter": { "member": proven.bundle.exporter.member, "node": proven.bundle.exporter.node },
        "made": at(proven.made),
        "header": header,
        "delivered": delivered.collect::<Vec<_>>(),
        "said": said.collect::<Vec<_>>(),
        "journal": journal.collect::<Vec<_>>(),
    })
}

fn at(time: Timestamp) -> String {
    human::instant(Instant::from(time))
}

fn marked(key: KeyState) -> String {
    match key {
        KeyState::Active => String::new(),
        other => format!(" (key {})", state(other)),
    }
}

/// A key's state in a word.
fn state(key: KeyState) -> &'static str {
    match key {
        KeyState::Active => "active",
        KeyState::Retired { .. } | KeyState::LeftOut { .. } => "retired",
        KeyState::Compromised { .. } => "compromised",
        KeyState::Disputed | KeyState::RootDisputed => "disputed",
        KeyState::MemberSuspended => "suspended",
        KeyState::MemberWithdrawn => "withdrawn",
        KeyState::RootReplaced => "replaced",
        KeyState::AwaitingAdmission => "not admitted",
    }
}
