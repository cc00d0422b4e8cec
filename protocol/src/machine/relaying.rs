//! The relay's place in the machine: its orders become the node's, its facts become events and replies.

use std::time::Duration;

use super::{
    Command, CommandRefused, Effect, Event, Machine, Reply,
    book::{BookClock, EvidenceBook},
};
use crate::{
    limits::EXPIRY_DEFAULT,
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
        let mut ordered = self.relay.handle(now, input, &book);
        let is_refusable =
            |effect: &RelayEffect| matches!(effect, RelayEffect::Persist { ticket: Some(_), .. });
        // What the relay orders stays in its order, so all that follows waits too.
        let first = if self.refusable.is_empty() { ordered.iter().position(is_refusable) } else { Some(0) };
        self.refusable.extend(first.map(|first| ordered.split_off(first)).into_iter().flatten());
        for effect in ordered {
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
        match event {
            // Whoever asked is told, and nobody else: nothing happened.
            RelayEvent::SubmitRefused { command, why } => {
                return effects.push(Effect::Reply { id: command, reply: Err(CommandRefused::Submit(why)) });
            }
            RelayEvent::MessageQueued { message, command: Some(command), ref recipients, .. } => {
                // What is queued is there: its reply says all that whoever asked is told, since a node may stop after it.
                if let Some((created, expires)) = self.relay.sent_between(&message) {
                    let recipients = recipients.clone();
                    let reply = Reply::Queued { message, created, expires, recipients };
                    effects.push(Effect::Reply { id: command, reply: Ok(reply) });
                } else {
                    self.bug(format!("{} is queued and nowhere", message.short()));
                }
            }
            _ => {}
        }
        self.emit(now, Event::Relay(event), effects);
    }

    /// Refuses what would have expired by the members' clocks before it is sent, if this node knows that its own
    /// clock is wrong: nobody would take it, and its sender would wait for an answer.
    fn expired_before(&self, now: Timestamp, lifetime: Option<Duration>) -> Option<CommandRefused> {
        let asked = self.evidence.membership().witnesses_asked(&self.config.member);
        let ahead = self.clocks.median_offset(now, asked).filter(|_| self.clocks.is_wrong(now, asked))?;
        let behind = u64::try_from(ahead).ok()?;
        let is_past = Duration::from_millis(behind) >= lifetime.unwrap_or(EXPIRY_DEFAULT);
        is_past.then_some(CommandRefused::ExpiredBefore(behind))
    }

    pub(super) fn on_command(
        &mut self,
        now: Timestamp,
        id: CommandId,
        command: Command,
        effects: &mut Vec<Effect>,
    ) {
        match command {
            Command::Send(draft) => match self.expired_before(now, draft.lifetime) {
                Some(refused) => effects.push(Effect::Reply { id, reply: Err(refused) }),
                None => self.relay(now, RelayInput::Submit { command: id, draft }, effects),
            },
            Command::State(draft) => match self.expired_before(now, None) {
                Some(refused) => effects.push(Effect::Reply { id, reply: Err(refused) }),
                None => self.relay(now, RelayInput::State { command: id, draft }, effects),
            },
            Command::Publish(entry) => self.publish_entry(now, id, *entry, effects),
            Command::Resume => self.resume(now, id, effects),
            Command::Import(batch) => self.import(now, id, batch, effects),
        }
    }
}
