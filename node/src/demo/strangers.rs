//! Those who must not come in: a node of another federation, a caller that speaks something else, a forger.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use refpoint_protocol::{
    document::{Envelope, encode},
    evidence::{AnyDocument, verify_any},
    introduction::Presence,
    limits::WIRE_VERSION,
    membership::Trust,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::DemoError;
use crate::{
    api::views::{
        bytes::Base64,
        document::{ImportOutcome, ImportRequest},
    },
    client::Client,
    clock::Clock,
    network::{Address, Network, NetworkConfig, NetworkEvent},
    sample::{Draw, Sample},
};

/// Founds another federation, and has its France dial a node of this one. Returns why it did not come in.
pub(super) async fn other_federation(address: SocketAddr, clock: Clock) -> Result<String, DemoError> {
    let fail = |why: String| DemoError::Stranger(why);
    let france = "FR".parse().map_err(|error: refpoint_protocol::ids::IdError| fail(error.to_string()))?;
    let other = Sample::found(&mut Draw::System, std::slice::from_ref(&france), clock.now(), || {})
        .map_err(|error| fail(error.to_string()))?;
    let member = other.member(&france).ok_or_else(|| fail("the sample has no France".to_owned()))?;
    let mut trust = Trust::new(other.federation);
    for envelope in [&other.charter, &member.key_set] {
        let verified =
            verify_any(envelope.clone(), other.federation).map_err(|error| fail(error.to_string()))?;
        let accepted = match verified {
            AnyDocument::Charter(charter) => trust.accept_charter(charter),
            AnyDocument::Settlement(settlement) => trust.accept_settlement(settlement),
            AnyDocument::KeySet(key_set) => trust.accept_key_set(key_set),
            AnyDocument::NodeRecord(_) | AnyDocument::ReferencePoint(_) => continue,
        };
        accepted.map_err(|error| fail(error.to_string()))?;
    }
    let node = member.node.key();
    let presence =
        Presence { trust, node, member: france, wire: vec![WIRE_VERSION], record: None, full: false };
    let mut config =
        NetworkConfig::new(other.federation, vec![Address::from(SocketAddr::from(([127, 0, 0, 1], 0)))]);
    config.allow_private = true;
    let presence = Arc::new(ArcSwap::from_pointee(presence));
    let (network, mut events) =
        Network::start(config, member.node.signing_key(), presence, Arc::new(move || clock.now()))
            .map_err(|error| fail(error.to_string()))?;
    network.aim(Vec::new(), vec![Address::from(address)]).await.map_err(|error| fail(error.to_string()))?;
    let answer = async {
        while let Some(event) = events.next().await {
            match event {
                NetworkEvent::DialFailed { why, .. } => return Ok(why),
                NetworkEvent::Connected(_) => return Err(fail("a stranger came in".to_owned())),
                _ => {}
            }
        }
        Err(fail("the stranger's network ended".to_owned()))
    };
    let answer = tokio::time::timeout(ANSWER_TIME, answer).await;
    network.stop().await;
    answer.map_err(|_| fail("the stranger was neither refused nor let in".to_owned()))?
}

/// Speaks HTTP to a node's port. Returns how many bytes of anything but the negotiation's greeting came back.
pub(super) async fn other_protocol(address: SocketAddr) -> Result<String, DemoError> {
    let fail = |error: std::io::Error| DemoError::Stranger(error.to_string());
    let mut stream = TcpStream::connect(address).await.map_err(fail)?;
    // Long enough that no length at its beginning can leave the node waiting for more.
    let request = format!("GET /directory HTTP/1.1\r\nHost: node\r\nCookie: {}\r\n\r\n", "x".repeat(512));
    stream.write_all(request.as_bytes()).await.map_err(fail)?;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(ANSWER_TIME, stream.read_to_end(&mut answer)).await;
    match read {
        Err(_) => Err(DemoError::Stranger("the node kept a caller that speaks HTTP".to_owned())),
        // A reset is as good an answer as a close.
        Ok(_) => Ok(format!("closed after {} bytes of protocol greeting", answer.len())),
    }
}

/// Hands a node a signed document with one bit flipped. Returns why it was refused.
pub(super) async fn flipped_bit(client: &Client, mut document: Envelope) -> Result<String, DemoError> {
    let fail = |why: String| DemoError::Stranger(why);
    if let Some(byte) = document.signatures.first_mut().and_then(|signature| signature.sig.first_mut()) {
        *byte ^= 1;
    }
    let bytes = encode(&document).map_err(|error| fail(error.to_string()))?;
    let request = ImportRequest { envelopes: vec![Base64::from(bytes)] };
    let reply = client.import(&request).await.map_err(|error| fail(error.to_string()))?;
    match reply.documents.first() {
        Some(told) if told.outcome == ImportOutcome::Refused => {
            Ok(told.reason.clone().unwrap_or_else(|| "refused".to_owned()))
        }
        _ => Err(fail("a forged document was not refused".to_owned())),
    }
}

/// How long a stranger waits for its answer.
const ANSWER_TIME: Duration = Duration::from_secs(15);
