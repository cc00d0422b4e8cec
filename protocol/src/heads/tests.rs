//! The promises of heads: honest nodes never contradict themselves in any order, behind is never different, and a
//! lie at one place is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    directory::view::NodeListing,
    document::{Payload as _, sign},
    ids::{CharterId, ContentHash, HeadId, NodeKey, Sequence, TreeRoot},
    limits::{HEAD_INTERVAL, HEAD_REST_INTERVAL, HEAD_SETTLE, HEAD_SILENCE, HEAD_TIPS_MAX, HEARD_NODES_MAX},
    testing::{FOUNDED, Federation},
    time::Timestamp,
};

const START: Timestamp = FOUNDED;

fn digest(number: u8) -> ContentHash {
    ContentHash::from_bytes([number; 32])
}

fn said(number: u8) -> Said {
    Said { charter: vec![CharterId::from_bytes([1; 32])], digest: digest(number) }
}

fn node(number: u8) -> NodeKey {
    NodeKey::from_bytes([number; 32])
}

/// A name for a head that differs wherever the head does.
fn held(head: Head) -> HeldHead {
    use sha2::{Digest as _, Sha256};
    let id = HeadId::from_bytes(Sha256::digest(crate::document::encode(&head).unwrap()).into());
    HeldHead { id, head }
}

/// A run's heads, one after each of `digests`.
fn run_of(node: NodeKey, run: Timestamp, digests: &[u8]) -> Vec<HeldHead> {
    let mut own = OwnHeads::new("KE".parse().unwrap(), node, run);
    let mut heads = Vec::new();
    let mut now = run;
    for number in digests {
        now = own.look_at().after(HEAD_REST_INTERVAL);
        let head = held(own.due(now, true, &said(*number)).unwrap());
        own.signed(head.clone());
        heads.push(head);
    }
    assert!(now >= run);
    heads
}

#[test]
fn a_head_is_signed_every_five_minutes_while_something_changes_and_hourly_at_rest() {
    let mut own = OwnHeads::new("KE".parse().unwrap(), node(1), START);
    assert_eq!(own.due(START.after(HEAD_SETTLE - Duration::from_millis(1)), true, &said(0)), None);
    let mut signed = Vec::new();
    let mut changes = 0;
    for minute in 1..=240_u64 {
        let now = START.after(Duration::from_secs(60 * minute));
        // The directory changes every minute of the second hour.
        changes += u8::from((61..=120).contains(&minute));
        if let Some(head) = own.due(now, true, &said(changes)) {
            head.check_form().unwrap();
            signed.push(minute);
            own.signed(held(head));
        }
    }
    assert_eq!(signed[..3], [1, 61, 66], "{signed:?}");
    assert!(signed[1..13].windows(2).all(|pair| pair[1] - pair[0] == 5), "{signed:?}");
    assert_eq!(signed[13..], [121, 181], "{signed:?}");
    assert_eq!(own.last().unwrap().head.number, Sequence(signed.len() as u64 - 1));
}

#[test]
fn a_node_that_may_not_sign_says_nothing_and_asks_again_five_minutes_later() {
    let mut own = OwnHeads::new("KE".parse().unwrap(), node(1), START);
    let at = START.after(HEAD_SETTLE);
    assert_eq!(own.due(at, false, &said(0)), None);
    assert_eq!(own.look_at(), at.after(HEAD_INTERVAL));
    assert!(own.due(own.look_at(), true, &said(0)).is_some());
}

#[test]
fn whoever_connects_hears_of_this_node_within_five_minutes() {
    let mut own = OwnHeads::new("KE".parse().unwrap(), node(1), START);
    let first = own.due(own.look_at(), true, &said(0)).unwrap();
    own.signed(held(first));
    own.met();
    let second = own.due(own.look_at(), true, &said(0)).unwrap();
    assert_eq!(second.time.since(START), HEAD_SETTLE + HEAD_INTERVAL);
    own.signed(held(second));
    assert_eq!(own.due(own.look_at(), true, &said(0)), None, "once for all that connected");
}

#[test]
fn a_head_of_wrong_form_or_another_signer_is_refused_by_its_rule() {
    let federation = Federation::new(7, &["BR", "FR", "KE"], 1);
    let key = &federation.unit("KE").nodes[0];
    let own = crate::testing::node_key(key);
    let good = run_of(own, START, &[1, 2])[1].head.clone();
    let verify =
        |head: &Head, key| verify_head(sign(head, Some(federation.id), &[key]).unwrap(), federation.id);
    assert_eq!(verify(&good, key).unwrap().payload(), &good);
    type Change = fn(&mut Head);
    let cases: [(&str, Change); 6] = [
        ("HE-01", |head| head.previous = None),
        ("HE-01", |head| head.number = Sequence(0)),
        ("HE-02", |head| head.charter.clear()),
        ("HE-02", |head| head.charter = vec![head.charter[0]; 2]),
        ("HE-02", |head| {
            head.charter = (0..=HEAD_TIPS_MAX).map(|tip| CharterId::from_bytes([tip as u8; 32])).collect();
        }),
        ("HE-03", |head| head.time = head.run.before(Duration::from_millis(1))),
    ];
    for (rule, change) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(verify(&bad, key).unwrap_err().rule(), rule);
    }
    let other = &federation.unit("FR").nodes[0];
    assert_eq!(verify(&good, other).unwrap_err().rule(), "HE-04");
    let both = sign(&good, Some(federation.id), &[key, other]).unwrap();
    assert_eq!(verify_head(both, federation.id).unwrap_err().rule(), "HE-04");
}

#[test]
fn two_heads_at_one_place_are_found_and_named() {
    let honest = run_of(node(1), START, &[1, 2, 3]);
    let mut other = honest[2].clone();
    other.head.digest = digest(9);
    let other = held(other.head);
    let mut heard = Heard::default();
    for head in &honest {
        assert_eq!(heard.take(START, head.clone()), Taken::New);
    }
    assert_eq!(heard.take(START, honest[2].clone()), Taken::Old);
    assert_eq!(heard.take(START, other.clone()), Taken::Contradicts);
    let proof = heard.of(&node(1)).unwrap().contradiction.clone().unwrap();
    let mut ids = [honest[2].id, other.id];
    ids.sort();
    assert_eq!((proof.number, proof.heads), (Sequence(2), ids));
    // A head that names another one before it is the same.
    let mut heard = Heard::default();
    heard.take(START, honest[0].clone());
    let mut second = honest[1].clone();
    second.head.previous = Some(honest[2].id);
    assert_eq!(heard.take(START, held(second.head)), Taken::Contradicts);
}

fn with_journal(mut held_head: HeldHead, began: u64, size: u64, root: u8) -> HeldHead {
    let began = START.after(Duration::from_secs(began));
    let root = TreeRoot::from_bytes([root; 32]);
    held_head.head.journal = Some(JournalPosition { began, size, root });
    held(held_head.head)
}

#[test]
fn a_journal_that_shrinks_or_changes_contradicts_also_over_a_restart() {
    let [first, later] =
        [START, START.after(Duration::from_secs(900))].map(|run| run_of(node(1), run, &[1]).remove(0));
    let before = with_journal(first, 0, 9, 1);
    for (began, size, root, what) in [
        (0, 9, 1, None),
        (0, 10, 2, None),
        (0, 8, 1, Some(Contradicted::Journal)),
        (0, 9, 2, Some(Contradicted::Journal)),
        // After a restore a new one begins.
        (5, 1, 2, None),
    ] {
        let after = with_journal(later.clone(), began, size, root);
        for order in [[&before, &after], [&after, &before]] {
            let mut heard = Heard::default();
            let taken = order.map(|head| heard.take(START, head.clone()));
            let newest = heard.newest(&node(1)).map(|newest| newest.id);
            assert_eq!(newest, Some(after.id), "the newer run counts in any case");
            if order[0].id == before.id {
                let expected = if what.is_some() { Taken::Contradicts } else { Taken::New };
                assert_eq!(taken, [Taken::New, expected], "{began} {size} {root}");
                assert_eq!(heard.contradiction(&node(1)).map(|it| it.what), what);
            } else {
                assert_eq!(
                    taken,
                    [Taken::New, Taken::Old],
                    "what comes late from an earlier run is passed over"
                );
            }
        }
    }
    // In one run as well, and a head that says nothing of its journal contradicts nothing.
    let silent = run_of(node(1), START, &[1, 2, 3]);
    let mut heard = Heard::default();
    assert_eq!(heard.take(START, silent[0].clone()), Taken::New);
    let mut second = silent[1].head.clone();
    second.previous = Some(silent[0].id);
    let second = with_journal(held(second), 0, 5, 1);
    assert_eq!(heard.take(START, second.clone()), Taken::New);
    let mut third = silent[2].head.clone();
    third.previous = Some(second.id);
    assert_eq!(heard.take(START, with_journal(held(third), 0, 4, 1)), Taken::Contradicts);
}

#[test]
fn a_node_whose_clock_was_set_back_before_a_start_is_heard_once_its_time_has_come_again() {
    let before = run_of(node(1), START.after(Duration::from_secs(600)), &[1, 2]);
    let set_back = run_of(node(1), START, &[3, 4, 5]);
    let [known, far] = [&before[1], set_back.last().unwrap()];
    assert!(set_back[1].head.time < known.head.time && far.head.time > known.head.time);
    let mut heard = Heard::default();
    before.iter().for_each(|head| assert_eq!(heard.take(START, head.clone()), Taken::New));
    let taken: Vec<_> = set_back.iter().map(|head| heard.take(START, head.clone())).collect();
    assert_eq!(taken, [Taken::Old, Taken::Old, Taken::New]);
    // What others repeat of the run before is old from then on.
    assert_eq!(heard.take(START, known.clone()), Taken::Old);
    assert_eq!((heard.newest(&node(1)), heard.contradiction(&node(1))), (Some(far), None));
}

#[test]
fn a_run_of_a_time_that_has_not_come_gives_way_and_proves_nothing() {
    let latest = START.after(Duration::from_secs(600));
    let ahead = run_of(node(1), START.after(Duration::from_secs(36_000)), &[1]).remove(0);
    let ahead = with_journal(ahead, 0, 4, 1);
    let now = with_journal(run_of(node(1), START, &[3]).remove(0), 0, 9, 2);
    let mut heard = Heard::default();
    assert_eq!(heard.take(START, ahead.clone()), Taken::New);
    assert_eq!(heard.take(START, now.clone()), Taken::Old);
    // In its own run the numbers count, whatever the time: a second head at one place is found.
    heard.date_back(&node(1), ahead.head.run, latest);
    let second = held(Head { digest: said(9).digest, ..ahead.head.clone() });
    assert_eq!(heard.clone().take(START, second), Taken::Contradicts);
    // Its journal is shorter than that of a head before it by time: no proof, since that time is false.
    heard.date_back(&node(1), now.head.run, latest);
    assert_eq!(heard.take(START, now.clone()), Taken::New);
    assert_eq!((heard.newest(&node(1)), heard.contradiction(&node(1))), (Some(&now), None));
}

#[test]
fn no_second_head_is_made_while_one_waits_for_its_signature() {
    let mut own = OwnHeads::new("KE".parse().unwrap(), node(1), START);
    let first = own.due(own.look_at(), true, &said(0)).unwrap();
    assert_eq!(own.due(own.look_at(), true, &said(1)), None);
    own.signed(held(first));
    assert_eq!(own.due(own.look_at(), true, &said(1)).unwrap().number, Sequence(1));
}

#[test]
fn nodes_are_bounded_and_those_that_do_not_count_any_more_are_let_go() {
    let mut heard = Heard::default();
    for number in 0..HEARD_NODES_MAX {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let head = run_of(NodeKey::from_bytes(key), START, &[1]).remove(0);
        assert_eq!(heard.take(START, head), Taken::New);
    }
    let late = run_of(node(0xFF), START, &[1]).remove(0);
    assert_eq!(heard.take(START, late.clone()), Taken::Old);
    heard.retain(|_, _| false);
    assert_eq!(heard.take(START, late), Taken::New);
}

fn listing(number: u8) -> NodeListing {
    NodeListing {
        member: "KE".parse().unwrap(),
        node: node(number),
        rank: 0,
        key_sets: Vec::new(),
        node_record: None,
        reference_point: None,
    }
}

fn standing(heard: &Heard, history: &History, now: Timestamp) -> Standing {
    let listings = [listing(1), listing(2)];
    judge(heard, history, listings.iter(), node(2), (START, now)).remove(0).standing
}

#[test]
fn same_behind_unmatched_silent_and_not_heard_each_have_their_beginning() {
    let minutes = |count: u64| START.after(Duration::from_secs(60 * count));
    let (mut heard, mut history) = (Heard::default(), History::default());
    history.note(minutes(0), digest(1));
    assert_eq!(standing(&heard, &history, minutes(5)), Standing::NotHeard { since: START });
    let heads = run_of(node(1), START, &[1, 2, 3]);
    heard.take(minutes(6), heads[0].clone());
    assert_eq!(standing(&heard, &history, minutes(6)), Standing::Same);
    history.note(minutes(8), digest(2));
    history.note(minutes(9), digest(4));
    assert_eq!(standing(&heard, &history, minutes(10)), Standing::Behind { since: minutes(8) });
    heard.take(minutes(11), heads[1].clone());
    assert_eq!(standing(&heard, &history, minutes(11)), Standing::Behind { since: minutes(9) });
    // What this node never held is ahead, or between: not different.
    heard.take(minutes(12), heads[2].clone());
    assert_eq!(standing(&heard, &history, minutes(13)), Standing::Unmatched { since: minutes(12) });
    history.note(minutes(14), digest(3));
    assert_eq!(standing(&heard, &history, minutes(14)), Standing::Same);
    let later = minutes(12).after(HEAD_SILENCE).after(Duration::from_millis(1));
    assert_eq!(standing(&heard, &history, later), Standing::Silent { since: minutes(12) });
}

proptest! {
    /// Restarts, repetition, loss and any order: an honest node is never said to contradict itself, and of what came
    /// the newest counts.
    #[test]
    fn honest_heads_in_any_order_contradict_nothing_and_the_newest_counts(
        runs in prop::collection::vec(prop::collection::vec(0..5_u8, 1..8), 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let heads: Vec<HeldHead> = runs
            .iter()
            .enumerate()
            .flat_map(|(number, digests)| {
                run_of(node(1), START.after(Duration::from_secs(1_000_000 * number as u64)), digests)
            })
            .collect();
        let mut heard = Heard::default();
        let mut newest: Option<&HeldHead> = None;
        for index in &order {
            let head = index.get(&heads);
            prop_assert!(heard.take(START, head.clone()) != Taken::Contradicts);
            let place = |held: &HeldHead| (held.head.run, held.head.number);
            if newest.is_none_or(|newest| place(newest) < place(head)) {
                newest = Some(head);
            }
        }
        let of = heard.of(&node(1));
        prop_assert_eq!(of.and_then(heard::OfNode::newest), newest);
        prop_assert!(of.is_none_or(|of| of.contradiction.is_none()));
    }

    /// A node that takes the same steps later is the same or behind, and never anything else.
    #[test]
    fn whoever_follows_on_the_same_way_is_the_same_or_behind(
        steps in prop::collection::vec(0..4_u8, 1..30),
        at in any::<prop::sample::Index>(),
    ) {
        let mut history = History::default();
        for (minute, step) in steps.iter().enumerate() {
            history.note(START.after(Duration::from_secs(60 * minute as u64)), digest(*step));
        }
        let step = *at.get(&steps);
        let mut heard = Heard::default();
        heard.take(START, run_of(node(1), START, &[step]).remove(0));
        let found = standing(&heard, &history, START.after(Duration::from_secs(3_600)));
        if steps.last() == Some(&step) {
            prop_assert_eq!(found, Standing::Same);
        } else {
            prop_assert!(matches!(found, Standing::Behind { .. }), "{:?}", found);
        }
    }
}
