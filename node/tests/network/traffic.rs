//! What travels between two nodes that are connected: relay frames, gossip, repair, pings.

use std::time::Duration;

use refpoint::network::{NetworkEvent, RequestFailed, SendFailure, Ticket, TransportKind, Verdict};
use refpoint_protocol::{
    evidence::repair::{Fetch, RepairRequest, RepairResponse, Taken},
    ids::{ContentHash, MemberCode, MessageId, NodeKey, SealingKeyId},
    relay::{
        frame::{Offer, RelayFrame},
        parcel::{Class, Label, Parcel},
    },
    testing::{FOUNDED, Federation},
};

use super::{CODES, Node, pair};

fn offer(count: u64) -> RelayFrame {
    RelayFrame::Offer(Offer { hash: ContentHash::from_bytes([0; 32]), count })
}

fn parcel(bytes: usize) -> RelayFrame {
    RelayFrame::Parcel(Box::new(Parcel {
        label: Label {
            message: MessageId::from_bytes([1; 32]),
            member: MemberCode::new("KE").unwrap(),
            node: NodeKey::from_bytes([2; 32]),
            expires: FOUNDED,
            class: Class::Normal,
            size: bytes as u64,
        },
        sealing_key: SealingKeyId::from_bytes([3; 32]),
        sealed: vec![4; 1_400],
        ciphertext: vec![5; bytes],
    }))
}

async fn frame(node: &mut Node) -> (Class, RelayFrame) {
    let search = async {
        loop {
            match node.events.next().await.unwrap() {
                NetworkEvent::Frame(inbound) => return (inbound.class, inbound.frame),
                NetworkEvent::Fault { fault, .. } => panic!("{fault}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(super::DEADLINE, search).await.expect("a frame in time")
}

#[tokio::test]
async fn frames_arrive_in_order_on_their_class_both_ways() {
    for kind in [TransportKind::Tcp, TransportKind::Memory] {
        let federation = Federation::new(30, &CODES, 1);
        let (mut first, mut second) = pair(kind, &federation).await;
        for count in 0..50 {
            first.network.send(second.key, Class::Urgent, offer(count), Ticket(count)).unwrap();
        }
        for count in 0..50 {
            assert_eq!(frame(&mut second).await, (Class::Urgent, offer(count)));
        }
        second.network.send(first.key, Class::Normal, parcel(1_300_000), Ticket(1)).unwrap();
        assert_eq!(frame(&mut first).await, (Class::Normal, parcel(1_300_000)));
    }
}

#[tokio::test]
async fn a_frame_for_nobody_fails_at_once_and_what_waits_fails_with_the_connection() {
    let federation = Federation::new(31, &CODES, 1);
    let (mut first, second) = pair(TransportKind::Tcp, &federation).await;
    let nobody = NodeKey::from_bytes([9; 32]);
    let failed = first.network.send(nobody, Class::Urgent, offer(1), Ticket(1));
    assert_eq!(failed, Err(SendFailure::NotConnected));

    // Nobody reads at the other end: the stream stalls, frames wait, and the bound holds.
    let mut queued = 0;
    while first.network.send(second.key, Class::Normal, parcel(1_300_000), Ticket(queued)).is_ok() {
        queued += 1;
        assert!(queued < 1_000, "the queue is bounded");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Another class has its own queue.
    first.network.send(second.key, Class::Urgent, offer(1), Ticket(9_999)).unwrap();
    second.network.stop().await;
    drop(second);
    let mut failures = std::collections::BTreeSet::new();
    first
        .until(|event| {
            if let NetworkEvent::SendFailed { ticket: Ticket(ticket), .. } = event {
                failures.insert(*ticket);
            }
            // The last that was queued cannot have gone out.
            failures.contains(&(queued - 1)).then_some(())
        })
        .await;
    assert!(failures.len() >= 2, "{failures:?}");
}

#[tokio::test]
async fn a_slow_reader_holds_back_its_stream_and_nothing_else() {
    let federation = Federation::new(32, &CODES, 1);
    let (first, second) = pair(TransportKind::Tcp, &federation).await;
    let mut sent = 0;
    while first.network.send(second.key, Class::Normal, parcel(1_300_000), Ticket(sent)).is_ok() {
        sent += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The swarm of the node whose runtime sleeps still answers.
    let summary = tokio::time::timeout(super::DEADLINE, second.network.summary()).await.unwrap();
    assert_eq!(summary.unwrap().connected, 1);
    let latency = tokio::time::timeout(super::DEADLINE, async {
        loop {
            let rows = second.network.peers().await.unwrap();
            if let Some(latency) = rows[0].connection.as_ref().unwrap().latency {
                return latency;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(latency.await.is_ok());
}

#[tokio::test]
async fn gossip_is_passed_on_only_after_it_is_accepted() {
    let federation = Federation::new(33, &CODES, 1);
    let [br, fr, sg] = ["BR", "FR", "SG"].map(|code| federation.unit(code));
    let mut author = Node::start(TransportKind::Memory, br, federation.trust()).await;
    let mut between = Node::start(TransportKind::Memory, fr, federation.trust()).await;
    let mut end = Node::start(TransportKind::Memory, sg, federation.trust()).await;
    // Published before anybody is there: it waits.
    author.network.publish(b"first".to_vec()).await.unwrap();
    between.hint(&author.address).await;
    between.until_connected(author.key).await;
    end.hint(&between.address).await;
    end.until_connected(between.key).await;

    let gossip = |event: &NetworkEvent| match event {
        NetworkEvent::Gossip { source, token, data } => Some((*source, token.clone(), data.clone())),
        _ => None,
    };
    let (source, token, data) = between.until(gossip).await;
    assert_eq!((source, data.as_slice()), (author.key, b"first".as_slice()));
    // The far end subscribes before anything is passed on.
    let end_key = end.key;
    between
        .until_rows(|rows| {
            let row = rows.into_iter().find(|row| row.node == end_key)?;
            row.connection.is_some_and(|connection| connection.subscribed).then_some(())
        })
        .await;
    between.network.verdict(token, Verdict::Accept).await.unwrap();
    let (source, token, data) = end.until(gossip).await;
    assert_eq!((source, data.as_slice()), (between.key, b"first".as_slice()));
    end.network.verdict(token, Verdict::Accept).await.unwrap();

    author.network.publish(b"bad".to_vec()).await.unwrap();
    let (_, token, data) = between.until(gossip).await;
    assert_eq!(data, b"bad");
    between.network.verdict(token, Verdict::Reject).await.unwrap();
    author.network.publish(b"good".to_vec()).await.unwrap();
    let (_, token, _) = between.until(gossip).await;
    between.network.verdict(token, Verdict::Accept).await.unwrap();
    let (_, _, data) = end.until(gossip).await;
    assert_eq!(data, b"good", "what was rejected is not passed on");
    author.events.next().await.unwrap();
}

#[tokio::test]
async fn too_large_a_publication_is_said() {
    let federation = Federation::new(34, &CODES, 1);
    let mut node = Node::start(TransportKind::Memory, federation.unit("BR"), federation.trust()).await;
    let bytes = refpoint::network::gossip::GOSSIP_BYTES_MAX + 1;
    node.network.publish(vec![0; bytes]).await.unwrap();
    node.until(|event| matches!(event, NetworkEvent::PublishFailed { .. }).then_some(())).await;
}

#[tokio::test]
async fn repair_requests_are_answered_and_failures_have_their_ticket() {
    let federation = Federation::new(35, &CODES, 1);
    let (mut first, mut second) = pair(TransportKind::Tcp, &federation).await;
    let request = RepairRequest::Fetch(Fetch::default());
    first.network.request(second.key, request.clone(), Ticket(7)).await.unwrap();
    let (from, token, asked) = loop {
        let event = tokio::time::timeout(super::DEADLINE, second.events.next()).await.unwrap().unwrap();
        if let NetworkEvent::RepairRequested { from, token, request } = event {
            break (from, token, request);
        }
    };
    assert_eq!((from, &asked), (first.key, &request));
    second.network.respond(token, RepairResponse::Taken(Taken {})).await.unwrap();
    let answer = |event: &NetworkEvent| match event {
        NetworkEvent::RepairAnswered { ticket, result, .. } => Some((*ticket, result.clone())),
        _ => None,
    };
    let (ticket, result) = first.until(answer).await;
    assert_eq!((ticket, result), (Ticket(7), Ok(RepairResponse::Taken(Taken {}))));

    // A token that is dropped is an answer too.
    first.network.request(second.key, request.clone(), Ticket(8)).await.unwrap();
    second.until(|event| matches!(event, NetworkEvent::RepairRequested { .. }).then_some(())).await;
    let (ticket, result) = first.until(answer).await;
    assert_eq!(ticket, Ticket(8));
    assert!(result.is_err());

    first.network.request(NodeKey::from_bytes([9; 32]), request, Ticket(9)).await.unwrap();
    assert_eq!(first.until(answer).await, (Ticket(9), Err(RequestFailed::NotConnected)));
}
