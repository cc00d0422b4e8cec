//! The joining request: a unit's self-signed offer of its root key, before there is a federation.

use serde::{Deserialize, Serialize};

use super::{charter::root_hash, require};
use crate::{
    document::{FormError, Kind, Payload, Signature},
    ids::{ContentHash, FederationId, MemberCode, NodeKey, RootKey},
    limits::{REQUEST_ADDRESS_BYTES_MAX, REQUEST_ADDRESSES_MAX, REQUEST_BYTES_MAX},
    membership::charter::{MemberKind, WorkingGroup},
    time::Timestamp,
};

/// What a unit hands to the stewards. Signed by its root key and by its node key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoiningRequest {
    /// The member that asks.
    pub member: MemberCode,
    /// A country or a bureau.
    pub kind: MemberKind,
    /// Its working group.
    pub group: WorkingGroup,
    /// The root key's algorithm.
    pub alg: u64,
    /// The root key.
    pub root: RootKey,
    /// SHA-256 of the next root key's 32 bytes.
    pub next: ContentHash,
    /// The first node's key.
    pub node: NodeKey,
    /// Where the first node can be dialled, `host:port` each: hints, not evidence.
    pub addresses: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
}

impl Payload for JoiningRequest {
    const KIND: Kind = Kind::JoiningRequest;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = REQUEST_BYTES_MAX;

    fn check_form(&self) -> Result<(), FormError> {
        let code = &self.member;
        require(self.kind == MemberKind::of(code), "JR-01", || {
            format!("{code} has the code of another kind of member")
        })?;
        require(self.alg == Signature::ED25519, "JR-02", || {
            format!("the root key has algorithm {}, expected {}", self.alg, Signature::ED25519)
        })?;
        require(self.next != root_hash(&self.root), "JR-03", || {
            "the next root key is the present one".into()
        })?;
        require(self.node.as_bytes() != self.root.as_bytes(), "JR-04", || {
            "the node key is the root key".into()
        })?;
        let count = self.addresses.len();
        require(count <= REQUEST_ADDRESSES_MAX, "JR-05", || {
            format!("{count} addresses, at most {REQUEST_ADDRESSES_MAX} are allowed")
        })?;
        for address in &self.addresses {
            require(is_host_and_port(address), "JR-05", || {
                format!("{address:?} is not host:port of at most {REQUEST_ADDRESS_BYTES_MAX} bytes")
            })?;
        }
        Ok(())
    }

    /// A request is made before its maker belongs to a federation.
    fn domain(&self, _: FederationId) -> Option<FederationId> {
        None
    }
}

/// Whether a text has the form `host:port`; nothing is resolved.
fn is_host_and_port(address: &str) -> bool {
    let plain = address.len() <= REQUEST_ADDRESS_BYTES_MAX && address.bytes().all(|b| b.is_ascii_graphic());
    let parts = address.rsplit_once(':');
    plain
        && parts.is_some_and(|(host, port)| {
            let digits = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
            !host.is_empty() && digits && port.parse::<u16>().is_ok()
        })
}
