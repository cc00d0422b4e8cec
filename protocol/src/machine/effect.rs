//! What goes into the machine and what it orders: plain data.

use std::sync::Arc;

use crate::{
    directory::header::ChainKind,
    document::{Envelope, Verified, VerifyError},
    evidence::{
        AnyDocument,
        repair::{Packed, RepairRequest, RepairResponse},
    },
    heads::Head,
    ids::{ContentHash, DocumentId, MemberCode, NodeKey, SealingKeyId},
    introduction::Presence,
    machine::{Command, CommandRefused, JournalNews, NumberedEvent, OperatorAction, Reply},
    membership::charter::WorkingGroup,
    relay::{
        exchange::{CommandId, Job, Outgoing, RelayInput, Ticket},
        parcel::Class,
    },
    storage::{Change, Grade},
    time::Timestamp,
};

/// Names a piece of gossip that waits for its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PushToken(pub u64);

/// Names a repair request of a peer that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnswerToken(pub u64);

/// Names a repair request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskTicket(pub u64);

/// What happened, or is asked.
///
/// It has no `Debug`: some variants hold content.
pub enum Input {
    /// The first connection with an introduced node is up; or one of several is gone and took along what was
    /// on it, so that the node is to be compared with anew.
    Connected {
        /// The node.
        node: NodeKey,
        /// Its member.
        member: MemberCode,
        /// Its clock, a claim.
        remote_time: Timestamp,
        /// Whether this node dialled: the dialler starts the repair.
        dialled: bool,
    },
    /// The last connection with a node is gone.
    Disconnected {
        /// The node.
        node: NodeKey,
    },
    /// Documents from a peer or from this node's operator, after their verification.
    Documents(Batch),
    /// A peer did what is invalid in every state, before or at verification.
    Fault {
        /// The peer that handed it over.
        from: NodeKey,
        /// The broken rule's id in VALIDATION.md.
        rule: &'static str,
        /// What happened; ids and numbers alone.
        what: String,
        /// The piece of gossip, if it was one.
        push: Option<PushToken>,
    },
    /// A peer's repair request; what it gives comes as [`Input::Documents`].
    RepairRequested {
        /// The peer.
        from: NodeKey,
        /// For the answer.
        token: AnswerToken,
        /// The request.
        request: RepairRequest,
    },
    /// The answer to a repair request of ours, or that there is none.
    RepairAnswered {
        /// The peer asked.
        from: NodeKey,
        /// The ticket of the request.
        ticket: AskTicket,
        /// The answer.
        answer: Option<RepairResponse>,
    },
    /// How much of what was to be given fitted in the request.
    RepairGiven {
        /// The peer.
        from: NodeKey,
        /// The ticket of the request.
        ticket: AskTicket,
        /// What fitted.
        packed: Packed,
    },
    /// Another machine answered or called with this node's key.
    TwinMet,
    /// Something for the relay.
    Relay(RelayInput),
    /// A sealing key was made, and its seed is on disk.
    SealingKeyMade(crate::directory::node_record::SealingKeyEntry),
    /// A header of this node's own chain was signed.
    HeaderSigned {
        /// Which chain.
        kind: ChainKind,
        /// The envelope.
        envelope: Envelope,
        /// The body, unless the header renews without change.
        body: Option<Vec<u8>>,
    },
    /// A head of another node, from gossip, after its verification.
    HeadPushed {
        /// The peer that handed it over.
        from: NodeKey,
        /// The piece of gossip.
        token: PushToken,
        /// The head, or why it is not verified.
        head: Box<Result<Verified<Head>, VerifyError>>,
    },
    /// A head of this node was signed.
    HeadSigned {
        /// The envelope.
        envelope: Envelope,
    },
    /// The operator had something done that the machine has no part in, and it is to be journalled.
    Operated(OperatorAction),
    /// A journal was witnessed, and people are to hear of it.
    Journal(JournalNews),
    /// The operator asks.
    Command {
        /// Returns in the reply and in events.
        id: CommandId,
        /// What is asked.
        command: Command,
    },
    /// The time that [`super::Machine::next_wakeup`] named has come.
    Woke,
}

/// Verified documents on their way in.
#[derive(Debug)]
pub struct Batch {
    /// Who brought them; `None` is this node's operator or its own storage.
    pub from: Option<NodeKey>,
    /// Each document, or why it is not verified.
    pub documents: Vec<Result<AnyDocument, VerifyError>>,
    /// Bodies, matched by their hash.
    pub bodies: Vec<Vec<u8>>,
    /// How they came.
    pub carriage: Carriage,
}

/// How documents came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// By gossip.
    Push(PushToken),
    /// In the answer to a repair request of ours.
    Answer(AskTicket),
    /// Given by a peer's repair.
    Give(AnswerToken),
    /// In an introduction, or by the operator's hand.
    Hand,
}

/// What became of a piece of gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New: passed on.
    Accept,
    /// Known, old, pending, newer than this node, or too frequent: neither passed on nor held against anyone.
    Ignore,
    /// Invalid in every state.
    Reject,
}

/// An order to the node. It has no `Debug`: changes and jobs hold content.
pub enum Effect {
    /// Store; see the module's page for what waits for it.
    Persist {
        /// Whether what follows waits for the device.
        grade: Grade,
        /// All or nothing.
        changes: Vec<Change>,
        /// Returns as [`RelayInput::StorageRefused`] if the disk has no room: then nothing of the batch was
        /// stored or carried out. Without a ticket what is durable waits for room, and all that comes after it.
        ticket: Option<Ticket>,
    },
    /// Send on the peer's relay stream.
    Send {
        /// The node.
        to: NodeKey,
        /// Which stream.
        class: Class,
        /// What.
        frame: Outgoing,
        /// A write on which the frame's truth rests: if that was refused, the frame is not sent.
        after: Option<Ticket>,
    },
    /// Gossip a document.
    Push {
        /// The document.
        document: Arc<Envelope>,
        /// Its body.
        body: Option<Vec<u8>>,
    },
    /// Gossip documents that lie in storage.
    PushStored(Vec<DocumentId>),
    /// Say what becomes of a piece of gossip.
    Judge {
        /// Which.
        token: PushToken,
        /// The verdict.
        verdict: Verdict,
    },
    /// Ask a peer for repair.
    Ask {
        /// The peer.
        to: NodeKey,
        /// Returns with the answer.
        ticket: AskTicket,
        /// What.
        request: RepairRequest,
    },
    /// Give a peer documents that lie in storage: load and pack them, tell what fitted by
    /// [`Input::RepairGiven`], and send the request.
    Give {
        /// The peer.
        to: NodeKey,
        /// Returns with the answer.
        ticket: AskTicket,
        /// Envelopes by document id, ancestors first.
        documents: Vec<DocumentId>,
        /// Bodies by hash.
        bodies: Vec<ContentHash>,
    },
    /// Answer a peer's repair request.
    Answer {
        /// Which.
        token: AnswerToken,
        /// The answer.
        answer: RepairResponse,
    },
    /// Answer a peer's repair request with documents that lie in storage, as many as fit.
    Serve {
        /// The peer, whose share of the work this is.
        to: NodeKey,
        /// Which request.
        token: AnswerToken,
        /// Envelopes by document id, ancestors first.
        documents: Vec<DocumentId>,
        /// Bodies by hash.
        bodies: Vec<ContentHash>,
    },
    /// Verify documents that came by repair; they return as [`Input::Documents`].
    Verify {
        /// Who brought them.
        from: NodeKey,
        /// The envelopes.
        envelopes: Vec<Envelope>,
        /// The bodies.
        bodies: Vec<Vec<u8>>,
        /// How they came.
        carriage: Carriage,
    },
    /// Costly cryptography of the relay; returns as [`Input::Relay`].
    Work(Job),
    /// Sign a head of this node; comes back as [`Input::HeadSigned`].
    SignHead(Head),
    /// Sign a header of this node's own chain; comes back as [`Input::HeaderSigned`].
    SignHeader {
        /// Which chain.
        kind: ChainKind,
        /// The header.
        header: crate::directory::header::Header,
        /// The body, unless the header renews without change.
        body: Option<Vec<u8>>,
    },
    /// Make a sealing key, store its seed durably, and return as [`Input::SealingKeyMade`].
    MakeSealingKey {
        /// From when it is used.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Destroy the seed of a sealing key: what was sealed to it opens no more.
    DestroySeed(SealingKeyId),
    /// Keep these nodes connected: each stands once.
    Aim(Vec<Target>),
    /// Judge callers by this from now on.
    Present(Arc<Presence>),
    /// Close the connections with a node, telling it why.
    Disconnect {
        /// The node.
        node: NodeKey,
        /// Why.
        why: Ended,
    },
    /// Tell people and programs.
    Emit(NumberedEvent),
    /// Answer the operator.
    Reply {
        /// The command.
        id: CommandId,
        /// The answer.
        reply: Result<Reply, CommandRefused>,
    },
    /// Log what a peer did that it should not have done: one line a peer, rule and minute.
    Report {
        /// The peer.
        from: NodeKey,
        /// The broken rule's id in VALIDATION.md.
        rule: &'static str,
        /// How often since it was last told.
        times: u64,
        /// What happened the last time; ids and numbers alone.
        what: String,
    },
}

/// Why the connections with a node are closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its key does not count any more.
    Key {
        /// The documents that ended it; they lie in storage.
        proof: Vec<DocumentId>,
    },
    /// It broke more rules than an honest node does.
    Faults {
        /// The last one's id in VALIDATION.md.
        rule: &'static str,
    },
}

/// A node to keep connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node: NodeKey,
    /// Its member.
    pub member: MemberCode,
    /// Its member's working group.
    pub group: WorkingGroup,
    /// Where to dial it, `host:port`; empty if it only dials out or is not known.
    pub addresses: Vec<String>,
}
