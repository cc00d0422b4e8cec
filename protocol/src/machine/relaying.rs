//! The relay's place in the machine: its orders become the node's, its facts become events and replies.

use super::{
    Command, CommandRefused, Effect, Event, Machine, Reply,
    book::{BookClock, EvidenceBook},
};
use crate::{
    relay::{
        event::RelayEvent,
        exchange::{CommandId, RelayEffect, RelayInput},
    },
    time::Timestamp,
};

impl Machine {
    pub(super) fn relay(&mut self, now: Timestamp, input: RelayInput, effects: &mut Vec<Effect>) {
        let clock =
            BookClock { witnesses: &self.clocks, own: &self.config.member, started: self.started, now };
        let book = EvidenceBook::new(&self.evidence, Some(clock));
        for effect in self.relay.handle(now, input, &book) {
            self.carry_relay_effect(now, effect, effects);
        }
    }

    pub(super) fn carry_relay_effect(
        &mut self,
        now: Timestamp,
        effect: RelayEffect,
        effects: &mut Vec<Effect>,
    ) {
        match effect {
            RelayEffect::Persist { grade, changes, ticket } => {
                effects.push(Effect::Persist { grade, changes, ticket });
            }
            RelayEffect::Send { to, frame, class, after } => {
                effects.push(Effect::Send { to, class, frame, after });
            }
            RelayEffect::Work(job) => effects.push(Effect::Work(job)),
            RelayEffect::FetchKeySet { from, member: _ } => self.start_repair(now, from, effects),
            RelayEffect::Emit(event) => self.on_relay_event(now, event, effects),
            RelayEffect::Fault { from, fault } => {
                // The rest is what networks and lagging directories do, and nobody's fault.
                if fault.is_penalised() {
                    self.fault(now, Some(from), fault.rule(), &fault.to_string(), effects);
                }
            }
        }
    }

    fn on_relay_event(&mut self, now: Timestamp, event: RelayEvent, effects: &mut Vec<Effect>) {
        match &event {
            RelayEvent::MessageQueued { message, command: Some(command), .. } => {
                effects.push(Effect::Reply { id: *command, reply: Ok(Reply::Queued { message: *message }) });
            }
            RelayEvent::SubmitRefused { command, why } => {
                let reply = Err(CommandRefused::Submit(why.clone()));
                effects.push(Effect::Reply { id: *command, reply });
            }
            _ => {}
        }
        self.emit(now, Event::Relay(event), effects);
    }

    pub(super) fn on_command(
        &mut self,
        now: Timestamp,
        id: CommandId,
        command: Command,
        effects: &mut Vec<Effect>,
    ) {
        match command {
            Command::Send(draft) => self.relay(now, RelayInput::Submit { command: id, draft }, effects),
            Command::State(draft) => self.relay(now, RelayInput::State { command: id, draft }, effects),
            Command::Publish(entry) => self.publish_entry(now, id, *entry, effects),
            Command::Resume => self.resume(now, id, effects),
            Command::Import(batch) => self.import(now, id, batch, effects),
        }
    }
}
