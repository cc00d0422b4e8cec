//! The asking side of repair: one run with one peer, from digests to nothing left to exchange.
//!
//! It names what to ask, what to take in and what to give; the runtime sends, verifies and loads. A lying
//! peer costs a bounded number of exchanges and bytes, and every run ends.

mod compare;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use self::compare::{Differences, compare};
use super::{
    Evidence,
    repair::{
        ChainRequest, Digest, Documents, Fetch, KindRoot, Packed, Position, Positions, PositionsRequest,
        RepairRequest, RepairResponse,
    },
};
use crate::{
    directory::header::{ChainKey, ChainKind, Header},
    document::{Kind, decode},
    ids::{ContentHash, DocumentId, FederationId, NodeKey, Sequence},
    limits::{
        HEADER_BYTES_MAX, POSITION_PAGES_MAX, REPAIR_BYTES_MAX, REPAIR_CHAINS_MAX, REPAIR_IDS_MAX,
        REPAIR_ROUNDS_MAX, REPAIR_SESSION_BYTES_MAX,
    },
    time::Timestamp,
};

/// One repair with one peer.
#[derive(Clone, Debug)]
pub struct RepairSession {
    peer: NodeKey,
    federation: FederationId,
    roots: Vec<KindRoot>,
    awaiting: Awaiting,
    kinds: VecDeque<Kind>,
    work: Differences,
    bodies: VecDeque<ContentHash>,
    wants: Wants,
    /// Which gaps come first.
    turn: u64,
    report: Report,
}

/// What the runtime does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this and hand the response to [`RepairSession::handle`].
    Ask(RepairRequest),
    /// Verify these, hand them in with the peer as bearer, and call [`RepairSession::next`].
    TakeIn(Documents),
    /// Load these, pack them with [`Documents::pack`], report the result by [`RepairSession::given`],
    /// send [`RepairRequest::Give`] and hand the response to [`RepairSession::handle`].
    Give(Give),
    /// The repair is over.
    Done(Report),
}

/// What the peer lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Give {
    /// Envelopes by document id, ancestors first.
    pub documents: Vec<DocumentId>,
    /// Bodies by hash.
    pub bodies: Vec<ContentHash>,
}

/// How a repair went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The other node.
    pub peer: NodeKey,
    /// How it ended.
    pub ending: Ending,
    /// Kinds whose roots differed at the start.
    pub differed: Vec<Kind>,
    /// Kinds and versions that the peer reads and this node does not.
    pub newer: u64,
    /// Requests sent.
    pub rounds: usize,
    /// Bytes of documents received.
    pub received_bytes: usize,
    /// Bytes of documents given.
    pub given_bytes: usize,
    /// The peer's clock, as its digest said.
    pub peer_time: Option<Timestamp>,
}

/// How a repair ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Everything that either lacked was exchanged, as far as the other had it.
    Complete,
    /// A bound was reached: the rest is for the next repair.
    Bounded,
    /// The peer has too much to do.
    Busy,
    /// The peer answered something else than was asked (RE-01).
    Misanswered,
}

#[derive(Clone, Debug)]
enum Awaiting {
    Digest,
    Positions {
        kind: Kind,
        pages: Vec<Position>,
        count: usize,
    },
    Documents(Asked),
    Taken,
    /// The runtime takes documents in, or is about to send what is given.
    Runtime,
}

/// What is asked for last, whatever the digests said, and in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Headers,
    Bodies,
    Nothing,
}

/// What was asked for, so that what a full frame left out is asked for again.
#[derive(Clone, Debug)]
enum Asked {
    Fetch(Fetch),
    Chains(Vec<ChainRequest>),
}

impl RepairSession {
    /// Starts a repair: the request to send first.
    #[must_use]
    pub fn start(peer: NodeKey, federation: FederationId, digest: Digest) -> (Self, RepairRequest) {
        let report = Report {
            peer,
            ending: Ending::Complete,
            differed: Vec::new(),
            newer: 0,
            rounds: 1,
            received_bytes: 0,
            given_bytes: 0,
            peer_time: None,
        };
        let session = Self {
            peer,
            federation,
            roots: digest.roots.clone(),
            awaiting: Awaiting::Digest,
            kinds: VecDeque::new(),
            work: Differences::default(),
            bodies: VecDeque::new(),
            wants: Wants::Headers,
            turn: digest.time.as_millis(),
            report,
        };
        (session, RepairRequest::Digest(digest))
    }

    /// The other node.
    #[must_use]
    pub const fn peer(&self) -> NodeKey {
        self.peer
    }

    /// Takes the response to what was asked or given.
    #[must_use]
    pub fn handle(&mut self, response: RepairResponse, evidence: &Evidence) -> Step {
        let awaiting = std::mem::replace(&mut self.awaiting, Awaiting::Runtime);
        match (awaiting, response) {
            (_, RepairResponse::Busy(_)) => self.end(Ending::Busy),
            (Awaiting::Digest, RepairResponse::Digest(theirs)) => {
                self.on_digest(&theirs);
                self.next(evidence)
            }
            (Awaiting::Positions { kind, pages, count }, RepairResponse::Positions(page))
                if page.kind == kind =>
            {
                self.on_positions(kind, pages, count, page, evidence)
            }
            (Awaiting::Documents(asked), RepairResponse::Documents(documents)) => {
                self.on_documents(asked, documents, evidence)
            }
            (Awaiting::Taken, RepairResponse::Taken(_)) => self.next(evidence),
            _ => self.end(Ending::Misanswered),
        }
    }

    /// What to do next, after documents were taken in.
    #[must_use]
    pub fn next(&mut self, evidence: &Evidence) -> Step {
        let bytes = self.report.received_bytes.max(self.report.given_bytes);
        if self.report.rounds >= REPAIR_ROUNDS_MAX || bytes >= REPAIR_SESSION_BYTES_MAX {
            return if self.has_work() { self.end(Ending::Bounded) } else { self.end(self.report.ending) };
        }
        if let Some(fetch) = self.next_fetch(evidence) {
            let asked = Asked::Fetch(fetch.clone());
            return self.ask(RepairRequest::Fetch(fetch), Awaiting::Documents(asked));
        }
        if !self.work.chains.is_empty() {
            let count = self.work.chains.len().min(REPAIR_CHAINS_MAX);
            let requests: Vec<_> = self.work.chains.drain(..count).collect();
            let asked = Awaiting::Documents(Asked::Chains(requests.clone()));
            return self.ask(RepairRequest::Chains(requests), asked);
        }
        if !self.work.give.documents.is_empty() || !self.work.give.bodies.is_empty() {
            self.report.rounds += 1;
            self.awaiting = Awaiting::Taken;
            return Step::Give(self.work.give.clone());
        }
        if let Some(kind) = self.kinds.pop_front() {
            return self.ask_positions(kind, None, Vec::new(), 0);
        }
        if self.wants == Wants::Nothing {
            return self.end(self.report.ending);
        }
        self.collect_wants(evidence);
        self.next(evidence)
    }

    /// Tells how much of what was to be given fitted in the frame: the rest is given next.
    pub fn given(&mut self, packed: &Packed) {
        let give = &mut self.work.give;
        let documents = packed.envelopes_done.min(give.documents.len());
        give.documents.drain(..documents);
        let bodies = packed.bodies_done.min(give.bodies.len());
        give.bodies.drain(..bodies);
        self.report.given_bytes += packed.bytes;
    }

    fn on_digest(&mut self, theirs: &Digest) {
        self.report.peer_time = Some(theirs.time);
        let same = |a: &KindRoot, b: &KindRoot| a.kind == b.kind && a.version == b.version;
        let mut differed = Vec::new();
        for kind in Kind::EVIDENCE {
            let ours = self.roots.iter().find(|root| root.kind == kind.name());
            let other = ours.and_then(|ours| theirs.roots.iter().find(|root| same(root, ours)));
            if ours.zip(other).is_some_and(|(ours, other)| ours.root != other.root) {
                differed.push(kind);
            }
        }
        let newer = theirs.roots.iter().filter(|root| !self.roots.iter().any(|ours| same(ours, root)));
        self.report.newer = newer.count() as u64;
        self.kinds = differed.iter().copied().collect();
        self.report.differed = differed;
    }

    fn on_positions(
        &mut self,
        kind: Kind,
        mut pages: Vec<Position>,
        count: usize,
        page: Positions,
        evidence: &Evidence,
    ) -> Step {
        let last = page.positions.last().cloned();
        // A page that does not move on would be asked for for ever.
        let moves_on = last.as_ref().is_some_and(|last| pages.last().is_none_or(|before| before < last));
        pages.extend(page.positions);
        let more = page.more && moves_on;
        if more && count + 1 < POSITION_PAGES_MAX {
            return self.ask_positions(kind, last, pages, count + 1);
        }
        if more {
            self.report.ending = Ending::Bounded;
        }
        self.work = compare(evidence, kind, &pages, !more);
        self.next(evidence)
    }

    fn on_documents(&mut self, asked: Asked, documents: Documents, evidence: &Evidence) -> Step {
        self.report.received_bytes += documents.size();
        if documents.is_empty() {
            // The peer has none of it: what is left of this work may still be had.
            return self.next(evidence);
        }
        match asked {
            Asked::Fetch(fetch) => self.ask_rest(fetch, &documents),
            Asked::Chains(requests) => self.ask_rest_of_chains(&requests, &documents),
        }
        Step::TakeIn(documents)
    }

    /// Asks again for what came not, if the frame was full: a frame that was not left out nothing.
    fn ask_rest(&mut self, asked: Fetch, documents: &Documents) {
        if !is_full(documents) {
            return;
        }
        let Fetch { documents: ids, bodies, broken, settled } = asked;
        // What came of these shows once it is taken in.
        self.work.broken.extend(broken);
        self.work.settled.extend(settled);
        let mut came = BTreeSet::new();
        for envelope in &documents.envelopes {
            came.insert(envelope.id(Some(self.federation)));
            came.insert(envelope.id(None));
        }
        // Envelopes travel first; bodies are asked for only when nothing else is.
        for id in ids.into_iter().filter(|id| !came.contains(id)).rev() {
            self.work.fetch.push_front(id);
        }
        let came: BTreeSet<_> = documents.bodies.iter().map(|body| hash_of(body)).collect();
        for hash in bodies.into_iter().filter(|hash| !came.contains(hash)).rev() {
            self.bodies.push_front(hash);
        }
    }

    fn ask_rest_of_chains(&mut self, requests: &[ChainRequest], documents: &Documents) {
        let many = documents.envelopes.len() >= REPAIR_IDS_MAX;
        if !many && !is_full(documents) {
            return;
        }
        // Answers come in the order of the requests: find the last one that anything came for.
        let Some((chain, sequence)) = documents.envelopes.last().and_then(place_of) else {
            return;
        };
        let covers = |request: &ChainRequest| request.chain == chain && request.from <= sequence;
        let Some(at) = requests.iter().rposition(covers) else { return };
        for (index, request) in requests.iter().enumerate().skip(at).rev() {
            let from = if index == at { sequence.next() } else { Some(request.from) };
            if let Some(from) = from.filter(|from| *from <= request.to) {
                self.work.chains.push_front(ChainRequest { from, ..request.clone() });
            }
        }
    }

    fn next_fetch(&mut self, evidence: &Evidence) -> Option<Fetch> {
        let trust = evidence.trust();
        self.work.broken.retain(|of| !trust.is_lost_generation(of));
        self.work.settled.retain(|span| !trust.is_settlement_covered(*span));
        let count = self.work.fetch.len().min(REPAIR_IDS_MAX);
        let mut fetch = Fetch { documents: self.work.fetch.drain(..count).collect(), ..Fetch::default() };
        fetch.broken = std::mem::take(&mut self.work.broken);
        fetch.settled = std::mem::take(&mut self.work.settled);
        let idle = fetch.documents.is_empty() && fetch.broken.is_empty() && fetch.settled.is_empty();
        if idle && self.work.chains.is_empty() {
            let count = self.bodies.len().min(REPAIR_IDS_MAX);
            fetch.bodies = self.bodies.drain(..count).collect();
        }
        (!idle || !fetch.bodies.is_empty()).then_some(fetch)
    }

    /// What this node lacks even where positions are equal: headers below the newest and headers that key
    /// sets name, and then, since those decide what is shown, bodies.
    fn collect_wants(&mut self, evidence: &Evidence) {
        let (chains, lacking) = (evidence.chains(), evidence.lacking());
        self.wants = match self.wants {
            Wants::Headers => {
                let gaps = chains.gaps_of(&lacking.gaps, REPAIR_CHAINS_MAX, self.turn);
                let compared = gaps.into_iter().filter(|(chain, ..)| evidence.is_compared(chain.key_set));
                self.work.chains.extend(compared.map(|(chain, from, to)| ChainRequest { chain, from, to }));
                self.work.fetch.extend(chains.missing_names().take(REPAIR_IDS_MAX).map(DocumentId::from));
                Wants::Bodies
            }
            Wants::Bodies | Wants::Nothing => {
                self.bodies.extend(lacking.bodies.iter().copied().take(REPAIR_IDS_MAX));
                Wants::Nothing
            }
        };
    }

    fn ask_positions(
        &mut self,
        kind: Kind,
        after: Option<Position>,
        pages: Vec<Position>,
        count: usize,
    ) -> Step {
        let request = RepairRequest::Positions(PositionsRequest { kind, after });
        self.ask(request, Awaiting::Positions { kind, pages, count })
    }

    fn ask(&mut self, request: RepairRequest, awaiting: Awaiting) -> Step {
        self.report.rounds += 1;
        self.awaiting = awaiting;
        Step::Ask(request)
    }

    fn has_work(&self) -> bool {
        !self.work.is_empty()
            || !self.kinds.is_empty()
            || !self.bodies.is_empty()
            || self.wants != Wants::Nothing
    }

    fn end(&mut self, ending: Ending) -> Step {
        self.report.ending = ending;
        Step::Done(self.report.clone())
    }
}

impl Report {
    /// How far the peer's clock is from `now`, in either direction.
    #[must_use]
    pub fn clock_distance(&self, now: Timestamp) -> Option<Duration> {
        self.peer_time.map(|time| time.since(now).max(now.since(time)))
    }
}

/// Whether so much came that something may have been left out.
fn is_full(documents: &Documents) -> bool {
    documents.size() + LARGEST_DOCUMENT_BYTES > REPAIR_BYTES_MAX
        || documents.envelopes.len() + documents.bodies.len() >= REPAIR_IDS_MAX
}

/// The chain and sequence that an envelope claims to be of.
fn place_of(envelope: &crate::document::Envelope) -> Option<(ChainKey, Sequence)> {
    let kind = Kind::from_name(&envelope.kind).and_then(ChainKind::of)?;
    let header: Header = decode(&envelope.payload, HEADER_BYTES_MAX).ok()?;
    Some((header.chain(kind), header.sequence))
}

pub(super) fn hash_of(bytes: &[u8]) -> ContentHash {
    use sha2::Digest as _;
    ContentHash::from_bytes(sha2::Sha256::digest(bytes).into())
}

/// Bytes of the largest document: a frame with less room than this may have left one out.
const LARGEST_DOCUMENT_BYTES: usize = crate::document::Envelope::BYTES_MAX + 512;
