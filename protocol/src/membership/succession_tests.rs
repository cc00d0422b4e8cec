//! How one charter version follows others, and which key sets a charter stands behind: each rule broken once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeSet, sync::Arc};

use ed25519_dalek::SigningKey;

use super::{
    Acceptance, Trust, TrustError,
    charter::{Charter, MemberStatus},
};
use crate::{
    document::Verified,
    ids::{CharterVersion, Incarnation, MemberCode},
    testing::{Federation, entry, root_key, verified},
};

/// The first three are the stewards, two of whom must sign.
const CODES: [&str; 5] = ["BR", "FR", "JO", "KE", "SG"];

#[test]
fn a_successor_waits_for_its_parent() {
    let world = World::new();
    let second = world.follow(&[&world.founding()], |_| {}, &["BR", "FR"]);
    let third = world.follow(&[&second], |_| {}, &["BR", "JO"]);
    let mut trust = world.federation.trust();
    let waiting = Acceptance::Pending(BTreeSet::from([second.id()]));
    assert_eq!(trust.accept_charter(Arc::clone(&third)), Ok(waiting));
    assert_eq!(trust.accept_charter(Arc::clone(&second)), Ok(Acceptance::New));
    assert_eq!(trust.accept_charter(Arc::clone(&third)), Ok(Acceptance::New));
    assert_eq!(trust.accept_charter(Arc::clone(&second)), Ok(Acceptance::Known));
    assert_eq!(trust.charter_tips(), [third.id().into()]);
    let beyond = trust.charters_beyond(&[world.founding().id().into()]);
    assert_eq!(beyond.iter().map(|version| version.id()).collect::<Vec<_>>(), [second.id(), third.id()]);
    assert!(trust.charters_beyond(&trust.charter_tips()).is_empty());
}

#[test]
fn another_founding_is_refused() {
    let other = Federation::new(2, &CODES, 1);
    let refused = world_trust().accept_charter(Arc::clone(&other.founding)).unwrap_err();
    assert_eq!(refused, TrustError::OtherFederation(other.founding.id()));
}

#[test]
fn a_founding_is_signed_by_every_member() {
    let world = World::new();
    let charter = world.founding().payload().clone();
    let roots = world.roots(&["BR", "FR", "JO", "KE"]);
    let unsigned = verified(&charter, world.federation.id, &roots.iter().collect::<Vec<_>>());
    let refused = Trust::new(world.federation.id).accept_charter(unsigned).unwrap_err();
    assert_eq!(refused, TrustError::RootSilent("SG".parse().unwrap()));
    assert_eq!(refused.rule(), "CH-17");
}

#[test]
fn too_few_stewards_are_refused_whoever_else_signs() {
    let world = World::new();
    for signers in [&["BR"][..], &["BR", "KE", "SG"]] {
        let lonely = world.follow(&[&world.founding()], |_| {}, signers);
        assert_eq!(
            world_trust().accept_charter(lonely),
            Err(TrustError::StewardSignatures { needed: 2, got: 1 })
        );
    }
}

#[test]
fn versions_are_not_skipped() {
    let world = World::new();
    let skipped = world.follow(&[&world.founding()], |c| c.version = CharterVersion(3), &["BR", "FR"]);
    let refused = world_trust().accept_charter(skipped).unwrap_err();
    assert_eq!(refused, TrustError::Version { expected: CharterVersion(2), got: CharterVersion(3) });
}

#[test]
fn a_parent_that_another_descends_from_is_refused() {
    let world = World::new();
    let second = world.follow(&[&world.founding()], |_| {}, &["BR", "FR"]);
    let merged = world.follow(&[&world.founding(), &second], |_| {}, &["BR", "FR"]);
    let mut trust = world_trust();
    trust.accept_charter(second).unwrap();
    assert_eq!(trust.accept_charter(merged).unwrap_err().rule(), "CH-13");
}

#[test]
fn members_never_vanish_and_come_active_with_incarnation_0() {
    let world = World::new();
    let vanishes =
        world.follow(&[&world.founding()], |c| c.members.truncate(c.members.len() - 1), &["BR", "FR"]);
    assert_eq!(world_trust().accept_charter(vanishes).unwrap_err().rule(), "CH-14");
    let listed = |change: fn(&mut super::charter::MemberEntry)| {
        let code: MemberCode = "TN".parse().unwrap();
        let mut entry = world.federation.first_entry(&code);
        change(&mut entry);
        let mut roots = world.roots(&["BR", "FR"]);
        roots.push(world.federation.root(&code, 0));
        let admits = |c: &mut Charter| c.members.push(entry);
        let version = world.signed(&[&world.founding()], admits, &roots);
        world_trust().accept_charter(version).map_err(|error| error.rule())
    };
    assert_eq!(listed(|_| {}), Ok(Acceptance::New));
    assert_eq!(listed(|entry| entry.incarnation = Incarnation(1)), Err("CH-10"));
    assert_eq!(listed(|entry| entry.status = MemberStatus::Suspended), Err("CH-10"));
}

#[test]
fn incarnations_rise_with_a_root_and_with_a_readmission_alone() {
    let world = World::new();
    let ke: MemberCode = "KE".parse().unwrap();
    let other = world.federation.root(&ke, 5);
    let (br, fr) = (world.root("BR"), world.root("FR"));
    let try_after = |parent: &Arc<Verified<Charter>>, root: Option<&SigningKey>, status, incarnation| {
        let change = |c: &mut Charter| {
            let member = &mut c.members[3];
            member.root = root.map_or(member.root, root_key);
            member.status = status;
            member.incarnation = Incarnation(incarnation);
        };
        let version = world.signed(&[parent], change, &[br.clone(), fr.clone(), other.clone()]);
        let mut trust = world_trust();
        trust.accept_charter(Arc::clone(parent)).unwrap();
        (trust.accept_charter(Arc::clone(&version)).map_err(|error| error.rule()), version)
    };
    use MemberStatus::{Active, Suspended, Withdrawn};
    let first = world.founding();
    assert_eq!(try_after(&first, None, Active, 1).0, Err("CH-15"));
    assert_eq!(try_after(&first, Some(&other), Active, 0).0, Err("CH-15"));
    assert_eq!(try_after(&first, Some(&other), Active, 2).0, Err("CH-15"));
    assert_eq!(try_after(&first, Some(&other), Active, 1).0, Ok(Acceptance::New));
    let (accepted, suspended) = try_after(&first, None, Suspended, 0);
    assert_eq!(accepted, Ok(Acceptance::New));
    assert_eq!(try_after(&suspended, None, Active, 0).0, Ok(Acceptance::New));
    assert_eq!(try_after(&suspended, None, Active, 1).0, Err("CH-15"));
    let (accepted, withdrawn) = try_after(&first, None, Withdrawn, 0);
    assert_eq!(accepted, Ok(Acceptance::New));
    assert_eq!(try_after(&withdrawn, None, Withdrawn, 0).0, Ok(Acceptance::New));
    for status in [Active, Suspended] {
        assert_eq!(try_after(&withdrawn, None, status, 0).0, Err("CH-15"));
        assert_eq!(try_after(&withdrawn, None, status, 1).0, Ok(Acceptance::New));
    }
}

#[test]
fn a_new_root_signs_and_was_nobody_elses() {
    let world = World::new();
    let ke: MemberCode = "KE".parse().unwrap();
    let new = world.federation.root(&ke, 5);
    let replaces = |root: &SigningKey| {
        let root = root_key(root);
        move |c: &mut Charter| (c.members[3].root, c.members[3].incarnation) = (root, Incarnation(1))
    };
    let silent = world.follow(&[&world.founding()], replaces(&new), &["BR", "FR"]);
    assert_eq!(world_trust().accept_charter(silent), Err(TrustError::RootSilent(ke.clone())));
    let roots = [world.root("BR"), world.root("FR"), new.clone()];
    let second = world.signed(&[&world.founding()], replaces(&new), &roots);
    let mut trust = world_trust();
    assert_eq!(trust.accept_charter(Arc::clone(&second)), Ok(Acceptance::New));
    // The root that KE had before is not free for SG.
    let old = root_key(&world.root("KE"));
    let takes = |c: &mut Charter| (c.members[4].root, c.members[4].incarnation) = (old, Incarnation(1));
    let third = world.follow(&[&second], takes, &["BR", "FR", "KE", "SG"]);
    let refused = trust.accept_charter(third).unwrap_err();
    assert_eq!(refused, TrustError::RootOfAnother { member: "SG".parse().unwrap(), other: ke });
}

#[test]
fn new_stewards_sign_their_own_version_too() {
    let world = World::new();
    let hands_over = |c: &mut Charter| c.stewards = ["JO", "KE", "SG"].map(|c| c.parse().unwrap()).into();
    let outgoing = world.follow(&[&world.founding()], hands_over, &["BR", "FR"]);
    let refused = world_trust().accept_charter(outgoing).unwrap_err();
    assert_eq!(refused, TrustError::OwnSignatures { needed: 2, got: 0 });
    let incoming = world.follow(&[&world.founding()], hands_over, &["JO", "KE", "SG"]);
    assert_eq!(world_trust().accept_charter(incoming).unwrap_err().rule(), "CH-18");
    let both = world.follow(&[&world.founding()], hands_over, &["BR", "JO", "KE"]);
    assert_eq!(world_trust().accept_charter(both), Ok(Acceptance::New));
}

#[test]
fn a_merge_is_signed_by_stewards_of_where_its_parents_part() {
    let world = World::new();
    let hands_over = |c: &mut Charter| c.stewards = ["JO", "KE", "SG"].map(|c| c.parse().unwrap()).into();
    let left = world.follow(&[&world.founding()], hands_over, &["BR", "JO", "KE"]);
    let left_again = world.follow(&[&left], |_| {}, &["KE", "SG"]);
    let right = world.follow(&[&world.founding()], |c| c.members[4].next = other_next(), &["BR", "FR"]);
    let mut trust = world_trust();
    for version in [&left, &left_again, &right] {
        assert_eq!(trust.accept_charter(Arc::clone(version)), Ok(Acceptance::New));
    }
    assert_eq!(trust.double_signers(), BTreeSet::from(["BR".parse().unwrap()]));
    let parents = [&right, &left_again];
    // The left branch's stewards have no say; those of version 1 have, and the content is the right one's.
    let by_left = world.follow(&parents, |_| {}, &["KE", "SG"]);
    assert_eq!(trust.accept_charter(by_left).unwrap_err().rule(), "CH-18");
    let by_base = world.follow(&parents, |_| {}, &["FR", "JO"]);
    assert_eq!(by_base.payload().version, CharterVersion(4));
    assert_eq!(trust.accept_charter(Arc::clone(&by_base)), Ok(Acceptance::New));
    assert_eq!(trust.charter_tips(), [by_base.id().into()]);
    assert!(!trust.membership().is_disputed());
}

#[test]
fn a_merge_takes_up_one_root_or_raises_the_incarnation() {
    let world = World::new();
    let ke: MemberCode = "KE".parse().unwrap();
    let [one, two] = [5, 6].map(|index| world.federation.root(&ke, index));
    let replaced = |root: &SigningKey| {
        let key = root_key(root);
        let change =
            move |c: &mut Charter| (c.members[3].root, c.members[3].incarnation) = (key, Incarnation(1));
        world.signed(&[&world.founding()], change, &[world.root("BR"), world.root("FR"), root.clone()])
    };
    let [left, right] = [replaced(&one), replaced(&two)];
    let mut trust = world_trust();
    for version in [&left, &right] {
        trust.accept_charter(Arc::clone(version)).unwrap();
    }
    assert_eq!(trust.membership().member(&ke).unwrap().root, None);
    let merge = |incarnation| {
        let change = move |c: &mut Charter| c.members[3].incarnation = Incarnation(incarnation);
        world.follow(&[&left, &right], change, &["FR", "JO"])
    };
    assert_eq!(trust.accept_charter(merge(1)).unwrap_err().rule(), "CH-15");
    assert_eq!(trust.accept_charter(merge(2)), Ok(Acceptance::New));
    assert_eq!(trust.membership().member(&ke).unwrap().root, Some(root_key(&one)));
}

#[test]
fn a_key_set_waits_for_its_charter_and_obeys_the_root_that_it_lists() {
    let world = World::new();
    let ke = world.federation.unit("KE");
    let second = world.follow(&[&world.founding()], |_| {}, &["BR", "FR"]);
    let set = world.federation.first_key_set(&second, &ke.code, &ke.root, &ke.nodes);
    let mut trust = world.federation.founding_trust();
    let waiting = Acceptance::Pending(BTreeSet::from([second.id()]));
    assert_eq!(trust.accept_key_set(Arc::clone(&set)), Ok(waiting));
    trust.accept_charter(second).unwrap();
    assert_eq!(trust.accept_key_set(Arc::clone(&set)), Ok(Acceptance::New));
    assert_eq!(trust.accept_key_set(set), Ok(Acceptance::Known));

    let founding = &world.federation.founding;
    let forged = world.federation.first_key_set(founding, &ke.code, &world.root("SG"), &ke.nodes);
    assert_eq!(trust.accept_key_set(forged).unwrap_err().rule(), "KS-09");
    let own_root = std::slice::from_ref(&ke.root);
    let itself = world.federation.first_key_set(founding, &ke.code, &ke.root, own_root);
    assert_eq!(trust.accept_key_set(itself).unwrap_err().rule(), "KS-10");
    let unlisted: MemberCode = "TN".parse().unwrap();
    let stranger = world.federation.root(&unlisted, 0);
    let set = world.federation.first_key_set(founding, &unlisted, &stranger, &ke.nodes);
    assert_eq!(trust.accept_key_set(set).unwrap_err().rule(), "KS-08");
    let ahead = world.federation.next_key_set(
        &[&ke.key_set],
        |set| {
            set.incarnation = Incarnation(1);
            set.nodes.push(entry(1, &world.federation.node(&ke.code, 3)));
        },
        &ke.root,
    );
    assert_eq!(trust.accept_key_set(ahead).unwrap_err().rule(), "KS-08");
}

struct World {
    federation: Federation,
}

impl World {
    fn new() -> Self {
        Self { federation: Federation::new(1, &CODES, 1) }
    }

    fn founding(&self) -> Arc<Verified<Charter>> {
        Arc::clone(&self.federation.founding)
    }

    fn root(&self, code: &str) -> SigningKey {
        self.federation.unit(code).root.clone()
    }

    fn roots(&self, codes: &[&str]) -> Vec<SigningKey> {
        codes.iter().map(|code| self.root(code)).collect()
    }

    fn follow(
        &self,
        parents: &[&Arc<Verified<Charter>>],
        change: impl FnOnce(&mut Charter),
        signers: &[&str],
    ) -> Arc<Verified<Charter>> {
        self.signed(parents, change, &self.roots(signers))
    }

    fn signed(
        &self,
        parents: &[&Arc<Verified<Charter>>],
        change: impl FnOnce(&mut Charter),
        roots: &[SigningKey],
    ) -> Arc<Verified<Charter>> {
        self.federation.successor(parents, change, &roots.iter().collect::<Vec<_>>())
    }
}

fn world_trust() -> Trust {
    World::new().federation.trust()
}

fn other_next() -> crate::ids::ContentHash {
    crate::ids::ContentHash::from_bytes([7; 32])
}
