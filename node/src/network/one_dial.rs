//! One connection that this side dialled with each node: any member can publish another's address as its own,
//! and a dial that ends at a node which this side has dialled already must not cost the connection that is there.

use std::{
    collections::HashSet,
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, dummy,
    },
};

/// Denies a dialled connection with a node that has one. It never answers a ping then, so that the other side
/// keeps the first as well.
#[derive(Debug, Default)]
pub(super) struct OneDialPerNode {
    /// The nodes of connections that this side dialled: at most one each, by this rule.
    dialled: HashSet<PeerId>,
}

/// The dial ended at a node with which this side has a connection that it dialled.
#[derive(Debug, thiserror::Error)]
#[error("another node answered there, which is connected already")]
pub(super) struct DialledAlready;

impl NetworkBehaviour for OneDialPerNode {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.dialled.contains(&peer) {
            return Err(ConnectionDenied::new(DialledAlready));
        }
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, endpoint, .. })
                if endpoint.is_dialer() =>
            {
                self.dialled.insert(peer_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, endpoint, .. })
                if endpoint.is_dialer() =>
            {
                self.dialled.remove(&peer_id);
            }
            // Nothing else changes who was dialled.
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use libp2p::core::ConnectedPoint;

    use super::*;
    use crate::network::Address;

    fn dial(behaviour: &mut OneDialPerNode, peer: PeerId) -> bool {
        let (id, address) = (ConnectionId::new_unchecked(1), address());
        behaviour
            .handle_established_outbound_connection(id, peer, &address, Endpoint::Dialer, PortUse::New)
            .is_ok()
    }

    fn address() -> Multiaddr {
        "127.0.0.1:4001".parse::<Address>().unwrap().multiaddr()
    }

    fn established(behaviour: &mut OneDialPerNode, peer: PeerId, endpoint: &ConnectedPoint) {
        behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: peer,
            connection_id: ConnectionId::new_unchecked(1),
            endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
    }

    #[test]
    fn a_dial_that_ends_at_a_node_dialled_before_costs_no_connection() {
        let (mut behaviour, kenya, other) = (OneDialPerNode::default(), PeerId::random(), PeerId::random());
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::New);
        let outbound = ConnectedPoint::Dialer { address: address(), role_override, port_use };
        let inbound = ConnectedPoint::Listener { local_addr: address(), send_back_addr: address() };
        established(&mut behaviour, kenya, &inbound);
        assert!(dial(&mut behaviour, kenya), "crossing dials are for the rule of spares to decide");
        established(&mut behaviour, kenya, &outbound);
        assert!(!dial(&mut behaviour, kenya), "another's address led there");
        assert!(dial(&mut behaviour, other));
        behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: kenya,
            connection_id: ConnectionId::new_unchecked(1),
            endpoint: &outbound,
            cause: None,
            remaining_established: 1,
        }));
        assert!(dial(&mut behaviour, kenya));
    }
}
