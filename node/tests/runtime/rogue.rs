//! A member's node that was let in and hands over what no honest node holds.

use arc_swap::ArcSwap;
use refpoint::{
    api::backend::Backend as _,
    network::{Network, NetworkEvent, NetworkEvents, Ticket},
};
use refpoint_protocol::{
    document::Envelope,
    evidence::repair::{Documents, RepairRequest},
    introduction::Presence,
    limits::FAULTS_PER_INTERVAL_MAX,
    testing::FOUNDED,
};

use super::*;

/// Waits for an event of the rogue's network.
async fn until(events: &mut NetworkEvents, wanted: impl Fn(&NetworkEvent) -> bool) {
    let found = async { while !wanted(&events.next().await.expect("the network runs")) {} };
    tokio::time::timeout(DEADLINE, found).await.expect("the awaited event did not come in time");
}

#[tokio::test]
async fn a_peer_that_floods_with_what_is_invalid_is_cut_off_and_its_faults_are_named() {
    let federation = Federation::new(90, &CODES, 1);
    let sg = Running::start(&federation, "SG", &[]).await;
    let br = federation.unit("BR");
    let mut config = NetworkConfig::new(federation.id, vec![Address::memory(0)]);
    config.transport = TransportKind::Memory;
    config.allow_private = true;
    config.memory_bytes_max = usize::MAX;
    let (node, member) = (node_key(&br.nodes[0]), br.code.clone());
    let presence =
        Presence { trust: federation.trust(), node, member, wire: vec![1], record: None, full: false };
    let presence = Arc::new(ArcSwap::from_pointee(presence));
    let (rogue, mut events) = Network::start(config, &br.nodes[0], presence, Arc::new(|| FOUNDED)).unwrap();
    rogue.aim(Vec::new(), vec![sg.address.clone()]).await.unwrap();
    until(&mut events, |event| matches!(event, NetworkEvent::Connected(_))).await;
    sg.until(move |machine, _| machine.connected().contains_key(&node).then_some(())).await;

    let empty =
        Envelope { kind: "charter".to_owned(), version: 1, payload: vec![0xA0], signatures: Vec::new() };
    let flood = Documents { envelopes: vec![empty; 10_000], bodies: Vec::new() };
    rogue.request(node_key(&sg.unit.nodes[0]), RepairRequest::Give(flood), Ticket(1)).await.unwrap();
    until(&mut events, |event| matches!(event, NetworkEvent::Disconnected { .. })).await;
    let faults = sg.until(move |machine, _| machine.faults().of(&node).map(|faults| faults.total())).await;
    assert_eq!(faults, FAULTS_PER_INTERVAL_MAX, "the rest of the flood was not even looked at");
    let peers = sg.backend().peers().await.unwrap();
    let of_rogue = peers.into_iter().find(|peer| peer.node == Some(node)).unwrap().faults;
    assert_eq!(of_rogue.iter().map(|fault| fault.count).sum::<u64>(), faults, "{of_rogue:?}");
    rogue.stop().await;
    assert!(sg.stop().await.is_ok());
}
