//! The urgent relay: parcels, receipts, the outbox and the inbox.
//!
//! [`Relay`] is one machine: an input and the time go in, an ordered list of effects comes out. It decides in
//! microseconds and never waits: composing, sealing and opening are jobs for the shell's pool, whose results
//! come back as inputs. It refuses to say `delivered` of what is not durable, or to believe a receipt of
//! anybody but the recipient node.
//!
//! One message, one way: `Submit` → compose; `Composed` → store, seal, *queued*; `Sealed` → send, *sealed*,
//! *sent*. At the other node: `ParcelReceived` → open; `Opened` → store message and id, `delivered`, *arrived*.
//! Back: `ReceiptReceived` → store the receipt, *delivered*.

pub mod book;
mod custody;
pub mod event;
pub mod exchange;
pub mod frame;
mod inbox;
mod lane;
mod offer;
mod outbox;
pub mod parcel;
mod rate;
pub mod receipt;
mod restore;
mod retry;
pub mod rows;
pub mod sealing;
mod share;
mod statements;
mod turn;
pub mod views;

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

pub use restore::{Damaged, Restored};

use self::{
    book::Book,
    custody::Custody,
    event::{RelayEvent, SubmitRefusal},
    exchange::{CommandId, RelayEffect, RelayInput, Ticket, WakeReason},
    inbox::Inbox,
    offer::Offers,
    outbox::Outbox,
    retry::{Timer, Timers},
    statements::Statements,
    turn::{Own, Tickets, Turn, Write},
};
use crate::{
    ids::{MemberCode, MessageId, NodeKey},
    limits::{EXPIRY_DEFAULT, EXPIRY_MAX, TIMERS_PER_WAKE_MAX},
    message::{
        body::{Body, Word},
        draft::{Draft, StatementDraft},
    },
    time::Timestamp,
};

/// Who this node is, and the seed of its jitter.
pub struct RelayConfig {
    /// This node's member.
    pub member: MemberCode,
    /// This node's key.
    pub node: NodeKey,
    /// 32 random bytes: they spread retries and keep no secret.
    pub seed: [u8; 32],
}

/// The relay machine.
pub struct Relay {
    own: Own,
    /// The connected nodes, each with the member that it speaks for.
    peers: BTreeMap<NodeKey, MemberCode>,
    machines: Machines,
    timers: Timers,
    tickets: Tickets,
    rng: ChaCha8Rng,
}

impl Relay {
    /// An empty relay; [`Relay::restore`] makes one from what was stored.
    #[must_use]
    pub fn new(config: RelayConfig) -> Self {
        let RelayConfig { member, node, seed } = config;
        Self {
            own: Own { member, node },
            peers: BTreeMap::new(),
            machines: Machines::default(),
            timers: Timers::default(),
            tickets: Tickets::default(),
            rng: ChaCha8Rng::from_seed(seed),
        }
    }

    /// The machine's door: what happened goes in, what is to be done comes out, in order.
    #[must_use]
    pub fn handle(&mut self, now: Timestamp, input: RelayInput, book: &dyn Book) -> Vec<RelayEffect> {
        let mut effects = Vec::new();
        match &input {
            RelayInput::Connected { node, member } => drop(self.peers.insert(*node, member.clone())),
            RelayInput::Disconnected { node } => drop(self.peers.remove(node)),
            _ => {}
        }
        let (machines, mut turn) = self.turn(now, book, &mut effects);
        machines.route(&mut turn, input);
        effects
    }

    /// When the machine wants [`RelayInput::Woke`], and why. It changes with every input.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<(Timestamp, WakeReason)> {
        self.timers.next()
    }

    fn turn<'a>(
        &'a mut self,
        now: Timestamp,
        book: &'a dyn Book,
        effects: &'a mut Vec<RelayEffect>,
    ) -> (&'a mut Machines, Turn<'a>) {
        let Self { own, peers, machines, timers, tickets, rng } = self;
        (machines, Turn { now, book, own, peers, effects, timers, tickets, rng })
    }
}

/// The machines that the relay is composed of.
#[derive(Default)]
struct Machines {
    outbox: Outbox,
    inbox: Inbox,
    statements: Statements,
    offers: Offers,
    custody: Custody,
}

impl Machines {
    fn route(&mut self, turn: &mut Turn<'_>, input: RelayInput) {
        let Self { outbox, inbox, statements, offers, custody } = self;
        match input {
            RelayInput::Submit { command, draft } => outbox.submit(turn, command, draft),
            RelayInput::State { command, draft } => state(outbox, inbox, turn, command, *draft),
            RelayInput::Composed { ticket, result } => {
                if let Some(own) = outbox.on_composed(turn, ticket, result) {
                    let answers = own.row.statement.answers;
                    let acknowledged = own.row.statement.word == Word::Acknowledged;
                    statements.insert(own.id, own.row, true);
                    if acknowledged {
                        inbox.on_acknowledged(answers);
                    }
                }
            }
            RelayInput::Sealed { ticket, result } => outbox.on_sealed(turn, ticket, result),
            RelayInput::Opened { ticket, result } => {
                if let Some(opened) = inbox.on_opened(turn, ticket, result) {
                    inbox.accept(turn, outbox, statements, opened);
                }
            }
            RelayInput::Connected { node, .. } => {
                outbox.on_connected(turn, node);
                custody.on_connected(turn, node);
                offers.on_connected(turn, node, outbox.kept_for(&node));
            }
            RelayInput::Loaded { ticket, parcel } => custody.on_loaded(turn, ticket, parcel),
            RelayInput::Disconnected { node } => {
                outbox.on_disconnected(turn, node);
                custody.on_disconnected(turn, node);
                offers.on_disconnected(turn, node);
            }
            RelayInput::ParcelReceived { from, parcel } if parcel.label.node == turn.own.node => {
                inbox.on_parcel(turn, from, parcel);
            }
            RelayInput::ParcelReceived { from, parcel } => {
                let message = &parcel.label.message;
                let is_own = outbox.entry(message).is_some() || outbox.is_said(message);
                custody.on_parcel(turn, from, parcel, is_own);
            }
            RelayInput::ReceiptReceived { from, receipt } => {
                let kept = custody.on_receipt(turn, from, &receipt);
                let message = receipt.payload().message;
                if !kept || outbox.entry(&message).is_some() || outbox.is_said(&message) {
                    outbox.on_receipt(turn, from, &receipt);
                }
            }
            RelayInput::OfferReceived { from, offer } => offers.on_offer(turn, from, offer),
            RelayInput::OfferUnknownReceived { from, .. } => {
                offers.on_unknown(turn, from, outbox.kept_for(&from))
            }
            RelayInput::OfferIdsReceived { from, ids } => {
                // A statement stays with its message, also one that was said here.
                let has = |id: &MessageId| inbox.has(id) || inbox.is_opening(from, *id) || statements.has(id);
                offers.on_ids(turn, from, &ids, has);
            }
            RelayInput::LackingReceived { from, lacking } => outbox.on_lacking(turn, from, &lacking.ids),
            RelayInput::DirectoryChanged { member } => {
                outbox.on_directory_changed(turn, member.as_ref());
                // Last, since there may be no room to store what it accepts now.
                inbox.on_directory_changed(turn, outbox, statements, member.as_ref());
            }
            RelayInput::StorageRefused { ticket } => self.on_storage_refused(turn, ticket),
            RelayInput::SendFailed { to, message } => {
                outbox.on_send_failed(turn, to, message);
                custody.on_send_failed(turn, to, message);
            }
            RelayInput::Woke => self.on_woke(turn),
        }
    }

    fn on_storage_refused(&mut self, turn: &mut Turn<'_>, ticket: Ticket) {
        match turn.tickets.refused(ticket) {
            Some(Write::Composed(message)) => {
                self.statements.remove(message);
                self.outbox.on_refused_write(turn, message);
            }
            Some(write @ Write::Received { message, .. }) => {
                self.outbox.unsay(message);
                self.inbox.on_refused_write(turn, write, &mut self.statements);
            }
            Some(Write::Kept(key)) => self.custody.on_refused_write(turn, ticket, key),
            None => {}
        }
    }

    fn on_woke(&mut self, turn: &mut Turn<'_>) {
        for _ in 0..TIMERS_PER_WAKE_MAX {
            let Some((at, timer)) = turn.timers.pop_due(turn.now) else { return };
            match timer {
                Timer::Retry(..)
                | Timer::Custody(..)
                | Timer::Expire(_)
                | Timer::DropContent(_)
                | Timer::ForgetSent(_) => self.outbox.on_timer(turn, at, timer),
                Timer::Offer(node) => {
                    if self.offers.on_timer(turn, at, node, self.outbox.kept_for(&node)) {
                        self.outbox.on_offered_again(node);
                    }
                }
                Timer::HandOver(_)
                | Timer::PassBack(_)
                | Timer::CustodyExpires(_)
                | Timer::ForgetAnswer(_) => self.custody.on_timer(turn, at, timer),
                Timer::ForgetReceived(_) | Timer::DropHeld(_) => {
                    self.inbox.on_timer(turn, timer, &mut self.statements);
                }
            }
        }
    }
}

/// A person says something of a message that was sent or received here: the other side gets it, and one's own
/// other nodes.
fn state(outbox: &mut Outbox, inbox: &Inbox, turn: &mut Turn<'_>, command: CommandId, draft: StatementDraft) {
    let StatementDraft { statement, text } = draft;
    let (answers, word) = (statement.answers, statement.word);
    let about = if let Some(row) = inbox.row(&answers) {
        let theirs = word == Word::Withdrawn;
        (!theirs).then(|| (vec![row.sender.clone()], row.precedence, row.tlp, row.drill, row.expires))
    } else if let Some(entry) = outbox.entry(&answers).filter(|entry| entry.row.statement.is_none()) {
        let ours = matches!(word, Word::Withdrawn | Word::Closed | Word::Unacknowledged);
        let row = &entry.row;
        ours.then(|| (row.recipients.clone(), row.precedence, row.tlp, row.drill, row.expires))
    } else {
        let why = SubmitRefusal::UnknownMessage(answers);
        return turn.emit(RelayEvent::SubmitRefused { command, why });
    };
    let Some((others, precedence, tlp, drill, expires)) = about else {
        return turn.emit(RelayEvent::SubmitRefused { command, why: SubmitRefusal::NotOurs(word) });
    };
    let recipients = outbox::statement_recipients(turn, &others);
    // It is of use for as long as the message may come to a node that lacks both.
    let lifetime = Some(expires.since(turn.now).clamp(EXPIRY_DEFAULT, EXPIRY_MAX));
    let body = Body {
        tlp,
        text,
        reference: None,
        attachments: Vec::new(),
        statement: Some(statement),
        drill,
        form: None,
    };
    outbox.submit_statement(turn, command, Box::new(Draft { recipients, precedence, lifetime, body }));
}
