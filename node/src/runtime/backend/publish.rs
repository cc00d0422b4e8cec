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
    pub(super) async fn wait(self, sequence: Sequence) -> Result<Timestamp, BackendError> {
        let signed = self.find(|signed| signed >= sequence).await?;
        signed.map(|(_, issued)| issued).ok_or_else(|| BackendError::Unavailable { why: NOT_YET.to_owned() })
    }

    /// Returns the first header after this one, if it is signed in time: a node that has just started asks
    /// others what it signed before, and as a rule has heard it within seconds.
    pub(super) async fn after(
        self,
        before: Option<Sequence>,
    ) -> Result<Option<(Sequence, Timestamp)>, BackendError> {
        self.find(|signed| Some(signed) > before).await
    }

    async fn find(
        mut self,
        is_it: impl Fn(Sequence) -> bool,
    ) -> Result<Option<(Sequence, Timestamp)>, BackendError> {
        let deadline = Instant::now() + SIGNING_TIME;
        loop {
            match timeout_at(deadline, self.live.recv()).await {
                Ok(Ok(event)) if !is_published(&event.event, &is_it) => {}
                // It happened, or events were dropped on the way here: the directory knows.
                Ok(Ok(_) | Err(RecvError::Lagged(_))) => {
                    let newest = self.handle.query(newest).await.map_err(stopping)?;
                    if let Some(found) = newest.filter(|(signed, _)| is_it(*signed)) {
                        return Ok(Some(found));
                    }
                }
                Ok(Err(RecvError::Closed)) => return Err(unavailable()),
                Err(_) => return Ok(None),
            }
        }
    }
}

fn is_published(event: &Event, is_it: impl Fn(Sequence) -> bool) -> bool {
    matches!(event, Event::Published { kind: ChainKind::ReferencePoint, sequence } if is_it(*sequence))
}

const NOT_YET: &str = "the entry was taken and is not signed yet; look again: refpoint directory show";

/// How long signing an entry may take: what others are asked first, a sync of the disk, a signature.
const SIGNING_TIME: Duration = Duration::from_secs(10);
