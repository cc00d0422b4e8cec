//! What a recipient's people said, returned to a node of theirs that lacks it.

use std::time::Duration;

use refpoint_protocol::{
    ids::MessageId,
    message::{body::Word, header::Precedence},
    relay::{
        book::SignerStanding,
        event::RelayEvent,
        exchange::{CommandId, RelayInput},
        frame::Lacking,
        receipt::{Receipt, ReceiptWord},
        rows::{StatementRow, decode_row, encode_row},
        views::{MessageView, RecipientState},
    },
    storage::Table,
};

use super::world::{Disk, World, code, draft};

/// A message of BR's that KE acknowledged; and KE's disk before it came, and before it was acknowledged.
fn acknowledged(seed: u64) -> (World, MessageId, [Disk; 2]) {
    let mut world = World::new(seed, &["BR", "JO", "KE"]);
    world.connect_all();
    let before = world.nodes["KE"].disk.clone();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    let unread = world.nodes["KE"].disk.clone();
    world.state("KE", message, Word::Acknowledged);
    (world, message, [before, unread])
}

/// KE's node is lost, and its key retired; a node without a past takes its place.
fn set_up_anew(world: &mut World) {
    world.kill("KE");
    let (lost, since) = (world.key("KE"), world.now.after(Duration::from_secs(1)));
    world.directory.nodes.get_mut(&lost).unwrap().1 = SignerStanding::Retired(since);
    world.join("KE2");
    world.run(Duration::from_secs(2));
}

fn put_back(world: &mut World, disk: Disk) {
    world.kill("KE");
    world.nodes.get_mut("KE").unwrap().disk = disk;
    world.start("KE");
}

/// What a node told, in order: whether each was a statement.
fn told(world: &World, name: &str) -> Vec<bool> {
    let news = |event: &RelayEvent| match event {
        RelayEvent::StatementArrived { .. } => Some(true),
        RelayEvent::MessageArrived { .. } => Some(false),
        _ => None,
    };
    world.nodes[name].events.iter().filter_map(news).collect()
}

fn is_acknowledged(world: &World, name: &str, message: MessageId) -> bool {
    match world.relay(name).message(&message) {
        Some(MessageView::Received(view)) => view.acknowledged.is_some(),
        _ => false,
    }
}

#[test]
fn a_node_that_is_set_up_anew_hears_what_its_people_said_before_the_message() {
    let (mut world, message, _) = acknowledged(900);
    set_up_anew(&mut world);
    world.connect("BR", "KE2");
    world.settle();
    assert!(is_acknowledged(&world, "KE2", message));
    assert_eq!(told(&world, "KE2"), [true, false], "nobody is woken for what is acknowledged");
    assert_eq!(world.relay("KE2").counts().unacknowledged, 0);
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    // Nothing is lacking any more.
    let sent = world.nodes["BR"].parcels_sent;
    world.disconnect("BR", "KE2");
    world.connect("BR", "KE2");
    world.run(Duration::from_secs(3_600));
    assert_eq!(world.nodes["BR"].parcels_sent, sent);
    assert!(world.nodes.values().all(|node| node.faults.is_empty()));
}

#[test]
fn a_disk_that_was_put_back_hears_what_its_people_said_since() {
    for older in [0, 1] {
        let (mut world, message, disks) = acknowledged(901);
        put_back(&mut world, disks[older].clone());
        assert!(!is_acknowledged(&world, "KE", message));
        world.connect("BR", "KE");
        world.settle();
        assert!(is_acknowledged(&world, "KE", message), "{older}");
        assert_eq!(world.relay("KE").inbox().len(), 1);
        assert_eq!(world.relay("KE").counts().unacknowledged, 0);
        if older == 0 {
            assert_eq!(told(&world, "KE").split_off(1), [true, false]);
        }
        assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    }
}

#[test]
fn a_sender_that_restarted_returns_it_all_the_same() {
    let (mut world, message, [_, unread]) = acknowledged(902);
    world.kill("BR");
    world.start("BR");
    put_back(&mut world, unread);
    world.connect("BR", "KE");
    world.settle();
    assert!(is_acknowledged(&world, "KE", message));
}

#[test]
fn whoever_made_a_statement_is_not_sent_it() {
    let (mut world, _, _) = acknowledged(903);
    let sent = world.nodes["BR"].parcels_sent;
    world.kill("KE");
    world.start("KE");
    world.connect("BR", "KE");
    world.run(Duration::from_secs(3_600));
    assert_eq!(world.nodes["BR"].parcels_sent, sent);
}

#[test]
fn a_statement_whose_proof_is_not_held_holds_up_no_message() {
    let (mut world, message, _) = acknowledged(904);
    for ((table, _), value) in &mut world.nodes.get_mut("BR").unwrap().disk {
        if *table == Table::Statements {
            let row = StatementRow { signed: None, ..decode_row(value).unwrap() };
            *value = encode_row(&row).unwrap();
        }
    }
    set_up_anew(&mut world);
    world.connect("BR", "KE2");
    world.run(Duration::from_secs(30));
    assert!(world.has("KE2", message) && !is_acknowledged(&world, "KE2", message));
}

#[test]
fn a_statement_that_is_not_answered_holds_up_no_message_for_long() {
    let (mut world, message, _) = acknowledged(905);
    set_up_anew(&mut world);
    // Its key is not known there: the statement is held, and never answered.
    let mut ignorant = world.directory.clone();
    ignorant.nodes.remove(&world.key("KE"));
    world.nodes.get_mut("KE2").unwrap().directory = Some(ignorant);
    world.connect("BR", "KE2");
    world.run(Duration::from_secs(10));
    assert!(!world.has("KE2", message));
    world.run(Duration::from_secs(600));
    assert!(world.has("KE2", message) && !is_acknowledged(&world, "KE2", message));
    // It is not given up.
    world.nodes.get_mut("KE2").unwrap().directory = None;
    world.run(Duration::from_secs(600));
    assert!(is_acknowledged(&world, "KE2", message));
}

#[test]
fn a_disk_that_was_full_hears_what_its_people_said_before_the_message() {
    let (mut world, message, _) = acknowledged(910);
    set_up_anew(&mut world);
    world.nodes.get_mut("KE2").unwrap().disk_is_full = true;
    world.connect("BR", "KE2");
    let sent = world.nodes["BR"].parcels_sent;
    world.run(Duration::from_secs(3_600));
    assert!(!world.has("KE2", message));
    let tried = world.nodes["BR"].parcels_sent - sent;
    assert!(tried < 100, "the pauses grow: {tried} parcels in an hour");
    world.nodes.get_mut("KE2").unwrap().disk_is_full = false;
    world.run(Duration::from_secs(900));
    assert!(is_acknowledged(&world, "KE2", message));
    assert_eq!(told(&world, "KE2"), [true, false]);
}

#[test]
fn a_message_that_a_person_spoke_of_is_given_to_no_custodian() {
    let (mut world, message, _) = acknowledged(906);
    set_up_anew(&mut world);
    world.run(Duration::from_secs(3_600));
    assert!(world.sent("BR", message).recipients[0].nodes.iter().all(|node| node.custodians_asked == 0));
    world.connect("JO", "KE2");
    world.run(Duration::from_secs(60));
    assert!(!world.has("KE2", message));
    world.connect("BR", "KE2");
    world.settle();
    assert_eq!(told(&world, "KE2"), [true, false]);
}

#[test]
fn a_statement_that_found_no_room_is_returned_once_it_came_again() {
    let mut world = World::new(907, &["BR", "KE"]);
    world.connect_all();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.nodes.get_mut("BR").unwrap().disk_is_full = true;
    world.state("KE", message, Word::Acknowledged);
    world.nodes.get_mut("BR").unwrap().disk_is_full = false;
    world.run(Duration::from_secs(600));
    // It came again once there was room.
    assert!(world.sent("BR", message).recipients[0].acknowledged.is_some());
    set_up_anew(&mut world);
    world.connect("BR", "KE2");
    world.settle();
    assert!(is_acknowledged(&world, "KE2", message));
}

#[test]
fn nothing_is_returned_once_the_message_is_kept_no_more() {
    let (mut world, message, [_, unread]) = acknowledged(908);
    world.run(Duration::from_secs(26 * 3_600));
    put_back(&mut world, unread);
    let sent = world.nodes["BR"].parcels_sent;
    world.connect("BR", "KE");
    world.input("BR", RelayInput::Woke);
    world.settle();
    assert_eq!(world.nodes["BR"].parcels_sent, sent);
    assert!(!is_acknowledged(&world, "KE", message));
}

#[test]
fn what_is_said_at_one_node_goes_to_another_that_has_no_way_to_it() {
    let mut world = World::new(909, &["BR", "KE1", "KE2"]);
    world.connect("BR", "KE1");
    world.connect("BR", "KE2");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    let sent = world.nodes["BR"].parcels_sent;
    world.state("KE1", message, Word::Acknowledged);
    world.run(Duration::from_secs(3));
    assert!(is_acknowledged(&world, "KE2", message));
    assert_eq!(world.nodes["BR"].parcels_sent - sent, 1, "and nothing to its maker");
    assert!(world.nodes.values().all(|node| node.faults.is_empty()));
}

#[test]
fn an_old_receipt_of_the_message_hurries_no_statement() {
    let (mut world, message, [_, unread]) = acknowledged(911);
    let statement = world.sent("BR", message).recipients[0].acknowledged.clone().unwrap().id;
    put_back(&mut world, unread);
    world.connect("BR", "KE");
    // It lacks the statement, answers none, and says again and again that it has the message.
    world.loss_percent = 100;
    let (from, sent) = (world.key("KE"), world.nodes["BR"].parcels_sent);
    world.input("BR", RelayInput::LackingReceived { from, lacking: Lacking { ids: vec![statement] } });
    let (word, at) = (ReceiptWord::Delivered, world.now);
    let old = Receipt { message, member: code("KE"), node: from, word, at, reason: None, sealing_key: None };
    for _ in 0..50 {
        world.input("BR", world.receipt("KE", "KE", &old));
        world.run(Duration::from_millis(100));
    }
    assert_eq!(world.nodes["BR"].parcels_sent - sent, 1);
    world.loss_percent = 0;
    world.run(Duration::from_secs(60));
    assert!(is_acknowledged(&world, "KE", message));
}

#[test]
fn what_was_said_is_returned_for_as_long_as_the_message_may_come() {
    let mut world = World::new(912, &["BR", "JO", "KE"]);
    world.connect("BR", "KE");
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let mut lasting = draft(&["JO", "KE"], Precedence::Priority, "preserve this");
    lasting.lifetime = Some(days(14));
    world.input("BR", RelayInput::Submit { command: CommandId(1), draft: Box::new(lasting) });
    world.settle();
    let message = world.relay("KE").inbox()[0].id;
    world.state("KE", message, Word::Acknowledged);
    world.run(days(10));
    world.kill("KE");
    set_up_anew(&mut world);
    world.connect("BR", "KE2");
    world.settle();
    assert!(is_acknowledged(&world, "KE2", message));
    assert_eq!(told(&world, "KE2"), [true, false]);
}

#[test]
fn what_a_stolen_key_signed_ends_no_haste() {
    let mut world = World::new(913, &["BR", "JO", "KE"]);
    world.connect_all();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.disconnect("BR", "KE");
    let (stolen, since) = (world.key("KE"), world.now);
    world.state("KE", message, Word::Acknowledged);
    world.directory.nodes.get_mut(&stolen).unwrap().1 = SignerStanding::Compromised(since);
    world.connect("BR", "KE");
    world.settle();
    let view = world.sent("BR", message).recipients[0].acknowledged.clone().unwrap();
    assert!(view.marks.unproven, "it is shown, and marked");
    world.disconnect("BR", "KE");
    world.join("KE2");
    world.run(Duration::from_secs(60));
    let nodes = world.sent("BR", message).recipients[0].nodes.clone();
    assert!(nodes.iter().any(|node| node.custodians_asked > 0), "{nodes:?}");
}
