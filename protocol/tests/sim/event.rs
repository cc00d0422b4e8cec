//! What happens at a time: the queue that drives a simulation.

use std::{cmp::Ordering, collections::BinaryHeap, sync::Arc};

use refpoint_protocol::{
    document::Envelope,
    evidence::repair::{RepairRequest, RepairResponse},
    machine::{AskTicket, Input},
    relay::frame::RelayFrame,
};

use super::{faults::Fault, people::Deed};

/// Something that happens.
pub(crate) enum Event {
    /// The time that a machine named has come.
    Wake { node: usize, run: u32 },
    /// Something reaches a machine from its own node.
    Hand { node: usize, run: u32, input: Box<Input> },
    /// A disk has synced.
    Synced { node: usize, run: u32 },
    /// Something comes over a link.
    Arrives { link: u64, from: usize, to: usize, what: Payload },
    /// A request will not be answered any more.
    Unanswered { from: usize, to: usize, run: u32, ticket: AskTicket },
    /// A side notices that its connection is gone.
    Lost { at: usize, other: usize, link: u64 },
    /// A pair tries to connect.
    Dial { a: usize, b: usize },
    /// A node starts.
    Start { node: usize },
    /// Something breaks or is mended.
    Fault(Fault),
    /// A person does something.
    Deed(Deed),
    /// A hostile member does something.
    Mischief { node: usize },
    /// The invariants that cost more are looked at.
    Look,
    /// Faults stop, and later begin again.
    Calm,
    /// People look after what a person must.
    Care,
    /// Everything is to be in order by now.
    Settled,
}

/// What travels between nodes.
#[derive(Clone)]
pub(crate) enum Payload {
    Frame(Box<RelayFrame>),
    Gossip(Arc<Gossip>),
    Request { run: u32, ticket: AskTicket, request: Box<RepairRequest> },
    Answer { run: u32, ticket: AskTicket, answer: Box<RepairResponse> },
}

/// A pushed document with its body.
pub(crate) struct Gossip {
    pub(crate) id: u64,
    pub(crate) document: Arc<Envelope>,
    pub(crate) body: Option<Vec<u8>>,
    /// How many bytes go over a link, if it is a head.
    pub(crate) head_bytes: Option<u64>,
}

impl Gossip {
    pub(crate) fn new(id: u64, document: Arc<Envelope>, body: Option<Vec<u8>>) -> Arc<Self> {
        let head_bytes = super::heads::pushed_bytes(&document);
        Arc::new(Self { id, document, body, head_bytes })
    }
}

/// Events by time; those of one time in the order in which they were planned.
#[derive(Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Planned>,
    planned: u64,
}

struct Planned {
    at: u64,
    order: u64,
    event: Event,
}

impl Agenda {
    pub(crate) fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.heap.push(Planned { at, order: self.planned, event });
    }

    pub(crate) fn next(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|planned| (planned.at, planned.event))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Planned {}
