//! What becomes of a message just sent, by the stream of events: delivered is a machine's word, acknowledged a
//! person's. It prints nothing.

use std::collections::BTreeMap;

use refpoint_protocol::{
    ids::{MemberCode, MessageId},
    message::body::Word,
};
use serde::Serialize;
use tokio::time::{Instant as Deadline, timeout_at};

use crate::{
    api::{
        backend::IdPrefix,
        views::{
            event::Event,
            message::{PersonWord, RecipientState},
            receipt::MachineWord,
        },
    },
    client::{Client, ClientError, Followed, FollowedEvents, StreamItem},
};

/// Where a message stands with each recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    /// By recipient.
    pub(super) recipients: BTreeMap<MemberCode, Standing>,
}

/// Where it stands with one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    /// Machine: its node has it on its disk.
    pub(super) delivered: bool,
    /// Person: somebody there has taken it.
    pub(super) acknowledged: bool,
    /// What that person said: the role, and whether, how and when it will be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) person: Option<PersonWord>,
    /// Machine: other members' nodes keep it, and how many of those asked. This is no delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) custody: Option<String>,
    /// Why it will not be delivered any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Goal {
    /// Until each recipient's node has it on its disk (a machine's word).
    Delivered,
    /// Until a person at each recipient has taken it.
    Acknowledged,
}

impl Outcome {
    pub(super) fn new(recipients: impl IntoIterator<Item = MemberCode>) -> Self {
        Self { recipients: recipients.into_iter().map(|member| (member, Standing::default())).collect() }
    }

    /// Whether each recipient has reached the goal.
    pub(super) fn has_reached(&self, goal: Goal) -> bool {
        self.recipients.values().all(|standing| standing.has_reached(goal))
    }

    /// Whether nothing more can come of waiting.
    fn is_settled(&self, goal: Goal) -> bool {
        self.recipients.values().all(|standing| standing.failed.is_some() || standing.has_reached(goal))
    }

    /// Recipients of whom neither a machine nor a person has said that it arrived.
    pub(super) fn undelivered(&self) -> impl Iterator<Item = (&MemberCode, &Standing)> {
        self.recipients.iter().filter(|(_, standing)| !standing.delivered && !standing.acknowledged)
    }

    /// Follows events until the goal is reached or out of reach, or the deadline has passed. Each change is told.
    pub(super) async fn follow(
        &mut self,
        message: MessageId,
        goal: Goal,
        deadline: Deadline,
        events: &mut FollowedEvents,
        client: &Client,
        mut changed: impl FnMut(&MemberCode, &Standing),
    ) -> Result<(), ClientError> {
        let mut must_look = false;
        while !self.is_settled(goal) {
            let next = async {
                if std::mem::take(&mut must_look) {
                    // Events may be missing: the receipts say what they said.
                    match client.receipts(&prefix(message)?).await {
                        Ok(receipts) => return Ok(Next::Look(receipts.recipients)),
                        Err(ClientError::NotRunning { .. } | ClientError::Broken(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                events.next().await.map(Next::Said)
            };
            let Ok(next) = timeout_at(deadline, next).await else { return Ok(()) };
            let before = self.clone();
            let next = next?;
            if let Next::Said(Followed::Item(StreamItem::Event(event))) = &next
                && matches!(event.event, Event::StatementMade { message: about, .. } if about == message)
                // The event says that a person spoke; who, and with what promise, the receipts say. Without
                // them the word stands alone.
                && let Ok(Ok(receipts)) = timeout_at(deadline, client.receipts(&prefix(message)?)).await
            {
                receipts.recipients.iter().for_each(|state| self.take_state(state));
            }
            match next {
                Next::Look(states) => states.iter().for_each(|state| self.take_state(state)),
                Next::Said(Followed::Item(StreamItem::Event(event))) => self.take(message, &event.event),
                Next::Said(Followed::Item(StreamItem::Gap(_)) | Followed::Back) => must_look = true,
                Next::Said(_) => {}
            }
            for (member, standing) in &self.recipients {
                if before.recipients.get(member) != Some(standing) {
                    changed(member, standing);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, about: MessageId, event: &Event) {
        match event {
            Event::MessageDelivered { message, member, .. } if *message == about => {
                self.change(member, |standing| standing.delivered = true);
            }
            Event::MessageInCustody { message, member, held, asked, .. } if *message == about => {
                self.change(member, |standing| standing.custody = Some(format!("{held} of {asked}")));
            }
            Event::StatementMade { message, member, word, .. } if *message == about => {
                let is_taken = *word != Word::Unacknowledged;
                self.change(member, |standing| standing.acknowledged |= is_taken);
            }
            Event::MessageRefused { message, member, reason, retried: false, .. }
            | Event::MessageStopped { message, member: Some(member), reason, .. }
                if *message == about =>
            {
                self.change(member, |standing| standing.failed = Some(reason.clone()));
            }
            Event::MessageStopped { message, member: None, reason, .. } if *message == about => {
                let missing = self.recipients.values_mut().filter(|standing| !standing.delivered);
                missing.for_each(|standing| standing.failed = Some(reason.clone()));
            }
            Event::MessageExpired { message, members, .. } if *message == about => {
                for member in members {
                    self.change(member, |standing| standing.failed = Some("it expired".to_owned()));
                }
            }
            _ => {}
        }
    }

    fn take_state(&mut self, state: &RecipientState) {
        let is_over =
            matches!(state.machine, MachineWord::Expired | MachineWord::Stopped | MachineWord::Undeliverable);
        self.change(&state.member, |standing| {
            standing.delivered |= state.is_delivered();
            standing.acknowledged |= state.is_acknowledged();
            standing.person = state.person.clone().or(standing.person.take());
            if is_over {
                standing.failed = Some(state.reason.clone().unwrap_or_else(|| "it stopped".to_owned()));
            }
        });
    }

    fn change(&mut self, member: &MemberCode, change: impl FnOnce(&mut Standing)) {
        if let Some(standing) = self.recipients.get_mut(member) {
            change(standing);
        }
    }
}

impl Standing {
    const fn has_reached(&self, goal: Goal) -> bool {
        match goal {
            // A person who has it has it, although the machine's receipt may still be on its way.
            Goal::Delivered => self.delivered || self.acknowledged,
            Goal::Acknowledged => self.acknowledged,
        }
    }
}

enum Next {
    Look(Vec<RecipientState>),
    Said(Followed),
}

fn prefix(message: MessageId) -> Result<IdPrefix, ClientError> {
    message.to_string().parse().map_err(|error: crate::api::backend::IdPrefixError| ClientError::Request {
        reason: error.to_string(),
    })
}
