//! Messages as the API shows them: what machines say and what persons say, side by side and never merged.

use refpoint_protocol::{
    ids::{ContentHash, MemberCode, MessageId, NodeKey},
    message::{
        body::{Attachment, Body, Statement, Tlp, Word},
        draft::{Draft, StatementDraft},
    },
    redact::Redacted,
    relay::{
        receipt::RefusalReason,
        views::{
            MessageView as Held, NodeView, ReceivedView, RecipientState as State, RecipientView, SentView,
            StatementView,
        },
    },
    time::Timestamp,
};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::api::views::{
    bytes::Base64,
    instant::Instant,
    message::{
        AttachmentData, AttachmentView, MessageBox, MessageRow, MessageView, PersonWord, RecipientState,
    },
    receipt::{MachineWord, Proof, ReceiptRow, ReceiptsView},
    send::{AttachmentUpload, SendRequest, StatementRequest},
};

/// This node, as the views name it.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) member: MemberCode,
    pub(super) node: NodeKey,
}

/// A draft from what a person asks to send.
pub(super) fn draft(request: SendRequest) -> Draft {
    let lifetime = request.expiry();
    let attachment = |upload: AttachmentUpload| Attachment {
        name: upload.name,
        media_type: upload.media_type,
        data: Redacted(ByteBuf::from(upload.data.into_vec())),
    };
    Draft {
        recipients: request.recipients,
        precedence: request.precedence,
        lifetime: Some(lifetime),
        body: Body {
            tlp: request.tlp,
            text: request.text,
            reference: request.reference,
            attachments: request.attachments.into_iter().map(attachment).collect(),
            statement: None,
            drill: request.drill,
            form: request.form,
        },
    }
}

/// A draft from what a person says of a message.
pub(super) fn statement(answers: MessageId, request: StatementRequest) -> StatementDraft {
    let StatementRequest { word, role, will, form, by } = request;
    let by = by.map(Instant::timestamp);
    StatementDraft { statement: Statement { answers, word, role, will, form, by }, text: None }
}

/// The line of a message that this node received.
pub(super) fn received_row(own: &Own, held: &ReceivedView, body: Option<&Body>) -> MessageRow {
    let attachments = body.map(|body| body.attachments.as_slice()).unwrap_or_default();
    MessageRow {
        id: held.id,
        folder: MessageBox::Inbox,
        sender: held.sender.clone(),
        recipients: held.recipients.clone(),
        precedence: held.precedence,
        tlp: held.tlp,
        drill: held.drill,
        answers: None,
        created: held.created.into(),
        expires: held.expires.into(),
        received: Some(held.received.into()),
        states: vec![RecipientState {
            member: own.member.clone(),
            machine: MachineWord::Delivered,
            machine_at: held.received.into(),
            reason: None,
            person: last_word(held.statements.iter().filter(|said| said.member == own.member)),
        }],
        attachment_bytes: bytes_of(attachments),
        attachments: attachments.len() as u64,
        unproven: held.marks.unproven,
    }
}

/// The line of a message that this node sent.
pub(super) fn sent_row(own: &Own, held: &SentView, body: Option<&Body>) -> MessageRow {
    let attachments = body.map(|body| body.attachments.as_slice()).unwrap_or_default();
    let others = held.recipients.iter().filter(|recipient| recipient.member != own.member);
    MessageRow {
        id: held.id,
        folder: MessageBox::Outbox,
        sender: own.member.clone(),
        recipients: held.recipients.iter().map(|recipient| recipient.member.clone()).collect(),
        precedence: held.precedence,
        tlp: held.tlp,
        drill: held.drill,
        answers: held.statement.map(|label| label.answers),
        created: held.created.into(),
        expires: held.expires.into(),
        received: None,
        states: others.map(|recipient| recipient_state(held, recipient)).collect(),
        attachment_bytes: bytes_of(attachments),
        attachments: attachments.len() as u64,
        unproven: false,
    }
}

/// A message in full.
pub(super) fn message_view(own: &Own, held: &Held, body: Option<Body>) -> MessageView {
    let row = match held {
        Held::Sent(sent) => sent_row(own, sent, body.as_ref()),
        Held::Received(received) => received_row(own, received, body.as_ref()),
    };
    let timeline = timeline(own, held);
    let erased = body.is_none();
    let Body { text, reference, attachments, form, .. } = body.unwrap_or_else(|| empty(row.tlp));
    let files =
        attachments.iter().zip(1..).map(|(attachment, number)| attachment_view(attachment, number)).collect();
    MessageView { row, text, reference, form, erased, files, timeline }
}

/// Where a message stands, and all that was said about it.
pub(super) fn receipts_view(own: &Own, held: &Held) -> ReceiptsView {
    let row = match held {
        Held::Sent(sent) => sent_row(own, sent, None),
        Held::Received(received) => received_row(own, received, None),
    };
    let MessageRow { id, folder, drill, states, .. } = row;
    ReceiptsView { message: id, folder, drill, recipients: states, timeline: timeline(own, held) }
}

/// One attachment with its bytes; `None` if there is none of that number.
pub(super) fn attachment_data(body: Body, number: u64) -> Result<AttachmentData, u64> {
    let count = body.attachments.len() as u64;
    let index = number.checked_sub(1).and_then(|index| usize::try_from(index).ok()).ok_or(count)?;
    let attachment = body.attachments.into_iter().nth(index).ok_or(count)?;
    let view = attachment_view(&attachment, number);
    Ok(AttachmentData { attachment: view, data: Base64::from(attachment.data.0.into_vec()) })
}

fn attachment_view(attachment: &Attachment, number: u64) -> AttachmentView {
    let data = attachment.data.reveal();
    AttachmentView {
        number,
        name: attachment.name.clone(),
        media_type: attachment.media_type.clone(),
        bytes: data.len() as u64,
        sha256: ContentHash::from_bytes(Sha256::digest(data).into()),
    }
}

fn bytes_of(attachments: &[Attachment]) -> u64 {
    attachments.iter().map(|attachment| attachment.data.reveal().len() as u64).sum()
}

fn empty(tlp: Tlp) -> Body {
    Body {
        tlp,
        text: None,
        reference: None,
        attachments: Vec::new(),
        statement: None,
        drill: false,
        form: None,
    }
}

fn recipient_state(held: &SentView, recipient: &RecipientView) -> RecipientState {
    let (machine, machine_at) = match (recipient.state, recipient.delivered) {
        (State::Delivered, Some(delivered)) => (MachineWord::Delivered, delivered.at),
        (State::Delivered, None) => (MachineWord::Delivered, held.created),
        (State::Undeliverable, _) => (MachineWord::Undeliverable, held.expires),
        (State::Expired, _) => (MachineWord::Expired, held.expires),
        (State::Stopped, _) => (MachineWord::Stopped, held.created),
        (State::Refused, _) => (MachineWord::Refused, refused_at(recipient).unwrap_or(held.created)),
        (State::Queued, _) => (MachineWord::Queued, held.created),
        (State::Sent, _) => (MachineWord::Sealed, held.created),
        (State::Custody, _) => (MachineWord::Custody, kept_at(recipient).unwrap_or(held.created)),
    };
    RecipientState {
        member: recipient.member.clone(),
        machine,
        machine_at: machine_at.into(),
        reason: reason(recipient),
        person: last_word(held.statements.iter().filter(|said| said.member == recipient.member)),
    }
}

fn refused_at(recipient: &RecipientView) -> Option<Timestamp> {
    recipient.nodes.iter().filter_map(|node| node.at).max()
}

/// The node of a recipient's that most others keep the message for.
fn best_kept(recipient: &RecipientView) -> Option<&NodeView> {
    recipient.nodes.iter().max_by_key(|node| node.custodians.len())
}

fn kept_at(recipient: &RecipientView) -> Option<Timestamp> {
    best_kept(recipient)?.custodians.iter().map(|custodian| custodian.at).max()
}

/// How many nodes keep it, of how many that were asked, and whose they are.
fn custody(recipient: &RecipientView) -> Option<String> {
    let node = best_kept(recipient)?;
    let mut keepers: Vec<&str> = node.custodians.iter().map(|custodian| custodian.member.as_str()).collect();
    keepers.sort_unstable();
    let (held, asked) = (keepers.len(), node.custodians_asked);
    Some(format!("{held} of {asked}, kept at {} until its node is back", keepers.join(", ")))
}

/// Why a message is where it is, in plain words.
fn reason(recipient: &RecipientView) -> Option<String> {
    if let Some(stopped) = recipient.stopped {
        return Some(stopped.to_string());
    }
    if recipient.delivered.is_some_and(|delivered| delivered.late) {
        return Some("delivered late, after its expiry".to_owned());
    }
    match recipient.state {
        State::Delivered => return None,
        State::Custody => return custody(recipient),
        State::Undeliverable => return Some("key lost: no node there could open it".to_owned()),
        State::Expired | State::Stopped | State::Refused | State::Queued | State::Sent => {}
    }
    let refused = recipient.nodes.iter().find_map(|node| node.refused);
    if let Some(refused) = refused {
        return Some(refusal(refused).to_owned());
    }
    if recipient.nodes.is_empty() {
        return Some("no node of this member is known yet".to_owned());
    }
    if recipient.nodes.iter().all(|node| node.keyless) {
        return Some("no sealing key of this member is known yet".to_owned());
    }
    if recipient.nodes.iter().all(|node| node.unopened || node.keyless) {
        let why =
            "its node could not open it: it goes again once that has a new key; phone if it cannot wait";
        return Some(why.to_owned());
    }
    (!recipient.connected).then(|| "not connected".to_owned())
}

/// A refusal in plain words.
pub(super) const fn refusal(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::Expired => "it came more than a day after its expiry",
        RefusalReason::NotARecipient => "the signed header does not name this recipient",
        RefusalReason::Suspended => "one of the two members is suspended",
        RefusalReason::Invalid => "it did not verify there",
        RefusalReason::NoRoom => "there is no room there now; it is tried again",
        RefusalReason::TooFast => "too much at once for that node; it is tried again",
        RefusalReason::UnknownSigner => "this node's key is not known there yet; it is tried again",
        RefusalReason::Quota => "this member's share of that node's custody is used up",
        RefusalReason::Lost => "what that node kept is damaged or gone",
    }
}

/// The newest word, with the newest promise: a later word that says nothing of it takes none back.
fn last_word<'a>(said: impl Iterator<Item = &'a StatementView>) -> Option<PersonWord> {
    let words: Vec<_> = said.filter(|said| said.word != Word::Unacknowledged).collect();
    let last = words.iter().max_by_key(|said| said.created)?;
    let promise = words.iter().filter(|said| said.will.is_some()).max_by_key(|said| said.created);
    let promise = promise.unwrap_or(last);
    Some(PersonWord {
        word: last.word,
        role: last.role.clone(),
        at: last.created.into(),
        will: promise.will,
        form: promise.form.clone(),
        by: promise.by.map(Into::into),
    })
}

fn timeline(own: &Own, held: &Held) -> Vec<ReceiptRow> {
    let (mut rows, statements) = match held {
        Held::Sent(sent) => (sent_timeline(own, sent), &sent.statements),
        Held::Received(received) => {
            let delivered = ReceiptRow::Machine {
                at: received.received.into(),
                member: own.member.clone(),
                node: own.node,
                kept_for: None,
                word: MachineWord::Delivered,
                reason: received.marks.late.then(|| "it came after its expiry".to_owned()),
                proof: Proof::Own,
            };
            (vec![delivered], &received.statements)
        }
    };
    rows.extend(statements.iter().map(|said| ReceiptRow::Person {
        at: said.created.into(),
        member: said.member.clone(),
        role: said.role.clone(),
        word: said.word,
        will: said.will,
        form: said.form.clone(),
        by: said.by.map(Into::into),
        proof: match (said.member == own.member, said.marks.unproven) {
            (true, _) => Proof::Own,
            (false, true) => Proof::Unproven,
            (false, false) => Proof::Signed,
        },
    }));
    rows.sort_by_key(ReceiptRow::at);
    rows
}

fn sent_timeline(own: &Own, sent: &SentView) -> Vec<ReceiptRow> {
    // This node's own steps: it speaks for itself, about the member named.
    let own_step = |at: Timestamp, word, reason| ReceiptRow::Machine {
        at: at.into(),
        member: own.member.clone(),
        node: own.node,
        kept_for: None,
        word,
        reason,
        proof: Proof::Own,
    };
    let mut rows = vec![own_step(sent.created, MachineWord::Queued, None)];
    for recipient in sent.recipients.iter().filter(|recipient| recipient.member != own.member) {
        for node in &recipient.nodes {
            rows.extend(node.custodians.iter().map(|custodian| ReceiptRow::Machine {
                at: custodian.at.into(),
                member: custodian.member.clone(),
                node: custodian.node,
                kept_for: Some(node.node),
                word: MachineWord::Custody,
                reason: None,
                proof: Proof::Signed,
            }));
            let word = match node.state {
                State::Delivered => MachineWord::Delivered,
                State::Refused => MachineWord::Refused,
                State::Undeliverable
                | State::Expired
                | State::Stopped
                | State::Queued
                | State::Sent
                | State::Custody => continue,
            };
            rows.push(ReceiptRow::Machine {
                at: node.at.unwrap_or(sent.created).into(),
                member: recipient.member.clone(),
                node: node.node,
                kept_for: None,
                word,
                reason: node.refused.map(|reason| refusal(reason).to_owned()),
                proof: Proof::Signed,
            });
        }
        let about = |why: &str| Some(format!("{}: {why}", recipient.member));
        match (recipient.state, recipient.stopped) {
            (State::Expired, _) => {
                rows.push(own_step(sent.expires, MachineWord::Expired, about("not delivered in time")));
            }
            (State::Undeliverable, _) => {
                rows.push(own_step(sent.expires, MachineWord::Undeliverable, about("key lost")));
            }
            (State::Stopped, Some(why)) => {
                rows.push(own_step(sent.created, MachineWord::Stopped, about(&why.to_string())));
            }
            _ => {}
        }
    }
    rows
}

#[cfg(test)]
pub(super) mod tests;
