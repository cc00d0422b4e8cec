//! What the machine cannot do itself about this node's own records: sign with the node key, draw a sealing key.

use refpoint_protocol::{
    crypto::SealingSeed,
    directory::header::{ChainKind, Header, NodeRecordHeader, ReferencePointHeader},
    document::sign,
    heads::Head,
    machine::{Input, Target, sealing_seed_row},
    storage::{Change, Table},
    time::Timestamp,
};

use tokio::sync::mpsc;

use super::{
    carry::tell,
    doors::Order,
    jobs::{Identity, Workshop, drawn},
    journal::JournalKeeper,
};
use crate::{
    network::{self, Address},
    store::StoreError,
};

/// Why no sealing key was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealingKeyError {
    /// The operating system gives no random bytes.
    #[error("{0}")]
    Random(String),
    /// The seed could not be stored.
    #[error("the seed could not be stored: {0}")]
    Store(#[from] StoreError),
    /// Its row cannot be encoded: a broken invariant of ours.
    #[error("the seed's row: {0}")]
    Row(String),
}

/// Signs a header of this node's own chain.
pub(super) fn sign_header(
    identity: &Identity,
    kind: ChainKind,
    header: Header,
    body: Option<Vec<u8>>,
) -> Result<Input, String> {
    let (federation, keys) = (Some(identity.federation), [&identity.signing]);
    let envelope = match kind {
        ChainKind::NodeRecord => sign(&NodeRecordHeader(header), federation, &keys),
        ChainKind::ReferencePoint => sign(&ReferencePointHeader(header), federation, &keys),
    };
    let envelope = envelope.map_err(|error| format!("a header cannot be encoded: {error}"))?;
    Ok(Input::HeaderSigned { kind, envelope, body })
}

/// Signs a head of this node, with where its journal stands once all of that is on the device; without it if that
/// cannot be said now. Waits for the disk.
pub(super) fn sign_head(identity: &Identity, journal: &JournalKeeper, head: Head) -> Result<Input, String> {
    let stands = journal.synced();
    let stands = stands.map_err(|error| tracing::warn!(%error, "a head says nothing of the journal")).ok();
    let head = Head { journal: stands, ..head };
    let envelope = sign(&head, Some(identity.federation), &[&identity.signing]);
    let envelope = envelope.map_err(|error| format!("a head cannot be encoded: {error}"))?;
    Ok(Input::HeadSigned { envelope })
}

/// Makes a sealing key on a thread that may wait, and hands it in.
///
/// # Errors
/// [`SealingKeyError`] if it is worth another try. Once storage has stopped the node does too.
pub(super) async fn sealing_key_made(
    workshop: &Workshop,
    orders: &mpsc::UnboundedSender<Order>,
    from: Timestamp,
    until: Timestamp,
) -> Result<(), SealingKeyError> {
    let workshop = workshop.clone();
    let made = tokio::task::spawn_blocking(move || make_sealing_key(&workshop, from, until)).await;
    match made {
        Ok(Ok(input)) => tell(orders, input),
        Ok(Err(SealingKeyError::Store(error))) if error.is_fatal() => {
            tracing::error!(%error, "no sealing key was made");
        }
        Ok(Err(error)) => return Err(error),
        Err(error) => tracing::error!(%error, "no sealing key was made"),
    }
    Ok(())
}

/// Draws a sealing key and returns only when its seed is on the device: a key whose seed could be lost in a
/// crash must never be published.
fn make_sealing_key(
    workshop: &Workshop,
    from: Timestamp,
    until: Timestamp,
) -> Result<Input, SealingKeyError> {
    let seed = SealingSeed::from_bytes(drawn().map_err(SealingKeyError::Random)?);
    let entry = seed.expand().entry(from, until);
    let row =
        sealing_seed_row(&seed, from, until).map_err(|error| SealingKeyError::Row(error.to_string()))?;
    let key = entry.id().as_bytes().to_vec();
    workshop.store.apply(&[Change { table: Table::SealingSeeds, key, value: Some(row.to_vec()) }])?;
    workshop.store.sync()?;
    workshop.seeds.add(&seed);
    Ok(Input::SealingKeyMade(entry))
}

/// A target as the network takes it. Addresses that cannot be dialled are left out and logged.
pub(super) fn network_target(target: Target) -> Option<network::Target> {
    let Target { node, member, group, addresses } = target;
    let parse = |text: String| match text.parse::<Address>() {
        Ok(address) => Some(address),
        Err(error) => {
            tracing::warn!(%member, %error, "a published address cannot be dialled");
            None
        }
    };
    let addresses = addresses.into_iter().filter_map(parse).collect();
    Some(network::Target { node, member, group: Some(group), addresses })
}
