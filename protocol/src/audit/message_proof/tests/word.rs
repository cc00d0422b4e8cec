//! What an exporter journals of a message, and nobody signed.

use super::*;

#[test]
fn what_an_exporter_journals_and_nobody_signed_is_its_word() {
    let world = world();
    let id = world.message.id();
    let [fr, br] = ["FR", "BR"].map(|code| node_key(&world.federation.unit(code).nodes[0]));
    let receipt = world.receipt("FR", |_| {}).id(Some(world.federation.id));
    let delivered = |code: &str, node, receipt| {
        let step = Step { message: id, command: None, member: member(code), node, drill: false };
        Event::Relay(RelayEvent::MessageDelivered { step, late: false, receipt })
    };
    let said = |id: MessageId, code: &str, word| {
        let statement = StatementLabel { answers: world.message.id(), word };
        Event::Relay(RelayEvent::StatementArrived {
            id,
            statement,
            member: member(code),
            known: true,
            marks: Marks::default(),
            drill: false,
        })
    };
    let queued = |to: &str| {
        Event::Relay(RelayEvent::MessageQueued {
            message: id,
            command: None,
            recipients: vec![member(to)],
            precedence: Precedence::Flash,
            tlp: Tlp::Amber,
            statement: None,
            drill: false,
        })
    };
    let arrived = |sender: &str| {
        Event::Relay(RelayEvent::MessageArrived {
            message: id,
            sender: member(sender),
            precedence: Precedence::Flash,
            tlp: Tlp::Amber,
            marks: Marks::default(),
            drill: false,
        })
    };
    let invented = [
        // A delivery to a member of whom there is no receipt, with any digits, and with another's receipt.
        delivered("BR", br, Some(receipt)),
        delivered("BR", fr, Some(receipt)),
        // Earlier than the receipt: without its id.
        delivered("FR", fr, None),
        // A word that nobody said, one said by another, another word than was said.
        said(MessageId::from_bytes([9; 32]), "FR", Word::Acknowledged),
        said(world.said.id(), "BR", Word::Acknowledged),
        said(world.said.id(), "FR", Word::Executed),
        // Other recipients and another sender than the header's.
        queued("BR"),
        arrived("FR"),
        arrived("KE"),
    ];
    let mut lying = World::new(world.federation.clone(), world.message.clone(), world.said.clone());
    lying.lives(&invented);
    lying.witnessed(100);
    let size = lying.journal.stands().size;
    let mut proof = world.honest();
    (proof.checkpoints, proof.continues) = (lying.checkpoints.clone(), Vec::new());
    proof.entries = (1..size).map(|number| lying.included(number, 0)).collect();
    let proven = check_message_proof(world.written(proof).as_bytes(), world.federation.id).unwrap();
    assert_eq!(proven.journalled.len(), invented.len());
    for entry in &proven.journalled {
        assert!(entry.after.is_some(), "all of it is cosigned");
        assert_eq!((entry.grounds, entry.is_proven()), (Grounds::Word, false), "{:?}", entry.event);
    }
}
