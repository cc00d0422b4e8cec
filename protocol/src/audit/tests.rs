//! Bundles as exporters and forgers write them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod entries;

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;

use super::*;
use crate::{
    directory::header::ChainKind,
    document::{Kind, encode},
    evidence::AnyDocument,
    ids::{FederationId, Sequence},
    machine::{Event, NumberedEvent},
    membership::{KeyState, charter::MemberStatus},
    testing::{
        FOUNDED, Federation, Unit,
        chains::{ChainWriter, IntoAny as _, body, node_record, reference_point},
        node_key,
    },
    time::Timestamp,
};

const MADE: Timestamp = Timestamp::from_millis(FOUNDED.as_millis() + 3_600_000);

/// Writes a bundle as an exporter does: sorted, each document once.
fn bundle(federation: FederationId, unit: &Unit, documents: &[AnyDocument]) -> String {
    with_journal(federation, unit, documents, None)
}

fn with_journal(
    federation: FederationId,
    unit: &Unit,
    documents: &[AnyDocument],
    journal: Option<&note::Note>,
) -> String {
    let order = |kind: Kind| Kind::EVIDENCE.iter().position(|known| *known == kind).unwrap();
    let mut documents: Vec<_> = documents.iter().collect();
    documents.sort_by_key(|document| (order(document.kind()), document.id()));
    documents.dedup_by_key(|document| document.id());
    let (mut writer, mut text) = BundleWriter::begin(federation);
    for document in documents {
        let bytes = encode(document.envelope().as_ref()).unwrap();
        text.push_str(&writer.document(document.kind(), document.id(), &bytes).unwrap());
    }
    if let Some(checkpoint) = journal {
        text.push_str(&writer.journal(checkpoint));
    }
    let key = &unit.nodes[0];
    let node = node_key(key);
    text + &writer.finish(&Exporter { federation, member: unit.code.clone(), node }, key, MADE)
}

/// Signs the lines of a bundle anew, as a forger would with a key of his.
fn signed_anew(text: &str, exporter: &Exporter, key: &SigningKey) -> String {
    let (lines, _) = text.split_once("\n\n").unwrap();
    let mut tree = merkle::Tree::default();
    lines.split('\n').for_each(|line| tree.push(line.as_bytes()));
    let extensions = vec![format!("time {}", MADE.as_millis())];
    let origin = exporter.to_string();
    let checkpoint =
        note::Checkpoint { origin: origin.clone(), size: tree.size(), root: tree.root(), extensions };
    format!("{lines}\n\n{}", note::Note::sign(checkpoint.text(), &origin, key))
}

struct World {
    federation: Federation,
    documents: Vec<AnyDocument>,
    /// KE's chain of node records, at its end.
    records: ChainWriter,
}

/// Three members, two charter versions, two key sets of KE, chains of two headers.
fn world() -> World {
    let federation = Federation::new(3, &["BR", "FR", "KE", "SG"], 1);
    let roots: Vec<_> = federation.units.iter().take(2).map(|unit| &unit.root).collect();
    let suspend = |charter: &mut crate::membership::charter::Charter| {
        charter.members.iter_mut().find(|it| it.code.as_str() == "SG").unwrap().status =
            MemberStatus::Suspended;
    };
    let second = federation.successor(&[&federation.founding], suspend, &roots);
    let mut documents = vec![federation.founding.any(), second.any()];
    documents.extend(federation.units.iter().map(|unit| unit.key_set.any()));
    let ke = federation.unit("KE").clone();
    for unit in &federation.units {
        let mut points = ChainWriter::new(&federation, unit, 0, ChainKind::ReferencePoint);
        documents.push(points.write(&body(&reference_point(1))));
    }
    let mut records = ChainWriter::new(&federation, &ke, 0, ChainKind::NodeRecord);
    documents.push(records.write(&body(&node_record(1))));
    documents.push(records.write(&body(&node_record(2))));
    documents.push(records.write(&body(&node_record(3))));
    World { federation, documents, records }
}

impl World {
    fn ke(&self) -> &Unit {
        self.federation.unit("KE")
    }

    fn bundle(&self) -> String {
        bundle(self.federation.id, self.ke(), &self.documents)
    }

    /// With the checkpoint of a journal of a unit, which followed that many events.
    fn with_journal_of(&self, unit: &Unit, events: &[Event]) -> String {
        let key = &unit.nodes[0];
        let (mut journal, _) = Journal::begin(FOUNDED, None, 0).unwrap();
        let numbered = |(at, event): (usize, &Event)| {
            let number = at as u64 + 1;
            NumberedEvent { number, at: FOUNDED, event: event.clone() }
        };
        drop(journal.follow(events.iter().enumerate().map(numbered)).unwrap());
        let of = (self.federation.id, unit.code.clone(), node_key(key));
        let checkpoint = journal.checkpoint(of, key, MADE);
        with_journal(self.federation.id, self.ke(), &self.documents, Some(&checkpoint))
    }

    fn exporter(&self) -> Exporter {
        let node = node_key(&self.ke().nodes[0]);
        Exporter { federation: self.federation.id, member: self.ke().code.clone(), node }
    }

    fn audit(&self, text: &str) -> Result<Audited, Refused> {
        audit(text.as_bytes(), self.federation.id)
    }

    fn without(&self, document: &AnyDocument) -> Vec<AnyDocument> {
        self.documents.iter().filter(|it| it.id() != document.id()).cloned().collect()
    }
}

fn rules(refused: Result<Audited, Refused>) -> Vec<&'static str> {
    refused.unwrap_err().faults.iter().map(AuditError::rule).collect()
}

#[test]
fn a_whole_bundle_is_accepted_and_says_what_is_in_it() {
    let world = world();
    let audited = world.audit(&world.bundle()).unwrap();
    assert_eq!((&audited.exporter, audited.made), (&world.exporter(), MADE));
    assert_eq!(audited.exporter_state, KeyState::Active);
    assert_eq!(audited.size, 2 + world.documents.len() as u64);
    assert_eq!(audited.counts[&Kind::Charter], 2);
    assert_eq!(audited.counts[&Kind::NodeRecord], 3);
    assert!(audited.forks().is_empty() && audited.surplus == 0);
    // BR and FR never published a node record; SG is suspended and is not asked for one.
    let lacking: Vec<_> = audited.not_held();
    assert_eq!(lacking.len(), 2, "{lacking:?}");
    assert!(lacking.iter().all(|it| matches!(it, NotHeld::NoHeader(_, _, ChainKind::NodeRecord))));
}

#[test]
fn every_line_flipped_dropped_moved_or_doubled_is_found() {
    let world = world();
    let whole = world.with_journal_of(world.ke(), &[Event::TwinSeen]);
    world.audit(&whole).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let found = |lines: &[String], what: &str| {
        let text = lines.concat();
        let refused = audit(text.as_bytes(), world.federation.id);
        assert!(refused.is_err(), "{what}");
    };
    let owned = || lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    for at in 0..lines.len() {
        let mut dropped = owned();
        dropped.remove(at);
        found(&dropped, &format!("line {at} dropped"));
        let mut doubled = owned();
        doubled.insert(at, doubled[at].clone());
        found(&doubled, &format!("line {at} doubled"));
        let mut cut = owned();
        cut.truncate(at);
        found(&cut, &format!("cut off before line {at}"));
        for other in at + 1..lines.len() {
            if lines[at] != lines[other] {
                let mut moved = owned();
                moved.swap(at, other);
                found(&moved, &format!("lines {at} and {other} swapped"));
            }
        }
        let length = lines[at].len();
        for place in BTreeSet::from([0, 1, length / 3, length / 2, length - 2.min(length), length - 1]) {
            let mut bytes = whole.clone().into_bytes();
            let start: usize = lines[..at].iter().map(|line| line.len()).sum();
            bytes[start + place] ^= 1;
            assert!(audit(&bytes, world.federation.id).is_err(), "line {at}, byte {place} flipped");
        }
    }
    for added in ["\n", " ", "x\n", "— x AAAAAAA=\n\n"] {
        assert!(world.audit(&format!("{whole}{added}")).is_err(), "{added:?} added");
    }
}

/// A forger who signs the changed bundle with a key of his own gains nothing; nor does one with a member's key.
#[test]
fn a_bundle_signed_anew_is_found_by_whose_key_it_is() {
    let world = world();
    let whole = world.bundle();
    let stranger = SigningKey::from_bytes(&[66; 32]);
    let other = &world.federation.unit("FR").nodes[0];
    for key in [&stranger, other] {
        let forged = signed_anew(&whole, &world.exporter(), key);
        assert_eq!(rules(world.audit(&forged)), ["AU-09"]);
    }
    let node = node_key(&stranger);
    let unlisted = Exporter { node, ..world.exporter() };
    assert_eq!(rules(world.audit(&signed_anew(&whole, &unlisted, &stranger))), ["AU-09"]);
    // A node of FR that says to be KE's.
    let borrowed = Exporter { node: node_key(other), ..world.exporter() };
    assert_eq!(rules(world.audit(&signed_anew(&whole, &borrowed, other))), ["AU-09"]);
}

#[test]
fn a_bundle_of_another_or_an_invented_federation_is_refused() {
    let (world, invented) = (world(), Federation::new(99, &["BR", "FR", "KE", "SG"], 1));
    let documents: Vec<_> = [invented.founding.any()]
        .into_iter()
        .chain(invented.units.iter().map(|unit| unit.key_set.any()))
        .collect();
    let whole = bundle(invented.id, invented.unit("KE"), &documents);
    audit(whole.as_bytes(), invented.id).unwrap();
    let error = AuditError::OtherFederation { pinned: world.federation.id, got: invented.id };
    assert_eq!(world.audit(&whole).unwrap_err().faults, [error]);
    // The same documents under the pinned federation's name.
    let posing = bundle(world.federation.id, invented.unit("KE"), &documents);
    let found = rules(world.audit(&posing));
    assert!(found.contains(&"AU-07") && found.contains(&"AU-09"), "{found:?}");
}

#[test]
fn the_exporter_itself_cannot_leave_out_what_others_stand_on() {
    let world = world();
    let lacks = |document: &AnyDocument| {
        let text = bundle(world.federation.id, world.ke(), &world.without(document));
        world.audit(&text)
    };
    // The founding; a charter version on which another stands.
    let founding = world.federation.founding.any();
    assert!(rules(lacks(&founding)).iter().all(|rule| ["AU-08", "AU-09"].contains(rule)));
    let second = world.documents[1].clone();
    let AnyDocument::Charter(parent) = &second else { panic!() };
    let roots: Vec<_> = world.federation.units.iter().take(2).map(|unit| &unit.root).collect();
    let third = world.federation.successor(&[parent], |_| {}, &roots).any();
    let mut documents = world.without(&second);
    documents.push(third);
    let refused = world.audit(&bundle(world.federation.id, world.ke(), &documents)).unwrap_err();
    assert!(matches!(
        refused.faults.as_slice(),
        [AuditError::Unfounded { what, missing, .. }] if what == "charter version 3" && *missing == [second.id()]
    ));
    // A key set under which headers stand.
    let fr = world.federation.unit("FR").key_set.any();
    assert_eq!(rules(lacks(&fr)), ["AU-08"]);
}

#[test]
fn what_is_not_held_is_told_apart_from_what_is_false() {
    let mut world = world();
    // A header in the middle of KE's chain: honest bundles have gaps.
    let middle = world.documents.iter().filter(|it| it.kind() == Kind::NodeRecord).nth(1).unwrap().clone();
    let gap = world.audit(&bundle(world.federation.id, world.ke(), &world.without(&middle))).unwrap();
    let (chain, one) = (world.records.key, Sequence(1));
    let missing = NotHeld::Headers(world.ke().code.clone(), chain, one, one);
    assert!(gap.not_held().contains(&missing), "{:?}", gap.not_held());
    // An earlier key set that the current one names.
    let ke = world.ke().clone();
    let second = world.federation.next_key_set(&[&ke.key_set], |_| {}, &ke.root);
    let third = world.federation.next_key_set(&[&ke.key_set, &second], |_| {}, &ke.root);
    world.documents.push(third.any());
    let without = world.audit(&world.bundle()).unwrap();
    let named = NotHeld::KeySets(ke.code, BTreeSet::from([second.id().into()]));
    assert!(without.not_held().contains(&named), "{:?}", without.not_held());
}

#[test]
fn false_documents_are_named_with_their_member_place_and_rule() {
    let mut world = world();
    let ke = world.ke().clone();
    // A key set that KE's root did not sign, put in by the exporter.
    let forged = world.federation.next_key_set(&[&ke.key_set], |_| {}, &world.federation.unit("FR").root);
    world.documents.push(forged.any());
    let refused = world.audit(&world.bundle()).unwrap_err();
    assert!(
        matches!(
            refused.faults.as_slice(),
            [AuditError::False { what, rule: "KS-09", .. }] if what == "key set of KE, generation 0, epoch 1"
        ),
        "{refused}"
    );
    world.documents.pop();
    // A header whose signature was tampered with, and everything signed anew.
    let whole = world.bundle();
    let index = whole.lines().position(|line| line.starts_with("node-record ")).unwrap();
    let mut envelope =
        world.documents.iter().find(|it| it.kind() == Kind::NodeRecord).unwrap().envelope().as_ref().clone();
    envelope.signatures[0].sig[5] ^= 1;
    let (mut writer, _) = BundleWriter::begin(world.federation.id);
    let line =
        writer.document(Kind::NodeRecord, world.documents[0].id(), &encode(&envelope).unwrap()).unwrap();
    let tampered: Vec<&str> =
        whole.lines().enumerate().map(|(at, it)| if at == index { line.trim_end() } else { it }).collect();
    let forged = signed_anew(&(tampered.join("\n") + "\n"), &world.exporter(), &ke.nodes[0]);
    let refused = world.audit(&forged).unwrap_err();
    let AuditError::False { what, rule, line, .. } = &refused.faults[0] else { panic!("{refused}") };
    assert_eq!((*rule, *line), ("DO-03", index as u64 + 1));
    assert!(what.starts_with("node-record 0 of KE's node"), "{what}");
}

#[test]
fn forks_are_exhibited_with_what_both_halves_signed() {
    use ed25519_dalek::{Signature, VerifyingKey};
    let mut world = world();
    let mut twin = world.records.clone();
    world.documents.push(world.records.write(&body(&node_record(4))));
    world.documents.push(twin.write(&body(&node_record(5))));
    let ke = world.ke().clone();
    let one = world.federation.next_key_set(&[&ke.key_set], |_| {}, &ke.root);
    let other = world.federation.next_key_set(
        &[&ke.key_set],
        |set| set.review = set.review.after(core::time::Duration::from_secs(1)),
        &ke.root,
    );
    world.documents.extend([one.any(), other.any()]);
    let audited = world.audit(&world.bundle()).unwrap();
    let forks = audited.forks();
    let places: Vec<_> = forks.iter().map(|fork| &fork.place).collect();
    assert!(
        matches!(
            places.as_slice(),
            [ForkPlace::KeySets(ke, ..), ForkPlace::Chain(of, _, Sequence(3))] if ke.member.as_str() == "KE" && ke.member == *of
        ),
        "{places:?}"
    );
    for fork in &forks {
        assert_eq!(fork.halves.len(), 2);
        for half in &fork.halves {
            use sha2::Digest as _;
            let digest: [u8; 32] = sha2::Sha256::digest(&half.signed).into();
            assert_eq!(*half.id.as_bytes(), digest);
            let Signer { member, key, signature } = &half.signers[0];
            assert_eq!(member.as_ref().unwrap().as_str(), "KE");
            let key = VerifyingKey::from_bytes(key.as_slice().try_into().unwrap()).unwrap();
            let signature = Signature::from_slice(signature).unwrap();
            key.verify_strict(&half.signed, &signature).unwrap();
        }
    }
}

#[test]
fn equal_directories_are_the_same_whoever_exports_them() {
    let world = world();
    let fr = world.federation.unit("FR");
    let a = world.audit(&world.bundle()).unwrap();
    let b = world.audit(&bundle(world.federation.id, fr, &world.documents)).unwrap();
    assert_eq!(a.root, b.root);
    assert!(compare(&a, &b).is_same());
}

#[test]
fn a_bundle_that_is_behind_is_not_called_different() {
    let mut world = world();
    let before = world.audit(&world.bundle()).unwrap();
    let ke = world.ke().clone();
    world.documents.push(world.records.write(&body(&node_record(4))));
    let set = world.federation.next_key_set(&[&ke.key_set], |_| {}, &ke.root);
    world.documents.push(set.any());
    let after = world.audit(&world.bundle()).unwrap();
    let comparison = compare(&before, &after);
    assert!(comparison.contradictions.is_empty());
    let [Difference::Document { only_in, member, exhibit, .. }, Difference::Chain { a, b, .. }] =
        comparison.differences.as_slice()
    else {
        panic!("{:?}", comparison.differences)
    };
    assert_eq!((*only_in, member.as_ref(), exhibit.id), (Side::B, Some(&ke.code), set.id()));
    let sequence = |place: &Option<ChainPlace>| place.unwrap().sequence;
    assert_eq!((sequence(a), sequence(b)), (Sequence(2), Sequence(3)));
}

/// What one bundle cannot show: a node, a root and stewards that told two exporters different stories.
#[test]
fn two_stories_meet_when_two_bundles_are_compared() {
    let mut one = world();
    let (mut other, ke) = (world(), one.ke().clone());
    let federation = &one.federation.clone();
    let mut twin = one.records.clone();
    one.documents.push(one.records.write(&body(&node_record(4))));
    other.documents.push(twin.write(&body(&node_record(5))));
    let later = |set: &mut crate::membership::key_set::KeySet| {
        set.review = set.review.after(core::time::Duration::from_secs(1));
    };
    one.documents.push(federation.next_key_set(&[&ke.key_set], |_| {}, &ke.root).any());
    other.documents.push(federation.next_key_set(&[&ke.key_set], later, &ke.root).any());
    let AnyDocument::Charter(parent) = &one.documents[1] else { panic!() };
    let roots: Vec<_> = federation.units.iter().take(2).map(|unit| &unit.root).collect();
    let withdraw = |code: &'static str| {
        let change = move |charter: &mut crate::membership::charter::Charter| {
            charter.members.iter_mut().find(|it| it.code.as_str() == code).unwrap().status =
                MemberStatus::Withdrawn;
        };
        federation.successor(&[parent], change, &roots).any()
    };
    let sg = withdraw("SG");
    other.documents.push(federation.successor(&[parent], |_| {}, &roots).any());
    one.documents.push(sg);
    let (a, b) = (one.audit(&one.bundle()).unwrap(), other.audit(&other.bundle()).unwrap());
    assert!(a.forks().is_empty() && b.forks().is_empty(), "neither knows by itself");
    let comparison = compare(&a, &b);
    let places: Vec<_> = comparison.contradictions.iter().map(|fork| &fork.place).collect();
    assert!(
        matches!(places.as_slice(), [ForkPlace::Charter(_), ForkPlace::KeySets(..), ForkPlace::Chain(..)]),
        "{places:?}"
    );
    assert!(comparison.contradictions.iter().all(|fork| fork.halves.len() == 2));
    let signers = &comparison.contradictions[0].halves[0].signers;
    assert_eq!(
        signers.iter().map(|it| it.member.as_ref().unwrap().as_str()).collect::<Vec<_>>(),
        ["BR", "FR"]
    );
    // One that holds both stories shows the fork by itself; the other has only not heard of it.
    one.documents.extend(other.documents.clone());
    let knows = one.audit(&one.bundle()).unwrap();
    assert_eq!(knows.forks().len(), 3);
    let comparison = compare(&knows, &b);
    assert!(comparison.contradictions.is_empty());
    let known = |it: &&Difference| matches!(it, Difference::ForkKnown { only_in: Side::A, .. });
    assert_eq!(comparison.differences.iter().filter(known).count(), 3);
}

#[test]
fn other_files_and_other_versions_are_told_apart() {
    let world = world();
    let whole = world.bundle();
    assert_eq!(world.audit("").unwrap_err().faults, [AuditError::NotABundle]);
    assert_eq!(world.audit("# a README\n").unwrap_err().faults, [AuditError::NotABundle]);
    let newer = whole.replacen("bundle 1", "bundle 2", 1);
    assert_eq!(world.audit(&newer).unwrap_err().faults, [AuditError::Newer("2".into())]);
    let cut = whole.split_once("\n\n").unwrap().0;
    assert_eq!(world.audit(cut).unwrap_err().faults, [AuditError::Truncated]);
    let faults = world.audit(&whole.replacen("key-set ", "key-ring ", 1)).unwrap_err().faults;
    assert!(
        faults.iter().any(|it| matches!(it, AuditError::Line { why: LineError::Label, .. })),
        "{faults:?}"
    );
    let faults = world.audit(&whole.replacen("key-set ", "charter ", 1)).unwrap_err().faults;
    assert!(faults.iter().any(|it| matches!(it, AuditError::Line { why: LineError::Kind { .. }, .. })));
}

#[test]
fn the_exporters_journal_is_its_own_and_one_number_has_one_past() {
    let world = world();
    let of = |unit: &Unit, events: &[Event]| world.audit(&world.with_journal_of(unit, events));
    let clock = Event::ClockJudged { right: true, offset_millis: -1 };
    let one = of(world.ke(), &[Event::TwinSeen, clock.clone()]).unwrap();
    assert_eq!(one.journal.as_ref().unwrap().size, 3);
    assert_eq!(rules(of(world.federation.unit("FR"), &[])), ["AU-10"]);
    // Signed by another key than the node's in its name.
    let text = world.bundle();
    let forged = note::Note::sign("refpoint-journal/x\n".into(), "refpoint-journal/x", &world.ke().nodes[0]);
    let forged = with_journal(world.federation.id, world.ke(), &world.documents, Some(&forged));
    assert_eq!(rules(world.audit(&forged)), ["AU-10"]);
    assert!(world.audit(&text).unwrap().journal.is_none());

    let longer = of(world.ke(), &[Event::TwinSeen, clock.clone(), Event::TwinSeen]).unwrap();
    assert!(compare(&one, &longer).is_same(), "a journal that grew contradicts nothing");
    let rewritten = of(world.ke(), &[clock, Event::TwinSeen]).unwrap();
    let comparison = compare(&one, &rewritten);
    let JournalFork { size, roots: [a, b], .. } = comparison.journal.clone().unwrap();
    assert!(size == 3 && a != b && !comparison.is_consistent());
}
