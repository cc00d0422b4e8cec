//! Copies of one message that several nodes hand over, whole, damaged or labelled falsely: each is answered for itself,
//! and none of them takes what is due to the true one.

use std::time::Duration;

use refpoint_protocol::{
    ids::{MessageId, SealingKeyId},
    limits::{CUSTODY_AFTER_URGENT, EXPIRY_DEFAULT},
    message::header::Precedence,
    relay::{
        event::CustodyEnd,
        exchange::RelayInput,
        parcel::{Class, Parcel},
        receipt::ReceiptWord,
        rows::decode_custody_parcel,
        views::RecipientState,
    },
    storage::Table,
};

use super::{
    custody::{SECOND, endings, held, in_custody},
    custody_faults::{hand, parcel, said},
    world::{World, code},
};

/// A parcel for KE that nobody can open, under a message's id.
fn junk(world: &World, message: MessageId) -> Box<Parcel> {
    let mut junk = parcel(world, 0, Class::Urgent, 512);
    junk.label.message = message;
    junk
}

/// What JO keeps reaches KE, though BR that sent it is gone.
fn arrives_without_its_sender(world: &mut World, message: MessageId) {
    world.kill("BR");
    world.start("KE");
    world.connect("JO", "KE");
    world.run(SECOND * 10);
    assert!(world.has("KE", message));
}

/// What a custodian keeps, one bit of it turned.
fn damaged_copy(world: &World, custodian: &str) -> Box<Parcel> {
    let rows = &world.nodes[custodian].disk;
    let row = rows.iter().find(|((table, _), _)| *table == Table::CustodyParcels).unwrap().1;
    let mut parcel = decode_custody_parcel(row).unwrap();
    parcel.ciphertext[0] ^= 1;
    Box::new(parcel)
}

#[test]
fn nobody_can_take_the_place_of_anothers_parcel() {
    let (mut world, message) = in_custody(107, Precedence::Flash);
    world.join("US");
    world.connect("US", "JO");
    let junk = junk(&world, message);
    hand(&mut world, "US", junk);
    assert_eq!(held(&world, "JO"), 2, "each under its own hander");
    world.start("KE");
    world.connect("JO", "KE");
    world.settle();
    assert!(world.has("KE", message));
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn junk_under_a_messages_id_is_answered_for_itself_alone() {
    let (mut world, message) = in_custody(113, Precedence::Routine);
    let junk = junk(&world, message);
    for hander in ["SG", "UG", "US"] {
        world.join(hander);
        world.connect(hander, "JO");
        hand(&mut world, hander, junk.clone());
    }
    arrives_without_its_sender(&mut world, message);
}

#[test]
fn junk_that_is_handed_over_again_and_again_takes_nobodys_turn() {
    let (mut world, message) = in_custody(114, Precedence::Routine);
    world.join("US");
    world.connect("US", "JO");
    world.kill("BR");
    world.start("KE");
    for number in 0..60 {
        let mut junk = junk(&world, message);
        junk.sealing_key = SealingKeyId::from_bytes([number; 32]);
        hand(&mut world, "US", junk);
        if number == 0 {
            world.connect("JO", "KE");
        }
        world.run(Duration::from_millis(5));
    }
    assert!(world.has("KE", message));
}

#[test]
fn a_damaged_copy_that_was_kept_first_ends_for_its_hander_alone() {
    let (mut world, message) = another_copy_first(115, |_, _| ());
    arrives_without_its_sender(&mut world, message);
}

#[test]
fn a_sender_keeps_no_copy_of_its_own_message_for_another() {
    let (mut world, message) = in_custody(116, Precedence::Flash);
    let damaged = damaged_copy(&world, "JO");
    world.loss_percent = 100;
    world.start("KE");
    world.connect("BR", "KE");
    let from = world.key("JO");
    world.input("BR", RelayInput::ParcelReceived { from, parcel: damaged });
    assert_eq!(held(&world, "BR"), 0);
    world.loss_percent = 0;
    world.run(SECOND * 600);
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

/// A copy of BR's message that US hands to JO for KE, which is down, before BR does: changed as `change` does it.
fn another_copy_first(seed: u64, change: fn(&World, &mut Parcel)) -> (World, MessageId) {
    let mut world = World::new(seed, &["BR", "JO", "KE", "US"]);
    world.kill("KE");
    world.connect("BR", "US");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + SECOND);
    let mut copy = damaged_copy(&world, "US");
    change(&world, &mut copy);
    world.connect("US", "JO");
    hand(&mut world, "US", copy);
    world.run(SECOND);
    world.connect("BR", "JO");
    world.run(SECOND * 60);
    assert_eq!(held(&world, "JO"), 2);
    (world, message)
}

/// KE is slow: what it says of the first copy comes when the second is on its way.
fn a_late_refusal(world: &mut World, message: MessageId, after: Duration) {
    world.loss_percent = 100;
    world.kill("BR");
    world.start("KE");
    world.connect("JO", "KE");
    world.run(after);
    let refused = said(world, message, "KE", ReceiptWord::Refused);
    let late = world.receipt("KE", "KE", &refused);
    world.input("JO", late);
    world.loss_percent = 0;
    world.run(SECOND * 600);
    assert!(world.has("KE", message));
}

#[test]
fn a_late_refusal_of_one_copy_refuses_no_other() {
    let (mut world, message) = another_copy_first(122, |_, _| ());
    a_late_refusal(&mut world, message, SECOND * 30);
}

#[test]
fn a_late_refusal_of_a_copy_that_has_expired_refuses_no_other() {
    let (mut world, message) = another_copy_first(123, |world, copy| {
        copy.label.expires = world.now.after(SECOND * 70);
    });
    a_late_refusal(&mut world, message, SECOND * 15);
}

#[test]
fn a_recipients_delivered_takes_the_place_of_a_lost_key() {
    let (mut world, message) = in_custody(146, Precedence::Flash);
    world.kill("BR");
    world.nodes.get_mut("KE").unwrap().seeds.clear();
    world.new_sealing_key("KE");
    world.start("KE");
    world.connect("JO", "KE");
    world.run(EXPIRY_DEFAULT + SECOND);
    assert_eq!(endings(&world, "JO"), [CustodyEnd::KeyLost]);
    // The seed was put back, and what was handed over a moment before the expiry opened.
    let delivered = said(&world, message, "KE", ReceiptWord::Delivered);
    let delivered = world.receipt("KE", "KE", &delivered);
    world.input("JO", delivered);
    world.start("BR");
    world.connect("BR", "JO");
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn a_recipients_delivered_takes_the_place_of_its_refusal() {
    let (mut world, message) = in_custody(124, Precedence::Flash);
    world.loss_percent = 100;
    world.start("KE");
    world.connect("JO", "KE");
    world.run(Duration::from_millis(5));
    for word in [ReceiptWord::Refused, ReceiptWord::Delivered] {
        let receipt = said(&world, message, "KE", word);
        let receipt = world.receipt("KE", "KE", &receipt);
        world.input("JO", receipt);
    }
    world.loss_percent = 0;
    world.run(SECOND * 130);
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn a_copy_that_is_labelled_for_another_member_holds_off_nothing() {
    let mut world = World::new(125, &["BR", "JO", "KE", "US"]);
    world.kill("KE");
    let claim = (code("US"), world.key("KE"));
    world.directory.claims.push(claim);
    world.connect("BR", "US");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + SECOND);
    let mut copy = damaged_copy(&world, "US");
    copy.label.member = code("US");
    world.connect("US", "JO");
    hand(&mut world, "US", copy);
    world.connect("BR", "JO");
    world.run(SECOND * 60);
    assert_eq!(held(&world, "JO"), 2);
    world.kill("BR");
    world.start("KE");
    world.connect("JO", "KE");
    world.run(SECOND);
    assert!(world.has("KE", message));
    assert_eq!(held(&world, "JO"), 0, "KE has said that the copy is none of its own");
}

#[test]
fn what_stood_behind_a_copy_that_found_no_room_goes_on() {
    let mut world = World::new(126, &["BR", "JO", "KE", "US"]);
    for name in ["BR", "KE", "US"] {
        world.connect(name, "JO");
    }
    let copy = junk(&world, MessageId::from_bytes([9; 32]));
    world.nodes.get_mut("JO").unwrap().disk_is_full = true;
    hand(&mut world, "US", copy.clone());
    world.nodes.get_mut("JO").unwrap().disk_is_full = false;
    hand(&mut world, "BR", copy);
    world.run(SECOND);
    assert_eq!((held(&world, "JO"), world.nodes["JO"].parcels_sent), (1, 1));
}
