//! Free ports on loopback for nodes that are started, stopped and started again.

use std::{io, net::TcpListener, ops::Range};

/// Listens on loopback at a port that was free and that no connection takes as its own.
///
/// Port 0 would give one of the range from which the kernel also takes the ports that connections go out from; a
/// node stopped there may find its port taken by a neighbour's call when it starts again.
///
/// # Errors
/// Whatever listening says, when no port of many could be had.
pub fn listen_on_free_port() -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let mut drawn = [0; 2];
        getrandom::fill(&mut drawn).map_err(|error| io::Error::other(error.to_string()))?;
        let port = PORTS.start + u16::from_ne_bytes(drawn) % (PORTS.end - PORTS.start);
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Above what services use, and below what Linux (32768 and up) and others (49152 and up) give to connections.
const PORTS: Range<u16> = 20_000..32_768;

/// Of so many draws one hits a free port, unless the machine has none.
const TRIES: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn ports_are_free_each_its_own_and_none_that_a_connection_would_take() {
        let held: Vec<_> = (0..50).map(|_| listen_on_free_port().unwrap()).collect();
        let mut ports: Vec<_> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| PORTS.contains(port)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), held.len());
    }
}
