//! Proposals as files: what is accepted, gathered and refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use refpoint_protocol::{
    document::{Signature, encode},
    ids::MemberCode,
    membership::{
        charter::{MemberKind, WorkingGroup, root_hash},
        proposal::CharterChange,
    },
    testing::{FOUNDED, Federation, node_key, root_key},
};

use super::*;
use crate::{armor::dearmor, founding::first_key_set, founding::sign_key_set};

/// A federation of three that admits a fourth.
struct World {
    federation: Federation,
    newcomer: MemberCode,
    draft: Proposal,
}

impl World {
    fn new() -> Self {
        let federation = Federation::new(5, &["BR", "FR", "SG"], 1);
        let newcomer: MemberCode = "KE".parse().unwrap();
        let (root, node) = (federation.root(&newcomer, 0), federation.node(&newcomer, 0));
        let request = JoiningRequest {
            kind: MemberKind::of(&newcomer),
            group: WorkingGroup::Africa,
            alg: Signature::ED25519,
            root: root_key(&root),
            next: root_hash(&root_key(&federation.root(&newcomer, 1))),
            node: node_key(&node),
            addresses: vec!["node.ke.example:4001".to_owned()],
            created: FOUNDED,
            member: newcomer.clone(),
        };
        let trust = federation.founding_trust();
        let charter = trust.propose(&[CharterChange::Admit(request.clone())]).unwrap();
        let envelope = refpoint_protocol::document::sign(&request, None, &[&root, &node]).unwrap();
        let draft = Proposal::draft(&trust, &charter, vec![envelope], Vec::new()).unwrap();
        Self { federation, newcomer, draft }
    }

    fn root(&self, code: &str) -> crate::keyfile::RootSecret {
        crate::keyfile::RootSecret::from_seed(&self.federation.root(&code.parse().unwrap(), 0).to_bytes())
    }

    fn key_set(&self) -> Envelope {
        let entry = self.draft.charter().member(&self.newcomer).unwrap();
        let node = node_key(&self.federation.node(&self.newcomer, 0));
        let set = first_key_set(entry, self.draft.id(), node, FOUNDED);
        sign_key_set(&set, self.draft.federation(), &self.root("KE")).unwrap()
    }

    fn copies(&self) -> [Proposal; 3] {
        [
            self.draft.signed_by(&self.root("BR"), None).unwrap(),
            self.draft.signed_by(&self.root("SG"), None).unwrap(),
            self.draft.signed_by(&self.root("KE"), Some(self.key_set())).unwrap(),
        ]
    }
}

fn bytes(proposal: &Proposal) -> Vec<u8> {
    dearmor(&proposal.to_text(Label::SignedCharter, &[]).unwrap()).unwrap().1
}

fn parse(bytes: &[u8]) -> Result<Proposal, Fault> {
    Proposal::check(decode(bytes, CEREMONY_BYTES_MAX)?)
}

#[test]
fn copies_are_gathered_in_any_order_into_one_complete_version() {
    let world = World::new();
    let gathered = |order: [usize; 4]| {
        let copies = world.copies();
        let mut whole = copies[order[0]].clone();
        for at in &order[1..] {
            whole.merge(copies[*at].clone()).unwrap();
        }
        whole
    };
    let whole = gathered([0, 1, 2, 0]);
    assert!(whole.wanted().is_complete() && whole.without_key_set().next().is_none());
    assert_eq!(whole.accepted().unwrap().charter_tips(), [whole.id()]);
    assert_eq!(bytes(&whole), bytes(&gathered([2, 2, 1, 0])));
    assert_eq!(whole.hints().len(), 1);
    // Two are one too few: of the stewards, or without the newcomer itself.
    for pair in [[0, 2], [0, 1], [1, 2]] {
        let copies = world.copies();
        let mut some = copies[pair[0]].clone();
        some.merge(copies[pair[1]].clone()).unwrap();
        assert!(!some.wanted().is_complete());
        assert!(some.accepted().unwrap_err().starts_with("rule CH-1"));
    }
}

#[test]
fn no_flipped_byte_of_a_complete_version_says_anything_else() {
    let world = World::new();
    let [mut whole, second, third] = world.copies();
    whole.merge(second).unwrap();
    whole.merge(third).unwrap();
    let good = bytes(&whole);
    assert_eq!(parse(&good).unwrap().id(), whole.id());
    for index in 0..good.len() {
        let mut flipped = good.clone();
        flipped[index] ^= 1;
        // A signature of another algorithm is carried along and does not count; a hint is no evidence.
        if let Ok(accepted) = parse(&flipped) {
            assert_eq!(
                (accepted.id(), accepted.federation()),
                (whole.id(), whole.federation()),
                "byte {index}"
            );
            let fewer = !accepted.wanted().is_complete()
                || accepted.wanted().before.got() < whole.wanted().before.got()
                || accepted.key_sets().len() < whole.key_sets().len();
            assert!(fewer, "byte {index}");
        }
    }
}

#[test]
fn what_does_not_belong_to_a_proposal_is_refused() {
    let world = World::new();
    let content = || -> Content { decode(&bytes(&world.draft), CEREMONY_BYTES_MAX).unwrap() };
    let refused = |change: &dyn Fn(&mut Content)| {
        let mut content = content();
        change(&mut content);
        Proposal::check(content).unwrap_err()
    };
    let requests = content().requests;
    assert_eq!(refused(&|it| it.requests.clear()), Fault::Unmatched(world.newcomer.clone()));
    assert_eq!(refused(&|it| it.requests.extend(requests.clone())), Fault::Twice(world.newcomer.clone()));
    assert_eq!(refused(&|it| it.versions.clear()), Fault::Versions);
    assert_eq!(refused(&|it| it.versions.extend(it.versions.clone())), Fault::Versions);
    // A key set that lists another node, or somebody who is no newcomer.
    let other = {
        let entry = world.draft.charter().member(&world.newcomer).unwrap();
        let set =
            first_key_set(entry, world.draft.id(), node_key(&world.federation.node(&entry.code, 7)), FOUNDED);
        sign_key_set(&set, world.draft.federation(), &world.root("KE")).unwrap()
    };
    assert_eq!(refused(&|it| it.key_sets.push(other.clone())), Fault::KeySet(world.newcomer.clone()));
    let old = world.federation.unit("FR").key_set.envelope().as_ref().clone();
    assert!(matches!(refused(&|it| it.key_sets.push(old.clone())), Fault::KeySet(_) | Fault::Rule { .. }));
    let stranger = crate::keyfile::RootSecret::from_seed(&[8; 32]);
    assert_eq!(world.draft.signed_by(&stranger, None).unwrap_err(), Fault::Stranger);
    // A version that skips one, and one that the rules reject.
    let mut charter = world.draft.charter().clone();
    charter.version = refpoint_protocol::ids::CharterVersion(3);
    let skipping = refpoint_protocol::document::sign(&charter, Some(world.draft.federation()), &[]).unwrap();
    let fault = refused(&|it| it.charter = skipping.clone());
    assert!(fault.to_string().contains("CH-12"), "{fault}");
    let mut charter = world.draft.charter().clone();
    charter.threshold = 3;
    let unbounded = encode(&charter).unwrap();
    let fault = refused(&|it| it.charter.payload.clone_from(&unbounded));
    assert!(fault.to_string().contains("CH-09"), "{fault}");
    // Another founding: the history does not lead to it.
    let elsewhere = Federation::new(6, &["BR", "FR", "SG"], 1).founding.envelope().as_ref().clone();
    assert_eq!(refused(&|it| it.versions = vec![elsewhere.clone()]), Fault::Versions);
}
