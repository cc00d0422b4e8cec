//! `host:port`, the form of every address that an operator writes or a node publishes.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// A host name or IP address with a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// The port, not 0.
    pub port: u16,
}

/// A host name or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name (RFC 1123), in lower case.
    Name(String),
    /// An IP address.
    Address(IpAddr),
}

/// Why a text is no `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no port.
    #[error("{0:?} has no port")]
    NoPort(String),
    /// The port is no number from 1 to 65535.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// The host is neither a name nor an IP address.
    #[error("{0:?} is neither a host name nor an IP address")]
    Host(String),
}

impl FromStr for HostPort {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::NoPort(text.to_owned()))?;
        let port = port
            .parse::<u16>()
            .ok()
            .filter(|number| *number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or_else(|| AddressError::Port(port.to_owned()))?;
        let bad = || AddressError::Host(host.to_owned());
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']').and_then(|address| address.parse::<Ipv6Addr>().ok());
                Host::Address(address.ok_or_else(bad)?.into())
            }
            None => match host.parse::<IpAddr>() {
                // Without brackets the last group would pass for the port.
                Ok(IpAddr::V6(_)) => return Err(bad()),
                Ok(address) => Host::Address(address),
                Err(_) if is_host_name(host) => Host::Name(host.to_ascii_lowercase()),
                Err(_) => return Err(bad()),
            },
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(address) => write!(f, "{address}:{}", self.port),
        }
    }
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_MAX
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name of digits alone is a mistyped IP address.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.len() <= NAME_MAX && !numeric && text.split('.').all(label)
}

/// Characters of a host name (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 253;
/// Characters between two dots (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn good_addresses_round_trip() {
        for good in ["node.sg.example:4001", "192.0.2.7:1", "[2001:db8::1]:65535", "localhost:4001"] {
            assert_eq!(good.parse::<HostPort>().unwrap().to_string(), good);
        }
    }

    #[test]
    fn bad_addresses_are_named() {
        for bad in [
            "",
            "node",
            "node:",
            "node:0",
            "node:65536",
            "node:+1",
            ":4001",
            "2001:db8::1:4001",
            "[::1:4001",
            "192.0.2:4001",
            "-a.example:1",
            "a..example:1",
            "a_b:1",
            "https://a:1",
            "a b:1",
        ] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }
}
