//! The grow-only set of signed documents, and how two sets become equal.
//!
//! [`Evidence`] composes trust, chains and what waits for an ancestor. A document enters by its
//! structure alone: not by the clock, nor by who brought it. It holds no envelope of a chain: those lie
//! in storage, under their ids.

mod any;
mod digest;
mod pending;
pub mod push;
pub mod repair;
pub mod repair_session;
pub mod responder;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, OnceLock},
};

use self::{any::RestoreOrder, pending::Pending};
pub use self::{
    any::{AnyDocument, verify_any, verify_brought},
    digest::{Roots, root_of, version_of},
    pending::Bearer,
};
use crate::{
    directory::{
        Chains, ForkProof, HeaderAcceptance,
        bodies::BodyAcceptance,
        header::{ChainKey, ChainKind, SignedHeader},
        view::{Directory, NodeListing},
    },
    document::Kind,
    ids::{ContentHash, DocumentId, FederationId, MemberCode, NodeKey},
    membership::{Acceptance, Membership, Trust},
};

/// Everything from which views are computed.
#[derive(Clone, Debug)]
pub struct Evidence {
    trust: Trust,
    chains: Chains,
    pending: Pending,
    listings: Vec<NodeListing>,
    /// Whether trust has changed since `listings` were computed.
    listings_stale: bool,
    roots: Roots,
    /// What is lacking, forgotten with every change: most repairs find two nodes that know it already.
    lacking: OnceLock<Lacking>,
}

/// What came of handing in documents.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "accepted documents are to be stored, and rejections to be counted"]
pub struct Outcome {
    /// What is evidence now, ancestors first: what was handed in and what had waited for it.
    pub accepted: Vec<Accepted>,
    /// Documents that were held already.
    pub known: u64,
    /// Documents that are valid and not kept: above a fork, or of a generation known to be broken.
    pub surplus: u64,
    /// Documents that wait no longer, since their bearer has more waiting than its bound.
    pub crowded_out: u64,
    /// Ancestors to fetch from the bearer.
    pub missing: BTreeSet<DocumentId>,
    /// Documents that are wrong in every state.
    pub rejected: Vec<Rejection>,
    /// Forks that became known: both halves of each proof are to be pushed.
    pub forks: Vec<ForkProof>,
    /// Bodies that no recent header names any more: storage may erase them.
    pub released: BTreeSet<ContentHash>,
    /// Certificates of settled versions that are needless now: storage may erase them.
    pub superseded: BTreeSet<DocumentId>,
}

/// A document that is evidence now.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The document.
    pub document: AnyDocument,
    /// Who brought it.
    pub bearer: Bearer,
}

/// A document that is wrong in every state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The document.
    pub id: DocumentId,
    /// Who brought it.
    pub bearer: Bearer,
    /// The broken rule's id in VALIDATION.md.
    pub rule: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// What a node lacks of chains that it knows, whatever its positions say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Chains with a gap below their newest header or their fork. Sorted.
    pub gaps: Vec<ChainKey>,
    /// Bodies that are shown, or would be. Sorted.
    pub bodies: Vec<ContentHash>,
}

impl Evidence {
    /// Starts with nothing but the federation's id.
    #[must_use]
    pub fn new(federation: FederationId) -> Self {
        Self {
            trust: Trust::new(federation),
            chains: Chains::default(),
            pending: Pending::default(),
            listings: Vec::new(),
            listings_stale: false,
            roots: Roots::default(),
            lacking: OnceLock::new(),
        }
    }

    /// Rebuilds what was stored: charters and key sets in any order, then headers in any order, then bodies in
    /// any order. Headers and bodies are taken one by one and let go, so that they may come straight from
    /// storage, however many there are; no document is among the accepted of the outcome.
    ///
    /// What is missing or rejected afterwards was damaged in storage: peers have it. Bodies that no
    /// recent header names are among the released, and certificates that another one makes needless among the
    /// superseded. A body that was erased on purpose is to be named again by [`Evidence::erase_body`], or repair fetches it.
    pub fn restore(
        federation: FederationId,
        mut trust: Vec<AnyDocument>,
        headers: impl IntoIterator<Item = AnyDocument>,
        bodies: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> (Self, Outcome) {
        let mut evidence = Self::new(federation);
        trust.sort_by_cached_key(RestoreOrder::of);
        let mut outcome = Outcome::default();
        for document in trust.into_iter().chain(headers) {
            let certificate = (document.kind() == Kind::Settlement).then(|| document.id());
            let needless = outcome.known + outcome.surplus;
            evidence.accept_each(Bearer::Local, document, &mut outcome);
            outcome.accepted.clear();
            // The program ended after the row of one that says as much, and before this one was erased.
            outcome.superseded.extend(certificate.filter(|_| outcome.known + outcome.surplus > needless));
        }
        evidence.follow_keys();
        outcome.missing = evidence.awaited(&Bearer::Local);
        // Only now: a body that one header lets go may be named by a later one.
        outcome.released = evidence.chains.take_released();
        outcome.superseded.extend(evidence.trust.take_superseded());
        for body in bodies {
            match evidence.chains.accept_body(body.as_ref()) {
                // The program ended between a release and the erasure, or the value was damaged.
                BodyAcceptance::Unwanted(hash) | BodyAcceptance::Unreadable(hash, _) => {
                    outcome.released.insert(hash);
                }
                BodyAcceptance::New(_) | BodyAcceptance::Known(_) | BodyAcceptance::TooLong(_) => {}
            }
        }
        (evidence, outcome)
    }

    /// Takes one document in, and what had waited for it.
    pub fn accept(&mut self, bearer: Bearer, document: AnyDocument) -> Outcome {
        self.accept_all(bearer, [document])
    }

    /// Takes documents in, in their order, and what had waited for them.
    pub fn accept_all(
        &mut self,
        bearer: Bearer,
        documents: impl IntoIterator<Item = AnyDocument>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for document in documents {
            self.accept_each(bearer, document, &mut outcome);
        }
        self.follow_keys();
        outcome.released = self.chains.take_released();
        outcome.superseded = self.trust.take_superseded();
        // An ancestor that came meanwhile is not missing any more.
        outcome.missing.retain(|id| !outcome.accepted.iter().any(|accepted| accepted.document.id() == *id));
        outcome
    }

    /// Takes a chain's body in, if a recent header names it.
    pub fn accept_body(&mut self, bytes: &[u8]) -> BodyAcceptance {
        let acceptance = self.chains.accept_body(bytes);
        if matches!(acceptance, BodyAcceptance::New(_) | BodyAcceptance::Unreadable(..)) {
            self.lacking = OnceLock::new();
        }
        acceptance
    }

    /// Forgets a body's content for good; returns whether any recent header names it.
    pub fn erase_body(&mut self, hash: ContentHash) -> bool {
        self.lacking = OnceLock::new();
        self.chains.erase_body(hash)
    }

    /// Forgets what a bearer left waiting: it is gone, or it was penalised.
    pub fn forget_bearer(&mut self, bearer: &Bearer) {
        self.pending.forget(bearer);
    }

    /// The federation.
    #[must_use]
    pub const fn federation(&self) -> FederationId {
        self.trust.federation()
    }

    /// Charters and key sets.
    #[must_use]
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Members and keys as they stand.
    #[must_use]
    pub fn membership(&self) -> Arc<Membership> {
        self.trust.membership()
    }

    /// All chains.
    #[must_use]
    pub const fn chains(&self) -> &Chains {
        &self.chains
    }

    /// Whether a charter version, key set or header is held.
    #[must_use]
    pub fn holds(&self, document: &AnyDocument) -> bool {
        match document {
            AnyDocument::Charter(charter) => self.trust.charter(&charter.id().into()).is_some(),
            AnyDocument::KeySet(key_set) => self.trust.key_set(&key_set.id().into()).is_some(),
            AnyDocument::NodeRecord(_) | AnyDocument::ReferencePoint(_) => {
                let header = document.header().zip(ChainKind::of(document.kind()));
                header.is_some_and(|(header, kind)| {
                    let key = ChainKey { node: header.node, key_set: header.key_set, kind };
                    let chain = self.chains.chain(&key);
                    chain.is_some_and(|chain| chain.holds(header.sequence, document.id().into()))
                })
            }
            // Several certificates of one version say the same: which are held is the repair's concern.
            AnyDocument::Settlement(_) => false,
        }
    }

    /// The directory as it stands.
    #[must_use]
    pub fn directory(&self) -> Directory<'_> {
        Directory::new(&self.chains, &self.listings)
    }

    /// The node keys that count now, by member, rank and key.
    #[must_use]
    pub fn listings(&self) -> &[NodeListing] {
        &self.listings
    }

    /// A member's listing of a node key, `None` if it does not count for that member now. Anybody can list
    /// any key, so there is no asking by the key alone.
    #[must_use]
    pub fn listing(&self, member: &MemberCode, node: NodeKey) -> Option<&NodeListing> {
        self.directory().nodes_of(member).iter().find(|listing| listing.node == node)
    }

    /// What this node lacks even where positions are equal.
    #[must_use]
    pub fn lacking(&self) -> &Lacking {
        self.lacking.get_or_init(|| Lacking {
            gaps: self.chains.with_gaps(),
            bodies: self.directory().missing_bodies().into_iter().map(|body| body.hash).collect(),
        })
    }

    /// Documents that wait for an ancestor, of all bearers together.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Ancestors that documents of a bearer wait for.
    #[must_use]
    pub fn awaited(&self, bearer: &Bearer) -> BTreeSet<DocumentId> {
        self.pending.awaited(bearer)
    }

    /// Takes one document in, and what had waited for it.
    fn accept_each(&mut self, bearer: Bearer, document: AnyDocument, outcome: &mut Outcome) {
        let mut queue = VecDeque::from([(bearer, document)]);
        while let Some((bearer, document)) = queue.pop_front() {
            self.accept_one(bearer, document, outcome, &mut queue);
        }
    }

    fn accept_one(
        &mut self,
        bearer: Bearer,
        document: AnyDocument,
        outcome: &mut Outcome,
        queue: &mut VecDeque<(Bearer, AnyDocument)>,
    ) {
        let id = document.id();
        match self.decide(&document) {
            Ok(Verdict::New) => {
                self.changed(&document);
                self.pending.discard(&id);
                queue.extend(self.pending.release(&id));
                outcome.accepted.push(Accepted { document, bearer });
            }
            Ok(Verdict::Forked(proof)) => {
                self.changed(&document);
                self.pending.discard(&id);
                outcome.accepted.push(Accepted { document, bearer });
                outcome.forks.push(proof);
            }
            Ok(Verdict::Known) => outcome.known += 1,
            Ok(Verdict::Surplus) => outcome.surplus += 1,
            Ok(Verdict::Pending(missing)) => {
                outcome.crowded_out += self.pending.add(bearer, document, missing.clone());
                outcome.missing.extend(missing);
            }
            Err((rule, reason)) => outcome.rejected.push(Rejection { id, bearer, rule, reason }),
        }
    }

    fn decide(&mut self, document: &AnyDocument) -> Result<Verdict, (&'static str, String)> {
        let header = match document {
            AnyDocument::Charter(charter) => {
                let acceptance = self.trust.accept_charter(Arc::clone(charter));
                return self.decided(acceptance.map_err(|error| (error.rule(), error.to_string()))?);
            }
            AnyDocument::Settlement(certificate) => {
                let acceptance = self.trust.accept_settlement(Arc::clone(certificate));
                return self.decided(acceptance.map_err(|error| (error.rule(), error.to_string()))?);
            }
            AnyDocument::KeySet(key_set) => {
                let acceptance = self.trust.accept_key_set(Arc::clone(key_set));
                return self.decided(acceptance.map_err(|error| (error.rule(), error.to_string()))?);
            }
            AnyDocument::NodeRecord(document) => SignedHeader::new(document),
            AnyDocument::ReferencePoint(document) => SignedHeader::new(document),
        };
        // Which old headers current key sets name decides what is kept above a fork.
        self.follow_keys();
        let accepted = header.and_then(|header| {
            let key_set = self.trust.key_set(&header.header.key_set);
            self.chains.accept_header(&header, key_set.map(|key_set| key_set.payload()))
        });
        match accepted.map_err(|error| (error.rule, error.what))? {
            HeaderAcceptance::New => Ok(Verdict::New),
            HeaderAcceptance::Known => Ok(Verdict::Known),
            HeaderAcceptance::AboveFork => Ok(Verdict::Surplus),
            HeaderAcceptance::Pending(key_set) => Ok(Verdict::Pending(BTreeSet::from([key_set.into()]))),
            HeaderAcceptance::Forked(proof) => Ok(Verdict::Forked(proof)),
        }
    }

    fn decided(&mut self, acceptance: Acceptance) -> Result<Verdict, (&'static str, String)> {
        Ok(match acceptance {
            Acceptance::New => {
                self.listings_stale = true;
                Verdict::New
            }
            Acceptance::Known => Verdict::Known,
            Acceptance::Pending(missing) => Verdict::Pending(missing),
            Acceptance::Surplus => Verdict::Surplus,
        })
    }

    /// Computes the listings anew if trust has changed, and has the chains follow them.
    fn follow_keys(&mut self) {
        if !std::mem::take(&mut self.listings_stale) {
            return;
        }
        self.listings = listings(&self.trust);
        self.chains.follow(&self.listings);
        self.lacking = OnceLock::new();
    }

    /// A document has entered: what was computed from the set is computed anew when somebody asks.
    fn changed(&mut self, document: &AnyDocument) {
        self.follow_roots(document);
        self.lacking = OnceLock::new();
    }
}

#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Verdict {
    New,
    Known,
    Surplus,
    Pending(BTreeSet<DocumentId>),
    Forked(ForkProof),
}

/// The node keys that count now: active in the membership's view, in the key sets that are tips.
fn listings(trust: &Trust) -> Vec<NodeListing> {
    let membership = trust.membership();
    let mut listings: Vec<NodeListing> = Vec::new();
    for member in membership.members() {
        let first = listings.len();
        let tips = member.key_sets.iter().filter_map(|id| trust.key_set(id).map(|key_set| (*id, key_set)));
        for (id, key_set) in tips {
            for entry in &key_set.payload().nodes {
                let standing = membership.node_of(&member.code, &entry.key);
                if !standing.is_some_and(|standing| standing.is_active()) {
                    continue;
                }
                let mut own = listings.iter_mut().skip(first);
                if let Some(listing) = own.find(|listing| listing.node == entry.key) {
                    listing.key_sets.push(id);
                } else {
                    listings.push(NodeListing {
                        member: member.code.clone(),
                        node: entry.key,
                        rank: entry.rank,
                        key_sets: vec![id],
                        node_record: entry.node_record,
                        reference_point: entry.reference_point,
                    });
                }
            }
        }
    }
    listings.sort_by(|a, b| (&a.member, a.rank, a.node).cmp(&(&b.member, b.rank, b.node)));
    listings
}
