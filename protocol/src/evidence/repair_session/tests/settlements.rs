//! Certificates of settled versions on their way by repair.

use super::*;
use crate::{
    ids::CharterId,
    limits::{BODY_BYTES_MAX, POSITIONS_MAX, SETTLEMENTS_COMPARED_MAX},
    membership::{
        charter::WorkingGroup,
        settlement::{Certificate, Span},
    },
};

/// A node that holds two versions beside each other, and a certificate of each.
fn two_certificates(federation: &Federation) -> (TestNode, Vec<Arc<Certificate>>) {
    let mut node = TestNode::new(federation, 1);
    node.take(Bearer::Local, federation.founding.any());
    let signers = [&federation.unit("BR").root, &federation.unit("FR").root];
    let certificates = [WorkingGroup::Mena, WorkingGroup::Africa].map(|group| {
        let change = |charter: &mut crate::membership::charter::Charter| charter.members[0].group = group;
        let version = federation.successor(&[&federation.founding], change, &signers);
        node.take(Bearer::Local, version.any());
        let mut trust = federation.trust();
        trust.accept_charter(Arc::clone(&version)).unwrap();
        let heads = ["BR", "FR", "KE", "SG"].map(|code| federation.head(code, 0, &[&version]));
        Arc::new(trust.settle(&heads).unwrap().unwrap())
    });
    let mut certificates = certificates.to_vec();
    certificates.sort_by_key(|held| held.span());
    (node, certificates)
}

/// Has a session ask for the positions of settlements, and answers with these.
fn asked_for(node: &TestNode, federation: &Federation, spans: &[Span]) -> (RepairSession, Step) {
    let digest = node.evidence.digest(FOUNDED).unwrap();
    let mut theirs = digest.clone();
    let root = theirs.roots.iter_mut().find(|root| root.kind == Kind::Settlement.name()).unwrap();
    root.root = ContentHash::from_bytes([1; 32]);
    let (mut session, _) = RepairSession::start(NodeKey::from_bytes([9; 32]), federation.id, digest);
    let step = session.handle(RepairResponse::Digest(theirs), &node.evidence);
    assert!(matches!(step, Step::Ask(RepairRequest::Positions(_))), "{step:?}");
    let positions = spans.iter().map(|span| Position::Settled(span.charter, span.base)).collect();
    let page = Positions { kind: Kind::Settlement, positions, more: false };
    let step = session.handle(RepairResponse::Positions(page), &node.evidence);
    (session, step)
}

#[test]
fn a_certificate_that_a_full_frame_left_out_is_asked_for_again() {
    let federation = federation();
    let (mut node, certificates) = two_certificates(&federation);
    let spans = certificates.iter().map(|held| held.span()).collect::<Vec<_>>();
    let (mut session, step) = asked_for(&node, &federation, &spans);
    let fetch = |settled: &[Span]| {
        Step::Ask(RepairRequest::Fetch(Fetch { settled: settled.to_vec(), ..Fetch::default() }))
    };
    assert_eq!(step, fetch(&spans));
    let full = Documents {
        envelopes: vec![Envelope::clone(certificates[0].envelope())],
        bodies: vec![vec![0; BODY_BYTES_MAX].into(); REPAIR_BYTES_MAX / BODY_BYTES_MAX - 1],
    };
    let step = session.handle(RepairResponse::Documents(full), &node.evidence);
    let Step::TakeIn(documents) = step else { panic!("{step:?}") };
    node.take_in(session.peer(), documents);
    assert_eq!(session.next(&node.evidence), fetch(&spans[1..]));
}

#[test]
fn of_many_settlements_as_many_are_looked_at_as_anybody_may_hold() {
    let federation = federation();
    let (node, certificates) = two_certificates(&federation);
    let mut spans = (0..POSITIONS_MAX as u64)
        .map(|number| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            Span { charter: CharterId::from_bytes(id), base: certificates[0].span().base }
        })
        .collect::<Vec<_>>();
    spans.sort();
    let (_, step) = asked_for(&node, &federation, &spans);
    let Step::Ask(RepairRequest::Fetch(fetch)) = step else { panic!("{step:?}") };
    assert_eq!(fetch.settled.len(), SETTLEMENTS_COMPARED_MAX);
}
