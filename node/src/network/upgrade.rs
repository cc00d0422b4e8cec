//! The security upgrade: TLS, then the introduction, and only for who comes in the multiplexer.
//!
//! Runs in the connection's own task. Every connection rests on the node keys of both sides ([`super::tls`]).
//! No byte of an outsider reaches the multiplexer; L's first byte of multistream comes after D's `done`.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{
    Multiaddr, PeerId,
    core::{
        ConnectedPoint,
        muxing::StreamMuxerBox,
        upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade},
    },
    yamux,
};
use multistream_select::{Negotiated, NegotiationError, Version, dialer_select_proto, listener_select_proto};
use refpoint_protocol::{
    ids::NodeKey,
    introduction::{
        self, Admitted, FrameError, FrameReader, Introduction, LearnedDocument, Presence, Refusal, Step,
        encode_frame,
        frame::{IntroductionFrame, RefusalCode},
    },
    limits::{INTRODUCTION_BYTES_MAX, INTRODUCTION_FRAME_TIMEOUT, INTRODUCTION_TIMEOUT, REFUSAL_LINGER},
    time::Timestamp,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{
    Address, Clock,
    event::{Connected, Direction, KeyExchange},
    identity::node_key,
    tls::{Tls, TlsError},
};

/// Why a stream of bytes did not become a connection.
#[derive(Debug, thiserror::Error)]
pub enum EstablishError {
    /// Another program answered, or one that offers no TLS.
    #[error("no libp2p node with TLS there: {0}")]
    Negotiation(#[from] NegotiationError),
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(#[from] TlsError),
    /// The other side's certificate holds no Ed25519 key.
    #[error("the certificate names no node key")]
    NoNodeKey,
    /// This node itself answered.
    #[error("this node's own address")]
    Ourselves,
    /// The introduction ended without admission.
    #[error(transparent)]
    Introduction(#[from] NotIntroduced),
    /// The multiplexer failed after the introduction.
    #[error("the multiplexer failed: {0}")]
    Multiplexer(io::Error),
}

/// An introduction that failed, with whom.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct NotIntroduced {
    /// The node on the other side, as TLS proved.
    pub node: NodeKey,
    /// Why.
    #[source]
    pub why: IntroductionError,
}

/// Why an introduction ended without admission.
#[derive(Debug, thiserror::Error)]
pub enum IntroductionError {
    /// The other side does not admit this node; what proves it is among the learned documents.
    #[error("it does not admit this node: {}", words(*.0))]
    Refused(RefusalCode),
    /// This node does not admit the other side.
    #[error("not admitted: {0}")]
    Refuses(#[source] Refusal),
    /// The other side closed without a word.
    #[error(
        "it closed the connection without a word: it may belong to another federation, or not know this node"
    )]
    Silent,
    /// The bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame out of order, or with what no honest node sends.
    #[error(transparent)]
    Violation(introduction::IntroductionError),
    /// The connection failed.
    #[error("the connection failed in the introduction: {0}")]
    Io(#[source] io::Error),
    /// A frame took longer than [`INTRODUCTION_FRAME_TIMEOUT`].
    #[error("silent for {} s in the introduction", INTRODUCTION_FRAME_TIMEOUT.as_secs())]
    FrameTimeout,
    /// The whole took longer than [`INTRODUCTION_TIMEOUT`].
    #[error("the introduction took longer than {} s", INTRODUCTION_TIMEOUT.as_secs())]
    Timeout,
    /// The task that checks signatures is gone: the node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

impl IntroductionError {
    /// Whether the other side broke a rule of the wire.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        match self {
            Self::Frame(FrameError::Encode(_))
            | Self::Violation(introduction::IntroductionError::Encode(_))
            | Self::Refused(_)
            | Self::Refuses(_)
            | Self::Silent
            | Self::Io(_)
            | Self::FrameTimeout
            | Self::Timeout
            | Self::Stopping => false,
            Self::Frame(_) | Self::Violation(_) => true,
        }
    }
}

/// Documents that an introduction brought.
#[derive(Debug)]
pub(super) struct Learned {
    pub(super) from: NodeKey,
    pub(super) documents: Vec<LearnedDocument>,
}

/// What every connection's upgrade needs.
pub(super) struct Upgrade {
    pub(super) tls: Tls,
    pub(super) me: NodeKey,
    pub(super) presence: Arc<ArcSwap<Presence>>,
    pub(super) clock: Clock,
    pub(super) learned: mpsc::Sender<Learned>,
    pub(super) admissions: Admissions,
    pub(super) desk: CheckingDesk,
}

/// Where the signatures of introductions are checked: one introduction at a time, so that callers cost one core
/// however many they are. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct CheckingDesk(Arc<Semaphore>);

impl Default for CheckingDesk {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl CheckingDesk {
    /// Runs costly work on a thread that may be busy for a while; `None` if the node is stopping.
    async fn check<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = Arc::clone(&self.0).acquire_owned().await.ok()?;
        // The turn ends with the work, also when whoever asked has given up.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.ok()
    }
}

impl Upgrade {
    /// Takes a stream of bytes all the way.
    pub(super) async fn establish<C>(
        self: Arc<Self>,
        io: C,
        endpoint: ConnectedPoint,
    ) -> Result<(PeerId, StreamMuxerBox), EstablishError>
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (peer, stream, facts) = self.secure(io, &endpoint).await?;
        self.admissions.enter(peer, &endpoint, facts);
        let muxer = multiplex(stream, &endpoint).await;
        if muxer.is_err() {
            self.admissions.take(peer, &endpoint);
        }
        Ok((peer, muxer?))
    }

    /// Takes a stream of bytes as far as the introduction, and ends it there: who answered.
    pub(super) async fn probe<C>(
        self: Arc<Self>,
        io: C,
        endpoint: ConnectedPoint,
    ) -> Result<NodeKey, EstablishError>
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (_, mut stream, facts) = self.secure(io, &endpoint).await?;
        // The other side has been introduced; how it takes the end is its matter.
        let _ended = stream.close().await;
        Ok(facts.node)
    }

    /// TLS and the introduction.
    async fn secure<C>(
        &self,
        io: C,
        endpoint: &ConnectedPoint,
    ) -> Result<(PeerId, libp2p::tls::TlsStream<Negotiated<C>>, Connected), EstablishError>
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (peer, mut stream) = if endpoint.is_dialer() {
            let (_, io) = dialer_select_proto(io, [TLS], Version::V1).await?;
            self.tls.call(io).await?
        } else {
            let (_, io) = listener_select_proto(io, [TLS]).await?;
            self.tls.answer(io).await?
        };
        let group = stream.get_ref().1.negotiated_key_exchange_group();
        let group = KeyExchange(group.map_or(0, |group| u16::from(group.name())));
        let node = node_key(&peer).ok_or(EstablishError::NoNodeKey)?;
        if node == self.me {
            return Err(EstablishError::Ourselves);
        }
        let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
        let admitted = self.introduce(&mut stream, node, direction).await?;
        let facts = Connected {
            node,
            member: admitted.member,
            direction,
            remote_time: admitted.remote_time,
            local_time: (self.clock)(),
            wire: admitted.wire,
            group,
            address: Address::from_multiaddr(endpoint.get_remote_address())
                .unwrap_or_else(|| Address::memory(0)),
        };
        Ok((peer, stream, facts))
    }

    /// Introduces both sides to each other, and hands on what was learned whatever came of it.
    async fn introduce<S>(
        &self,
        io: &mut S,
        node: NodeKey,
        direction: Direction,
    ) -> Result<Admitted, NotIntroduced>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let presence = self.presence.load_full();
        let desk = self.desk.clone();
        let mut door = Door { io, desk, reader: FrameReader::new(), sent: 0, learned: Vec::new() };
        let whole = timeout(INTRODUCTION_TIMEOUT, door.run(presence, node, direction, (self.clock)()));
        let result = whole.await.unwrap_or(Err(IntroductionError::Timeout));
        let documents = std::mem::take(&mut door.learned);
        if !documents.is_empty() && self.learned.send(Learned { from: node, documents }).await.is_err() {
            return Err(NotIntroduced { node, why: IntroductionError::Stopping });
        }
        if let Err(IntroductionError::Refuses(_)) = &result {
            door.linger().await;
        }
        result.map_err(|why| NotIntroduced { node, why })
    }
}

/// One introduction's stream and what has passed.
struct Door<'io, S> {
    io: &'io mut S,
    desk: CheckingDesk,
    reader: FrameReader,
    sent: usize,
    learned: Vec<LearnedDocument>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Door<'_, S> {
    async fn run(
        &mut self,
        presence: Arc<Presence>,
        node: NodeKey,
        direction: Direction,
        now: Timestamp,
    ) -> Result<Admitted, IntroductionError> {
        let mut introduction = match direction {
            Direction::Outbound => {
                let (introduction, hello) = Introduction::dial(presence, node, now);
                self.write(&[hello]).await?;
                introduction
            }
            Direction::Inbound => Introduction::listen(presence, node, now),
        };
        loop {
            let frame = timeout(INTRODUCTION_FRAME_TIMEOUT, self.read())
                .await
                .unwrap_or(Err(IntroductionError::FrameTimeout))?;
            // A charter carries hundreds of signatures: milliseconds that belong on no thread of the swarm.
            let checked = self.desk.check(move || {
                let step = introduction.handle(frame);
                (introduction, step)
            });
            let (moved, step) = checked.await.ok_or(IntroductionError::Stopping)?;
            introduction = moved;
            if introduction.learned().len() > self.learned.len() {
                self.learned = introduction.learned().to_vec();
            }
            match step {
                Step::Send(frames) => self.write(&frames).await?,
                Step::Admit(frames, admitted) => {
                    self.write(&frames).await?;
                    return Ok(admitted);
                }
                Step::Refuse { answer, why } => {
                    // The refusal goes out on a best effort: that it is one stands already.
                    if let Some(answer) = answer {
                        let _unsent = self.write(&[answer]).await;
                    }
                    return Err(IntroductionError::Refuses(why));
                }
                Step::Refused { code } => return Err(IntroductionError::Refused(code)),
                Step::Violation(violation) => return Err(IntroductionError::Violation(violation)),
            }
        }
    }

    /// Reads exactly one frame: what follows it stays in the stream.
    async fn read(&mut self) -> Result<IntroductionFrame, IntroductionError> {
        let mut bytes = [0_u8; READ_BYTES];
        loop {
            let wanted = self.reader.wants().min(READ_BYTES);
            let space = bytes.get_mut(..wanted).unwrap_or_default();
            let read = self.io.read(space).await.map_err(IntroductionError::from_io)?;
            if read == 0 {
                return Err(IntroductionError::Silent);
            }
            if let Some(frame) = self.reader.push(space.get(..read).unwrap_or_default())? {
                return Ok(frame);
            }
        }
    }

    async fn write(&mut self, frames: &[IntroductionFrame]) -> Result<(), IntroductionError> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend(encode_frame(frame)?);
        }
        self.sent += bytes.len();
        if self.sent > INTRODUCTION_BYTES_MAX {
            return Err(FrameError::TooMuch.into());
        }
        let write = async {
            self.io.write_all(&bytes).await?;
            self.io.flush().await
        };
        write.await.map_err(IntroductionError::from_io)
    }

    /// Closes the sending direction and reads on for a while: closed at once, a refusal that is under way
    /// would be lost with the connection's reset.
    async fn linger(&mut self) {
        let discard = async {
            self.io.close().await?;
            let mut sink = [0_u8; 4 * 1024];
            while self.io.read(&mut sink).await? > 0 {}
            io::Result::Ok(())
        };
        // However it ends, the connection is dropped next.
        let _over = timeout(REFUSAL_LINGER, discard).await;
    }
}

impl IntroductionError {
    /// A connection that the other side ends is a refusal without a word.
    fn from_io(error: io::Error) -> Self {
        if ENDED.contains(&error.kind()) { Self::Silent } else { Self::Io(error) }
    }
}

/// Connections that passed the introduction and have not been reported by the swarm yet.
#[derive(Clone, Default)]
pub(super) struct Admissions {
    waiting: Arc<Mutex<HashMap<(PeerId, ConnectedPoint), Connected>>>,
    passed: Arc<AtomicU64>,
}

impl Admissions {
    fn enter(&self, peer: PeerId, endpoint: &ConnectedPoint, facts: Connected) {
        self.passed.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert((peer, endpoint.clone()), facts);
    }

    /// Takes out what is known of a connection that the swarm reports.
    pub(super) fn take(&self, peer: PeerId, endpoint: &ConnectedPoint) -> Option<Connected> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&(peer, endpoint.clone()))
    }

    /// Forgets connections that the swarm denied after their introduction.
    pub(super) fn forget(&self, remote: &Multiaddr) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(_, endpoint), _| endpoint.get_remote_address() != remote);
    }

    /// Connections handed to the multiplexer since the start.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

async fn multiplex<S>(stream: S, endpoint: &ConnectedPoint) -> Result<StreamMuxerBox, EstablishError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = yamux::Config::default();
    let muxer = if endpoint.is_dialer() {
        let (name, io) = dialer_select_proto(stream, [YAMUX], Version::V1).await?;
        config.upgrade_outbound(io, name).await
    } else {
        let (name, io) = listener_select_proto(stream, [YAMUX]).await?;
        config.upgrade_inbound(io, name).await
    };
    muxer.map(StreamMuxerBox::new).map_err(EstablishError::Multiplexer)
}

const fn words(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::KeyEnded => "this node's key was ended by a later document",
        RefusalCode::MemberInactive => "this member is suspended or has left",
        RefusalCode::WireVersion => "no version of the wire in common; one side needs an upgrade",
        RefusalCode::Incomplete => {
            "it needs more of the charter than one introduction carries; dialling again"
        }
        RefusalCode::Full => "it holds as many connections as it can",
    }
}

/// The only security protocol offered: with another beside it, whoever is in the middle would choose.
const TLS: &str = "/tls/1.0.0";

/// The only multiplexer offered.
const YAMUX: &str = "/yamux/1.0.0";

/// Bytes of an introduction read at once.
const READ_BYTES: usize = 4 * 1024;

/// How a stream that the other side gave up shows itself.
const ENDED: [io::ErrorKind; 4] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
];

const _: () = assert!(INTRODUCTION_TIMEOUT.as_secs() < Duration::from_secs(30).as_secs());

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn introductions_are_checked_one_at_a_time_also_after_their_caller_gave_up() {
        let (desk, busy) = (CheckingDesk::default(), Arc::new(AtomicUsize::new(0)));
        let work = |busy: Arc<AtomicUsize>| {
            move || {
                let others = busy.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                busy.fetch_sub(1, Ordering::SeqCst);
                others
            }
        };
        let impatient = desk.check(work(Arc::clone(&busy)));
        let _gave_up = timeout(Duration::from_millis(1), impatient).await;
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (desk, work) = (desk.clone(), work(Arc::clone(&busy)));
            callers.spawn(async move { desk.check(work).await });
        }
        let others: Vec<_> = callers.join_all().await;
        assert_eq!(others, vec![Some(0); 16]);
    }
}
