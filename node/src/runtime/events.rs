//! The numbered event log: what happened, for the API's stream, the alert command and those who resume.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use refpoint_protocol::machine::NumberedEvent;
use tokio::sync::broadcast;

/// Keeps the newest events and hands each to all who listen.
#[derive(Clone, Debug)]
pub struct EventLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    recent: Mutex<VecDeque<Arc<NumberedEvent>>>,
    sender: broadcast::Sender<Arc<NumberedEvent>>,
}

/// A place in the stream: what was missed first, then what comes.
#[derive(Debug)]
pub struct Subscription {
    /// The newest event's number when this was made, zero before the first: later ones are live.
    pub newest: u64,
    /// Events after the number asked for, oldest first.
    pub missed: Vec<Arc<NumberedEvent>>,
    /// Whether events between the number asked for and the first of `missed` are no longer kept.
    pub gap: bool,
    /// Later events. A listener that falls behind by [`LISTENER_LAG_MAX`] is told so and resumes by number.
    pub live: broadcast::Receiver<Arc<NumberedEvent>>,
}

impl EventLog {
    /// Starts with the events that storage kept, oldest first.
    #[must_use]
    pub fn restore(events: impl IntoIterator<Item = NumberedEvent>) -> Self {
        let mut recent: VecDeque<_> = events.into_iter().map(Arc::new).collect();
        while recent.len() > KEPT {
            recent.pop_front();
        }
        let (sender, _) = broadcast::channel(LISTENER_LAG_MAX);
        Self { shared: Arc::new(Shared { recent: Mutex::new(recent), sender }) }
    }

    /// Adds an event whose durable cause is on disk.
    pub fn publish(&self, event: NumberedEvent) {
        let event = Arc::new(event);
        let mut recent = self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= KEPT {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&event));
        // Sent under the lock, so that a subscriber sees each event once: missed or live. Nobody may listen.
        let _listeners = self.shared.sender.send(event);
    }

    /// Subscribes to everything after event `number`, or to what comes if there is none.
    #[must_use]
    pub fn subscribe(&self, number: Option<u64>) -> Subscription {
        let recent = self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.shared.sender.subscribe();
        let newest = recent.back().map_or(0, |event| event.number);
        let Some(after) = number else {
            return Subscription { newest, missed: Vec::new(), gap: false, live };
        };
        let missed: Vec<_> = recent.iter().filter(|event| event.number > after).cloned().collect();
        let gap = missed.first().is_some_and(|first| first.number > after + 1);
        Subscription { newest, missed, gap, live }
    }

    /// The newest event's number, zero before the first.
    #[must_use]
    pub fn newest(&self) -> u64 {
        let recent = self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.back().map_or(0, |event| event.number)
    }
}

/// Events kept for those who resume: an hour of the busiest hour seen in exercises.
pub const KEPT: usize = 4_096;

/// Events by which a listener may lag.
pub const LISTENER_LAG_MAX: usize = 1_024;
