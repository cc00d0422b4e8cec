//! Names and both families of IP addresses, from announcement to connection.

use refpoint::network::{Direction, NetworkEvent, TransportKind};
use refpoint_protocol::testing::Federation;

use super::{CODES, Node};

/// Two nodes of which the second listens at `listen` and is dialled at `host` with its port.
async fn meet(seed: u64, listen: &str, host: &str) -> (Node, Node, refpoint::network::Connected) {
    let federation = Federation::new(seed, &CODES, 1);
    let (br, sg) = (federation.unit("BR"), federation.unit("SG"));
    let at = |config: &mut refpoint::network::NetworkConfig| config.listen = vec![listen.parse().unwrap()];
    let mut second = Node::start_with(TransportKind::Tcp, sg, &sg.nodes[0], federation.trust(), at).await;
    let mut first = Node::start(TransportKind::Tcp, br, federation.trust()).await;
    let port = second.address.to_string().rsplit_once(':').unwrap().1.to_owned();
    second.address = format!("{host}:{port}").parse().unwrap();
    first.aim(&[&second]).await;
    let connected = first.until_connected(second.key).await;
    second.until_connected(first.key).await;
    (first, second, connected)
}

#[tokio::test]
async fn a_node_is_dialled_under_its_name() {
    let (first, second, connected) = meet(50, "127.0.0.1:0", "localhost").await;
    assert_eq!((connected.direction, &connected.address), (Direction::Outbound, &second.address));
    let rows = first.network.peers().await.unwrap();
    assert!(rows[0].connection.as_ref().unwrap().address.to_string().starts_with("localhost:"));
}

#[tokio::test]
async fn a_node_is_dialled_at_an_ipv6_address() {
    let (_first, second, connected) = meet(51, "[::1]:0", "[::1]").await;
    assert_eq!(connected.address, second.address);
    let rows = second.network.peers().await.unwrap();
    let caller = rows[0].connection.as_ref().unwrap();
    assert_eq!(caller.direction, Direction::Inbound);
    assert!(caller.address.to_string().starts_with("[::1]:"), "{}", caller.address);
    let listening = second.network.summary().await.unwrap().listening;
    assert_eq!(listening.iter().collect::<Vec<_>>(), [&second.address]);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_the_reason_that_is_shown() {
    let federation = Federation::new(52, &CODES, 1);
    let mut node = Node::start(TransportKind::Tcp, federation.unit("BR"), federation.trust()).await;
    // RFC 6761 keeps this name from every resolver outside this machine.
    node.hint(&"node.invalid:4001".parse().unwrap()).await;
    let why = node
        .until(|event| match event {
            NetworkEvent::DialFailed { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert!(why.contains("cannot be resolved"), "{why}");
}

#[tokio::test]
async fn a_request_for_which_nothing_can_be_dialled_does_not_use_up_the_minute() {
    use refpoint::network::dial_back::Outcome;
    let (first, second, _) = meet(53, "127.0.0.1:0", "localhost").await;
    let ask = async || first.network.dial_back(second.key).await.unwrap().unwrap();
    for _ in 0..2 {
        let answer = ask().await;
        assert!(!answer.busy && answer.seen.is_empty(), "{answer:?}");
    }
    // Its record arrives.
    second.aim(&[&first]).await;
    let answer = ask().await;
    assert_eq!(answer.seen.iter().map(|seen| seen.outcome).collect::<Vec<_>>(), [Outcome::Reached]);
    assert!(ask().await.busy);
}
