//! Heads between nodes: who holds the same, who is behind, who is silent, and what is ignored.

use std::time::Duration;

use refpoint_protocol::{
    document::sign,
    evidence::AnyDocument,
    heads::{Head, Standing, verify_head},
    ids::{ContentHash, HeadId, Sequence},
    limits::{CLOCK_WITNESS_AGE, HALVES_TOLD_AFTER, HEAD_INTERVAL, HEAD_PASSED_BY_ALL_MAX, HEAD_SILENCE},
    machine::{Batch, Carriage, Command, Effect, Event, Input, NumberedEvent, PushToken, Verdict},
    testing::{FOUNDED, chains, node_key},
};

use super::world::World;

/// How `of` stands to `at`.
fn standing(world: &World, at: usize, of: usize) -> Standing {
    let view = world.machine(at).heads(world.now).unwrap();
    view.nodes.into_iter().find(|node| node.node == world.key(of)).unwrap().standing
}

#[test]
fn heads_say_who_holds_the_same_who_is_behind_and_since_when_and_who_is_silent() {
    let mut world = World::new(130, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(10));
    assert!(matches!(standing(&world, 0, 1), Standing::NotHeard { .. }), "nobody has signed yet");
    // The first head, and the one after the last change.
    world.run_for(HEAD_INTERVAL * 3);
    for (at, of) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        assert_eq!(standing(&world, at, of), Standing::Same, "{at} {of}");
    }

    world.cut(2);
    world.run_for(Duration::from_secs(5));
    let before = world.now;
    world.command(0, Command::Publish(Box::new(chains::reference_point(7)))).unwrap();
    world.run_for(HEAD_INTERVAL * 2);
    assert_eq!(standing(&world, 0, 1), Standing::Same);
    for at in [0, 1] {
        let Standing::Behind { since } = standing(&world, at, 2) else {
            panic!("{:?}", standing(&world, at, 2))
        };
        assert!(since >= before && since <= before.after(HEAD_INTERVAL), "{since} after {before}");
    }
    world.run_for(HEAD_SILENCE);
    assert!(matches!(standing(&world, 0, 2), Standing::Silent { since } if since < before));

    world.connect(0, 2);
    world.connect(1, 2);
    world.run_for(HEAD_INTERVAL * 3);
    for (at, of) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
        assert_eq!(standing(&world, at, of), Standing::Same, "{at} {of}");
    }
    let heads: Vec<_> = (0..3).map(|at| world.machine(at).heads(world.now).unwrap().digest).collect();
    assert!(heads.iter().all(|digest| *digest == heads[0]));
}

#[test]
fn a_restart_begins_a_new_run_and_contradicts_nothing() {
    let mut world = World::new(131, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(HEAD_INTERVAL * 2);
    world.restart(1);
    world.connect_all();
    world.run_for(HEAD_INTERVAL * 3);
    let view = world.machine(0).heads(world.now).unwrap();
    let restarted = view.nodes.into_iter().find(|node| node.node == world.key(1)).unwrap();
    assert_eq!(restarted.standing, Standing::Same);
    assert!(
        restarted.head.unwrap().head.run > world.machine(0).heads(world.now).unwrap().own.unwrap().head.run
    );
}

#[test]
fn a_node_that_came_back_before_it_was_missed_hears_of_everybody() {
    let mut world = World::new(133, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(HEAD_INTERVAL * 2);
    assert!(matches!(standing(&world, 0, 1), Standing::Same));
    let number = |world: &World| world.machine(0).heads(world.now).unwrap().own.unwrap().head.number;
    let before = number(&world);
    // Its old connection is still up here when the new one comes: nothing was lost that anybody saw.
    world.hear(0, 1, world.now);
    world.run_for(HEAD_INTERVAL * 2);
    assert_eq!(number(&world), before.next().unwrap());
}

#[test]
fn a_head_from_the_future_keeps_its_node_unheard_no_longer_than_the_clock_is_wrong() {
    let mut world = World::new(134, &["BR", "FR", "KE"]);
    let federation = world.machine(0).evidence().federation();
    let (member, node, key) = (world.member(1), world.key(1), world.signing(1).clone());
    let ahead = |world: &World, run: u64| Head {
        member: member.clone(),
        node,
        run: world.now.after(Duration::from_secs(36_000 + run)),
        number: Sequence(0),
        previous: None,
        time: world.now.after(Duration::from_secs(36_000 + run)),
        charter: world.machine(0).evidence().trust().charter_tips().to_vec(),
        digest: ContentHash::from_bytes([9; 32]),
        journal: None,
    };
    let judged = |world: &mut World, head: Head| {
        let head = verify_head(sign(&head, Some(federation), &[&key]).unwrap(), federation);
        let (now, input) = (world.now, Input::head(node, PushToken(1 << 40), head));
        let effects = world.machine_mut(0).handle(now, input);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Judge { verdict, .. } => Some(verdict),
            _ => None,
        })
    };
    world.connect_all();
    world.run_for(HEAD_INTERVAL);
    world.cut(0);
    world.run_for(CLOCK_WITNESS_AGE + Duration::from_secs(1));
    // Nobody has told node 0 lately that its own clock is right.
    let first = ahead(&world, 0);
    assert_eq!(judged(&mut world, first), Some(Verdict::Accept));
    world.connect_all();
    world.run_for(HEAD_INTERVAL * 3);
    assert_eq!(standing(&world, 0, 1), Standing::Same);
    let second = ahead(&world, 1);
    assert_eq!(judged(&mut world, second), Some(Verdict::Ignore));
    assert_eq!(standing(&world, 0, 1), Standing::Same);
}

#[test]
fn heads_of_those_that_do_not_count_are_ignored() {
    let mut world = World::new(132, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(60));
    let stranger = refpoint_protocol::testing::Federation::new(9, &["BR", "FR", "KE"], 1);
    let federation = world.machine(0).evidence().federation();
    let own = world.machine(0).heads(world.now).unwrap().own.unwrap().head;
    let told = std::cell::Cell::new(0);
    let judged = |world: &mut World, head: &Head, key| {
        let head = verify_head(sign(head, Some(federation), &[key]).unwrap(), federation);
        let (now, from) = (world.now, world.key(1));
        let effects = world.machine_mut(0).handle(now, Input::head(from, PushToken(1 << 40), head));
        let is_told = |effect: &&Effect| {
            matches!(effect, Effect::Emit(NumberedEvent { event: Event::HeadsContradict { .. }, .. }))
        };
        told.set(told.get() + effects.iter().filter(is_told).count());
        effects.into_iter().find_map(|effect| match effect {
            Effect::Judge { verdict, .. } => Some(verdict),
            _ => None,
        })
    };
    // A key that no key set lists, and one that is another member's.
    let key = &stranger.unit("FR").nodes[0];
    let forged = Head { node: node_key(key), member: "FR".parse().unwrap(), ..own };
    assert_eq!(judged(&mut world, &forged, key), Some(Verdict::Ignore));
    let key = world.signing(1).clone();
    let good = Head {
        node: node_key(&key),
        number: Sequence(1_000),
        previous: Some(HeadId::from_bytes([1; 32])),
        time: world.now,
        ..forged
    };
    let elsewhere = Head { member: "KE".parse().unwrap(), ..good.clone() };
    assert_eq!(judged(&mut world, &elsewhere, &key), Some(Verdict::Ignore));
    assert_eq!(judged(&mut world, &good, &key), Some(Verdict::Accept));
    assert_eq!(judged(&mut world, &good, &key), Some(Verdict::Ignore), "known");
    let other = Head { digest: ContentHash::from_bytes([9; 32]), ..good.clone() };
    assert_eq!(judged(&mut world, &other, &key), Some(Verdict::Accept), "the proof is passed on");
    assert!(matches!(standing(&world, 0, 1), Standing::Contradicts { .. }));
    assert_eq!(told.get(), 1, "people are told");
    assert_eq!(judged(&mut world, &good, &key), Some(Verdict::Accept), "half of the proof, told by another");
    // What anybody hands on again uses up none of its node's allowance.
    for _ in 0..20 {
        assert_eq!(judged(&mut world, &good, &key), Some(Verdict::Ignore));
    }
    // Past its allowance nothing of it is passed on, and nobody is penalised.
    let verdicts: Vec<_> = (1_002..1_018)
        .step_by(2)
        .map(|number| judged(&mut world, &Head { number: Sequence(number), ..good.clone() }, &key))
        .collect();
    // Its own first head and the first one here were of its five.
    assert_eq!(verdicts[..3], [Some(Verdict::Accept); 3]);
    assert_eq!(verdicts[3..], [Some(Verdict::Ignore); 5]);
    assert_eq!(told.get(), 1, "once");
}

#[test]
fn a_head_of_one_whom_all_can_dial_is_passed_on_by_half_of_many() {
    let codes: Vec<_> = ('A'..='S').map(|letter| format!("{letter}A")).collect();
    let codes: Vec<_> = codes.iter().map(String::as_str).collect();
    let mut world = World::new(136, &codes);
    let unheard_of = codes.len() - 1;
    for other in 1..unheard_of {
        world.connect(0, other);
    }
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.machine(0).connected().len(), HEAD_PASSED_BY_ALL_MAX + 1);
    // Its key is known, and no record that would say where it can be dialled.
    let key_set = AnyDocument::KeySet(world.key_set(unheard_of));
    let batch =
        Batch { from: None, documents: vec![Ok(key_set)], bodies: Vec::new(), carriage: Carriage::Hand };
    world.command(0, Command::Import(batch)).unwrap();

    let federation = world.machine(0).evidence().federation();
    let own = world.machine(0).heads(world.now).unwrap().own.unwrap().head;
    let head_of = |world: &World, at: usize, number: u64, digest: u8| {
        let (member, node, digest) = (world.member(at), world.key(at), ContentHash::from_bytes([digest; 32]));
        let previous = Some(HeadId::from_bytes([1; 32]));
        let (run, time) = (FOUNDED.after(Duration::from_secs(3_600)), world.now);
        let head =
            Head { member, node, run, number: Sequence(number), previous, time, digest, ..own.clone() };
        verify_head(sign(&head, Some(federation), &[world.signing(at)]).unwrap(), federation).unwrap()
    };
    let judged = |world: &mut World, head| {
        let (now, from) = (world.now, world.key(1));
        let effects = world.machine_mut(0).handle(now, Input::head(from, PushToken(1 << 40), Ok(head)));
        effects.into_iter().find_map(|effect| match effect {
            Effect::Judge { verdict, .. } => Some(verdict),
            _ => None,
        })
    };
    let verdicts = |world: &mut World, at: usize| {
        let one = |number| {
            world.run_for(Duration::from_secs(60));
            let head = head_of(world, at, number, 1);
            judged(world, head).unwrap()
        };
        // None follows another, so that none contradicts another.
        (1_000..1_032).step_by(2).map(one).collect::<Vec<_>>()
    };
    let of_dialable = verdicts(&mut world, 1);
    let accepted = of_dialable.iter().filter(|verdict| **verdict == Verdict::Accept).count();
    let ignored = of_dialable.iter().filter(|verdict| **verdict == Verdict::Ignore).count();
    assert_eq!(accepted + ignored, 16);
    assert!((3..=13).contains(&accepted), "{of_dialable:?}");
    assert_eq!(verdicts(&mut world, unheard_of), vec![Verdict::Accept; 16]);

    // What contradicts is passed on by all, and both halves once more, when gossip no longer knows that it saw them.
    let mut pushed = Vec::new();
    for at in 2..10 {
        let [one, other] = [1, 2].map(|digest| head_of(&world, at, 1_030, digest));
        judged(&mut world, one.clone());
        // Which is not the newest any more: the two are told, and not what came since.
        let later = head_of(&world, at, 1_033, 1);
        judged(&mut world, later.clone());
        assert_eq!(judged(&mut world, other.clone()), Some(Verdict::Accept));
        // What another tells first goes on from here too.
        assert_eq!(judged(&mut world, one.clone()), Some(Verdict::Accept));
        assert_eq!(judged(&mut world, one.clone()), Some(Verdict::Ignore), "once");
        assert_eq!(judged(&mut world, later), Some(Verdict::Ignore));
        pushed.extend([one, other].map(|half| half.id()));
    }
    // Each finder spreads it over half a minute.
    let due = world.now.after(HALVES_TOLD_AFTER + Duration::from_secs(30));
    let told = |effects: Vec<Effect>| -> Vec<_> {
        let ids = effects.into_iter().filter_map(|effect| match effect {
            Effect::Push { document, .. } => Some(document.id(Some(federation))),
            _ => None,
        });
        ids.collect()
    };
    let early = world.now.after(HALVES_TOLD_AFTER - Duration::from_secs(1));
    let before = told(world.machine_mut(0).handle(early, Input::Woke));
    assert!(pushed.iter().all(|half| !before.contains(half)));
    assert!(world.machine(0).next_wakeup().unwrap().0 <= due);
    let halves = told(world.machine_mut(0).handle(due, Input::Woke));
    assert!(pushed.iter().all(|half| halves.contains(half)), "{halves:?}");
    let after = told(world.machine_mut(0).handle(due.after(HALVES_TOLD_AFTER), Input::Woke));
    assert!(pushed.iter().all(|half| !after.contains(half)), "once");

    world.cut(2);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.machine(0).connected().len(), HEAD_PASSED_BY_ALL_MAX);
    assert_eq!(verdicts(&mut world, 12), vec![Verdict::Accept; 16]);
}
