//! A member that hands damaged copies of what it keeps to others, as if it were the sender: to other custodians, to the
//! recipient and back to the sender itself.

use refpoint_protocol::relay::{
    frame::RelayFrame,
    parcel::{Class, Parcel},
};

use crate::sim::{Sim, event::Payload, network::Way};

/// Copies a parcel that it was handed to keep, and keeps it as well.
pub(super) fn spread(sim: &mut Sim, node: usize, frame: &RelayFrame) {
    let RelayFrame::Parcel(parcel) = frame else { return };
    if parcel.label.node == sim.nodes[node].key {
        return;
    }
    let peers = sim.network.peers(node, sim.nodes.len());
    for _ in 0..COPIES {
        let Some(to) = sim.draw.pick(&peers) else { return };
        let copy = damaged(sim, parcel);
        sim.counts.add("damaged-copy");
        sim.dispatch(node, to, Way::Stream(0), Payload::Frame(Box::new(RelayFrame::Parcel(Box::new(copy)))));
    }
}

/// Refused by whoever opens it, or not to be opened; the more urgent, the sooner it is handed over.
fn damaged(sim: &mut Sim, parcel: &Parcel) -> Parcel {
    let mut copy = parcel.clone();
    match sim.draw.below(3) {
        0 => copy.ciphertext[0] ^= 1,
        1 => copy.sealed[0] ^= 1,
        _ => copy.label.class = Class::Urgent,
    }
    copy
}

/// Copies of one parcel.
const COPIES: usize = 4;
