//! A member's node that was let in and then breaks the rules of the wire.

use std::task::Poll;

use libp2p::{
    core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox},
    yamux,
};
use refpoint::network::names;
use refpoint_protocol::{
    limits::{PARCEL_BYTES_MAX, RELAY_FRAME_BYTES_MAX, REPAIR_BYTES_MAX},
    relay::parcel::Class,
};
use tokio::sync::mpsc;

use super::*;

/// An admitted connection of a program that says what it likes.
struct Rogue {
    streams: mpsc::Receiver<SubstreamBox>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Rogue {
    async fn enter(federation: &Federation, signing: &SigningKey, node: &mut Node) -> Self {
        let mut caller = call(node, signing).await;
        for frame in introduce(&mut caller, federation, signing, node).await {
            caller.write_all(&encode_frame(&frame).unwrap()).await.unwrap();
        }
        let (name, io) = dialer_select_proto(caller, ["/yamux/1.0.0"], Version::V1).await.unwrap();
        let muxer = yamux::Config::default().upgrade_outbound(io, name).await.unwrap();
        let mut muxer = StreamMuxerBox::new(muxer);
        let (opened, streams) = mpsc::channel(1);
        let driver = tokio::spawn(async move {
            // Streams that the node opens stay open and unanswered.
            let mut theirs = Vec::new();
            let mut ours = None;
            std::future::poll_fn(|cx| {
                loop {
                    if let Poll::Ready(Ok(stream)) = muxer.poll_inbound_unpin(cx) {
                        theirs.push(stream);
                        continue;
                    }
                    if ours.is_none()
                        && let Poll::Ready(Ok(stream)) = muxer.poll_outbound_unpin(cx)
                    {
                        ours = Some(stream);
                    }
                    // The receiver is polled from another task: looked at again whenever the muxer wakes.
                    if let Some(stream) = ours.take() {
                        match opened.try_send(stream) {
                            Ok(()) => continue,
                            Err(mpsc::error::TrySendError::Full(stream)) => ours = Some(stream),
                            Err(mpsc::error::TrySendError::Closed(_)) => return Poll::Ready(()),
                        }
                    }
                    return match muxer.poll_unpin(cx) {
                        Poll::Ready(Err(_)) => Poll::Ready(()),
                        Poll::Ready(Ok(_)) | Poll::Pending => {
                            cx.waker().wake_by_ref();
                            Poll::Pending
                        }
                    };
                }
            })
            .await;
        });
        node.until_connected(node_key(signing)).await;
        Self { streams, driver }
    }

    /// Opens a stream of a protocol, writes, and closes the sending direction.
    async fn say(&mut self, protocol: &str, bytes: &[u8]) -> Negotiated<SubstreamBox> {
        let stream = self.streams.recv().await.unwrap();
        let (_, mut stream) = dialer_select_proto(stream, [protocol], Version::V1).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        stream
    }
}

async fn fault(node: &mut Node) -> (Option<refpoint_protocol::ids::NodeKey>, Fault) {
    node.until(|event| match event {
        NetworkEvent::Fault { node, fault, .. } => Some((*node, fault.clone())),
        NetworkEvent::Frame(_) | NetworkEvent::RepairRequested { .. } => panic!("{event:?}"),
        _ => None,
    })
    .await
}

fn length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length >= 0x80 {
        bytes.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes
}

#[tokio::test]
async fn broken_frames_of_a_member_are_faults_that_end_their_stream_and_in_the_end_the_connection() {
    let federation = Federation::new(50, &CODES, 1);
    let mut node = start(&federation).await;
    let signing = &federation.unit("SG").nodes[0];
    let mut rogue = Rogue::enter(&federation, signing, &mut node).await;
    let repair = names::repair(federation.id);
    let relay = [Class::Urgent, Class::Normal].map(|class| names::relay(federation.id, class));
    let large_receipt = [length(RELAY_FRAME_BYTES_MAX + 1), b"\xA1\x67receipt".to_vec()].concat();
    let broken: [(&str, Vec<u8>, &str); 8] = [
        (relay[0].as_ref(), b"\x80\x00".to_vec(), "NW-02"),
        (relay[1].as_ref(), b"\x03\xF6\xF6\xF6".to_vec(), "NW-02"),
        (relay[0].as_ref(), length(PARCEL_BYTES_MAX + 1), "NW-02"),
        (relay[1].as_ref(), large_receipt, "NW-02"),
        (repair.as_ref(), b"\x80\x00".to_vec(), "NW-03"),
        (repair.as_ref(), length(REPAIR_BYTES_MAX + 1), "NW-03"),
        (repair.as_ref(), b"\x01\xF6\x00".to_vec(), "NW-03"),
        (relay[0].as_ref(), b"\x01\xA0".to_vec(), "NW-02"),
    ];
    for (index, (protocol, bytes, rule)) in broken.into_iter().enumerate() {
        let mut stream = rogue.say(protocol, &bytes).await;
        let (who, fault) = fault(&mut node).await;
        assert_eq!((who, fault.rule()), (Some(node_key(signing)), rule), "{index}: {fault}");
        // The node gives the stream up; what it says in doing so does not matter.
        let mut said = Vec::new();
        let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await;
        assert!(end.is_ok(), "the stream ends");
        assert_eq!(said, b"");
    }
    let why = node
        .until(|event| match event {
            NetworkEvent::Disconnected { why, .. } => Some(why.clone()),
            _ => None,
        })
        .await;
    assert!(why.contains("broke rules of the wire"), "{why}");
    assert_eq!(node.network.summary().await.unwrap().faults, 8);
}

#[tokio::test]
async fn more_streams_than_a_node_may_open_are_a_fault() {
    let federation = Federation::new(51, &CODES, 1);
    let mut node = start(&federation).await;
    let signing = &federation.unit("SG").nodes[0];
    let mut rogue = Rogue::enter(&federation, signing, &mut node).await;
    let relay = names::relay(federation.id, Class::Urgent);
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(rogue.say(relay.as_ref(), b"").await);
    }
    assert_eq!(fault(&mut node).await.1, Fault::RelayStreams);
}

#[tokio::test]
async fn half_a_frame_costs_its_stream_and_nobody_else() {
    let federation = Federation::new(52, &CODES, 1);
    let mut node = start(&federation).await;
    let signing = &federation.unit("SG").nodes[0];
    let mut rogue = Rogue::enter(&federation, signing, &mut node).await;
    let relay = names::relay(federation.id, Class::Normal);
    let half = [length(PARCEL_BYTES_MAX), b"\xA1\x66parcel".to_vec()].concat();
    let mut stalled = Vec::new();
    for _ in 0..4 {
        stalled.push(rogue.say(relay.as_ref(), &half).await);
    }
    let mut other = Node::start(TransportKind::Tcp, federation.unit("KE"), federation.trust()).await;
    other.hint(&node.address).await;
    other.until_connected(node.key).await;
    let frame =
        refpoint_protocol::relay::frame::RelayFrame::Lacking(refpoint_protocol::relay::frame::Lacking {
            ids: vec![],
        });
    other.network.send(node.key, Class::Normal, frame.clone(), refpoint::network::Ticket(1)).unwrap();
    let arrived = node
        .until(|event| match event {
            NetworkEvent::Frame(inbound) => Some((inbound.from, inbound.frame.clone())),
            _ => None,
        })
        .await;
    assert_eq!(arrived, (other.key, frame));
}
