//! Who comes in, who does not, and what each side learns of it.

use std::{sync::Arc, time::Duration};

use refpoint::network::{Direction, KeyExchange, NetworkEvent, TransportKind};
use refpoint_protocol::{
    ids::DocumentId,
    introduction::{LearnedDocument, Presence, frame::RefusalCode},
    membership::{Trust, key_set::NodeState},
    testing::{self, FOUNDED, Federation, node_key},
};

use super::{CODES, Node, pair};

fn ids(documents: &[LearnedDocument]) -> Vec<DocumentId> {
    let id = |document: &LearnedDocument| match document {
        LearnedDocument::Charter(charter) => Some(charter.id()),
        LearnedDocument::Settlement(settlement) => Some(settlement.id()),
        LearnedDocument::KeySet(set) => Some(set.id()),
        LearnedDocument::Record { .. } => None,
    };
    documents.iter().filter_map(id).collect()
}

async fn learned(node: &mut Node) -> Vec<DocumentId> {
    node.until(|event| match event {
        NetworkEvent::Learned { documents, .. } => Some(ids(documents)),
        _ => None,
    })
    .await
}

async fn failed(node: &mut Node) -> (String, Option<RefusalCode>) {
    node.until(|event| match event {
        NetworkEvent::DialFailed { why, refusal, .. } => Some((why.clone(), *refusal)),
        _ => None,
    })
    .await
}

/// The evidence of a node that knows the founding charter and its own key set, as after `join`.
fn joined(federation: &Federation, code: &str) -> Trust {
    let mut trust = federation.founding_trust();
    trust.accept_key_set(Arc::clone(&federation.unit(code).key_set)).unwrap();
    trust
}

#[tokio::test]
async fn two_nodes_that_know_only_the_charter_meet_with_hybrid_key_exchange() {
    for kind in [TransportKind::Tcp, TransportKind::Memory] {
        let federation = Federation::new(1, &CODES, 1);
        let (br, sg) = (federation.unit("BR"), federation.unit("SG"));
        let mut first = Node::start(kind, br, joined(&federation, "BR")).await;
        let mut second = Node::start(kind, sg, joined(&federation, "SG")).await;
        first.hint(&second.address).await;

        assert_eq!(learned(&mut first).await, [sg.key_set.id()]);
        let there = first.until_connected(second.key).await;
        assert_eq!((there.member.as_str(), there.direction), ("SG", Direction::Outbound));
        assert_eq!(there.group, KeyExchange::HYBRID);
        assert_eq!((there.wire, there.remote_time, &there.address), (1, FOUNDED, &second.address));

        assert_eq!(learned(&mut second).await, [br.key_set.id()]);
        let here = second.until_connected(first.key).await;
        assert_eq!((here.member.as_str(), here.direction), ("BR", Direction::Inbound));
        assert_eq!(here.group, KeyExchange::HYBRID);
        assert!(second.network.summary().await.unwrap().dialled_in);
        assert!(!first.network.summary().await.unwrap().dialled_in);
        first.network.stop().await;
        second.network.stop().await;
    }
}

#[tokio::test]
async fn a_newcomer_in_version_2_meets_a_holder_of_version_1() {
    let federation = Federation::new(2, &CODES, 1);
    let jo = federation.new_unit(&"JO".parse().unwrap(), 1);
    let entry = federation.first_entry(&jo.code);
    let signers = [&federation.unit("BR").root, &federation.unit("FR").root, &jo.root];
    let second = federation.successor(
        &[&federation.founding],
        |charter| {
            charter.members.push(entry);
            charter.members.sort_by(|a, b| a.code.cmp(&b.code));
        },
        &signers,
    );
    let key_set = federation.first_key_set(&second, &jo.code, &jo.root, &jo.nodes);
    let mut trust = federation.trust();
    trust.accept_charter(Arc::clone(&second)).unwrap();
    trust.accept_key_set(Arc::clone(&key_set)).unwrap();

    let mut holder = Node::start(TransportKind::Memory, federation.unit("SG"), federation.trust()).await;
    let mut newcomer = Node::start(TransportKind::Memory, &jo, trust).await;
    newcomer.hint(&holder.address).await;
    newcomer.until_connected(holder.key).await;
    assert_eq!(learned(&mut holder).await, [second.id(), key_set.id()]);
    assert_eq!(holder.until_connected(newcomer.key).await.member, jo.code);
}

#[tokio::test]
async fn a_node_back_after_every_peer_has_new_keys_is_let_in() {
    let federation = Federation::new(3, &CODES, 1);
    let (br, sg) = (federation.unit("BR"), federation.unit("SG"));
    let replaced = federation.node(&br.code, 7);
    let renewed = federation.next_key_set(
        &[&br.key_set],
        |set| set.nodes = vec![testing::entry(0, &replaced)],
        &br.root,
    );
    let mut trust = federation.trust();
    trust.accept_key_set(Arc::clone(&renewed)).unwrap();
    let current = Node::start_with(TransportKind::Memory, br, &replaced, trust, |_| {}).await;
    let mut back = Node::start(TransportKind::Memory, sg, federation.trust()).await;
    back.hint(&current.address).await;
    assert_eq!(learned(&mut back).await, [renewed.id()]);
    assert_eq!(back.until_connected(node_key(&replaced)).await.member, br.code);
}

/// The federation's evidence with SG's first node revoked, and the key set that does it.
fn revoked(federation: &Federation) -> (Trust, DocumentId) {
    let sg = federation.unit("SG");
    let compromised = federation.next_key_set(
        &[&sg.key_set],
        |set| {
            set.nodes[0].state = NodeState::Compromised;
            set.nodes[0].since = Some(FOUNDED);
        },
        &sg.root,
    );
    let mut trust = federation.trust();
    trust.accept_key_set(Arc::clone(&compromised)).unwrap();
    (trust, compromised.id())
}

#[tokio::test]
async fn a_revoked_key_that_presents_its_old_key_set_is_refused_with_proof() {
    for kind in [TransportKind::Tcp, TransportKind::Memory] {
        let federation = Federation::new(4, &CODES, 1);
        let (trust, proof) = revoked(&federation);
        let holder = Node::start(kind, federation.unit("BR"), trust).await;
        let mut thief = Node::start(kind, federation.unit("SG"), federation.trust()).await;
        thief.hint(&holder.address).await;
        let (mut proved, mut refused) = (None, None);
        thief
            .until(|event| {
                match event {
                    NetworkEvent::Learned { documents, .. } => proved = Some(ids(documents)),
                    NetworkEvent::DialFailed { refusal, .. } => refused = *refusal,
                    NetworkEvent::Connected(_) => panic!("a revoked key is no connection"),
                    _ => {}
                }
                (proved.is_some() && refused.is_some()).then_some(())
            })
            .await;
        assert_eq!(proved, Some(vec![proof]));
        assert_eq!(refused, Some(RefusalCode::KeyEnded));
        let summary = holder.network.summary().await.unwrap();
        assert_eq!((summary.admitted, summary.connected, summary.faults), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_dialled_node_whose_key_has_ended_is_not_connected_either() {
    let federation = Federation::new(5, &CODES, 1);
    let (trust, proof) = revoked(&federation);
    let mut holder = Node::start(TransportKind::Memory, federation.unit("BR"), trust).await;
    let mut thief = Node::start(TransportKind::Memory, federation.unit("SG"), federation.trust()).await;
    holder.hint(&thief.address).await;
    let (why, refusal) = failed(&mut holder).await;
    assert!(why.contains("not admitted"), "{why}");
    assert_eq!(refusal, None);
    assert_eq!(learned(&mut thief).await, [proof]);
    assert_eq!(thief.network.summary().await.unwrap().connected, 0);
}

#[tokio::test]
async fn two_separately_built_federations_refuse_each_other_in_silence() {
    let (ours, theirs) = (Federation::new(6, &CODES, 1), Federation::new(7, &CODES, 1));
    let listener = Node::start(TransportKind::Tcp, ours.unit("BR"), ours.trust()).await;
    let mut dialler = Node::start(TransportKind::Tcp, theirs.unit("SG"), theirs.trust()).await;
    dialler.hint(&listener.address).await;
    let (why, refusal) = failed(&mut dialler).await;
    assert!(why.contains("another federation"), "{why}");
    assert_eq!(refusal, None);
    let summary = listener.network.summary().await.unwrap();
    assert_eq!((summary.admitted, summary.faults), (0, 0));
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_end_with_one_connection() {
    for seed in 0..4 {
        let federation = Federation::new(10 + seed, &CODES, 1);
        let kind = if seed % 2 == 0 { TransportKind::Tcp } else { TransportKind::Memory };
        let mut first = Node::start(kind, federation.unit("BR"), federation.trust()).await;
        let mut second = Node::start(kind, federation.unit("SG"), federation.trust()).await;
        // Hints are dialled at once by both sides.
        tokio::join!(first.hint(&second.address), second.hint(&first.address));
        first.until_connected(second.key).await;
        second.until_connected(first.key).await;
        let lower = first.key.min(second.key);
        for node in [&mut first, &mut second] {
            let expected = if node.key == lower { Direction::Outbound } else { Direction::Inbound };
            let met = |event: &NetworkEvent| matches!(event, NetworkEvent::Disconnected { .. });
            // With one connection there is nothing to settle; with two, the lower node's dial stays.
            let settled = async {
                loop {
                    let summary = node.network.summary().await.unwrap();
                    let rows = node.network.peers().await.unwrap();
                    let direction = rows[0].connection.as_ref().unwrap().direction;
                    if summary.connections == 1 && summary.dialling == 0 {
                        return (summary.admitted, direction);
                    }
                    if let Ok(Some(event)) =
                        tokio::time::timeout(Duration::from_millis(50), node.events.next()).await
                    {
                        assert!(!met(&event), "the pair stays connected");
                    }
                }
            };
            let (admitted, direction) = tokio::time::timeout(super::DEADLINE, settled).await.unwrap();
            if admitted == 2 {
                assert_eq!(direction, expected);
            }
        }
    }
}

#[tokio::test]
async fn a_live_connection_ends_when_the_runtime_says_that_the_key_is_no_longer_active() {
    let federation = Federation::new(20, &CODES, 1);
    let (mut holder, mut thief) = pair(TransportKind::Tcp, &federation).await;
    let (trust, proof) = revoked(&federation);
    let presence = Presence { trust, ..Presence::clone(&holder.presence.load()) };
    holder.presence.store(Arc::new(presence));
    holder.network.disconnect(thief.key, "its key is no longer active".into()).await.unwrap();
    let why = holder
        .until(|event| match event {
            NetworkEvent::Disconnected { node, why, .. } if *node == thief.key => Some(why.clone()),
            _ => None,
        })
        .await;
    assert_eq!(why, "its key is no longer active");
    thief.until(|event| matches!(event, NetworkEvent::Disconnected { .. }).then_some(())).await;
    // It comes back, and is told why not.
    thief.hint(&holder.address).await;
    assert_eq!(learned(&mut thief).await, [proof]);
    assert_eq!(holder.network.summary().await.unwrap().connected, 0);
}

#[tokio::test]
async fn a_lost_node_is_dialled_again_and_shown_with_the_reason() {
    let federation = Federation::new(21, &CODES, 1);
    let (br, sg) = (federation.unit("BR"), federation.unit("SG"));
    let mut stays = Node::start(TransportKind::Tcp, br, federation.trust()).await;
    let goes = Node::start(TransportKind::Tcp, sg, federation.trust()).await;
    stays.aim(&[&goes]).await;
    goes.aim(&[&stays]).await;
    stays.until_connected(goes.key).await;
    let address = goes.address.clone();
    goes.network.stop().await;
    drop(goes);
    let reason = stays
        .until_rows(|rows| {
            let row = rows.into_iter().next().unwrap();
            row.connection.is_none().then(|| (row.reason.unwrap(), row.last_contact))
        })
        .await;
    assert!(reason.1.is_some(), "{reason:?}");

    let listen = |config: &mut refpoint::network::NetworkConfig| config.listen = vec![address.clone()];
    let mut back = Node::start_with(TransportKind::Tcp, sg, &sg.nodes[0], federation.trust(), listen).await;
    back.aim(&[&stays]).await;
    stays.until_connected(back.key).await;
    back.until_connected(stays.key).await;
}

#[tokio::test]
async fn private_addresses_are_not_dialled_unless_allowed() {
    let federation = Federation::new(22, &CODES, 1);
    let br = federation.unit("BR");
    let strict = |config: &mut refpoint::network::NetworkConfig| config.allow_private = false;
    let mut node = Node::start_with(TransportKind::Tcp, br, &br.nodes[0], federation.trust(), strict).await;
    let other = Node::start(TransportKind::Tcp, federation.unit("SG"), federation.trust()).await;
    node.hint(&other.address).await;
    let (why, _) = failed(&mut node).await;
    assert!(why.contains("127.0.0.1 is not a public address"), "{why}");
}

#[tokio::test]
async fn a_port_in_use_is_said_with_the_address() {
    let federation = Federation::new(23, &CODES, 1);
    let first = Node::start(TransportKind::Tcp, federation.unit("BR"), federation.trust()).await;
    let unit = federation.unit("SG");
    let mut config = super::config(TransportKind::Tcp, federation.id);
    config.listen = vec![first.address.clone()];
    let presence = Arc::clone(&first.presence);
    let started = refpoint::network::Network::start(config, &unit.nodes[0], presence, Arc::new(|| FOUNDED));
    let error = started.err().unwrap().to_string();
    assert!(error.contains(&first.address.to_string()), "{error}");
}
