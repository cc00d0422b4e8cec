//! A member that says of messages what is not so: of others' parcels, of none, and before it stored its own.

use refpoint_protocol::{
    document::sign,
    ids::{MessageId, NodeKey},
    relay::{
        frame::RelayFrame,
        receipt::{Receipt, ReceiptWord},
    },
};

use crate::sim::{Sim, event::Payload, network::Way};

/// Forges a receipt in another node's name, for a message that this one shares or made up.
pub(super) fn act(sim: &mut Sim, node: usize) {
    let promised: Vec<(MessageId, usize, Vec<usize>)> = sim
        .ledger
        .messages
        .iter()
        .filter(|(_, promised)| sim.network.believes(node, promised.node))
        .map(|(message, promised)| (*message, promised.node, promised.recipients.clone()))
        .collect();
    let Some((message, sender, recipients)) = sim.draw.pick(&promised) else { return };
    let Some(unit) = sim.draw.pick(&recipients) else { return };
    let victim = sim.units[unit].nodes[0];
    let word = if sim.draw.chance(1, 4) { ReceiptWord::Custody } else { ReceiptWord::Delivered };
    sim.counts.add("forged-receipt");
    let key = sim.nodes[victim].key;
    say(sim, node, sender, message, (key, victim), word);
}

/// Says delivered of a parcel that it throws away, or that it keeps one which is for another node.
pub(super) fn premature(sim: &mut Sim, node: usize, from: usize, frame: &RelayFrame) -> bool {
    let RelayFrame::Parcel(parcel) = frame else { return false };
    if sim.draw.chance(1, 2) {
        return false;
    }
    if parcel.label.node != sim.nodes[node].key {
        let Some(of) = sim.index.get(&parcel.label.node).copied() else { return false };
        sim.counts.add("lying-custodian");
        say(sim, node, from, parcel.label.message, (parcel.label.node, of), ReceiptWord::Custody);
        return true;
    }
    sim.counts.add("premature-receipt");
    let key = sim.nodes[node].key;
    say(sim, node, from, parcel.label.message, (key, node), ReceiptWord::Delivered);
    true
}

fn say(
    sim: &mut Sim,
    node: usize,
    to: usize,
    message: MessageId,
    (key, of): (NodeKey, usize),
    word: ReceiptWord,
) {
    let receipt = Receipt {
        message,
        member: sim.nodes[of].member.clone(),
        node: key,
        word,
        at: sim.nodes[node].clock.at(sim.now),
        reason: None,
        sealing_key: None,
    };
    let envelope = sign(&receipt, Some(sim.federation), &[&sim.nodes[node].signing]).unwrap();
    sim.dispatch(node, to, Way::Stream(0), Payload::Frame(Box::new(RelayFrame::Receipt(envelope))));
}
