//! From an opened message to a durable one: whether its signer counts now, and what marks it carries.

use super::{
    Inbox, confirm,
    opening::{Held, is_too_late},
    refuse,
};
use crate::{
    ids::{MemberCode, MessageId, NodeKey},
    limits::{
        CLOCK_SKEW_MAX, EXPIRY_GRACE, HELD_BYTES_MAX, HELD_BYTES_PER_PEER_MAX, HELD_BYTES_PER_PEER_MIN,
        HELD_MESSAGES_MAX, HELD_MESSAGES_PER_PEER_MAX, HELD_MESSAGES_PER_PEER_MIN, HELD_WAIT,
        MESSAGE_ID_KEPT,
    },
    message::header::MessageHeader,
    relay::{
        book::{MemberStatus, SignerStanding},
        event::{Marks, RelayEvent, StatementLabel},
        exchange::{RelayEffect, RelayFault},
        outbox::Outbox,
        parcel::Class,
        receipt::RefusalReason,
        retry::Timer,
        rows::{IdRow, InboxRow, StatementRow, encode_row, statement_key},
        sealing::Opened,
        share::ShareBounds,
        statements::Statements,
        turn::{Turn, Write, change},
    },
    storage::{Change, Table},
    time::Timestamp,
};

/// What the directory says of an opened message's signer.
enum Standing {
    Counts,
    Unproven,
    Unknown,
    Refused(RefusalReason),
}

impl Inbox {
    /// Takes an opened message or statement, holds it, or refuses it.
    pub(in crate::relay) fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        outbox: &mut Outbox,
        statements: &mut Statements,
        (from, class, opened): (NodeKey, Class, Box<Opened>),
    ) {
        let message = MessageId::from(opened.header.id());
        if let Some(seen) = self.ids.get(&message) {
            return confirm(turn, from, class, message, seen.write);
        }
        let header = opened.header.payload();
        // One signature makes one signer: the opener checked it.
        let signer = NodeKey::from_bytes(opened.header.signer().unwrap_or_default());
        if is_too_late(turn, header.expires) {
            turn.fault(from, RelayFault::TooLate(message));
            return refuse(turn, from, class, message, RefusalReason::Expired);
        }
        let unproven = match standing(turn, header, &signer) {
            Standing::Counts => false,
            Standing::Unproven => true,
            Standing::Unknown => return self.hold(turn, from, class, opened),
            Standing::Refused(reason) => {
                if reason == RefusalReason::UnknownSigner {
                    turn.fault(from, RelayFault::Signer(message));
                }
                return refuse(turn, from, class, message, reason);
            }
        };
        let is_statement = opened.body.statement.is_some();
        if !self.has_id_room(&header.sender) || !(is_statement || self.make_room(&header.sender)) {
            return refuse(turn, from, class, message, RefusalReason::NoRoom);
        }
        let marks = Marks {
            late: turn.now > header.expires,
            future: header.created > turn.now.after(CLOCK_SKEW_MAX),
            unproven,
        };
        if is_statement {
            self.accept_statement(turn, outbox, statements, (from, class, opened), (signer, marks));
        } else {
            self.accept_message(turn, statements, (from, class, opened), signer, marks);
        }
    }

    /// The directory changed: messages that wait for a key set are looked at again.
    pub(in crate::relay) fn on_directory_changed(
        &mut self,
        turn: &mut Turn<'_>,
        outbox: &mut Outbox,
        statements: &mut Statements,
        member: Option<&MemberCode>,
    ) {
        let sender = |held: &Held| held.opened.header.payload().sender.clone();
        let concerned: Vec<MessageId> = self
            .held
            .iter()
            .filter(|(_, held)| member.is_none_or(|member| *member == sender(held)))
            .map(|(message, _)| *message)
            .collect();
        for message in concerned {
            let Some(held) = self.take_held(message) else { continue };
            turn.timers.clear(held.until, Timer::DropHeld(message));
            self.accept(turn, outbox, statements, (held.from, held.class, held.opened));
        }
    }

    fn accept_message(
        &mut self,
        turn: &mut Turn<'_>,
        statements: &mut Statements,
        (from, class, opened): (NodeKey, Class, Box<Opened>),
        signer: NodeKey,
        marks: Marks,
    ) {
        let Opened { header, body, row: content, .. } = *opened;
        let (message, header) = (MessageId::from(header.id()), header.payload());
        let row = InboxRow {
            sender: header.sender.clone(),
            signer,
            recipients: header.recipients.clone(),
            precedence: header.precedence,
            tlp: body.tlp,
            drill: body.drill,
            created: header.created,
            expires: header.expires,
            received: turn.now,
            size: header.length,
            marks,
        };
        let key = *message.as_bytes();
        let mut changes = vec![Change::put(Table::InboxContent, key, content)];
        changes.extend(change(encode_row(&row).map(|row| Change::put(Table::Inbox, key, row))));
        let event = RelayEvent::MessageArrived {
            message,
            sender: row.sender.clone(),
            precedence: row.precedence,
            tlp: row.tlp,
            marks,
            drill: row.drill,
        };
        let sender = row.sender.clone();
        self.insert_row(message, row);
        statements.on_known(message);
        // What the sender or another recipient says is no word of this side's.
        if statements.acknowledged(&message).contains(&turn.own.member) {
            self.on_acknowledged(message);
        }
        let until = turn.now.after(MESSAGE_ID_KEPT).max(header.expires.after(EXPIRY_GRACE));
        self.store(turn, (from, class, message), &sender, until, changes);
        turn.emit(event);
    }

    fn accept_statement(
        &mut self,
        turn: &mut Turn<'_>,
        outbox: &mut Outbox,
        statements: &mut Statements,
        (from, class, opened): (NodeKey, Class, Box<Opened>),
        (maker, marks): (NodeKey, Marks),
    ) {
        let Opened { header, body, signed, .. } = *opened;
        let (id, header) = (MessageId::from(header.id()), header.payload());
        let Some(statement) = body.statement else { return };
        let (answers, member) = (statement.answers, header.sender.clone());
        let sent = outbox.entry(&answers).map(|entry| entry.row.recipients.contains(&member));
        let received = self.rows.get(&answers).map(|row| row.sender == member);
        let known = sent.is_some() || received.is_some();
        // What this node holds of that message counts before what is said of it.
        let about = outbox.entry(&answers).map(|entry| entry.row.drill);
        let drill = about.or(self.rows.get(&answers).map(|row| row.drill)).unwrap_or(body.drill);
        let party = !known || member == turn.own.member || sent == Some(true) || received == Some(true);
        if !party {
            let borne = turn.member_of(&from) != Some(&member);
            turn.fault(from, RelayFault::Statement { message: answers, borne });
            return refuse(turn, from, class, id, RefusalReason::Invalid);
        }
        if statements.has(&id) {
            // Its id was forgotten, and a clock that is not to be trusted lets it come again.
            return confirm(turn, from, class, id, None);
        }
        if !statements.has_room(answers, &member, known) {
            return refuse(turn, from, class, id, RefusalReason::NoRoom);
        }
        let label = StatementLabel { answers, word: statement.word };
        let row = StatementRow {
            member: member.clone(),
            statement,
            text: body.text,
            created: header.created,
            received: turn.now,
            marks,
            signed,
        };
        let key = statement_key(answers, id);
        let stored = change(encode_row(&row).map(|row| Change::put(Table::Statements, key, row)));
        statements.insert(id, row, known);
        // A statement stays with its message: the id alone is kept until a parcel would be too late.
        let until = turn.now.max(header.expires).after(EXPIRY_GRACE).after(CLOCK_SKEW_MAX);
        self.store(turn, (from, class, id), &member, until, stored.into_iter().collect());
        let own = member == turn.own.member;
        if sent == Some(true) && !marks.unproven {
            outbox.on_statement(turn, (answers, id), &member, maker);
        }
        turn.emit(RelayEvent::StatementArrived { id, statement: label, member, known, marks, drill });
        if label.word == crate::message::body::Word::Acknowledged {
            outbox.on_acknowledged(turn, answers, &statements.acknowledged(&answers));
            if own && !marks.unproven {
                self.on_acknowledged(answers);
            }
        }
    }

    /// Stores what was received and its id in one change set, and confirms it. The id is kept for as long as the
    /// message would be taken, however far its times lie in the future.
    fn store(
        &mut self,
        turn: &mut Turn<'_>,
        (from, class, message): (NodeKey, Class, MessageId),
        sender: &MemberCode,
        until: Timestamp,
        mut changes: Vec<Change>,
    ) {
        if let Some(held) = self.take_held(message) {
            turn.timers.clear(held.until, Timer::DropHeld(message));
        }
        let id = encode_row(&IdRow { until });
        changes.extend(change(id.map(|row| Change::put(Table::MessageIds, *message.as_bytes(), row))));
        let write = turn.persist_refusable(changes, Write::Received { message, from, class });
        self.insert_id(message, until, write, sender);
        turn.timers.set(until, Timer::ForgetReceived(message));
        confirm(turn, from, class, message, Some(write));
    }

    /// The signer's key set is not held: the message waits for it, bounded and unanswered.
    fn hold(&mut self, turn: &mut Turn<'_>, from: NodeKey, class: Class, opened: Box<Opened>) {
        let message = MessageId::from(opened.header.id());
        let member = opened.header.payload().sender.clone();
        let held = Held { from, class, opened, until: turn.now.after(HELD_WAIT) };
        if self.held.contains_key(&message) {
            // Whoever handed the other over may have no key set to give.
            return turn.effects.push(RelayEffect::FetchKeySet { from, member });
        }
        let room = self.held_shares.has_room(HELD, &from, 1)
            && self.held_bytes.has_room(HELD_BYTES, &from, held.bytes());
        if !room {
            return refuse(turn, from, class, message, RefusalReason::TooFast);
        }
        turn.timers.set(held.until, Timer::DropHeld(message));
        self.held_shares.add(&from, 1);
        self.held_bytes.add(&from, held.bytes());
        self.held.insert(message, held);
        turn.effects.push(RelayEffect::FetchKeySet { from, member });
    }
}

/// Decides at the moment of use whether the signer counts.
fn standing(turn: &Turn<'_>, header: &MessageHeader, signer: &NodeKey) -> Standing {
    if turn.stop_reason(&header.sender).is_some() {
        return Standing::Refused(RefusalReason::Suspended);
    }
    if turn.book.member_status(&header.sender) == MemberStatus::Unknown {
        return Standing::Unknown;
    }
    match turn.book.signer_standing(&header.sender, signer) {
        SignerStanding::Active => Standing::Counts,
        SignerStanding::Retired(since) if header.created < since => Standing::Counts,
        SignerStanding::Compromised(_) => Standing::Unproven,
        SignerStanding::Unknown => Standing::Unknown,
        SignerStanding::Retired(_) | SignerStanding::Ended => Standing::Refused(RefusalReason::UnknownSigner),
    }
}

/// Messages that wait for a key set, by who handed them over.
const HELD: ShareBounds = ShareBounds {
    all: HELD_MESSAGES_MAX,
    each: HELD_MESSAGES_PER_PEER_MAX,
    floor: HELD_MESSAGES_PER_PEER_MIN,
};

/// Their bytes.
const HELD_BYTES: ShareBounds =
    ShareBounds { all: HELD_BYTES_MAX, each: HELD_BYTES_PER_PEER_MAX, floor: HELD_BYTES_PER_PEER_MIN };
