//! Reads the stream of events, and follows it over restarts of the node.

use std::{collections::VecDeque, time::Duration};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::{Client, ClientError};
use crate::api::views::event::{EventView, StreamGap, StreamOpened};

/// One connection's stream of events.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    line: Vec<u8>,
    name: String,
    id: Option<u64>,
    data: String,
    ready: VecDeque<StreamItem>,
    last: Option<u64>,
}

/// What a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// Where it stands; the first item if no number was given.
    Opened(StreamOpened),
    /// Something happened.
    Event(Box<EventView>),
    /// Something that this version does not know happened.
    Unknown(u64),
    /// Events are missing here.
    Gap(StreamGap),
}

impl Events {
    pub(super) fn new(body: Incoming, after: Option<u64>) -> Self {
        let (line, name, data) = (Vec::new(), String::new(), String::new());
        Self { body, line, name, id: None, data, ready: VecDeque::new(), last: after }
    }

    /// The number after which to go on with another connection.
    #[must_use]
    pub const fn last(&self) -> Option<u64> {
        self.last
    }

    /// The next item; `None` once the node has ended the stream.
    ///
    /// # Errors
    /// [`ClientError::Broken`], [`ClientError::TimedOut`] if not even a comment comes, [`ClientError::Answer`].
    pub async fn next(&mut self) -> Result<Option<StreamItem>, ClientError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            let frame = tokio::time::timeout(SILENCE_MAX, self.body.frame()).await;
            let frame = frame.map_err(|_| ClientError::TimedOut(SILENCE_MAX))?;
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(bytes) = frame.map_err(ClientError::Broken)?.into_data() {
                self.feed(&bytes)?;
            }
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() > LINE_BYTES_MAX {
                    return Err(ClientError::Answer {
                        reason: "a line of the event stream is too long".to_owned(),
                    });
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            self.take_line(&line)?;
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Result<(), ClientError> {
        let Some((field, value)) = line.split_once(':') else {
            return if line.is_empty() { self.dispatch() } else { Ok(()) };
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" => self.id = value.parse().ok(),
            "data" => self.data.push_str(value),
            // Comments keep the connection alive.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self) -> Result<(), ClientError> {
        let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
        if data.is_empty() {
            return Ok(());
        }
        let number = self.id.take();
        let item = match name.as_str() {
            "open" => StreamItem::Opened(read(&data)?),
            "gap" => StreamItem::Gap(read(&data)?),
            _ => match serde_json::from_str(&data) {
                Ok(event) => StreamItem::Event(Box::new(event)),
                Err(_) => StreamItem::Unknown(number.unwrap_or_default()),
            },
        };
        self.last = number.or(self.last);
        self.ready.push_back(item);
        Ok(())
    }
}

/// Events over restarts of the node: it connects anew by itself, after the last number seen.
#[derive(Debug)]
pub struct FollowedEvents {
    client: Client,
    events: Option<Events>,
    last: Option<u64>,
    lost: bool,
}

/// What a followed stream says.
#[derive(Debug)]
pub enum Followed {
    /// As the stream says.
    Item(StreamItem),
    /// The node went away; it is tried again every second.
    Lost(ClientError),
    /// The node is back; what happened meanwhile follows, or a gap says that it cannot.
    Back,
}

impl FollowedEvents {
    pub(super) fn new(client: Client, after: Option<u64>) -> Self {
        Self { client, events: None, last: after, lost: false }
    }

    /// Subscribes now, so that nothing that happens after this returns is missed.
    ///
    /// # Errors
    /// [`ClientError`] if the node is not there.
    pub async fn connect(&mut self) -> Result<(), ClientError> {
        self.events = Some(self.client.events(self.last).await?);
        Ok(())
    }

    /// The next thing said.
    ///
    /// # Errors
    /// What trying again does not cure: the node's refusals, and a socket that this user may not use.
    pub async fn next(&mut self) -> Result<Followed, ClientError> {
        loop {
            let Some(events) = &mut self.events else {
                match self.client.events(self.last).await {
                    Ok(events) => self.events = Some(events),
                    Err(error) if self.lost && is_passing(&error) => tokio::time::sleep(RETRY_INTERVAL).await,
                    Err(error) if is_passing(&error) => {
                        self.lost = true;
                        return Ok(Followed::Lost(error));
                    }
                    Err(error) => return Err(error),
                }
                if self.events.is_some() && std::mem::take(&mut self.lost) {
                    return Ok(Followed::Back);
                }
                continue;
            };
            let next = events.next().await;
            self.last = events.last().or(self.last);
            match next {
                Ok(Some(item)) => return Ok(Followed::Item(item)),
                Ok(None) => self.events = None,
                Err(error) if is_passing(&error) => self.events = None,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether it may pass by itself: a node that is restarting.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::NotRunning { .. } | ClientError::Broken(_) | ClientError::TimedOut(_) => true,
        ClientError::Problem(problem) => problem.status == 503,
        _ => false,
    }
}

fn read<T: DeserializeOwned>(data: &str) -> Result<T, ClientError> {
    serde_json::from_str(data).map_err(|error| ClientError::Answer { reason: error.to_string() })
}

/// Silence after which a connection counts as dead: three of the node's keep-alive comments.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How often a node that went away is tried.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of one line of the stream: the longest event names 32 members.
const LINE_BYTES_MAX: usize = 64 * 1024;
