//! Real swarms that meet over loopback TCP and over this process's memory.

mod addresses;
mod hostile;
mod meeting;
mod memory;
mod traffic;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ed25519_dalek::SigningKey;
use refpoint::network::{
    Address, Network, NetworkConfig, NetworkEvent, NetworkEvents, Target, TransportKind,
};
use refpoint_protocol::{
    ids::{FederationId, MemberCode, NodeKey},
    introduction::Presence,
    membership::{Trust, charter::WorkingGroup},
    testing::{FOUNDED, Federation, Unit, node_key},
};

/// The members of the tests' federations.
const CODES: [&str; 4] = ["BR", "FR", "KE", "SG"];

/// Longer than any step here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A node's network with its key and evidence.
struct Node {
    key: NodeKey,
    member: MemberCode,
    network: Network,
    events: NetworkEvents,
    presence: Arc<ArcSwap<Presence>>,
    address: Address,
}

impl Node {
    /// A member's first node.
    async fn start(kind: TransportKind, unit: &Unit, trust: Trust) -> Self {
        Self::start_with(kind, unit, &unit.nodes[0], trust, |_| {}).await
    }

    async fn start_with(
        kind: TransportKind,
        unit: &Unit,
        signing: &SigningKey,
        trust: Trust,
        change: impl FnOnce(&mut NetworkConfig),
    ) -> Self {
        let mut config = config(kind, trust.federation());
        change(&mut config);
        let key = node_key(signing);
        let member = unit.code.clone();
        let wire = vec![1];
        let presence = Presence { trust, node: key, member: member.clone(), wire, record: None, full: false };
        let presence = Arc::new(ArcSwap::from_pointee(presence));
        let clock = Arc::new(|| FOUNDED);
        let (network, events) = Network::start(config, signing, Arc::clone(&presence), clock).unwrap();
        let mut node = Self { key, member, network, events, presence, address: Address::memory(0) };
        node.address = node
            .until(|event| match event {
                NetworkEvent::Listening(address) => Some(address.clone()),
                _ => None,
            })
            .await;
        node
    }

    fn target(&self) -> Target {
        Target {
            node: self.key,
            member: self.member.clone(),
            group: Some(WorkingGroup::Africa),
            addresses: vec![self.address.clone()],
        }
    }

    async fn aim(&self, others: &[&Self]) {
        let targets = others.iter().map(|other| other.target()).collect();
        self.network.aim(targets, vec![]).await.unwrap();
    }

    /// Dials an address without knowing who is there.
    async fn hint(&self, address: &Address) {
        self.network.aim(vec![], vec![address.clone()]).await.unwrap();
    }

    /// Waits for an event that the closure takes something from; others are dropped.
    async fn until<T>(&mut self, mut wanted: impl FnMut(&NetworkEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.next().await.expect("the network runs");
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, search).await.expect("the awaited event did not come in time")
    }

    async fn until_connected(&mut self, other: NodeKey) -> refpoint::network::Connected {
        self.until(|event| match event {
            NetworkEvent::Connected(connected) if connected.node == other => Some(connected.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for a condition that is looked at after every event and at least every 50 ms.
    async fn until_rows<T>(&mut self, wanted: impl Fn(Vec<refpoint::network::PeerRow>) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(self.network.peers().await.unwrap()) {
                    return found;
                }
                // Whatever comes, the condition is looked at again.
                let _event = tokio::time::timeout(Duration::from_millis(50), self.events.next()).await;
            }
        };
        tokio::time::timeout(DEADLINE, search).await.expect("the awaited state did not come in time")
    }
}

fn config(kind: TransportKind, federation: FederationId) -> NetworkConfig {
    let listen = match kind {
        TransportKind::Tcp => "127.0.0.1:0".parse().unwrap(),
        TransportKind::Memory => Address::memory(0),
    };
    let mut config = NetworkConfig::new(federation, vec![listen]);
    config.transport = kind;
    config.allow_private = true;
    // A test process holds many nodes.
    config.memory_bytes_max = 8 * 1024 * 1024 * 1024;
    config
}

/// Two connected nodes of two members, the first of which dialled.
async fn pair(kind: TransportKind, federation: &Federation) -> (Node, Node) {
    let mut first = Node::start(kind, federation.unit("BR"), federation.trust()).await;
    let mut second = Node::start(kind, federation.unit("SG"), federation.trust()).await;
    first.hint(&second.address).await;
    first.until_connected(second.key).await;
    second.until_connected(first.key).await;
    (first, second)
}
