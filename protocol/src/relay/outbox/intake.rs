//! From a person's draft to a durable message: checks before anything changes, then queued.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{
    Outbox,
    entry::{Entry, new_row},
};
use crate::{
    ids::{MemberCode, MessageId},
    limits::{CONTENT_AT_HAND_BYTES_MAX, EXPIRY_DEFAULT, EXPIRY_MAX, MESSAGE_ID_KEPT, RECIPIENTS_MAX},
    message::{
        body::{Statement, Tlp},
        draft::Draft,
        drill::DrillId,
    },
    redact::Redacted,
    relay::{
        book::MemberStatus,
        event::{Marks, RelayEvent, StatementLabel, SubmitRefusal},
        exchange::{CommandId, Job, RelayEffect, Ticket},
        retry::Timer,
        rows::{StatementRow, encode_row, statement_key},
        sealing::{ComposeError, Composed},
        turn::{Turn, Write, change},
    },
    storage::{Change, Table},
};

/// A message that is being composed: what its row needs and the header does not hold.
pub(super) struct Composing {
    command: CommandId,
    tlp: Tlp,
    drill: bool,
    drill_id: Option<DrillId>,
    statement: Option<(Statement, Option<Redacted<String>>)>,
}

/// A statement of this node's own that just became durable.
pub(in crate::relay) struct OwnStatement {
    pub(in crate::relay) id: MessageId,
    pub(in crate::relay) row: StatementRow,
}

impl Outbox {
    /// Checks a message and has it composed, or says why not.
    pub(in crate::relay) fn submit(
        &mut self,
        turn: &mut Turn<'_>,
        command: CommandId,
        mut draft: Box<Draft>,
    ) {
        draft.recipients.sort();
        draft.recipients.dedup();
        let refusal = if draft.body.statement.is_some() {
            Err(SubmitRefusal::Body("a statement is said of a message, not sent as one".into()))
        } else {
            check_recipients(turn, &draft.recipients).and_then(|()| check_draft(&draft))
        };
        match refusal {
            Ok(()) => self.compose(turn, command, draft),
            Err(why) => turn.emit(RelayEvent::SubmitRefused { command, why }),
        }
    }

    /// Has a statement composed whose recipients follow from the message that it is about.
    pub(in crate::relay) fn submit_statement(
        &mut self,
        turn: &mut Turn<'_>,
        command: CommandId,
        draft: Box<Draft>,
    ) {
        match check_draft(&draft) {
            Ok(()) => self.compose(turn, command, draft),
            Err(why) => turn.emit(RelayEvent::SubmitRefused { command, why }),
        }
    }

    fn compose(&mut self, turn: &mut Turn<'_>, command: CommandId, draft: Box<Draft>) {
        if self.composing.len() >= COMPOSING_MAX || !self.make_room() {
            return turn.emit(RelayEvent::SubmitRefused { command, why: SubmitRefusal::QueueFull });
        }
        let ticket = turn.tickets.draw();
        let statement = draft.body.statement.clone().map(|statement| (statement, draft.body.text.clone()));
        let (tlp, drill, drill_id) = (draft.body.tlp, draft.body.drill, DrillId::of(&draft.body));
        self.composing.insert(ticket, Composing { command, tlp, drill, drill_id, statement });
        turn.effects.push(RelayEffect::Work(Job::Compose { ticket, draft, created: turn.now }));
    }

    /// A message is composed: it is stored and queued, and sealed for every node that is connected.
    pub(in crate::relay) fn on_composed(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        result: Result<Composed, ComposeError>,
    ) -> Option<OwnStatement> {
        let Composing { command, tlp, drill, drill_id, statement } = self.composing.remove(&ticket)?;
        let Composed { content, row } = match result {
            Ok(composed) => composed,
            Err(error) => {
                let why = refusal_of(error);
                turn.emit(RelayEvent::SubmitRefused { command, why });
                return None;
            }
        };
        let (message, header) = (content.id(), content.header().clone());
        let label =
            statement.as_ref().map(|(said, _)| StatementLabel { answers: said.answers, word: said.word });
        let mut entry = Entry::from_row(new_row(&header, tlp, (drill, drill_id), label));
        entry.command = Some(command);
        let mut changes = vec![Change::put(Table::OutboxContent, *message.as_bytes(), row)];
        changes.extend(entry.stored(message));
        let own = statement.map(|(statement, text)| {
            let (member, marks) = (turn.own.member.clone(), Marks::default());
            let row = StatementRow {
                member,
                statement,
                text,
                created: header.created,
                received: turn.now,
                marks,
                signed: None,
            };
            OwnStatement { id: message, row }
        });
        if let Some(OwnStatement { id, row }) = &own {
            let key = statement_key(row.statement.answers, *id);
            // What was composed a moment ago opens.
            let row = &StatementRow { signed: content.signed_statement().ok().flatten(), ..row.clone() };
            changes.extend(change(encode_row(row).map(|row| Change::put(Table::Statements, key, row))));
        }
        if let Some(label) = label {
            self.on_own_statement(turn, label);
        }
        entry.write = Some(turn.persist_refusable(changes, Write::Composed(message)));
        if self.at_hand_bytes + content.size() <= CONTENT_AT_HAND_BYTES_MAX {
            self.at_hand_bytes += content.size();
            entry.at_hand = Some(content);
        }
        self.entries.insert(message, entry);
        self.open.insert(message);
        turn.timers.set(header.expires, Timer::Expire(message));
        turn.timers.set(header.created.after(MESSAGE_ID_KEPT), Timer::ForgetSent(message));
        turn.emit(RelayEvent::MessageQueued {
            message,
            command: Some(command),
            recipients: header.recipients,
            precedence: header.precedence,
            tlp,
            statement: label,
            drill,
        });
        self.retarget(turn, message, None);
        self.release_content(message);
        own
    }

    /// There was no room for a composed message: nothing of it remains.
    pub(in crate::relay) fn on_refused_write(&mut self, turn: &mut Turn<'_>, message: MessageId) {
        let Some(entry) = self.entries.get(&message) else { return };
        let (command, created, expires) = (entry.command, entry.row.created, entry.row.expires);
        // The row was not stored, so there is nothing to delete.
        let _ = self.drop_content(turn, message);
        self.entries.remove(&message);
        self.finished.remove(&(created, message));
        self.sealing.retain(|_, (sealed, ..)| *sealed != message);
        turn.timers.clear(expires, Timer::Expire(message));
        turn.timers.clear(created.after(MESSAGE_ID_KEPT), Timer::ForgetSent(message));
        if let Some(command) = command {
            turn.emit(RelayEvent::SubmitRefused { command, why: SubmitRefusal::NoRoom });
        }
    }
}

fn check_recipients(turn: &Turn<'_>, recipients: &[MemberCode]) -> Result<(), SubmitRefusal> {
    if recipients.is_empty() {
        return Err(SubmitRefusal::NoRecipients);
    }
    if recipients.len() > RECIPIENTS_MAX {
        return Err(SubmitRefusal::TooManyRecipients(recipients.len()));
    }
    if recipients.contains(&turn.own.member) {
        return Err(SubmitRefusal::OwnMember(turn.own.member.clone()));
    }
    let unknown = |member: &&MemberCode| turn.book.member_status(member) == MemberStatus::Unknown;
    if let Some(member) = recipients.iter().find(unknown) {
        return Err(SubmitRefusal::UnknownMember(member.clone()));
    }
    let stopped = recipients.iter().find_map(|member| Some((member, turn.stop_reason(member)?)));
    stopped.map_or(Ok(()), |(member, why)| Err(SubmitRefusal::Stopped(member.clone(), why)))
}

fn check_draft(draft: &Draft) -> Result<(), SubmitRefusal> {
    let lifetime = draft.lifetime.unwrap_or(EXPIRY_DEFAULT);
    if lifetime < Duration::from_secs(1) || lifetime > EXPIRY_MAX {
        return Err(SubmitRefusal::Lifetime(lifetime.as_secs()));
    }
    draft.body.check_form().map_err(|error| SubmitRefusal::Body(error.to_string()))
}

fn refusal_of(error: ComposeError) -> SubmitRefusal {
    match error {
        ComposeError::Body(_) | ComposeError::Header(_) | ComposeError::TooLong(_) => {
            SubmitRefusal::Body(error.to_string())
        }
        ComposeError::Bug(what) => SubmitRefusal::Bug(what),
    }
}

/// Messages being composed at once: what the pool works off in a quarter of a second.
const COMPOSING_MAX: usize = 1_024;

/// The recipients of a statement: the other side, and one's own other nodes where there are any.
pub(in crate::relay) fn statement_recipients(turn: &Turn<'_>, others: &[MemberCode]) -> Vec<MemberCode> {
    let mut recipients: BTreeSet<MemberCode> = others.iter().cloned().collect();
    recipients.remove(&turn.own.member);
    if turn.book.active_nodes(&turn.own.member).iter().any(|node| *node != turn.own.node) {
        recipients.insert(turn.own.member.clone());
    }
    recipients.into_iter().collect()
}
