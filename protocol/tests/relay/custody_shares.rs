//! Many parcels of one member in custody: bounded, and nobody else's message waits or is turned away for them.

use std::time::Duration;

use refpoint_protocol::{
    ids::{MessageId, NodeKey, SealingKeyId},
    limits::{
        CUSTODY_AFTER_URGENT, CUSTODY_ROWS_MAX, CUSTODY_ROWS_PER_MEMBER_MIN, EXPIRY_DEFAULT, REPEAT_BURST,
        REPEAT_INTERVAL, REPEAT_UNIT_BYTES,
    },
    message::header::Precedence,
    relay::{
        parcel::Class,
        receipt::RefusalReason,
        rows::{CustodyKey, CustodyRow, encode_row},
        views::RecipientState,
    },
    storage::Table,
};

use super::{
    custody::{SECOND, held, in_custody, shown},
    custody_faults::{hand, parcel, refusals},
    world::{World, code},
};

const MIB: usize = 1024 * 1024;

/// KE is away, and JO has not heard yet that KE has this node.
fn beside_a_custodian_that_is_behind(seed: u64) -> World {
    let mut world = World::new(seed, &["BR", "JO", "KE"]);
    world.kill("KE");
    let mut behind = world.directory.clone();
    behind.nodes.remove(&world.key("KE"));
    world.nodes.get_mut("JO").unwrap().directory = Some(behind);
    world.connect("BR", "JO");
    world
}

#[test]
fn a_members_heap_of_parcels_goes_before_nobody_elses_message() {
    let mut world = World::new(140, &["BR", "JO", "KE", "US"]);
    world.kill("KE");
    for name in ["BR", "US"] {
        world.connect(name, "JO");
    }
    for number in 1..=40 {
        let parcel = parcel(&world, number, Class::Urgent, MIB);
        hand(&mut world, "US", parcel);
    }
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + SECOND);
    assert_eq!((world.reached("BR", message), held(&world, "JO")), (RecipientState::Custody, 41));
    world.start("KE");
    world.connect("JO", "KE");
    while !world.has("KE", message) {
        world.run(Duration::from_millis(1));
    }
    let sent = world.nodes["JO"].parcels_sent;
    assert!(sent <= 8, "{sent} parcels went before the message had arrived");
}

#[test]
fn large_parcels_are_repeated_more_rarely() {
    let mut world = World::new(141, &["JO", "KE", "US"]);
    for name in ["KE", "US"] {
        world.connect(name, "JO");
    }
    // Nothing is answered.
    world.loss_percent = 100;
    let (junk, span) = (40, SECOND * 6 * 3_600);
    for number in 1..=junk {
        let parcel = parcel(&world, number, Class::Urgent, MIB);
        hand(&mut world, "US", parcel);
    }
    world.run(span);
    let units = u64::from(REPEAT_BURST) + (span.as_millis() / REPEAT_INTERVAL.as_millis()) as u64;
    let repeats = units / (MIB / REPEAT_UNIT_BYTES) as u64;
    let sent = world.nodes["JO"].parcels_sent as u64;
    assert!((2 * junk..=junk + repeats).contains(&sent), "{sent}, at most {repeats} repetitions");
}

#[test]
fn every_member_has_room_for_its_most_urgent_few_in_a_full_store() {
    let mut world = World::new(142, &["BR", "JO", "KE", "US"]);
    world.kill("KE");
    world.kill("JO");
    let row = CustodyRow {
        by: code("US"),
        member: code("KE"),
        expires: world.now.after(EXPIRY_DEFAULT),
        class: Class::Urgent,
        size: 64,
        sealing_key: SealingKeyId::from_bytes([3; 32]),
        since: world.now,
        answer: None,
    };
    let (hander, node) = (NodeKey::from_bytes([7; 32]), world.key("KE"));
    let row = encode_row(&row).unwrap();
    for number in 0..CUSTODY_ROWS_MAX as u64 {
        let mut id = [0xFF; 32];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let key = CustodyKey { hander, message: MessageId::from_bytes(id), node };
        let stored = (Table::Custody, key.to_bytes().to_vec());
        world.nodes.get_mut("JO").unwrap().disk.insert(stored, row.clone());
    }
    world.start("JO");
    world.connect("BR", "JO");
    assert_eq!(held(&world, "JO"), CUSTODY_ROWS_MAX);
    let normal = parcel(&world, 9_000, Class::Normal, 512);
    hand(&mut world, "BR", normal);
    assert_eq!(held(&world, "JO"), CUSTODY_ROWS_MAX, "routine parcels leave it to urgent ones");
    for number in 0..CUSTODY_ROWS_PER_MEMBER_MIN as u64 + 10 {
        let parcel = parcel(&world, number, Class::Urgent, 512);
        hand(&mut world, "BR", parcel);
    }
    assert_eq!(held(&world, "JO"), CUSTODY_ROWS_MAX + CUSTODY_ROWS_PER_MEMBER_MIN);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + SECOND);
    assert_eq!(shown(&world, message).custodians.len(), 0);
    assert_eq!(refusals(&world).last(), Some(&RefusalReason::NoRoom));
}

#[test]
fn answers_that_are_never_echoed_hold_up_no_other() {
    let (mut world, message) = in_custody(143, Precedence::Flash);
    // What the sender does not know, as after its folder was put back.
    for number in 1..=100 {
        let parcel = parcel(&world, number, Class::Urgent, 64);
        hand(&mut world, "BR", parcel);
    }
    world.kill("BR");
    world.start("KE");
    world.connect("JO", "KE");
    world.settle();
    assert!(world.has("KE", message));
    world.start("BR");
    world.connect("BR", "JO");
    world.run(SECOND * 300);
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn what_a_custodian_never_keeps_is_carried_to_it_ever_more_rarely() {
    let mut world = beside_a_custodian_that_is_behind(145);
    world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(SECOND * 24 * 3_600);
    let times = refusals(&world).len();
    assert!((5..=12).contains(&times), "{times}");
}

#[test]
fn a_custodian_that_knew_no_better_is_asked_again() {
    let mut world = beside_a_custodian_that_is_behind(144);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + SECOND);
    assert_eq!(refusals(&world), [RefusalReason::NotARecipient]);
    world.nodes.get_mut("JO").unwrap().directory = None;
    world.run(SECOND * 360);
    assert_eq!(world.reached("BR", message), RecipientState::Custody);
}
