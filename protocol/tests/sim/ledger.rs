//! What was promised to whom: kept beside the nodes, and believed by no machine.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use refpoint_protocol::{
    document::Verified,
    ids::{CharterId, DocumentId, MessageId, NodeKey, Sequence},
    membership::charter::Charter,
    relay::exchange::CommandId,
    time::Timestamp,
};

/// The ledger.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) asked: HashMap<CommandId, Asked>,
    pub(crate) messages: BTreeMap<MessageId, Promised>,
    /// Documents that honest nodes held when everything was in order last.
    pub(crate) common: BTreeSet<DocumentId>,
    /// Charter versions and key sets that a node has told of as held, by node, in this folder's life.
    pub(crate) kept: HashMap<usize, BTreeSet<DocumentId>>,
    /// Messages that the node they are for has said `delivered` or `refused` of.
    pub(crate) answered: HashSet<(MessageId, NodeKey)>,
    /// What honest nodes keep for senders that are gone for good.
    pub(crate) left: Vec<Left>,
    /// The newest version that a node has told of as settled, by node, in this folder's life.
    pub(crate) settled: HashMap<usize, CharterId>,
    /// What all honest nodes knew to be settled when everything was in order last.
    pub(crate) settled_everywhere: Option<CharterId>,
    /// When each charter version was signed.
    pub(crate) made: HashMap<CharterId, u64>,
    /// Versions that nobody should have signed: beside settled ones.
    pub(crate) siblings: Vec<Arc<Verified<Charter>>>,
    /// Whom they admit.
    pub(crate) strangers: Vec<Stranger>,
    /// When a node of a unit forgot what it had held and said.
    pub(crate) forgot: Vec<(u64, usize)>,
    /// Heads by node, run and number.
    pub(crate) heads: HashMap<(NodeKey, Timestamp, Sequence), DocumentId>,
    /// Chain headers by the node that signed them.
    headers: HashMap<DocumentId, usize>,
}

/// A parcel that one node keeps for another, and whose sender is gone for good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub(crate) message: MessageId,
    pub(crate) sender: usize,
    pub(crate) custodian: usize,
    pub(crate) recipient: usize,
    /// The folders in which it was kept, and is to arrive: another one has promised nothing.
    pub(crate) custodian_folder: u32,
    pub(crate) recipient_folder: u32,
    pub(crate) since: u64,
    pub(crate) expires: u64,
}

/// A member that a version admits which stands beside a settled one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stranger {
    pub(crate) unit: usize,
    pub(crate) node: usize,
    pub(crate) beside: CharterId,
}

/// What was asked of a node.
pub(crate) enum Asked {
    Send { lifetime: Duration, recipients: Vec<usize> },
    Other,
}

/// A message that its sender's node accepted.
#[derive(Clone, Debug)]
pub(crate) struct Promised {
    pub(crate) node: usize,
    /// By the true time.
    pub(crate) accepted: u64,
    /// By the true time or by the sender's clock, whichever is earlier: one that a clock long behind made may
    /// be over when it is made, and its sender is told so.
    pub(crate) expires: u64,
    /// Units.
    pub(crate) recipients: Vec<usize>,
}

impl Ledger {
    pub(crate) fn queued(
        &mut self,
        node: usize,
        message: MessageId,
        accepted: u64,
        expires: u64,
        recipients: Vec<usize>,
    ) {
        self.messages.insert(message, Promised { node, accepted, expires, recipients });
    }

    /// A node's folder is again what it was then: what it accepted since, it has forgotten.
    pub(crate) fn rolled_back(&mut self, node: usize, at: u64) {
        self.messages.retain(|_, promised| promised.node != node || promised.accepted < at);
        self.kept.remove(&node);
        self.settled.remove(&node);
    }

    /// A node's folder is gone, or in strange hands.
    pub(crate) fn forget_node(&mut self, node: usize) {
        self.messages.retain(|_, promised| promised.node != node);
        self.kept.remove(&node);
        self.settled.remove(&node);
    }

    pub(crate) fn signed(&mut self, header: DocumentId, node: usize) {
        self.headers.insert(header, node);
    }

    pub(crate) fn signer(&self, header: DocumentId) -> Option<usize> {
        self.headers.get(&header).copied()
    }
}
