//! What people do: they send, acknowledge, publish, and renew key sets and charters.

use std::time::Duration;

use refpoint_protocol::{
    directory::{header::ChainKind, reference_point::ReferencePoint},
    ids::{HeaderId, MemberCode, MessageId},
    machine::{Command, CommandRefused, Input, Reply},
    message::{
        body::{Body, Statement, Tlp, Word},
        draft::{Draft, StatementDraft},
        header::Precedence,
    },
    redact::Redacted,
    relay::exchange::CommandId,
    testing::chains,
};

use super::{Sim, event::Event, invariants, ledger::Asked};

/// Something that a person does at a node.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Send {
        node: usize,
    },
    Acknowledge {
        node: usize,
        message: MessageId,
    },
    Publish {
        node: usize,
    },
    /// A root key's owner renews some member's key set.
    KeySet,
}

impl Sim {
    pub(crate) fn plan_people(&mut self) {
        for node in 0..self.nodes.len() {
            let wait = self.draw.wait(BETWEEN_MESSAGES);
            self.agenda.plan(self.now + wait, Event::Deed(Deed::Send { node }));
            let wait = self.draw.within(60_000..600_000);
            self.agenda.plan(self.now + wait, Event::Deed(Deed::Publish { node }));
        }
        let wait = self.draw.wait(BETWEEN_KEY_SETS);
        self.agenda.plan(self.now + wait, Event::Deed(Deed::KeySet));
    }

    pub(crate) fn on_deed(&mut self, deed: Deed) {
        match deed {
            Deed::Send { node } => {
                let wait = self.draw.wait(BETWEEN_MESSAGES);
                self.agenda.plan(self.now + wait, Event::Deed(Deed::Send { node }));
                if self.nodes[node].is_up() {
                    self.send_message(node);
                }
            }
            Deed::Acknowledge { node, message } => {
                if self.nodes[node].is_up() {
                    self.acknowledge(node, message);
                }
            }
            Deed::Publish { node } => {
                let wait = self.draw.wait(BETWEEN_ENTRIES);
                self.agenda.plan(self.now + wait, Event::Deed(Deed::Publish { node }));
                if self.nodes[node].is_up() {
                    let entry = self.entry();
                    self.command(node, Command::Publish(Box::new(entry)), Asked::Other);
                }
            }
            Deed::KeySet => {
                let wait = self.draw.wait(BETWEEN_KEY_SETS);
                self.agenda.plan(self.now + wait, Event::Deed(Deed::KeySet));
                let unit = self.draw.below(self.units.len());
                self.renew_key_set(unit);
            }
        }
    }

    /// A message became known at a node: perhaps somebody takes it.
    pub(crate) fn noticed(&mut self, node: usize, message: MessageId) {
        if self.draw.chance(1, 2) {
            let wait = self.draw.within(5_000..1_800_000);
            self.agenda.plan(self.now + wait, Event::Deed(Deed::Acknowledge { node, message }));
        }
    }

    pub(crate) fn on_reply(&mut self, node: usize, id: CommandId, reply: Result<Reply, CommandRefused>) {
        let Some(asked) = self.ledger.asked.remove(&id) else {
            return self.violate(invariants::ONE_ANSWER, format!("{id:?} is answered twice"));
        };
        match (asked, reply) {
            (Asked::Send { lifetime, recipients }, Ok(Reply::Queued { message })) => {
                invariants::on_queued(self, node, message);
                if self.nodes[node].is_honest() {
                    self.counts.messages += 1;
                    self.ledger.queued(node, message, self.now, lifetime, recipients);
                }
            }
            (Asked::Send { .. }, Err(_)) => self.counts.add("message-refused"),
            (Asked::Other | Asked::Send { .. }, _) => {}
        }
    }

    pub(crate) fn command(&mut self, node: usize, command: Command, asked: Asked) {
        let id = CommandId(self.token());
        self.ledger.asked.insert(id, asked);
        self.handle(node, Input::Command { id, command });
    }

    fn send_message(&mut self, node: usize) {
        let count = if self.draw.chance(1, 8) { self.draw.within(2..9) } else { 1 } as usize;
        let own = self.nodes[node].member.clone();
        let mut recipients: Vec<MemberCode> = (0..count)
            .map(|_| self.units[self.draw.below(self.units.len())].code.clone())
            .filter(|code| *code != own)
            .collect();
        recipients.sort();
        recipients.dedup();
        if recipients.is_empty() {
            return;
        }
        let precedence =
            [Precedence::Flash, Precedence::Immediate, Precedence::Priority, Precedence::Routine];
        let precedence = self.draw.pick(&precedence).unwrap();
        let lifetime = match self.draw.below(10) {
            0 => Duration::from_millis(self.draw.within(600_000..7_200_000)),
            _ => Duration::from_secs(72 * 3_600),
        };
        let units = recipients.iter().map(|code| self.unit_of(code)).collect();
        let length = if self.draw.chance(1, 30) { 60_000 } else { self.draw.below(600) };
        let body = Body {
            tlp: Tlp::Amber,
            text: Some(Redacted("x".repeat(length))),
            reference: None,
            attachments: Vec::new(),
            statement: None,
            drill: false,
            form: None,
        };
        let draft = Box::new(Draft { recipients, precedence, lifetime: Some(lifetime), body });
        self.command(node, Command::Send(draft), Asked::Send { lifetime, recipients: units });
    }

    fn acknowledge(&mut self, node: usize, answers: MessageId) {
        let statement = Statement {
            answers,
            word: Word::Acknowledged,
            role: Redacted("duty officer".into()),
            will: Some(true),
            form: None,
            by: None,
        };
        let draft = Box::new(StatementDraft { statement, text: None });
        self.counts.add("acknowledgement");
        self.command(node, Command::State(draft), Asked::Other);
    }

    pub(crate) fn entry(&mut self) -> ReferencePoint {
        chains::reference_point(self.draw.below(200) as u8 + 1)
    }

    /// The root signs the next key set of a member with the same nodes, and an operator hands it to one.
    fn renew_key_set(&mut self, unit: usize) {
        let node = self.units[unit].nodes[0];
        if !self.nodes[node].is_up() || !self.nodes[node].is_honest() {
            return;
        }
        let last = std::sync::Arc::clone(&self.units[unit].key_set);
        let named = |kind: ChainKind| -> Option<HeaderId> {
            let machine = self.nodes[node].machine.as_ref()?;
            let chains = machine.evidence().chains();
            let key_set = last.id().into();
            let of_node = chains.of_node(self.nodes[node].key);
            let mut own = of_node.filter(|(key, _)| key.kind == kind && key.key_set == key_set);
            own.next().and_then(|(_, chain)| chain.newest()).map(|info| info.id)
        };
        let (record, point) = (named(ChainKind::NodeRecord), named(ChainKind::ReferencePoint));
        let root = self.founded.root(&self.units[unit].code, 0);
        let issued = self.clock_now();
        let key = self.nodes[node].key;
        let change = |set: &mut refpoint_protocol::membership::key_set::KeySet| {
            set.issued = issued;
            for entry in set.nodes.iter_mut().filter(|entry| entry.key == key) {
                (entry.node_record, entry.reference_point) = (record, point);
            }
        };
        let next = self.founded.next_key_set(&[&last], change, &root);
        self.units[unit].key_set = std::sync::Arc::clone(&next);
        self.counts.add("key-set-renewed");
        self.import(node, refpoint_protocol::evidence::AnyDocument::KeySet(next));
    }

    pub(crate) fn clock_now(&self) -> refpoint_protocol::time::Timestamp {
        refpoint_protocol::time::Timestamp::from_millis(self.now)
    }

    pub(crate) fn import(&mut self, node: usize, document: refpoint_protocol::evidence::AnyDocument) {
        use refpoint_protocol::machine::{Batch, Carriage};
        let documents = vec![Ok(document)];
        let batch = Batch { from: None, documents, bodies: Vec::new(), carriage: Carriage::Hand };
        self.command(node, Command::Import(batch), Asked::Other);
    }
}

/// Between two messages of one node.
const BETWEEN_MESSAGES: Duration = Duration::from_secs(30 * 60);

/// Between two changes of one node's reference point.
const BETWEEN_ENTRIES: Duration = Duration::from_secs(12 * 3_600);

/// Between two key sets in the whole federation.
const BETWEEN_KEY_SETS: Duration = Duration::from_secs(45 * 60);
