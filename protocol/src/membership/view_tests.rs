//! What the evidence means: forks of the charter folded, key sets in dispute, and late truth about keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{sync::Arc, time::Duration};

use ed25519_dalek::SigningKey;

use super::{
    Acceptance, KeyState, LineGeneration, RejectedSigner, SignerStanding, Trust, UnprovenSigner,
    charter::{Charter, MemberStatus},
    key_set::{KeySet, NodeState},
};
use crate::{
    document::Verified,
    ids::{Epoch, Generation, Incarnation, KeySetId, MemberCode, NodeKey},
    testing::{self, FOUNDED, Federation, entry, node_key, root_key},
    time::Timestamp,
};

/// The first three are the stewards, two of whom must sign.
const CODES: [&str; 5] = ["BR", "FR", "JO", "KE", "SG"];

#[test]
fn a_founded_federation_has_active_nodes() {
    let federation = Federation::new(1, &CODES, 2);
    let view = federation.trust().membership();
    assert_eq!(view.members().count(), 5);
    assert_eq!((view.stewards().len(), view.threshold()), (3, 2));
    for unit in &federation.units {
        let keys = unit.nodes.iter().map(node_key).collect::<Vec<_>>();
        assert_eq!(view.active_nodes(&unit.code), keys);
        assert_eq!(view.ending_proof(&keys[0]), None);
        let member = view.member(&unit.code).unwrap();
        assert_eq!((member.epoch, member.is_disputed()), (Some(Epoch(0)), false));
    }
}

#[test]
fn of_several_charter_tips_removals_count_and_admissions_wait() {
    let federation = Federation::new(1, &CODES, 1);
    let newcomer: MemberCode = "TN".parse().unwrap();
    let unit = federation.new_unit(&newcomer, 1);
    let suspends = amend(&federation, &federation.founding, |c| {
        c.members[3].status = MemberStatus::Suspended;
    });
    // Taken back on the same branch: it was suspended after the tips parted, and so it is.
    let relents = amend(&federation, &suspends, |c| c.members[3].status = MemberStatus::Active);
    let admits = |c: &mut Charter| c.members.push(federation.first_entry(&newcomer));
    let roots = [&federation.unit("FR").root, &federation.unit("JO").root, &unit.root];
    let other = federation.successor(&[&federation.founding], admits, &roots);
    let set = federation.first_key_set(&other, &newcomer, &unit.root, &unit.nodes);
    let mut trust = federation.trust();
    for version in [&suspends, &relents, &other] {
        assert_eq!(trust.accept_charter(Arc::clone(version)), Ok(Acceptance::New));
    }
    assert_eq!(trust.accept_key_set(set), Ok(Acceptance::New));
    let view = trust.membership();
    assert!(view.is_disputed());
    assert_eq!(view.base(), Some(federation.founding.id().into()));
    assert_eq!(view.tips().len(), 2);
    let ke = view.member(&"KE".parse().unwrap()).unwrap();
    assert_eq!((ke.status, ke.ended_by.as_slice()), (MemberStatus::Suspended, &[suspends.id().into()][..]));
    assert_eq!(view.member(&newcomer), None);
    assert_eq!(view.node(&node_key(&unit.nodes[0])).unwrap().state, KeyState::AwaitingAdmission);
    assert!(view.is_active_node(&node_key(&federation.unit("SG").nodes[0])));

    let merged = federation.successor(
        &[&other, &relents],
        |_| {},
        &[&federation.unit("FR").root, &federation.unit("BR").root],
    );
    assert_eq!(trust.accept_charter(merged), Ok(Acceptance::New));
    let view = trust.membership();
    assert!(!view.is_disputed());
    assert!(view.is_active_node(&node_key(&unit.nodes[0])));
    assert!(view.is_active_node(&node_key(&federation.unit("KE").nodes[0])));
}

#[test]
fn a_member_whose_root_differs_between_tips_has_no_valid_key() {
    let federation = Federation::new(1, &CODES, 1);
    let ke = federation.unit("KE");
    let replaced = replace_root(&federation, 5);
    let other = amend(&federation, &federation.founding, |c| c.members[4].next = testing_hash());
    let mut trust = federation.trust();
    trust.accept_charter(replaced).unwrap();
    trust.accept_charter(other).unwrap();
    let view = trust.membership();
    assert_eq!(view.member(&ke.code).unwrap().root, None);
    let node = node_key(&ke.nodes[0]);
    assert_eq!(view.node(&node).unwrap().state, KeyState::RootDisputed);
    assert_eq!(view.ending_proof(&node).unwrap().len(), 2);
    assert_eq!(
        view.signer_standing(&ke.code, &node, FOUNDED),
        SignerStanding::Unproven(UnprovenSigner::RootDisputed)
    );
}

#[test]
fn where_merges_cross_the_stewards_are_those_that_no_line_avoids() {
    let federation = Federation::new(1, &CODES, 1);
    let change = |index: usize| move |c: &mut Charter| c.members[index].next = testing_hash();
    let [left, right] = [3, 4].map(|index| amend(&federation, &federation.founding, change(index)));
    let roots = [&federation.unit("BR").root, &federation.unit("FR").root];
    let one = federation.successor(&[&left, &right], |_| {}, &roots);
    let two = federation.successor(&[&right, &left], |_| {}, &roots);
    assert_ne!(one.id(), two.id());
    let mut trust = federation.trust();
    for version in [&left, &right, &one, &two] {
        assert_eq!(trust.accept_charter(Arc::clone(version)), Ok(Acceptance::New));
    }
    assert_eq!(trust.membership().base(), Some(federation.founding.id().into()));
}

#[test]
fn suspension_and_withdrawal_end_the_nodes_and_say_by_what() {
    let federation = Federation::new(1, &CODES, 1);
    let ke = federation.unit("KE");
    let node = node_key(&ke.nodes[0]);
    for (status, state, rejected) in [
        (MemberStatus::Suspended, KeyState::MemberSuspended, RejectedSigner::MemberSuspended),
        (MemberStatus::Withdrawn, KeyState::MemberWithdrawn, RejectedSigner::MemberWithdrawn),
    ] {
        let second = amend(&federation, &federation.founding, |c| c.members[3].status = status);
        let third = amend(&federation, &second, |_| {});
        let mut trust = federation.trust();
        trust.accept_charter(Arc::clone(&second)).unwrap();
        trust.accept_charter(third).unwrap();
        let view = trust.membership();
        assert_eq!(view.node(&node).unwrap().state, state);
        assert_eq!(view.ending_proof(&node), Some(vec![second.id()]));
        assert_eq!(view.active_nodes(&ke.code), []);
        let standing = view.signer_standing(&ke.code, &node, FOUNDED);
        assert_eq!(standing, SignerStanding::Rejected(rejected));
    }
}

#[test]
fn a_replaced_root_ends_the_keys_that_it_signed_for() {
    let federation = Federation::new(1, &CODES, 1);
    let ke = federation.unit("KE");
    let node = node_key(&ke.nodes[0]);
    let second = replace_root(&federation, 5);
    let mut trust = federation.trust();
    trust.accept_charter(Arc::clone(&second)).unwrap();
    let view = trust.membership();
    assert_eq!(view.node(&node).unwrap().state, KeyState::RootReplaced);
    assert_eq!(view.ending_proof(&node), Some(vec![second.id()]));
    assert_eq!(view.member(&ke.code).unwrap().key_sets, []);
    let unproven = SignerStanding::Unproven(UnprovenSigner::RootReplaced);
    assert_eq!(view.signer_standing(&ke.code, &node, FOUNDED), unproven);
    // The new root may certify the same node again.
    let root = federation.root(&ke.code, 5);
    trust.accept_key_set(federation.first_key_set(&second, &ke.code, &root, &ke.nodes)).unwrap();
    assert!(trust.membership().is_active_node(&node));
}

/// Two versions that follow one give KE different roots under one incarnation: what the owner of the one signs is no part
/// of the other's line.
#[test]
fn key_sets_of_another_root_touch_nothing_of_a_members_line() {
    let federation = Federation::new(1, &CODES, 1);
    let ke = federation.unit("KE");
    let [here, there] =
        [5, 6].map(|index| (replace_root(&federation, index), federation.root(&ke.code, index)));
    let nodes = [20, 21].map(|index| federation.node(&ke.code, index));
    let first = federation.first_key_set(&here.0, &ke.code, &here.1, &nodes[..1]);
    let merge = federation.successor(
        &[&here.0, &there.0],
        |charter| charter.members[3].incarnation = Incarnation(2),
        &[&federation.unit("BR").root, &federation.unit("FR").root, &here.1, &there.1],
    );
    let mut trust = federation.trust();
    for version in [&here.0, &there.0] {
        trust.accept_charter(Arc::clone(version)).unwrap();
    }
    trust.accept_key_set(Arc::clone(&first)).unwrap();
    let strange = federation.first_key_set(&there.0, &ke.code, &there.1, &nodes[1..]);
    trust.accept_key_set(Arc::clone(&strange)).unwrap();
    for rank in 0..9 {
        let beside = federation.next_key_set(&[&strange], |set| set.nodes[0].rank = 10 + rank, &there.1);
        trust.accept_key_set(beside).unwrap();
    }
    let broken = trust.broken_generations().map(|of| of.root).collect::<Vec<_>>();
    assert_eq!(broken, [root_key(&there.1)], "nine of the one root break that root's generation");
    assert!(!trust.is_lost(first.payload()));
    // A key set of this root is still taken, and what it lists is remembered.
    let next = federation.next_key_set(&[&first], |_| {}, &here.1);
    assert_eq!(trust.accept_key_set(next), Ok(Acceptance::New));
    trust.accept_charter(merge).unwrap();
    let view = trust.membership();
    assert_eq!(view.node_of(&ke.code, &node_key(&nodes[0])).unwrap().state, KeyState::RootReplaced);
}

#[test]
fn an_old_epoch_changes_nothing_when_it_comes_late() {
    let line = Line::new();
    let second = line.next(&[&line.first], |set| set.nodes = vec![line.entry(1)]);
    let third = line.next(&[&second], |set| set.nodes.push(line.entry(2)));
    let mut trust = line.federation.founding_trust();
    trust.accept_key_set(Arc::clone(&third)).unwrap();
    let before = trust.membership();
    for late in [&second, &line.first] {
        assert_eq!(trust.accept_key_set(Arc::clone(late)), Ok(Acceptance::New));
    }
    let after = trust.membership();
    assert_eq!(after.active_nodes(&line.code), before.active_nodes(&line.code));
    assert_eq!(after.member(&line.code).unwrap().key_sets, [third.id().into()]);
    assert_eq!(after.node(&line.node(0)).unwrap().state, KeyState::LeftOut { at: second.payload().issued });
    assert_eq!(after.ending_proof(&line.node(0)), Some(vec![third.id()]));
}

#[test]
fn of_two_key_sets_of_one_epoch_only_what_both_list_alike_is_valid() {
    let line = Line::new();
    let one = line.next(&[&line.first], |set| set.nodes.push(line.entry(1)));
    let two = line.next(&[&line.first], |set| set.nodes.push(line.entry(2)));
    let mut trust = line.trust(&[&one, &two]);
    let view = trust.membership();
    assert!(view.member(&line.code).unwrap().is_disputed());
    assert_eq!(view.active_nodes(&line.code), [line.node(0)]);
    assert_eq!(view.node(&line.node(1)).unwrap().state, KeyState::Disputed);
    assert_eq!(view.ending_proof(&line.node(1)).unwrap().len(), 2);
    let unproven = SignerStanding::Unproven(UnprovenSigner::Disputed);
    assert_eq!(view.signer_standing(&line.code, &line.node(2), FOUNDED), unproven);
    // The next key set names both, and the root's word is the last.
    let next = line.next(&[&one, &two], |_| {});
    assert_eq!(next.payload().epoch, Epoch(2));
    trust.accept_key_set(next).unwrap();
    let view = trust.membership();
    assert!(!view.member(&line.code).unwrap().is_disputed());
    assert!(view.is_active_node(&line.node(2)));
    assert!(matches!(view.node(&line.node(1)).unwrap().state, KeyState::LeftOut { .. }));
}

#[test]
fn nine_key_sets_of_which_none_names_another_break_the_generation_for_good() {
    let line = Line::new();
    let fork = |index| line.next(&[&line.first], |set| set.nodes = vec![line.entry(index)]);
    let forks = (1..=9).map(fork).collect::<Vec<_>>();
    let heir = line.next(&forks.iter().collect::<Vec<_>>(), |_| {});
    let mut trust = line.trust(&forks.iter().take(8).collect::<Vec<_>>());
    assert_eq!(trust.broken_generations().count(), 0);
    assert!(trust.membership().member(&line.code).unwrap().is_disputed());
    // Whether what ends the dispute comes before or after the ninth.
    let mut other = trust.clone();
    assert_eq!(trust.accept_key_set(Arc::clone(&heir)), Ok(Acceptance::New));
    assert_eq!(trust.accept_key_set(Arc::clone(&forks[8])), Ok(Acceptance::New));
    assert_eq!(other.accept_key_set(Arc::clone(&forks[8])), Ok(Acceptance::New));
    assert_eq!(other.accept_key_set(Arc::clone(&heir)), Ok(Acceptance::Surplus));
    let broken = line.generation();
    for trust in [&trust, &other] {
        assert_eq!(trust.broken_generations().collect::<Vec<_>>(), [&broken]);
        let view = trust.membership();
        assert!(view.member(&line.code).unwrap().broken);
        assert_eq!(view.active_nodes(&line.code), []);
        let rejected = SignerStanding::Rejected(RejectedSigner::Broken);
        assert_eq!(view.signer_standing(&line.code, &line.node(1), FOUNDED), rejected);
    }
    assert_eq!(trust.membership(), other.membership());
    // The proof alone breaks it elsewhere too.
    let proof = other.generation_key_sets(&broken);
    let elsewhere = line.trust(&proof.iter().collect::<Vec<_>>());
    assert_eq!(elsewhere.membership(), other.membership());
}

#[test]
fn nine_on_different_epochs_break_it_too() {
    // A long line, from each of whose first nine sets a side branch leaves.
    let line = Line::new();
    let mut main = vec![Arc::clone(&line.first)];
    let mut sides = Vec::new();
    for index in 0..9 {
        let last = Arc::clone(main.last().unwrap());
        sides.push(line.next(&[&last], |set| set.nodes = vec![line.entry(20 + index)]));
        main.push(line.next(&[&last], |_| {}));
    }
    let all = main.iter().chain(sides.iter().take(7)).collect::<Vec<_>>();
    assert_eq!(line.trust(&all).broken_generations().count(), 0);
    let all = main.iter().chain(&sides).collect::<Vec<_>>();
    assert_eq!(line.trust(&all).broken_generations().count(), 1);
}

#[test]
fn key_sets_that_contradict_each_other_break_the_generation() {
    let line = Line::new();
    let second = line.next(&[&line.first], |_| {});
    let forgets = line.next(&[&second], |set| {
        let lost = set.ancestors.iter().position(|id| *id == line.first.id().into()).unwrap();
        set.ancestors[lost] = KeySetId::from_bytes([0xFF; 32]);
        set.ancestors.sort_unstable();
    });
    let stays = line.next(&[&second], |set| set.epoch = Epoch(1));
    for bad in [&forgets, &stays] {
        for order in [[&second, bad], [bad, &second]] {
            let trust = line.trust(&order);
            assert_eq!(trust.broken_generations().count(), 1);
        }
    }
}

#[test]
fn late_truth_about_keys_counts_from_when_they_ended() {
    let line = Line::new();
    let at = FOUNDED.after(Duration::from_secs(100));
    let next = line.next(&[&line.first], |set| {
        set.nodes = vec![line.entry(0), line.entry(1), line.entry(2)];
        set.nodes[0].state = NodeState::Retired;
        set.nodes[0].since = Some(at);
        set.nodes[1].state = NodeState::Compromised;
        set.nodes[1].since = Some(at);
    });
    let last = line.next(&[&next], |set| set.nodes.retain(|node| node.key != line.node(2)));
    let trust = line.trust(&[&next, &last]);
    let view = trust.membership();
    let standing = |index, created: Timestamp| view.signer_standing(&line.code, &line.node(index), created);
    let before = at.before(Duration::from_millis(1));
    let late = |at| SignerStanding::Rejected(RejectedSigner::AfterRetirement { at });
    assert_eq!(standing(0, before), SignerStanding::Accepted);
    assert_eq!(standing(0, at), late(at));
    let unproven = SignerStanding::Unproven(UnprovenSigner::Compromised { since: at });
    assert_eq!((standing(1, FOUNDED), standing(1, at)), (unproven, unproven));
    let issued = last.payload().issued;
    assert_eq!(standing(2, issued.before(Duration::from_millis(1))), SignerStanding::Accepted);
    assert_eq!(standing(2, issued), late(issued));
    assert_eq!(standing(9, FOUNDED), SignerStanding::Unknown);
    assert_eq!(view.ending_proof(&line.node(1)), Some(vec![last.id()]));
}

#[test]
fn leaving_out_a_stolen_or_retired_key_does_not_bring_it_back() {
    let line = Line::new();
    let at = FOUNDED.after(Duration::from_secs(60));
    for (state, late) in [
        (NodeState::Compromised, SignerStanding::Unproven(UnprovenSigner::Compromised { since: at })),
        (NodeState::Retired, SignerStanding::Rejected(RejectedSigner::AfterRetirement { at })),
    ] {
        let ended = line.next(&[&line.first], |set| {
            set.nodes = vec![line.entry(0), line.entry(1)];
            set.nodes[0].state = state;
            set.nodes[0].since = Some(at);
        });
        let silent =
            line.next(&[&line.first, &ended], |set| set.nodes.retain(|node| node.key != line.node(0)));
        let view = line.trust(&[&ended, &silent]).membership();
        assert_eq!(view.signer_standing(&line.code, &line.node(0), at.after(Duration::from_secs(1))), late);
        assert!(!view.is_active_node(&line.node(0)));
    }
}

#[test]
fn a_claim_to_anothers_node_key_touches_nobody() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, ke] = ["BR", "KE"].map(|code| federation.unit(code));
    let node = node_key(&ke.nodes[0]);
    let steals =
        federation.next_key_set(&[&br.key_set], |set| set.nodes = vec![entry(0, &ke.nodes[0])], &br.root);
    let mut trust = federation.trust();
    trust.accept_key_set(steals).unwrap();
    let view = trust.membership();
    assert_eq!(view.active_nodes(&ke.code), [node]);
    assert!(view.node_of(&ke.code, &node).unwrap().is_active());
    assert_eq!(view.signer_standing(&ke.code, &node, FOUNDED), SignerStanding::Accepted);
}

#[test]
fn without_the_founding_nobody_is_a_member() {
    let federation = Federation::new(1, &CODES, 1);
    let view = Trust::new(federation.id).membership();
    assert_eq!((view.members().count(), view.base(), view.threshold()), (0, None, 0));
}

/// One member's key sets.
struct Line {
    federation: Federation,
    code: MemberCode,
    root: SigningKey,
    first: Arc<Verified<KeySet>>,
}

impl Line {
    fn new() -> Self {
        let federation = Federation::new(1, &CODES, 1);
        let unit = federation.unit("KE").clone();
        Self { federation, code: unit.code, root: unit.root, first: unit.key_set }
    }

    fn next(
        &self,
        earlier: &[&Arc<Verified<KeySet>>],
        change: impl FnOnce(&mut KeySet),
    ) -> Arc<Verified<KeySet>> {
        self.federation.next_key_set(earlier, change, &self.root)
    }

    /// The evidence of the first key set and these.
    fn trust(&self, sets: &[&Arc<Verified<KeySet>>]) -> Trust {
        let mut trust = self.federation.trust();
        for set in sets {
            trust.accept_key_set(Arc::clone(set)).unwrap();
        }
        trust
    }

    fn generation(&self) -> LineGeneration {
        let (member, root) = (self.code.clone(), root_key(&self.root));
        LineGeneration { member, incarnation: Incarnation(0), root, generation: Generation(0) }
    }

    fn node(&self, index: u64) -> NodeKey {
        node_key(&self.federation.node(&self.code, index))
    }

    fn entry(&self, index: u64) -> super::key_set::NodeEntry {
        entry(index, &self.federation.node(&self.code, index))
    }
}

/// A version signed by two stewards.
fn amend(
    federation: &Federation,
    parent: &Arc<Verified<Charter>>,
    change: impl FnOnce(&mut Charter),
) -> Arc<Verified<Charter>> {
    let roots = [&federation.unit("BR").root, &federation.unit("FR").root];
    federation.successor(&[parent], change, &roots)
}

/// A version that gives KE another root.
fn replace_root(federation: &Federation, index: u64) -> Arc<Verified<Charter>> {
    let ke = federation.unit("KE");
    let root = federation.root(&ke.code, index);
    let change = |c: &mut Charter| {
        (c.members[3].root, c.members[3].incarnation) = (root_key(&root), Incarnation(1));
    };
    let roots = [&federation.unit("BR").root, &federation.unit("FR").root, &root];
    federation.successor(&[&federation.founding], change, &roots)
}

fn testing_hash() -> crate::ids::ContentHash {
    crate::ids::ContentHash::from_bytes(testing::key(1, "hash", 0).to_bytes())
}
