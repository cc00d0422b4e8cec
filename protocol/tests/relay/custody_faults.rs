//! Custodians that lie, damage or are full, and senders that ask for too much: named, bounded, and without harm.

use std::time::Duration;

use refpoint_protocol::{
    ids::{MessageId, SealingKeyId},
    limits::{
        CUSTODY_AFTER_URGENT, CUSTODY_AGAIN, CUSTODY_BURST, CUSTODY_BYTES_PER_MEMBER_MAX, EXPIRY_DEFAULT,
        EXPIRY_MAX, REPEAT_BURST, REPEAT_INTERVAL,
    },
    message::header::Precedence,
    relay::{
        book::Book,
        event::{CustodyEnd, RelayEvent},
        exchange::{RelayFault, RelayInput},
        parcel::{Class, Label, Parcel},
        receipt::{Receipt, ReceiptWord, RefusalReason},
        rows::{decode_custody_parcel, encode_row},
        sealing::{compose, seal},
        views::RecipientState,
    },
    storage::Table,
};

use super::{
    custody::{SECOND, custody_rows, endings, held, in_custody, shown},
    world::{FEDERATION, World, code, draft},
};

pub(super) fn said(world: &World, message: MessageId, by: &str, word: ReceiptWord) -> Receipt {
    let reason = (word == ReceiptWord::Refused).then_some(RefusalReason::Invalid);
    let (member, node) = (world.nodes[by].member.clone(), world.key("KE"));
    Receipt { message, member, node, word, at: world.now, reason, sealing_key: None }
}

/// A parcel for KE that nobody can open; custodians cannot tell.
pub(super) fn parcel(world: &World, number: u64, class: Class, bytes: usize) -> Box<Parcel> {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Box::new(Parcel {
        label: Label {
            message: MessageId::from_bytes(id),
            member: code("KE"),
            node: world.key("KE"),
            expires: world.now.after(EXPIRY_DEFAULT),
            class,
            size: bytes as u64,
        },
        sealing_key: SealingKeyId::from_bytes([3; 32]),
        sealed: vec![4; 1_200],
        ciphertext: vec![5; bytes],
    })
}

pub(super) fn hand(world: &mut World, from: &str, parcel: Box<Parcel>) {
    let from = world.key(from);
    world.input("JO", RelayInput::ParcelReceived { from, parcel });
}

/// The last thing that a custodian told the sender.
pub(super) fn refusals(world: &World) -> Vec<RefusalReason> {
    let refused = |event: &RelayEvent| match event {
        RelayEvent::CustodyRefused { reason, .. } => Some(*reason),
        _ => None,
    };
    world.nodes["BR"].events.iter().filter_map(refused).collect()
}

#[test]
fn custody_counts_only_from_whoever_was_handed_the_parcel_and_signed_by_it() {
    let (mut world, message) = in_custody(100, Precedence::Flash);
    world.join("US");
    let custody = said(&world, message, "US", ReceiptWord::Custody);
    let never_handed = world.receipt("US", "US", &custody);
    world.input("BR", never_handed);
    let fault = world.nodes["BR"].faults.last().cloned();
    assert_eq!(fault, Some(RelayFault::CustodyUnknown(message)));
    let borne = world.receipt("US", "JO", &custody);
    world.input("BR", borne);
    assert_eq!(world.nodes["BR"].faults.last().cloned(), Some(RelayFault::ReceiptSigner(message)));
    let as_america = Receipt { member: code("US"), ..said(&world, message, "JO", ReceiptWord::Custody) };
    let pretender = world.receipt("JO", "JO", &as_america);
    world.input("BR", pretender);
    assert_eq!(world.nodes["BR"].faults.last().cloned(), Some(RelayFault::CustodyUnknown(message)));
    assert_eq!(shown(&world, message).custodians.len(), 1);
    // The recipient keeps nothing for itself.
    let own = said(&world, message, "KE", ReceiptWord::Custody);
    let own = world.receipt("KE", "KE", &own);
    world.input("BR", own);
    assert_eq!(world.nodes["BR"].faults.last().cloned(), Some(RelayFault::ReceiptSigner(message)));
}

#[test]
fn a_custodian_cannot_say_delivered_for_the_recipient() {
    let (mut world, message) = in_custody(101, Precedence::Flash);
    for member in ["KE", "JO"] {
        for word in [ReceiptWord::Delivered, ReceiptWord::Reseal] {
            let forged = Receipt { member: code(member), ..said(&world, message, "JO", word) };
            let forged = world.receipt("JO", "JO", &forged);
            world.input("BR", forged);
            let fault = world.nodes["BR"].faults.last().cloned().unwrap();
            assert_eq!(fault, RelayFault::ReceiptSigner(message));
            assert!(fault.is_penalised());
        }
    }
    assert_eq!(world.reached("BR", message), RecipientState::Custody);
    // Nor can a sender make a custodian let go by a word that the recipient did not sign.
    let forged = said(&world, message, "KE", ReceiptWord::Delivered);
    let forged = world.receipt("BR", "BR", &forged);
    world.input("JO", forged);
    assert_eq!(world.nodes["JO"].faults.last().cloned(), Some(RelayFault::ReceiptSigner(message)));
    assert_eq!(held(&world, "JO"), 1);
}

#[test]
fn a_custodian_that_drops_early_loses_nothing() {
    let (mut world, message) = in_custody(102, Precedence::Flash);
    world.kill("JO");
    world.nodes.get_mut("JO").unwrap().disk.clear();
    world.start("JO");
    world.start("KE");
    world.connect("JO", "KE");
    world.connect("BR", "JO");
    world.settle();
    assert!(!world.has("KE", message) && world.reached("BR", message) == RecipientState::Custody);
    world.connect("BR", "KE");
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn a_custodian_that_damages_a_parcel_stops_no_message() {
    let (mut world, message) = in_custody(103, Precedence::Flash);
    let disk = &mut world.nodes.get_mut("JO").unwrap().disk;
    let stored = disk.iter_mut().find(|((table, _), _)| *table == Table::CustodyParcels).unwrap().1;
    let mut parcel = decode_custody_parcel(stored).unwrap();
    parcel.ciphertext[0] ^= 1;
    *stored = encode_row(&parcel).unwrap();
    world.start("KE");
    world.connect("JO", "KE");
    world.settle();
    // KE signed `refused: invalid` of what it was handed; its sender does not take that for the message.
    assert_eq!(refusals(&world), [RefusalReason::Invalid]);
    assert_eq!(endings(&world, "JO"), [CustodyEnd::Refused]);
    assert_eq!(world.reached("BR", message), RecipientState::Queued);
    assert_eq!(custody_rows(&world, "JO"), 0);
    world.join("US");
    world.connect("BR", "US");
    world.settle();
    world.connect("US", "KE");
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn a_parcel_that_cannot_be_read_back_ends_its_custody_in_plain_words() {
    let (mut world, message) = in_custody(104, Precedence::Flash);
    world.nodes.get_mut("JO").unwrap().disk.retain(|(table, _), _| *table != Table::CustodyParcels);
    world.start("KE");
    world.connect("JO", "KE");
    world.run(CUSTODY_AGAIN);
    assert_eq!(endings(&world, "JO"), [], "it may not be written yet");
    world.kill("JO");
    world.start("JO");
    world.connect("BR", "JO");
    world.connect("JO", "KE");
    world.run(CUSTODY_AGAIN);
    assert_eq!(endings(&world, "JO"), [CustodyEnd::Lost]);
    assert_eq!(refusals(&world), [RefusalReason::Lost]);
    assert_ne!(world.reached("BR", message), RecipientState::Delivered);
    world.connect("BR", "KE");
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn each_member_has_its_share_and_urgent_parcels_a_reserve() {
    const MIB: usize = 1024 * 1024;
    let mut world = World::new(105, &["BR", "FR", "JO", "KE"]);
    world.kill("KE");
    world.connect("BR", "JO");
    world.connect("FR", "JO");
    let most = CUSTODY_BYTES_PER_MEMBER_MAX as usize / MIB;
    for number in 0..most as u64 {
        let parcel = parcel(&world, number, Class::Normal, MIB);
        hand(&mut world, "BR", parcel);
    }
    let normal = held(&world, "JO");
    assert!(normal < most && normal > most * 8 / 10, "{normal} of {most}");
    let before = normal;
    for number in 100..100 + most as u64 {
        let parcel = parcel(&world, number, Class::Urgent, MIB);
        hand(&mut world, "BR", parcel);
    }
    assert!(held(&world, "JO") > before && held(&world, "JO") < most);
    let from_others = held(&world, "JO");
    let another = parcel(&world, 900, Class::Normal, MIB);
    hand(&mut world, "FR", another);
    assert_eq!(held(&world, "JO"), from_others + 1, "one member's share is not another's");
    // The refusal says so, and the sender shows it.
    let message = world.submit("BR", &["KE"], Precedence::Routine).unwrap();
    world.run(SECOND * 70);
    assert_eq!(refusals(&world).last(), Some(&RefusalReason::Quota));
    assert_eq!(world.reached("BR", message), RecipientState::Queued);
}

#[test]
fn what_is_out_of_form_or_date_or_for_nobody_is_not_kept() {
    let mut world = World::new(106, &["BR", "JO", "KE"]);
    world.connect("BR", "JO");
    world.settle();
    let change = |world: &mut World, change: fn(&mut Parcel)| {
        let mut parcel = parcel(world, 1, Class::Normal, 512);
        change(&mut parcel);
        hand(world, "BR", parcel);
        held(world, "JO")
    };
    assert_eq!(change(&mut world, |parcel| parcel.label.size += 1), 0);
    let fault = |world: &mut World| world.nodes.get_mut("JO").unwrap().faults.pop().unwrap();
    let out_of_form = fault(&mut world);
    assert!(out_of_form.is_penalised() && out_of_form.rule() == "CU-01");
    assert_eq!(change(&mut world, |parcel| parcel.sealed = vec![0; 20_000]), 0);
    assert_eq!(fault(&mut world).rule(), "CU-01");
    assert_eq!(change(&mut world, |parcel| parcel.label.expires = super::world::START), 0);
    assert_eq!(change(&mut world, |parcel| parcel.label.expires = parcel.label.expires.after(EXPIRY_MAX)), 0);
    assert_eq!(change(&mut world, |parcel| parcel.label.member = code("FR")), 0);
    world.directory.status.insert(
        code("KE"),
        refpoint_protocol::relay::book::MemberStatus::Suspended(refpoint_protocol::ids::CharterVersion(2)),
    );
    assert_eq!(change(&mut world, |_| ()), 0);
    world.directory.status.insert(code("KE"), refpoint_protocol::relay::book::MemberStatus::Active);
    assert_eq!(world.nodes["JO"].faults, [], "what a lagging directory or clock does is nobody's fault");
    assert_eq!(change(&mut world, |_| ()), 1);
    assert_eq!(change(&mut world, |_| ()), 1, "the same parcel again is kept once");
}

#[test]
fn an_answer_that_is_lost_on_its_way_back_is_passed_again() {
    let (mut world, message) = in_custody(108, Precedence::Flash);
    world.start("KE");
    world.connect("JO", "KE");
    // KE has stored and answered; what JO passes back does not arrive.
    world.run(std::time::Duration::from_millis(30));
    world.loss_percent = 100;
    world.settle();
    assert!(world.has("KE", message) && world.reached("BR", message) == RecipientState::Custody);
    world.loss_percent = 0;
    world.run(SECOND * 130);
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    assert_eq!(custody_rows(&world, "JO"), 0);
}

#[test]
fn a_full_recipient_gets_what_is_kept_when_it_has_room() {
    let (mut world, message) = in_custody(109, Precedence::Flash);
    world.nodes.get_mut("KE").unwrap().disk_is_full = true;
    world.start("KE");
    world.connect("JO", "KE");
    world.settle();
    assert!(!world.has("KE", message) && held(&world, "JO") == 1);
    world.nodes.get_mut("KE").unwrap().disk_is_full = false;
    world.run(CUSTODY_AFTER_URGENT * 4);
    assert!(world.has("KE", message));
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn an_echo_is_never_echoed() {
    let (mut world, message) = in_custody(110, Precedence::Flash);
    world.start("KE");
    world.connect("JO", "KE");
    world.settle();
    let delivered = said(&world, message, "KE", ReceiptWord::Delivered);
    for _ in 0..3 {
        let echo = world.receipt("KE", "BR", &delivered);
        world.input("JO", echo);
    }
    // Three echoes bring nothing back to BR, or the world would not come to rest.
    world.run(SECOND);
    assert_eq!(world.nodes["JO"].faults.iter().filter(|fault| fault.is_penalised()).count(), 0);
    assert_eq!(custody_rows(&world, "JO"), 0);
}

#[test]
fn a_refusal_of_what_nobody_sent_is_not_echoed() {
    let mut world = World::new(112, &["BR", "FR", "KE"]);
    world.connect("BR", "FR");
    let strange = MessageId::from_bytes([7; 32]);
    let refused = said(&world, strange, "KE", ReceiptWord::Refused);
    let borne = world.receipt("KE", "BR", &refused);
    world.input("FR", borne);
    world.settle();
    assert_eq!((world.nodes["FR"].borne_sent, world.nodes["BR"].borne_sent), (0, 0));
}

#[test]
fn a_member_that_hands_over_too_fast_is_held_back_and_nobody_else() {
    let mut world = World::new(111, &["BR", "FR", "JO", "KE"]);
    world.kill("KE");
    world.connect("BR", "JO");
    world.connect("FR", "JO");
    let burst = u64::from(CUSTODY_BURST);
    for number in 0..burst + 100 {
        let parcel = parcel(&world, number, Class::Urgent, 64);
        hand(&mut world, "BR", parcel);
    }
    assert_eq!(held(&world, "JO") as u64, burst);
    let other = parcel(&world, 9_000, Class::Normal, 64);
    hand(&mut world, "FR", other);
    assert_eq!(held(&world, "JO") as u64, burst + 1);
    world.settle();
    for number in 5_000..5_100 {
        let parcel = parcel(&world, number, Class::Urgent, 64);
        hand(&mut world, "BR", parcel);
    }
    let earned = held(&world, "JO") as u64 - burst - 1;
    assert!((1..=2).contains(&earned), "{earned} in a second");
}

#[test]
fn a_custodian_is_not_blamed_for_what_it_cannot_see() {
    let mut world = World::new(117, &["JO", "KE", "US"]);
    world.connect("US", "JO");
    world.connect("JO", "KE");
    let (member, node) = (code("KE"), world.key("KE"));
    let key = world.directory.sealing_key(&member, &node, world.now).unwrap();
    let (text, us) = (draft(&["KE"], Precedence::Routine, "text"), &world.nodes["US"].key);
    let content = compose(&text, &code("US"), FEDERATION, us, world.now, &[7; 56]).unwrap().content;
    for number in 1..=8 {
        let label = Label {
            message: MessageId::from_bytes([number; 32]),
            member: member.clone(),
            node,
            expires: world.now.after(EXPIRY_DEFAULT),
            class: Class::Normal,
            size: content.size() as u64,
        };
        hand(&mut world, "US", Box::new(seal(&content, label, &key, &[number; 64]).unwrap()));
    }
    world.run(SECOND * 10);
    let faults = &world.nodes["KE"].faults;
    assert_eq!(faults.iter().map(RelayFault::rule).collect::<Vec<_>>(), ["PA-04"; 8]);
    assert!(!faults.iter().any(RelayFault::is_penalised));
}

#[test]
fn a_members_junk_leaves_a_custodian_its_own_allowance() {
    let mut world = World::new(118, &["JO", "KE", "US"]);
    world.connect("US", "JO");
    world.connect("JO", "KE");
    for number in 0..55_000 {
        let junk = parcel(&world, 1 + number % 4_000, Class::Urgent, 512);
        hand(&mut world, "US", junk);
        world.run(Duration::from_millis(20));
    }
    let messages: Vec<_> = (0..20).map(|_| world.submit("JO", &["KE"], Precedence::Flash).unwrap()).collect();
    world.run(SECOND);
    assert!(messages.iter().all(|message| world.has("KE", *message)));
}

#[test]
fn one_members_nodes_hold_off_no_other_custodian() {
    let mut world = World::new(119, &["BR", "KE", "US1", "US2", "US3"]);
    for us in ["US1", "US2", "US3"] {
        world.connect("BR", us);
    }
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + SECOND);
    for _ in 0..3 {
        let custodian = shown(&world, message).custodians[0].node;
        let by = ["US1", "US2", "US3"].into_iter().find(|us| world.key(us) == custodian).unwrap();
        let reseal = said(&world, message, "KE", ReceiptWord::Reseal);
        let borne = world.receipt("KE", by, &reseal);
        world.input("BR", borne);
        world.run(SECOND);
    }
    // One member's word makes nobody believe that KE has lost its key.
    assert!(!shown(&world, message).unopened);
    world.join("FR");
    world.connect("FR", "KE");
    world.connect("BR", "FR");
    world.run(SECOND * 40);
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn what_nobody_can_open_is_handed_over_ever_more_rarely() {
    let mut world = World::new(120, &["JO", "KE", "US"]);
    world.connect("US", "JO");
    world.connect("JO", "KE");
    let junk = u64::from(CUSTODY_BURST);
    for number in 1..=junk {
        let parcel = parcel(&world, number, Class::Urgent, 512);
        hand(&mut world, "US", parcel);
    }
    world.run(SECOND * 12 * 3_600);
    let before = world.nodes["JO"].parcels_sent;
    world.run(SECOND * 12 * 3_600);
    let again = (world.nodes["JO"].parcels_sent - before) as u64;
    assert!((junk..=2 * junk).contains(&again), "{again} of {junk}");
    // What it has refused to open before, a node that comes back may open: it is offered at once.
    let before = world.nodes["JO"].parcels_sent;
    world.disconnect("JO", "KE");
    world.connect("JO", "KE");
    world.run(SECOND * 60);
    assert_eq!((world.nodes["JO"].parcels_sent - before) as u64, junk);
}

#[test]
fn a_members_parcels_are_repeated_within_bounds_whatever_is_answered() {
    let mut world = World::new(127, &["JO", "KE", "US"]);
    for name in ["KE", "US"] {
        world.connect(name, "JO");
    }
    // Nothing is: KE is connected and silent.
    world.loss_percent = 100;
    let junk = u64::from(CUSTODY_BURST);
    for number in 1..=junk {
        let parcel = parcel(&world, number, Class::Urgent, 512);
        hand(&mut world, "US", parcel);
    }
    let span = SECOND * 6 * 3_600;
    world.run(span);
    let sent = world.nodes["JO"].parcels_sent as u64;
    let repeats = u64::from(REPEAT_BURST) + (span.as_millis() / REPEAT_INTERVAL.as_millis()) as u64;
    assert!((2 * junk..=junk + repeats + 1).contains(&sent), "{sent}");
    // On a new connection each is handed over at once, whenever that comes.
    world.disconnect("JO", "KE");
    world.run(SECOND * 3_600);
    world.loss_percent = 0;
    world.connect("JO", "KE");
    let before = world.nodes["JO"].parcels_sent as u64;
    world.run(SECOND * 60);
    assert_eq!(world.nodes["JO"].parcels_sent as u64 - before, junk);
}

#[test]
fn routine_parcels_use_up_nothing_that_is_for_urgent_ones() {
    let mut world = World::new(121, &["BR", "JO", "KE"]);
    world.kill("KE");
    world.connect("BR", "JO");
    let burst = u64::from(CUSTODY_BURST);
    for number in 0..burst + 100 {
        let parcel = parcel(&world, number, Class::Normal, 64);
        hand(&mut world, "BR", parcel);
    }
    assert_eq!(held(&world, "JO") as u64, burst);
    let urgent = parcel(&world, 9_000, Class::Urgent, 64);
    hand(&mut world, "BR", urgent);
    assert_eq!(held(&world, "JO") as u64, burst + 1);
}
