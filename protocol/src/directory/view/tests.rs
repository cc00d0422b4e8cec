//! Tests of the view: which reference point is shown, with which marks, and which sealing key is used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sha2::{Digest, Sha256};

use super::*;
use crate::{
    directory::bodies::BodyAcceptance,
    evidence::{AnyDocument, Bearer, Evidence},
    ids::DocumentId,
    limits::BODIES_PER_CHAIN_MAX,
    membership::key_set::{KeySet, NodeEntry},
    testing::{
        self, FOUNDED, Federation,
        chains::{ChainWriter, IntoAny, body, node_record, reference_point, sealing_key},
    },
};

const DAY: Duration = Duration::from_secs(86_400);

struct Scene {
    federation: Federation,
    evidence: Evidence,
}

impl Scene {
    /// A federation whose members have two nodes each, of which Kenya's are watched.
    fn new() -> Self {
        let federation = Federation::new(5, &["BR", "FR", "KE", "SG"], 2);
        let mut scene = Self { evidence: Evidence::new(federation.id), federation };
        let key_set = scene.federation.unit("KE").key_set.any();
        scene.take(scene.federation.founding.any());
        scene.take(key_set);
        scene
    }

    fn take(&mut self, document: AnyDocument) {
        let outcome = self.evidence.accept(Bearer::Local, document);
        assert_eq!((outcome.rejected.len(), outcome.missing.len()), (0, 0));
    }

    fn writer(&self, node: usize, kind: ChainKind) -> ChainWriter {
        ChainWriter::new(&self.federation, self.federation.unit("KE"), node, kind)
    }

    fn publish(&mut self, writer: &mut ChainWriter, number: u8) {
        let bytes = match writer.key.kind {
            ChainKind::NodeRecord => body(&node_record(number)),
            ChainKind::ReferencePoint => body(&reference_point(number)),
        };
        self.take(writer.write(&bytes));
        drop(self.evidence.accept_body(&bytes));
    }

    fn shown(&self, now: Timestamp) -> Option<ReferencePointView> {
        self.evidence.directory().member(&"KE".parse().unwrap(), now)?.reference_point
    }

    fn number_shown(&self, now: Timestamp) -> Option<u8> {
        self.shown(now)?.entry.map(|entry| entry.salt[0])
    }
}

#[test]
fn the_lowest_rank_is_shown_until_it_is_a_week_behind() {
    let mut scene = Scene::new();
    let [mut first, mut second] = [0, 1].map(|node| scene.writer(node, ChainKind::ReferencePoint));
    scene.publish(&mut second, 20);
    assert_eq!(scene.number_shown(FOUNDED), Some(20));
    scene.publish(&mut first, 10);
    assert_eq!(scene.number_shown(FOUNDED), Some(10));
    second.issued = FOUNDED.after(FRESHNESS).before(Duration::from_millis(1));
    scene.publish(&mut second, 21);
    assert_eq!(scene.number_shown(FOUNDED), Some(10));
    second.issued = FOUNDED.after(FRESHNESS);
    scene.publish(&mut second, 22);
    assert_eq!(scene.number_shown(FOUNDED), Some(22));
}

#[test]
fn the_clock_marks_and_never_drops() {
    let mut scene = Scene::new();
    let mut writer = scene.writer(0, ChainKind::ReferencePoint);
    scene.publish(&mut writer, 1);
    let age = |now| scene.shown(now).unwrap().header.age;
    assert_eq!(age(FOUNDED.before(FUTURE_TOLERANCE)), Age::Fresh);
    assert_eq!(age(FOUNDED.before(FUTURE_TOLERANCE + Duration::from_millis(1))), Age::Future);
    assert_eq!(age(FOUNDED.after(FRESHNESS)), Age::Fresh);
    assert_eq!(age(FOUNDED.after(FRESHNESS + Duration::from_millis(1))), Age::Stale);
    assert_eq!(age(Timestamp::MAX), Age::Stale);
    assert_eq!(scene.number_shown(Timestamp::MAX), Some(1));
}

#[test]
fn nobody_is_fresh_for_longer_than_a_week_by_saying_so() {
    let mut scene = Scene::new();
    let writer = scene.writer(0, ChainKind::ReferencePoint);
    let mut header = writer.header(&body(&reference_point(1)));
    header.fresh_until = Timestamp::MAX;
    scene.take(writer.sign(header));
    assert_eq!(scene.shown(FOUNDED.after(DAY * 8)).unwrap().header.age, Age::Stale);
}

#[test]
fn an_erased_body_is_shown_as_erased_and_stays_so() {
    let mut scene = Scene::new();
    let mut writer = scene.writer(0, ChainKind::ReferencePoint);
    scene.publish(&mut writer, 1);
    let bytes = body(&reference_point(1));
    let BodyAcceptance::Known(hash) = scene.evidence.accept_body(&bytes) else { panic!("not known") };
    assert!(scene.evidence.erase_body(hash));
    let shown = scene.shown(FOUNDED).unwrap();
    assert_eq!((shown.header.body, shown.entry), (BodyMark::Erased, None));
    assert_eq!(scene.evidence.accept_body(&bytes), BodyAcceptance::Known(hash));
    assert_eq!(scene.shown(FOUNDED).unwrap().header.body, BodyMark::Erased);
    assert_eq!(scene.evidence.directory().missing_bodies().len(), 0);
}

#[test]
fn a_body_is_taken_by_hash_and_length_and_only_if_a_header_names_it() {
    let mut scene = Scene::new();
    let writer = scene.writer(0, ChainKind::ReferencePoint);
    let bytes = body(&reference_point(1));
    assert!(matches!(scene.evidence.accept_body(&bytes), BodyAcceptance::Unwanted(_)));
    let mut header = writer.header(&bytes);
    header.length += 1;
    scene.take(writer.sign(header));
    assert!(matches!(scene.evidence.accept_body(&bytes), BodyAcceptance::Unwanted(_)));
    let long = vec![0; crate::limits::BODY_BYTES_MAX + 1];
    assert_eq!(scene.evidence.accept_body(&long), BodyAcceptance::TooLong(long.len()));
}

#[test]
fn a_body_that_cannot_be_read_is_its_nodes_fault_and_not_asked_for_again() {
    let mut scene = Scene::new();
    let mut writer = scene.writer(0, ChainKind::ReferencePoint);
    let poison = vec![0xFF; 64];
    scene.take(writer.write(&poison));
    assert_eq!(scene.evidence.directory().missing_bodies().len(), 1);
    assert!(matches!(scene.evidence.accept_body(&poison), BodyAcceptance::Unreadable(..)));
    assert_eq!(scene.shown(FOUNDED).unwrap().header.body, BodyMark::Unreadable);
    assert_eq!(scene.evidence.directory().missing_bodies().len(), 0);
}

#[test]
fn the_named_header_is_shown_until_the_new_chain_has_one() {
    let mut scene = Scene::new();
    let unit = scene.federation.unit("KE").clone();
    let mut writer = scene.writer(0, ChainKind::ReferencePoint);
    scene.publish(&mut writer, 1);
    let named = writer.predecessor.into();
    let node = writer.key.node;
    let name = |set: &mut crate::membership::key_set::KeySet| {
        set.nodes.iter_mut().find(|entry| entry.key == node).unwrap().reference_point = Some(named);
    };
    let next = scene.federation.next_key_set(&[&unit.key_set], name, &unit.root);
    scene.take(next.any());
    let shown = scene.shown(FOUNDED).unwrap();
    assert_eq!((shown.header.id, shown.header.key_set), (named, None));
    assert_eq!(scene.number_shown(FOUNDED), Some(1));
    let mut writer = ChainWriter::under(&scene.federation, &next, &unit.nodes[0], ChainKind::ReferencePoint);
    scene.publish(&mut writer, 2);
    assert_eq!(scene.number_shown(FOUNDED), Some(2));
    assert_eq!(scene.shown(FOUNDED).unwrap().header.key_set, Some(next.id().into()));
    // A fork at the new chain's beginning leads back to it, and says that there is a dispute.
    let mut twin = ChainWriter::under(&scene.federation, &next, &unit.nodes[0], ChainKind::ReferencePoint);
    scene.publish(&mut twin, 3);
    let shown = scene.shown(FOUNDED).unwrap();
    assert_eq!((shown.header.id, shown.header.disputed_from), (named, Some(Sequence(0))));
    assert_eq!(scene.number_shown(FOUNDED), Some(1));
}

#[test]
fn a_record_is_used_until_the_newest_one_can_be_read() {
    let mut scene = Scene::new();
    let mut writer = scene.writer(0, ChainKind::NodeRecord);
    scene.publish(&mut writer, 1);
    scene.take(writer.write(&body(&node_record(2))));
    let listing = scene.evidence.listing(&"KE".parse().unwrap(), writer.key.node).unwrap();
    let directory = scene.evidence.directory();
    assert_eq!(directory.record(listing).unwrap().salt, [1; 16]);
    let header = directory.header(listing, ChainKind::NodeRecord, FOUNDED).unwrap();
    assert_eq!((header.sequence, header.body), (Sequence(1), BodyMark::Missing));
    assert_eq!(directory.missing_bodies().len(), 1);
}

#[test]
fn a_claim_to_anothers_node_has_no_record_and_takes_none_away() {
    let mut scene = Scene::new();
    let ke: MemberCode = "KE".parse().unwrap();
    let mut writer = scene.writer(0, ChainKind::NodeRecord);
    let (node, old) = (writer.key.node, writer.write(&body(&node_record(1))));
    scene.take(old.clone());
    drop(scene.evidence.accept_body(&body(&node_record(1))));
    // Kenya's next key set names its record; two others name it too, as theirs and as something else.
    let federation = scene.federation.clone();
    let kenya = federation.unit("KE");
    let name = |entry: &mut NodeEntry| entry.node_record = Some(old.id().into());
    let of_kenya = |set: &mut KeySet| set.nodes.iter_mut().filter(|e| e.key == node).for_each(name);
    let claim = |kind: ChainKind| {
        let mut entry = testing::entry(7, &kenya.nodes[0]);
        match kind {
            ChainKind::NodeRecord => entry.node_record = Some(old.id().into()),
            ChainKind::ReferencePoint => entry.reference_point = Some(old.id().into()),
        }
        move |set: &mut KeySet| set.nodes.push(entry)
    };
    let (br, sg) = (federation.unit("BR"), federation.unit("SG"));
    let first = federation.next_key_set(&[&br.key_set], claim(ChainKind::NodeRecord), &br.root);
    let last = federation.next_key_set(&[&sg.key_set], claim(ChainKind::ReferencePoint), &sg.root);
    scene.take(first.any());
    scene.take(federation.next_key_set(&[&kenya.key_set], of_kenya, &kenya.root).any());
    scene.take(last.any());
    let record = |member: &str| {
        let listing = scene.evidence.listing(&member.parse().unwrap(), node).unwrap();
        let header = scene.evidence.directory().header(listing, ChainKind::NodeRecord, FOUNDED);
        let record = scene.evidence.directory().record(listing).map(|record| record.salt);
        (header.map(|header| DocumentId::from(header.id)), record)
    };
    assert_eq!(record("KE"), (Some(old.id()), Some([1; 16])));
    assert_eq!((record("BR"), record("SG")), ((None, None), (None, None)));
    assert_eq!(scene.evidence.directory().member(&ke, FOUNDED).unwrap().nodes.len(), 2);
}

#[test]
fn bodies_that_no_recent_header_names_are_released() {
    let mut scene = Scene::new();
    let mut writer = scene.writer(0, ChainKind::ReferencePoint);
    let mut released = 0;
    for number in 0..BODIES_PER_CHAIN_MAX as u8 + 3 {
        let bytes = body(&reference_point(number));
        released += scene.evidence.accept(Bearer::Local, writer.write(&bytes)).released.len();
        drop(scene.evidence.accept_body(&bytes));
    }
    assert_eq!(released, 3);
}

#[test]
fn members_are_listed_with_their_nodes_by_rank() {
    let mut scene = Scene::new();
    scene.take(scene.federation.unit("BR").key_set.any());
    let members = scene.evidence.directory().members(FOUNDED);
    let codes: Vec<_> = members.iter().map(|member| member.member.as_str()).collect();
    assert_eq!(codes, ["BR", "KE"]);
    assert_eq!(members[1].nodes.iter().map(|node| node.rank).collect::<Vec<_>>(), [0, 1]);
    let json = serde_json::to_value(&members).unwrap();
    assert_eq!(json[0]["member"], "BR");
}

#[test]
fn the_sealing_key_used_is_the_newest_that_has_begun() {
    let keys = [sealing_key(1, FOUNDED), sealing_key(2, FOUNDED.after(DAY * 30))];
    let used = |keys, now| current_sealing_key(keys, now).map(|key: &SealingKeyEntry| key.key[0]);
    assert_eq!(used(&keys, FOUNDED.after(DAY)), Some(1));
    assert_eq!(used(&keys, FOUNDED.after(DAY * 30)), Some(2));
    assert_eq!(used(&keys, FOUNDED.after(DAY * 300)), Some(2), "past its days, and none is newer");
    assert_eq!(used(&keys, FOUNDED.before(DAY)), Some(1), "none has begun");
    assert_eq!(used(&[], FOUNDED), None);
}

#[test]
fn a_content_of_two_chains_is_not_of_one() {
    let mut scene = Scene::new();
    let of_one = |scene: &Scene, bytes: &[u8]| {
        let hash = ContentHash::from_bytes(Sha256::digest(bytes).into());
        scene.evidence.directory().is_of_one_chain(hash)
    };
    let bytes = body(&reference_point(1));
    assert!(!of_one(&scene, &bytes));
    let mut first = scene.writer(0, ChainKind::ReferencePoint);
    scene.publish(&mut first, 1);
    assert!(of_one(&scene, &bytes));
    let mut second = scene.writer(1, ChainKind::ReferencePoint);
    scene.publish(&mut second, 1);
    assert!(!of_one(&scene, &bytes));
}
