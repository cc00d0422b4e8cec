//! Messages arrive: once, at every recipient, at once where the nodes are connected and later where not.

use std::time::Duration;

use refpoint_protocol::{
    ids::CharterVersion,
    limits::MESSAGE_ID_KEPT,
    message::header::Precedence,
    relay::{
        book::MemberStatus,
        event::{RelayEvent, StopReason, SubmitRefusal},
        exchange::{CommandId, RelayInput},
        views::RecipientState,
    },
    storage::Table,
};

use super::world::{World, code, draft};

#[test]
fn a_message_to_a_connected_node_arrives_with_one_write_at_the_recipient_and_two_at_the_sender() {
    let mut world = World::new(1, &["BR", "KE"]);
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    assert!(world.has("KE", message));
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    assert_eq!((world.nodes["KE"].persists, world.nodes["BR"].persists), (1, 2));
    let told: Vec<String> = world.nodes["BR"]
        .events
        .iter()
        .map(|event| serde_json::to_value(event).unwrap().as_object().unwrap().keys().next().unwrap().clone())
        .collect();
    assert_eq!(told, ["message-queued", "message-delivered"]);
    assert!(world.nodes["BR"].disk.keys().any(|(table, _)| *table == Table::Receipts));
    assert!(world.nodes.values().all(|node| node.faults.is_empty()));
}

#[test]
fn a_message_waits_for_a_node_that_is_away_and_goes_the_moment_it_appears() {
    let mut world = World::new(2, &["JO", "KE"]);
    let message = world.submit("JO", &["KE"], Precedence::Flash).unwrap();
    world.run(Duration::from_secs(7_200));
    assert_eq!(world.reached("JO", message), RecipientState::Queued);
    assert_eq!(world.nodes["JO"].parcels_sent, 0, "nothing is sealed for nobody");
    world.connect("JO", "KE");
    world.run(Duration::from_millis(100));
    assert!(world.has("KE", message));
    assert_eq!(world.reached("JO", message), RecipientState::Delivered);
}

#[test]
fn every_active_node_of_every_recipient_gets_a_parcel() {
    let mut world = World::new(3, &["BR", "KE1", "KE2", "JO"]);
    world.connect_all();
    let message = world.submit("BR", &["KE", "JO"], Precedence::Priority).unwrap();
    world.settle();
    for name in ["KE1", "KE2", "JO"] {
        assert_eq!(world.arrivals(name, message), 1, "{name}");
    }
    let view = world.sent("BR", message);
    assert_eq!(view.recipients.iter().map(|r| r.nodes.len()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(world.relay("BR").receipts(&message).len(), 3);
}

#[test]
fn a_members_state_is_the_best_of_its_nodes() {
    let mut world = World::new(4, &["BR", "KE1", "KE2"]);
    world.connect("BR", "KE2");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    assert!(!world.has("KE1", message));
    world.connect("BR", "KE1");
    world.settle();
    assert!(world.has("KE1", message), "the other node gets it when it appears");
}

#[test]
fn a_node_that_joins_a_recipient_gets_what_is_still_kept() {
    let mut world = World::new(5, &["BR", "KE1"]);
    world.connect_all();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.join("KE2");
    world.connect_all();
    world.settle();
    assert!(world.has("KE2", message));
}

#[test]
fn lost_frames_are_sent_again_and_doubled_ones_arrive_once() {
    let mut world = World::new(6, &["BR", "KE"]);
    (world.loss_percent, world.doubling_percent) = (40, 40);
    world.connect("BR", "KE");
    let messages: Vec<_> = (0..20).map(|_| world.submit("BR", &["KE"], Precedence::Flash).unwrap()).collect();
    world.run(Duration::from_secs(3_600));
    for message in messages {
        assert_eq!(world.arrivals("KE", message), 1);
        assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    }
}

#[test]
fn urgent_messages_overtake_what_waits() {
    let mut world = World::new(7, &["BR", "KE"]);
    let routine: Vec<_> = (0..6).map(|_| world.submit("BR", &["KE"], Precedence::Routine).unwrap()).collect();
    let flash = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.connect("BR", "KE");
    world.settle();
    let order: Vec<_> = world.nodes["KE"]
        .events
        .iter()
        .filter_map(|event| match event {
            RelayEvent::MessageArrived { message, .. } => Some(*message),
            _ => None,
        })
        .collect();
    assert_eq!(order[0], flash);
    assert_eq!(order[1..], routine, "the oldest first among equals");
}

#[test]
fn a_message_expires_and_a_late_receipt_still_counts() {
    let mut world = World::new(8, &["BR", "KE"]);
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(Duration::from_millis(30));
    assert!(world.has("KE", message));
    // The receipt is on its way when the link breaks: the sender learns nothing until the message has expired.
    world.disconnect("BR", "KE");
    assert_eq!(world.reached("BR", message), RecipientState::Queued);
    world.run(Duration::from_secs(73 * 3_600));
    assert_eq!(world.reached("BR", message), RecipientState::Expired);
    let expired = |event: &RelayEvent| matches!(event, RelayEvent::MessageExpired { members, .. } if *members == [code("KE")]);
    assert_eq!(world.nodes["BR"].events.iter().filter(|event| expired(event)).count(), 1);
    assert!(
        !world.nodes["BR"].disk.keys().any(|(table, _)| *table == Table::OutboxContent),
        "content is given up"
    );
    let late = refpoint_protocol::relay::receipt::Receipt {
        message,
        member: code("KE"),
        node: world.key("KE"),
        word: refpoint_protocol::relay::receipt::ReceiptWord::Delivered,
        at: world.now,
        reason: None,
        sealing_key: None,
    };
    let input = world.receipt("KE", "KE", &late);
    world.input("BR", input);
    let view = world.sent("BR", message);
    assert_eq!(view.recipients[0].state, RecipientState::Delivered);
    assert!(view.recipients[0].delivered.unwrap().late);
}

#[test]
fn a_wrong_clock_expires_nothing() {
    let mut world = World::new(9, &["BR", "KE"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.directory.clock_is_wrong = true;
    world.run(Duration::from_secs(80 * 3_600));
    assert_eq!(world.reached("BR", message), RecipientState::Queued);
    world.directory.clock_is_wrong = false;
    world.run(Duration::from_secs(120));
    assert_eq!(world.reached("BR", message), RecipientState::Expired);
}

#[test]
fn a_clock_that_is_years_ahead_forgets_no_open_message() {
    let mut world = World::new(19, &["BR", "KE"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.kill("BR");
    world.run(MESSAGE_ID_KEPT * 3);
    world.directory.clock_is_wrong = true;
    world.start("BR");
    world.run(Duration::from_secs(30));
    assert_eq!(world.reached("BR", message), RecipientState::Queued);
    // If that is the time after all, its sender hears that it expired before it is forgotten.
    world.directory.clock_is_wrong = false;
    world.run(Duration::from_secs(60));
    let told = |event: &RelayEvent| matches!(event, RelayEvent::MessageExpired { message: it, .. } if *it == message);
    assert!(world.nodes["BR"].events.iter().any(told));
    assert!(world.relay("BR").message(&message).is_none());
    assert!(world.nodes["BR"].disk.keys().all(|(table, _)| *table != Table::Outbox));
}

#[test]
fn a_message_that_comes_after_its_expiry_is_kept_and_marked_for_a_day() {
    for (hours, accepted) in [(80, true), (97, false)] {
        let mut world = World::new(10, &["BR", "KE"]);
        world.directory.clock_is_wrong = true;
        let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
        world.run(Duration::from_secs(hours * 3_600));
        // The recipient's clock is right; the sender's did not let it expire.
        let mut right = world.directory.clone();
        right.clock_is_wrong = false;
        world.nodes.get_mut("KE").unwrap().directory = Some(right);
        world.connect("BR", "KE");
        world.settle();
        assert_eq!(world.has("KE", message), accepted);
        if accepted {
            assert!(world.relay("KE").inbox()[0].marks.late);
        } else {
            assert_eq!(world.reached("BR", message), RecipientState::Refused);
        }
    }
}

#[test]
fn a_suspended_member_stops_a_message_and_its_return_lets_it_go_on() {
    let mut world = World::new(11, &["BR", "KE"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    let suspended = MemberStatus::Suspended(CharterVersion(4));
    world.directory.status.insert(code("KE"), suspended);
    world.input("BR", RelayInput::DirectoryChanged { member: None });
    world.input("BR", RelayInput::DirectoryChanged { member: None });
    let why = StopReason::Suspended(CharterVersion(4));
    assert_eq!(why.to_string(), "suspended by charter v 4");
    let view = world.sent("BR", message);
    assert_eq!((view.recipients[0].state, view.recipients[0].stopped), (RecipientState::Stopped, Some(why)));
    let stops = |event: &&RelayEvent| matches!(event, RelayEvent::MessageStopped { .. });
    assert_eq!(world.nodes["BR"].events.iter().filter(stops).count(), 1, "told once");
    world.connect("BR", "KE");
    world.settle();
    assert!(!world.has("KE", message));
    world.directory.status.insert(code("KE"), MemberStatus::Active);
    world.input("BR", RelayInput::DirectoryChanged { member: None });
    world.settle();
    assert!(world.has("KE", message));
}

#[test]
fn submissions_that_cannot_be_sent_change_nothing_and_say_why() {
    let mut world = World::new(12, &["BR", "KE", "JO"]);
    world.directory.status.insert(code("JO"), MemberStatus::Withdrawn(CharterVersion(2)));
    let long = Duration::from_secs(15 * 86_400);
    let mut cases = vec![
        (draft(&[], Precedence::Flash, "a"), SubmitRefusal::NoRecipients),
        (draft(&["BR", "KE"], Precedence::Flash, "a"), SubmitRefusal::OwnMember(code("BR"))),
        (draft(&["KE", "ZZ"], Precedence::Flash, "a"), SubmitRefusal::UnknownMember(code("ZZ"))),
        (
            draft(&["JO"], Precedence::Flash, "a"),
            SubmitRefusal::Stopped(code("JO"), StopReason::Withdrawn(CharterVersion(2))),
        ),
    ];
    let mut lasting = draft(&["KE"], Precedence::Flash, "a");
    lasting.lifetime = Some(long);
    cases.push((lasting, SubmitRefusal::Lifetime(long.as_secs())));
    for (draft, expected) in cases {
        world.input("BR", RelayInput::Submit { command: CommandId(7), draft: Box::new(draft) });
        let last = world.nodes["BR"].events.last().cloned();
        assert_eq!(last, Some(RelayEvent::SubmitRefused { command: CommandId(7), why: expected }));
    }
    let bell = draft(&["KE"], Precedence::Flash, "\u{7}");
    world.input("BR", RelayInput::Submit { command: CommandId(8), draft: Box::new(bell) });
    let last = world.nodes["BR"].events.last();
    assert!(
        matches!(last, Some(RelayEvent::SubmitRefused { why: SubmitRefusal::Body(what), .. }) if what.contains("MB-02"))
    );
    world.settle();
    assert!(world.nodes["BR"].disk.is_empty() && world.relay("BR").outbox().is_empty());
}
