//! What people do in the virtual network, and what they see.

use std::time::Duration;

use refpoint_protocol::{
    ids::MessageId,
    message::{
        body::{Body, Statement, Tlp, Word},
        draft::{Draft, StatementDraft},
        header::Precedence,
    },
    redact::Redacted,
    relay::{
        Relay,
        event::RelayEvent,
        exchange::{CommandId, RelayInput},
        views::{MessageView, RecipientState, SentView},
    },
};

use super::{World, code};

impl World {
    /// Sends a message and returns its id; `None` if it was not queued.
    pub(in super::super) fn submit(
        &mut self,
        name: &'static str,
        recipients: &[&str],
        precedence: Precedence,
    ) -> Option<MessageId> {
        let before = self.nodes[name].events.len();
        let draft = draft(recipients, precedence, "a request");
        self.sequence += 1;
        let command = CommandId(self.sequence);
        self.input(name, RelayInput::Submit { command, draft: Box::new(draft) });
        self.run(Duration::from_millis(2));
        let queued = |event: &RelayEvent| match event {
            RelayEvent::MessageQueued { message, command: Some(c), .. } if *c == command => Some(*message),
            _ => None,
        };
        self.nodes[name].events[before..].iter().find_map(queued)
    }

    /// Says something of a message.
    pub(in super::super) fn state(&mut self, name: &'static str, answers: MessageId, word: Word) {
        let will = (word == Word::Acknowledged).then_some(true);
        let role = Redacted("duty officer".into());
        let statement = Statement { answers, word, role, will, form: None, by: None };
        self.sequence += 1;
        let draft = Box::new(StatementDraft { statement, text: None });
        self.input(name, RelayInput::State { command: CommandId(self.sequence), draft });
        self.settle();
    }

    pub(in super::super) fn relay(&self, name: &str) -> &Relay {
        self.nodes[name].relay.as_ref().unwrap()
    }

    pub(in super::super) fn sent(&self, name: &str, message: MessageId) -> SentView {
        match self.relay(name).message(&message) {
            Some(MessageView::Sent(view)) => view,
            other => panic!("{name} did not send it: {other:?}"),
        }
    }

    /// How far a message got with the first recipient.
    pub(in super::super) fn reached(&self, name: &str, message: MessageId) -> RecipientState {
        self.sent(name, message).recipients[0].state
    }

    pub(in super::super) fn has(&self, name: &str, message: MessageId) -> bool {
        matches!(self.relay(name).message(&message), Some(MessageView::Received(_)))
    }

    /// How often a node told of a message's arrival.
    pub(in super::super) fn arrivals(&self, name: &str, id: MessageId) -> usize {
        let arrived = |event: &&RelayEvent| matches!(event, RelayEvent::MessageArrived { message, .. } if *message == id);
        self.nodes[name].events.iter().filter(arrived).count()
    }
}

pub(in super::super) fn draft(recipients: &[&str], precedence: Precedence, text: &str) -> Draft {
    Draft {
        recipients: recipients.iter().map(|member| code(member)).collect(),
        precedence,
        lifetime: None,
        body: Body {
            tlp: Tlp::Amber,
            text: Some(Redacted(text.into())),
            reference: None,
            attachments: Vec::new(),
            statement: None,
            drill: false,
            form: None,
        },
    }
}
