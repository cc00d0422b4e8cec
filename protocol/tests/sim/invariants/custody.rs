//! What must hold of parcels in custody.

use refpoint_protocol::{
    ids::{MemberCode, MessageId, NodeKey},
    relay::{receipt::Receipt, rows::decode_custody_parcel},
    storage::Table,
};

use super::{KEPT_UNTIL_ANSWERED, KEY_NOT_LOST, NOTHING_LOST};
use crate::sim::{Sim, ledger::Left, node::Node};

/// A recipient's node answers a parcel: from now on its custodians may drop it.
pub(super) fn on_answered(sim: &mut Sim, at: usize, receipt: &Receipt) {
    if receipt.node == sim.nodes[at].key {
        sim.ledger.answered.insert((receipt.message, receipt.node));
    }
}

/// A custodian keeps a parcel until the node that it is for has answered, or it expires by the custodian's clock.
pub(crate) fn on_dropped(sim: &mut Sim, at: usize, key: &[u8]) {
    let Some(row) = sim.nodes[at].disk.value(Table::CustodyParcels, key) else { return };
    let parcel = decode_custody_parcel(&row).unwrap();
    let place = (parcel.label.message, parcel.label.node);
    sim.nodes[at].dropped.insert(place, parcel.sealing_key);
    let expired = sim.nodes[at].clock.at(sim.now) >= parcel.label.expires;
    let honest = |node: &usize| sim.nodes[*node].is_honest();
    let sound = honest(&at) && sim.index.get(&place.1).is_some_and(honest);
    if sound && !expired && !sim.ledger.answered.contains(&place) {
        let what = format!("{} drops {}, which its recipient has not answered", sim.name(at), place.0);
        sim.violate(KEPT_UNTIL_ANSWERED, what);
    }
}

/// `undeliverable: key lost` is never said while an active node can open the parcel, unless whoever handed that over
/// had damaged it.
pub(super) fn on_key_lost(sim: &mut Sim, at: usize, by: &MemberCode, message: MessageId, node: NodeKey) {
    sim.counts.add("key-lost");
    if sim.nodes.iter().any(|node| node.member == *by && !node.is_honest()) {
        return;
    }
    let of = sim.index.get(&node).copied();
    let key = sim.nodes[at].dropped.get(&(message, node)).copied();
    let (Some(of), Some(key)) = (of, key) else { return };
    let holder = &sim.nodes[of];
    let active = !holder.retired && holder.is_honest() && sim.nodes[at].is_honest();
    if active && holder.disk.value(Table::SealingSeeds, key.as_bytes()).is_some() {
        let what = format!("{} says it of {message}, which {} can open", sim.name(at), sim.name(of));
        sim.violate(KEY_NOT_LOST, what);
    }
}

/// A message in custody arrives though its sender is gone for good, once faults have stopped.
pub(super) fn what_was_left_arrived(sim: &mut Sim) {
    let lost = sim.ledger.left.iter().find_map(|left| {
        let (recipient, keeper) = (&sim.nodes[left.recipient], &sim.nodes[left.custodian]);
        let stands = |node: &Node, folder| {
            node.is_up()
                && node.is_honest()
                && !node.retired
                && node.folder == folder
                && !sim.units[node.unit].suspended
                && node.clock.0.unsigned_abs() < CLOCK_FAULT
        };
        let both = stands(recipient, left.recipient_folder) && stands(keeper, left.custodian_folder);
        let settled = left.since + SETTLING < sim.now && sim.now + CLOCK_FAULT < left.expires;
        let has = sim.ledger.answered.contains(&(left.message, recipient.key));
        // Of a suspended member nothing is handed over until it is back.
        let stopped = sim.units[sim.nodes[left.sender].unit].suspended;
        (both && settled && !has && !stopped).then_some((left.message, left.custodian, left.recipient))
    });
    if let Some((message, custodian, recipient)) = lost {
        let what = format!(
            "{message}, whose sender is gone, was kept by {} and is not at {}",
            sim.name(custodian),
            sim.name(recipient)
        );
        sim.violate(NOTHING_LOST, what);
    }
    sim.ledger.left.retain(|left| sim.now < left.expires);
}

/// A sender is gone for good: what honest nodes keep of its messages, they owe.
pub(crate) fn sender_gone(sim: &mut Sim, gone: usize) {
    let hander = sim.nodes[gone].key;
    let mut left = Vec::new();
    let mut lost_keys = 0;
    for (message, promised) in sim.ledger.messages.iter().filter(|(_, promised)| promised.node == gone) {
        let nodes = promised.recipients.iter().flat_map(|unit| sim.units[*unit].nodes.clone());
        for recipient in nodes.collect::<Vec<_>>() {
            let of = &sim.nodes[recipient];
            let place = [hander.as_bytes().as_slice(), message.as_bytes(), of.key.as_bytes()].concat();
            let keeps = |node: &usize| {
                let of = &sim.nodes[*node];
                of.is_honest() && !of.retired && of.disk.has_durably(Table::CustodyParcels, &place)
            };
            // Sealed to a key that the recipient's earlier folder took with it, only the sender could seal it anew.
            let opens = |node: &usize| {
                let row = sim.nodes[*node].disk.value(Table::CustodyParcels, &place);
                let key = row.map(|row| decode_custody_parcel(&row).unwrap().sealing_key);
                of.folder == 0
                    || key.is_none_or(|key| of.disk.has_durably(Table::SealingSeeds, key.as_bytes()))
            };
            if sim.ledger.answered.contains(&(*message, of.key)) {
                continue;
            }
            let keepers: Vec<usize> = (0..sim.nodes.len()).filter(keeps).collect();
            let Some(custodian) = keepers.iter().copied().find(opens) else {
                lost_keys += u64::from(!keepers.is_empty());
                continue;
            };
            // Made after its key ended, by its own clock, it would be refused: others have no better.
            if sim.nodes[gone].clock.0 > 0 || !of.is_honest() {
                continue;
            }
            left.push(Left {
                message: *message,
                sender: gone,
                custodian,
                recipient,
                custodian_folder: sim.nodes[custodian].folder,
                recipient_folder: of.folder,
                since: sim.now,
                expires: promised.expires,
            });
        }
    }
    for _ in &left {
        sim.counts.add("left-in-custody");
    }
    for _ in 0..lost_keys {
        sim.counts.add("left-to-a-lost-key");
    }
    sim.ledger.left.extend(left);
}

/// Milliseconds by which a clock may be off before it judges no message.
const CLOCK_FAULT: u64 = 540_000;

/// Milliseconds within which what is kept arrives once faults have stopped.
const SETTLING: u64 = 120_000;
