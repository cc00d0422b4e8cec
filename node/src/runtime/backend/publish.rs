//! Publishing this node's own entry: what is published, and the wait until it is signed.

use std::{sync::Arc, time::Duration};

use refpoint_protocol::{
    directory::header::ChainKind,
    ids::Sequence,
    machine::{Event, Machine, NumberedEvent},
    time::Timestamp,
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, timeout_at},
};

use super::refusals::{stopping, unavailable};
use crate::{
    api::{
        backend::BackendError,
        views::directory::{PublishedReferencePoint, ReferencePointView},
    },
    runtime::Handle,
};

/// What this node itself publishes.
pub(super) fn published(machine: &Machine, now: Timestamp) -> PublishedReferencePoint {
    let (member, node) = (machine.config().member.clone(), machine.config().node);
    let entry = machine.evidence().directory().member(&member, now);
    let point = entry.and_then(|entry| entry.reference_point).filter(|point| point.source == node);
    PublishedReferencePoint {
        member,
        sequence: newest(machine, now).map(|(sequence, _)| sequence),
        reference_point: point
            .and_then(|point| point.entry)
            .map(|entry| ReferencePointView::from(entry.as_ref())),
    }
}

/// The newest header of this node's own entry under its key set, and when it was issued.
fn newest(machine: &Machine, now: Timestamp) -> Option<(Sequence, Timestamp)> {
    let evidence = machine.evidence();
    let listing = evidence.listing(&machine.config().member, machine.config().node)?;
    let header = evidence.directory().header(listing, ChainKind::ReferencePoint, now)?;
    header.key_set.map(|_| (header.sequence, header.issued))
}

/// Waits for an entry to be signed. Made before the entry is handed in, so that nothing is missed.
pub(super) struct Signed<'a> {
    handle: &'a Handle,
    live: Receiver<Arc<NumberedEvent>>,
}

impl<'a> Signed<'a> {
    pub(super) fn of(handle: &'a Handle) -> Self {
        Self { handle, live: handle.events.subscribe(None).live }
    }

    /// Returns when the header with this sequence was issued, once it is signed, durable and pushed.
    pub(super) async fn wait(mut self, sequence: Sequence) -> Result<Timestamp, BackendError> {
        let deadline = Instant::now() + SIGNING_TIME;
        loop {
            match timeout_at(deadline, self.live.recv()).await {
                Ok(Ok(event)) if !is_published(&event.event, sequence) => {}
                // It happened, or events were dropped on the way here: the directory knows.
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => {
                    let newest = self.handle.query(newest).await.map_err(stopping)?;
                    if let Some((_, issued)) = newest.filter(|(signed, _)| *signed >= sequence) {
                        return Ok(issued);
                    }
                }
                Ok(Err(RecvError::Closed)) => return Err(unavailable()),
                Err(_) => return Err(BackendError::Unavailable { why: NOT_YET.to_owned() }),
            }
        }
    }
}

fn is_published(event: &Event, sequence: Sequence) -> bool {
    matches!(event, Event::Published { kind: ChainKind::ReferencePoint, sequence: at } if *at == sequence)
}

const NOT_YET: &str = "the entry was taken and is not signed yet; look again: refpoint directory show";

/// How long signing an entry may take: a sync of the disk, a signature, and what is before it.
const SIGNING_TIME: Duration = Duration::from_secs(10);
