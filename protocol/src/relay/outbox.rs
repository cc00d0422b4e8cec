//! What this node sends: durable from the moment it is queued until every recipient has it, or the sender
//! knows why not.
//!
//! It owns the messages' states, the queues of each node and the retries. It decides nothing about what came
//! in, and believes no receipt but the recipient node's own.

mod custodians;
mod entry;
mod intake;
mod peer;
mod receipts;
mod returned;
mod targets;

use std::collections::{BTreeMap, BTreeSet};

use custodians::Custodians;
pub(super) use entry::{Entry, Progress};
use intake::Composing;
pub(super) use intake::statement_recipients;
use peer::Peer;

use super::{
    event::{RelayEvent, StatementLabel, StopReason},
    exchange::Ticket,
    retry::Timer,
    rows::{KeyLostRow, OutboxRow, StoppedRow},
    turn::Turn,
};
use crate::{
    ids::{MemberCode, MessageId, NodeKey},
    limits::{KEEP_AFTER_ACKNOWLEDGED, MESSAGE_ID_KEPT, OUTBOX_ROWS_MAX},
    message::body::Word,
    storage::{Change, Table},
    time::Timestamp,
};

/// Everything that this node sends.
#[derive(Default)]
pub(super) struct Outbox {
    entries: BTreeMap<MessageId, Entry>,
    /// Messages whose content is kept: what a change of the directory concerns.
    open: BTreeSet<MessageId>,
    /// Messages that need nothing any more, oldest first: the first to leave memory when it is full.
    finished: BTreeSet<(Timestamp, MessageId)>,
    peers: BTreeMap<NodeKey, Peer>,
    composing: BTreeMap<Ticket, Composing>,
    /// Messages being sealed for a node, or the statement that goes there before the message.
    sealing: BTreeMap<Ticket, (MessageId, NodeKey, Option<MessageId>)>,
    /// What recipients said of the messages whose content is kept, and of which.
    said_of: BTreeMap<MessageId, MessageId>,
    custodians: Custodians,
    at_hand_bytes: usize,
}

impl Outbox {
    pub(super) fn entry(&self, message: &MessageId) -> Option<&Entry> {
        self.entries.get(message)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&MessageId, &Entry)> {
        self.entries.iter()
    }

    pub(super) fn is_connected(&self, node: &NodeKey) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.connected)
    }

    /// Takes a stored row back after a start; parcels follow from the directory as it is now.
    pub(super) fn restore(&mut self, turn: &mut Turn<'_>, message: MessageId, row: OutboxRow) {
        let entry = Entry::from_row(row);
        turn.timers.set(entry.row.created.after(MESSAGE_ID_KEPT), Timer::ForgetSent(message));
        if entry.is_open() {
            turn.timers.set(entry.row.expires, Timer::Expire(message));
            self.open.insert(message);
        } else {
            self.finished.insert((entry.row.created, message));
        }
        let delivered: Vec<NodeKey> =
            entry.row.answers.iter().filter(|a| a.late.is_some()).map(|a| a.node).collect();
        let open = entry.is_open();
        self.entries.insert(message, entry);
        if open {
            for node in delivered {
                self.peers.entry(node).or_default().kept.insert(message);
            }
            self.retarget(turn, message, None);
        }
        self.make_room();
    }

    /// A timer of the outbox's is due.
    pub(super) fn on_timer(&mut self, turn: &mut Turn<'_>, at: Timestamp, timer: Timer) {
        match timer {
            Timer::Retry(message, node) => self.on_retry(turn, at, message, node),
            Timer::Custody(message, node) => self.on_custody_timer(turn, at, message, node),
            Timer::Expire(message) => self.on_expiry(turn, message),
            Timer::DropContent(message) => {
                let due = self.entries.get(&message).is_some_and(|entry| entry.drop_at == Some(at));
                if due && let Some(changes) = self.drop_content(turn, message) {
                    turn.persist(changes);
                }
            }
            Timer::ForgetSent(message) => self.on_forgetting(turn, message),
            Timer::Offer(_)
            | Timer::HandOver(_)
            | Timer::PassBack(_)
            | Timer::CustodyExpires(_)
            | Timer::ForgetAnswer(_)
            | Timer::ForgetReceived(_)
            | Timer::DropHeld(_) => {}
        }
    }

    /// A member acknowledged a message: its content is kept for a day more once all have.
    pub(super) fn on_acknowledged(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        acknowledged: &BTreeSet<MemberCode>,
    ) {
        let own = turn.own.member.clone();
        let Some(entry) = self.entries.get_mut(&message).filter(|entry| entry.is_open()) else { return };
        let all = entry.row.recipients.iter().all(|member| *member == own || acknowledged.contains(member));
        if all && entry.drop_at.is_none() {
            let at = turn.now.after(KEEP_AFTER_ACKNOWLEDGED);
            entry.drop_at = Some(at);
            turn.timers.set(at, Timer::DropContent(message));
        }
    }

    /// This side says something of a message that it sent: `withdrawn` takes it back at once, whether or not
    /// there is room to send the statement.
    fn on_own_statement(&mut self, turn: &mut Turn<'_>, label: StatementLabel) {
        let Some(entry) = self.entries.get_mut(&label.answers).filter(|_| label.word == Word::Withdrawn)
        else {
            return;
        };
        let missing =
            |member: &&MemberCode| !entry.is_delivered_to(member) && entry.stop_of(member).is_none();
        let missing: Vec<MemberCode> = entry.row.recipients.iter().filter(missing).cloned().collect();
        let why = StopReason::TakenBack;
        entry.row.stopped.extend(missing.iter().cloned().map(|member| StoppedRow { member, why }));
        let (message, command, drill) = (label.answers, entry.command, entry.row.drill);
        if let Some(changes) = self.drop_content(turn, message) {
            turn.persist(changes);
        }
        if !missing.is_empty() {
            turn.emit(RelayEvent::MessageStopped { message, command, member: None, why, drill });
        }
    }

    fn on_expiry(&mut self, turn: &mut Turn<'_>, message: MessageId) {
        let Some(entry) = self.entries.get_mut(&message).filter(|entry| !entry.row.expired) else { return };
        if !turn.book.applies_expiry() {
            turn.timers.set(turn.look_again(), Timer::Expire(message));
            return;
        }
        entry.row.expired = true;
        let lost = entry
            .targets
            .iter()
            .filter(|(node, target)| target.is_unopened() && entry.answer(node).is_none());
        let lost = lost.map(|(node, target)| KeyLostRow { node: *node, member: target.member.clone() });
        entry.row.key_lost = lost.collect();
        let missing = |member: &&MemberCode| {
            **member != turn.own.member && !entry.is_delivered_to(member) && entry.stop_of(member).is_none()
        };
        let members: Vec<MemberCode> = entry.row.recipients.iter().filter(missing).cloned().collect();
        let (command, drill) = (entry.command, entry.row.drill);
        if let Some(changes) = self.drop_content(turn, message) {
            turn.persist(changes);
        }
        if !members.is_empty() {
            turn.emit(RelayEvent::MessageExpired { message, command, members, drill });
        }
    }

    /// A message is old enough for nobody to ask. A clock that is not to be trusted ends nothing.
    fn on_forgetting(&mut self, turn: &mut Turn<'_>, message: MessageId) {
        if !turn.book.applies_expiry() {
            return turn.timers.set(turn.look_again(), Timer::ForgetSent(message));
        }
        // Its expiry may be postponed to a later time than this, and says what became of it.
        if self.entries.get(&message).is_some_and(Entry::is_open) {
            self.on_expiry(turn, message);
        }
        self.forget(turn, message);
    }

    /// Gives up the content: nothing is sealed from it any more. What is on its way may still be answered.
    fn drop_content(&mut self, turn: &mut Turn<'_>, message: MessageId) -> Option<Vec<Change>> {
        let nodes: Vec<NodeKey> = self.entries.get(&message)?.targets.keys().copied().collect();
        for node in &nodes {
            self.stop_watching(turn, message, *node);
        }
        self.forget_said(message);
        let entry = self.entries.get_mut(&message)?;
        entry.row.content = false;
        if let Some(content) = entry.at_hand.take() {
            self.at_hand_bytes = self.at_hand_bytes.saturating_sub(content.size());
        }
        let created = entry.row.created;
        let mut holders: BTreeSet<NodeKey> = nodes.iter().copied().collect();
        holders.extend(entry.row.answers.iter().map(|answer| answer.node));
        for node in nodes {
            entry.set_progress(turn, message, node, Progress::Done);
        }
        let stored = entry.stored(message);
        for node in holders {
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.remove(message, created);
                peer.kept.remove(&message);
                peer.repeated.remove(&message);
            }
            self.forget_idle_peer(node);
        }
        self.open.remove(&message);
        self.finished.insert((created, message));
        let mut changes = vec![Change::delete(Table::OutboxContent, *message.as_bytes())];
        changes.extend(stored);
        Some(changes)
    }

    fn forget(&mut self, turn: &mut Turn<'_>, message: MessageId) {
        let Some(changes) = self.drop_content(turn, message) else { return };
        let Some(entry) = self.entries.remove(&message) else { return };
        self.finished.remove(&(entry.row.created, message));
        let key = *message.as_bytes();
        let mut changes: Vec<Change> = changes.into_iter().filter(|c| c.value.is_none()).collect();
        changes.push(Change::delete(Table::Outbox, key));
        for answer in &entry.row.answers {
            let key = super::rows::receipt_key(message, answer.node);
            changes.push(Change::delete(Table::Receipts, key));
        }
        for row in &entry.row.custodians {
            let key = super::rows::custody_receipt_key(message, row.node, row.custodian);
            changes.push(Change::delete(Table::Receipts, key));
        }
        turn.persist(changes);
    }

    /// Lets finished messages leave memory when it is full; `false` if there is no room.
    fn make_room(&mut self) -> bool {
        while self.entries.len() + self.composing.len() >= OUTBOX_ROWS_MAX {
            let Some((_, message)) = self.finished.pop_first() else { return false };
            self.entries.remove(&message);
        }
        true
    }

    fn forget_idle_peer(&mut self, node: NodeKey) {
        if self.peers.get(&node).is_some_and(Peer::is_idle) {
            self.peers.remove(&node);
        }
    }
}
