//! Dialling back: a node asks a connected one to dial the addresses that its signed record announces, and to say
//! what it saw there.
//!
//! The request names no address: only those of the asker's own record are dialled, few, once each, within a short
//! time, and seldom for one node, so nobody can be made to knock at somebody else's door. The dial goes as far as the
//! introduction and is dropped there; it opens no multiplexer and counts as no connection.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{AsyncRead, AsyncWrite, future::join_all};
use libp2p::{
    StreamProtocol,
    core::{
        Endpoint, Transport as _,
        transport::{Boxed, DialOpts, PortUse},
    },
    request_response::{Codec, ResponseChannel},
};
use refpoint_protocol::{
    document::{decode, encode},
    ids::NodeKey,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Address,
    framing::{read_only_frame, write_frame},
    transport::{LineError, LinkError},
    upgrade::EstablishError,
};

/// What one address showed to whoever dialled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The address, as the record announces it.
    pub address: String,
    /// What was seen.
    pub outcome: Outcome,
}

/// What was seen at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The asker answered and was introduced.
    Reached,
    /// Another node answered.
    OtherNode,
    /// Somebody answered, and nobody was introduced; or the port is closed.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// There is no way there, or the name leads nowhere.
    Unreachable,
    /// It is not a public address, and such are not dialled.
    NotDialled,
}

/// The answer to a request to dial back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialBackAnswer {
    /// What was seen, by address; empty if the asker's record announces none.
    pub seen: Vec<Seen>,
    /// Whether nothing was dialled because too much was asked.
    pub busy: bool,
}

/// A request: it says nothing but that it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DialBackRequest {}

/// Reads and writes requests and answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DialBackCodec;

impl Codec for DialBackCodec {
    type Protocol = StreamProtocol;
    type Request = DialBackRequest;
    type Response = DialBackAnswer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<DialBackRequest>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, REQUEST_BYTES_MAX).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<DialBackAnswer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let answer: DialBackAnswer = read(io, ANSWER_BYTES_MAX).await?;
        if answer.seen.len() > ADDRESSES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more addresses than are ever dialled"));
        }
        Ok(answer)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: DialBackRequest,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &encode(&request).map_err(io::Error::other)?).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: DialBackAnswer,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &encode(&answer).map_err(io::Error::other)?).await
    }
}

async fn read<T: DeserializeOwned>(io: &mut (impl AsyncRead + Unpin + Send), max: usize) -> io::Result<T> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let bytes = read_only_frame(io, max).await.map_err(|error| invalid(error.to_string()))?;
    decode(&bytes, max).map_err(|error| invalid(error.to_string()))
}

/// Dials back for others, within limits.
pub(super) struct DialBacks {
    prober: Arc<Mutex<Boxed<NodeKey>>>,
    last: BTreeMap<NodeKey, Instant>,
    under_way: usize,
    done: mpsc::Sender<Progress>,
}

/// What came of dialling.
pub(super) enum Progress {
    /// A dial ended at this node itself: the asker announces an address of this one's. Told at once, so that the
    /// call is not taken for another machine with this node's key.
    Ourselves,
    /// A dial back is over.
    Done(Done),
}

/// A dial back that is over.
pub(super) struct Done {
    pub(super) channel: ResponseChannel<DialBackAnswer>,
    pub(super) answer: DialBackAnswer,
}

impl DialBacks {
    /// Starts with none under way; what is over comes from the receiver.
    pub(super) fn new(prober: Boxed<NodeKey>) -> (Self, mpsc::Receiver<Progress>) {
        let (done, over) = mpsc::channel(UNDER_WAY_MAX);
        (Self { prober: Arc::new(Mutex::new(prober)), last: BTreeMap::new(), under_way: 0, done }, over)
    }

    /// Takes a request: starts dialling, or gives back the channel with the answer that there is nothing to dial
    /// or that too much was asked.
    pub(super) fn take(
        &mut self,
        from: NodeKey,
        addresses: &[Address],
        channel: ResponseChannel<DialBackAnswer>,
        now: Instant,
    ) -> Option<Done> {
        // Without an address nothing is dialled, so the asker may come again when its record has arrived.
        if addresses.is_empty() || !self.allows(from, now) {
            let answer = DialBackAnswer { seen: Vec::new(), busy: !addresses.is_empty() };
            return Some(Done { channel, answer });
        }
        let dials: Vec<_> =
            addresses.iter().take(ADDRESSES_MAX).map(|address| self.dial(from, address)).collect();
        let done = self.done.clone();
        tokio::spawn(async move {
            let answer = DialBackAnswer { seen: join_all(dials).await, busy: false };
            if done.send(Progress::Done(Done { channel, answer })).await.is_err() {
                tracing::debug!("a dial back ended after the network had stopped");
            }
        });
        None
    }

    /// A dial back is over and answered.
    pub(super) fn on_done(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Whether one more may start for this node; counts it if so.
    fn allows(&mut self, from: NodeKey, now: Instant) -> bool {
        self.last.retain(|_, at| now.duration_since(*at) < PAUSE);
        let allowed = self.under_way < UNDER_WAY_MAX && !self.last.contains_key(&from);
        if allowed {
            self.under_way += 1;
            self.last.insert(from, now);
        }
        allowed
    }

    fn dial(&self, from: NodeKey, address: &Address) -> impl Future<Output = Seen> + Send + use<> {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let mut prober = self.prober.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = prober.dial(address.multiaddr(), options);
        let (address, done) = (address.to_string(), self.done.clone());
        async move {
            let outcome = match begun {
                Err(libp2p::TransportError::MultiaddrNotSupported(_)) => Outcome::NotDialled,
                Err(libp2p::TransportError::Other(error)) => of_error(&error),
                Ok(dialled) => match timeout(DIAL_TIME, dialled).await {
                    Err(_) => Outcome::TimedOut,
                    Ok(Ok(node)) if node == from => Outcome::Reached,
                    Ok(Ok(_)) => Outcome::OtherNode,
                    Ok(Err(error)) => {
                        if is_ourselves(&error) && done.send(Progress::Ourselves).await.is_err() {
                            tracing::debug!("a dial back ended after the network had stopped");
                        }
                        of_error(&error)
                    }
                },
            };
            Seen { address, outcome }
        }
    }
}

fn is_ourselves(error: &io::Error) -> bool {
    matches!(LinkError::find(error), Some(LinkError::Establish(EstablishError::Ourselves)))
}

/// What an error of the transport means to the asker.
fn of_error(error: &io::Error) -> Outcome {
    match LinkError::find(error) {
        Some(LinkError::Timeout) => Outcome::TimedOut,
        Some(LinkError::Line(line)) => of_line(line),
        Some(LinkError::Establish(EstablishError::Ourselves)) => Outcome::OtherNode,
        Some(LinkError::Establish(_)) => Outcome::Refused,
        None => Outcome::Unreachable,
    }
}

fn of_line(line: &LineError) -> Outcome {
    match line {
        LineError::Private(_) | LineError::Unsupported(_) => Outcome::NotDialled,
        LineError::Name(_) => Outcome::Unreachable,
        LineError::Memory => Outcome::Refused,
        LineError::All(last) => of_line(last),
        LineError::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Outcome::Refused,
            io::ErrorKind::TimedOut => Outcome::TimedOut,
            _ => Outcome::Unreachable,
        },
    }
}

/// Addresses that are dialled for one request: a node announces at most eight, and four show what is wrong.
pub const ADDRESSES_MAX: usize = 4;

/// How long one dial may take: a handshake over a satellite takes three.
const DIAL_TIME: Duration = Duration::from_secs(10);

/// How seldom one node is dialled back: an operator who mends a firewall looks again after a minute.
pub const PAUSE: Duration = Duration::from_secs(60);

/// Dials back at once, for everybody together.
const UNDER_WAY_MAX: usize = 4;

/// Bytes of a request: an empty map, and room for what a later version adds.
const REQUEST_BYTES_MAX: usize = 256;

/// Bytes of an answer: four addresses of the longest form and their outcomes.
const ANSWER_BYTES_MAX: usize = 4 * 1_024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use futures::{executor::block_on, io::Cursor};

    use super::*;
    use crate::network::{framing::length_prefix, transport};

    fn read_request(bytes: Vec<u8>) -> io::Result<DialBackRequest> {
        block_on(DialBackCodec.read_request(&StreamProtocol::new("/x"), &mut Cursor::new(bytes)))
    }

    #[test]
    fn a_request_is_one_small_frame_and_an_answer_names_few_addresses() {
        let protocol = StreamProtocol::new("/x");
        let mut io = Cursor::new(Vec::new());
        block_on(DialBackCodec.write_request(&protocol, &mut io, DialBackRequest {})).unwrap();
        let good = io.into_inner();
        assert!(read_request(good.clone()).is_ok());
        assert!(read_request([good.as_slice(), &good].concat()).is_err());
        assert!(read_request([length_prefix(257), vec![0xA0; 257]].concat()).is_err());
        assert!(read_request(vec![1, 0xFF]).is_err());
        let seen = Seen { address: "node.sg.example:4001".to_owned(), outcome: Outcome::TimedOut };
        for (count, is_good) in [(0, true), (ADDRESSES_MAX, true), (ADDRESSES_MAX + 1, false)] {
            let answer = DialBackAnswer { seen: vec![seen.clone(); count], busy: false };
            let mut io = Cursor::new(Vec::new());
            block_on(DialBackCodec.write_response(&protocol, &mut io, answer.clone())).unwrap();
            let mut io = Cursor::new(io.into_inner());
            let read = block_on(DialBackCodec.read_response(&protocol, &mut io));
            assert_eq!(read.is_ok_and(|read| read == answer), is_good, "{count}");
        }
    }

    #[test]
    fn one_node_is_dialled_back_once_a_minute_and_few_at_once() {
        let (mut backs, _over) = DialBacks::new(transport::nobody());
        let now = Instant::now();
        let node = |number: u8| NodeKey::from_bytes([number; 32]);
        assert!(backs.allows(node(1), now));
        assert!(!backs.allows(node(1), now + PAUSE - Duration::from_millis(1)));
        assert!(backs.allows(node(1), now + PAUSE));
        assert!(backs.allows(node(2), now) && backs.allows(node(3), now));
        assert!(!backs.allows(node(4), now), "four are under way");
        backs.on_done();
        assert!(backs.allows(node(4), now));
    }

    #[test]
    fn each_failure_has_its_word() {
        let of = |kind: io::ErrorKind| of_line(&LineError::Io(kind.into()));
        assert_eq!(of(io::ErrorKind::ConnectionRefused), Outcome::Refused);
        assert_eq!(of(io::ErrorKind::TimedOut), Outcome::TimedOut);
        assert_eq!(of(io::ErrorKind::NetworkUnreachable), Outcome::Unreachable);
        assert_eq!(of_line(&LineError::Private([10, 0, 0, 1].into())), Outcome::NotDialled);
        assert_eq!(of_line(&LineError::All(Box::new(LineError::Name("x".to_owned())))), Outcome::Unreachable);
    }
}
