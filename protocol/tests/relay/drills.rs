//! Drills: found by their id, timed by this node's clock, and never like a request.

use std::time::Duration;

use refpoint_protocol::{
    ids::MessageId,
    message::{body::Word, drill::DrillId, header::Precedence},
    redact::Redacted,
    relay::{
        event::RelayEvent,
        exchange::{CommandId, RelayInput},
        views::RecipientState,
    },
};

use super::world::{World, code, draft};

/// Sends one message of a drill; gives its id.
fn drill(world: &mut World, id: DrillId, to: &[&str], command: u64) -> MessageId {
    let mut test = draft(to, Precedence::Priority, "a test");
    (test.body.drill, test.body.reference) = (true, Some(Redacted(id.to_string())));
    test.lifetime = Some(Duration::from_secs(3_600));
    world.input("BR", RelayInput::Submit { command: CommandId(command), draft: Box::new(test) });
    world.settle();
    let message = world.nodes["BR"].events.iter().rev().find_map(|event| match event {
        RelayEvent::MessageQueued { message, drill: true, statement: None, .. } => Some(*message),
        _ => None,
    });
    message.expect("it is queued, and marked")
}

#[test]
fn a_drill_is_one_over_several_messages_and_names_who_did_not_answer() {
    let mut world = World::new(70, &["BR", "KE", "JO", "FR"]);
    world.connect("BR", "KE");
    world.connect("BR", "FR");
    let id = DrillId::from_bytes([1; 8]);
    let first = drill(&mut world, id, &["JO", "KE"], 1_000);
    let second = drill(&mut world, id, &["FR"], 1_001);
    world.submit("BR", &["KE"], Precedence::Routine).unwrap();
    world.settle();
    assert_eq!(world.relay("BR").counts().waiting, 0, "a drill is no request that waits");
    assert_eq!(world.relay("BR").counts().waiting_drills, 1);
    assert_eq!(world.relay("KE").counts().unacknowledged, 1, "nor one that nobody has seen");
    let inbox = world.relay("KE").inbox();
    assert_eq!(inbox.iter().map(|row| row.drill).collect::<Vec<_>>(), [false, true], "requests come first");
    let page = world.relay("KE").inbox_page(false, 1);
    assert!(!page[0].drill);

    world.run(Duration::from_secs(60));
    world.state("KE", first, Word::Acknowledged);
    world.run(Duration::from_secs(3_600));
    // All of it is read back from the disk.
    world.kill("BR");
    world.start("BR");
    let runs = world.relay("BR").drills(10);
    let [run] = runs.as_slice() else { panic!("one drill: {runs:?}") };
    assert_eq!((run.id, run.precedence), (id, Precedence::Priority));
    let asked: Vec<_> = run.recipients.iter().map(|asked| (asked.member.clone(), asked.message)).collect();
    assert_eq!(asked, [(code("FR"), second), (code("JO"), first), (code("KE"), first)]);
    let [fr, jo, ke] = run.recipients.as_slice() else { panic!("three members") };
    assert_eq!((jo.state, jo.delivered, jo.acknowledged), (RecipientState::Expired, None, None));
    assert_eq!((fr.state, fr.acknowledged), (RecipientState::Delivered, None));
    assert!(fr.delivered.unwrap().heard.is_some());
    let after = ke.acknowledged.unwrap().heard.unwrap().since(ke.created);
    assert!(after >= Duration::from_secs(60) && after < Duration::from_secs(120), "{after:?}");

    let told = |event: &RelayEvent| match event {
        RelayEvent::MessageDelivered { step, .. } => Some(step.drill),
        RelayEvent::MessageExpired { drill, .. } | RelayEvent::StatementArrived { drill, .. } => Some(*drill),
        _ => None,
    };
    let marks: Vec<bool> = world.nodes["BR"].events.iter().filter_map(told).collect();
    assert_eq!(marks.iter().filter(|mark| **mark).count(), 4, "two deliveries, one expiry, one word");
    assert_eq!(marks.len(), 5, "and the delivery of the request, which is not marked");
}

#[test]
fn the_newest_drills_are_shown_and_tests_of_no_drill_are_none() {
    let mut world = World::new(71, &["BR", "KE"]);
    world.connect_all();
    for number in 1..=3 {
        drill(&mut world, DrillId::from_bytes([number; 8]), &["KE"], 1_000 + u64::from(number));
        world.run(Duration::from_secs(1));
    }
    let mut test = draft(&["KE"], Precedence::Flash, "a test of its own");
    (test.body.drill, test.body.reference) = (true, Some(Redacted("exercise 7".into())));
    world.input("BR", RelayInput::Submit { command: CommandId(2_000), draft: Box::new(test) });
    world.settle();
    let newest: Vec<_> = world.relay("BR").drills(2).into_iter().map(|run| run.id).collect();
    assert_eq!(newest, [3, 2].map(|number| DrillId::from_bytes([number; 8])));
}
