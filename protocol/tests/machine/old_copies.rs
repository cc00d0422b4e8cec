//! A folder that was put back from a copy of weeks ago: nothing is lost, nothing is said twice.

use std::time::Duration;

use refpoint_protocol::{
    directory::own_chain::Standing, ids::SealingKeyId, limits::SEALING_KEY_VALIDITY, machine::Event,
    relay::views::RecipientState,
};

use super::{World, draft, queued};

/// The newest sealing key of a node, as another knows it.
fn sealing_key(world: &World, at: usize, of: usize) -> SealingKeyId {
    let evidence = world.machine(at).evidence();
    let listing = evidence.listing(&world.member(of), world.key(of)).unwrap();
    evidence.directory().sealing_key(listing, world.now).unwrap().id()
}

#[test]
fn a_copy_older_than_its_sealing_key_loses_no_message_and_forks_no_chain() {
    let (fr, ke, hour) = (1, 2, Duration::from_secs(3_600));
    let mut world = World::new(40, &["BR", "FR", "KE", "SG"]);
    world.connect_all();
    world.run_for(hour);
    let (copy, old_key) = (world.copied(ke), sealing_key(&world, fr, ke));

    // Days in which nobody needs to meet: each renews its own.
    (0..4).for_each(|node| world.cut(node));
    for _ in 0..=SEALING_KEY_VALIDITY.as_secs() / 86_400 {
        world.run_for(hour * 24);
    }
    world.connect_all();
    world.run_for(Duration::from_secs(60));
    let later_key = sealing_key(&world, fr, ke);
    assert_ne!(later_key, old_key, "it has been renewed since the copy");
    let receipted: Vec<_> = (0..3).map(|_| queued(&world.command(fr, draft(&world, ke)))).collect();
    world.run_for(Duration::from_secs(10));
    let states = |world: &World| -> Vec<_> {
        world.machine(fr).messages().outbox().iter().map(|row| row.recipients[0].state).collect()
    };
    assert_eq!(states(&world), [RecipientState::Delivered; 3]);

    world.put_back(ke, copy);
    assert!(world.machine(ke).messages().inbox().is_empty());
    let waiting = queued(&world.command(fr, draft(&world, ke)));
    world.connect_all();
    world.run_for(hour);
    let arrived: Vec<_> = world.machine(ke).messages().inbox().iter().map(|row| row.id).collect();
    assert!(receipted.iter().chain([&waiting]).all(|id| arrived.contains(id)), "{arrived:?}");
    assert_eq!((arrived.len(), states(&world)), (4, vec![RecipientState::Delivered; 4]));
    // It goes on where it was, with a key that it has.
    assert_eq!(world.machine(ke).standing(world.now), Standing::Signing);
    assert_ne!(sealing_key(&world, fr, ke), later_key);
    assert!((0..4).all(|node| world.roots(node) == world.roots(0)));
    let forked = |event: &Event| matches!(event, Event::ForkSeen { .. });
    assert!(!(0..4).any(|node| world.events(node).iter().any(forked)));
}
