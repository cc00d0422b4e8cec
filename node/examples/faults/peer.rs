//! A member's node that was let in and then writes what bytes it likes: TLS and the introduction as they must be,
//! Yamux frames by hand after them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ed25519_dalek::SigningKey;
use futures::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
    io::{ReadHalf, WriteHalf},
};
use libp2p::{core::upgrade::OutboundConnectionUpgrade as _, identity::Keypair, tls};
use multistream_select::{Negotiated, Version, dialer_select_proto};
use refpoint_protocol::{
    ids::NodeKey,
    introduction::{FrameReader, Introduction, Presence, Step, encode_frame},
    time::Timestamp,
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

/// A TLS stream to a node, by a program that is not ours.
pub(crate) type Caller = tls::TlsStream<Negotiated<Compat<TcpStream>>>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An admitted connection, past the negotiation of Yamux.
pub(crate) struct Peer {
    write: WriteHalf<Box<dyn Stream>>,
    read: Option<ReadHalf<Box<dyn Stream>>>,
    draining: Option<JoinHandle<()>>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(draining) = &self.draining {
            draining.abort();
        }
    }
}

/// Opens TLS with a node under any key.
pub(crate) async fn call(address: SocketAddr, signing: &SigningKey) -> anyhow::Result<Caller> {
    let tcp = TcpStream::connect(address).await?.compat();
    let (name, io) = dialer_select_proto(tcp, ["/tls/1.0.0"], Version::V1).await?;
    let keypair = Keypair::ed25519_from_bytes(signing.to_bytes())?;
    Ok(tls::Config::new(&keypair)?.upgrade_outbound(io, name).await?.1)
}

impl Peer {
    /// Comes in as the node that a presence names.
    pub(crate) async fn enter(
        address: SocketAddr,
        signing: &SigningKey,
        presence: Arc<Presence>,
        (listener, now): (NodeKey, Timestamp),
    ) -> anyhow::Result<Self> {
        let mut caller = call(address, signing).await?;
        let (mut introduction, hello) = Introduction::dial(presence, listener, now);
        caller.write_all(&encode_frame(&hello)?).await?;
        caller.flush().await?;
        let mut reader = FrameReader::new();
        let frames = loop {
            let mut bytes = vec![0; reader.wants().max(1)];
            let read = caller.read(&mut bytes).await?;
            anyhow::ensure!(read > 0, "the node closed in the introduction");
            let Some(frame) = reader.push(bytes.get(..read).unwrap_or_default())? else { continue };
            match introduction.handle(frame) {
                Step::Admit(frames, _) => break frames,
                Step::Send(frames) => {
                    anyhow::bail!("{} frames more in the introduction than the trial knows of", frames.len())
                }
                Step::Refuse { .. } | Step::Refused { .. } | Step::Violation(_) => {
                    anyhow::bail!("not let in")
                }
            }
        };
        for frame in frames {
            caller.write_all(&encode_frame(&frame)?).await?;
        }
        let (_, io) = dialer_select_proto(caller, ["/yamux/1.0.0"], Version::V1).await?;
        let stream: Box<dyn Stream> = Box::new(io);
        let (read, mut write) = stream.split();
        write.flush().await?;
        Ok(Self { write, read: Some(read), draining: None })
    }

    /// Reads whatever comes from now on, and forgets it. Until then nothing is read at all.
    pub(crate) fn drain(&mut self) {
        if let Some(mut read) = self.read.take() {
            self.draining = Some(tokio::spawn(async move {
                let mut sink = vec![0; 16 * 1024];
                while matches!(read.read(&mut sink).await, Ok(1..)) {}
            }));
        }
    }

    /// Writes bytes; `false` once the node has closed, or takes nothing for ten seconds.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        let write = async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        };
        matches!(tokio::time::timeout(Duration::from_secs(10), write).await, Ok(Ok(())))
    }

    /// Opens a stream, negotiates a protocol without waiting for the answer, and writes.
    pub(crate) async fn say(&mut self, stream: u32, protocol: &str, bytes: &[u8]) -> bool {
        let mut said = vec![19];
        said.extend(b"/multistream/1.0.0\n");
        said.extend(varint(protocol.len() as u64 + 1));
        said.extend(protocol.as_bytes());
        said.push(b'\n');
        said.extend(bytes);
        let mut frames = Frame { kind: WINDOW_UPDATE, flags: SYN, stream, length: 0 }.bytes(&[]);
        for part in said.chunks(16 * 1024) {
            frames.extend(data(stream, 0, part));
        }
        self.write(&frames).await
    }
}

impl Peer {
    /// Asks on a stream of its own, and closes its own direction: the request is complete.
    pub(crate) async fn ask(&mut self, stream: u32, protocol: &str, bytes: &[u8]) -> bool {
        self.say(stream, protocol, bytes).await && self.write(&data(stream, FIN, &[])).await
    }
}

/// The header of a Yamux frame (github.com/hashicorp/yamux, spec.md).
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u16,
    pub(crate) stream: u32,
    pub(crate) length: u32,
}

impl Frame {
    /// The bytes of the header, and a body.
    pub(crate) fn bytes(self, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, self.kind];
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(self.length.to_be_bytes());
        bytes.extend(body);
        bytes
    }
}

/// A data frame.
pub(crate) fn data(stream: u32, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    Frame { kind: DATA, flags, stream, length }.bytes(body)
}

/// An unsigned varint, as multistream and Protobuf write it.
pub(crate) fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A length-delimited Protobuf field.
pub(crate) fn field(number: u64, content: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// Joins a topic, so that what is said of it counts.
pub(crate) fn subscription(topic: &str) -> Vec<u8> {
    let rpc = field(1, &[vec![8, 1], field(2, topic.as_bytes())].concat());
    [varint(rpc.len() as u64), rpc].concat()
}

/// Publishes a piece in a topic.
pub(crate) fn publication(topic: &str, piece: &[u8]) -> Vec<u8> {
    let rpc = field(2, &[field(2, piece), field(4, topic.as_bytes())].concat());
    [varint(rpc.len() as u64), rpc].concat()
}

/// A message of gossip's control protocol around the content of its field 3, with its length.
pub(crate) fn control(content: &[u8]) -> Vec<u8> {
    let rpc = field(3, content);
    [varint(rpc.len() as u64), rpc].concat()
}

/// A pruning of a topic for so many seconds.
pub(crate) fn prune(topic: &str, backoff: u64) -> Vec<u8> {
    let prune = [field(1, topic.as_bytes()), varint(3 << 3), varint(backoff)].concat();
    control(&field(4, &prune))
}

/// The multiplexed stream's protocol of gossip.
pub(crate) const GOSSIP: &str = "/meshsub/1.1.0";

pub(crate) const DATA: u8 = 0;
pub(crate) const WINDOW_UPDATE: u8 = 1;
pub(crate) const PING: u8 = 2;
pub(crate) const GO_AWAY: u8 = 3;
pub(crate) const SYN: u16 = 1;
pub(crate) const FIN: u16 = 4;
pub(crate) const RST: u16 = 8;
