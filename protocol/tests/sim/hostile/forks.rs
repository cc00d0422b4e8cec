//! A member that signs two headers for one place, and shows each to a part of the others.

use std::sync::Arc;

use refpoint_protocol::{
    directory::header::{ChainKind, Header, NodeRecordHeader, ReferencePointHeader},
    document::{Envelope, Unverified, sign},
    ids::ContentHash,
};

use crate::sim::{
    Sim,
    event::{Gossip, Payload},
    network::Way,
};

/// Signs another header beside the newest, or beside an older one.
pub(super) fn act(sim: &mut Sim, node: usize) {
    let kind = if sim.draw.chance(1, 2) { ChainKind::NodeRecord } else { ChainKind::ReferencePoint };
    let Some(mut header) = newest(sim, node, kind) else { return };
    header.body = ContentHash::from_bytes(sim.draw.bytes());
    let envelope = signed(sim, node, kind, header);
    sim.counts.add("fork");
    let peers = sim.network.peers(node, sim.nodes.len());
    let some: Vec<usize> = peers.into_iter().filter(|_| sim.draw.chance(1, 2)).collect();
    show(sim, node, &some, envelope);
}

/// The newest header of a node's own chain, by its own evidence.
pub(super) fn newest(sim: &Sim, node: usize, kind: ChainKind) -> Option<Header> {
    let evidence = sim.nodes[node].machine.as_ref()?.evidence();
    let of_node = evidence.chains().of_node(sim.nodes[node].key).filter(|(key, _)| key.kind == kind);
    let newest = of_node.filter_map(|(_, chain)| chain.newest()).max_by_key(|info| info.issued)?;
    let envelope = sim.nodes[node].disk.envelopes(&[newest.id.into()]).pop()??;
    Some(match kind {
        ChainKind::NodeRecord => {
            Unverified::<NodeRecordHeader>::open((*envelope).clone()).ok()?.claimed().0.clone()
        }
        ChainKind::ReferencePoint => {
            Unverified::<ReferencePointHeader>::open((*envelope).clone()).ok()?.claimed().0.clone()
        }
    })
}

pub(super) fn signed(sim: &Sim, node: usize, kind: ChainKind, header: Header) -> Envelope {
    let (federation, keys) = (Some(sim.federation), [&sim.nodes[node].signing]);
    let envelope = match kind {
        ChainKind::NodeRecord => sign(&NodeRecordHeader(header), federation, &keys),
        ChainKind::ReferencePoint => sign(&ReferencePointHeader(header), federation, &keys),
    };
    envelope.unwrap()
}

/// Gossips an envelope to these peers alone.
pub(super) fn show(sim: &mut Sim, node: usize, peers: &[usize], envelope: Envelope) {
    let gossip = Gossip::new(sim.draw.next(), Arc::new(envelope), None);
    for other in peers {
        sim.dispatch(node, *other, Way::Single, Payload::Gossip(Arc::clone(&gossip)));
    }
}
