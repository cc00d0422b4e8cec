//! Failures of connections in the words of the people who read `peers` and the log.

use std::io;

use libp2p::{
    TransportError,
    memory_connection_limits::MemoryUsageLimitExceeded,
    swarm::{ConnectionDenied, ConnectionError, DialError, ListenError},
};
use refpoint_protocol::{ids::NodeKey, introduction::frame::RefusalCode};

use super::{
    event::Fault,
    transport::{LineError, LinkError},
    upgrade::{EstablishError, IntroductionError},
};

/// Why a connection did not come about.
#[derive(Debug, Default)]
pub(super) struct Failure {
    /// For people.
    pub(super) why: String,
    /// The node on the other side, if TLS got that far.
    pub(super) node: Option<NodeKey>,
    /// The other side's refusal.
    pub(super) refusal: Option<RefusalCode>,
    /// The rule that the other side broke.
    pub(super) fault: Option<Fault>,
    /// Whether the other side was this node itself.
    pub(super) ourselves: bool,
    /// Whether this node has too much in memory for another connection.
    pub(super) no_memory: bool,
}

impl Failure {
    fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), ..Self::default() }
    }

    fn denied(cause: &ConnectionDenied) -> Self {
        match cause.downcast_ref::<MemoryUsageLimitExceeded>() {
            Some(exceeded) => Self { no_memory: true, ..Self::because(memory_words(exceeded)) },
            None => {
                let cause = std::error::Error::source(cause).unwrap_or(cause);
                Self::because(cause.to_string())
            }
        }
    }
}

/// Explains a dial's failure.
pub(super) fn of_dial(error: &DialError) -> Failure {
    match error {
        DialError::LocalPeerId { .. } => {
            Failure { ourselves: true, ..Failure::because("this node's own address") }
        }
        DialError::Transport(errors) => match errors.last() {
            Some((_, error)) => of_transport(error),
            None => Failure::because("no address to dial"),
        },
        DialError::Denied { cause } => Failure::denied(cause),
        DialError::NoAddresses => Failure::because("no address to dial"),
        DialError::Aborted => Failure::because("the dial was given up"),
        DialError::DialPeerConditionFalse(_) => Failure::because("a connection is there already"),
        DialError::WrongPeerId { .. } => Failure::because("another node answered there"),
    }
}

/// Explains the failure of a caller's connection.
pub(super) fn of_listen(error: &ListenError) -> Failure {
    match error {
        ListenError::Transport(error) => of_transport(error),
        ListenError::Denied { cause } => Failure::denied(cause),
        ListenError::LocalPeerId { .. } => {
            Failure { ourselves: true, ..Failure::because("this node called itself") }
        }
        ListenError::Aborted => Failure::because("it was given up"),
        ListenError::WrongPeerId { .. } => Failure::because("it is another node than expected"),
    }
}

/// Explains why a connection ended.
pub(super) fn of_close(cause: Option<&ConnectionError>) -> String {
    match cause {
        None => "the connection was closed".to_owned(),
        Some(ConnectionError::KeepAliveTimeout) => "the connection was idle for too long".to_owned(),
        Some(ConnectionError::IO(error)) => io_words(error),
    }
}

fn of_transport(error: &TransportError<io::Error>) -> Failure {
    let error = match error {
        TransportError::MultiaddrNotSupported(address) => {
            return Failure::because(format!("{address} cannot be dialled"));
        }
        TransportError::Other(error) => error,
    };
    match LinkError::find(error) {
        Some(LinkError::Line(line)) => Failure::because(line_words(line)),
        Some(LinkError::Establish(establish)) => of_establish(establish),
        Some(timeout @ LinkError::Timeout) => Failure::because(timeout.to_string()),
        None => Failure::because(io_words(error)),
    }
}

fn of_establish(error: &EstablishError) -> Failure {
    let mut failure = Failure::because(error.to_string());
    match error {
        EstablishError::Introduction(not_introduced) => {
            failure.node = Some(not_introduced.node);
            match &not_introduced.why {
                IntroductionError::Refused(code) => failure.refusal = Some(*code),
                why if why.is_fault() => failure.fault = Some(Fault::Introduction(why.to_string())),
                _ => {}
            }
        }
        EstablishError::Ourselves => failure.ourselves = true,
        EstablishError::Negotiation(_)
        | EstablishError::Tls(_)
        | EstablishError::NoNodeKey
        | EstablishError::Multiplexer(_) => {}
    }
    failure
}

fn line_words(error: &LineError) -> String {
    match error {
        LineError::Io(error) => io_words(error),
        LineError::All(last) => line_words(last),
        LineError::Private(_) | LineError::Name(_) | LineError::Memory | LineError::Unsupported(_) => {
            error.to_string()
        }
    }
}

fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there (connection refused)".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            "the connection was cut".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "the other side closed the connection".to_owned(),
        io::ErrorKind::TimedOut => "no answer (timed out)".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "no route to that address".to_owned()
        }
        // Yamux and TLS wrap the end of a stream in their own words.
        _ if ends_with_eof(error) => "the other side closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

fn ends_with_eof(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| {
            matches!(
                io.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            )
        }) {
            return true;
        }
        cause = error.source();
    }
    error.to_string().contains("without sending TLS close_notify")
}

fn memory_words(exceeded: &MemoryUsageLimitExceeded) -> String {
    let [used, most] = [exceeded.process_physical_memory_bytes(), exceeded.max_allowed_bytes()]
        .map(|bytes| bytes / 1_000_000);
    format!("this node uses {used} MB of memory, and takes no further connection above {most} MB")
}
