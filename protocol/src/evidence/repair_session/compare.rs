//! What two nodes lack of one kind, from the positions of both.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{ChainRequest, Give};
use crate::{
    directory::{
        bodies::BodyState,
        chain::{Chain, HeaderInfo},
        header::{ChainKey, ChainKind},
    },
    document::Kind,
    evidence::{Evidence, repair::Position},
    ids::{DocumentId, HeaderId, Sequence},
    limits::{REPAIR_GIVEN_IDS_MAX, SETTLEMENTS_COMPARED_MAX},
    membership::{LineGeneration, settlement::Span},
};

/// What is to be exchanged.
#[derive(Clone, Debug, Default)]
pub(super) struct Differences {
    /// Documents to fetch by id.
    pub(super) fetch: VecDeque<DocumentId>,
    /// Broken generations whose proof is to be fetched.
    pub(super) broken: Vec<LineGeneration>,
    /// Settled versions whose certificates are to be fetched.
    pub(super) settled: Vec<Span>,
    /// Ranges of chains to fetch.
    pub(super) chains: VecDeque<ChainRequest>,
    /// What the other lacks.
    pub(super) give: Give,
}

impl Differences {
    pub(super) fn is_empty(&self) -> bool {
        self.fetch.is_empty()
            && self.broken.is_empty()
            && self.settled.is_empty()
            && self.chains.is_empty()
            && self.give.documents.is_empty()
            && self.give.bodies.is_empty()
    }
}

/// Compares positions of one kind. `complete` says whether `theirs` are all of them: what is only ours is
/// given only then, since the other may have it beyond the last page.
pub(super) fn compare(evidence: &Evidence, kind: Kind, theirs: &[Position], complete: bool) -> Differences {
    match ChainKind::of(kind) {
        Some(chain) => compare_chains(evidence, chain, theirs, complete),
        None if kind == Kind::Settlement => compare_settled(evidence, theirs, complete),
        None => compare_held(evidence, kind, theirs, complete),
    }
}

/// Charter versions and key sets: sets of ids, and generations that are broken.
fn compare_held(evidence: &Evidence, kind: Kind, theirs: &[Position], complete: bool) -> Differences {
    let ours: BTreeSet<Position> = evidence.positions(kind).into_iter().collect();
    let theirs: BTreeSet<&Position> = theirs.iter().collect();
    let trust = evidence.trust();
    let mut work = Differences::default();
    for position in theirs.iter().filter(|position| !ours.contains(**position)) {
        match position {
            // One that we hold of a generation that we know to be broken is no position of ours.
            Position::Held(id) if trust.key_set(&(*id).into()).is_none() => work.fetch.push_back(*id),
            Position::Broken(..) => work.broken.extend(position.broken_generation()),
            Position::Held(_) | Position::Newest(..) | Position::Forked(..) | Position::Settled(..) => {}
        }
    }
    if complete {
        let lacking: BTreeSet<DocumentId> = ours
            .iter()
            .filter(|position| !theirs.contains(position))
            .filter_map(|position| if let Position::Held(id) = position { Some(*id) } else { None })
            .collect();
        // Ancestors first; key sets need none of each other.
        let charters = trust.charters().map(|charter| charter.id());
        let key_sets = trust.key_sets().map(|set| set.id());
        work.give.documents.extend(charters.chain(key_sets).filter(|id| lacking.contains(id)));
    }
    for position in ours.iter().filter(|position| !theirs.contains(position)) {
        if let Some(of) = position.broken_generation() {
            let proof = trust.generation_key_sets(&of);
            work.give.documents.extend(proof.iter().map(|set| set.id()));
        }
    }
    work
}

/// Certificates: whoever holds one that says more needs no other.
fn compare_settled(evidence: &Evidence, theirs: &[Position], complete: bool) -> Differences {
    let trust = evidence.trust();
    let span = |position: &Position| match position {
        Position::Settled(charter, base) => Some(Span { charter: *charter, base: *base }),
        _ => None,
    };
    let theirs = theirs.iter().filter_map(span).collect::<BTreeSet<_>>();
    let mut work = Differences::default();
    // To look one up costs little; whether one that is held says more is a walk through the versions.
    let lacking =
        theirs.iter().filter(|span| trust.settlement(span).is_none()).take(SETTLEMENTS_COMPARED_MAX);
    work.settled.extend(lacking.filter(|span| !trust.is_settlement_covered(**span)));
    if complete {
        let lacking = trust.settlements().filter(|held| !theirs.contains(&held.span()));
        work.give.documents.extend(lacking.map(|held| held.id()));
    }
    work
}

#[derive(Clone, Copy)]
enum Place {
    Newest(Sequence, HeaderId),
    Forked(Sequence),
}

fn compare_chains(evidence: &Evidence, kind: ChainKind, theirs: &[Position], complete: bool) -> Differences {
    let places: BTreeMap<ChainKey, Place> = theirs
        .iter()
        .filter_map(|position| match position {
            Position::Newest(key, sequence, id) => Some((*key, Place::Newest(*sequence, *id))),
            Position::Forked(key, sequence) => Some((*key, Place::Forked(*sequence))),
            Position::Held(_) | Position::Broken(..) | Position::Settled(..) => None,
        })
        .filter(|(key, _)| key.kind == kind)
        .collect();
    let mut work = Differences::default();
    for (key, place) in &places {
        match evidence.chains().chain(key) {
            Some(chain) => compare_chain(evidence, *key, chain, *place, &mut work),
            None => fetch_chain(*key, *place, &mut work),
        }
    }
    if complete {
        let ours = evidence.chains().of_kind(kind);
        let lacking = ours.filter(|(key, _)| !places.contains_key(key) && evidence.is_compared(key.key_set));
        for (key, chain) in lacking {
            give(evidence, *key, chain, None, &mut work);
        }
    }
    work
}

/// A chain of which nothing is held: its newest header first, since gaps hide nothing.
fn fetch_chain(key: ChainKey, place: Place, work: &mut Differences) {
    match place {
        Place::Newest(_, id) => work.fetch.push_back(id.into()),
        Place::Forked(fork) => {
            work.chains.push_back(ChainRequest { chain: key, from: Sequence(0), to: fork })
        }
    }
}

fn compare_chain(evidence: &Evidence, key: ChainKey, chain: &Chain, place: Place, work: &mut Differences) {
    let newest = chain.newest();
    match (chain.fork(), place) {
        (None, Place::Newest(sequence, id)) => {
            let Some(newest) = newest else { return fetch_chain(key, place, work) };
            if newest.id == id {
                return;
            }
            if sequence >= newest.sequence {
                // What lies between is asked for as a gap, and shows whether their chain continues ours.
                work.fetch.push_back(id.into());
            }
            if sequence <= newest.sequence {
                give(evidence, key, chain, Some(sequence), work);
            }
        }
        (None, Place::Forked(fork)) => {
            let from = newest.and_then(|newest| newest.sequence.next()).unwrap_or_default().min(fork);
            work.chains.push_back(ChainRequest { chain: key, from, to: fork });
        }
        (Some(_), Place::Newest(sequence, _)) => give(evidence, key, chain, Some(sequence), work),
        (Some(ours), Place::Forked(theirs)) if ours.sequence < theirs => {
            work.give.documents.extend(ours.proof.map(|half| DocumentId::from(half.id)));
        }
        (Some(ours), Place::Forked(theirs)) if theirs < ours.sequence => {
            work.chains.push_back(ChainRequest { chain: key, from: theirs, to: theirs });
        }
        (Some(_), Place::Forked(_)) => {}
    }
}

/// Gives what the other lacks of a chain whose newest header it holds stands at `theirs`: the headers from
/// there on, the fork's proof, and the newest body unless theirs is the same.
fn give(evidence: &Evidence, key: ChainKey, chain: &Chain, theirs: Option<Sequence>, work: &mut Differences) {
    let Give { documents, bodies } = &mut work.give;
    let newest = chain.newest();
    if let Some(newest) = newest {
        // From the same sequence on: at equal height the two headers prove a fork.
        let from = theirs.unwrap_or_default();
        let room = REPAIR_GIVEN_IDS_MAX.saturating_sub(documents.len());
        let held = chain.between(from, newest.sequence).map(|info| DocumentId::from(info.id));
        documents.extend(held.take(room));
        let known = theirs.and_then(|theirs| chain.between(theirs, theirs).next());
        if known.is_none_or(|known| known.body != newest.body) && is_held(evidence, key.kind, &newest) {
            bodies.push(newest.body.hash);
        }
    }
    documents
        .extend(chain.fork().into_iter().flat_map(|fork| fork.proof).map(|half| DocumentId::from(half.id)));
}

fn is_held(evidence: &Evidence, kind: ChainKind, info: &HeaderInfo) -> bool {
    let state = evidence.chains().body(kind, info.body);
    matches!(state, Some(BodyState::NodeRecord(_) | BodyState::ReferencePoint(_)))
}
