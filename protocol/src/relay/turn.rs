//! What one turn of the machine works with: the time, the directory, the effects so far, tickets and timers.

use std::{collections::BTreeMap, time::Duration};

use rand_chacha::ChaCha8Rng;

use super::{
    book::{Book, MemberStatus},
    event::{RelayEvent, StopReason},
    exchange::{Outgoing, RelayEffect, RelayFault, Ticket},
    parcel::Class,
    retry::Timers,
    rows::CustodyKey,
};
use crate::{
    document::{EncodeError, Envelope},
    ids::{MemberCode, MessageId, NodeKey},
    storage::{Change, Grade},
    time::Timestamp,
};

/// Who this node is.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) member: MemberCode,
    pub(super) node: NodeKey,
}

/// One call of the machine's door.
pub(super) struct Turn<'a> {
    pub(super) now: Timestamp,
    pub(super) book: &'a dyn Book,
    pub(super) own: &'a Own,
    /// The nodes that are connected, and for whom each speaks.
    pub(super) peers: &'a BTreeMap<NodeKey, MemberCode>,
    pub(super) effects: &'a mut Vec<RelayEffect>,
    pub(super) timers: &'a mut Timers,
    pub(super) tickets: &'a mut Tickets,
    pub(super) rng: &'a mut ChaCha8Rng,
}

impl Turn<'_> {
    pub(super) fn emit(&mut self, event: RelayEvent) {
        self.effects.push(RelayEffect::Emit(event));
    }

    pub(super) fn fault(&mut self, from: NodeKey, fault: RelayFault) {
        self.effects.push(RelayEffect::Fault { from, fault });
    }

    pub(super) fn send(&mut self, to: NodeKey, class: Class, frame: Outgoing) {
        self.send_after(to, class, frame, None);
    }

    /// Sends a frame whose truth rests on a write, if there is one that may still be refused.
    pub(super) fn send_after(&mut self, to: NodeKey, class: Class, frame: Outgoing, after: Option<Ticket>) {
        self.effects.push(RelayEffect::Send { to, frame, class, after });
    }

    /// When to look again at what must not end by a clock that is not to be trusted.
    pub(super) fn look_again(&self) -> Timestamp {
        self.now.after(CLOCK_DOUBTED_PAUSE)
    }

    /// The member that a connected node speaks for.
    pub(super) fn member_of(&self, node: &NodeKey) -> Option<&MemberCode> {
        self.peers.get(node)
    }

    /// Hands over a receipt that another node signed.
    pub(super) fn send_borne(&mut self, to: NodeKey, class: Class, receipt: &Envelope) {
        self.send(to, class, Outgoing::Borne(Box::new(receipt.clone())));
    }

    /// Stores small records, without which the node cannot go on: lack of room is the shell's to answer.
    pub(super) fn persist(&mut self, changes: Vec<Change>) {
        self.effects.push(RelayEffect::Persist { grade: Grade::Durable, changes, ticket: None });
    }

    /// Stores what may be refused for lack of room.
    pub(super) fn persist_refusable(&mut self, changes: Vec<Change>, write: Write) -> Ticket {
        let ticket = self.tickets.write(write);
        self.effects.push(RelayEffect::Persist { grade: Grade::Durable, changes, ticket: Some(ticket) });
        ticket
    }

    /// Why nothing goes to or comes from this member, or this node's own.
    pub(super) fn stop_reason(&self, member: &MemberCode) -> Option<StopReason> {
        [&self.own.member, member].into_iter().find_map(|member| match self.book.member_status(member) {
            MemberStatus::Suspended(charter) => Some(StopReason::Suspended(charter)),
            MemberStatus::Withdrawn(charter) => Some(StopReason::Withdrawn(charter)),
            MemberStatus::Active | MemberStatus::Unknown => None,
        })
    }
}

/// What a refusable write was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// A composed message.
    Composed(MessageId),
    /// A received message or statement, and who handed it over.
    Received { message: MessageId, from: NodeKey, class: Class },
    /// A parcel to be kept for another node.
    Kept(CustodyKey),
}

/// Hands out tickets and remembers the latest refusable writes.
#[derive(Default)]
pub(super) struct Tickets {
    next: u64,
    writes: BTreeMap<Ticket, Write>,
}

impl Tickets {
    pub(super) fn draw(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    pub(super) fn refused(&mut self, ticket: Ticket) -> Option<Write> {
        self.writes.remove(&ticket)
    }

    fn write(&mut self, write: Write) -> Ticket {
        let ticket = self.draw();
        self.writes.insert(ticket, write);
        while self.writes.len() > WRITES_REMEMBERED_MAX {
            self.writes.pop_first();
        }
        ticket
    }
}

/// A change with an encoded row; the row's encoding fails only if an invariant of ours is broken, and then
/// the change is left out so that what stands on the disk stays.
pub(super) fn change(put: Result<Change, EncodeError>) -> Option<Change> {
    debug_assert!(put.is_ok(), "our own rows have a canonical form");
    put.ok()
}

/// How soon to look again at what waits for a clock that may be trusted: others confirm it within minutes of a start.
const CLOCK_DOUBTED_PAUSE: Duration = Duration::from_secs(60);

/// Refusable writes remembered: far more than a store commits at once.
const WRITES_REMEMBERED_MAX: usize = 8_192;
