//! A member that sends more than anybody wants: documents good and bad, parcels of nothing, endless questions.

use refpoint_protocol::{
    directory::header::ChainKind,
    document::Envelope,
    evidence::repair::{Fetch, RepairRequest},
    ids::{ContentHash, DocumentId, HeaderId, MessageId, SealingKeyId},
    limits::REPAIR_IDS_MAX,
    machine::AskTicket,
    relay::{
        frame::{Offer, RelayFrame},
        parcel::{Class, Label, Parcel},
    },
};

use super::forks;
use crate::sim::{Sim, event::Payload, network::Way};

pub(super) fn act(sim: &mut Sim, node: usize) {
    let peers = sim.network.peers(node, sim.nodes.len());
    let Some(other) = sim.draw.pick(&peers) else { return };
    sim.counts.add("flood");
    match sim.draw.below(4) {
        0 => headers(sim, node, &peers),
        1 => garbage(sim, node, &peers),
        2 => parcels(sim, node, other),
        _ => questions(sim, node, other),
    }
}

/// A whole chain at once, each header good.
fn headers(sim: &mut Sim, node: usize, peers: &[usize]) {
    let kind = ChainKind::ReferencePoint;
    let Some(mut header) = forks::newest(sim, node, kind) else { return };
    let mut before = forks::signed(sim, node, kind, header.clone()).id(Some(sim.federation));
    for _ in 0..20 {
        let Some(next) = header.sequence.next() else { return };
        header.sequence = next;
        header.predecessor = DocumentId::from(HeaderId::from_bytes(*before.as_bytes()));
        let envelope = forks::signed(sim, node, kind, header.clone());
        before = envelope.id(Some(sim.federation));
        forks::show(sim, node, peers, envelope);
    }
}

/// Documents whose signature does not hold.
fn garbage(sim: &mut Sim, node: usize, peers: &[usize]) {
    let kind = ChainKind::NodeRecord;
    let Some(header) = forks::newest(sim, node, kind) else { return };
    let envelope = forks::signed(sim, node, kind, header);
    for _ in 0..10 {
        let mut signatures = envelope.signatures.clone();
        signatures[0].sig = sim.draw.bytes::<64>().to_vec();
        forks::show(sim, node, peers, Envelope { signatures, ..envelope.clone() });
    }
}

/// Parcels that nobody sealed.
fn parcels(sim: &mut Sim, node: usize, other: usize) {
    for _ in 0..300 {
        let label = Label {
            message: MessageId::from_bytes(sim.draw.bytes()),
            member: sim.nodes[other].member.clone(),
            node: sim.nodes[other].key,
            expires: sim.clock_now().after(std::time::Duration::from_secs(3_600)),
            class: if sim.draw.chance(1, 2) { Class::Urgent } else { Class::Normal },
            size: 512,
        };
        let parcel = Parcel {
            label,
            sealing_key: SealingKeyId::from_bytes(sim.draw.bytes()),
            sealed: vec![7; 1_200],
            ciphertext: vec![9; 512],
        };
        sim.dispatch(
            node,
            other,
            Way::Stream(0),
            Payload::Frame(Box::new(RelayFrame::Parcel(Box::new(parcel)))),
        );
    }
}

/// Requests for what nobody has, and offers of what nobody keeps.
fn questions(sim: &mut Sim, node: usize, other: usize) {
    let run = sim.nodes[node].run;
    for at in 0..20 {
        let documents = (0..REPAIR_IDS_MAX).map(|_| DocumentId::from_bytes(sim.draw.bytes())).collect();
        let request = Box::new(RepairRequest::Fetch(Fetch { documents, ..Fetch::default() }));
        let ticket = AskTicket(u64::MAX - at);
        sim.dispatch(node, other, Way::Single, Payload::Request { run, ticket, request });
        let offer = Offer { hash: ContentHash::from_bytes(sim.draw.bytes()), count: 3 };
        sim.dispatch(node, other, Way::Stream(0), Payload::Frame(Box::new(RelayFrame::Offer(offer))));
    }
}
