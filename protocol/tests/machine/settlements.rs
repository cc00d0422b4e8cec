//! Heads settle charter versions: every node makes the certificate itself, or gets it by repair, and keeps it.

use std::time::Duration;

use refpoint_protocol::{
    ids::{CharterId, CharterVersion},
    limits::HEAD_INTERVAL,
    machine::Event,
    membership::charter::{MemberStatus, WorkingGroup},
};

use super::world::World;

const CODES: [&str; 4] = ["BR", "FR", "KE", "SG"];

fn settled(world: &World, node: usize) -> Option<CharterId> {
    world.machine(node).evidence().membership().settled()
}

#[test]
fn heads_settle_a_new_version_on_every_node_and_it_stays_so_over_a_restart() {
    let mut world = World::new(140, &CODES);
    world.connect_all();
    world.run_for(Duration::from_secs(60));
    let second = world.successor(|charter| charter.members[3].group = WorkingGroup::Africa);
    let beside = world.successor(|charter| charter.members[3].status = MemberStatus::Suspended);
    world.import(0, second.clone()).unwrap();
    world.run_for(Duration::from_secs(1));
    let (first, version) = (Some(world.machine(0).evidence().federation()), Some(second.id().into()));
    for node in 0..4 {
        let settled = settled(&world, node).map(|id| *id.as_bytes());
        assert_eq!(settled, first.map(|id| *id.as_bytes()), "no head names it yet");
    }
    world.run_for(HEAD_INTERVAL * 2);
    for node in 0..4 {
        assert_eq!(settled(&world, node), version, "{node}");
        let told = world.events(node).iter().filter(|it| matches!(it, Event::CharterSettled { .. })).count();
        assert_eq!((told, world.machine(node).bugs()), (1, 0));
    }
    world.run_for(HEAD_INTERVAL * 2);
    let roots = world.roots(0);
    assert!((1..4).all(|node| world.roots(node) == roots), "all hold the same, whichever heads each counted");

    world.restart(2);
    assert_eq!(settled(&world, 2), version, "it is kept with the documents");
    world.connect_all();
    // What stewards sign beside it now is passed on as evidence, and changes nothing.
    world.import(1, beside.clone()).unwrap();
    world.run_for(HEAD_INTERVAL);
    for node in 0..4 {
        let evidence = world.machine(node).evidence();
        let membership = evidence.membership();
        assert!(evidence.trust().charter(&beside.id().into()).is_some(), "{node}");
        assert_eq!(membership.tips(), [second.id().into()]);
        assert!(membership.ignored().contains(&beside.id().into()));
        let alarm = Event::BesideSettled {
            charter: beside.id().into(),
            version: CharterVersion(2),
            signed_by: (0..3).map(|steward| world.member(steward)).collect(),
        };
        assert_eq!(world.events(node).iter().filter(|event| **event == alarm).count(), 1, "{node}");
        assert!(membership.member(&world.member(3)).unwrap().is_active());
        assert!((0..4).all(|other| other == node || world.is_connected(node, other)));
    }
}

#[test]
fn a_node_that_heard_no_head_gets_the_certificate_by_repair() {
    let mut world = World::new(141, &CODES);
    world.connect_all();
    world.run_for(Duration::from_secs(60));
    world.cut(3);
    let second = world.successor(|charter| charter.members[3].group = WorkingGroup::Africa);
    world.import(0, second.clone()).unwrap();
    world.run_for(HEAD_INTERVAL * 2);
    let version = Some(second.id().into());
    assert_eq!(
        (settled(&world, 0), settled(&world, 3) == version),
        (version, false),
        "three of four suffice"
    );
    world.connect(0, 3);
    world.run_for(Duration::from_secs(5));
    assert_eq!(settled(&world, 3), version);
    world.restart(3);
    assert_eq!(settled(&world, 3), version);
}

/// The program may end between the row of a certificate and the erasure of one that it makes needless.
#[test]
fn a_certificate_that_another_makes_needless_is_erased_at_the_next_start() {
    let mut world = World::new(142, &CODES);
    world.connect_all();
    world.run_for(Duration::from_secs(60));
    let second = world.successor(|charter| charter.members[3].group = WorkingGroup::Africa);
    world.import(0, second.clone()).unwrap();
    world.run_for(HEAD_INTERVAL * 2);
    assert_eq!(world.settlements(0).len(), 1);
    // Of the same version, by other heads: it has another id.
    world.store_settlement(0, &second);
    assert_eq!(world.settlements(0).len(), 2);
    world.restart(0);
    assert_eq!(world.settlements(0).len(), 1, "one says it all");
    assert!(settled(&world, 0).is_some());
}
