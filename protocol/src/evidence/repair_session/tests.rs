//! Tests of repair: two nodes with in-memory storage become equal, and a liar is done with soon.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod settlements;

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    directory::bodies::BodyAcceptance,
    document::Envelope,
    evidence::{
        AnyDocument, Bearer,
        repair::Taken,
        responder::{Answer, answer},
        verify_any,
    },
    testing::{
        FOUNDED, Federation, Unit,
        chains::{ChainWriter, IntoAny, body, node_record, reference_point},
    },
};

/// A node with storage and no network.
struct TestNode {
    key: NodeKey,
    evidence: Evidence,
    envelopes: BTreeMap<DocumentId, Arc<Envelope>>,
    bodies: BTreeMap<ContentHash, Vec<u8>>,
}

impl TestNode {
    fn new(federation: &Federation, number: u8) -> Self {
        Self {
            key: NodeKey::from_bytes([number; 32]),
            evidence: Evidence::new(federation.id),
            envelopes: BTreeMap::new(),
            bodies: BTreeMap::new(),
        }
    }

    fn take(&mut self, bearer: Bearer, document: AnyDocument) {
        let outcome = self.evidence.accept(bearer, document);
        assert_eq!(outcome.rejected, vec![]);
        for accepted in outcome.accepted {
            self.envelopes.insert(accepted.document.id(), Arc::clone(accepted.document.envelope()));
        }
        for dropped in outcome.forks.iter().flat_map(|fork| &fork.dropped) {
            self.envelopes.remove(&DocumentId::from(*dropped));
        }
        for released in outcome.released {
            self.bodies.remove(&released);
        }
    }

    fn take_body(&mut self, bytes: &[u8]) {
        if let BodyAcceptance::New(hash) = self.evidence.accept_body(bytes) {
            self.bodies.insert(hash, bytes.to_vec());
        }
    }

    fn take_in(&mut self, from: NodeKey, documents: Documents) {
        for envelope in documents.envelopes {
            self.take(Bearer::Peer(from), verify_any(envelope, self.evidence.federation()).unwrap());
        }
        documents.bodies.iter().for_each(|bytes| self.take_body(bytes));
    }

    fn pack(&self, documents: &[DocumentId], bodies: &[ContentHash]) -> Packed {
        let envelopes = documents.iter().map(|id| self.envelopes.get(id).cloned());
        Documents::pack(envelopes, bodies.iter().map(|hash| self.bodies.get(hash).cloned()))
    }

    fn respond(&mut self, from: NodeKey, request: RepairRequest) -> RepairResponse {
        match answer(&self.evidence, request, FOUNDED).unwrap() {
            Answer::Ready(response) => response,
            Answer::Load { documents, bodies } => {
                RepairResponse::Documents(self.pack(&documents, &bodies).documents)
            }
            Answer::TakeIn(documents) => {
                self.take_in(from, documents);
                RepairResponse::Taken(Taken {})
            }
        }
    }
}

/// One repair, asked by `asker`.
fn repair(asker: &mut TestNode, other: &mut TestNode) -> Report {
    let digest = asker.evidence.digest(FOUNDED).unwrap();
    let (mut session, request) = RepairSession::start(other.key, asker.evidence.federation(), digest);
    let mut step = Step::Ask(request);
    loop {
        step = match step {
            Step::Ask(request) => {
                let response = other.respond(asker.key, request);
                session.handle(response, &asker.evidence)
            }
            Step::TakeIn(documents) => {
                asker.take_in(other.key, documents);
                session.next(&asker.evidence)
            }
            Step::Give(give) => {
                let packed = asker.pack(&give.documents, &give.bodies);
                session.given(&packed);
                let response = other.respond(asker.key, RepairRequest::Give(packed.documents));
                session.handle(response, &asker.evidence)
            }
            Step::Done(report) => return report,
        };
    }
}

fn federation() -> Federation {
    Federation::new(11, &["BR", "FR", "KE", "SG"], 1)
}

/// Documents and bodies of a federation in which much went wrong: two charter tips, a member with nine
/// key sets of which none names another, forked chains, chains under new key sets.
fn troubled(federation: &Federation) -> (Vec<AnyDocument>, Vec<Vec<u8>>) {
    let mut all = vec![federation.founding.any()];
    let unit = |code| federation.unit(code);
    for withdrawn in ["SG", "KE"] {
        let signers = [&unit("BR").root, &unit("FR").root];
        let change = |charter: &mut crate::membership::charter::Charter| {
            let entry = charter.members.iter_mut().find(|entry| entry.code.as_str() == withdrawn).unwrap();
            entry.group = crate::membership::charter::WorkingGroup::Mena;
        };
        all.push(federation.successor(&[&federation.founding], change, &signers).any());
    }
    all.extend(federation.units.iter().map(|unit| unit.key_set.any()));
    all.extend(nine_key_sets(federation, unit("SG")));
    let mut bodies = Vec::new();
    for (number, unit) in federation.units.iter().enumerate() {
        let number = number as u8;
        for kind in [ChainKind::NodeRecord, ChainKind::ReferencePoint] {
            let content = |version: u8| match kind {
                ChainKind::NodeRecord => body(&node_record(10 * number + version)),
                ChainKind::ReferencePoint => body(&reference_point(10 * number + version)),
            };
            let mut writer = ChainWriter::new(federation, unit, 0, kind);
            for version in 0..5 {
                let mut twin = writer.clone();
                bodies.push(content(version));
                all.push(writer.write(&content(version)));
                if number == 1 && version == 3 {
                    all.push(twin.write(&content(9)));
                    all.push(twin.write(&content(8)));
                }
            }
        }
    }
    (all, bodies)
}

fn nine_key_sets(federation: &Federation, unit: &Unit) -> Vec<AnyDocument> {
    let next =
        |rank| federation.next_key_set(&[&unit.key_set], |set| set.nodes[0].rank = rank, &unit.root).any();
    (1..=9).map(next).collect()
}

fn assert_equal(one: &TestNode, other: &TestNode) {
    assert_eq!(one.evidence.roots(), other.evidence.roots());
    assert_eq!(one.evidence.directory().members(FOUNDED), other.evidence.directory().members(FOUNDED));
}

#[test]
fn a_newcomer_has_everything_after_one_repair() {
    let federation = federation();
    let (documents, bodies) = troubled(&federation);
    let [mut full, mut empty] = [1, 2].map(|number| TestNode::new(&federation, number));
    documents.into_iter().for_each(|document| full.take(Bearer::Local, document));
    bodies.iter().for_each(|body| full.take_body(body));
    let report = repair(&mut empty, &mut full);
    assert_eq!(report.ending, Ending::Complete);
    assert_equal(&empty, &full);
    assert!(empty.evidence.directory().missing_bodies().is_empty());
    assert!(empty.evidence.chains().gaps(1, 0).is_empty());
    let report = repair(&mut empty, &mut full);
    assert_eq!((report.differed, report.received_bytes, report.given_bytes), (vec![], 0, 0));
}

#[test]
fn what_the_other_lacks_is_given() {
    let federation = federation();
    let (documents, bodies) = troubled(&federation);
    let [mut full, mut empty] = [1, 2].map(|number| TestNode::new(&federation, number));
    documents.into_iter().for_each(|document| full.take(Bearer::Local, document));
    bodies.iter().for_each(|body| full.take_body(body));
    let report = repair(&mut full, &mut empty);
    assert_eq!(report.ending, Ending::Complete);
    assert!(report.given_bytes > 0);
    assert_equal(&empty, &full);
    assert!(empty.evidence.directory().missing_bodies().is_empty());
}

#[test]
fn a_chain_full_of_gaps_keeps_no_other_chains_gap_open() {
    let federation = federation();
    let mut node = TestNode::new(&federation, 1);
    node.take(Bearer::Local, federation.founding.any());
    let mut writers: Vec<_> = federation
        .units
        .iter()
        .map(|unit| {
            node.take(Bearer::Local, unit.key_set.any());
            ChainWriter::new(&federation, unit, 0, ChainKind::NodeRecord)
        })
        .collect();
    // The first by key publishes every other header of a long chain, the others lack one.
    writers.sort_by_key(|writer| writer.key);
    for (number, writer) in writers.iter_mut().enumerate() {
        let length = if number == 0 { 100 } else { 3 };
        for sequence in 0..length {
            let header = writer.write(&body(&node_record(1)));
            if sequence % 2 == 0 {
                node.take(Bearer::Local, header);
            }
        }
    }
    let chains = node.evidence.chains();
    assert_eq!(chains.gaps(1_024, 0).len(), 52, "all where all fit");
    let asked = |max, turn| -> std::collections::BTreeSet<_> {
        chains.gaps(max, turn).into_iter().map(|(chain, ..)| chain).collect()
    };
    assert_eq!(asked(32, 0).len(), 4, "each has its part");
    let some = (0..64).flat_map(|turn| asked(4, turn * 60_000)).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(some.len(), 4, "and where not all fit, its turn");
}

#[test]
fn a_fork_in_a_gap_is_found_though_the_digests_are_equal() {
    let federation = federation();
    let base = [federation.founding.any(), federation.unit("KE").key_set.any()];
    let mut writer = ChainWriter::new(&federation, federation.unit("KE"), 0, ChainKind::NodeRecord);
    let content = body(&node_record(1));
    let mut twin = writer.clone();
    let whole: Vec<_> = (0..6).map(|_| writer.write(&content)).collect();
    let other = twin.write(&body(&node_record(2)));
    let [mut one, mut gappy] = [1, 2].map(|number| TestNode::new(&federation, number));
    for document in base.iter().chain(&whole) {
        one.take(Bearer::Local, document.clone());
    }
    for document in base.iter().chain([&other, &whole[5]]) {
        gappy.take(Bearer::Local, document.clone());
    }
    assert_eq!(one.evidence.roots(), gappy.evidence.roots());
    repair(&mut gappy, &mut one);
    repair(&mut gappy, &mut one);
    assert_equal(&one, &gappy);
    let chain = one.evidence.chains().chain(&writer.key).unwrap();
    assert_eq!(chain.fork().unwrap().sequence, Sequence(0));
}

#[test]
fn a_header_that_a_key_set_names_above_a_fork_is_fetched_and_shown() {
    let federation = federation();
    let unit = federation.unit("KE");
    let mut writer = ChainWriter::new(&federation, unit, 0, ChainKind::ReferencePoint);
    let mut twin = writer.clone();
    let mine: Vec<_> = (1..4).map(|n| writer.write(&body(&reference_point(n)))).collect();
    let other = twin.write(&body(&reference_point(9)));
    let name = |set: &mut crate::membership::key_set::KeySet| {
        set.nodes[0].reference_point = Some(mine[2].id().into());
    };
    let next = federation.next_key_set(&[&unit.key_set], name, &unit.root);
    let base = [federation.founding.any(), unit.key_set.any()];
    let [mut one, mut late] = [1, 2].map(|number| TestNode::new(&federation, number));
    // The one knows which branch counts before it learns of the fork; the late one only sees the fork.
    for document in base.iter().chain(&mine).chain([&next.any(), &other]) {
        one.take(Bearer::Local, document.clone());
    }
    one.take_body(&body(&reference_point(3)));
    for document in base.iter().chain([&mine[0], &other, &mine[2]]) {
        late.take(Bearer::Local, document.clone());
    }
    repair(&mut late, &mut one);
    assert_equal(&one, &late);
    let view = late.evidence.directory().member(&unit.code, FOUNDED).unwrap().reference_point.unwrap();
    assert_eq!(view.entry.as_deref(), Some(&reference_point(3)));
    assert_eq!((view.header.key_set, view.header.disputed_from), (None, None));
}

#[test]
fn more_than_a_frame_holds_comes_in_several() {
    let federation = federation();
    let unit = federation.unit("KE");
    let [mut full, mut empty] = [1, 2].map(|number| TestNode::new(&federation, number));
    full.take(Bearer::Local, federation.founding.any());
    full.take(Bearer::Local, unit.key_set.any());
    let mut writer = ChainWriter::new(&federation, unit, 0, ChainKind::NodeRecord);
    let content = body(&node_record(1));
    for _ in 0..REPAIR_IDS_MAX + 100 {
        full.take(Bearer::Local, writer.write(&content));
    }
    let report = repair(&mut empty, &mut full);
    assert_eq!(report.ending, Ending::Complete);
    assert!(empty.evidence.chains().gaps(1, 0).is_empty());
    assert_equal(&empty, &full);
    let mut other = TestNode::new(&federation, 3);
    let report = repair(&mut full, &mut other);
    assert_eq!(report.ending, Ending::Complete);
    assert_equal(&other, &full);
}

#[test]
fn a_liar_is_done_with_after_bounded_rounds() {
    let federation = federation();
    let mut asker = TestNode::new(&federation, 1);
    asker.take(Bearer::Local, federation.founding.any());
    let digest = asker.evidence.digest(FOUNDED).unwrap();
    let lie = |byte: u8| ContentHash::from_bytes([byte; 32]);
    let mut roots = digest.roots.clone();
    roots.iter_mut().for_each(|root| root.root = lie(1));
    let (mut session, request) = RepairSession::start(NodeKey::from_bytes([9; 32]), federation.id, digest);
    let mut step = Step::Ask(request);
    let mut steps = 0_u64;
    let report = loop {
        steps += 1;
        assert!(steps < 1_000, "no end");
        step = match step {
            Step::Ask(RepairRequest::Digest(ours)) => {
                let theirs = Digest { roots: roots.clone(), time: ours.time };
                session.handle(RepairResponse::Digest(theirs), &asker.evidence)
            }
            // Positions that nobody can fetch, always with a promise of more.
            Step::Ask(RepairRequest::Positions(request)) => {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&steps.to_be_bytes());
                let positions = vec![Position::Held(DocumentId::from_bytes(id))];
                let page = Positions { kind: request.kind, positions, more: true };
                session.handle(RepairResponse::Positions(page), &asker.evidence)
            }
            // A document that was not asked for, over and over.
            Step::Ask(_) => {
                let envelopes = vec![federation.founding.envelope().as_ref().clone()];
                let documents = Documents { envelopes, bodies: Vec::new() };
                session.handle(RepairResponse::Documents(documents), &asker.evidence)
            }
            Step::TakeIn(_) => session.next(&asker.evidence),
            Step::Give(give) => {
                session.given(&asker.pack(&give.documents, &give.bodies));
                session.handle(RepairResponse::Taken(Taken {}), &asker.evidence)
            }
            Step::Done(report) => break report,
        };
    };
    assert_eq!(report.ending, Ending::Bounded);
    assert!(report.rounds <= REPAIR_ROUNDS_MAX);
}

#[test]
fn another_answer_than_was_asked_ends_the_repair() {
    let federation = federation();
    let asker = TestNode::new(&federation, 1);
    let digest = asker.evidence.digest(FOUNDED).unwrap();
    let (mut session, _) = RepairSession::start(NodeKey::from_bytes([9; 32]), federation.id, digest);
    let step = session.handle(RepairResponse::Taken(Taken {}), &asker.evidence);
    assert!(matches!(step, Step::Done(Report { ending: Ending::Misanswered, .. })));
}

#[test]
fn kinds_that_only_the_other_reads_are_counted_and_left_alone() {
    let federation = federation();
    let asker = TestNode::new(&federation, 1);
    let digest = asker.evidence.digest(FOUNDED).unwrap();
    let (mut session, _) = RepairSession::start(NodeKey::from_bytes([9; 32]), federation.id, digest.clone());
    let mut theirs = digest;
    theirs.roots.push(KindRoot { kind: "head".into(), version: 1, root: ContentHash::from_bytes([1; 32]) });
    theirs.roots[0].version = 2;
    let Step::Done(report) = session.handle(RepairResponse::Digest(theirs), &asker.evidence) else {
        panic!("nothing else was to be done")
    };
    assert_eq!((report.ending, report.newer), (Ending::Complete, 2));
}

#[test]
fn a_page_of_positions_begins_after_the_last_of_the_one_before() {
    let federation = federation();
    let mut node = TestNode::new(&federation, 1);
    let (documents, _) = troubled(&federation);
    documents.into_iter().for_each(|document| node.take(Bearer::Local, document));
    let all = node.evidence.positions(Kind::KeySet);
    assert!(all.iter().any(|position| matches!(position, Position::Broken(..))));
    let request = PositionsRequest { kind: Kind::KeySet, after: Some(all[1].clone()) };
    let RepairResponse::Positions(page) = node.respond(node.key, RepairRequest::Positions(request)) else {
        panic!("no positions")
    };
    assert_eq!((page.positions.as_slice(), page.more), (&all[2..], false));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn two_nodes_with_any_parts_become_equal(
        parts in prop::collection::vec(0_u8..4, 100),
        order in Just((0..100).collect::<Vec<usize>>()).prop_shuffle(),
        body_parts in prop::collection::vec(0_u8..4, 60),
    ) {
        let federation = federation();
        let (documents, bodies) = troubled(&federation);
        prop_assert!(documents.len() <= parts.len() && bodies.len() <= body_parts.len());
        let [mut one, mut other] = [1, 2].map(|number| TestNode::new(&federation, number));
        // Each document is held by the one, the other, both or none of them.
        for place in order.into_iter().filter(|place| *place < documents.len()) {
            for (bit, node) in [(1, &mut one), (2, &mut other)] {
                if parts[place] & bit != 0 {
                    node.take(Bearer::Local, documents[place].clone());
                }
            }
        }
        for (body, part) in bodies.iter().zip(body_parts) {
            for (bit, node) in [(1, &mut one), (2, &mut other)] {
                if part & bit != 0 {
                    node.take_body(body);
                }
            }
        }
        // What a repair shows to be missing may take another: a fork is known only once its gap is filled.
        for _ in 0..3 {
            prop_assert_eq!(repair(&mut one, &mut other).ending, Ending::Complete);
            prop_assert_eq!(repair(&mut other, &mut one).ending, Ending::Complete);
        }
        assert_equal(&one, &other);
    }
}
