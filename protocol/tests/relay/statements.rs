//! People's words: sealed like messages, at the sender, and at one's own other nodes.

use std::time::Duration;

use refpoint_protocol::{
    ids::MessageId,
    message::{body::Word, header::Precedence},
    relay::{
        event::{RelayEvent, StopReason, SubmitRefusal},
        exchange::{CommandId, RelayInput},
        rows::{StatementRow, decode_row},
        views::{Drill, MessageView, ReceivedState, RecipientState},
    },
    storage::Table,
};

use super::world::{World, code, draft};

fn heard(world: &World, name: &str, word: Word) -> usize {
    let told = |event: &&RelayEvent| matches!(event, RelayEvent::StatementArrived { statement, .. } if statement.word == word);
    world.nodes[name].events.iter().filter(told).count()
}

#[test]
fn an_acknowledgement_comes_back_with_role_and_promise_and_is_not_merged_with_delivered() {
    let mut world = World::new(60, &["BR", "KE"]);
    world.connect_all();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    assert!(world.sent("BR", message).recipients[0].acknowledged.is_none());
    world.state("KE", message, Word::Acknowledged);
    let recipient = &world.sent("BR", message).recipients[0];
    assert_eq!(recipient.state, RecipientState::Delivered);
    let said = recipient.acknowledged.clone().unwrap();
    assert_eq!(
        (said.role.reveal().as_str(), said.will, said.member),
        ("duty officer", Some(true), code("KE"))
    );
    assert_eq!(heard(&world, "BR", Word::Acknowledged), 1);
    let Some(MessageView::Received(view)) = world.relay("KE").message(&message) else { panic!("received") };
    assert!(view.acknowledged.is_some(), "its own word is shown too");
    assert_eq!(world.relay("KE").counts().unacknowledged, 0);
}

#[test]
fn an_acknowledgement_is_kept_with_what_proves_it_where_it_was_said_and_where_it_came() {
    let mut world = World::new(65, &["BR", "KE"]);
    world.connect_all();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.state("KE", message, Word::Acknowledged);
    let proofs = ["BR", "KE"].map(|name| {
        let disk = world.nodes[name].disk.iter();
        let rows = disk.filter(|((table, _), _)| *table == Table::Statements);
        let signed = rows.map(|(_, row)| decode_row::<StatementRow>(row).unwrap().signed);
        signed.collect::<Option<Vec<_>>>().unwrap()
    });
    assert_eq!(proofs[0].len(), 1);
    assert!(proofs[0] == proofs[1], "both hold the same");
}

#[test]
fn the_tally_counts_what_the_views_show_with_drills_apart_and_statements_left_out() {
    let mut world = World::new(64, &["BR", "KE", "JO"]);
    world.connect("BR", "KE");
    let read = world.submit("BR", &["KE", "JO"], Precedence::Flash).unwrap();
    world.submit("BR", &["KE"], Precedence::Routine).unwrap();
    let mut test = draft(&["KE"], Precedence::Flash, "a test");
    test.body.drill = true;
    world.input("BR", RelayInput::Submit { command: CommandId(1_000), draft: Box::new(test) });
    world.settle();
    world.state("KE", read, Word::Acknowledged);
    let (request, drill) = (Drill(false), Drill(true));
    let sender = world.relay("BR").tally();
    let expected = [
        ((Precedence::Flash, request, RecipientState::Delivered), 1),
        ((Precedence::Flash, request, RecipientState::Queued), 1),
        ((Precedence::Flash, drill, RecipientState::Delivered), 1),
        ((Precedence::Routine, request, RecipientState::Delivered), 1),
    ];
    assert_eq!((sender.sent, sender.received.len()), (expected.into(), 0));
    let recipient = world.relay("KE").tally();
    let expected = [
        ((Precedence::Flash, request, ReceivedState::Acknowledged), 1),
        ((Precedence::Flash, drill, ReceivedState::Unacknowledged), 1),
        ((Precedence::Routine, request, ReceivedState::Unacknowledged), 1),
    ];
    // What KE itself sent is a statement.
    assert_eq!((recipient.received, recipient.sent.len()), (expected.into(), 0));
    assert_eq!(
        world.relay("BR").sent_label(&read).map(|label| (label.precedence, label.drill)),
        Some((Precedence::Flash, request))
    );
    assert_eq!(world.relay("KE").sent_label(&read), None);
}

#[test]
fn the_content_is_kept_for_a_day_after_the_last_acknowledgement() {
    let mut world = World::new(61, &["BR", "KE", "JO"]);
    world.connect_all();
    let message = world.submit("BR", &["KE", "JO"], Precedence::Flash).unwrap();
    world.settle();
    let kept = |world: &World| world.sent("BR", message).content;
    world.state("KE", message, Word::Acknowledged);
    world.run(Duration::from_secs(30 * 3_600));
    assert!(kept(&world), "one recipient has not acknowledged");
    world.state("JO", message, Word::Acknowledged);
    world.run(Duration::from_secs(23 * 3_600));
    assert!(kept(&world));
    world.run(Duration::from_secs(2 * 3_600));
    assert!(!kept(&world));
    let key = (Table::OutboxContent, message.as_bytes().to_vec());
    assert!(!world.nodes["BR"].disk.contains_key(&key));
}

#[test]
fn the_kept_day_is_counted_again_after_a_restart() {
    let mut world = World::new(62, &["BR", "KE"]);
    world.connect_all();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.state("KE", message, Word::Acknowledged);
    world.kill("BR");
    world.start("BR");
    assert!(world.sent("BR", message).recipients[0].acknowledged.is_some(), "restored from the disk");
    world.run(Duration::from_secs(25 * 3_600));
    assert!(!world.sent("BR", message).content);
}

#[test]
fn sibling_nodes_hear_what_was_said() {
    let mut world = World::new(63, &["BR1", "BR2", "KE1", "KE2"]);
    world.connect_all();
    let message = world.submit("BR1", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.state("KE1", message, Word::Acknowledged);
    assert_eq!(
        world.relay("KE2").counts().unacknowledged,
        0,
        "the other node's officer need not take it again"
    );
    assert_eq!(heard(&world, "KE2", Word::Acknowledged), 1);
    assert_eq!(heard(&world, "BR1", Word::Acknowledged), 1);
    // BR2 does not know the message; it keeps what was said of it.
    assert_eq!(heard(&world, "BR2", Word::Acknowledged), 1);
    assert!(world.nodes["BR2"].disk.keys().any(|(table, _)| *table == Table::Statements));
}

#[test]
fn a_statement_about_an_unknown_message_counts_when_the_message_comes() {
    let mut world = World::new(64, &["BR", "KE1", "KE2"]);
    world.connect("BR", "KE1");
    world.connect("KE1", "KE2");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.state("KE1", message, Word::Acknowledged);
    assert_eq!(heard(&world, "KE2", Word::Acknowledged), 1);
    assert!(!world.has("KE2", message));
    world.connect("BR", "KE2");
    world.settle();
    let view = world.relay("KE2").inbox().remove(0);
    assert_eq!(view.acknowledged.unwrap().member, code("KE"));
}

#[test]
fn a_statement_about_a_message_that_never_comes_is_forgotten_once_none_can_come() {
    let mut world = World::new(67, &["BR", "KE1", "KE2"]);
    world.connect("BR", "KE1");
    world.connect("KE1", "KE2");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.state("KE1", message, Word::Acknowledged);
    let kept = |world: &World, table| world.nodes["KE2"].disk.keys().filter(|(t, _)| *t == table).count();
    world.directory.clock_is_wrong = true;
    world.run(Duration::from_secs(6 * 86_400));
    let both = |world: &World| (kept(world, Table::Statements), kept(world, Table::MessageIds));
    assert_eq!(both(&world), (1, 1), "a clock that is not to be trusted forgets nothing");
    world.directory.clock_is_wrong = false;
    world.run(Duration::from_secs(120));
    assert_eq!(both(&world), (0, 0));
    // At the node that has the message, what was said of it stays with it.
    let view = world.relay("KE1").inbox().remove(0);
    assert_eq!(view.acknowledged.unwrap().member, code("KE"));
}

#[test]
fn a_message_taken_back_is_sent_no_more_and_its_recipients_are_told() {
    let mut world = World::new(65, &["BR", "KE", "JO"]);
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE", "JO"], Precedence::Flash).unwrap();
    world.settle();
    world.state("BR", message, Word::Withdrawn);
    let view = world.sent("BR", message);
    assert_eq!(
        view.recipients.iter().map(|r| r.state).collect::<Vec<_>>(),
        [RecipientState::Stopped, RecipientState::Delivered]
    );
    assert_eq!(view.recipients[0].stopped, Some(StopReason::TakenBack));
    assert!(world.relay("KE").inbox()[0].withdrawn);
    world.connect("BR", "JO");
    world.settle();
    assert!(!world.has("JO", message), "only the statement goes there");
    assert_eq!(heard(&world, "JO", Word::Withdrawn), 1);
}

#[test]
fn words_that_are_not_ours_to_say_are_refused() {
    let mut world = World::new(66, &["BR", "KE"]);
    world.connect_all();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.state("BR", message, Word::Acknowledged);
    world.state("KE", message, Word::Withdrawn);
    for name in ["BR", "KE"] {
        let last = world.nodes[name].events.last();
        let refused = matches!(last, Some(RelayEvent::SubmitRefused { why: SubmitRefusal::NotOurs(_), .. }));
        assert!(refused, "{last:?}");
    }
    let nobody = MessageId::from_bytes([9; 32]);
    world.state("KE", nobody, Word::Acknowledged);
    let last = world.nodes["KE"].events.last();
    assert!(
        matches!(last, Some(RelayEvent::SubmitRefused { why: SubmitRefusal::UnknownMessage(id), .. }) if *id == nobody)
    );
}

#[test]
fn statements_are_retried_and_receipted_like_messages() {
    let mut world = World::new(67, &["BR", "KE"]);
    world.connect_all();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.disconnect("BR", "KE");
    world.state("KE", message, Word::Acknowledged);
    world.kill("KE");
    world.start("KE");
    (world.loss_percent, world.doubling_percent) = (40, 40);
    world.connect_all();
    world.run(Duration::from_secs(1_800));
    assert_eq!(heard(&world, "BR", Word::Acknowledged), 1);
    let statement = world.relay("KE").outbox().remove(0);
    assert_eq!(statement.statement.unwrap().answers, message);
    assert_eq!(statement.recipients[0].state, RecipientState::Delivered);
}

#[test]
fn a_member_that_is_no_party_says_nothing_of_a_message() {
    let mut world = World::new(68, &["BR", "KE", "JO"]);
    world.connect_all();
    // JO and KE both received; JO's word about BR's message goes to BR alone, so it forges one for KE.
    let to_both = world.submit("BR", &["KE", "JO"], Precedence::Flash).unwrap();
    let own = world.submit("KE", &["BR"], Precedence::Flash).unwrap();
    world.settle();
    world.state("JO", to_both, Word::Acknowledged);
    assert_eq!(heard(&world, "KE", Word::Acknowledged), 0);
    // A JO whose program says things of messages that it never saw.
    let parcel = forged_statement(&world, own);
    let input = world.incoming("JO", refpoint_protocol::relay::exchange::Outgoing::Parcel(parcel));
    world.input("KE", input);
    world.settle();
    assert!(world.nodes["KE"].faults.iter().any(|fault| fault.to_string().starts_with("ST-01")));
    assert!(world.sent("KE", own).statements.is_empty());
}

fn forged_statement(world: &World, answers: MessageId) -> Box<refpoint_protocol::relay::parcel::Parcel> {
    use refpoint_protocol::{message::body::Statement, redact::Redacted, relay::sealing};
    let role = Redacted("duty".into());
    let statement = Statement { answers, word: Word::Acknowledged, role, will: None, form: None, by: None };
    let mut draft = super::world::draft(&["KE"], Precedence::Flash, "a");
    draft.body.statement = Some(statement);
    let key = &world.nodes["JO"].key;
    let composed =
        sealing::compose(&draft, &code("JO"), super::world::FEDERATION, key, world.now, &[4; 56]).unwrap();
    let entry = world.directory.nodes[&world.key("KE")].2.clone().unwrap();
    let label = sealing::label(&composed.content, code("KE"), world.key("KE"));
    Box::new(sealing::seal(&composed.content, label, &entry, &[3; 64]).unwrap())
}
