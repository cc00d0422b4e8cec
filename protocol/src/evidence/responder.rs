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
    let mut named = BTreeSet::new();
    let requests = requests.iter().take(REPAIR_CHAINS_MAX);
    requests.filter_map(of).flatten().filter(|id| named.insert(*id)).take(REPAIR_IDS_MAX).collect()
}

fn page_of(evidence: &Evidence, request: &PositionsRequest) -> Positions {
    let PositionsRequest { kind, after } = request;
    let (positions, more) = evidence.positions_after(*kind, after.as_ref(), POSITIONS_MAX);
    Positions { kind: *kind, positions, more }
}

fn load(evidence: &Evidence, fetch: Fetch) -> Answer {
    let trust = evidence.trust();
    let Fetch { documents, bodies, broken, settled } = fetch;
    let wanted: BTreeSet<DocumentId> = documents.iter().take(REPAIR_IDS_MAX).copied().collect();
    // Ancestors first: charters in their order, then key sets, then what refers to them.
    let charters = trust.charters().map(|charter| charter.id()).filter(|id| wanted.contains(id));
    let mut ordered: Vec<DocumentId> = charters.collect();
    ordered.extend(wanted.iter().filter(|id| trust.key_set(&(**id).into()).is_some()));
    let settled: BTreeSet<_> = settled.into_iter().take(REPAIR_IDS_MAX).collect();
    ordered.extend(settled.iter().filter_map(|span| trust.settlement(span)).map(|held| held.id()));
    let broken: BTreeSet<_> = broken.into_iter().take(REPAIR_IDS_MAX).collect();
    for generation in &broken {
        if trust.broken_generations().any(|broken| broken == generation) {
            let proof = trust.generation_key_sets(generation);
            ordered.extend(proof.iter().map(|set| set.id()));
        }
    }
    // Each once, however often it was named: loading is work, and a name is 32 bytes.
    let (mut placed, mut hashes) = (BTreeSet::new(), BTreeSet::new());
    let ordered = ordered.into_iter().chain(documents).filter(|id| placed.insert(*id));
    let bodies = bodies.into_iter().take(REPAIR_IDS_MAX).filter(|hash| hashes.insert(*hash));
    Answer::Load { documents: ordered.take(REPAIR_IDS_MAX).collect(), bodies: bodies.collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::{
        directory::header::ChainKind,
        evidence::{Bearer, repair::Position},
        ids::Sequence,
        limits::KEY_SET_TIPS_MAX,
        testing::{
            FOUNDED, Federation,
            chains::{ChainWriter, IntoAny as _, body, node_record},
        },
    };

    fn lent(evidence: &Evidence, request: RepairRequest) -> (Vec<DocumentId>, Vec<ContentHash>) {
        match answer(evidence, request, FOUNDED).unwrap() {
            Answer::Load { documents, bodies } => (documents, bodies),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_asked_for_twice_is_loaded_once() {
        let federation = Federation::new(5, &["BR", "FR", "KE"], 1);
        let ke = federation.unit("KE");
        let mut evidence = Evidence::new(federation.id);
        let mut documents = vec![federation.founding.any()];
        documents.extend(federation.units.iter().map(|unit| unit.key_set.any()));
        for rank in 10..11 + KEY_SET_TIPS_MAX as u64 {
            let change = |set: &mut crate::membership::key_set::KeySet| set.nodes[0].rank = rank;
            documents.push(federation.next_key_set(&[&ke.key_set], change, &ke.root).any());
        }
        let mut chain = ChainWriter::new(&federation, federation.unit("BR"), 0, ChainKind::NodeRecord);
        let header = chain.write(&body(&node_record(1)));
        documents.push(header.clone());
        assert!(evidence.accept_all(Bearer::Local, documents).rejected.is_empty());

        let hash = ContentHash::from_bytes([7; 32]);
        let (charter, key_set) = (federation.founding.id(), federation.unit("BR").key_set.id());
        let unknown = DocumentId::from_bytes([9; 32]);
        let positions = evidence.positions(crate::document::Kind::KeySet);
        let broken = positions.iter().find_map(Position::broken_generation);
        let fetch = |times: usize| Fetch {
            documents: [charter, key_set, header.id(), unknown].repeat(times),
            bodies: vec![hash; times],
            broken: vec![broken.clone().expect("nine tips break a generation"); times],
            settled: Vec::new(),
        };
        let (documents, bodies) = lent(&evidence, RepairRequest::Fetch(fetch(REPAIR_IDS_MAX / 4)));
        assert_eq!((documents, bodies), lent(&evidence, RepairRequest::Fetch(fetch(1))));

        let chain = header.header().map(|header| crate::directory::header::ChainKey {
            node: header.node,
            key_set: header.key_set,
            kind: ChainKind::NodeRecord,
        });
        let range = ChainRequest { chain: chain.unwrap(), from: Sequence(0), to: Sequence(9) };
        let (documents, _) = lent(&evidence, RepairRequest::Chains(vec![range; REPAIR_CHAINS_MAX]));
        assert_eq!(documents, [header.id()]);
    }
}
