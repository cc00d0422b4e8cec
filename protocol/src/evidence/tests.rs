//! Tests of the evidence: order does not matter, ancestors are awaited, and bounds hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::{
    directory::header::{ChainKind, NodeRecordHeader},
    document::{Envelope, Kind, Signature, VerifyError, encode},
    ids::{NodeKey, Sequence},
    limits::{HEADER_SIGNATURES_MAX, PENDING_PER_BEARER_MAX, SIGNATURE_BYTES_MAX},
    testing::{
        FOUNDED, Federation,
        chains::{ChainWriter, IntoAny, body, node_record, reference_point},
        envelope, key,
    },
};

const CODES: [&str; 4] = ["BR", "FR", "KE", "SG"];

/// Everything of a small federation: founding, two charter tips, key sets of which one member's fork, and
/// chains of which one forks.
fn documents(federation: &Federation) -> Vec<AnyDocument> {
    let unit = |code| federation.unit(code);
    let mut all = vec![federation.founding.any()];
    let stewards = [&unit("BR").root, &unit("FR").root];
    for code in ["JO", "NZ"] {
        let code = code.parse().unwrap();
        let entry = federation.first_entry(&code);
        let admit = |charter: &mut crate::membership::charter::Charter| {
            charter.members.push(entry);
            charter.members.sort_by(|a, b| a.code.cmp(&b.code));
        };
        let newcomer = federation.root(&code, 0);
        let signers = [stewards[0], stewards[1], &newcomer];
        all.push(federation.successor(&[&federation.founding], admit, &signers).any());
    }
    for unit in &federation.units {
        all.push(unit.key_set.any());
    }
    for rank in [3, 4] {
        let ke = unit("KE");
        all.push(federation.next_key_set(&[&ke.key_set], |set| set.nodes[0].rank = rank, &ke.root).any());
    }
    for (number, unit) in federation.units.iter().enumerate() {
        let mut record = ChainWriter::new(federation, unit, 0, ChainKind::NodeRecord);
        let mut point = ChainWriter::new(federation, unit, 0, ChainKind::ReferencePoint);
        for _ in 0..4 {
            all.push(record.write(&body(&node_record(number as u8))));
            let mut twin = point.clone();
            all.push(point.write(&body(&reference_point(number as u8))));
            if number == 1 && point.sequence.0 == 3 {
                all.push(twin.write(&body(&reference_point(99))));
                all.push(twin.write(&body(&reference_point(98))));
            }
        }
    }
    all
}

fn federation() -> Federation {
    Federation::new(7, &CODES, 1)
}

fn all_of(federation: &Federation, documents: Vec<AnyDocument>) -> Evidence {
    let mut evidence = Evidence::new(federation.id);
    let outcome = evidence.accept_all(Bearer::Local, documents);
    assert_eq!(outcome.rejected, vec![]);
    evidence
}

#[test]
fn what_waits_is_taken_when_its_ancestor_comes() {
    let federation = federation();
    let unit = federation.unit("KE");
    let bearer = Bearer::Peer(NodeKey::from_bytes([1; 32]));
    let header = ChainWriter::new(&federation, unit, 0, ChainKind::NodeRecord).write(&body(&node_record(1)));
    let mut evidence = Evidence::new(federation.id);
    let outcome = evidence.accept(bearer, header.clone());
    assert_eq!(outcome.missing, BTreeSet::from([unit.key_set.id()]));
    let outcome = evidence.accept(bearer, unit.key_set.any());
    assert_eq!(outcome.missing, BTreeSet::from([federation.founding.id()]));
    assert_eq!(evidence.pending_count(), 2);
    let outcome = evidence.accept(Bearer::Local, federation.founding.any());
    let accepted: Vec<_> = outcome.accepted.iter().map(|a| (a.document.id(), a.bearer)).collect();
    let expected =
        [(federation.founding.id(), Bearer::Local), (unit.key_set.id(), bearer), (header.id(), bearer)];
    assert_eq!(accepted, expected);
    assert_eq!(evidence.pending_count(), 0);
    assert!(evidence.awaited(&bearer).is_empty());
}

#[test]
fn a_bearer_with_too_much_waiting_crowds_out_its_own_alone() {
    let federation = federation();
    let unit = federation.unit("KE");
    let [one, other] = [1, 2].map(|n| Bearer::Peer(NodeKey::from_bytes([n; 32])));
    let mut writer = ChainWriter::new(&federation, unit, 0, ChainKind::NodeRecord);
    let mut evidence = Evidence::new(federation.id);
    let first = writer.write(&body(&node_record(1)));
    drop(evidence.accept(other, first));
    let mut crowded_out = 0;
    for _ in 0..PENDING_PER_BEARER_MAX + 3 {
        crowded_out += evidence.accept(one, writer.write(&body(&node_record(1)))).crowded_out;
    }
    assert_eq!(crowded_out, 3);
    assert_eq!(evidence.pending_count(), PENDING_PER_BEARER_MAX + 1);
    evidence.forget_bearer(&one);
    assert_eq!(evidence.pending_count(), 1);
}

#[test]
fn a_header_of_a_node_that_its_key_set_does_not_list_is_refused() {
    let federation = federation();
    let (ke, sg) = (federation.unit("KE"), federation.unit("SG"));
    let mut stranger = ChainWriter::under(&federation, &ke.key_set, &sg.nodes[0], ChainKind::NodeRecord);
    let mut evidence = Evidence::new(federation.id);
    drop(evidence.accept_all(Bearer::Local, [federation.founding.any(), ke.key_set.any()]));
    let outcome = evidence.accept(Bearer::Local, stranger.write(&body(&node_record(1))));
    assert_eq!(outcome.rejected[0].rule, "HD-06");
    let writer = ChainWriter::new(&federation, ke, 0, ChainKind::NodeRecord);
    let mut header = writer.header(&body(&node_record(1)));
    header.member = "SG".parse().unwrap();
    assert_eq!(evidence.accept(Bearer::Local, writer.sign(header)).rejected[0].rule, "HD-06");
    assert!(evidence.positions(Kind::NodeRecord).is_empty());
}

#[test]
fn a_header_is_signed_by_its_own_node_and_nobody_else() {
    let federation = federation();
    let ke = federation.unit("KE");
    let header = ChainWriter::new(&federation, ke, 0, ChainKind::NodeRecord).header(&body(&node_record(1)));
    let payload = NodeRecordHeader(header);
    let stranger = key(1, "stranger", 0);
    let rule = |keys: &[&SigningKey]| match verify_any(envelope(&payload, federation.id, keys), federation.id)
    {
        Err(VerifyError::Form(error)) => Some(error.rule),
        Ok(_) => None,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(rule(&[&ke.nodes[0]]), None);
    assert_eq!(rule(&[&stranger]), Some("HD-05"));
    assert_eq!(rule(&[&ke.nodes[0], &stranger]), Some("HD-05"));
    assert_eq!(rule(&[&ke.nodes[0]; HEADER_SIGNATURES_MAX + 1]), Some("HD-07"));
}

#[test]
fn what_cannot_be_read_back_from_storage_is_never_taken_in() {
    let federation = federation();
    let ballast = |bytes| Signature { key: vec![1; bytes], alg: 99, sig: Vec::new() };
    for document in [federation.founding.any(), federation.unit("KE").key_set.any()] {
        let mut envelope = document.envelope().as_ref().clone();
        envelope.signatures.push(ballast(SIGNATURE_BYTES_MAX + 1));
        let refused = verify_any(envelope.clone(), federation.id).map(|document| document.id());
        assert_eq!(refused.map_err(|error| error.rule()), Err("DO-02"));
        envelope.signatures.pop();
        envelope.signatures.push(ballast(SIGNATURE_BYTES_MAX));
        let taken = verify_any(envelope, federation.id).unwrap();
        assert_eq!(taken.id(), document.id(), "signatures are no part of a document");
        let stored = encode(taken.envelope().as_ref()).unwrap();
        assert_eq!(Envelope::from_bytes(&stored).as_ref(), Ok(taken.envelope().as_ref()));
    }
}

#[test]
fn a_header_may_carry_a_second_signature_and_no_ballast() {
    let federation = federation();
    let ke = federation.unit("KE");
    let mut header = ChainWriter::new(&federation, ke, 0, ChainKind::NodeRecord);
    let envelope = header.write(&body(&node_record(1))).envelope().as_ref().clone();
    let with = |key: usize, sig: usize| {
        let mut envelope = envelope.clone();
        envelope.signatures.push(Signature { key: vec![1; key], alg: 7, sig: vec![2; sig] });
        verify_any(envelope, federation.id).map(|document| document.size()).map_err(|error| error.rule())
    };
    // ML-DSA-44, the smallest of FIPS 204.
    let size = with(1_312, 2_420).unwrap();
    assert!(size < 5 * 1024, "{size}");
    assert_eq!(with(2_048, 2_049), Err("DO-07"));
    assert_eq!(with(SIGNATURE_BYTES_MAX, SIGNATURE_BYTES_MAX), Err("DO-07"));
}

#[test]
fn kinds_that_are_no_evidence_have_no_place_here() {
    let federation = federation();
    let mut other = federation.founding.envelope().as_ref().clone();
    other.kind = "message".into();
    assert!(matches!(verify_any(other, federation.id), Err(VerifyError::Newer { .. })));
}

#[test]
fn a_fork_tells_its_proof_and_lets_go_what_is_above() {
    let federation = federation();
    let mut evidence =
        all_of(&federation, vec![federation.founding.any(), federation.unit("KE").key_set.any()]);
    let mut writer = ChainWriter::new(&federation, federation.unit("KE"), 0, ChainKind::ReferencePoint);
    let first = writer.write(&body(&reference_point(1)));
    let mut twin = writer.clone();
    let (second, third) =
        (writer.write(&body(&reference_point(2))), writer.write(&body(&reference_point(3))));
    drop(evidence.accept_all(Bearer::Local, [first.clone(), second.clone(), third.clone()]));
    assert!(matches!(
        evidence.accept_body(&body(&reference_point(3))),
        crate::directory::bodies::BodyAcceptance::New(_)
    ));
    let other = twin.write(&body(&reference_point(4)));
    let outcome = evidence.accept(Bearer::Local, other.clone());
    let proof = &outcome.forks[0];
    assert_eq!(proof.fork.sequence, Sequence(1));
    let halves: BTreeSet<DocumentId> = proof.fork.proof.iter().map(|half| half.id.into()).collect();
    assert_eq!(halves, BTreeSet::from([second.id(), other.id()]));
    assert_eq!(proof.dropped, vec![third.id().into()]);
    assert_eq!(outcome.released.len(), 2, "bodies of the disputed headers");
    let view = evidence.directory().member(&"KE".parse().unwrap(), FOUNDED).unwrap();
    let shown = view.reference_point.unwrap().header;
    assert_eq!((DocumentId::from(shown.id), shown.disputed_from), (first.id(), Some(Sequence(1))));
}

#[test]
fn stored_documents_in_any_order_give_the_same_evidence() {
    let federation = federation();
    let documents = documents(&federation);
    let evidence = all_of(&federation, documents.clone());
    let backwards = documents.into_iter().rev();
    let (headers, trust): (Vec<_>, _) = backwards.partition(|document| document.header().is_some());
    let (point, stray) = (body(&reference_point(0)), body(&reference_point(77)));
    let (restored, outcome) = Evidence::restore(federation.id, trust, headers, [&point, &stray]);
    let stray = super::repair_session::hash_of(&stray);
    assert_eq!(outcome.accepted, vec![], "what is stored is held nowhere else");
    assert!(outcome.released.contains(&stray), "no header names it");
    assert_eq!(restored.roots(), evidence.roots());
    assert_eq!((outcome.rejected, outcome.missing), (vec![], BTreeSet::new()));
    let view = restored.directory().member(&"BR".parse().unwrap(), FOUNDED).unwrap();
    assert_eq!(view.reference_point.unwrap().entry.as_deref(), Some(&reference_point(0)));
}

#[test]
fn stored_headers_pass_one_by_one() {
    let federation = federation();
    let (headers, trust): (Vec<_>, _) =
        documents(&federation).into_iter().partition(|document| document.header().is_some());
    let stored: Vec<_> = headers.iter().map(|header| header.envelope().as_ref().clone()).collect();
    let expected = all_of(&federation, trust.iter().chain(&headers).cloned().collect());
    drop(headers);
    let mut before = std::sync::Weak::new();
    let read = stored.into_iter().map(|envelope| {
        assert!(before.upgrade().is_none(), "the one before is still held");
        let header = verify_any(envelope, federation.id).unwrap();
        before = Arc::downgrade(header.envelope());
        header
    });
    let (restored, _) = Evidence::restore(federation.id, trust, read, std::iter::empty::<&[u8]>());
    assert_eq!(restored.roots(), expected.roots());
}

#[test]
fn a_root_changes_with_what_is_held_and_with_nothing_else() {
    let federation = federation();
    let mut evidence = all_of(&federation, documents(&federation));
    let before = evidence.roots().unwrap();
    drop(evidence.accept_all(Bearer::Local, documents(&federation)));
    assert_eq!(evidence.roots().unwrap(), before);
    let mut writer = ChainWriter::new(&federation, federation.unit("SG"), 0, ChainKind::NodeRecord);
    (0..4).for_each(|_| drop(writer.write(&body(&node_record(3)))));
    drop(evidence.accept(Bearer::Local, writer.write(&body(&node_record(3)))));
    let changed: Vec<_> = evidence.roots().unwrap().into_iter().zip(before).filter(|(a, b)| a != b).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].0.kind, "node-record");
    let positions = evidence.positions(Kind::NodeRecord);
    assert_eq!(root_of(&positions).unwrap(), changed[0].0.root);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_order_gives_the_same_evidence_and_refuses_nothing(
        order in Just((0..90).collect::<Vec<usize>>()).prop_shuffle(),
        bearers in prop::collection::vec(0_u8..3, 90),
    ) {
        let federation = federation();
        let all = documents(&federation);
        let expected = all_of(&federation, all.clone());
        let mut evidence = Evidence::new(federation.id);
        // Every document comes about twice, by three bearers.
        for (place, bearer) in order.iter().zip(bearers) {
            let document = all[place % all.len()].clone();
            let outcome = evidence.accept(Bearer::Peer(NodeKey::from_bytes([bearer; 32])), document);
            prop_assert_eq!(outcome.rejected, vec![]);
            prop_assert_eq!(outcome.crowded_out, 0);
        }
        prop_assert!(all.len() <= 90);
        prop_assert_eq!(evidence.pending_count(), 0);
        prop_assert_eq!(evidence.roots(), expected.roots());
        let (now, shown) = (FOUNDED, |evidence: &Evidence| evidence.directory().members(FOUNDED));
        prop_assert_eq!(shown(&evidence), expected.directory().members(now));
        prop_assert_eq!(evidence.membership(), expected.membership());
    }
}
