//! The answering side of repair: a pure function of the evidence and one request. It keeps no state and
//! reads no storage: it names what to load.

use std::collections::BTreeSet;

use super::{
    Evidence,
    repair::{ChainRequest, Documents, Fetch, Positions, PositionsRequest, RepairRequest, RepairResponse},
};
use crate::{
    document::EncodeError,
    ids::{ContentHash, DocumentId},
    limits::{POSITIONS_MAX, REPAIR_CHAINS_MAX, REPAIR_IDS_MAX},
    time::Timestamp,
};

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This, at once.
    Ready(RepairResponse),
    /// [`RepairResponse::Documents`] with these, loaded from storage and packed in this order by
    /// [`Documents::pack`]; what storage does not have is left out.
    Load {
        /// Envelopes by document id, ancestors first.
        documents: Vec<DocumentId>,
        /// Bodies by hash.
        bodies: Vec<ContentHash>,
    },
    /// Verify these, hand them to [`Evidence::accept_all`] and [`Evidence::accept_body`] with the
    /// requester as bearer, and answer [`RepairResponse::Taken`].
    TakeIn(Documents),
}

/// Answers one request.
///
/// # Errors
/// [`EncodeError`] if our own positions have no encoding: an invariant of ours is broken.
pub fn answer(evidence: &Evidence, request: RepairRequest, now: Timestamp) -> Result<Answer, EncodeError> {
    Ok(match request {
        RepairRequest::Digest(_) => Answer::Ready(RepairResponse::Digest(evidence.digest(now)?)),
        RepairRequest::Positions(request) => {
            Answer::Ready(RepairResponse::Positions(page_of(evidence, &request)))
        }
        RepairRequest::Fetch(fetch) => load(evidence, fetch),
        RepairRequest::Chains(requests) => {
            Answer::Load { documents: chain_documents(evidence, &requests), bodies: Vec::new() }
        }
        RepairRequest::Give(documents) => Answer::TakeIn(documents),
    })
}

/// The headers to serve for ranges of chains: of each range those held, oldest first, then the proof of
/// the chain's fork; at most [`REPAIR_IDS_MAX`].
#[must_use]
pub fn chain_documents(evidence: &Evidence, requests: &[ChainRequest]) -> Vec<DocumentId> {
    let of = |request: &ChainRequest| {
        let chain = evidence.chains().chain(&request.chain)?;
        let proof = chain.fork().into_iter().flat_map(|fork| fork.proof).map(|half| half.id);
        let held = chain.between(request.from, request.to).map(|info| info.id);
        Some(held.chain(proof).map(DocumentId::from).take(REPAIR_IDS_MAX).collect::<Vec<_>>())
    };
    let requests = requests.iter().take(REPAIR_CHAINS_MAX);
    requests.filter_map(of).flatten().take(REPAIR_IDS_MAX).collect()
}

fn page_of(evidence: &Evidence, request: &PositionsRequest) -> Positions {
    let positions = evidence.positions(request.kind);
    let start = request.after.as_ref().map_or(0, |after| positions.partition_point(|at| at <= after));
    let rest = positions.len().saturating_sub(start);
    let page = positions.into_iter().skip(start).take(POSITIONS_MAX).collect();
    Positions { kind: request.kind, positions: page, more: rest > POSITIONS_MAX }
}

fn load(evidence: &Evidence, fetch: Fetch) -> Answer {
    let trust = evidence.trust();
    let Fetch { documents, bodies, broken } = fetch;
    let wanted: BTreeSet<DocumentId> = documents.iter().take(REPAIR_IDS_MAX).copied().collect();
    // Ancestors first: charters in their order, then key sets, then what refers to them.
    let charters = trust.charters().map(|charter| charter.id()).filter(|id| wanted.contains(id));
    let mut ordered: Vec<DocumentId> = charters.collect();
    ordered.extend(wanted.iter().filter(|id| trust.key_set(&(**id).into()).is_some()));
    for generation in broken.iter().take(REPAIR_IDS_MAX) {
        let of = (&generation.member, generation.incarnation, generation.generation);
        if trust.broken_generations().any(|broken| broken == of) {
            let proof = trust.generation_key_sets(of.0, of.1, of.2);
            ordered.extend(proof.iter().map(|set| set.id()));
        }
    }
    let placed: BTreeSet<DocumentId> = ordered.iter().copied().collect();
    ordered.extend(documents.into_iter().filter(|id| !placed.contains(id)));
    ordered.truncate(REPAIR_IDS_MAX);
    Answer::Load { documents: ordered, bodies: bodies.into_iter().take(REPAIR_IDS_MAX).collect() }
}
