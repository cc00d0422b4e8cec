//! The stream of events (server-sent events, WHATWG HTML section 9.2), resumable by number.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::{
        IntoResponse, Response,
        sse::{Event as Frame, KeepAlive, Sse},
    },
};
use futures::{StreamExt, stream, stream::BoxStream};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Shared,
    backend::{Backend, EventSubscription, Lagged},
    error::ApiError,
    request,
    views::event::{EventView, StreamGap, StreamOpened},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<u64>,
}

/// Answers once the subscription stands: whatever happens after the answer's head is in the stream.
pub(super) async fn stream<B: Backend>(
    State(shared): State<Shared<B>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let EventsQuery { after } = request::query(&uri)?;
    // A reader that reconnects by itself sends the header with its old address, so the header wins.
    let after = match headers.get(LAST_EVENT_ID) {
        None => after,
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            Some(number.ok_or(ApiError::EventNumber)?)
        }
    };
    let permit = Arc::clone(&shared.streams).try_acquire_owned().map_err(|_| ApiError::Busy)?;
    let subscription = shared.backend.events(after).await?;
    let reader = Reader::new(Arc::clone(&shared.backend), subscription, after, permit);
    let frames = stream::unfold(reader, Reader::next).take_until(shared.stop.cancelled_owned());
    Ok(Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// One reader's place in the stream.
struct Reader<B> {
    backend: Arc<B>,
    waiting: VecDeque<Frame>,
    live: BoxStream<'static, Result<EventView, Lagged>>,
    /// The newest number handed out; what is not above it was seen already.
    last: u64,
    _permit: OwnedSemaphorePermit,
}

impl<B: Backend> Reader<B> {
    fn new(
        backend: Arc<B>,
        subscription: EventSubscription,
        after: Option<u64>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let last = after.unwrap_or(subscription.newest);
        let empty = stream::empty().boxed();
        let mut reader = Self { backend, waiting: VecDeque::new(), live: empty, last, _permit: permit };
        if after.is_none() {
            let opened = StreamOpened { newest: subscription.newest };
            reader.waiting.extend(frame("open", subscription.newest, &opened));
        }
        reader.take(subscription);
        reader
    }

    fn take(&mut self, subscription: EventSubscription) {
        let EventSubscription { newest, missed, gap, live } = subscription;
        self.live = live;
        // A number that this node has not given yet is a reader's from before a restored backup.
        if gap || self.last > newest {
            let resumed = missed.first().map_or(newest, |first| first.number.saturating_sub(1));
            self.waiting.extend(frame("gap", resumed, &StreamGap { after: self.last, resumed }));
            self.last = resumed;
        }
        for event in missed {
            self.last = self.last.max(event.number);
            self.waiting.extend(frame("event", event.number, &event));
        }
    }

    async fn next(mut self) -> Option<(Result<Frame, Infallible>, Self)> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return Some((Ok(frame), self));
            }
            match self.live.next().await? {
                Ok(event) if event.number > self.last => {
                    self.last = event.number;
                    self.waiting.extend(frame("event", event.number, &event));
                }
                Ok(_) => {}
                Err(Lagged) => match self.backend.events(Some(self.last)).await {
                    Ok(subscription) => self.take(subscription),
                    Err(error) => {
                        // The reader connects anew with the last number it saw, and learns the reason then.
                        tracing::warn!(%error, "a stream of events ended");
                        return None;
                    }
                },
            }
        }
    }
}

fn frame(name: &str, number: u64, data: &impl Serialize) -> Option<Frame> {
    match Frame::default().event(name).id(number.to_string()).json_data(data) {
        Ok(frame) => Some(frame),
        Err(error) => {
            tracing::error!(%error, number, "an event could not be written");
            None
        }
    }
}

/// The header by which a reader resumes.
const LAST_EVENT_ID: &str = "last-event-id";

/// How often a comment is sent while nothing happens, so that both ends notice a dead connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
