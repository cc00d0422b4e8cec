//! Above its memory limit a node takes nobody new, says so, and keeps whom it has.

use std::time::Duration;

use refpoint::network::{NetworkConfig, NetworkEvent, TransportKind};
use refpoint_protocol::testing::Federation;

use super::{CODES, Node};

/// Memory of this process now, which other tests may share.
fn used() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

#[tokio::test]
async fn above_its_memory_limit_a_node_refuses_newcomers_and_keeps_its_connections() {
    const STEP: usize = 256 * 1024 * 1024;
    let federation = Federation::new(60, &CODES, 1);
    let [br, fr, sg] = ["BR", "FR", "SG"].map(|code| federation.unit(code));
    let limit = used() + STEP;
    let limited = |config: &mut NetworkConfig| config.memory_bytes_max = limit;
    let mut node = Node::start_with(TransportKind::Tcp, sg, &sg.nodes[0], federation.trust(), limited).await;
    let mut before = Node::start(TransportKind::Tcp, br, federation.trust()).await;
    before.hint(&node.address).await;
    before.until_connected(node.key).await;
    node.until_connected(before.key).await;
    assert_eq!(node.network.summary().await.unwrap().refused_for_memory, None);

    let ballast = vec![1_u8; 2 * STEP];
    // What was measured is believed for a tenth of a second.
    tokio::time::sleep(Duration::from_millis(150)).await;
    let mut after = Node::start(TransportKind::Tcp, fr, federation.trust()).await;
    after.hint(&node.address).await;
    let failed = |event: &NetworkEvent| matches!(event, NetworkEvent::DialFailed { .. }).then_some(());
    after.until(failed).await;
    let summary = node.network.summary().await.unwrap();
    assert_eq!((summary.connected, summary.admitted), (1, 1));
    assert!(summary.refused_for_memory.is_some(), "it is told");
    // Nor does it dial, and says why.
    node.hint(&after.address).await;
    let why = node
        .until(|event| match event {
            NetworkEvent::DialFailed { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert!(why.contains("this node uses") && why.contains("MB"), "{why}");
    // The one it has goes on: a round trip on it.
    before.until_rows(|rows| rows.into_iter().find_map(|row| row.connection?.latency)).await;
    assert_eq!(node.network.summary().await.unwrap().connected, 1);

    drop(ballast);
    after.until_connected(node.key).await;
    node.until_connected(after.key).await;
}

#[test]
fn a_node_stops_taking_connections_before_the_service_is_ended() {
    let service = include_str!("../../../config/refpoint.service");
    let line = service.lines().find_map(|line| line.strip_prefix("MemoryMax=")).unwrap();
    let ends: usize = line.strip_suffix('M').unwrap().parse::<usize>().unwrap() * 1024 * 1024;
    let federation = Federation::new(61, &CODES, 1);
    let refuses = NetworkConfig::new(federation.id, Vec::new()).memory_bytes_max;
    assert!(refuses + 100_000_000 < ends, "{refuses} of {ends}");
}
