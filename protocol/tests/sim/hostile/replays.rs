//! A member that sends again what it was sent, to whomever it likes.

use std::sync::Arc;

use refpoint_protocol::relay::frame::RelayFrame;

use crate::sim::{
    Sim,
    event::{Gossip, Payload},
    network::Way,
};

pub(super) fn act(sim: &mut Sim, node: usize) {
    let recorded = sim.nodes[node].villain.as_ref().map(|it| it.recorded.clone()).unwrap_or_default();
    let peers = sim.network.peers(node, sim.nodes.len());
    for _ in 0..10 {
        let (Some((_, what)), Some(other)) = (sim.draw.pick(&recorded), sim.draw.pick(&peers)) else {
            return;
        };
        sim.counts.add("replay");
        let what = match what {
            // Under another id, as when those who saw it have forgotten it.
            Payload::Gossip(gossip) => {
                let Gossip { document, body, .. } = gossip.as_ref();
                let (document, body) = (Arc::clone(document), body.clone());
                Payload::Gossip(Gossip::new(sim.draw.next(), document, body))
            }
            other => other,
        };
        let lane =
            usize::from(matches!(&what, Payload::Frame(frame) if matches!(**frame, RelayFrame::Parcel(_))));
        sim.dispatch(node, other, Way::Stream(lane), what);
    }
}
