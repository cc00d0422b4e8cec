//! Rotations of a root key to its announced successor: who may, what they void, and what two at once mean.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::VecDeque, sync::Arc};

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::{
    Acceptance, KeyState, Trust, TrustError,
    charter::{MemberStatus, root_hash},
    key_set::{KeySet, NodeState, Opening, Rotation},
};
use crate::{
    document::{Payload as _, Signature, Verified},
    ids::{Epoch, Generation, Incarnation, KeySetId, MemberCode, NodeKey},
    testing::{FOUNDED, Federation, entry, node_key, root_key, verified},
};

type Held = Arc<Verified<KeySet>>;

#[test]
fn the_announced_root_takes_over_and_voids_what_a_thief_of_the_old_one_signs() {
    let world = World::new();
    let mut trust = world.federation.trust();
    // The thief lists a node of his own, after the owner's last key set and beside it.
    let stolen =
        world.next(&[&world.first()], &world.root(0), |set| set.nodes.push(entry(1, &world.node(9))));
    trust.accept_key_set(Arc::clone(&stolen)).unwrap();
    assert!(trust.membership().is_active_node(&world.key(9)));

    let opening =
        world.opens(1, Some(&world.first()), None, |set| set.nodes = vec![entry(0, &world.node(1))]);
    assert_eq!(trust.accept_key_set(Arc::clone(&opening)), Ok(Acceptance::New));
    let late = world.next(&[&stolen], &world.root(0), |_| {});
    assert_eq!(trust.accept_key_set(late), Ok(Acceptance::New), "it is evidence, and void");
    let view = trust.membership();
    let member = view.member(&world.code).unwrap();
    assert_eq!((member.generation, member.epoch), (Generation(1), Some(Epoch(0))));
    assert_eq!(member.rotated_root, Some(root_key(&world.root(1))));
    assert_eq!(member.next, root_hash(&root_key(&world.root(2))));
    assert_eq!(view.active_nodes(&world.code), [world.key(1)]);
    let state = |index| view.node_of(&world.code, &world.key(index)).unwrap().state;
    assert_eq!(state(0), KeyState::LeftOut { at: opening.payload().issued });
    assert_eq!(state(9), KeyState::RootReplaced);
    assert_eq!(view.ending_proof(&world.key(9)), Some(vec![opening.id()]));

    // From now on the revealed root signs, and the old one signs for nothing more.
    let change = |set: &mut KeySet| set.nodes.push(entry(1, &world.node(2)));
    let by_old = world.next(&[&opening], &world.root(0), change);
    assert_eq!(trust.accept_key_set(by_old).unwrap_err().rule(), "KS-09");
    let by_new = world.next(&[&opening], &world.root(1), change);
    assert_eq!(trust.accept_key_set(Arc::clone(&by_new)), Ok(Acceptance::New));
    assert_eq!(trust.membership().active_nodes(&world.code), [world.key(1), world.key(2)]);
    let mut newcomer = world.federation.trust();
    let waits = Acceptance::Pending([opening.id()].into());
    assert_eq!(newcomer.accept_key_set(by_new), Ok(waits), "who has not heard of the rotation asks for it");
}

#[test]
fn nobody_rotates_to_a_root_that_was_not_announced() {
    let world = World::new();
    let rule = |set: Held| world.federation.trust().accept_key_set(set).map_err(|error| error.rule());
    let base = world.first();
    assert_eq!(rule(world.opens_with(&world.root(9), 1, Some(&base), None, |_| {})), Err("KS-15"));
    // The announced root does not help where another signs.
    let unsigned = {
        let set = world.opens(1, Some(&base), None, |_| {});
        verified(set.payload(), world.federation.id, &[&world.root(0)])
    };
    assert_eq!(rule(unsigned), Err("KS-09"));
    for root in [0, 1] {
        let lists_root =
            world.opens(1, Some(&base), None, |set| set.nodes = vec![entry(0, &world.root(root))]);
        assert_eq!(rule(lists_root), Err("KS-10"));
    }
    // The next rotation follows the one before: not the charter, not another's.
    let mut trust = world.federation.trust();
    let first = world.opens(1, Some(&base), None, |_| {});
    trust.accept_key_set(Arc::clone(&first)).unwrap();
    let follower = world.next(&[&first], &world.root(1), |_| {});
    trust.accept_key_set(Arc::clone(&follower)).unwrap();
    let refused = |set: Held| trust.clone().accept_key_set(set).unwrap_err();
    let skipping = world.opens_with(&world.root(9), 2, Some(&follower), Some(&first), |_| {});
    assert_eq!(refused(skipping), TrustError::RotationNotCommitted(world.code.clone()));
    let misplaced = world.opens_with(&world.root(2), 2, Some(&follower), Some(&follower), |_| {});
    assert_eq!(refused(misplaced), TrustError::RotationMisplaced(world.code.clone()));
    let third = world.opens_with(&world.root(2), 3, Some(&follower), Some(&first), |_| {});
    assert_eq!(refused(third).rule(), "KS-16");
    let second =
        world.opens(2, Some(&follower), Some(&first), |set| set.nodes = vec![entry(0, &world.node(4))]);
    assert_eq!(trust.accept_key_set(second), Ok(Acceptance::New));
    assert_eq!(trust.membership().active_nodes(&world.code), [world.key(4)]);
}

#[test]
fn a_rotation_keeps_what_its_base_names_and_nothing_else() {
    let world = World::new();
    let retired = world.next(&[&world.first()], &world.root(0), |set| {
        (set.nodes[0].state, set.nodes[0].since) = (NodeState::Retired, Some(FOUNDED));
        set.nodes.push(entry(1, &world.node(1)));
    });
    let state = |base: Option<&Held>| {
        let mut trust = world.federation.trust();
        trust.accept_key_set(Arc::clone(&retired)).unwrap();
        trust
            .accept_key_set(world.opens(1, base, None, |set| set.nodes = vec![entry(0, &world.node(2))]))
            .unwrap();
        let view = trust.membership();
        [0, 1].map(|index| view.node_of(&world.code, &world.key(index)).unwrap().state)
    };
    let opened = world.opens(1, None, None, |_| {}).payload().issued;
    assert_eq!(state(Some(&retired)), [KeyState::Retired { at: FOUNDED }, KeyState::LeftOut { at: opened }]);
    assert_eq!(state(Some(&world.first())), [KeyState::LeftOut { at: opened }, KeyState::RootReplaced]);
    assert_eq!(state(None), [KeyState::RootReplaced, KeyState::RootReplaced]);
}

#[test]
fn two_rotations_of_one_generation_leave_no_key_until_the_charter_replaces_the_root() {
    let world = World::new();
    let one = world.opens(1, Some(&world.first()), None, |set| set.nodes = vec![entry(0, &world.node(1))]);
    let other = world.opens(1, Some(&world.first()), None, |set| set.nodes = vec![entry(0, &world.node(2))]);
    let later = world.opens(2, None, Some(&one), |_| {});
    let mut trust = world.federation.trust();
    for set in [&one, &other, &later] {
        assert_eq!(trust.accept_key_set(Arc::clone(set)), Ok(Acceptance::New));
    }
    let view = trust.membership();
    assert!(view.member(&world.code).unwrap().broken);
    assert!(view.active_nodes(&world.code).is_empty());
    let new = world.root(7);
    let replaces = |charter: &mut super::charter::Charter| {
        let at = charter.members.iter().position(|entry| entry.code == world.code).unwrap();
        let entry = &mut charter.members[at];
        (entry.root, entry.incarnation, entry.status) =
            (root_key(&new), Incarnation(1), MemberStatus::Active);
    };
    let roots = ["BR", "FR"].map(|code| world.federation.unit(code).root.clone());
    let version =
        world.federation.successor(&[&world.federation.founding], replaces, &[&roots[0], &roots[1], &new]);
    trust.accept_charter(Arc::clone(&version)).unwrap();
    let first = world.federation.first_key_set(&version, &world.code, &new, &[world.node(5)]);
    trust.accept_key_set(first).unwrap();
    assert_eq!(trust.membership().active_nodes(&world.code), [world.key(5)]);
}

#[test]
fn on_the_way_to_a_generation_is_each_rotation_once_and_it_is_lost_with_any_of_them() {
    let world = World::new();
    let (first, root) = (world.first(), world.root(0));
    let lists = |node| {
        let entry = entry(0, &world.node(node));
        move |set: &mut KeySet| set.nodes = vec![entry]
    };
    let rotation = |node| world.opens(1, Some(&first), None, lists(node));
    let one = rotation(1);
    let second = |node| world.opens(2, None, Some(&one), lists(node));
    let two = second(1);
    let mut trust = world.federation.trust();
    let mut accept = |sets: &[Held]| {
        sets.iter().for_each(|set| drop(trust.accept_key_set(Arc::clone(set)).unwrap()));
        let lost = [&first, &one, &two].map(|set| trust.is_lost(set.payload()));
        (trust.clone(), lost, trust.broken_generations().map(|of| of.generation.0).collect::<Vec<_>>())
    };
    let (trust, lost, broken) = accept(&[Arc::clone(&one), Arc::clone(&two)]);
    let generation = trust.generation_of(two.payload()).unwrap();
    let openings: Vec<_> = trust.openings(&generation).iter().map(|set| set.id()).collect();
    assert_eq!((openings, lost, broken), (vec![one.id(), two.id()], [false, false, false], vec![]));

    // Nine leave none that counts, and what became of a later rotation depends on what came first.
    let others = |of: &dyn Fn(u64) -> Held| (2..=9).map(of).collect::<Vec<_>>();
    let (_, lost, broken) = accept(&others(&second));
    assert_eq!((lost, broken), ([false, false, true], vec![2]));
    let (_, lost, broken) = accept(&others(&rotation));
    assert_eq!((lost, broken), ([false, true, true], vec![1]));
    // Generation 0 was over before.
    let beside = |node| world.next(&[&first], &root, lists(node));
    let (_, lost, broken) = accept(&(1..=9).map(beside).collect::<Vec<_>>());
    assert_eq!((lost, broken), ([true, true, true], vec![0, 1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rotations_and_thefts_give_one_view_in_every_order(
        chosen in proptest::collection::vec(any::<bool>(), 40),
        salts in any::<[u64; 3]>(),
    ) {
        let world = World::new();
        let pool = world.pool();
        let documents: Vec<Held> =
            pool.iter().zip(chosen.iter().cycle()).filter(|(_, chosen)| **chosen).map(|(set, _)| Arc::clone(set)).collect();
        let reference = world.deliver(&documents);
        for salt in salts {
            let mut shuffled: Vec<_> = documents.clone();
            shuffled.sort_by_key(|set| crate::testing::key(salt, &set.id().to_string(), 0).to_bytes());
            let other = world.deliver(&shuffled);
            prop_assert_eq!(other.membership(), reference.membership());
            let broken = |trust: &Trust| trust.broken_generations().cloned().collect::<Vec<_>>();
            prop_assert_eq!(broken(&other), broken(&reference));
        }
    }
}

struct World {
    federation: Federation,
    code: MemberCode,
}

impl World {
    fn new() -> Self {
        Self { federation: Federation::new(8, &["BR", "FR", "KE", "SG"], 1), code: "KE".parse().unwrap() }
    }

    fn first(&self) -> Held {
        Arc::clone(&self.federation.unit("KE").key_set)
    }

    fn root(&self, index: u64) -> SigningKey {
        self.federation.root(&self.code, index)
    }

    fn node(&self, index: u64) -> SigningKey {
        self.federation.node(&self.code, index)
    }

    fn key(&self, index: u64) -> NodeKey {
        node_key(&self.node(index))
    }

    /// A key set after these, in their generation.
    fn next(&self, earlier: &[&Held], root: &SigningKey, change: impl FnOnce(&mut KeySet)) -> Held {
        let opening = earlier.last().unwrap();
        let follows = match &opening.payload().rotation {
            Some(Rotation::Opens(_)) => Some(Rotation::Follows(opening.id().into())),
            other => other.clone(),
        };
        let change = |set: &mut KeySet| {
            set.rotation = follows;
            change(set);
        };
        self.federation.next_key_set(earlier, change, root)
    }

    /// The rotation to a generation, as the owner makes it.
    fn opens(
        &self,
        generation: u64,
        base: Option<&Held>,
        after: Option<&Held>,
        change: impl FnOnce(&mut KeySet),
    ) -> Held {
        self.opens_with(&self.root(generation), generation, base, after, change)
    }

    fn opens_with(
        &self,
        root: &SigningKey,
        generation: u64,
        base: Option<&Held>,
        after: Option<&Held>,
        change: impl FnOnce(&mut KeySet),
    ) -> Held {
        let mut set = KeySet {
            generation: Generation(generation),
            epoch: Epoch(0),
            ancestors: Vec::new(),
            issued: FOUNDED.after(core::time::Duration::from_secs(86_400 * generation)),
            rotation: Some(Rotation::Opens(Opening {
                alg: Signature::ED25519,
                root: root_key(root),
                next: root_hash(&root_key(&self.root(generation + 1))),
                after: after.map(|set| KeySetId::from(set.id())),
                base: base.map(|set| KeySetId::from(set.id())),
            })),
            ..self.first().payload().clone()
        };
        change(&mut set);
        set.nodes.sort_unstable_by_key(|entry| entry.key);
        assert_eq!(set.check_form(), Ok(()));
        verified(&set, self.federation.id, &[root])
    }

    /// What an owner and a thief of each root may sign: lines, forks, rotations, and nine of one kind.
    fn pool(&self) -> Vec<Held> {
        let first = self.first();
        let lists = |index: u64| {
            move |set: &mut KeySet, world: &Self| set.nodes = vec![entry(index, &world.node(index))]
        };
        let mut pool = vec![Arc::clone(&first)];
        let second = self.next(&[&first], &self.root(0), |set| lists(1)(set, self));
        for thief in 10..14 {
            pool.push(self.next(&[&first], &self.root(0), |set| lists(thief)(set, self)));
        }
        let one = self.opens(1, Some(&second), None, |set| lists(2)(set, self));
        let other = self.opens(1, Some(&first), None, |set| lists(3)(set, self));
        let followed = self.next(&[&one], &self.root(1), |set| lists(4)(set, self));
        pool.extend([&second, &one, &followed].map(Arc::clone));
        pool.push(other);
        for index in 20..22 {
            pool.push(self.opens(2, Some(&followed), Some(&one), |set| lists(index)(set, self)));
        }
        for index in 30..40 {
            pool.push(self.next(&[&one], &self.root(1), |set| lists(index)(set, self)));
        }
        pool
    }

    fn deliver(&self, documents: &[Held]) -> Trust {
        let mut trust = self.federation.founding_trust();
        let mut queue: VecDeque<_> = documents.iter().cloned().collect();
        let mut waits = 0;
        while let Some(set) = queue.pop_front() {
            if waits > queue.len() {
                break;
            }
            match trust.accept_key_set(Arc::clone(&set)).expect("refused for its order") {
                Acceptance::Pending(_) => {
                    queue.push_back(set);
                    waits += 1;
                }
                _ => waits = 0,
            }
        }
        trust
    }
}
