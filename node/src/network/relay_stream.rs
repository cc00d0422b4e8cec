//! Kept streams of the relay: one outbound substream for each node and class, opened when first needed.
//!
//! Outbound, each node has a queue for each class, bounded in frames and bytes, and a task that writes it;
//! what fails comes back under its ticket. Inbound, a task reads each stream, checks lengths before memory
//! is spent, and waits where the runtime is slow: that holds back this peer's stream and nothing else.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{PeerId, Stream};
use refpoint_protocol::{
    document::{decode, encode},
    ids::{FederationId, NodeKey},
    limits::{PARCEL_BYTES_MAX, RELAY_FRAME_BYTES_MAX},
    relay::{frame::RelayFrame, parcel::Class},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    event::{Fault, InboundFrame, NetworkEvent, Room, SendFailure, Ticket},
    framing::{FrameError, read_body, read_length, write_frame},
    names,
};

/// The queues of all connected nodes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Shared>);

/// Something that a reader noticed.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) from: NodeKey,
    pub(super) fault: Fault,
}

struct Shared {
    peers: Mutex<BTreeMap<NodeKey, PeerLanes>>,
    control: libp2p_stream::Control,
    federation: FederationId,
    happened: mpsc::Sender<NetworkEvent>,
    notices: mpsc::Sender<Notice>,
    urgent: Inbox,
    normal: Inbox,
}

/// What a stream is that is one too many; it is closed either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// A broken rule.
    Fault,
    /// What several connections leave.
    Ignored,
}

/// Where readers of one class put frames.
#[derive(Clone)]
pub(super) struct Inbox {
    pub(super) frames: mpsc::Sender<InboundFrame>,
    /// Permits are KiB.
    pub(super) memory: Arc<Semaphore>,
}

impl Inbox {
    /// An inbox and the runtime's end of it.
    pub(super) fn new(memory_bytes_max: usize) -> (Self, mpsc::Receiver<InboundFrame>) {
        let (frames, taken) = mpsc::channel(INBOUND_FRAMES_MAX);
        (Self { frames, memory: Arc::new(Semaphore::new(memory_bytes_max / KIB)) }, taken)
    }
}

struct PeerLanes {
    peer: PeerId,
    closed: CancellationToken,
    urgent: Option<Lane>,
    normal: Option<Lane>,
    /// Readers running, by class: urgent, normal.
    readers: [Arc<Semaphore>; 2],
}

struct Lane {
    queue: mpsc::Sender<Box<Queued>>,
    /// Permits are KiB.
    memory: Arc<Semaphore>,
}

struct Queued {
    frame: RelayFrame,
    ticket: Ticket,
    _memory: OwnedSemaphorePermit,
}

impl Lanes {
    pub(super) fn new(
        control: libp2p_stream::Control,
        federation: FederationId,
        happened: mpsc::Sender<NetworkEvent>,
        notices: mpsc::Sender<Notice>,
        [urgent, normal]: [Inbox; 2],
    ) -> Self {
        let peers = Mutex::new(BTreeMap::new());
        Self(Arc::new(Shared { peers, control, federation, happened, notices, urgent, normal }))
    }

    /// A node is connected: frames for it are taken from now on.
    pub(super) fn open(&self, node: NodeKey, peer: PeerId) {
        let readers = [(); 2].map(|()| Arc::new(Semaphore::new(READERS_MAX)));
        let closed = CancellationToken::new();
        let lanes = PeerLanes { peer, closed, urgent: None, normal: None, readers };
        if let Some(old) = self.0.peers().insert(node, lanes) {
            old.closed.cancel();
        }
    }

    /// A node is gone: what waits for it fails.
    pub(super) fn close(&self, node: NodeKey) {
        if let Some(lanes) = self.0.peers().remove(&node) {
            lanes.closed.cancel();
        }
    }

    /// Queues a frame.
    pub(super) fn send(
        &self,
        to: NodeKey,
        class: Class,
        frame: RelayFrame,
        ticket: Ticket,
    ) -> Result<(), SendFailure> {
        let mut peers = self.0.peers();
        let lanes = peers.get_mut(&to).ok_or(SendFailure::NotConnected)?;
        let PeerLanes { peer, closed, urgent, normal, .. } = lanes;
        let lane = match class {
            Class::Urgent => urgent,
            Class::Normal => normal,
        };
        let lane = lane.get_or_insert_with(|| {
            let (queue, queued) = mpsc::channel(QUEUED_FRAMES_MAX);
            let memory = Arc::new(Semaphore::new(QUEUED_BYTES_MAX / KIB));
            let writer = Writer {
                shared: Arc::clone(&self.0),
                node: to,
                peer: *peer,
                class,
                stream: None,
                recent: VecDeque::new(),
            };
            tokio::spawn(writer.run(queued, closed.clone()));
            Lane { queue, memory }
        });
        let memory = Arc::clone(&lane.memory)
            .try_acquire_many_owned(kib(weight(&frame)))
            .map_err(|_| SendFailure::QueueFull)?;
        let queued = Box::new(Queued { frame, ticket, _memory: memory });
        lane.queue.try_send(queued).map_err(|_| SendFailure::QueueFull)
    }

    /// Reads a stream that a node opened, in a task of its own.
    pub(super) fn read(&self, from: NodeKey, class: Class, stream: Stream, excess: Excess) {
        let (closed, slot) = {
            let peers = self.0.peers();
            let Some(PeerLanes { closed, readers: [urgent, normal], .. }) = peers.get(&from) else {
                return;
            };
            let readers = match class {
                Class::Urgent => urgent,
                Class::Normal => normal,
            };
            (closed.clone(), Arc::clone(readers).try_acquire_owned())
        };
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let fault = match slot {
                Err(_) => (excess == Excess::Fault).then_some(Fault::RelayStreams),
                Ok(_slot) => tokio::select! {
                    () = closed.cancelled() => None,
                    fault = read_frames(&shared, from, class, stream) => fault,
                },
            };
            if let Some(fault) = fault {
                // An error means that the network is stopping.
                let _stopping = shared.notices.send(Notice { from, fault }).await;
            }
        });
    }
}

impl Shared {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<NodeKey, PeerLanes>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes one node's frames of one class.
struct Writer {
    shared: Arc<Shared>,
    node: NodeKey,
    peer: PeerId,
    class: Class,
    stream: Option<Stream>,
    /// Frames written of late: if the stream breaks now, they may be lost.
    recent: VecDeque<(Instant, Ticket)>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Box<Queued>>, closed: CancellationToken) {
        let ran = closed.run_until_cancelled(self.write_all(&mut queue)).await;
        if ran.is_none() {
            self.fail_recent("the connection was lost").await;
        }
        queue.close();
        while let Some(queued) = queue.recv().await {
            self.fail(queued.ticket, SendFailure::NotConnected).await;
        }
    }

    /// Returns when the node's lanes are gone.
    async fn write_all(&mut self, queue: &mut mpsc::Receiver<Box<Queued>>) {
        let mut said = [0_u8];
        loop {
            let next = match &mut self.stream {
                None => queue.recv().await,
                Some(stream) => tokio::select! {
                    next = queue.recv() => next,
                    // The reader never writes here: whatever comes means that it is gone.
                    _ = stream.read(&mut said) => {
                        self.stream = None;
                        self.fail_recent("the stream broke").await;
                        continue;
                    }
                },
            };
            let Some(Queued { frame, ticket, _memory }) = next.map(|boxed| *boxed) else {
                return;
            };
            // Entered before it is written: a cancelled write is reported too.
            self.remember(ticket);
            let flush = queue.is_empty();
            match self.write(&frame, flush).await {
                Ok(()) => {}
                Err(SendFailure::Stream(why)) => {
                    self.stream = None;
                    self.fail_recent(&why).await;
                }
                Err(other) => {
                    self.recent.retain(|(_, recent)| *recent != ticket);
                    self.fail(ticket, other).await;
                }
            }
        }
    }

    async fn write(&mut self, frame: &RelayFrame, flush: bool) -> Result<(), SendFailure> {
        let bytes = encode(frame).map_err(|error| SendFailure::Frame(error.to_string()))?;
        let max = match frame {
            RelayFrame::Parcel(_) => PARCEL_BYTES_MAX,
            RelayFrame::Receipt(_)
            | RelayFrame::Offer(_)
            | RelayFrame::OfferUnknown(_)
            | RelayFrame::OfferIds(_)
            | RelayFrame::Lacking(_) => RELAY_FRAME_BYTES_MAX,
        };
        if bytes.len() > max {
            return Err(SendFailure::Frame(format!("{} bytes, at most {max} are allowed", bytes.len())));
        }
        let stream = match self.stream.take() {
            Some(stream) => self.stream.insert(stream),
            None => {
                let name = names::relay(self.shared.federation, self.class);
                let mut control = self.shared.control.clone();
                let opened = timeout(OPEN_TIMEOUT, control.open_stream(self.peer, name)).await;
                let opened = opened.map_err(|_| SendFailure::Stream("it did not open in time".to_owned()))?;
                self.stream.insert(opened.map_err(|error| SendFailure::Stream(error.to_string()))?)
            }
        };
        let written = timeout(FRAME_TIMEOUT, async {
            write_frame(stream, &bytes).await?;
            if flush { stream.flush().await } else { Ok(()) }
        });
        let written = written.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        written.map_err(|error| SendFailure::Stream(error.to_string()))
    }

    fn remember(&mut self, ticket: Ticket) {
        let now = Instant::now();
        let old = |(at, _): &(Instant, Ticket)| now.duration_since(*at) > RECENT;
        while self.recent.len() >= RECENT_MAX || self.recent.front().is_some_and(old) {
            self.recent.pop_front();
        }
        self.recent.push_back((now, ticket));
    }

    async fn fail_recent(&mut self, why: &str) {
        let now = Instant::now();
        for (at, ticket) in std::mem::take(&mut self.recent) {
            if now.duration_since(at) <= RECENT.max(FRAME_TIMEOUT) {
                self.fail(ticket, SendFailure::Stream(why.to_owned())).await;
            }
        }
    }

    async fn fail(&mut self, ticket: Ticket, why: SendFailure) {
        let event = NetworkEvent::SendFailed { to: self.node, ticket, why };
        // An error means that the runtime is gone, and with it whoever waits.
        let _stopping = self.shared.happened.send(event).await;
    }
}

/// Reads frames until the stream ends; the fault that ended it, if one did.
async fn read_frames(shared: &Shared, from: NodeKey, class: Class, mut stream: Stream) -> Option<Fault> {
    let inbox = match class {
        Class::Urgent => &shared.urgent,
        Class::Normal => &shared.normal,
    };
    loop {
        let (frame, length) = match read_relay_frame(&mut stream).await {
            Ok(Some(read)) => read,
            Ok(None) => return None,
            Err(fault) => return fault,
        };
        let room = Arc::clone(&inbox.memory).acquire_many_owned(kib(length)).await.ok()?;
        inbox.frames.send(InboundFrame { from, class, frame, room: Room(room) }).await.ok()?;
    }
}

/// Reads one frame and its length; `Err(None)` where the connection failed without anybody's fault.
async fn read_relay_frame<R>(io: &mut R) -> Result<Option<(RelayFrame, usize)>, Option<Fault>>
where
    R: futures::AsyncRead + Unpin,
{
    let fault = |error: FrameError| error.is_fault().then(|| Fault::RelayFrame(error.to_string()));
    let Some(length) = read_length(io, PARCEL_BYTES_MAX).await.map_err(fault)? else {
        return Ok(None);
    };
    let body = async {
        let mut bytes = Vec::new();
        let head = length.min(PARCEL_HEAD.len());
        read_body(io, head, &mut bytes).await?;
        if length > RELAY_FRAME_BYTES_MAX && bytes != PARCEL_HEAD {
            return Err(FrameError::TooLong { max: RELAY_FRAME_BYTES_MAX, got: length });
        }
        read_body(io, length - head, &mut bytes).await?;
        Ok(bytes)
    };
    let bytes = timeout(FRAME_TIMEOUT, body).await.map_err(|_| None)?.map_err(fault)?;
    let frame =
        decode(&bytes, PARCEL_BYTES_MAX).map_err(|error| Some(Fault::RelayFrame(error.to_string())))?;
    Ok(Some((frame, length)))
}

/// Bytes that a frame holds in memory, near enough.
fn weight(frame: &RelayFrame) -> usize {
    match frame {
        RelayFrame::Parcel(parcel) => parcel.ciphertext.len() + parcel.sealed.len() + KIB,
        RelayFrame::Receipt(envelope) => envelope.payload.len() + KIB,
        RelayFrame::OfferIds(ids) => 32 * ids.ids.len() + KIB,
        RelayFrame::Lacking(ids) => 32 * ids.ids.len() + KIB,
        RelayFrame::Offer(_) | RelayFrame::OfferUnknown(_) => KIB,
    }
}

/// KiB, rounded up; both bounds of a frame fit.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX)
}

const KIB: usize = 1024;

/// How the only large frame begins: a map of one key, `parcel`.
const PARCEL_HEAD: &[u8] = b"\xA1\x66parcel";

/// Frames that wait for one node and class: an outbox's burst of 64, and receipts.
const QUEUED_FRAMES_MAX: usize = 256;

/// Bytes that wait for one node and class: eight parcels of the largest size.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Frames of one class that wait for the runtime.
const INBOUND_FRAMES_MAX: usize = 256;

/// Bytes of urgent frames that wait for the runtime.
pub(super) const INBOUND_URGENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of normal frames that wait for the runtime.
pub(super) const INBOUND_NORMAL_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Streams of one node and class read at once: one on each of two connections, and one that follows each.
const READERS_MAX: usize = 4;

/// How long a stream may take to open: a round trip of a satellite line many times over.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one frame may take: the largest parcel at 140 kbit/s.
const FRAME_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a frame that was written counts as perhaps lost when its stream breaks.
const RECENT: Duration = Duration::from_secs(10);

/// Frames remembered for that.
const RECENT_MAX: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use futures::io::Cursor;
    use refpoint_protocol::{
        ids::{ContentHash, MemberCode, MessageId, SealingKeyId},
        relay::{
            frame::Offer,
            parcel::{Label, Parcel},
        },
        time::Timestamp,
    };

    use super::*;
    use crate::network::framing::length_prefix;

    fn parcel(bytes: usize) -> RelayFrame {
        RelayFrame::Parcel(Box::new(Parcel {
            label: Label {
                message: MessageId::from_bytes([1; 32]),
                member: MemberCode::new("KE").unwrap(),
                node: NodeKey::from_bytes([2; 32]),
                expires: Timestamp::default(),
                class: Class::Urgent,
                size: bytes as u64,
            },
            sealing_key: SealingKeyId::from_bytes([3; 32]),
            sealed: vec![4; 1_400],
            ciphertext: vec![5; bytes],
        }))
    }

    fn framed(frame: &RelayFrame) -> Vec<u8> {
        let bytes = encode(frame).unwrap();
        [length_prefix(bytes.len()), bytes].concat()
    }

    async fn read(bytes: Vec<u8>) -> Result<Option<(RelayFrame, usize)>, Option<Fault>> {
        read_relay_frame(&mut Cursor::new(bytes)).await
    }

    #[tokio::test]
    async fn small_frames_and_large_parcels_are_read() {
        let offer = RelayFrame::Offer(Offer { hash: ContentHash::from_bytes([0; 32]), count: 0 });
        for frame in [offer, parcel(100), parcel(1_400_000)] {
            assert_eq!(read(framed(&frame)).await.unwrap().unwrap().0, frame);
        }
        assert!(read(vec![]).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn only_a_parcel_may_be_large() {
        let mut bytes = length_prefix(RELAY_FRAME_BYTES_MAX + 1);
        bytes.extend(b"\xA1\x67receipt");
        bytes.resize(bytes.len() + RELAY_FRAME_BYTES_MAX, 0);
        assert!(matches!(read(bytes).await, Err(Some(Fault::RelayFrame(_)))));
        let oversized = length_prefix(PARCEL_BYTES_MAX + 1);
        assert!(matches!(read(oversized).await, Err(Some(Fault::RelayFrame(_)))));
    }

    #[tokio::test]
    async fn garbage_is_a_fault_and_an_early_end_is_not() {
        assert!(matches!(read(vec![0x80, 0x00]).await, Err(Some(_))));
        assert!(matches!(read(vec![0x03, 0xF6, 0xF6, 0xF6]).await, Err(Some(_))));
        let good = framed(&parcel(10));
        assert!(matches!(read(good[..good.len() - 1].to_vec()).await, Err(None)));
    }
}
