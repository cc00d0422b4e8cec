//! What a version that stands beside a settled one announces, and what its lines open, changes no true line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use ed25519_dalek::SigningKey;

use super::{
    Acceptance, Trust,
    charter::{Charter, root_hash},
    key_set::{KeySet, Opening, Rotation},
    settlement::{Certificate, Span, Voice},
};
use crate::{
    document::{Signature, Verified},
    ids::{Epoch, Generation, Incarnation, KeySetId, MemberCode},
    testing::{Federation, entry, node_key, root_key, verified},
};

type Version = Arc<Verified<Charter>>;
type Held = Arc<Verified<KeySet>>;

const CODES: [&str; 4] = ["BR", "FR", "KE", "SG"];

struct World {
    federation: Federation,
    ke: MemberCode,
    /// Keys that thieves made.
    stolen: [SigningKey; 3],
}

impl World {
    fn new() -> Self {
        let federation = Federation::new(12, &CODES, 1);
        let ke: MemberCode = "KE".parse().unwrap();
        let stolen = [50, 51, 52].map(|index| federation.root(&ke, index));
        Self { federation, ke, stolen }
    }

    fn signed(&self, change: impl FnOnce(&mut Charter), more: &[&SigningKey]) -> Version {
        let roots = ["BR", "FR"].map(|code| &self.federation.unit(code).root);
        let signers: Vec<&SigningKey> = roots.into_iter().chain(more.iter().copied()).collect();
        self.federation.successor(&[&self.federation.founding], change, &signers)
    }

    /// Version 2 of the stewards, settled by everybody.
    fn settled(&self) -> Trust {
        let second =
            self.signed(|charter| charter.members[0].group = super::charter::WorkingGroup::Mena, &[]);
        let voice = |code: &&str| Voice {
            head: self.federation.head(code, 0, &[&second]),
            key_sets: vec![Arc::clone(&self.federation.unit(code).key_set)],
        };
        let span = Span { charter: second.id().into(), base: self.federation.founding.id().into() };
        let voices = CODES.iter().map(voice).collect();
        let certificate = Certificate::assemble(span, voices, self.federation.id).unwrap();
        let mut trust = self.federation.trust();
        trust.accept_charter(second).unwrap();
        trust.accept_settlement(Arc::new(certificate)).unwrap();
        trust
    }

    /// A key set of generation 1 that names a version, and lists one node.
    fn opens(&self, version: &Verified<Charter>, root: &SigningKey, next: &SigningKey, node: u64) -> Held {
        let first = self.federation.unit("KE").key_set.payload();
        let set = KeySet {
            charter: version.id().into(),
            incarnation: version.payload().member(&self.ke).unwrap().incarnation,
            generation: Generation(1),
            epoch: Epoch(0),
            ancestors: Vec::new(),
            nodes: vec![entry(0, &self.federation.node(&self.ke, node))],
            rotation: Some(Rotation::Opens(Opening {
                alg: Signature::ED25519,
                root: root_key(root),
                next: root_hash(&root_key(next)),
                after: None,
                base: None,
            })),
            ..first.clone()
        };
        verified(&set, self.federation.id, &[root])
    }

    fn follows(&self, opening: &Held, root: &SigningKey, change: impl FnOnce(&mut KeySet)) -> Held {
        let named = KeySetId::from(opening.id());
        let change = |set: &mut KeySet| {
            set.rotation = Some(Rotation::Follows(named));
            change(set);
        };
        self.federation.next_key_set(&[opening], change, root)
    }
}

/// Old stewards' keys sign a version that changes nothing but the next root key that KE announced.
#[test]
fn a_root_that_only_a_version_beside_a_settled_one_announces_takes_no_line_over() {
    let world = World::new();
    let [announced, after, _] = &world.stolen;
    let thieves = world.signed(|charter| charter.members[2].next = root_hash(&root_key(announced)), &[]);
    let unit = world.federation.unit("KE");
    let rotated = world.opens(&world.federation.founding, &unit.next, after, 2);
    for owner_rotates in [false, true] {
        let mut trust = world.settled();
        if owner_rotates {
            trust.accept_key_set(Arc::clone(&rotated)).unwrap();
        }
        let before = trust.membership();
        let opening = world.opens(&thieves, announced, after, 9);
        let later = world.follows(&opening, announced, |_| {});
        assert_eq!(trust.accept_charter(Arc::clone(&thieves)), Ok(Acceptance::New));
        assert_eq!(trust.accept_key_set(opening), Ok(Acceptance::New), "it is evidence");
        assert_eq!(trust.accept_key_set(later), Ok(Acceptance::New), "it is evidence");
        let view = trust.membership();
        assert!(view.ignored().contains(&thieves.id().into()));
        assert_eq!(view.active_nodes(&world.ke), before.active_nodes(&world.ke));
        assert_eq!(view.member(&world.ke), before.member(&world.ke));
        let expected =
            if owner_rotates { world.federation.node(&world.ke, 2) } else { unit.nodes[0].clone() };
        assert_eq!(view.active_nodes(&world.ke), [node_key(&expected)]);
    }
}

/// Two versions give KE different roots under one incarnation: a rotation of the one line is none of the other's.
#[test]
fn a_rotation_does_not_cross_into_the_line_of_another_root() {
    let world = World::new();
    let [root, announced, after] = &world.stolen;
    let own = world.federation.root(&world.ke, 3);
    let replaced = |root: &SigningKey, next: &SigningKey| {
        let (key, hash) = (root_key(root), root_hash(&root_key(next)));
        let change = move |charter: &mut Charter| {
            let entry = &mut charter.members[2];
            (entry.root, entry.next, entry.incarnation) = (key, hash, Incarnation(1));
        };
        world.signed(change, &[root])
    };
    let (true_version, thieves) =
        (replaced(&own, &world.federation.root(&world.ke, 4)), replaced(root, announced));
    let mut trust = world.federation.trust();
    trust.accept_charter(Arc::clone(&true_version)).unwrap();
    trust.accept_charter(Arc::clone(&thieves)).unwrap();
    let opening = world.opens(&thieves, announced, after, 9);
    assert_eq!(trust.accept_key_set(Arc::clone(&opening)), Ok(Acceptance::New));
    let follows = world.follows(&opening, announced, |set| set.charter = true_version.id().into());
    assert_eq!(trust.accept_key_set(follows).unwrap_err().rule(), "KS-16");
    // In its own line it is as good as ever.
    let within = world.follows(&opening, announced, |_| {});
    assert_eq!(trust.accept_key_set(within), Ok(Acceptance::New));
}
