//! What peers do wrong: named, and without effect.

use std::time::Duration;

use refpoint_protocol::{
    ids::{CharterVersion, ContentHash, MessageId, NodeKey},
    message::header::Precedence,
    relay::{
        book::{MemberStatus, SignerStanding},
        event::RelayEvent,
        exchange::{Outgoing, RelayFault, RelayInput},
        frame::{Lacking, Offer, OfferIds},
        parcel::Parcel,
        receipt::{Receipt, ReceiptWord, RefusalReason},
        rows::decode_outbox_content,
        sealing::{self, Sealable},
        views::RecipientState,
    },
    storage::Table,
};

use super::world::{FEDERATION, START, World, code};

fn receipt(world: &World, message: MessageId, name: &str, word: ReceiptWord) -> Receipt {
    let reason = (word == ReceiptWord::Refused).then_some(RefusalReason::NoRoom);
    let (member, node) = (world.nodes[name].member.clone(), world.key(name));
    Receipt { message, member, node, word, at: world.now, reason, sealing_key: None }
}

fn last_fault(world: &World, name: &str) -> Option<RelayFault> {
    world.nodes[name].faults.last().cloned()
}

#[test]
fn receipts_count_from_the_recipient_node_alone() {
    let mut world = World::new(20, &["BR", "KE", "JO"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    let delivered = receipt(&world, message, "KE", ReceiptWord::Delivered);
    let forged = world.receipt("JO", "JO", &delivered);
    world.input("BR", forged);
    assert_eq!(last_fault(&world, "BR"), Some(RelayFault::ReceiptSigner(message)));
    for word in [ReceiptWord::Refused, ReceiptWord::Reseal] {
        let said = receipt(&world, message, "KE", word);
        let borne = world.receipt("KE", "JO", &said);
        world.input("BR", borne);
        assert_eq!(last_fault(&world, "BR"), Some(RelayFault::ReceiptBearer(message)));
    }
    let own = receipt(&world, message, "JO", ReceiptWord::Delivered);
    let stranger = world.receipt("JO", "JO", &own);
    world.input("BR", stranger);
    assert_eq!(last_fault(&world, "BR"), Some(RelayFault::ReceiptUnknown(message)));
    let as_kenya = Receipt { member: code("KE"), ..own };
    let pretender = world.receipt("JO", "JO", &as_kenya);
    world.input("BR", pretender);
    assert_eq!(last_fault(&world, "BR"), Some(RelayFault::ReceiptUnknown(message)));
    let unknown = MessageId::from_bytes([9; 32]);
    let nothing = receipt(&world, unknown, "KE", ReceiptWord::Delivered);
    let nothing = world.receipt("KE", "KE", &nothing);
    world.input("BR", nothing);
    assert_eq!(last_fault(&world, "BR"), Some(RelayFault::ReceiptUnknown(unknown)));
    assert_eq!(world.reached("BR", message), RecipientState::Queued);
    assert!(world.relay("BR").receipts(&message).is_empty());
}

#[test]
fn a_recipient_that_claims_anothers_node_takes_no_parcel_from_it() {
    for claimant in ["BR", "SG"] {
        let mut world = World::new(31, &["AU", "BR", "KE", "SG"]);
        let claim = (code(claimant), world.key("KE"));
        world.directory.claims.push(claim);
        // The record of the node itself comes after the claim.
        let key = world.directory.nodes.get_mut(&world.key("KE")).unwrap().2.take();
        let message = world.submit("AU", &["KE", claimant], Precedence::Flash).unwrap();
        world.directory.nodes.get_mut(&world.key("KE")).unwrap().2 = key;
        world.input("AU", RelayInput::DirectoryChanged { member: Some(code("KE")) });
        world.connect("AU", "KE");
        world.connect("AU", claimant);
        world.settle();
        assert!(world.has("KE", message) && world.has(claimant, message), "{claimant}");
        let states = world.sent("AU", message).recipients.into_iter().map(|it| it.state);
        assert!(states.into_iter().all(|state| state == RecipientState::Delivered), "{claimant}");
    }
}

#[test]
fn states_never_go_back_and_late_truth_wins() {
    let mut world = World::new(22, &["BR", "KE"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    let answer = |world: &mut World, word, reason| {
        let mut receipt = receipt(world, message, "KE", word);
        receipt.reason = reason;
        let input = world.receipt("KE", "KE", &receipt);
        world.input("BR", input);
    };
    answer(&mut world, ReceiptWord::Refused, Some(RefusalReason::Invalid));
    assert_eq!(world.reached("BR", message), RecipientState::Refused);
    answer(&mut world, ReceiptWord::Delivered, None);
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
    for (word, reason) in [
        (ReceiptWord::Refused, Some(RefusalReason::Invalid)),
        (ReceiptWord::Refused, Some(RefusalReason::NoRoom)),
        (ReceiptWord::Reseal, None),
        (ReceiptWord::Delivered, None),
    ] {
        answer(&mut world, word, reason);
        assert_eq!(world.reached("BR", message), RecipientState::Delivered, "{word:?}");
    }
    assert_eq!(last_fault(&world, "BR"), Some(RelayFault::ReceiptDoubled(message)));
}

#[test]
fn a_refusal_that_answers_no_parcel_is_no_news() {
    let mut world = World::new(38, &["BR", "KE"]);
    world.connect("BR", "KE");
    world.nodes.get_mut("KE").unwrap().disk_is_full = true;
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(Duration::from_millis(500));
    let news = |world: &World| {
        let refused = |event: &&RelayEvent| matches!(event, RelayEvent::MessageRefused { .. });
        world.nodes["BR"].events.iter().filter(refused).count()
    };
    assert_eq!(news(&world), 1);
    for number in 0..10 {
        let mut said = receipt(&world, message, "KE", ReceiptWord::Refused);
        said.reason = Some([RefusalReason::TooFast, RefusalReason::NoRoom][number % 2]);
        let input = world.receipt("KE", "KE", &said);
        world.input("BR", input);
        assert_eq!(news(&world), 1, "{number}");
    }
    assert_eq!(last_fault(&world, "BR"), Some(RelayFault::ReceiptDoubled(message)));
    world.nodes.get_mut("KE").unwrap().disk_is_full = false;
    world.run(Duration::from_secs(300));
    assert!(world.has("KE", message));
}

#[test]
fn a_parcel_with_a_flipped_bit_leaves_no_trace_and_the_true_one_still_arrives() {
    let mut world = World::new(23, &["BR", "KE"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.connect("BR", "KE");
    world.run(Duration::from_millis(2));
    // What is on its way is caught and replaced.
    let mut other = World::new(23, &["BR", "KE"]);
    other.submit("BR", &["KE"], Precedence::Flash).unwrap();
    for at in [0_usize, 1_120, 1_300] {
        let mut parcel = sealed_parcel(&world, message);
        parcel.sealed[at] ^= 1;
        let from = world.key("BR");
        world.input("KE", RelayInput::ParcelReceived { from, parcel });
        world.run(Duration::from_millis(2));
        let fault = last_fault(&world, "KE");
        assert!(matches!(fault, Some(RelayFault::Parcel { message: id, .. }) if id == message), "{fault:?}");
        assert!(!world.has("KE", message) && world.nodes["KE"].disk.is_empty());
    }
    world.settle();
    assert!(world.has("KE", message));
}

/// What BR has stored of a message.
fn content(world: &World, message: MessageId) -> Sealable {
    let row = &world.nodes["BR"].disk[&(Table::OutboxContent, message.as_bytes().to_vec())];
    decode_outbox_content(row).unwrap()
}

/// A parcel for KE, as the shell would make it.
fn sealed(world: &World, content: &Sealable) -> Box<Parcel> {
    let key = world.directory.nodes[&world.key("KE")].2.clone().unwrap();
    let label = sealing::label(content, code("KE"), world.key("KE"));
    Box::new(sealing::seal(content, label, &key, &[3; 64]).unwrap())
}

/// A parcel for KE made from the sender's disk.
fn sealed_parcel(world: &World, message: MessageId) -> Box<Parcel> {
    sealed(world, &content(world, message))
}

#[test]
fn a_message_by_a_signer_of_no_key_set_waits_for_one() {
    let mut world = World::new(24, &["BR", "KE"]);
    let mut behind = world.directory.clone();
    behind.nodes.remove(&world.key("BR"));
    world.nodes.get_mut("KE").unwrap().directory = Some(behind);
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    assert!(!world.has("KE", message));
    assert_eq!(
        (world.nodes["KE"].fetches, world.reached("BR", message)),
        (1, RecipientState::Sent),
        "unanswered"
    );
    world.nodes.get_mut("KE").unwrap().directory = None;
    world.input("KE", RelayInput::DirectoryChanged { member: Some(code("BR")) });
    world.settle();
    assert!(world.has("KE", message));
    assert_eq!(world.reached("BR", message), RecipientState::Delivered);
}

/// A parcel for KE whose header a key of no key set has signed.
fn signed_by_nobody(world: &World, message: MessageId) -> Box<Parcel> {
    let nobody = ed25519_dalek::SigningKey::from_bytes(&[8; 32]);
    sealed(world, &content(world, message).signed_anew(FEDERATION, &nobody).unwrap())
}

/// US, another recipient, hands KE a copy of BR's message that a key of no key set has signed.
fn held_copy(seed: u64) -> (World, MessageId) {
    let mut world = World::new(seed, &["BR", "KE", "US"]);
    world.connect("US", "KE");
    let message = world.submit("BR", &["KE", "US"], Precedence::Flash).unwrap();
    let (from, parcel) = (world.key("US"), signed_by_nobody(&world, message));
    world.input("KE", RelayInput::ParcelReceived { from, parcel });
    world.run(Duration::from_millis(5));
    assert!(!world.has("KE", message) && world.nodes["KE"].fetches == 1, "its signer is of no key set");
    (world, message)
}

#[test]
fn a_copy_that_another_recipient_signed_anew_holds_off_nothing() {
    let (mut world, message) = held_copy(26);
    world.connect("BR", "KE");
    world.run(Duration::from_millis(200));
    assert!(world.has("KE", message));
    assert_eq!(world.sent("BR", message).recipients[0].state, RecipientState::Delivered);
    // And what was held is gone with it: nothing comes of it later.
    world.run(Duration::from_secs(600));
    assert_eq!(world.arrivals("KE", message), 1);
}

#[test]
fn a_copy_that_the_same_node_brings_holds_off_nothing() {
    let (mut world, message) = held_copy(27);
    // US is a custodian of the true one too.
    let (from, parcel) = (world.key("US"), sealed_parcel(&world, message));
    world.input("KE", RelayInput::ParcelReceived { from, parcel });
    world.run(Duration::from_millis(5));
    assert!(world.has("KE", message));
}

#[test]
fn a_held_copy_is_no_reason_to_lack_nothing() {
    let (mut world, message) = held_copy(28);
    let received = |world: &World| world.has("KE", message);
    // KE's disk is put back, as if BR held its `delivered` already: all that brings the message is BR's offer.
    world.connect("BR", "KE");
    world.run(Duration::from_millis(200));
    assert!(received(&world));
    world.kill("KE");
    world.nodes.get_mut("KE").unwrap().disk.clear();
    world.start("KE");
    world.connect("US", "KE");
    let (from, parcel) = (world.key("US"), signed_by_nobody(&world, message));
    world.input("KE", RelayInput::ParcelReceived { from, parcel });
    world.run(Duration::from_millis(5));
    world.connect("BR", "KE");
    world.run(Duration::from_secs(30));
    assert!(received(&world));
}

#[test]
fn a_held_message_is_let_go_and_comes_again() {
    let mut world = World::new(25, &["BR", "KE"]);
    let mut behind = world.directory.clone();
    behind.nodes.remove(&world.key("BR"));
    world.nodes.get_mut("KE").unwrap().directory = Some(behind);
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.run(Duration::from_secs(600));
    assert!(world.nodes["KE"].fetches > 1, "asked for again with each parcel");
    world.nodes.get_mut("KE").unwrap().directory = None;
    world.run(Duration::from_secs(600));
    assert!(world.has("KE", message), "without any word from the directory the retry brings it");
}

#[test]
fn late_truth_about_keys() {
    let after = START.after(Duration::from_secs(10));
    for (standing, arrives, unproven) in [
        (SignerStanding::Retired(after), true, false),
        (SignerStanding::Retired(START), false, false),
        (SignerStanding::Compromised(START), true, true),
        (SignerStanding::Ended, false, false),
    ] {
        let mut world = World::new(26, &["BR", "KE"]);
        world.run(Duration::from_secs(1));
        let mut view = world.directory.clone();
        view.nodes.get_mut(&world.key("BR")).unwrap().1 = standing;
        world.nodes.get_mut("KE").unwrap().directory = Some(view);
        world.connect("BR", "KE");
        let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
        world.settle();
        assert_eq!(world.has("KE", message), arrives, "{standing:?}");
        if arrives {
            assert_eq!(world.relay("KE").inbox()[0].marks.unproven, unproven);
        } else {
            assert_eq!(last_fault(&world, "KE"), Some(RelayFault::Signer(message)));
            assert_eq!(world.reached("BR", message), RecipientState::Queued, "the sender tries again");
        }
    }
}

#[test]
fn a_suspended_senders_message_is_refused_and_comes_again_when_it_is_back() {
    let mut world = World::new(27, &["BR", "KE"]);
    let mut view = world.directory.clone();
    view.status.insert(code("BR"), MemberStatus::Suspended(CharterVersion(3)));
    world.nodes.get_mut("KE").unwrap().directory = Some(view);
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    let node = &world.sent("BR", message).recipients[0].nodes[0];
    assert_eq!((node.refused, node.state), (Some(RefusalReason::Suspended), RecipientState::Queued));
    world.nodes.get_mut("KE").unwrap().directory = None;
    world.run(Duration::from_secs(600));
    assert!(world.has("KE", message));
}

#[test]
fn a_message_from_the_future_is_kept_and_marked() {
    let mut world = World::new(28, &["BR", "KE"]);
    world.run(Duration::from_secs(3_600));
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    let parcel = sealed_parcel(&world, message);
    let from = world.key("BR");
    // The recipient's clock is an hour behind.
    world.now = START;
    world.input("KE", RelayInput::ParcelReceived { from, parcel });
    world.run(Duration::from_millis(5));
    assert!(world.relay("KE").inbox()[0].marks.future);
}

#[test]
fn a_message_from_a_far_future_is_remembered_for_as_long_as_it_would_be_taken() {
    let mut world = World::new(32, &["BR", "KE"]);
    // The sender's clock is years ahead.
    world.now = START.after(Duration::from_secs(3_000 * 86_400));
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    let parcel = sealed_parcel(&world, message);
    let from = world.key("BR");
    world.now = START;
    world.input("KE", RelayInput::ParcelReceived { from, parcel: parcel.clone() });
    world.run(Duration::from_secs(500 * 86_400));
    world.input("KE", RelayInput::ParcelReceived { from, parcel });
    world.settle();
    assert_eq!(world.arrivals("KE", message), 1);
}

#[test]
fn a_full_disk_refuses_and_the_message_stays_with_its_sender() {
    let mut world = World::new(29, &["BR", "KE"]);
    world.nodes.get_mut("KE").unwrap().disk_is_full = true;
    world.connect("BR", "KE");
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    world.settle();
    assert!(!world.has("KE", message));
    assert_eq!(world.sent("BR", message).recipients[0].nodes[0].refused, Some(RefusalReason::NoRoom));
    world.nodes.get_mut("KE").unwrap().disk_is_full = false;
    world.run(Duration::from_secs(600));
    assert_eq!((world.has("KE", message), world.arrivals("KE", message)), (true, 1));
    world.nodes.get_mut("BR").unwrap().disk_is_full = true;
    let sent = world.nodes["BR"].parcels_sent;
    assert_eq!(world.submit("BR", &["KE"], Precedence::Flash), None);
    world.settle();
    assert_eq!(world.nodes["BR"].parcels_sent, sent, "what was refused to the officer goes to nobody");
    let last = world.nodes["BR"].events.last().unwrap();
    assert!(format!("{last:?}").contains("NoRoom"), "{last:?}");
    assert_eq!(world.relay("BR").outbox().len(), 1, "nothing of it remains");
}

#[test]
fn offers_out_of_form_are_faults_and_strange_ones_harmless() {
    let mut world = World::new(30, &["BR", "KE"]);
    world.connect("BR", "KE");
    let from = world.key("BR");
    let id = |n| MessageId::from_bytes([n; 32]);
    let offer = Offer { hash: ContentHash::from_bytes([1; 32]), count: 2 };
    let unasked = OfferIds { ids: vec![id(1)], more: false };
    world.input("KE", RelayInput::OfferIdsReceived { from, ids: unasked });
    assert_eq!(last_fault(&world, "KE"), None);
    for ids in [vec![id(2), id(1)], vec![id(1), id(1)]] {
        world.nodes.get_mut("KE").unwrap().faults.clear();
        world.input("KE", RelayInput::OfferReceived { from, offer });
        world.input("KE", RelayInput::OfferIdsReceived { from, ids: OfferIds { ids, more: false } });
        assert_eq!(last_fault(&world, "KE"), Some(RelayFault::Offer));
    }
    let huge = Offer { count: 1 << 40, ..offer };
    world.nodes.get_mut("KE").unwrap().faults.clear();
    world.input("KE", RelayInput::OfferReceived { from, offer: huge });
    assert_eq!(last_fault(&world, "KE"), Some(RelayFault::Offer));
    world.input("KE", RelayInput::LackingReceived { from, lacking: Lacking { ids: vec![id(1), id(1)] } });
    let nobody = NodeKey::from_bytes([7; 32]);
    world.input("KE", RelayInput::LackingReceived { from: nobody, lacking: Lacking { ids: vec![id(1)] } });
    world.input("KE", RelayInput::OfferUnknownReceived { from: nobody, offer });
    world.input("KE", RelayInput::SendFailed { to: nobody, message: id(1) });
    world.input("KE", RelayInput::Disconnected { node: nobody });
    assert_eq!(world.nodes["KE"].parcels_sent, 0);
}

#[test]
fn a_parcel_for_a_node_of_nobody_is_refused() {
    let mut world = World::new(31, &["BR", "KE", "JO"]);
    let message = world.submit("BR", &["KE"], Precedence::Flash).unwrap();
    let parcel = sealed_parcel(&world, message);
    let mut own_node = parcel.clone();
    own_node.label.node = world.key("JO");
    let input = world.incoming("BR", Outgoing::Parcel(own_node));
    world.input("JO", input);
    let fault = last_fault(&world, "JO").unwrap();
    // Another member may claim the node's key, and who keeps a parcel for it sees no more than that.
    assert!(fault.rule() == "PA-01" && !fault.is_penalised(), "{fault}");
    let mut nobody = parcel;
    nobody.label.node = NodeKey::from_bytes([9; 32]);
    let input = world.incoming("BR", Outgoing::Parcel(nobody));
    world.input("JO", input);
    assert_eq!(world.nodes["JO"].faults.len(), 1, "a directory that lags is nobody's fault");
    assert!(world.nodes["JO"].disk.is_empty());
}
