//! `refpoint audit proof`: the evidence of one message as a file for a third party, and what such a file proves.

use std::{io::Write as _, path::PathBuf};

use refpoint_protocol::{
    audit::{
        Grounds, Journalled, ProvenHeader, ProvenMessage, ProvenReceipt, ProvenStatement, Witnessed,
        check_message_proof, is_message_proof,
    },
    ids::MemberCode,
    membership::KeyState,
    message::body::Word,
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
        safe_text,
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
            safe_text::line(statement.role.reveal()),
            signer.short(),
            marked(*state),
            at(*created)
        ));
    }
    let (backed, word): (Vec<_>, Vec<_>) = proven.journalled.iter().partition(|entry| entry.is_proven());
    for entry in backed {
        line(witnessed(entry, exporter.member.as_str()));
    }
    if !word.is_empty() {
        text.push_str(&format!("\n{}'s word alone, as its journal has it:\n", exporter.member));
        word.into_iter()
            .for_each(|entry| text.push_str(&format!("  - {}\n", told(entry, exporter.member.as_str()))));
    }
    text.push_str("\nnot proven:\n");
    not_proven(proven).into_iter().for_each(|words| text.push_str(&format!("  - {words}\n")));
    text
}

/// What a reader might take for proven, and is not.
fn not_proven(proven: &ProvenMessage) -> Vec<String> {
    let mut lines =
        vec!["what the message says: only its id is in here, to which its signed header binds it".to_owned()];
    let mut line = |words: &str| lines.push(words.to_owned());
    let has_delivered = |member: &MemberCode| proven.delivered.iter().any(|it| it.member == *member);
    let is_acknowledged = |it: &ProvenStatement| it.statement.word == Word::Acknowledged;
    let has_acknowledged =
        |member: &MemberCode| proven.said.iter().any(|it| is_acknowledged(it) && it.member == *member);
    if let Some(ProvenHeader { header, .. }) = &proven.header {
        for member in &header.recipients {
            if !has_delivered(member) {
                line(&format!("that it was delivered to {member}: no receipt of its is in here"));
            }
            if !has_acknowledged(member) {
                line(&format!("that a person of {member} acknowledged it: no such statement is in here"));
            }
        }
    } else {
        line("who sent it and to whom: its signed header was not kept any more");
        if proven.delivered.is_empty() {
            line("that it was delivered: no recipient's receipt is in here");
        }
        if !proven.said.iter().any(is_acknowledged) {
            line("that a person acknowledged it: no such statement is in here");
        }
    }
    if proven.journalled.iter().any(Journalled::is_proven) {
        line("how long before it was cosigned anything happened: nobody makes an exporter journal at once");
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
    lines
}

/// What an entry says.
fn words(entry: &Journalled, exporter: &str) -> String {
    match &entry.event {
        RelayEvent::MessageQueued { statement: None, .. } => "queued here".to_owned(),
        RelayEvent::MessageQueued { statement: Some(label), .. } => format!("{} by {exporter}", label.word),
        RelayEvent::MessageDelivered { step, .. } => format!("delivered to {}", step.member),
        RelayEvent::StatementArrived { statement, member, .. } => format!("{} by {member}", statement.word),
        RelayEvent::MessageArrived { sender, .. } => format!("arrived from {sender}"),
        RelayEvent::MessageInCustody { custodian_member, .. } => format!("in custody of {custodian_member}"),
        _ => "a step of its way".to_owned(),
    }
}

/// An entry that shows by when a document was signed.
fn witnessed(entry: &Journalled, exporter: &str) -> String {
    let what = words(entry, exporter);
    let document = match entry.grounds {
        Grounds::Header => "that header",
        Grounds::Receipt => "that receipt",
        Grounds::Statement => "that statement",
        // Such an entry is told as the exporter's word.
        Grounds::Word => "nothing",
    };
    let by = cosigners(entry.after.as_ref());
    format!(
        "{what} before it was cosigned by {by}: entry {} of {exporter}'s journal names {document}",
        entry.number
    )
}

/// An entry that nothing but the exporter's word is for.
fn told(entry: &Journalled, exporter: &str) -> String {
    let what = words(entry, exporter);
    let cosigned = match &entry.after {
        None => "not cosigned since".to_owned(),
        after => format!("in the journal when that was cosigned by {}", cosigners(after.as_ref())),
    };
    format!("{what}: entry {}, {} by its clock; {cosigned}", entry.number, at(entry.at))
}

/// Who cosigned a state, and when.
fn cosigners(state: Option<&Witnessed>) -> String {
    let each = state.into_iter().flat_map(|state| &state.by);
    let each = each.map(|(witness, when)| format!("{} at {}", witness.member, at(*when)));
    each.collect::<Vec<_>>().join(", ")
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
            "began": at(it.began), "number": it.number, "at": at(it.at), "event": it.event, "rests_on": it.grounds,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::{
        audit::{BundleWriter, Exporter, audit, witness::WitnessName},
        document::{Kind, encode},
        ids::{ContentHash, DocumentId, MessageId},
        message::header::{MessageHeader, Precedence},
        relay::event::Step,
        testing::{FOUNDED, Federation, node_key},
    };

    use super::*;

    fn member(code: &str) -> MemberCode {
        code.parse().unwrap()
    }

    const MESSAGE: MessageId = MessageId::from_bytes([7; 32]);

    /// KE's proof of a message to BR and FR, of which only FR's receipt is there.
    fn proven(federation: &Federation, journalled: Vec<Journalled>) -> ProvenMessage {
        let (mut writer, mut text) = BundleWriter::begin(federation.id);
        let founding = &federation.founding;
        let line = encode(founding.envelope().as_ref()).unwrap();
        text.push_str(&writer.document(Kind::Charter, founding.id(), &line).unwrap());
        let mut sets: Vec<_> = federation.units.iter().map(|unit| &unit.key_set).collect();
        sets.sort_by_key(|set| set.id());
        for set in sets {
            let line = encode(set.envelope().as_ref()).unwrap();
            text.push_str(&writer.document(Kind::KeySet, set.id(), &line).unwrap());
        }
        let ke = federation.unit("KE");
        let node = node_key(&ke.nodes[0]);
        let exporter = Exporter { federation: federation.id, member: ke.code.clone(), node };
        text.push_str(&writer.finish(&exporter, &ke.nodes[0], FOUNDED));
        let header = MessageHeader {
            sender: member("KE"),
            recipients: vec![member("BR"), member("FR")],
            precedence: Precedence::Flash,
            created: FOUNDED,
            expires: FOUNDED,
            ciphertext: ContentHash::from_bytes([2; 32]),
            length: 0,
            commitment: ContentHash::from_bytes([3; 32]),
            nonce: [4; 24],
        };
        let receipt = ProvenReceipt {
            member: member("FR"),
            node: node_key(&federation.unit("FR").nodes[0]),
            id: DocumentId::from_bytes([1; 32]),
            at: FOUNDED,
            state: KeyState::Active,
        };
        ProvenMessage {
            message: MESSAGE,
            bundle: audit(text.as_bytes(), federation.id).unwrap(),
            made: FOUNDED,
            header: Some(ProvenHeader { header, signer: node, state: KeyState::Active }),
            delivered: vec![receipt],
            said: Vec::new(),
            journalled,
        }
    }

    #[test]
    fn what_the_exporter_alone_says_is_not_among_what_is_proven() {
        let federation = Federation::new(5, &["BR", "FR", "KE", "SG"], 1);
        let [fr, br] = ["FR", "BR"].map(|code| node_key(&federation.unit(code).nodes[0]));
        let cosigned = WitnessName { federation: federation.id, member: member("SG"), node: fr };
        let after = Some(Witnessed { size: 9, by: vec![(cosigned, FOUNDED)] });
        let delivered = |number, code: &str, node, grounds| Journalled {
            began: FOUNDED,
            number,
            at: FOUNDED,
            event: RelayEvent::MessageDelivered {
                step: Step { message: MESSAGE, command: None, member: member(code), node, drill: false },
                late: false,
                receipt: Some(DocumentId::from_bytes([1; 32])),
            },
            grounds,
            before: None,
            after: after.clone(),
        };
        let entries = vec![delivered(6, "FR", fr, Grounds::Receipt), delivered(7, "BR", br, Grounds::Word)];
        let text = report(&proven(&federation, entries));
        let (sure, rest) = text.split_once("\nKE's word alone").unwrap();
        let (word, not) = rest.split_once("\nnot proven:").unwrap();
        assert!(sure.contains("delivered to FR before it was cosigned by SG"), "{text}");
        assert!(!sure.contains("BR before") && !sure.contains("delivered to BR"), "{text}");
        assert!(word.contains("delivered to BR: entry 7"), "{text}");
        assert!(not.contains("that it was delivered to BR") && !not.contains("delivered to FR"), "{text}");
        assert!(not.contains("a person of FR acknowledged") && not.contains("how long before"), "{text}");
    }
}
