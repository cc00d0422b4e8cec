//! The whole machine: nodes that meet, agree on a directory, and carry messages, on a virtual clock.

mod heads;
mod heard_journals;
mod old_copies;
mod refusable;
mod settlements;
mod world;

use std::time::Duration;

use refpoint_protocol::{
    directory::{
        header::ChainKind,
        own_chain::{Standing, StopReason},
    },
    evidence::{
        AnyDocument,
        repair::{Documents, RepairResponse},
    },
    limits::{
        BODY_BYTES_MAX, CUSTODY_AFTER_URGENT, FAULTS_PER_INTERVAL_MAX, INTAKE_BYTES_MAX, PUSH_BURST,
        PUSH_EXCESS_MAX, RENEWAL_INTERVAL, RESUME_WAIT,
    },
    machine::{Command, CommandRefused, Event, Reply},
    membership::charter::MemberStatus,
    message::{
        body::{Body, Statement, Tlp, Word},
        draft::{Draft, StatementDraft},
        header::Precedence,
    },
    redact::Redacted,
    relay::{event::RelayEvent, views::RecipientState},
    storage::Table,
    testing::chains,
};
use world::World;

fn draft(world: &World, to: usize) -> Command {
    Command::Send(Box::new(Draft {
        recipients: vec![world.member(to)],
        precedence: Precedence::Flash,
        lifetime: None,
        body: Body {
            tlp: Tlp::Amber,
            text: Some(Redacted("preserve the logs of 203.0.113.7".into())),
            reference: None,
            attachments: Vec::new(),
            statement: None,
            drill: false,
            form: None,
        },
    }))
}

fn queued(reply: &Result<Reply, CommandRefused>) -> refpoint_protocol::ids::MessageId {
    match reply {
        Ok(Reply::Queued { message, .. }) => *message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nodes_that_know_only_their_own_key_set_agree_after_they_meet() {
    let mut world = World::new(1, &["BR", "FR", "KE", "SG"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let roots = world.roots(0);
    for node in 1..4 {
        assert_eq!(world.roots(node), roots);
        assert_eq!(world.machine(node).evidence().trust().key_sets().count(), 4);
        assert_eq!(world.machine(node).standing(world.now), Standing::Signing);
    }
    // Everybody has everybody's node record, so a message can be sealed to anyone.
    let evidence = world.machine(0).evidence();
    for listing in evidence.listings() {
        assert!(evidence.directory().sealing_key(listing, world.now).is_some());
    }
}

/// What a peer can bring again is cached; what decides whom to believe is not forgotten when the power goes.
#[test]
fn charters_and_key_sets_are_durable_whoever_brought_them() {
    let mut world = World::new(12, &["BR", "FR", "KE", "SG"]);
    let version = world.successor(|_| {});
    assert!(world.import(1, version).is_ok());
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let trust = world.machine(0).evidence().trust();
    assert_eq!((trust.key_sets().count(), trust.charters().count()), (4, 2));
    let unsynced = world.unsynced(0);
    assert!(unsynced.contains(&Table::NodeRecords), "{unsynced:?}");
    assert!([Table::Charters, Table::KeySets].iter().all(|table| !unsynced.contains(table)), "{unsynced:?}");
}

#[test]
fn a_changed_reference_point_reaches_everyone_and_is_renewed_daily() {
    let mut world = World::new(2, &["BR", "FR", "KE", "SG"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let reply = world.command(1, Command::Publish(Box::new(chains::reference_point(7))));
    assert!(
        matches!(reply, Ok(Reply::Published { sequence: Some(sequence) }) if sequence.0 == 0),
        "{reply:?}"
    );
    world.run_for(Duration::from_secs(1));
    let shown = |world: &World, node: usize| {
        let view = world.machine(node).evidence().directory().member(&world.member(1), world.now).unwrap();
        view.reference_point.unwrap().header.sequence.0
    };
    assert!((0..4).all(|node| shown(&world, node) == 0));
    world.run_for(RENEWAL_INTERVAL + Duration::from_secs(120));
    assert!((0..4).all(|node| shown(&world, node) == 1));
    assert_eq!(world.roots(0), world.roots(3));
}

#[test]
fn a_message_is_delivered_once_and_acknowledged_by_a_person() {
    let mut world = World::new(3, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let message = queued(&world.command(0, draft(&world, 2)));
    world.run_for(Duration::from_secs(1));
    let sent = |world: &World| world.machine(0).messages().outbox().remove(0).recipients.remove(0);
    assert_eq!(sent(&world).state, RecipientState::Delivered);
    assert!(sent(&world).acknowledged.is_none());
    assert_eq!(world.machine(2).messages().inbox().len(), 1);
    let statement = Statement {
        answers: message,
        word: Word::Acknowledged,
        role: Redacted("duty officer".into()),
        will: Some(true),
        form: None,
        by: None,
    };
    queued(&world.command(2, Command::State(Box::new(StatementDraft { statement, text: None }))));
    world.run_for(Duration::from_secs(1));
    assert_eq!(sent(&world).acknowledged.map(|view| view.word), Some(Word::Acknowledged));
    let events = world.events(0);
    let delivered = events.iter().filter(|event| {
        matches!(event, Event::Relay(RelayEvent::MessageDelivered { step, .. }) if step.message == message)
    });
    assert_eq!(delivered.count(), 1);
}

#[test]
fn a_claim_to_anothers_node_takes_neither_its_messages_nor_its_addresses() {
    let mut world = World::new(9, &["BR", "FR", "KE", "SG"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let kenya = world.member(2);
    let listing = world.machine(1).evidence().listing(&kenya, world.key(2)).unwrap();
    let directory = world.machine(1).evidence().directory();
    let record = directory.header(listing, ChainKind::NodeRecord, world.now).unwrap().id;
    // One whose code sorts before the victim's, and one whose code sorts after it.
    for claimant in [0, 3] {
        let claim = world.claim(claimant, 2, record);
        assert!(world.import(1, claim).is_ok());
    }
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.machine(1).evidence().listings().len(), 6);
    let aims: Vec<_> = world.aims(1).iter().filter(|target| target.node == world.key(2)).collect();
    assert_eq!(aims.len(), 1, "{aims:?}");
    assert_eq!((&aims[0].member, aims[0].addresses.len()), (&kenya, 1));
    let Command::Send(mut draft) = draft(&world, 2) else { panic!() };
    draft.recipients = vec![world.member(0), kenya, world.member(3)];
    queued(&world.command(1, Command::Send(draft)));
    world.run_for(Duration::from_secs(5));
    let sent = world.machine(1).messages().outbox().remove(0);
    let states: Vec<_> = sent.recipients.iter().map(|recipient| recipient.state).collect();
    assert_eq!(states, [RecipientState::Delivered; 3]);
    assert_eq!(world.machine(2).messages().inbox().len(), 1);
}

#[test]
fn a_message_waits_for_an_absent_recipient_over_restarts_of_both() {
    let mut world = World::new(4, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    world.cut(2);
    queued(&world.command(0, draft(&world, 2)));
    world.run_for(Duration::from_secs(600));
    world.restart(0);
    world.restart(2);
    world.connect_all();
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.machine(2).messages().inbox().len(), 1);
    assert_eq!(world.machine(0).messages().outbox()[0].recipients[0].state, RecipientState::Delivered);
    world.restart(2);
    world.connect_all();
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.machine(2).messages().inbox().len(), 1);
}

#[test]
fn a_restarted_node_signs_nothing_until_others_have_told_it_what_it_said() {
    let mut world = World::new(5, &["BR", "FR", "KE", "SG"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    world.cut(0);
    world.restart(0);
    world.run_for(Duration::from_secs(60));
    assert!(matches!(world.machine(0).standing(world.now), Standing::Waiting { .. }));
    let reply = world.command(0, Command::Publish(Box::new(chains::reference_point(1))));
    assert!(matches!(reply, Ok(Reply::Published { sequence: None })));
    world.connect(0, 1);
    world.run_for(Duration::from_secs(60));
    assert!(matches!(world.machine(0).standing(world.now), Standing::Waiting { .. }));
    // One witness is enough after ten minutes, when no others are connected.
    world.run_for(RESUME_WAIT);
    assert_eq!(world.machine(0).standing(world.now), Standing::Signing);
    assert!(world.events(0).iter().any(|event| matches!(event, Event::Published { .. })));
}

#[test]
fn nothing_expires_by_a_clock_that_nobody_has_confirmed_since_the_start() {
    let mut world = World::new(15, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    world.cut(2);
    let Command::Send(mut short) = draft(&world, 2) else { panic!("a draft") };
    short.lifetime = Some(Duration::from_secs(600));
    let message = queued(&world.command(0, Command::Send(short)));
    let has_expired = |world: &World| {
        let expired = |event: &Event| matches!(event, Event::Relay(RelayEvent::MessageExpired { message: it, .. }) if *it == message);
        world.events(0).iter().any(expired)
    };
    world.restart(0);
    world.run_for(Duration::from_secs(1_800));
    assert!(!has_expired(&world), "the clock may be days off since the start");
    world.connect(0, 1);
    world.run_for(Duration::from_secs(120));
    assert!(has_expired(&world), "one member is enough after ten minutes");
}

#[test]
fn what_would_have_expired_by_the_members_clocks_is_refused_with_the_clock_named() {
    let mut world = World::new(9, &["BR", "FR", "KE"]);
    let hours = |count: u64| Duration::from_secs(count * 3_600);
    let ahead = world.now.after(hours(73));
    world.hear(0, 1, ahead);
    queued(&world.command(0, draft(&world, 1)));
    world.hear(0, 2, ahead);
    let refused = world.command(0, draft(&world, 1));
    assert_eq!(refused, Err(CommandRefused::ExpiredBefore(73 * 3_600_000)));
    let Command::Send(mut longer) = draft(&world, 1) else { panic!("a draft") };
    longer.lifetime = Some(hours(74));
    queued(&world.command(0, Command::Send(longer)));
    // One of the two agrees with this node: its clock is not known to be wrong.
    world.hear(0, 2, world.now);
    queued(&world.command(0, draft(&world, 1)));
}

#[test]
fn a_met_twin_is_told_once_and_nothing_is_signed_any_more() {
    let mut world = World::new(10, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let twins = |world: &World| world.events(0).iter().filter(|event| **event == Event::TwinSeen).count();
    assert_eq!((world.machine(0).standing(world.now), twins(&world)), (Standing::Signing, 0));
    world.meet_twin(0);
    world.meet_twin(0);
    assert_eq!(world.machine(0).standing(world.now), Standing::Stopped(StopReason::TwinMet));
    assert_eq!(twins(&world), 1);
    let reply = world.command(0, Command::Publish(Box::new(chains::reference_point(1))));
    assert!(matches!(reply, Ok(Reply::Published { sequence: None })));
    assert_eq!(world.command(0, Command::Resume), Err(CommandRefused::Twin));
}

#[test]
fn repairs_lost_with_a_spare_connection_are_asked_for_again_soon() {
    let mut world = World::new(8, &["BR", "FR", "KE", "SG"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    world.restart(0);
    // The first two requests to each of the three others.
    world.lose_requests(0, 6);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.machine(0).standing(world.now), Standing::Signing);
}

#[test]
fn a_member_that_brings_too_much_waits_and_takes_nobody_elses_turn() {
    let mut world = World::new(10, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let frame = || Documents {
        envelopes: Vec::new(),
        bodies: (0..63).map(|number| vec![number; BODY_BYTES_MAX].into()).collect(),
    };
    let taken = |world: &mut World| {
        (0..100).take_while(|_| matches!(world.give(0, 1, frame()), RepairResponse::Taken(_))).count()
    };
    let frames = usize::try_from(INTAKE_BYTES_MAX).unwrap() / frame().size();
    let at_once = taken(&mut world);
    assert!((frames - 1..=frames + 1).contains(&at_once), "{at_once} of {frames}");
    assert!(matches!(world.give(2, 1, frame()), RepairResponse::Taken(_)), "another member's turn");
    world.run_for(Duration::from_secs(20 * 60));
    let earned = taken(&mut world);
    assert!((1..=2).contains(&earned), "{earned}");
    // What its members publish meanwhile comes by push, and by others.
    let reply = world.command(0, Command::Publish(Box::new(chains::reference_point(3))));
    assert!(matches!(reply, Ok(Reply::Published { .. })));
    world.run_for(Duration::from_secs(120));
    assert_eq!(world.roots(1), world.roots(2));
}

#[test]
fn a_body_that_comes_after_its_header_ends_the_wait_for_a_key() {
    let mut world = World::new(12, &["BR", "FR", "KE", "SG"]);
    for (a, b) in [(1, 2), (1, 3), (2, 3)] {
        world.connect(a, b);
    }
    world.run_for(Duration::from_secs(5));
    let (record, body) = world.machine(3).presence().record.clone().unwrap();
    let key_set = world.federation.unit("SG").key_set.envelope().as_ref().clone();
    let headers = Documents { envelopes: vec![key_set, record], bodies: Vec::new() };
    assert!(matches!(world.give(1, 0, headers), RepairResponse::Taken(_)));
    let command = draft(&world, 3);
    queued(&world.command(0, command));
    // Neither of the two gets to a repair.
    world.lose_requests(0, 100);
    world.lose_requests(3, 100);
    world.connect(0, 3);
    world.run_for(Duration::from_millis(100));
    let keyless = |world: &World| world.machine(0).messages().outbox()[0].recipients[0].nodes[0].keyless;
    assert!(keyless(&world));
    let bodies = Documents { envelopes: Vec::new(), bodies: vec![body.into()] };
    assert!(matches!(world.give(1, 0, bodies), RepairResponse::Taken(_)));
    world.run_for(Duration::from_millis(100));
    assert!(!keyless(&world) && world.machine(3).messages().inbox().len() == 1);
}

#[test]
fn a_member_that_pushes_without_end_is_named_and_cut_off_and_whoever_hands_that_on_is_not() {
    let mut world = World::new(11, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    world.hostile = Some(world.key(1));
    let unit = world.federation.unit("FR").clone();
    let mut chain = chains::ChainWriter::new(&world.federation, &unit, 0, ChainKind::ReferencePoint);
    let body = chains::body(&chains::reference_point(1));
    let named = |world: &World, node: usize| {
        let faults =
            world.machine(0).faults().of(&world.key(node)).map(|it| it.by_rule().collect::<Vec<_>>());
        faults.unwrap_or_default()
    };
    for _ in 0..PUSH_EXCESS_MAX {
        let header = chain.write(&body);
        world.push_alone(1, 0, &header);
    }
    assert_eq!(named(&world, 1), [], "an officer may publish again and again");
    for _ in 0..PUSH_BURST {
        let header = chain.write(&body);
        world.push_alone(2, 0, &header);
    }
    assert_eq!(named(&world, 2), [], "it is not its own");
    let header = chain.write(&body);
    world.push_alone(1, 0, &header);
    assert_eq!(named(&world, 1), [("EV-07", 1)]);
    for _ in 1..FAULTS_PER_INTERVAL_MAX {
        let header = chain.write(&body);
        world.push_alone(1, 0, &header);
    }
    assert!(!world.is_connected(0, 1) && world.is_connected(0, 2));
}

#[test]
fn what_another_hands_on_again_uses_up_nobodys_allowance() {
    let mut world = World::new(17, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let unit = world.federation.unit("FR").clone();
    let mut chain = chains::ChainWriter::new(&world.federation, &unit, 0, ChainKind::ReferencePoint);
    let body = chains::body(&chains::reference_point(1));
    let (first, second) = (chain.write(&body), chain.write(&body));
    world.push_alone(1, 0, &first);
    assert!(world.machine(0).evidence().holds(&first));
    let key_set = AnyDocument::KeySet(world.key_set(1));
    for _ in 0..2 * PUSH_BURST {
        world.push_alone(2, 0, &first);
        world.push_alone(2, 0, &key_set);
    }
    world.push_alone(1, 0, &second);
    assert!(world.machine(0).evidence().holds(&second));
    let next = world.federation.next_key_set(&[&world.key_set(1)], |_| {}, &unit.root);
    let next = AnyDocument::KeySet(next);
    world.push_alone(1, 0, &next);
    assert!(world.machine(0).evidence().holds(&next));
}

#[test]
fn resume_ends_the_wait_once_and_is_refused_when_nothing_waits() {
    let mut world = World::new(6, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.command(0, Command::Resume), Err(CommandRefused::NotWaiting));
    world.cut(0);
    world.restart(0);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.command(0, Command::Resume), Ok(Reply::Resumed));
    assert_eq!(world.machine(0).standing(world.now), Standing::Signing);
}

#[test]
fn a_suspended_member_is_cut_off_with_the_proof_and_its_messages_stop() {
    let mut world = World::new(7, &["BR", "FR", "KE", "SG"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let charter = world.successor(|charter| {
        let entry = charter.members.iter_mut().find(|entry| entry.code.as_str() == "SG").unwrap();
        entry.status = MemberStatus::Suspended;
    });
    let reply = world.import(1, charter);
    assert!(matches!(reply, Ok(Reply::Imported { accepted: 1, .. })), "{reply:?}");
    world.run_for(Duration::from_secs(5));
    for node in 0..3 {
        assert!(!world.is_connected(node, 3));
        assert!(world.cut_off(node).contains(&world.key(3)), "node {node} closed without proof");
    }
    let told = world.events(0).len();
    let refused = world.command(0, draft(&world, 3));
    assert!(matches!(refused, Err(CommandRefused::Submit(_))), "{refused:?}");
    assert_eq!(world.events(0).len(), told, "a refusal is told to whoever asked, and is no event");
}

#[test]
fn events_are_numbered_upwards_across_restarts() {
    let mut world = World::new(8, &["BR", "FR", "KE"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    world.restart(0);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    let numbers = world.event_numbers(0);
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert!(numbers.len() > world.events_before_run(0));
}

#[test]
fn a_message_outlives_its_sender_in_custody() {
    let mut world = World::new(9, &["BR", "FR", "KE", "SG"]);
    world.connect_all();
    world.run_for(Duration::from_secs(5));
    world.cut(2);
    let command = draft(&world, 2);
    let id = queued(&world.command(0, command));
    world.run_for(CUSTODY_AFTER_URGENT + Duration::from_secs(1));
    let state = |world: &World| world.machine(0).messages().outbox()[0].recipients[0].clone();
    assert_eq!(state(&world).state, RecipientState::Custody);
    let keepers: Vec<_> = state(&world).nodes[0].custodians.iter().map(|it| it.member.clone()).collect();
    assert_eq!(keepers.len(), 2, "{keepers:?}");
    world.cut(0);
    for keeper in [1, 3] {
        assert_eq!(world.machine(keeper).messages().counts().held, 1);
        world.restart(keeper);
        assert_eq!(world.machine(keeper).messages().counts().held, 1);
    }
    world.connect(1, 2);
    world.run_for(Duration::from_secs(1));
    assert!(world.machine(2).messages().message(&id).is_some());
    // Its answer finds the sender by the custodian alone.
    world.connect(0, 1);
    world.run_for(Duration::from_secs(1));
    assert_eq!(state(&world).state, RecipientState::Delivered);
    assert_eq!(world.machine(1).messages().counts().held, 0);
    // The other custodian hears it from the sender.
    world.connect(0, 3);
    world.connect(2, 3);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.machine(3).messages().counts().held, 0);
    assert_eq!(world.machine(2).messages().inbox().len(), 1);
}
