//! What is shown of the network: its nodes one by one, and as a whole.

use std::time::Instant;

use refpoint_protocol::{
    ids::{MemberCode, NodeKey},
    time::Timestamp,
};

use super::Actor;
use crate::network::{Address, PeerConnection, PeerRow, Summary};

impl Actor {
    pub(super) fn rows(&self) -> Vec<PeerRow> {
        let mut nodes = self.targets.clone();
        nodes.extend(self.connections.iter().map(|(node, peer)| (*node, peer.member.clone())));
        let now = (self.clock)();
        let mut rows: Vec<PeerRow> =
            nodes.into_iter().map(|(node, member)| self.row(node, member, now)).collect();
        rows.sort_by(|a, b| (&a.member, a.node).cmp(&(&b.member, b.node)));
        rows
    }

    fn row(&self, node: NodeKey, member: MemberCode, now: Timestamp) -> PeerRow {
        let subscribed = self.connections.get(node).is_some_and(|peer| peer.subscribed);
        let connection = self.connections.kept(node).map(|kept| PeerConnection {
            direction: kept.facts.direction,
            address: kept.facts.address.clone(),
            transport: self.transport,
            group: kept.facts.group,
            latency: kept.latency,
            since: kept.facts.local_time,
            subscribed,
        });
        if connection.is_some() {
            return PeerRow {
                node,
                member,
                connection,
                last_contact: Some(now),
                reason: None,
                next_dial_in: None,
            };
        }
        let (due, reason) = self.dialler.outlook(node);
        PeerRow {
            node,
            member,
            connection,
            last_contact: self.connections.last_contact(node),
            reason: Some(reason.unwrap_or("not dialled yet").to_owned()),
            next_dial_in: due.map(|due| due.saturating_duration_since(Instant::now())),
        }
    }

    pub(super) fn summarise(&self) -> Summary {
        Summary {
            listening: self.swarm.listeners().filter_map(Address::from_multiaddr).collect(),
            connected: self.connections.len(),
            connections: self.swarm.network_info().connection_counters().num_established(),
            dialling: self.dialler.under_way(),
            admitted: self.admissions.passed(),
            gossip_received: self.copies.count(),
            ..self.summary.clone()
        }
    }
}
