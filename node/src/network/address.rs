//! Addresses as operators write them, `host:port`, and which of them are dialled.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// Where a node listens or is dialled: `host:port`, with `host` a name, an IPv4 address or an IPv6
/// address in brackets; `memory:N` within one process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Host, u64);

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No colon, or nothing before it.
    #[error("{0:?} is not an address; write host:port, such as node.sg.example:4001 or [2001:db8::1]:4001")]
    Form(String),
    /// The part after the last colon is no port.
    #[error("{0:?} does not end in a port between 0 and 65535")]
    Port(String),
    /// The part before is neither an IP address nor a name.
    #[error("{0:?} is neither an IP address nor a host name")]
    Host(String),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    Ip(IpAddr),
    Name(String),
    Memory,
}

impl Address {
    /// A place in this process's memory; 0 lets the listener choose one.
    #[must_use]
    pub const fn memory(port: u64) -> Self {
        Self(Host::Memory, port)
    }

    /// The address as libp2p writes it.
    pub(super) fn multiaddr(&self) -> Multiaddr {
        let Self(host, port) = self;
        let first = match host {
            Host::Ip(IpAddr::V4(ip)) => Protocol::Ip4(*ip),
            Host::Ip(IpAddr::V6(ip)) => Protocol::Ip6(*ip),
            Host::Name(name) => Protocol::Dns(name.into()),
            Host::Memory => return Multiaddr::empty().with(Protocol::Memory(*port)),
        };
        // The constructors bound the port of every host but memory.
        let port = u16::try_from(*port).unwrap_or_default();
        Multiaddr::empty().with(first).with(Protocol::Tcp(port))
    }

    /// The socket to listen on; `None` for names and memory.
    pub(super) fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self(Host::Ip(ip), port) => Some(SocketAddr::new(*ip, u16::try_from(*port).ok()?)),
            Self(Host::Name(_) | Host::Memory, _) => None,
        }
    }

    /// The address that libp2p reports; `None` for forms that this node never uses.
    pub(super) fn from_multiaddr(address: &Multiaddr) -> Option<Self> {
        let mut parts = address.iter();
        let host = match parts.next()? {
            Protocol::Ip4(ip) => Host::Ip(ip.into()),
            Protocol::Ip6(ip) => Host::Ip(ip.into()),
            Protocol::Dns(name) => Host::Name(name.into_owned()),
            Protocol::Memory(port) => return Some(Self::memory(port)),
            _ => return None,
        };
        let Some(Protocol::Tcp(port)) = parts.next() else {
            return None;
        };
        Some(Self(host, port.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        match host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{port}"),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{port}"),
            Host::Name(name) => write!(f, "{name}:{port}"),
            Host::Memory => write!(f, "memory:{port}"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(Host::Ip(address.ip()), u64::from(address.port()))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| AddressError::Form(text.to_owned()))?;
        if host == "memory" {
            let port = port.parse().map_err(|_| AddressError::Port(text.to_owned()))?;
            return Ok(Self::memory(port));
        }
        let port: u16 = port.parse().map_err(|_| AddressError::Port(text.to_owned()))?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = if let Some(inner) = bracketed {
            let ip = inner.parse::<Ipv6Addr>().map_err(|_| AddressError::Host(text.to_owned()))?;
            Host::Ip(ip.into())
        } else if let Ok(ip) = host.parse::<Ipv4Addr>() {
            Host::Ip(ip.into())
        } else if is_host_name(host) {
            Host::Name(host.to_owned())
        } else {
            return Err(AddressError::Host(text.to_owned()));
        };
        Ok(Self(host, port.into()))
    }
}

/// Whether an address lies in the public internet (IANA's special-purpose registries, multicast left out):
/// anything else is dialled only where the operator allows it, so that no published address makes a node
/// knock on doors inside its own network.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(_) => false,
            None => is_public_v6(ip),
        },
    }
}

/// The part of an address that one party as a rule controls: an IPv4 /24, an IPv6 /48. `None` for
/// memory and names, which no caller has.
pub(super) fn prefix(address: &Multiaddr) -> Option<Prefix> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => {
            let [a, b, c, _] = ip.octets();
            Some(Prefix::V4([a, b, c]))
        }
        Protocol::Ip6(ip) => {
            let [a, b, c, ..] = ip.segments();
            Some(Prefix::V6([a, b, c]))
        }
        _ => None,
    })
}

/// See [`prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Prefix {
    /// An IPv4 /24.
    V4([u8; 3]),
    /// An IPv6 /48.
    V6([u16; 3]),
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= NAME_BYTES_MAX && text.split('.').all(label)
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_broadcast()
        || ip.is_multicast()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    // Only 2000::/3 is given out for global unicast.
    let [a, b, ..] = ip.segments();
    (a & 0xE000) == 0x2000 && !(a == 0x2001 && (b < 0x200 || b == 0xDB8)) && a != 0x2002 && a != 0x3FFF
}

/// Bytes of one label of a host name (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Bytes of a host name (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn addresses_round_trip_through_text_and_multiaddr() {
        for text in ["node.sg.example:4001", "127.0.0.1:0", "[2001:db8::1]:4001", "memory:77"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(Address::from_multiaddr(&address.multiaddr()), Some(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "node", ":1", "a:65536", "a:-1", "[::1:4", "2001:db8::1:4", "a b:1", "a..b:1", "é:1"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn private_ranges_are_not_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:8.8.8.8",
            "2001:db8::1",
            "64:ff9b::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["8.8.8.8", "193.0.6.139", "2606:4700::1111", "2a00:1450::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn neighbours_share_a_prefix() {
        let of = |text: &str| prefix(&text.parse::<Address>().unwrap().multiaddr());
        assert_eq!(of("198.51.100.1:1"), of("198.51.100.200:2"));
        assert_ne!(of("198.51.100.1:1"), of("198.51.101.1:1"));
        assert_eq!(of("[2001:db8:1::1]:1"), of("[2001:db8:1:ffff::2]:1"));
        assert_eq!(of("memory:1"), None);
    }
}
