//! What people do: they send, acknowledge, publish, and renew key sets and charters.

use std::{sync::Arc, time::Duration};

use refpoint_protocol::{
    directory::{
        header::ChainKind,
        own_chain::{Standing, StopReason},
        reference_point::ReferencePoint,
    },
    document::Verified,
    evidence::AnyDocument,
    ids::{HeaderId, MemberCode, MessageId, NodeKey},
    machine::{Batch, Carriage, Command, CommandRefused, Input, Reply},
    membership::key_set::KeySet,
    message::{
        body::{Body, Statement, Tlp, Word},
        draft::{Draft, StatementDraft},
        header::Precedence,
    },
    redact::Redacted,
    relay::exchange::CommandId,
    testing::chains,
    time::Timestamp,
};

use super::{Sim, event::Event, hostile::stolen_keys, invariants, ledger::Asked, rebuilding::carry_over};

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
    /// Some member's node is built anew with another key, since the old one was stolen.
    Replace,
    /// Some node whose messages others keep is gone for good, and its member builds it anew.
    Lose,
    /// The stewards suspend some member, or take one back, or contradict themselves.
    Charter,
}

impl Sim {
    pub(crate) fn plan_people(&mut self) {
        for node in 0..self.nodes.len() {
            self.plan_person(node);
        }
        let wait = self.draw.wait(BETWEEN_KEY_SETS);
        self.agenda.plan(self.now + wait, Event::Deed(Deed::KeySet));
        let wait = self.draw.wait(BETWEEN_CHARTERS);
        self.agenda.plan(self.now + wait, Event::Deed(Deed::Charter));
        if self.plan.faults {
            let wait = self.draw.wait(BETWEEN_LOSSES);
            self.agenda.plan(self.now + wait, Event::Deed(Deed::Lose));
        }
    }

    pub(crate) fn plan_person(&mut self, node: usize) {
        let wait = self.draw.wait(BETWEEN_MESSAGES);
        self.agenda.plan(self.now + wait, Event::Deed(Deed::Send { node }));
        let wait = self.draw.within(60_000..600_000);
        self.agenda.plan(self.now + wait, Event::Deed(Deed::Publish { node }));
    }

    /// Once faults stop, people put in order what no machine may: they hand over what a folder has lost of the
    /// files that they signed, end forks by a new key set, and start anew a node that met its twin.
    pub(crate) fn take_care(&mut self) {
        self.follow_settlements();
        // As often as not they leave two versions of the charter side by side.
        if self.tips.len() > 1 && self.draw.chance(1, 2) {
            self.merge_charters();
        }
        for charter in self.charters.clone() {
            let stewards = [self.units[0].nodes[0], self.units[1].nodes[0], self.units[2].nodes[0]];
            for node in stewards.into_iter().filter(|node| self.nodes[*node].is_up()).collect::<Vec<_>>() {
                self.import(node, AnyDocument::Charter(Arc::clone(&charter)));
            }
        }
        for unit in 0..self.units.len() {
            for node in self.units[unit].nodes.clone() {
                self.take_care_of(unit, node);
            }
        }
    }

    fn take_care_of(&mut self, unit: usize, node: usize) {
        if !self.nodes[node].is_up() || !self.nodes[node].is_honest() {
            return;
        }
        for key_set in self.units[unit].key_sets.clone() {
            self.import(node, AnyDocument::KeySet(key_set));
        }
        let now = self.nodes[node].clock.at(self.now);
        let standing = self.nodes[node].machine.as_ref().map(|machine| machine.standing(now));
        match standing {
            Some(Standing::Stopped(StopReason::Forked { .. })) => {
                self.counts.add("honest-fork-ended");
                self.renew_key_set(unit);
            }
            Some(Standing::Stopped(StopReason::Twin { .. })) => self.crash(node, "it met its twin"),
            _ => {}
        }
    }

    const fn is_hushed(&self) -> bool {
        self.calm && self.now >= self.hush
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
                if self.nodes[node].is_up() && !self.is_hushed() {
                    let entry = self.entry();
                    self.command(node, Command::Publish(Box::new(entry)), Asked::Other);
                }
            }
            Deed::KeySet => {
                let wait = self.draw.wait(BETWEEN_KEY_SETS);
                self.agenda.plan(self.now + wait, Event::Deed(Deed::KeySet));
                let unit = self.draw.below(self.units.len());
                if !self.is_hushed() {
                    self.renew_key_set(unit);
                }
            }
            Deed::Replace => stolen_keys::replace(self),
            Deed::Lose => {
                let wait = self.draw.wait(BETWEEN_LOSSES);
                self.agenda.plan(self.now + wait, Event::Deed(Deed::Lose));
                self.lose_for_good();
            }
            Deed::Charter => {
                let wait = self.draw.wait(BETWEEN_CHARTERS);
                self.agenda.plan(self.now + wait, Event::Deed(Deed::Charter));
                self.change_charter();
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
            (Asked::Send { lifetime, recipients }, Ok(Reply::Queued { message, .. })) => {
                invariants::on_queued(self, node, message);
                if self.nodes[node].is_honest() {
                    self.counts.messages += 1;
                    let told = self.nodes[node].clock.at(self.now).as_millis().min(self.now);
                    let expires = told + lifetime.as_millis() as u64;
                    self.ledger.queued(node, message, self.now, expires, recipients);
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

    pub(crate) fn send_message(&mut self, node: usize) {
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
        if !self.nodes[node].is_up() || !self.nodes[node].is_honest() || self.units[unit].suspended {
            return;
        }
        let last = Arc::clone(self.units[unit].key_sets.last().unwrap());
        let carried = self.carried_over(node, &last);
        let root = self.founded.root(&self.units[unit].code, 0);
        let issued = self.clock_now();
        let change = |set: &mut KeySet| {
            set.issued = issued;
            carry_over(set, &carried);
        };
        let next = self.founded.next_key_set(&[&last], change, &root);
        self.units[unit].key_sets.push(Arc::clone(&next));
        self.counts.add("key-set-renewed");
        self.import(node, AnyDocument::KeySet(next));
    }

    /// The last header that counts of a node's chain: the newest, or the one before a fork.
    pub(crate) fn last_header(
        &self,
        at: usize,
        of: NodeKey,
        key_set: &Verified<KeySet>,
        kind: ChainKind,
    ) -> Option<HeaderId> {
        let chains = self.nodes[at].machine.as_ref()?.evidence().chains();
        let of_node = chains.of_node(of);
        let (_, chain) =
            of_node.into_iter().find(|(key, _)| key.kind == kind && key.key_set == key_set.id().into())?;
        let fork = chain.fork().map(|fork| fork.sequence);
        let mut counting = chain.newest_first().filter(|info| fork.is_none_or(|fork| info.sequence < fork));
        counting.next().map(|info| info.id)
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    pub(crate) fn import(&mut self, node: usize, document: AnyDocument) {
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

/// Between two nodes that are gone for good, in the whole federation.
const BETWEEN_LOSSES: Duration = Duration::from_secs(15 * 60);

/// Between two charter versions.
const BETWEEN_CHARTERS: Duration = Duration::from_secs(45 * 60);
