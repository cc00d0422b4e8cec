//! Where other nodes' journals stand, by their heads.

use std::time::Duration;

use refpoint_protocol::{
    document::sign,
    heads::{Head, JournalPosition, verify_head},
    ids::{ContentHash, Sequence, TreeRoot},
    limits::HEAD_INTERVAL,
    machine::{Input, PushToken},
};

use super::world::World;

#[test]
fn how_far_a_journal_had_come_by_its_heads_is_remembered() {
    let mut world = World::new(135, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(HEAD_INTERVAL * 2);
    let federation = world.machine(0).evidence().federation();
    let (member, node, key, began) = (world.member(1), world.key(1), world.signing(1).clone(), world.now);
    let known = |world: &World| world.machine(0).heard_journal(world.now, &node).map(|it| it.position());
    assert_eq!(known(&world), None, "the heads of these nodes say nothing of a journal");
    let at = |size: u64| JournalPosition { began, size, root: TreeRoot::from_bytes([size as u8; 32]) };
    // The furthest counts, whatever came after it, and whether or not a head contradicts another.
    for (size, furthest) in [(4, 4), (9, 9), (5, 9)] {
        world.run_for(Duration::from_secs(60));
        let head = Head {
            member: member.clone(),
            node,
            run: world.now,
            number: Sequence(0),
            previous: None,
            time: world.now,
            charter: world.machine(0).evidence().trust().charter_tips().to_vec(),
            digest: ContentHash::from_bytes([9; 32]),
            journal: Some(at(size)),
        };
        let head = verify_head(sign(&head, Some(federation), &[&key]).unwrap(), federation);
        let (now, input) = (world.now, Input::head(node, PushToken(1 << 40), head));
        drop(world.machine_mut(0).handle(now, input));
        assert_eq!(known(&world), Some(at(furthest)), "{size}");
    }
}
