//! Restarts, restored disks and changed keys: everything goes on.

use std::time::Duration;

use refpoint_protocol::{
    ids::MessageId,
    limits::{OFFER_AGAIN_FIRST, RECEIPT_WAIT},
    message::header::Precedence,
    relay::{
        Relay, RelayConfig,
        exchange::RelayInput,
        receipt::{Receipt, ReceiptWord},
        views::RecipientState,
    },
    storage::Table,
};

use super::world::{World, code, node_key};

#[test]
fn a_sender_that_restarts_goes_on_where_it_stopped() {
    let mut world = World::new(40, &["BR", "KE"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.kill("BR");
    world.start("BR");
    assert_eq!(world.reached("BR", message), RecipientState::Queued);
    world.connect("BR", "KE");
    world.settle();
    assert!(world.has("KE", message));
    world.kill("BR");
    world.start("BR");
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    assert_eq!(world.relay("BR").receipts(&message).len(), 1);
}

#[test]
fn a_recipient_that_dies_before_its_receipt_confirms_the_second_parcel_and_holds_one_copy() {
    for survives in 0..4 {
        let mut world = World::new(41, &["BR", "KE"]);
        world.connect("BR", "KE");
        let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
        // The parcel has come and is opened; the batch that stores and confirms it is cut at every place.
        world.run(Duration::from_millis(20));
        world.nodes.get_mut("KE").unwrap().dies_after = Some(survives);
        world.run(Duration::from_millis(500));
        assert!(!world.is_up("KE"));
        world.start("KE");
        world.connect("BR", "KE");
        world.settle();
        assert_eq!(world.reached("BR", message), RecipientState::Delivered, "{survives}");
        assert_eq!(world.relay("KE").inbox().len(), 1);
        assert!(world.arrivals("KE", message) <= 1);
        let rows = world.nodes["KE"].disk.keys().filter(|(table, _)| *table == Table::Inbox).count();
        assert_eq!(rows, 1);
    }
}

#[test]
fn a_rolled_back_disk_gets_again_what_it_lacks() {
    let mut world = World::new(42, &["BR", "KE"]);
    world.connect("BR", "KE");
    let first = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    let backup = world.nodes["KE"].disk.clone();
    let later: Vec<_> = (0..3).map(|_| world.submit("BR", &["KE"], Precedence::Priority).unwrap()).collect();
    world.settle();
    world.kill("KE");
    world.nodes.get_mut("KE").unwrap().disk = backup;
    world.start("KE");
    assert!(world.has("KE", first) && !world.has("KE", later[0]));
    let before = world.nodes["BR"].parcels_sent;
    world.connect("BR", "KE");
    world.settle();
    for message in &later {
        assert!(world.has("KE", *message));
        assert_eq!(world.reached("BR", *message), RecipientState::Delivered);
    }
    assert_eq!(world.nodes["BR"].parcels_sent - before, 3, "only what was lacking");
    // Nothing changed since: the next connect compares one hash and sends nothing.
    world.disconnect("BR", "KE");
    world.connect("BR", "KE");
    world.settle();
    assert_eq!(world.nodes["BR"].parcels_sent - before, 3);
}

#[test]
fn what_a_rolled_back_disk_lacks_goes_as_soon_as_its_sealing_key_is_known() {
    let mut world = World::new(48, &["BR", "KE"]);
    world.connect("BR", "KE");
    let backup = world.nodes["KE"].disk.clone();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.kill("KE");
    world.nodes.get_mut("KE").unwrap().disk = backup;
    world.start("KE");
    // Its record has ended, or is disputed, and the new one is still on its way when it says what it lacks.
    let mut keyless = world.directory.clone();
    keyless.nodes.get_mut(&world.key("KE")).unwrap().2 = None;
    world.nodes.get_mut("BR").unwrap().directory = Some(keyless);
    world.connect("BR", "KE");
    world.settle();
    assert!(!world.has("KE", message));
    world.nodes.get_mut("BR").unwrap().directory = None;
    world.input("BR", RelayInput::DirectoryChanged { member: Some(code("KE")) });
    world.settle();
    assert!(world.has("KE", message), "it was confirmed once, and is lacking all the same");
    assert_eq!(world.relay("KE").inbox().len(), 1);
}

#[test]
fn a_dead_disk_gets_everything_that_is_still_kept() {
    let mut world = World::new(43, &["BR", "JO", "KE"]);
    world.connect_all();
    let messages = [
        world.submit("BR", &["KE"], Precedence::Flash).unwrap(),
        world.submit("JO", &["KE"], Precedence::Flash).unwrap(),
    ];
    world.settle();
    world.kill("KE");
    world.nodes.get_mut("KE").unwrap().disk.clear();
    world.start("KE");
    world.connect_all();
    world.settle();
    assert!(messages.iter().all(|message| world.has("KE", *message)));
}

#[test]
fn a_changed_sealing_key_is_used_after_one_answer() {
    let mut world = World::new(44, &["BR", "KE"]);
    // The sender's directory still has the old key, and the recipient has destroyed its seed.
    let old = world.directory.clone();
    world.nodes.get_mut("BR").unwrap().directory = Some(old);
    world.nodes.get_mut("KE").unwrap().seeds.clear();
    world.new_sealing_key("KE");
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    assert!(!world.has("KE", message));
    world.nodes.get_mut("BR").unwrap().directory = None;
    world.input("BR", RelayInput::DirectoryChanged { member: Some(code("KE")) });
    world.settle();
    assert!(world.has("KE", message), "sealed anew at once when the directory has the new key");
}

#[test]
fn a_key_that_changes_while_a_parcel_is_on_its_way_costs_one_more_parcel() {
    let mut world = World::new(45, &["BR", "KE"]);
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.nodes.get_mut("KE").unwrap().seeds.clear();
    world.new_sealing_key("KE");
    world.settle();
    assert!(world.has("KE", message));
    assert_eq!(world.nodes["BR"].parcels_sent, 2);
}

#[test]
fn a_sender_with_a_new_node_key_signs_anew_and_the_id_stays() {
    let mut world = World::new(46, &["BR", "KE"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.kill("BR");
    let old = world.key("BR");
    let entry = world.directory.nodes.remove(&old).unwrap();
    let node = world.nodes.get_mut("BR").unwrap();
    node.key = ed25519_dalek::SigningKey::from_bytes(&[0x77; 32]);
    let new = node_key(node);
    world.directory.nodes.insert(new, entry);
    world.start("BR");
    world.connect("BR", "KE");
    world.settle();
    assert!(world.has("KE", message));
    assert_eq!(world.relay("KE").inbox()[0].signer, new);
}

#[test]
fn a_node_without_a_known_sealing_key_waits_for_one() {
    let mut world = World::new(47, &["BR", "KE"]);
    let key = world.key("KE");
    let entry = world.directory.nodes.get_mut(&key).unwrap().2.take();
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    assert!(world.sent("BR", message).recipients[0].nodes[0].keyless);
    world.directory.nodes.get_mut(&key).unwrap().2 = entry;
    world.input("BR", RelayInput::DirectoryChanged { member: Some(code("KE")) });
    world.settle();
    assert!(world.has("KE", message));
}

#[test]
fn damaged_rows_are_reported_and_the_rest_is_restored() {
    let mut world = World::new(48, &["BR", "KE"]);
    let good = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    let bad = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    let mut disk = world.nodes["BR"].disk.clone();
    let damaged = (Table::Outbox, bad.as_bytes().to_vec());
    disk.get_mut(&damaged).unwrap()[3] ^= 0x55;
    let rows = disk.into_iter().map(|((table, key), value)| (table, key, value));
    let config = RelayConfig { member: code("BR"), node: world.key("BR"), seed: [0; 32] };
    let restored = Relay::restore(config, world.now, &world.directory, rows);
    let reported: Vec<_> = restored.damaged.iter().map(|d| (d.table, d.key.clone())).collect();
    assert_eq!(reported, [damaged]);
    assert!(restored.relay.message(&good).is_some() && restored.relay.message(&bad).is_none());
}

#[test]
fn lost_content_stops_the_message_and_says_so() {
    let mut world = World::new(49, &["BR", "KE"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.kill("BR");
    let key = (Table::OutboxContent, message.as_bytes().to_vec());
    world.nodes.get_mut("BR").unwrap().disk.remove(&key);
    world.start("BR");
    world.connect("BR", "KE");
    world.run(Duration::from_secs(600));
    let told = world.nodes["BR"].events.iter().any(|event| format!("{event:?}").contains("ContentLost"));
    assert!(told);
    assert_eq!(world.reached("BR", message), RecipientState::Stopped);
}

#[test]
fn content_whose_write_is_still_on_its_way_is_not_lost() {
    let mut world = World::new(49, &["BR", "KE"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    // A disk that is busy for minutes has not applied it yet, while the link comes and goes.
    let key = (Table::OutboxContent, message.as_bytes().to_vec());
    let content = world.nodes.get_mut("BR").unwrap().disk.remove(&key).unwrap();
    for _ in 0..4 {
        world.connect("BR", "KE");
        world.run(Duration::from_secs(30));
        world.disconnect("BR", "KE");
    }
    world.nodes.get_mut("BR").unwrap().disk.insert(key, content);
    world.connect("BR", "KE");
    world.run(Duration::from_secs(600));
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

#[test]
fn what_is_no_longer_needed_is_forgotten() {
    let mut world = World::new(50, &["BR", "KE"]);
    world.connect("BR", "KE");
    world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.run(Duration::from_secs(401 * 86_400));
    for name in ["BR", "KE"] {
        assert!(world.nodes[name].disk.is_empty(), "{name}: {:?}", world.nodes[name].disk.keys());
        assert_eq!(world.relay(name).next_wakeup(), None);
    }
    assert!(world.relay("KE").inbox().is_empty() && world.relay("BR").outbox().is_empty());
}

#[test]
fn an_offer_whose_ids_are_lost_does_not_stop_the_next() {
    let (mut world, message) = put_back(47);
    // The offer has come and its ids are asked for; they are lost with the connection, of which only the
    // sender's node learns.
    world.run(Duration::from_millis(30));
    world.loss_percent = 100;
    world.run(Duration::from_millis(100));
    world.loss_percent = 0;
    assert!(!world.has("KE", message));
    let (node, member) = (world.key("KE"), code("KE"));
    world.input("BR", RelayInput::Connected { node, member });
    world.settle();
    assert!(world.has("KE", message));
}

/// KE has what BR sent, and is put back to where it had not; BR is connected with it.
fn put_back(seed: u64) -> (World, MessageId) {
    let mut world = World::new(seed, &["BR", "JO", "KE"]);
    world.connect("BR", "KE");
    let backup = world.nodes["KE"].disk.clone();
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    world.kill("KE");
    world.nodes.get_mut("KE").unwrap().disk = backup;
    world.start("KE");
    world.connect("BR", "KE");
    (world, message)
}

#[test]
fn ids_are_read_although_the_news_of_the_connection_came_after_the_offer() {
    let (mut world, message) = put_back(51);
    world.run(Duration::from_millis(30));
    let (node, member) = (world.key("BR"), code("BR"));
    world.input("KE", RelayInput::Connected { node, member });
    world.run(Duration::from_secs(10));
    assert!(world.has("KE", message));
}

#[test]
fn an_offer_that_is_lost_at_any_step_is_made_again_on_the_same_connection() {
    for step in 0..8 {
        let (mut world, message) = put_back(52);
        world.run(Duration::from_millis(10 * step));
        world.loss_percent = 100;
        world.run(Duration::from_secs(1));
        world.loss_percent = 0;
        world.run(OFFER_AGAIN_FIRST + OFFER_AGAIN_FIRST * 2 + Duration::from_secs(10));
        assert!(world.has("KE", message), "lost {} ms after the connect", 10 * step);
        assert_eq!(world.relay("KE").inbox().len(), 1);
    }
}

#[test]
fn an_old_word_that_another_passes_back_does_not_stop_what_is_sent_anew() {
    // The one that BR has itself, and one that KE said to another a moment later.
    for later in [0, 1] {
        an_old_word_passed_back(Duration::from_millis(later));
    }
}

fn an_old_word_passed_back(later: Duration) {
    let (mut world, message) = put_back(53);
    world.connect("JO", "BR");
    let at = world.relay("BR").receipts(&message)[0].at.after(later);
    world.run(Duration::from_millis(70));
    world.loss_percent = 100;
    world.run(Duration::from_millis(200));
    world.loss_percent = 0;
    assert!(!world.has("KE", message), "it is on its way, and lost");
    let (member, node) = (code("KE"), world.key("KE"));
    let word = ReceiptWord::Delivered;
    let old = Receipt { message, member, node, word, at, reason: None, sealing_key: None };
    let old = world.receipt("KE", "JO", &old);
    world.input("BR", old);
    world.run(RECEIPT_WAIT * 2);
    assert!(world.has("KE", message));
}
