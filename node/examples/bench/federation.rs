//! Nodes of a sample federation within this process.

use std::sync::Arc;

use refpoint::{
    clock::Clock,
    network::{Address, NetworkConfig, TransportKind},
    runtime::{Node, Parts},
    sample::{Sample, SampleMember},
    store::Store,
};
use refpoint_protocol::machine;

/// What the nodes of one measurement share.
pub(super) struct Federation {
    pub(super) sample: Sample,
    pub(super) clock: Clock,
    pub(super) transport: TransportKind,
    /// Whether the nodes publish where they listen, so that every two of them connect.
    pub(super) publishes_addresses: bool,
}

impl Federation {
    /// Starts a member's node, which listens at an address and dials the hints.
    pub(super) async fn start(
        &self,
        member: &SampleMember,
        address: &Address,
        store: Arc<dyn Store>,
        hints: Vec<Address>,
    ) -> anyhow::Result<Node> {
        let mut network = NetworkConfig::new(self.sample.federation, vec![address.clone()]);
        network.transport = self.transport;
        network.allow_private = true;
        if let TransportKind::Memory = self.transport {
            // All nodes of this process share its cores: thousands of handshakes at once would time out together.
            network.dial.concurrent_max = 2;
        }
        // All nodes of this process count its memory as their own.
        network.memory_bytes_max = usize::MAX;
        let node = Node::start(Parts {
            machine: machine::Config {
                federation: self.sample.federation,
                member: member.country.code.clone(),
                node: member.node.key(),
                addresses: self.publishes_addresses.then(|| address.to_string()).into_iter().collect(),
                software: "bench".to_owned(),
                connections_max: 256,
            },
            signing: member.node.signing_key().clone(),
            store,
            network,
            hints,
            alert_command: Vec::new(),
            clock: self.clock,
        });
        Ok(node.await?)
    }
}
