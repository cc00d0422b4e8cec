//! Events as the API tells them.

use futures::{StreamExt as _, stream};
use refpoint_protocol::{
    machine::{Event as Happened, NumberedEvent},
    relay::event::RelayEvent,
};
use tokio::sync::broadcast::error::RecvError;

use super::messages::{is_passing, refusal};
use crate::{
    api::{
        backend::{EventSubscription, Lagged},
        views::event::{Event, EventView},
    },
    runtime::events::{EventLog, Subscription},
};

/// A place in the stream.
pub(super) fn subscribe(log: &EventLog, after: Option<u64>) -> EventSubscription {
    let Subscription { missed, gap, live } = log.subscribe(after);
    let missed = missed.iter().flat_map(|event| views(event)).collect();
    let live = stream::unfold(Some(live), |live| async {
        let mut live = live?;
        match live.recv().await {
            Ok(event) => {
                let views: Vec<_> = views(&event).into_iter().map(Ok).collect();
                Some((views, Some(live)))
            }
            Err(RecvError::Lagged(_)) => Some((vec![Err(Lagged)], None)),
            Err(RecvError::Closed) => None,
        }
    });
    EventSubscription { newest: log.newest(), missed, gap, live: live.flat_map(stream::iter).boxed() }
}

/// An event in the API's words: none if it is of no use outside, one for each member it is about.
fn views(event: &NumberedEvent) -> Vec<EventView> {
    let view = |told| EventView { number: event.number, at: event.at.into(), event: told };
    match &event.event {
        Happened::Relay(RelayEvent::MessageExpired { message, members, .. }) => members
            .iter()
            .map(|member| view(Event::MessageExpired { message: *message, member: member.clone() }))
            .collect(),
        Happened::Relay(relayed) => relayed_event(relayed).map(view).into_iter().collect(),
        other => vec![view(own_event(other))],
    }
}

fn relayed_event(event: &RelayEvent) -> Option<Event> {
    Some(match event {
        RelayEvent::MessageArrived { message, sender, precedence, tlp, drill, .. } => {
            Event::MessageReceived {
                message: *message,
                sender: sender.clone(),
                precedence: *precedence,
                tlp: *tlp,
                drill: *drill,
            }
        }
        RelayEvent::MessageQueued { message, recipients, precedence, statement: None, .. } => {
            Event::MessageQueued {
                message: *message,
                recipients: recipients.clone(),
                precedence: *precedence,
            }
        }
        RelayEvent::MessageDelivered { step, late } => Event::MessageDelivered {
            message: step.message,
            member: step.member.clone(),
            node: step.node,
            late: *late,
        },
        RelayEvent::MessageRefused { step, reason, again } => Event::MessageRefused {
            message: step.message,
            member: step.member.clone(),
            reason: refusal(*reason).to_owned(),
            retried: *again || is_passing(*reason),
        },
        RelayEvent::MessageStopped { message, member: Some(member), why, .. } => {
            Event::MessageStopped { message: *message, member: member.clone(), reason: why.to_string() }
        }
        RelayEvent::MessageStopped { message, member: None, why, .. } => Event::Notice {
            code: "message-stopped".to_owned(),
            text: format!("message {} goes no further: {why}", message.short()),
        },
        RelayEvent::StatementArrived { statement, member, .. } => {
            Event::StatementMade { message: statement.answers, member: member.clone(), word: statement.word }
        }
        // Steps on the way, statements of this node's own, and what the caller is told directly.
        RelayEvent::MessageQueued { .. }
        | RelayEvent::MessageSealed(_)
        | RelayEvent::MessageSent(_)
        | RelayEvent::MessageExpired { .. }
        | RelayEvent::SubmitRefused { .. } => return None,
    })
}

fn own_event(event: &Happened) -> Event {
    match event {
        Happened::PeerConnected { member, node } => {
            Event::PeerConnected { member: member.clone(), node: *node }
        }
        Happened::PeerDisconnected { member, node } => {
            Event::PeerDisconnected { member: member.clone(), node: *node, reason: None }
        }
        Happened::DirectoryChanged { member, .. } => Event::DirectoryChanged { member: member.clone() },
        Happened::CharterChanged { .. } => Event::MembershipChanged { member: None },
        Happened::KeySetChanged { member } => Event::MembershipChanged { member: Some(member.clone()) },
        Happened::ForkSeen { member, node, sequence, .. } => Event::ForkFound {
            member: Some(member.clone()),
            what: format!("node {} said two things at place {sequence} of its chain", node.short()),
        },
        Happened::Published { kind, sequence } => Event::Published { chain: *kind, sequence: *sequence },
        Happened::TwinSeen => Event::TwinSeen,
        Happened::ClockJudged { right, offset_millis } => {
            Event::ClockJudged { right: *right, offset_ms: *offset_millis }
        }
        // Told by `relayed_event`.
        Happened::Relay(_) => Event::Notice { code: "relay".to_owned(), text: String::new() },
    }
}
