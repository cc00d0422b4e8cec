//! A write that finds no room takes nothing with it that does not rest on it.

use std::time::Duration;

use refpoint_protocol::{
    evidence::AnyDocument,
    limits::CUSTODY_AFTER_URGENT,
    machine::{Batch, Carriage, Command, Effect, Event, Input},
    relay::exchange::CommandId,
    storage::Table,
};

use super::{draft, queued, world::World};

#[test]
fn a_key_set_that_lets_a_held_message_in_does_not_rest_on_its_room() {
    let mut world = World::new(16, &["BR", "FR", "SG"]);
    world.connect(1, 2);
    world.run_for(Duration::from_secs(5));
    // Singapore never hears of Brazil's key set, and France hands it Brazil's message.
    (1..3).for_each(|at| world.lose_requests(at, u32::MAX));
    world.connect(0, 1);
    world.run_for(Duration::from_secs(5));
    let command = draft(&world, 2);
    let message = queued(&world.command(0, command));
    world.run_for(CUSTODY_AFTER_URGENT + Duration::from_secs(2));
    assert_eq!(world.machine(1).messages().counts().held, 1);
    assert!(world.machine(2).messages().message(&message).is_none(), "its signer is not known");

    let documents = vec![Ok(AnyDocument::KeySet(world.key_set(0)))];
    let batch = Batch { from: None, documents, bodies: Vec::new(), carriage: Carriage::Hand };
    let (now, id) = (world.now, CommandId(u64::MAX));
    let effects = world.machine_mut(2).handle(now, Input::Command { id, command: Command::Import(batch) });
    let place = |holds: &dyn Fn(&Effect) -> bool| effects.iter().position(holds).unwrap();
    let refusable = place(&|effect| matches!(effect, Effect::Persist { ticket: Some(_), .. }));
    let in_table = |effect: &Effect, table| match effect {
        Effect::Persist { changes, .. } => changes.iter().any(|change| change.table == table),
        _ => false,
    };
    assert_eq!(place(&|effect| in_table(effect, Table::InboxContent)), refusable);
    assert!(place(&|effect| in_table(effect, Table::KeySets)) < refusable);
    assert!(place(&|effect| matches!(effect, Effect::Present(_))) < refusable);
    assert!(place(&|effect| matches!(effect, Effect::Reply { .. })) < refusable);
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Emit(event) => Some(event),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert!(told.windows(2).all(|pair| pair[0].number < pair[1].number), "{told:?}");
    assert!(matches!(told.last().unwrap().event, Event::Relay(_)), "{told:?}");
}
