//! Two bundles side by side: the same, one behind the other, or two stories that cannot both be true.

mod journals;

use std::collections::BTreeSet;

pub use self::journals::{JournalFork, JournalRewound, NamesLess};
use super::{
    exhibit::Exhibit,
    report::{Audited, Fork, ForkPlace, fork_places},
};
use crate::{
    directory::{
        chain::Chain,
        header::{ChainKey, ChainKind},
    },
    document::Kind,
    evidence::{AnyDocument, Evidence},
    ids::{HeaderId, MemberCode, Sequence},
    time::Timestamp,
};

/// What two bundles say of one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Places at which only one of them holds something, by kind, member and place.
    pub differences: Vec<Difference>,
    /// Forks that neither shows by itself: somebody told the two exporters different stories.
    pub contradictions: Vec<Fork>,
    /// Two pasts of one node: its journal was rolled back or rewritten between the exports.
    pub journal: Option<JournalFork>,
    /// A journal of which the later checkpoint has fewer entries: rolled back or rewritten, as far as its node's clock is
    /// believed.
    pub rewound: Option<JournalRewound>,
    /// A journal that follows another and names less of it than was signed. That contradicts nothing: a backup is older than
    /// what happened since.
    pub names_less: Option<NamesLess>,
}

/// One of the two bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// A place at which only one of the two holds something. It means that the other is behind, and no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A charter version or key set.
    Document {
        /// Who holds it.
        only_in: Side,
        /// Whose it is; `None` for a charter version.
        member: Option<MemberCode>,
        /// It, laid open.
        exhibit: Exhibit,
        /// What it is, such as `charter version 3`.
        what: String,
    },
    /// A chain's newest header.
    Chain {
        /// Whose node it is.
        member: MemberCode,
        /// The chain.
        chain: ChainKey,
        /// Where the first stands, `None` without any header of it.
        a: Option<ChainPlace>,
        /// Where the second stands.
        b: Option<ChainPlace>,
    },
    /// A fork of which only one knows, and which the other's documents do not contradict.
    ForkKnown {
        /// Who knows it.
        only_in: Side,
        /// Where.
        place: ForkPlace,
    },
}

/// The newest header of a chain below its fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPlace {
    /// Its number.
    pub sequence: Sequence,
    /// Its id.
    pub id: HeaderId,
    /// When its node says to have signed it.
    pub issued: Timestamp,
}

impl Comparison {
    /// Whether both hold the same directory.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.differences.is_empty() && self.is_consistent()
    }

    /// Whether nothing in the one contradicts the other.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.contradictions.is_empty() && self.journal.is_none() && self.rewound.is_none()
    }
}

/// Compares two bundles of one federation that were checked each by itself.
#[must_use]
pub fn compare(a: &Audited, b: &Audited) -> Comparison {
    let both = together(a, b);
    let (forks_a, forks_b) = (fork_places(&a.evidence), fork_places(&b.evidence));
    let (mut contradictions, mut differences) = (Vec::new(), Vec::new());
    documents_of_one(a, b, &mut differences);
    chains_that_differ(a, b, &both, &mut differences);
    for (place, (kind, ids)) in fork_places(&both) {
        match (forks_a.contains_key(&place), forks_b.contains_key(&place)) {
            (true, true) => {}
            (true, false) => differences.push(Difference::ForkKnown { only_in: Side::A, place }),
            (false, true) => differences.push(Difference::ForkKnown { only_in: Side::B, place }),
            (false, false) => {
                let found =
                    ids.iter().filter_map(|id| a.document(kind, *id).or_else(|| b.document(kind, *id)));
                let halves = found.map(|document| Exhibit::of(document, &both)).collect();
                contradictions.push(Fork { place, halves });
            }
        }
    }
    let (journal, rewound, names_less) =
        (journals::fork(a, b), journals::rewound(a, b), journals::names_less(a, b));
    Comparison { differences, contradictions, journal, rewound, names_less }
}

/// The evidence of both: in it, two stories meet.
fn together(a: &Audited, b: &Audited) -> Evidence {
    let documents = a.documents().iter().chain(b.documents()).cloned();
    let (headers, trust): (Vec<_>, Vec<_>) = documents.partition(|document| document.header().is_some());
    let (evidence, _) =
        Evidence::restore(a.evidence.federation(), trust, headers, std::iter::empty::<&[u8]>());
    evidence
}

/// Charter versions and key sets that only one holds.
fn documents_of_one(a: &Audited, b: &Audited, differences: &mut Vec<Difference>) {
    for kind in [Kind::Charter, Kind::KeySet] {
        for (side, own, other) in [(Side::A, a, b), (Side::B, b, a)] {
            for document in own.documents().iter().filter(|document| document.kind() == kind) {
                if other.document(kind, document.id()).is_some() || is_lost(own, other, document) {
                    continue;
                }
                let member = match document {
                    AnyDocument::KeySet(set) => Some(set.payload().member.clone()),
                    _ => None,
                };
                differences.push(Difference::Document {
                    only_in: side,
                    member,
                    exhibit: Exhibit::of(document, &own.evidence),
                    what: super::bundle::words(document),
                });
            }
        }
    }
}

/// Which key sets of a broken generation a node holds depends on what came first: two may hold different ones.
fn is_lost(a: &Audited, b: &Audited, document: &AnyDocument) -> bool {
    let AnyDocument::KeySet(set) = document else { return false };
    let set = set.payload();
    [a, b].into_iter().all(|side| side.evidence.trust().is_lost(set))
}

/// Chains whose newest headers differ, forks apart.
fn chains_that_differ(a: &Audited, b: &Audited, both: &Evidence, differences: &mut Vec<Difference>) {
    let mut keys = BTreeSet::<(MemberCode, ChainKey)>::new();
    for kind in [ChainKind::NodeRecord, ChainKind::ReferencePoint] {
        for (key, _) in both.chains().of_kind(kind).filter(|(key, _)| both.is_compared(key.key_set)) {
            if let Some(set) = both.trust().key_set(&key.key_set) {
                keys.insert((set.payload().member.clone(), *key));
            }
        }
    }
    for (member, chain) in keys {
        let [ours, theirs] = [a, b].map(|side| side.evidence.chains().chain(&chain));
        let position = |chain_of: Option<&Chain>| chain_of.and_then(|it| it.position(chain));
        let forked = [ours, theirs].into_iter().flatten().any(|it| it.fork().is_some());
        let contradicts = both.chains().chain(&chain).is_some_and(|it| it.fork().is_some());
        // Where both together prove a fork, it is told as one.
        if position(ours) == position(theirs) || forked || contradicts {
            continue;
        }
        let newest = |chain_of: Option<&Chain>| chain_of.and_then(Chain::newest);
        let place = |chain_of| {
            newest(chain_of).map(|it| ChainPlace { sequence: it.sequence, id: it.id, issued: it.issued })
        };
        differences.push(Difference::Chain { member, chain, a: place(ours), b: place(theirs) });
    }
}
