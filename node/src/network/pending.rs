//! Limits on handshakes: anyone who reaches the port can make this node do one, so each neighbourhood of
//! addresses (an IPv4 /24, an IPv6 /48) has a few at once, and all of them together a few dozen.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, behaviour::ListenFailure, dummy,
    },
};

use super::address::{Prefix, prefix};

/// Denies inbound connections of a prefix that has too many handshakes under way.
#[derive(Debug)]
pub(super) struct PendingPerPrefix {
    max: usize,
    pending: HashMap<ConnectionId, Prefix>,
    counts: BTreeMap<Prefix, usize>,
}

/// The prefix has as many handshakes under way as one may.
#[derive(Debug, thiserror::Error)]
#[error("{0} handshakes of this address prefix are under way already")]
pub(super) struct TooManyPending(usize);

impl PendingPerPrefix {
    pub(super) fn new(max: usize) -> Self {
        Self { max, pending: HashMap::new(), counts: BTreeMap::new() }
    }

    fn release(&mut self, id: ConnectionId) {
        let Some(prefix) = self.pending.remove(&id) else {
            return;
        };
        if let Some(count) = self.counts.get_mut(&prefix) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&prefix);
            }
        }
    }
}

impl NetworkBehaviour for PendingPerPrefix {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(prefix) = prefix(remote) else {
            return Ok(());
        };
        let count = self.counts.entry(prefix).or_default();
        if *count >= self.max {
            return Err(ConnectionDenied::new(TooManyPending(self.max)));
        }
        *count += 1;
        self.pending.insert(id, prefix);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.release(id);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) = event {
            self.release(connection_id);
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
    use super::*;
    use crate::network::Address;

    fn call(limits: &mut PendingPerPrefix, id: usize, from: &str) -> bool {
        let local: Address = "127.0.0.1:4001".parse().unwrap();
        let from: Address = from.parse().unwrap();
        let id = ConnectionId::new_unchecked(id);
        limits.handle_pending_inbound_connection(id, &local.multiaddr(), &from.multiaddr()).is_ok()
    }

    #[test]
    fn one_neighbourhood_has_a_few_handshakes_and_others_their_own() {
        let mut limits = PendingPerPrefix::new(2);
        assert!(call(&mut limits, 1, "198.51.100.1:1"));
        assert!(call(&mut limits, 2, "198.51.100.2:1"));
        assert!(!call(&mut limits, 3, "198.51.100.3:1"));
        assert!(call(&mut limits, 4, "198.51.101.1:1"));
        limits.release(ConnectionId::new_unchecked(3));
        assert!(!call(&mut limits, 5, "198.51.100.3:1"), "a denied one was never counted");
        limits.release(ConnectionId::new_unchecked(1));
        assert!(call(&mut limits, 6, "198.51.100.3:1"));
        for id in [2, 4, 6] {
            limits.release(ConnectionId::new_unchecked(id));
        }
        assert!(limits.counts.is_empty() && limits.pending.is_empty());
    }
}
