//! Parcels for nodes that are out of reach: kept by others, handed over, answered, and never lost or told as delivered.

use std::time::Duration;

use refpoint_protocol::{
    ids::CharterVersion,
    limits::{
        CUSTODIAN_REST, CUSTODIAN_SILENT, CUSTODIANS_MAX, CUSTODY_AFTER, CUSTODY_AFTER_URGENT, CUSTODY_AGAIN,
        CUSTODY_ANSWER_KEPT, EXPIRY_DEFAULT,
    },
    membership::charter::WorkingGroup,
    message::{body::Word, header::Precedence},
    relay::{
        book::MemberStatus,
        event::{CustodyEnd, RelayEvent},
        exchange::RelayInput,
        views::{NodeView, RecipientState},
    },
    storage::Table,
};

use super::world::{World, code};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// What the sender shows of the only recipient's only node.
pub(super) fn shown(world: &World, message: refpoint_protocol::ids::MessageId) -> NodeView {
    world.sent("BR", message).recipients[0].nodes[0].clone()
}

pub(super) fn held(world: &World, name: &str) -> usize {
    world.relay(name).counts().held
}

pub(super) fn endings(world: &World, name: &str) -> Vec<CustodyEnd> {
    let ended = |event: &RelayEvent| match event {
        RelayEvent::CustodyEnded { why, .. } => Some(*why),
        _ => None,
    };
    world.nodes[name].events.iter().filter_map(ended).collect()
}

pub(super) fn custody_rows(world: &World, name: &str) -> usize {
    let custody = |table: &Table| matches!(table, Table::Custody | Table::CustodyParcels);
    world.nodes[name].disk.keys().filter(|(table, _)| custody(table)).count()
}

/// BR sends to KE, which is down, and JO keeps it.
pub(super) fn in_custody(seed: u64, precedence: Precedence) -> (World, refpoint_protocol::ids::MessageId) {
    let mut world = World::new(seed, &["BR", "JO", "KE"]);
    world.kill("KE");
    world.connect("BR", "JO");
    let message = world.submit("BR", &["KE"], precedence).unwrap();
    let patience = if precedence.is_urgent() { CUSTODY_AFTER_URGENT } else { CUSTODY_AFTER };
    world.run(patience - Duration::from_millis(10));
    assert_eq!(world.reached("BR", message), RecipientState::Queued);
    assert_eq!(held(&world, "JO"), 0);
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Custody);
    (world, message)
}

#[test]
fn a_parcel_whose_recipient_is_away_is_kept_by_others_in_different_groups() {
    let mut world = World::new(80, &["BR", "FR", "DE", "JO", "KE", "NG", "US"]);
    let groups = [
        ("BR", WorkingGroup::Americas),
        ("US", WorkingGroup::Americas),
        ("FR", WorkingGroup::Eurasia),
        ("DE", WorkingGroup::Eurasia),
        ("JO", WorkingGroup::Mena),
        ("KE", WorkingGroup::Africa),
        ("NG", WorkingGroup::Africa),
    ];
    world.directory.groups = groups.into_iter().map(|(member, group)| (code(member), group)).collect();
    world.kill("KE");
    world.connect_all();
    for _ in 0..8 {
        let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
        world.run(CUSTODY_AFTER_URGENT + SECOND);
        let node = shown(&world, message);
        assert_eq!(
            (node.state, node.custodians.len(), node.custodians_asked),
            (RecipientState::Custody, 3, 3)
        );
        let chosen: std::collections::BTreeSet<_> =
            node.custodians.iter().map(|it| world.directory.groups[&it.member]).collect();
        assert_eq!(chosen.len(), 3, "three groups: {:?}", node.custodians);
        assert!(node.custodians.iter().all(|it| it.member != code("KE") && it.member != code("BR")));
        assert_eq!(world.reached("BR", message), RecipientState::Custody);
        assert!(world.relay("BR").receipts(&message).is_empty(), "custody is no delivery");
    }
}

#[test]
fn flash_goes_into_custody_in_seconds_and_routine_in_a_minute() {
    in_custody(81, Precedence::Flash);
    in_custody(82, Precedence::Routine);
}

#[test]
fn a_recipient_that_refuses_and_then_falls_silent_is_out_of_reach() {
    let mut world = World::new(99, &["BR", "JO", "KE"]);
    world.connect("BR", "JO");
    world.connect("BR", "KE");
    world.nodes.get_mut("KE").unwrap().disk_is_full = true;
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT * 4);
    assert_eq!(held(&world, "JO"), 0, "it answers");
    // It stands still, and its connection does not.
    world.nodes.get_mut("KE").unwrap().relay = None;
    world.run(Duration::from_secs(300));
    assert_eq!((held(&world, "JO"), world.reached("BR", message)), (1, RecipientState::Custody));
}

#[test]
fn the_sender_dies_for_good_and_the_message_arrives() {
    let (mut world, message) = in_custody(83, Precedence::Flash);
    world.kill("BR");
    world.kill("JO");
    world.start("JO");
    assert_eq!(held(&world, "JO"), 1, "custody outlives a restart");
    world.start("KE");
    world.connect("JO", "KE");
    world.settle();
    assert!(world.has("KE", message));
    assert_eq!(world.arrivals("KE", message), 1);
    assert_eq!(endings(&world, "JO"), [CustodyEnd::Delivered]);
    assert_eq!(held(&world, "JO"), 0);
    // The answer waits for the sender, through a restart of its bearer, and goes away once it was told.
    world.kill("JO");
    world.start("JO");
    world.run(Duration::from_secs(86_400));
    assert_eq!(custody_rows(&world, "JO"), 1);
    world.start("BR");
    assert_eq!(world.reached("BR", message), RecipientState::Custody);
    world.connect("BR", "JO");
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    assert_eq!(custody_rows(&world, "JO"), 0);
}

#[test]
fn two_nodes_that_never_see_each_other_are_served_at_once() {
    let mut world = World::new(84, &["BR", "JO", "KE"]);
    world.connect("BR", "JO");
    world.connect("JO", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + SECOND);
    assert!(world.has("KE", message));
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    assert_eq!((custody_rows(&world, "JO"), held(&world, "JO")), (0, 0));
    // A person's word goes the same way.
    world.state("KE", message, Word::Acknowledged);
    world.run(CUSTODY_AFTER + SECOND);
    assert!(world.sent("BR", message).recipients[0].acknowledged.is_some());
    assert_eq!(custody_rows(&world, "JO"), 0);
}

#[test]
fn a_recipient_that_returns_to_everyone_gets_one_copy_and_nobody_keeps_anything() {
    let mut world = World::new(85, &["BR", "FR", "JO", "KE", "US"]);
    world.kill("KE");
    world.connect_all();
    let messages: Vec<_> =
        (0..20).map(|n| world.submit("BR", &["KE"], Precedence::ALL[n % 4]).unwrap()).collect();
    world.run(CUSTODY_AFTER + SECOND);
    let kept = ["FR", "JO", "US"].map(|name| held(&world, name));
    assert_eq!(kept, [20, 20, 20]);
    world.start("KE");
    world.connect_all();
    world.settle();
    world.settle();
    for message in &messages {
        assert_eq!(world.reached("BR", *message), RecipientState::Delivered);
        assert_eq!(world.arrivals("KE", *message), 1);
    }
    for name in ["FR", "JO", "US"] {
        assert_eq!((held(&world, name), custody_rows(&world, name)), (0, 0), "{name}");
    }
}

#[test]
fn a_custodian_that_dies_loses_nothing_and_another_takes_its_place() {
    let (mut world, message) = in_custody(86, Precedence::Flash);
    world.kill("JO");
    world.nodes.get_mut("JO").unwrap().disk.clear();
    world.join("US");
    world.connect("BR", "US");
    world.run(SECOND * 40);
    assert_eq!(shown(&world, message).custodians.len(), 2, "US is asked as the second");
    for name in ["FR", "DE", "SG"] {
        world.join(name);
        world.connect("BR", name);
    }
    world.run(SECOND * 40);
    assert_eq!(shown(&world, message).custodians.len(), 3);
    world.run(CUSTODIAN_SILENT + SECOND * 40);
    assert_eq!(shown(&world, message).custodians.len(), 4, "the silent one is counted no more");
    world.start("KE");
    world.connect("BR", "KE");
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn what_nobody_can_open_is_not_handed_over_without_end_by_a_clock_past_its_expiry() {
    let (mut world, message) = in_custody(88, Precedence::Flash);
    world.directory.clock_is_wrong = true;
    world.kill("BR");
    world.run(SECOND * 3_600 * 80);
    world.nodes.get_mut("KE").unwrap().seeds.clear();
    world.start("KE");
    let before = world.nodes["JO"].parcels_sent;
    world.connect("JO", "KE");
    world.run(SECOND * 120);
    let sent = world.nodes["JO"].parcels_sent - before;
    assert!((1..=2).contains(&sent), "{sent} times in two minutes");
    assert!(!world.has("KE", message));
}

#[test]
fn what_the_recipient_cannot_open_is_not_carried_to_it_by_everybody() {
    let mut world = World::new(94, &["BR", "KE"]);
    world.nodes.get_mut("KE").unwrap().seeds.clear();
    for name in ["AR", "CL", "DE", "FR", "IT", "JO", "MX", "NG", "PE", "SG", "UG", "US"] {
        world.join(name);
        world.connect("BR", name);
        world.connect(name, "KE");
    }
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + CUSTODIAN_REST);
    // Three of them were told that it does not open, and two more had it by then.
    let handed = world.nodes["BR"].parcels_sent;
    assert!((CUSTODIANS_MAX..2 * CUSTODIANS_MAX).contains(&handed), "{handed} parcels in five minutes");
    assert!(shown(&world, message).unopened);
    // A new key is used at once, through whoever is there.
    world.new_sealing_key("KE");
    world.everyone(|| RelayInput::DirectoryChanged { member: Some(code("KE")) });
    world.run(CUSTODY_AGAIN + SECOND);
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    assert!(!shown(&world, message).unopened);
}

#[test]
fn a_rebuilt_recipient_gets_it_sealed_anew_through_the_custodian() {
    let (mut world, message) = in_custody(87, Precedence::Flash);
    world.nodes.get_mut("KE").unwrap().seeds.clear();
    world.new_sealing_key("KE");
    world.start("KE");
    world.connect("JO", "KE");
    world.settle();
    world.settle();
    assert!(world.has("KE", message), "reseal went back to the sender, and the new parcel the same way");
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    assert_eq!(custody_rows(&world, "JO"), 0);
}

#[test]
fn a_lost_key_with_the_sender_gone_is_undeliverable_and_never_delivered() {
    let (mut world, message) = in_custody(88, Precedence::Flash);
    world.kill("BR");
    world.nodes.get_mut("KE").unwrap().seeds.clear();
    world.new_sealing_key("KE");
    world.start("KE");
    world.connect("JO", "KE");
    world.settle();
    let kept = world.relay("JO").held(&world.directory);
    assert!(kept.len() == 1 && kept[0].key_lost);
    world.run(EXPIRY_DEFAULT + SECOND);
    assert!(!world.has("KE", message));
    assert_eq!(endings(&world, "JO"), [CustodyEnd::KeyLost]);
    assert_eq!(CustodyEnd::KeyLost.to_string(), "undeliverable: key lost");
    // The custodian starts again, with a clock that nobody confirms yet: the answer alone is there, and stays.
    world.kill("JO");
    world.directory.clock_is_wrong = true;
    world.start("JO");
    world.connect("JO", "KE");
    world.run(SECOND * 30);
    world.directory.clock_is_wrong = false;
    world.run(SECOND * 60);
    assert_eq!(endings(&world, "JO"), [CustodyEnd::KeyLost]);
    // The sender comes back too late, and is told.
    world.start("BR");
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Expired);
    world.connect("BR", "JO");
    world.settle();
    assert_eq!(world.reached("BR", message), RecipientState::Undeliverable);
    world.kill("BR");
    world.start("BR");
    assert_eq!(world.reached("BR", message), RecipientState::Undeliverable);
    world.run(CUSTODY_ANSWER_KEPT);
    assert_eq!(custody_rows(&world, "JO"), 0);
}

#[test]
fn a_node_that_is_replaced_cannot_open_what_was_kept_for_the_old_one() {
    let (mut world, _) = in_custody(89, Precedence::Flash);
    world.kill("BR");
    let key = world.key("KE");
    world.directory.nodes.remove(&key);
    assert!(world.relay("JO").held(&world.directory)[0].key_lost);
    world.run(EXPIRY_DEFAULT + SECOND);
    assert_eq!(endings(&world, "JO"), [CustodyEnd::KeyLost]);
    assert_eq!(custody_rows(&world, "JO"), 0);
}

#[test]
fn a_suspended_member_has_lost_no_key() {
    for status in [MemberStatus::Suspended(CharterVersion(2)), MemberStatus::Withdrawn(CharterVersion(2))] {
        let (mut world, _) = in_custody(91, Precedence::Flash);
        world.kill("BR");
        world.directory.status.insert(code("KE"), status);
        assert!(!world.relay("JO").held(&world.directory)[0].key_lost);
        world.run(EXPIRY_DEFAULT + SECOND);
        assert_eq!(endings(&world, "JO"), [CustodyEnd::Expired]);
    }
}

#[test]
fn what_expires_is_kept_no_longer() {
    let (mut world, message) = in_custody(90, Precedence::Routine);
    world.directory.clock_is_wrong = true;
    world.run(EXPIRY_DEFAULT + CUSTODY_ANSWER_KEPT + SECOND);
    assert_eq!(held(&world, "JO"), 1, "a wrong clock expires nothing, and forgets nothing either");
    world.directory.clock_is_wrong = false;
    world.run(SECOND * 61);
    assert_eq!(endings(&world, "JO"), [CustodyEnd::Expired]);
    assert_eq!(custody_rows(&world, "JO"), 0);
    assert_eq!(world.reached("BR", message), RecipientState::Expired);
}

#[test]
fn a_custodian_without_room_says_so_and_another_is_asked() {
    let mut world = World::new(91, &["BR", "JO", "KE"]);
    world.kill("KE");
    world.connect("BR", "JO");
    world.nodes.get_mut("JO").unwrap().disk_is_full = true;
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + SECOND);
    assert_eq!(world.reached("BR", message), RecipientState::Queued);
    assert_eq!((held(&world, "JO"), shown(&world, message).custodians_asked), (0, 0));
    let told = |event: &RelayEvent| matches!(event, RelayEvent::CustodyRefused { reason, .. } if reason.name() == "no-room");
    assert!(world.nodes["BR"].events.iter().any(told));
    world.join("US");
    world.connect("BR", "US");
    world.settle();
    assert_eq!(shown(&world, message).custodians.len(), 1);
}

#[test]
fn flash_overtakes_routine_into_custody_and_out_of_it_and_routine_is_not_starved() {
    let mut world = World::new(92, &["BR", "JO", "KE"]);
    world.kill("KE");
    world.connect("BR", "JO");
    let routine: Vec<_> =
        (0..40).map(|_| world.submit("BR", &["KE"], Precedence::Routine).unwrap()).collect();
    // Nothing arrives at JO: its window fills with routine, and keeps a reserve.
    world.loss_percent = 100;
    world.run(CUSTODY_AFTER + SECOND);
    let asked = |world: &World, message| shown(world, message).custodians_asked;
    let handed = routine.iter().filter(|message| asked(&world, **message) > 0).count();
    assert!((20..40).contains(&handed), "{handed}");
    let flash = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(CUSTODY_AFTER_URGENT + SECOND);
    assert_eq!(asked(&world, flash), 1);
    world.loss_percent = 0;
    world.run(SECOND * 120);
    assert_eq!(held(&world, "JO"), 41);
    // Taken last, handed over first; and of the rest nothing waits for ever.
    world.kill("BR");
    world.start("KE");
    world.connect("JO", "KE");
    world.settle();
    let arrived = |event: &RelayEvent| match event {
        RelayEvent::MessageArrived { message, .. } => Some(*message),
        _ => None,
    };
    let order: Vec<_> = world.nodes["KE"].events.iter().filter_map(arrived).collect();
    assert_eq!((order.first(), order.len()), (Some(&flash), 41));
}
