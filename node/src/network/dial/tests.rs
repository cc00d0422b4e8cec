//! The dialling rules, with a clock and draws of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

const HALF: u64 = u64::MAX / 2;

fn node(byte: u8) -> NodeKey {
    NodeKey::from_bytes([byte; 32])
}

fn at(port: u64) -> Address {
    Address::memory(port)
}

fn target(byte: u8, ports: &[u64]) -> Target {
    Target {
        node: node(byte),
        member: MemberCode::new("KE").unwrap(),
        group: Some(WorkingGroup::Africa),
        addresses: ports.iter().map(|port| at(*port)).collect(),
    }
}

fn dialler(me: u8) -> Dialler {
    Dialler::new(node(me), DialLimits::default(), true)
}

#[test]
fn the_lower_node_dials_at_once_and_the_higher_after_a_while() {
    let now = Instant::now();
    let mut lower = dialler(1);
    lower.aim(&[target(2, &[1])], &[], now, || HALF);
    assert_eq!(lower.next(now).unwrap().node, Some(node(2)));

    let mut higher = dialler(3);
    higher.aim(&[target(2, &[1])], &[], now, || HALF);
    assert_eq!(higher.next(now), None);
    let due = higher.next_wakeup().unwrap();
    let limits = DialLimits::default();
    assert!(due >= now + limits.yield_min && due <= now + limits.yield_max);
    assert!(higher.next(due).is_some());
}

#[test]
fn the_higher_node_stays_quiet_once_the_lower_has_come() {
    let now = Instant::now();
    let mut higher = dialler(3);
    higher.aim(&[target(2, &[1])], &[], now, || HALF);
    higher.on_connected(node(2), now);
    assert_eq!(higher.next_wakeup(), None);
    assert_eq!(higher.next(now + Duration::from_secs(3_600)), None);
}

#[test]
fn a_node_that_only_dials_out_waits_for_nobody() {
    let now = Instant::now();
    let mut higher = Dialler::new(node(3), DialLimits::default(), false);
    higher.aim(&[target(2, &[1])], &[], now, || HALF);
    assert!(higher.next(now).is_some());
}

#[test]
fn addresses_are_tried_in_turn_and_then_comes_a_pause_that_doubles() {
    let mut now = Instant::now();
    let mut dialler = dialler(1);
    dialler.aim(&[target(2, &[1, 2])], &[], now, || HALF);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        for port in [1, 2] {
            let dial = dialler.next(now).unwrap();
            assert_eq!(dial.address, at(port));
            assert_eq!(dialler.next(now), None, "one dial a node at once");
            dialler.on_failed(dial.attempt, "refused", now, u64::MAX);
        }
        assert_eq!(dialler.next(now), None);
        let due = dialler.next_wakeup().unwrap();
        pauses.push(due - now);
        now = due;
    }
    let seconds: Vec<u64> = pauses.iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    assert_eq!(dialler.outlook(node(2)).1, Some("memory:2: refused"));
}

#[test]
fn the_pause_is_drawn_evenly_below_its_bound() {
    let now = Instant::now();
    for (draw, millis) in [(0, 0), (HALF, 500), (u64::MAX, 1_000)] {
        let mut dialler = dialler(1);
        dialler.aim(&[target(2, &[1])], &[], now, || HALF);
        let dial = dialler.next(now).unwrap();
        dialler.on_failed(dial.attempt, "refused", now, draw);
        assert_eq!(dialler.next_wakeup().unwrap() - now, Duration::from_millis(millis));
    }
}

#[test]
fn a_connection_that_lasted_makes_the_next_pause_short_again() {
    let mut now = Instant::now();
    let mut dialler = dialler(1);
    dialler.aim(&[target(2, &[1])], &[], now, || HALF);
    for _ in 0..6 {
        let dial = dialler.next(now).unwrap();
        dialler.on_failed(dial.attempt, "refused", now, u64::MAX);
        now = dialler.next_wakeup().unwrap();
    }
    let dial = dialler.next(now).unwrap();
    dialler.on_reached(dial.attempt, node(2), now, HALF);
    dialler.on_connected(node(2), now);
    assert_eq!(dialler.next_wakeup(), None);

    // A connection that falls at once is one more failure.
    dialler.on_disconnected(node(2), "reset", now, u64::MAX);
    assert_eq!(dialler.next_wakeup().unwrap() - now, Duration::from_secs(64));

    dialler.on_connected(node(2), now);
    now += Duration::from_secs(61);
    dialler.on_disconnected(node(2), "reset", now, u64::MAX);
    assert_eq!(dialler.next_wakeup().unwrap() - now, Duration::from_secs(1));
}

#[test]
fn dials_at_once_are_capped() {
    let now = Instant::now();
    let mut dialler = dialler(1);
    let targets: Vec<Target> = (2..102).map(|byte| target(byte, &[u64::from(byte)])).collect();
    dialler.aim(&targets, &[], now, || HALF);
    let dials: Vec<Dial> = std::iter::from_fn(|| dialler.next(now)).collect();
    assert_eq!(dials.len(), DialLimits::default().concurrent_max);
    assert_eq!(dialler.next_wakeup(), None, "an outcome comes first");
    dialler.on_failed(dials[0].attempt, "refused", now, HALF);
    assert!(dialler.next(now).is_some());
    assert!(dialler.next(now).is_none());
}

#[test]
fn another_node_at_the_address_is_a_failure_that_names_it() {
    let now = Instant::now();
    let mut dialler = dialler(1);
    dialler.aim(&[target(2, &[1])], &[], now, || HALF);
    let dial = dialler.next(now).unwrap();
    dialler.on_reached(dial.attempt, node(9), now, HALF);
    dialler.on_connected(node(9), now);
    assert!(dialler.outlook(node(2)).1.unwrap().contains("another node (09090909)"));
    assert!(dialler.next_wakeup().is_some());
}

#[test]
fn hints_are_dialled_until_their_node_is_connected_and_again_when_it_is_gone() {
    let now = Instant::now();
    let mut dialler = dialler(1);
    dialler.aim(&[], &[at(5)], now, || HALF);
    let dial = dialler.next(now).unwrap();
    assert_eq!((dial.node, dial.address), (None, at(5)));
    dialler.on_reached(dial.attempt, node(7), now, HALF);
    dialler.on_connected(node(7), now);
    assert_eq!(dialler.next_wakeup(), None);
    dialler.on_disconnected(node(7), "reset", now, HALF);
    assert!(dialler.next_wakeup().is_some());
}

#[test]
fn a_hint_that_a_target_has_is_not_dialled_twice_and_ones_own_address_now_and_then() {
    let now = Instant::now();
    let mut dialler = dialler(1);
    dialler.aim(&[target(2, &[5])], &[at(5), at(6)], now, || HALF);
    let first = dialler.next(now).unwrap();
    let second = dialler.next(now).unwrap();
    assert_eq!(dialler.next(now), None);
    let own = if first.node.is_none() { first } else { second };
    assert_eq!(own.address, at(6));
    dialler.on_self(own.attempt, now);
    let (mut at_once, mut later) = (now, Vec::new());
    for _ in 0..4 {
        assert_eq!(dialler.next(at_once), None);
        let due = dialler.next_wakeup().unwrap();
        later.push(due.duration_since(at_once).as_secs());
        at_once = due;
        let again = dialler.next(due).unwrap();
        assert_eq!((again.node, &again.address), (None, &at(6)));
        dialler.on_self(again.attempt, due);
    }
    assert_eq!(later, [15, 15, 600, 600]);
}

#[test]
fn new_addresses_are_tried_at_once_and_dropped_targets_not_at_all() {
    let now = Instant::now();
    let mut dialler = dialler(1);
    dialler.aim(&[target(2, &[1])], &[], now, || HALF);
    let dial = dialler.next(now).unwrap();
    dialler.on_failed(dial.attempt, "refused", now, u64::MAX);
    assert_eq!(dialler.next(now), None);
    dialler.aim(&[target(2, &[9])], &[], now, || HALF);
    assert_eq!(dialler.next(now).unwrap().address, at(9));
    dialler.aim(&[], &[], now, || HALF);
    assert_eq!(dialler.next_wakeup(), None);
}

#[test]
fn past_the_cap_the_set_is_bounded_spread_over_groups_and_keeps_own_nodes() {
    let groups = [WorkingGroup::Africa, WorkingGroup::Americas, WorkingGroup::Eurasia, WorkingGroup::Mena];
    let mut targets: Vec<Target> = (0..200)
        .map(|byte| Target {
            // Two thirds are Eurasia's.
            group: Some(groups[if byte % 3 == 0 { usize::from(byte) / 3 % 4 } else { 2 }]),
            ..target(byte, &[1])
        })
        .collect();
    targets.push(Target { group: None, ..target(250, &[1]) });
    let chosen = choose(node(255), &targets, 40);
    assert_eq!(chosen.len(), 40);
    assert!(chosen.iter().any(|target| target.node == node(250)));
    for group in groups {
        let count = chosen.iter().filter(|target| target.group == Some(group)).count();
        assert!(count >= 9, "{group:?}: {count}");
    }
    let other = choose(node(254), &targets, 40);
    assert_ne!(chosen, other, "two nodes leave out different sets");
}

#[test]
fn whatever_happens_while_nothing_is_due_is_noticed() {
    let now = Instant::now();
    let mut dialler = dialler(1);
    let quiet = |dialler: &mut Dialler, now| {
        assert_eq!(dialler.next(now), None);
        dialler.next_wakeup()
    };
    assert_eq!(quiet(&mut dialler, now), None);
    dialler.aim(&[target(2, &[1])], &[at(9)], now, || HALF);
    let (node_dial, hint_dial) = (dialler.next(now).unwrap(), dialler.next(now).unwrap());
    assert_eq!(quiet(&mut dialler, now), None, "both are under way");
    dialler.on_failed(node_dial.attempt, "no answer", now, HALF);
    let again = quiet(&mut dialler, now).unwrap();
    assert_eq!(dialler.next(again).unwrap().address, at(1), "a pause ends by itself");
    assert_eq!(quiet(&mut dialler, again), None);
    dialler.on_reached(hint_dial.attempt, node(3), again, HALF);
    dialler.on_connected(node(3), again);
    assert_eq!(quiet(&mut dialler, again), None);
    dialler.on_disconnected(node(3), "cut", again, HALF);
    assert!(quiet(&mut dialler, again).is_some(), "a lost node is looked for");
    dialler.aim(&[target(2, &[1]), target(4, &[4])], &[at(9)], again, || HALF);
    assert_eq!(dialler.next(again).unwrap().address, at(4), "a new target is dialled at once");
}

#[test]
fn nodes_that_start_together_do_not_all_dial_the_same_one_first() {
    let now = Instant::now();
    let targets: Vec<Target> = (2..8).map(|byte| target(byte, &[byte.into()])).collect();
    let first_of = |draws: [u64; 6]| {
        let (mut dialler, mut draws) = (dialler(1), draws.into_iter());
        dialler.aim(&targets, &[], now, || draws.next().unwrap());
        dialler.next(now).unwrap().node
    };
    assert_eq!(first_of([5, 4, 3, 2, 1, 0]), Some(node(7)));
    assert_eq!(first_of([5, 1, 3, 2, 4, 6]), Some(node(3)));
}
