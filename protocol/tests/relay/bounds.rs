//! What a peer or a busy day can make grow is bounded, and what does not fit is refused with a reason.

use std::time::Duration;

use refpoint_protocol::{
    ids::MessageId,
    limits::{IN_FLIGHT_PER_PEER_MAX, INBOX_BURST, OPENING_PER_PEER_MAX},
    message::header::Precedence,
    relay::{
        exchange::{Job, Outgoing, RelayEffect, RelayInput},
        parcel::{Class, Label, Parcel},
        receipt::{ReceiptWord, RefusalReason},
        sealing::OpenError,
    },
};

use super::world::{World, code};

#[test]
fn parcels_in_flight_to_one_node_are_bounded_and_all_arrive() {
    let mut world = World::new(80, &["BR", "KE"]);
    let messages: Vec<_> =
        (0..200).map(|_| world.submit("BR", &["KE"], Precedence::Flash).unwrap()).collect();
    world.connect("BR", "KE");
    world.run(Duration::from_millis(2));
    assert_eq!(world.nodes["BR"].parcels_sent, IN_FLIGHT_PER_PEER_MAX);
    world.run(Duration::from_secs(10));
    assert!(messages.iter().all(|message| world.has("KE", *message)));
    assert_eq!(world.nodes["BR"].parcels_sent, 200);
}

#[test]
fn a_flood_of_parcels_is_refused_before_it_reaches_the_pool() {
    let world = World::new(81, &["BR", "KE"]);
    let (from, node) = (world.key("BR"), world.key("KE"));
    let mut relay = refpoint_protocol::relay::Relay::new(refpoint_protocol::relay::RelayConfig {
        member: code("KE"),
        node,
        seed: [0; 32],
    });
    let (mut opened, mut refused) = ([0, 0], [0, 0]);
    for number in 0..2_000_u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let class = if number < 1_000 { Class::Normal } else { Class::Urgent };
        let expires = world.now.after(Duration::from_secs(60));
        let label =
            Label { message: MessageId::from_bytes(id), member: code("KE"), node, expires, class, size: 10 };
        let sealing_key = refpoint_protocol::ids::SealingKeyId::from_bytes([0; 32]);
        let parcel = Box::new(Parcel { label, sealing_key, sealed: vec![0; 1_200], ciphertext: vec![0; 10] });
        for effect in relay.handle(world.now, RelayInput::ParcelReceived { from, parcel }, &world.directory) {
            match effect {
                RelayEffect::Work(Job::Open { .. }) => opened[class as usize] += 1,
                RelayEffect::Send { frame: Outgoing::Receipt(receipt), .. } => {
                    assert_eq!(
                        (receipt.word, receipt.reason),
                        (ReceiptWord::Refused, Some(RefusalReason::TooFast))
                    );
                    refused[class as usize] += 1;
                }
                _ => panic!("another effect"),
            }
        }
    }
    assert_eq!(opened.iter().sum::<usize>(), OPENING_PER_PEER_MAX);
    assert!(opened[0] < OPENING_PER_PEER_MAX && opened[1] > 0, "normal parcels leave a reserve: {opened:?}");
    assert_eq!(refused.iter().sum::<usize>(), 2_000 - OPENING_PER_PEER_MAX);
}

#[test]
fn messages_that_wait_for_key_sets_are_bounded() {
    let mut world = World::new(82, &["BR", "KE"]);
    let mut behind = world.directory.clone();
    behind.nodes.remove(&world.key("BR"));
    world.nodes.get_mut("KE").unwrap().directory = Some(behind);
    world.connect("BR", "KE");
    let messages: Vec<_> =
        (0..300).map(|_| world.submit("BR", &["KE"], Precedence::Flash).unwrap()).collect();
    world.run(Duration::from_secs(30));
    assert!(world.nodes["KE"].disk.is_empty());
    assert!(world.nodes["KE"].fetches <= refpoint_protocol::limits::HELD_MESSAGES_MAX);
    world.nodes.get_mut("KE").unwrap().directory = None;
    world.input("KE", RelayInput::DirectoryChanged { member: None });
    world.run(Duration::from_secs(900));
    assert!(messages.iter().all(|message| world.has("KE", *message)));
}

#[test]
fn more_offered_ids_than_one_frame_holds_are_compared() {
    let mut world = World::new(83, &["BR", "KE"]);
    world.connect("BR", "KE");
    let messages: Vec<_> =
        (0..1_100).map(|_| world.submit("BR", &["KE"], Precedence::Flash).unwrap()).collect();
    world.run(Duration::from_secs(60));
    assert!(messages.iter().all(|message| world.has("KE", *message)));
    world.kill("KE");
    world.nodes.get_mut("KE").unwrap().disk.clear();
    world.start("KE");
    world.connect("BR", "KE");
    world.run(Duration::from_secs(60));
    assert!(messages.iter().all(|message| world.has("KE", *message)));
    assert!(world.nodes["BR"].faults.is_empty() && world.nodes["KE"].faults.is_empty());
}

#[test]
fn a_member_that_sends_too_fast_is_held_back_and_its_flash_messages_are_not() {
    let mut world = World::new(82, &["BR", "FR", "KE"]);
    let mut opened = |name: &str, class: Class, numbers: std::ops::Range<u32>| {
        let (from, node) = (world.key(name), world.key("KE"));
        let member = code(name);
        let ke = world.nodes.get_mut("KE").unwrap().relay.as_mut().unwrap();
        let directory = &world.directory;
        let _connected = ke.handle(world.now, RelayInput::Connected { node: from, member }, directory);
        let mut opened = 0;
        for number in numbers {
            let mut id = [class as u8; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            let message = MessageId::from_bytes(id);
            let expires = world.now.after(Duration::from_secs(60));
            let label = Label { message, member: code("KE"), node, expires, class, size: 10 };
            let sealing_key = refpoint_protocol::ids::SealingKeyId::from_bytes([0; 32]);
            let parcel =
                Box::new(Parcel { label, sealing_key, sealed: vec![0; 64], ciphertext: vec![0; 10] });
            for effect in ke.handle(world.now, RelayInput::ParcelReceived { from, parcel }, directory) {
                if let RelayEffect::Work(Job::Open { ticket, .. }) = effect {
                    opened += 1;
                    let result = Err(OpenError::DoesNotOpen);
                    let _answer = ke.handle(world.now, RelayInput::Opened { ticket, result }, directory);
                }
            }
        }
        world.now = world.now.after(Duration::from_secs(1));
        opened
    };
    assert_eq!(opened("BR", Class::Normal, 0..INBOX_BURST + 100), INBOX_BURST);
    assert_eq!(opened("BR", Class::Normal, 0..100), 10, "ten a second");
    assert_eq!(opened("BR", Class::Urgent, 0..100), 100);
    assert_eq!(opened("FR", Class::Normal, 0..100), 100);
}
