//! What can be proposed, what is refused before anybody signs, and whose signatures are asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeSet, sync::Arc};

use ed25519_dalek::SigningKey;

use super::{
    Acceptance, Trust,
    charter::{Charter, MemberKind, MemberStatus, WorkingGroup, root_hash},
    proposal::{CharterChange, ProposalError},
    request::JoiningRequest,
};
use crate::{
    document::{Signature, Verified},
    ids::{CharterId, Incarnation, MemberCode},
    testing::{FOUNDED, Federation, node_key, root_key, verified},
};

/// The first three are the stewards, two of whom must sign.
const CODES: [&str; 4] = ["BR", "FR", "JO", "KE"];

#[test]
fn a_proposal_signed_by_those_it_names_becomes_the_next_version() {
    let world = World::new();
    let mut trust = world.federation.trust();
    let changes = [
        vec![CharterChange::Admit(world.request("SG", 0))],
        vec![CharterChange::Suspend(code("KE"))],
        vec![CharterChange::Reinstate(code("KE"))],
        vec![CharterChange::ReplaceRoot(world.request("KE", 7))],
        vec![CharterChange::Withdraw(code("KE"))],
        vec![CharterChange::Admit(world.request("KE", 8))],
        // A steward leaves and another comes: the new ones sign too.
        vec![
            CharterChange::Suspend(code("JO")),
            CharterChange::Stewards { stewards: ["BR", "FR", "SG"].map(code).into(), threshold: 2 },
        ],
        vec![CharterChange::ReplaceRoot(world.request("SG", 3))],
    ];
    let mut incarnations = Vec::new();
    for changes in changes {
        let draft = trust.propose(&changes).unwrap();
        let wanted = trust.signatures_wanted(&draft, &BTreeSet::new()).unwrap();
        assert!(!wanted.is_complete());
        let enough = world.enough(&trust, &draft);
        // Each of them serves, under its member's code; a key of nobody's does not.
        for root in enough.iter().map(root_key) {
            let signatory = wanted.signatories().find(|it| it.root == root).unwrap();
            assert_eq!(wanted.member_of(&root), Some(&signatory.member));
        }
        let all: BTreeSet<_> = wanted.signatories().map(|it| &it.member).collect();
        let stewards = wanted.before.stewards.iter().chain(wanted.own.iter().flat_map(|own| &own.stewards));
        assert!(stewards.chain(&wanted.new_roots).all(|it| all.contains(&it.member)));
        assert_eq!(wanted.member_of(&root_key(&world.federation.root(&code("KE"), 19))), None);
        // One fewer is too few, whoever it is.
        for left_out in 0..enough.len() {
            let fewer: Vec<_> = enough.iter().enumerate().filter(|(at, _)| *at != left_out).collect();
            let fewer: Vec<_> = fewer.into_iter().map(|(_, root)| root.clone()).collect();
            assert!(!world.wanted(&trust, &draft, &fewer));
            assert!(trust.clone().accept_charter(world.sign(&draft, &fewer)).is_err());
        }
        assert!(world.wanted(&trust, &draft, &enough));
        assert_eq!(trust.accept_charter(world.sign(&draft, &enough)), Ok(Acceptance::New));
        incarnations.push(draft.member(&code("KE")).unwrap().incarnation.0);
    }
    assert_eq!(incarnations, [0, 0, 0, 1, 1, 2, 2, 2]);
}

#[test]
fn what_the_rules_would_reject_is_refused_with_the_rule() {
    let world = World::new();
    let trust = world.federation.trust();
    let rule = |changes: &[CharterChange]| match trust.propose(changes).unwrap_err() {
        ProposalError::Form(error) => error.rule,
        ProposalError::Rule(error) => error.rule(),
        other => panic!("{other}"),
    };
    let stewards = |codes: &[&str], threshold| CharterChange::Stewards {
        stewards: codes.iter().map(|text| code(text)).collect(),
        threshold,
    };
    assert_eq!(rule(&[CharterChange::Suspend(code("JO"))]), "CH-08");
    assert_eq!(rule(&[CharterChange::Withdraw(code("JO"))]), "CH-08");
    assert_eq!(rule(&[stewards(&["BR", "FR"], 2)]), "CH-08");
    assert_eq!(rule(&[stewards(&["BR", "FR", "SG"], 2)]), "CH-08");
    assert_eq!(rule(&[stewards(&["BR", "FR", "KE"], 1)]), "CH-09");
    assert_eq!(rule(&[stewards(&["BR", "FR", "KE"], 3)]), "CH-09");
    // Somebody else's root, listed now or once.
    let mut stolen = world.request("SG", 0);
    stolen.root = root_key(&world.federation.root(&code("KE"), 0));
    assert_eq!(rule(&[CharterChange::Admit(stolen)]), "CH-04");
    let mut replaced = world.federation.trust();
    let draft = replaced.propose(&[CharterChange::ReplaceRoot(world.request("KE", 7))]).unwrap();
    let version = world.sign(&draft, &world.enough(&replaced, &draft));
    replaced.accept_charter(version).unwrap();
    let mut old = world.request("SG", 0);
    old.root = root_key(&world.federation.root(&code("KE"), 0));
    let refused = replaced.propose(&[CharterChange::Admit(old)]).unwrap_err();
    assert!(matches!(refused, ProposalError::Rule(error) if error.rule() == "CH-16"));
    let mut same = world.request("SG", 0);
    same.next = root_hash(&same.root);
    assert_eq!(rule(&[CharterChange::Admit(same)]), "CH-07");
}

#[test]
fn what_says_nothing_new_is_refused() {
    let world = World::new();
    let trust = world.federation.trust();
    let refused = |change| trust.propose(&[change]).unwrap_err();
    let status = |member, is| ProposalError::Status { member: code(member), is };
    assert_eq!(trust.propose(&[]).unwrap_err(), ProposalError::Nothing);
    assert_eq!(refused(CharterChange::Reinstate(code("KE"))), status("KE", MemberStatus::Active));
    assert_eq!(refused(CharterChange::Suspend(code("SG"))), ProposalError::NotListed(code("SG")));
    assert_eq!(
        refused(CharterChange::ReplaceRoot(world.request("SG", 0))),
        ProposalError::NotListed(code("SG"))
    );
    assert_eq!(refused(CharterChange::Admit(world.request("KE", 5))), status("KE", MemberStatus::Active));
    assert_eq!(
        refused(CharterChange::ReplaceRoot(world.request("KE", 0))),
        ProposalError::SameRoot(code("KE"))
    );
    assert_eq!(Trust::new(world.federation.id).propose(&[]).unwrap_err(), ProposalError::NoParent);
}

#[test]
fn of_several_tips_a_proposal_is_the_merge() {
    let world = World::new();
    let mut trust = world.federation.trust();
    let drafts = [
        trust.propose(&[CharterChange::Suspend(code("KE"))]).unwrap(),
        trust.propose(&[CharterChange::Admit(world.request("SG", 0))]).unwrap(),
    ];
    for draft in &drafts {
        let version = world.sign(draft, &world.enough(&trust.clone(), draft));
        trust.accept_charter(version).unwrap();
    }
    assert_eq!(trust.charter_tips().len(), 2);
    let merge = trust.propose(&[]).unwrap();
    assert_eq!((merge.parents.len(), merge.version.0), (2, 3));
    let status = |code_text: &str| merge.member(&code(code_text)).unwrap().status;
    assert_eq!((status("KE"), status("SG")), (MemberStatus::Suspended, MemberStatus::Active));
    trust.accept_charter(world.sign(&merge, &world.enough(&trust.clone(), &merge))).unwrap();
    assert_eq!(trust.charter_tips().len(), 1);

    // Two versions that give a member different roots: the merge needs a third.
    let third =
        [7, 8].map(|root| trust.propose(&[CharterChange::ReplaceRoot(world.request("SG", root))]).unwrap());
    for draft in &third {
        let version = world.sign(draft, &world.enough(&trust.clone(), draft));
        trust.accept_charter(version).unwrap();
    }
    assert_eq!(trust.propose(&[]).unwrap_err(), ProposalError::RootsDiffer(code("SG")));
    let merge = trust.propose(&[CharterChange::ReplaceRoot(world.request("SG", 9))]).unwrap();
    assert_eq!(merge.member(&code("SG")).unwrap().incarnation, Incarnation(2));
    assert_eq!(
        trust.accept_charter(world.sign(&merge, &world.enough(&trust.clone(), &merge))),
        Ok(Acceptance::New)
    );
}

#[test]
fn a_merge_keeps_the_root_that_one_of_the_tips_replaced() {
    let world = World::new();
    let mut trust = world.federation.trust();
    let request = world.request("KE", 7);
    let root = request.root;
    let drafts = [CharterChange::ReplaceRoot(request), CharterChange::Admit(world.request("SG", 0))]
        .map(|change| trust.propose(&[change]).unwrap());
    for draft in &drafts {
        trust.accept_charter(world.sign(draft, &world.enough(&trust.clone(), draft))).unwrap();
    }
    let merge = trust.propose(&[]).unwrap();
    let kenya = merge.member(&code("KE")).unwrap();
    assert_eq!((merge.parents.len(), kenya.root, kenya.incarnation), (2, root, Incarnation(1)));
}

#[test]
fn a_proposal_follows_versions_that_are_held() {
    let world = World::new();
    let trust = world.federation.trust();
    let draft = trust.propose(&[CharterChange::Admit(world.request("SG", 0))]).unwrap();
    assert_eq!(trust.check_proposal(&draft), Ok(()));
    let unknown = CharterId::from_bytes([7; 32]);
    for parents in [vec![], vec![unknown]] {
        let orphan = Charter { parents, ..draft.clone() };
        assert_eq!(trust.check_proposal(&orphan), Err(ProposalError::NoParent));
    }
}

struct World {
    federation: Federation,
}

impl World {
    fn new() -> Self {
        Self { federation: Federation::new(6, &CODES, 1) }
    }

    fn request(&self, member: &str, root: u64) -> JoiningRequest {
        let member = code(member);
        JoiningRequest {
            kind: MemberKind::of(&member),
            group: WorkingGroup::Eurasia,
            alg: Signature::ED25519,
            root: root_key(&self.federation.root(&member, root)),
            next: root_hash(&root_key(&self.federation.root(&member, root + 1))),
            node: node_key(&self.federation.node(&member, 0)),
            addresses: Vec::new(),
            created: FOUNDED,
            member,
        }
    }

    /// Root keys of which none can be spared: two stewards, those that are new, and two of the own ones.
    fn enough(&self, trust: &Trust, draft: &Charter) -> Vec<SigningKey> {
        let wanted = trust.signatures_wanted(draft, &BTreeSet::new()).unwrap();
        let mut roots: Vec<_> =
            wanted.new_roots.iter().map(|root| (root.member.clone(), root.root)).collect();
        for quorum in [Some(&wanted.before), wanted.own.as_ref()].into_iter().flatten() {
            for steward in &quorum.stewards {
                let have = quorum.stewards.iter().filter(|it| roots.contains(&(it.member.clone(), it.root)));
                if (have.count() as u64) < quorum.needed {
                    roots.push((steward.member.clone(), steward.root));
                }
            }
        }
        roots.sort();
        roots.dedup();
        let find = |(member, key): &(MemberCode, _)| {
            (0..20)
                .map(|index| self.federation.root(member, index))
                .find(|root| root_key(root) == *key)
                .unwrap()
        };
        roots.iter().map(find).collect()
    }

    fn sign(&self, draft: &Charter, roots: &[SigningKey]) -> Arc<Verified<Charter>> {
        verified(draft, self.federation.id, &roots.iter().collect::<Vec<_>>())
    }

    fn wanted(&self, trust: &Trust, draft: &Charter, roots: &[SigningKey]) -> bool {
        let signers = roots.iter().map(|root| root.verifying_key().to_bytes()).collect();
        trust.signatures_wanted(draft, &signers).unwrap().is_complete()
    }
}

fn code(text: &str) -> MemberCode {
    text.parse().unwrap()
}
