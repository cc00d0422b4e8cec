//! Settled versions: what it takes, and that nothing which stands beside one is ever applied.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod form;
mod merges;

use std::{collections::BTreeSet, sync::Arc};

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::{
    Acceptance, Membership, Trust, TrustError,
    charter::{Charter, MemberStatus, WorkingGroup},
    key_set::KeySet,
    settlement::{Certificate, Settlement, Span, Voice, verify_settlement},
};
use crate::{
    document::{Envelope, Verified, VerifyError, encode},
    evidence::{AnyDocument, Bearer, Evidence},
    heads::Head,
    ids::{CharterId, Incarnation},
    testing::{self, Federation, chains::IntoAny as _, node_key, root_key},
};

type Version = Arc<Verified<Charter>>;

/// The first three are the stewards, two of whom must sign. More than two thirds of six are five.
const CODES: [&str; 6] = ["BR", "FR", "JO", "KE", "SG", "ZA"];

/// A federation whose version 2 suspends ZA, and what thieves of the keys of its first stewards make beside that.
struct World {
    federation: Federation,
    second: Version,
    third: Version,
    /// Beside the second: suspends all but three members, one of them the thieves' own, and gives KE a root of theirs.
    thieves: Version,
    thieves_root: SigningKey,
}

impl World {
    fn new() -> Self {
        let federation = Federation::new(9, &CODES, 2);
        let second = amend(&federation, &federation.founding, |charter| {
            charter.members[5].status = MemberStatus::Suspended;
        });
        let third = amend(&federation, &second, |charter| charter.threshold = 2);
        let thieves_root = federation.root(&"KE".parse().unwrap(), 7);
        let [br, fr] = ["BR", "FR"].map(|code| &federation.unit(code).root);
        let thieves = federation.successor(
            &[&federation.founding],
            |charter| {
                charter.members[4].status = MemberStatus::Suspended;
                charter.members[5].status = MemberStatus::Suspended;
                charter.members[2].status = MemberStatus::Suspended;
                charter.stewards = ["BR", "FR", "KE"].map(|code| code.parse().unwrap()).to_vec();
                charter.members[3].root = root_key(&thieves_root);
                charter.members[3].incarnation = Incarnation(1);
            },
            &[br, fr, &thieves_root],
        );
        Self { federation, second, third, thieves, thieves_root }
    }

    fn trust(&self, versions: &[&Version]) -> Trust {
        let mut trust = self.federation.trust();
        for version in versions {
            trust.accept_charter(Arc::clone(version)).unwrap();
        }
        trust
    }

    /// Heads of the first nodes of these members.
    fn heads(&self, codes: &[&str], tip: &Version) -> Vec<Arc<Verified<Head>>> {
        codes.iter().map(|code| self.federation.head(code, 0, &[tip])).collect()
    }

    fn voices(&self, codes: &[&str], tip: &Version) -> Vec<Voice> {
        let voice = |code: &&str| Voice {
            head: self.federation.head(code, 0, &[tip]),
            key_sets: vec![Arc::clone(&self.federation.unit(code).key_set)],
        };
        codes.iter().map(voice).collect()
    }

    /// A certificate that counts the members of one version for another.
    fn certificate(&self, base: &Version, charter: &Version, voices: Vec<Voice>) -> Arc<Certificate> {
        let span = Span { charter: charter.id().into(), base: base.id().into() };
        Arc::new(Certificate::assemble(span, voices, self.federation.id).unwrap())
    }

    /// The certificate of a version that follows the first.
    fn settles(&self, charter: &Version) -> Arc<Certificate> {
        self.certificate(&self.federation.founding, charter, self.voices(&CODES[..5], charter))
    }

    /// The thieves' version 3, by which only their own members are active, with its certificate.
    fn thieves_certificate(&self) -> (Version, Arc<Certificate>) {
        let third = self.federation.successor(
            &[&self.thieves],
            |_| {},
            &[&self.federation.unit("BR").root, &self.thieves_root],
        );
        let nodes = [self.federation.node(&"KE".parse().unwrap(), 9)];
        let key_set =
            self.federation.first_key_set(&self.thieves, &"KE".parse().unwrap(), &self.thieves_root, &nodes);
        let head =
            Head { node: node_key(&nodes[0]), ..self.federation.head("KE", 0, &[&third]).payload().clone() };
        let head = testing::verified(&head, self.federation.id, &[&nodes[0]]);
        let mut voices = self.voices(&["BR", "FR"], &third);
        voices.push(Voice { head, key_sets: vec![key_set] });
        let certificate = self.certificate(&self.thieves, &third, voices);
        (third, certificate)
    }

    /// Everything that thieves of the first stewards' roots can make after version 3 was settled.
    fn thefts(&self) -> Vec<AnyDocument> {
        let [br, fr, jo] = ["BR", "FR", "JO"].map(|code| &self.federation.unit(code).root);
        let ke = self.federation.unit("KE");
        let (third, certificate) = self.thieves_certificate();
        // A merge is signed by the stewards of where its parents part: by the first ones.
        let merge = self.federation.successor(
            &[&self.third, &self.thieves],
            |charter| {
                charter.members[3].incarnation = Incarnation(1);
                charter.members[3].root = root_key(&self.thieves_root);
                charter.stewards = ["BR", "FR", "KE"].map(|code| code.parse().unwrap()).to_vec();
            },
            &[br, fr, jo, &self.thieves_root],
        );
        let mut documents = vec![self.thieves.any(), third.any(), certificate.any(), merge.any()];
        let strange = self.federation.first_key_set(
            &self.thieves,
            &ke.code,
            &self.thieves_root,
            &[ke.nodes[0].clone(), self.federation.node(&ke.code, 20)],
        );
        let beside = |rank| {
            self.federation
                .next_key_set(&[&strange], |set| set.nodes[0].rank = rank, &self.thieves_root)
                .any()
        };
        documents.push(strange.any());
        documents.extend((20..29).map(beside));
        documents
    }
}

#[test]
fn a_version_is_settled_by_more_than_two_thirds_of_the_members_whatever_their_nodes_number() {
    let world = World::new();
    let trust = world.trust(&[&world.second]);
    let settle = |heads: &[Arc<Verified<Head>>]| trust.settle(heads).unwrap();
    let mut heads = world.heads(&CODES[..4], &world.second);
    heads.extend(CODES[..4].iter().map(|code| world.federation.head(code, 1, &[&world.second])));
    assert_eq!(settle(&heads), None, "two nodes of each of four members are four of six");
    let disputed = world.federation.head("SG", 0, &[&world.second, &world.thieves]);
    heads.push(disputed);
    assert_eq!(settle(&heads), None, "a head that names two tips is for neither");
    heads.push(world.federation.head("SG", 1, &[&world.second]));
    let certificate = settle(&heads).expect("five of six");
    assert_eq!(certificate.voices().len(), 5);
    let mut trust = trust;
    assert_eq!(trust.accept_settlement(Arc::new(certificate)), Ok(Acceptance::New));
    let view = trust.membership();
    assert_eq!(view.settled(), Some(world.second.id().into()));
    assert_eq!(trust.settle(&heads).unwrap(), None, "what is settled is not settled again");
    assert!(trust.is_settled(&world.second.id().into()) && !trust.is_settled(&world.third.id().into()));
}

#[test]
fn in_a_federation_of_three_all_must_say_so() {
    let federation = Federation::new(3, &["BR", "FR", "KE"], 1);
    let second = amend(&federation, &federation.founding, |charter| {
        charter.members[2].group = WorkingGroup::Africa;
    });
    let mut trust = federation.trust();
    trust.accept_charter(Arc::clone(&second)).unwrap();
    let heads = ["BR", "FR", "KE"].map(|code| federation.head(code, 0, &[&second]));
    assert_eq!(trust.settle(&heads[..2]).unwrap(), None);
    assert!(trust.settle(&heads).unwrap().is_some());
}

#[test]
fn heads_that_name_a_later_version_settle_an_earlier_one_too() {
    let world = World::new();
    let mut trust = world.trust(&[&world.second, &world.third]);
    let mut heads = world.heads(&CODES[..2], &world.second);
    heads.extend(world.heads(&CODES[2..5], &world.third));
    let certificate = trust.settle(&heads).unwrap().unwrap();
    let span = Span { charter: world.second.id().into(), base: world.federation.founding.id().into() };
    assert_eq!(certificate.span(), span, "two of the five have not seen the third");
    trust.accept_settlement(Arc::new(certificate)).unwrap();
    // The newest that they settle goes first, and makes the other needless.
    let newer = trust.settle(&world.heads(&CODES[..5], &world.third)).unwrap().unwrap();
    assert_eq!(newer.span(), Span { charter: world.third.id().into(), ..span });
    assert_eq!(trust.accept_settlement(Arc::new(newer)), Ok(Acceptance::New));
    assert_eq!(
        trust.settlements().map(|held| held.span().charter).collect::<Vec<_>>(),
        [world.third.id().into()]
    );
    assert_eq!(trust.take_superseded().len(), 1);
    assert!(trust.is_settled(&world.second.id().into()));
    assert_eq!(trust.accept_settlement(world.settles(&world.second)), Ok(Acceptance::Surplus));
}

/// A merge follows what its parents part from, and neither of them alone.
#[test]
fn heads_that_name_a_merge_settle_the_merge_and_neither_side_of_it() {
    let world = World::new();
    let merge = world.federation.successor(
        &[&world.second, &world.thieves],
        |charter| {
            charter.members[3].incarnation = Incarnation(2);
            charter.stewards = ["BR", "FR", "JO"].map(|code| code.parse().unwrap()).to_vec();
        },
        &["BR", "FR", "JO", "KE"].map(|code| &world.federation.unit(code).root),
    );
    let mut trust = world.trust(&[&world.second, &world.thieves, &merge]);
    let error = trust.accept_settlement(world.certificate(
        &world.federation.founding,
        &world.second,
        world.voices(&CODES[..5], &merge),
    ));
    assert_eq!(error.unwrap_err().rule(), "SE-06");
    assert_eq!(trust.accept_settlement(world.settles(&merge)), Ok(Acceptance::New));
    let view = trust.membership();
    assert_eq!((view.settled(), view.ignored().len()), (Some(merge.id().into()), 0));
    assert_eq!(view.tips(), [merge.id().into()]);
    // What settled one side before it was known that there are two gives way.
    assert_eq!(trust.accept_settlement(world.settles(&world.second)), Ok(Acceptance::Surplus));
}

#[test]
fn nothing_that_stands_beside_a_settled_version_changes_what_is_applied() {
    let world = World::new();
    for settled in [&world.second, &world.third] {
        let mut evidence = Evidence::new(world.federation.id);
        let mut documents = vec![world.federation.founding.any()];
        documents.extend(world.federation.units.iter().map(|unit| unit.key_set.any()));
        documents.extend([world.second.any(), world.third.any(), world.settles(settled).any()]);
        assert!(evidence.accept_all(Bearer::Local, documents).rejected.is_empty());
        let before = evidence.membership();
        let thefts = world.thefts();
        let outcome = evidence.accept_all(Bearer::Local, thefts.clone());
        assert_eq!(
            (outcome.rejected, outcome.accepted.len()),
            (Vec::new(), thefts.len()),
            "all of it is evidence"
        );
        let after = evidence.membership();
        assert_eq!(after.settled(), Some(settled.id().into()));
        assert!(after.ignored().contains(&world.thieves.id().into()));
        assert_eq!(after.ignored().len(), 3, "the merge is none of those that are applied");
        assert_eq!(meaning(&after), meaning(&before));
        assert_eq!(evidence.trust().charter_tips(), [world.third.id().into()]);
        let signers = evidence.trust().stewards_who_signed(&world.thieves.id().into());
        assert_eq!(signers, BTreeSet::from(["BR", "FR"].map(|code| code.parse().unwrap())));
        assert!(evidence.trust().charters_beyond(&[world.third.id().into()]).is_empty());
    }
}

/// Everything that anybody acts on.
fn meaning(view: &Membership) -> impl PartialEq + std::fmt::Debug {
    let members = view.members().cloned().collect::<Vec<_>>();
    let nodes = view.nodes().map(|(key, standing)| (*key, standing.clone())).collect::<Vec<_>>();
    (view.tips().to_vec(), view.base(), view.stewards().to_vec(), view.threshold(), members, nodes)
}

/// The thieves' version lists whom they like: a certificate that counts by it is worth nothing, since it is not settled.
#[test]
fn members_are_counted_only_by_a_version_that_is_settled_itself() {
    let world = World::new();
    let (third, certificate) = world.thieves_certificate();
    let mut trust = world.trust(&[&world.second, &world.thieves, &third]);
    assert_eq!(trust.accept_settlement(certificate), Ok(Acceptance::New), "by its structure");
    assert_eq!(trust.membership().settled(), Some(world.federation.founding.id().into()));
    assert!(trust.membership().is_disputed());
    trust.accept_settlement(world.settles(&world.second)).unwrap();
    assert_eq!(trust.membership().settled(), Some(world.second.id().into()));
    assert_eq!(trust.membership().contradicting(), []);
}

#[test]
fn what_became_of_the_keys_later_does_not_undo_a_settlement() {
    let world = World::new();
    let mut trust = world.trust(&[&world.second]);
    trust.accept_settlement(world.settles(&world.second)).unwrap();
    let settled = Some(world.second.id().into());
    let ke = world.federation.unit("KE");
    let at = ke.key_set.payload().issued;
    let stolen = world.federation.next_key_set(
        &[&ke.key_set],
        |set| {
            let first = set.nodes.iter_mut().find(|node| node.key == node_key(&ke.nodes[0])).unwrap();
            (first.state, first.since) = (super::key_set::NodeState::Compromised, Some(at));
        },
        &ke.root,
    );
    trust.accept_key_set(stolen).unwrap();
    for code in ["KE", "SG"] {
        let unit = world.federation.unit(code);
        for rank in 0..9 {
            let beside = world.federation.next_key_set(
                &[&unit.key_set],
                |set: &mut KeySet| set.nodes[0].rank = 30 + rank,
                &unit.root,
            );
            trust.accept_key_set(beside).unwrap();
        }
    }
    assert!(trust.membership().member(&ke.code).unwrap().broken);
    assert_eq!(trust.membership().settled(), settled);
    // Nor does it need any of those key sets: a newcomer that holds none of them reads the same.
    let mut newcomer = world.federation.founding_trust();
    newcomer.accept_charter(Arc::clone(&world.second)).unwrap();
    newcomer.accept_settlement(world.settles(&world.second)).unwrap();
    assert_eq!(newcomer.membership().settled(), settled);
}

#[test]
fn of_two_settled_versions_that_contradict_each_other_neither_counts_and_who_signed_for_both_is_named() {
    let world = World::new();
    let documents = [world.second.any(), world.third.any(), world.thieves.any()];
    let certificates = [world.settles(&world.third).any(), world.settles(&world.thieves).any()];
    let mut views = Vec::new();
    for order in [[0, 1], [1, 0]] {
        let mut evidence = Evidence::new(world.federation.id);
        let mut all = vec![world.federation.founding.any()];
        all.extend(documents.clone());
        all.extend(order.map(|index: usize| certificates[index].clone()));
        assert!(evidence.accept_all(Bearer::Local, all).rejected.is_empty());
        let view = evidence.membership();
        let mut both: Vec<CharterId> = vec![world.third.id().into(), world.thieves.id().into()];
        both.sort_by_key(|id| (evidence.trust().charter(id).unwrap().payload().version, *id));
        assert_eq!(view.contradicting(), both);
        assert_eq!(view.settled(), Some(world.federation.founding.id().into()));
        assert!(view.is_disputed() && view.ignored().is_empty());
        let named = CODES[..5].iter().map(|code| code.parse().unwrap()).collect();
        assert_eq!(evidence.trust().counted_for_several(), named);
        views.push(view);
    }
    assert_eq!(views[0], views[1]);
}

#[test]
fn a_rotated_member_is_counted_by_its_rotations() {
    let world = World::new();
    let ke = world.federation.unit("KE");
    let [next, after] = [1, 2].map(|index| world.federation.root(&ke.code, index));
    let opening = |set: &KeySet, root: &SigningKey, next: &SigningKey| super::key_set::Opening {
        alg: crate::document::Signature::ED25519,
        root: root_key(root),
        next: super::charter::root_hash(&root_key(next)),
        after: set.rotation.as_ref().map(|_| ke.key_set.id().into()),
        base: Some(ke.key_set.id().into()),
    };
    let rotation = KeySet {
        generation: crate::ids::Generation(1),
        rotation: Some(super::key_set::Rotation::Opens(opening(ke.key_set.payload(), &next, &after))),
        ..ke.key_set.payload().clone()
    };
    let rotation = testing::verified(&rotation, world.federation.id, &[&next]);
    let follows = KeySet {
        epoch: crate::ids::Epoch(1),
        ancestors: vec![rotation.id().into()],
        rotation: Some(super::key_set::Rotation::Follows(rotation.id().into())),
        ..rotation.payload().clone()
    };
    let follows = testing::verified(&follows, world.federation.id, &[&next]);
    let mut trust = world.trust(&[&world.second]);
    for set in [&rotation, &follows] {
        assert_eq!(trust.accept_key_set(Arc::clone(set)), Ok(Acceptance::New));
    }
    let certificate = trust.settle(&world.heads(&CODES[..5], &world.second)).unwrap().unwrap();
    let voice = certificate.voices().iter().find(|voice| *voice.member() == ke.code).unwrap();
    assert_eq!(voice.key_sets, [rotation, follows]);
    let mut newcomer = world.federation.founding_trust();
    newcomer.accept_charter(Arc::clone(&world.second)).unwrap();
    assert_eq!(newcomer.accept_settlement(Arc::new(certificate)), Ok(Acceptance::New));
}

#[test]
fn a_certificate_waits_for_the_versions_that_it_names() {
    let world = World::new();
    let certificate =
        world.certificate(&world.federation.founding, &world.second, world.voices(&CODES[..5], &world.third));
    let mut evidence = Evidence::new(world.federation.id);
    let outcome = evidence.accept(Bearer::Local, certificate.any());
    let named = [&world.federation.founding, &world.second, &world.third];
    assert_eq!(outcome.missing, named.iter().map(|version| version.id()).collect());
    let outcome = evidence.accept_all(Bearer::Local, named.map(|version| version.any()));
    assert_eq!(outcome.accepted.len(), 4);
    assert_eq!(evidence.membership().settled(), Some(world.second.id().into()));
}

#[test]
fn each_rule_refuses_what_breaks_it() {
    let world = World::new();
    let trust = world.trust(&[&world.second, &world.third, &world.thieves]);
    let founding = &world.federation.founding;
    let refused = |certificate: Arc<Certificate>| {
        trust.clone().accept_settlement(certificate).map_err(|error: TrustError| error.rule())
    };
    let five = world.voices(&CODES[..5], &world.second);
    assert_eq!(refused(world.certificate(founding, &world.second, five.clone())), Ok(Acceptance::New));
    assert_eq!(refused(world.certificate(&world.thieves, &world.second, five.clone())), Err("SE-04"));
    assert_eq!(refused(world.certificate(&world.second, founding, five.clone())), Err("SE-04"));
    // ZA is suspended by the second version, KE has another root in the thieves' one.
    let six = world.voices(&CODES, &world.third);
    assert_eq!(refused(world.certificate(&world.second, &world.third, six)), Err("SE-05"));
    assert_eq!(
        refused(world.certificate(founding, &world.second, world.voices(&CODES[..5], &world.thieves))),
        Err("SE-06")
    );
    assert_eq!(refused(world.certificate(founding, &world.second, five[..4].to_vec())), Err("SE-07"));
    let (third, _) = world.thieves_certificate();
    let mut trust = trust.clone();
    trust.accept_charter(Arc::clone(&third)).unwrap();
    let certificate = world.certificate(&world.thieves, &third, world.voices(&["BR", "FR", "KE"], &third));
    assert_eq!(trust.accept_settlement(certificate).unwrap_err().rule(), "SE-05");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever part of all this a node holds, it means the same in every order, and positions and their root are equal.
    #[test]
    fn settlements_and_forks_give_one_state_in_every_order(
        chosen in proptest::collection::vec(any::<bool>(), 40),
        salts in any::<[u64; 3]>(),
    ) {
        let world = World::new();
        let mut pool = world.thefts();
        pool.extend(world.federation.units.iter().map(|unit| unit.key_set.any()));
        let versions = [&world.second, &world.third, &world.thieves];
        pool.extend(versions.map(|version| version.any()));
        pool.extend(versions.map(|version| world.settles(version).any()));
        let late = world.certificate(&world.second, &world.third, world.voices(&CODES[..4], &world.third));
        let other = world.certificate(&world.federation.founding, &world.second, world.voices(&CODES[..5], &world.third));
        pool.extend([late.any(), other.any()]);
        let documents: Vec<AnyDocument> = std::iter::once(world.federation.founding.any())
            .chain(pool.into_iter().zip(chosen.iter().cycle()).filter(|(_, chosen)| **chosen).map(|(it, _)| it))
            .collect();
        let deliver = |documents: &[AnyDocument]| {
            let mut evidence = Evidence::new(world.federation.id);
            let outcome = evidence.accept_all(Bearer::Local, documents.iter().cloned());
            assert!(outcome.rejected.is_empty(), "{:?}", outcome.rejected);
            evidence
        };
        let reference = deliver(&documents);
        for salt in salts {
            let mut shuffled = documents.clone();
            shuffled.sort_by_key(|it| testing::key(salt, &it.id().to_string(), 0).to_bytes());
            let shuffled = deliver(&shuffled);
            prop_assert_eq!(shuffled.membership(), reference.membership());
            prop_assert_eq!(shuffled.digest_root().unwrap(), reference.digest_root().unwrap());
        }
    }
}

/// A version signed by two stewards.
fn amend(federation: &Federation, parent: &Version, change: impl FnOnce(&mut Charter)) -> Version {
    federation.successor(&[parent], change, &[&federation.unit("BR").root, &federation.unit("FR").root])
}

#[test]
fn the_members_of_every_base_are_counted_as_more_than_two_thirds() {
    let founded = |count| Federation::new(1, &CODES[..count], 1).founding;
    let needed = |count| super::trust::members_needed(founded(count).payload());
    assert_eq!([3, 4, 5, 6].map(needed), [3, 3, 4, 5]);
}
