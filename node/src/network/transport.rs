//! From an address to a multiplexed connection with a node that was introduced: TCP (or memory), TLS 1.3,
//! the introduction, Yamux, and nothing else.
//!
//! Names are resolved outermost; between the resolver and TCP stands the filter of private ranges, so that
//! a name cannot lead where an address may not. TCP_NODELAY stays on, as libp2p has it: off, a small frame
//! takes 80 ms and more.

use std::{
    error::Error,
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, FutureExt};
use libp2p::{
    Multiaddr, PeerId,
    core::{
        Transport,
        muxing::StreamMuxerBox,
        transport::{
            Boxed, DialOpts, ListenerId, MemoryTransport, TransportError, TransportEvent,
            memory::MemoryTransportError,
            timeout::{TransportTimeout, TransportTimeoutError},
        },
    },
    dns,
    multiaddr::Protocol,
    tcp,
};
use refpoint_protocol::ids::NodeKey;

use super::{
    TransportKind,
    address::is_public,
    upgrade::{EstablishError, Upgrade},
};

/// Why there is no connection: the one error that leaves the transport, inside libp2p's `io::Error`.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nothing within [`LINK_TIMEOUT`].
    #[error("no complete answer within {} s", LINK_TIMEOUT.as_secs())]
    Timeout,
    /// Below TLS.
    #[error(transparent)]
    Line(#[from] LineError),
    /// TLS, the introduction or the multiplexer.
    #[error(transparent)]
    Establish(#[from] EstablishError),
}

impl LinkError {
    /// Finds it in what the swarm reports.
    pub(super) fn find(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Why there is no stream of bytes.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The address is not public, and private ones are not allowed.
    #[error(
        "{0} is not a public address: a private address is not dialled unless allow_private_addresses = true in refpoint.toml"
    )]
    Private(IpAddr),
    /// The name has no address, or the resolver does not answer.
    #[error("the name cannot be resolved: {0}")]
    Name(String),
    /// The system's word.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nobody listens there in this process.
    #[error("nobody listens there")]
    Memory,
    /// No form of address that this node dials.
    #[error("{0} cannot be dialled")]
    Unsupported(Multiaddr),
    /// Each address of a name failed; the last is given.
    #[error("{0}")]
    All(Box<LineError>),
}

/// Builds the transport. Where the system's resolver cannot be set up, names fail and addresses work.
pub(super) fn build(
    kind: TransportKind,
    allow_private: bool,
    upgrade: Arc<Upgrade>,
) -> Boxed<(PeerId, StreamMuxerBox)> {
    match kind {
        TransportKind::Memory => assemble(MemoryTransport::default(), upgrade),
        TransportKind::Tcp => assemble(named(allow_private), upgrade),
    }
}

/// Builds what dials as far as the introduction, and drops the line there.
pub(super) fn build_prober(
    kind: TransportKind,
    allow_private: bool,
    upgrade: Arc<Upgrade>,
) -> Boxed<NodeKey> {
    match kind {
        TransportKind::Memory => assemble_prober(MemoryTransport::default(), upgrade),
        TransportKind::Tcp => assemble_prober(named(allow_private), upgrade),
    }
}

/// TCP behind the filter of private ranges, behind the resolver.
fn named(allow_private: bool) -> dns::tokio::Transport<Filtered<tcp::tokio::Transport>> {
    let filtered = || Filtered { inner: tcp::tokio::Transport::new(tcp::Config::default()), allow_private };
    dns::tokio::Transport::system(filtered()).unwrap_or_else(|error| {
        tracing::warn!(%error, "no resolver: node addresses that are names cannot be dialled");
        let nobody = dns::ResolverConfig::default();
        dns::tokio::Transport::custom(filtered(), nobody, dns::ResolverOpts::default())
    })
}

fn assemble_prober<T, C>(base: T, upgrade: Arc<Upgrade>) -> Boxed<NodeKey>
where
    T: Transport<Output = C> + Send + Unpin + 'static,
    T::Error: Error + Send + Sync + Into<LineError>,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let probed = base.and_then(move |io, endpoint| upgrade.probe(io, endpoint).boxed());
    probed.map_err(|either| either.either(|line| LinkError::Line(line.into()), LinkError::Establish)).boxed()
}

/// A prober that reaches nobody, for tests.
#[cfg(test)]
pub(super) fn nobody() -> Boxed<NodeKey> {
    let none = libp2p::core::transport::dummy::DummyTransport::<NodeKey>::new();
    none.boxed()
}

fn assemble<T, C>(base: T, upgrade: Arc<Upgrade>) -> Boxed<(PeerId, StreamMuxerBox)>
where
    T: Transport<Output = C> + Send + Unpin + 'static,
    T::Error: Error + Send + Sync + Into<LineError>,
    T::Dial: Send,
    T::ListenerUpgrade: Send,
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let linked = base.and_then(move |io, endpoint| upgrade.establish(io, endpoint).boxed());
    TransportTimeout::new(linked, LINK_TIMEOUT)
        .map_err(|error| match error {
            TransportTimeoutError::Timeout => LinkError::Timeout,
            TransportTimeoutError::TimerError(error) => LinkError::Line(LineError::Io(error)),
            TransportTimeoutError::Other(either) => {
                either.either(|line| LinkError::Line(line.into()), LinkError::Establish)
            }
        })
        .boxed()
}

/// TCP behind the filter of private ranges.
struct Filtered<T> {
    inner: T,
    allow_private: bool,
}

impl<T: Transport<Error = io::Error> + Unpin> Transport for Filtered<T>
where
    T::ListenerUpgrade: Unpin,
    T::Dial: Unpin,
{
    type Output = T::Output;
    type Error = FilteredError;
    type ListenerUpgrade = futures::future::MapErr<T::ListenerUpgrade, fn(io::Error) -> FilteredError>;
    type Dial = futures::future::MapErr<T::Dial, fn(io::Error) -> FilteredError>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<FilteredError>> {
        self.inner.listen_on(id, address).map_err(|error| error.map(FilteredError::Io))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<FilteredError>> {
        use futures::TryFutureExt as _;
        if !self.allow_private
            && let Some(ip) = ip_of(&address)
            && !is_public(ip)
        {
            return Err(TransportError::Other(FilteredError::Private(ip)));
        }
        let dial = self.inner.dial(address, opts).map_err(|error| error.map(FilteredError::Io))?;
        Ok(dial.map_err(FilteredError::Io as fn(io::Error) -> FilteredError))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, FilteredError>> {
        use futures::TryFutureExt as _;
        Pin::new(&mut self.inner).poll(cx).map(|event| {
            event
                .map_upgrade(|upgrade| upgrade.map_err(FilteredError::Io as fn(io::Error) -> FilteredError))
                .map_err(FilteredError::Io)
        })
    }
}

/// What the filter and TCP below it say.
#[derive(Debug, thiserror::Error)]
enum FilteredError {
    #[error("{0} is not a public address")]
    Private(IpAddr),
    #[error(transparent)]
    Io(io::Error),
}

impl From<FilteredError> for LineError {
    fn from(error: FilteredError) -> Self {
        match error {
            FilteredError::Private(ip) => Self::Private(ip),
            FilteredError::Io(error) => Self::Io(error),
        }
    }
}

impl From<dns::Error<FilteredError>> for LineError {
    fn from(error: dns::Error<FilteredError>) -> Self {
        match error {
            dns::Error::Transport(error) => error.into(),
            dns::Error::ResolveError(error) => Self::Name(error.to_string()),
            dns::Error::MultiaddrNotSupported(address) => Self::Unsupported(address),
            dns::Error::TooManyLookups => Self::Name("too many lookups".to_owned()),
            dns::Error::Dial(errors) => match errors.into_iter().next_back() {
                Some(last) => Self::All(Box::new(last.into())),
                None => Self::Name("the name has no address".to_owned()),
            },
        }
    }
}

impl From<MemoryTransportError> for LineError {
    fn from(_: MemoryTransportError) -> Self {
        Self::Memory
    }
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// TCP, TLS, the introduction and Yamux together: an introduction of a megabyte each way wants 20 s on a
/// slow line, and the rest a few round trips.
pub const LINK_TIMEOUT: Duration = Duration::from_secs(30);
