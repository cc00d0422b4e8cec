//! Callers who are nobody, or break the rules: they cost little and change nothing.

mod member;

use std::{io, sync::Arc, time::Duration};

use ed25519_dalek::SigningKey;
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{
    core::upgrade::OutboundConnectionUpgrade,
    identity::Keypair,
    tls::{self, TlsStream},
};
use multistream_select::{Negotiated, Version, dialer_select_proto};
use refpoint::network::{Fault, NetworkEvent, TransportKind};
use refpoint_protocol::{
    introduction::{
        FrameReader, Introduction, Presence, Step, encode_frame,
        frame::{Done, IntroductionFrame},
    },
    testing::{FOUNDED, Federation, key, node_key},
};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{CODES, DEADLINE, Node};

/// A TLS stream to a node, by a program that is not ours.
type Caller = TlsStream<Negotiated<Compat<TcpStream>>>;

async fn call(node: &Node, signing: &SigningKey) -> Caller {
    let tcp = TcpStream::connect(node.address.to_string()).await.unwrap().compat();
    let (name, io) = dialer_select_proto(tcp, ["/tls/1.0.0"], Version::V1).await.unwrap();
    let keypair = Keypair::ed25519_from_bytes(signing.to_bytes()).unwrap();
    tls::Config::new(&keypair).unwrap().upgrade_outbound(io, name).await.unwrap().1
}

/// Reads until the node closes; what it said.
async fn until_closed(caller: &mut Caller) -> Vec<u8> {
    let read = async {
        let mut said = Vec::new();
        // A reset is a close too.
        let _end: io::Result<usize> = caller.read_to_end(&mut said).await;
        said
    };
    tokio::time::timeout(DEADLINE, read).await.expect("the node closes in time")
}

/// The multiplexer's negotiation and a Yamux frame, as one would write them after the introduction.
const MULTIPLEXER: &[u8] = b"\x13/multistream/1.0.0\n\x0d/yamux/1.0.0\n\0\x01\0\x01\0\0\0\x01\0\0\0\0";

async fn start(federation: &Federation) -> Node {
    Node::start(TransportKind::Tcp, federation.unit("BR"), federation.trust()).await
}

/// A presence of somebody who knows the federation, under any key.
fn presence(federation: &Federation, signing: &SigningKey) -> Arc<Presence> {
    Arc::new(Presence {
        trust: federation.trust(),
        node: node_key(signing),
        member: "SG".parse().unwrap(),
        wire: vec![1],
        record: None,
        full: false,
    })
}

/// Introduces a member's node as far as its last frames, which are handed back unsent.
async fn introduce(
    caller: &mut Caller,
    federation: &Federation,
    signing: &SigningKey,
    node: &Node,
) -> Vec<IntroductionFrame> {
    let (mut introduction, hello) = Introduction::dial(presence(federation, signing), node.key, FOUNDED);
    caller.write_all(&encode_frame(&hello).unwrap()).await.unwrap();
    caller.flush().await.unwrap();
    let mut reader = FrameReader::new();
    let step = loop {
        let mut bytes = vec![0; reader.wants()];
        let read = caller.read(&mut bytes).await.unwrap();
        assert!(read > 0);
        if let Some(frame) = reader.push(&bytes[..read]).unwrap() {
            break introduction.handle(frame);
        }
    };
    let Step::Admit(frames, _) = step else { panic!("{step:?}") };
    frames
}

async fn assert_untouched(node: &Node) {
    let summary = node.network.summary().await.unwrap();
    assert_eq!((summary.admitted, summary.connected), (0, 0));
}

#[tokio::test]
async fn a_strangers_bytes_never_reach_the_multiplexer() {
    let federation = Federation::new(40, &CODES, 1);
    let mut node = start(&federation).await;
    let stranger = key(99, "stranger", 0);

    // One that skips the introduction.
    let mut caller = call(&node, &stranger).await;
    caller.write_all(MULTIPLEXER).await.unwrap();
    caller.flush().await.unwrap();
    assert_eq!(until_closed(&mut caller).await, b"");
    let fault = node
        .until(|event| match event {
            NetworkEvent::Fault { node, fault, .. } => Some((*node, fault.clone())),
            _ => None,
        })
        .await;
    assert_eq!(fault.0, Some(node_key(&stranger)));
    assert!(matches!(fault.1, Fault::Introduction(_)));

    // One that knows the federation, says everything at once, and waits for nothing.
    let mut caller = call(&node, &stranger).await;
    let (_, hello) = Introduction::dial(presence(&federation, &stranger), node.key, FOUNDED);
    let done = IntroductionFrame::Done(Done {});
    let bytes = [encode_frame(&hello).unwrap(), encode_frame(&done).unwrap(), MULTIPLEXER.to_vec()].concat();
    caller.write_all(&bytes).await.unwrap();
    caller.flush().await.unwrap();
    assert_eq!(until_closed(&mut caller).await, b"", "a stranger is told nothing");
    assert_untouched(&node).await;
}

#[tokio::test]
async fn broken_introductions_are_faults_that_name_the_rule() {
    let federation = Federation::new(41, &CODES, 1);
    let mut node = start(&federation).await;
    let broken: [&[u8]; 5] = [
        b"\x80\x00",             // a length not in its shortest form
        b"\x81\x80\x04",         // a frame one byte too long
        b"\x00",                 // an empty frame
        b"\x03\xA1\x61x",        // garbage
        b"\x07\xA1\x64done\xA0", // the wrong frame, in good form
    ];
    for bytes in broken {
        let mut caller = call(&node, &key(99, "stranger", 0)).await;
        caller.write_all(bytes).await.unwrap();
        caller.flush().await.unwrap();
        assert_eq!(until_closed(&mut caller).await, b"");
        let fault = node
            .until(|event| match event {
                NetworkEvent::Fault { fault, .. } => Some(fault.clone()),
                _ => None,
            })
            .await;
        assert_eq!(fault.rule(), "NW-01");
        assert!(fault.to_string().contains("IN-0"), "{fault}");
    }
    assert_untouched(&node).await;
}

#[tokio::test]
async fn the_listener_says_nothing_of_the_multiplexer_before_done() {
    let federation = Federation::new(42, &CODES, 1);
    let mut node = start(&federation).await;
    let signing = &federation.unit("SG").nodes[0];
    let mut caller = call(&node, signing).await;
    let frames = introduce(&mut caller, &federation, signing, &node).await;
    let early = tokio::time::timeout(Duration::from_millis(300), caller.read(&mut [0])).await;
    assert!(early.is_err(), "a byte before done");
    assert_untouched(&node).await;
    for frame in frames {
        caller.write_all(&encode_frame(&frame).unwrap()).await.unwrap();
    }
    caller.write_all(MULTIPLEXER).await.unwrap();
    caller.flush().await.unwrap();
    node.until_connected(node_key(signing)).await;
    assert_eq!(node.network.summary().await.unwrap().admitted, 1);
}

#[tokio::test]
async fn a_silent_caller_is_closed_after_the_frame_time_limit() {
    let federation = Federation::new(43, &CODES, 1);
    let node = start(&federation).await;
    let mut caller = call(&node, &key(99, "stranger", 0)).await;
    let began = std::time::Instant::now();
    assert_eq!(until_closed(&mut caller).await, b"");
    assert!(began.elapsed() >= Duration::from_secs(4), "the limit is five seconds");
    assert_untouched(&node).await;
}

#[tokio::test]
async fn a_flood_of_half_open_handshakes_is_bounded_and_ends() {
    let federation = Federation::new(44, &CODES, 1);
    let mut node = start(&federation).await;
    let mut calls = Vec::new();
    for _ in 0..40 {
        calls.push(TcpStream::connect(node.address.to_string()).await.unwrap());
    }
    // All but the few that one neighbourhood may have are closed at once.
    let mut closed = 0;
    for call in &mut calls {
        let mut bytes = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(call, &mut bytes);
        if tokio::time::timeout(Duration::from_millis(200), read).await.is_ok() {
            closed += 1;
        }
    }
    assert_eq!(closed, 24, "sixteen of one neighbourhood are let try");
    drop(calls);
    let mut other = Node::start(TransportKind::Tcp, federation.unit("SG"), federation.trust()).await;
    other.hint(&node.address).await;
    node.until_connected(other.key).await;
    other.until_connected(node.key).await;
}
