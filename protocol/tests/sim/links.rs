//! Connections: who dials whom, the introduction that decides, and how each side learns that one is gone.

use std::collections::VecDeque;

use refpoint_protocol::{
    document::Unverified,
    evidence::{
        AnyDocument,
        repair::{Documents, RepairRequest, RepairResponse},
    },
    ids::{DocumentId, MessageId, NodeKey},
    introduction::{Admitted, Introduction, LearnedDocument, Step},
    machine::{AskTicket, Batch, Carriage, Input},
    relay::{frame::RelayFrame, receipt::Receipt},
};

use super::{
    Ask, Sim,
    event::{Event, Payload},
    hostile, invariants,
    network::{Way, pair},
};

impl Sim {
    /// Sends something over the link of two nodes that are connected as the sender believes.
    pub(crate) fn dispatch(&mut self, from: usize, to: usize, way: Way, what: Payload) {
        let Some(id) = self.network.link(from, to).map(|link| link.id) else { return };
        if let Payload::Gossip(gossip) = &what {
            self.count_head(gossip);
            // It would be dropped: most copies of most gossip are.
            if self.has_seen(to, gossip) {
                return;
            }
        }
        let fate = self.network.send(self.now, from, to, way, &mut self.draw);
        fate.faults.iter().for_each(|fault| self.counts.add(fault));
        for at in fate.arrivals {
            self.agenda.plan(at, Event::Arrives { link: id, from, to, what: what.clone() });
        }
        if fate.breaks {
            self.break_link(from, to, [15_000, 35_000]);
        }
    }

    pub(crate) fn on_arrival(&mut self, link: u64, from: usize, to: usize, what: Payload) {
        let goes = self.network.link(from, to).is_some_and(|now| now.id == link && !now.broken);
        if !goes || !self.network.believes(to, from) || !self.nodes[to].is_up() {
            return;
        }
        hostile::records(self, to, from, &what);
        self.say(|| {
            let kind = match &what {
                Payload::Frame(frame) => match frame.as_ref() {
                    RelayFrame::Parcel(parcel) => format!("parcel {}", parcel.label.message.short()),
                    RelayFrame::Receipt(envelope) => Unverified::<Receipt>::open(envelope.clone())
                        .map_or_else(
                            |_| "receipt".into(),
                            |opened| {
                                let Receipt { message, word, node, .. } = opened.claimed();
                                format!("receipt {word:?} of {} by {}", message.short(), node.short())
                            },
                        ),
                    RelayFrame::Offer(offer) => format!("offer of {}", offer.count),
                    RelayFrame::OfferUnknown(_) => "offer-unknown".into(),
                    RelayFrame::OfferIds(ids) => format!("offer-ids {}", short(&ids.ids)),
                    RelayFrame::Lacking(lacking) => format!("lacking {}", short(&lacking.ids)),
                },
                Payload::Gossip(_) => "gossip".into(),
                Payload::Request { request, .. } => format!("request {}", asked(request)),
                Payload::Answer { answer, .. } => format!("answer {}", answered(answer)),
            };
            format!("{} has {kind} of {}", self.name(to), self.name(from))
        });
        match what {
            Payload::Frame(frame) => {
                if !hostile::swallows(self, to, from, &frame) {
                    let input = self.frame_input(self.nodes[from].key, *frame);
                    self.handle(to, input);
                }
            }
            Payload::Gossip(gossip) => self.take_gossip(from, to, gossip),
            Payload::Request { run, ticket, request } => {
                self.take_request(from, to, Ask { from, at: to, run, ticket }, *request);
            }
            Payload::Answer { run, ticket, answer } => {
                if self.waiting.remove(&(to, from, ticket)) && self.nodes[to].run == run {
                    let from = self.nodes[from].key;
                    self.handle(to, Input::RepairAnswered { from, ticket, answer: Some(*answer) });
                }
            }
        }
    }

    /// Nothing goes through a link any more; each side notices after a while of its own.
    pub(crate) fn break_link(&mut self, a: usize, b: usize, within: [u64; 2]) {
        let Some(link) = self.network.link_mut(a, b).filter(|link| !link.broken) else { return };
        link.broken = true;
        let id = link.id;
        for (at, other) in [(a, b), (b, a)] {
            let delay = self.draw.within(within[0]..within[1]);
            self.agenda.plan(self.now + delay, Event::Lost { at, other, link: id });
        }
    }

    pub(crate) fn on_lost(&mut self, at: usize, other: usize, link: u64) {
        if self.stale.remove(&(at, other, link)) {
            return self.on_spare_closed(at, other);
        }
        if !self.network.notice(at, other, link) {
            return;
        }
        self.say(|| format!("{} loses {}", self.name(at), self.name(other)));
        let (node, run) = (self.nodes[other].key, self.nodes[at].run);
        self.handle(at, Input::Disconnected { node });
        let waiting = self.waiting.range((at, other, AskTicket(0))..=(at, other, AskTicket(u64::MAX)));
        for (from, to, ticket) in waiting.copied().collect::<Vec<_>>() {
            self.agenda.plan(self.now, Event::Unanswered { from, to, run, ticket });
        }
        let delay = self.draw.within(200..3_000);
        self.plan_dial(at, other, delay);
    }

    /// An old connection is gone whose end came later than its successor: what was on it is lost, and the
    /// machine compares anew with the node.
    fn on_spare_closed(&mut self, at: usize, other: usize) {
        if !self.nodes[at].is_up() || !self.network.believes(at, other) {
            return;
        }
        let (node, member) = (self.nodes[other].key, self.nodes[other].member.clone());
        let remote_time = self.nodes[other].clock.at(self.now);
        self.handle(at, Input::Connected { node, member, remote_time, dialled: false });
    }

    /// The machine wants a node's connections closed, and the node told why.
    pub(crate) fn disconnect(&mut self, at: usize, node: NodeKey, proof: &[DocumentId]) {
        let Some(other) = self.index.get(&node).copied() else { return };
        if !self.network.believes(at, other) {
            return;
        }
        let proof = self.nodes[at].disk.envelopes(proof);
        if !proof.is_empty() {
            let give = RepairRequest::Give(Documents::pack(proof, Vec::new()).documents);
            let (run, ticket) = (self.nodes[at].run, AskTicket(0));
            let request = Box::new(give);
            self.dispatch(at, other, Way::Single, Payload::Request { run, ticket, request });
        }
        let Some(id) = self.network.link(at, other).map(|link| link.id) else { return };
        self.counts.add("cut-off");
        for (at, other) in [(at, other), (other, at)] {
            self.agenda.plan(self.now + 500, Event::Lost { at, other, link: id });
        }
    }

    pub(crate) fn plan_dial(&mut self, a: usize, b: usize, delay: u64) {
        if a == b || self.network.link(a, b).is_some_and(|link| link.up == [true, true]) {
            return;
        }
        let (a, b) = pair(a, b);
        let at = self.now + delay;
        let dial = self.dials.entry((a, b)).or_default();
        if dial.at.is_none_or(|planned| planned < self.now || planned > at) {
            dial.at = Some(at);
            self.agenda.plan(at, Event::Dial { a, b });
        }
    }

    pub(crate) fn on_dial(&mut self, a: usize, b: usize) {
        let Some(dial) = self.dials.get_mut(&(a, b)).filter(|dial| dial.at == Some(self.now)) else { return };
        dial.at = None;
        if !self.nodes[a].is_up() || !self.nodes[b].is_up() {
            // Whichever starts next dials.
            return;
        }
        let Some((dialler, listener)) = [(a, b), (b, a)].into_iter().find(|(x, y)| self.wants(*x, *y)) else {
            return;
        };
        let reached = !self.network.blocked(a, b) && !self.network.blocked(b, a);
        if reached && self.introduce(dialler, listener) {
            self.dials.insert((a, b), super::Dial::default());
            return;
        }
        let dial = self.dials.entry((a, b)).or_default();
        // Whoever was turned away does not ask again soon.
        dial.failed += if reached { 5 } else { 1 };
        let pause = (1_000u64 << dial.failed.min(9)).min(REDIAL_MAX);
        let delay = self.draw.within(pause / 2..pause + 1);
        self.plan_dial(a, b, delay);
    }

    /// Whether a node dials another: it is told to, or it knows an address and not whose it is.
    fn wants(&self, at: usize, other: usize) -> bool {
        if self.network.believes(at, other) {
            return false;
        }
        let (node, key) = (&self.nodes[at], self.nodes[other].key);
        let hinted = || {
            let evidence = node.machine.as_ref().map(|machine| machine.evidence());
            evidence.is_some_and(|evidence| evidence.membership().node(&key).is_none())
        };
        node.aim.contains(&key) || hinted() || hostile::dials(self, at)
    }

    /// Runs the introduction of two nodes; `true` if both let the other in.
    fn introduce(&mut self, dialler: usize, listener: usize) -> bool {
        let (d, l) = (&self.nodes[dialler], &self.nodes[listener]);
        let (Some(ours), Some(theirs)) = (d.presence.clone(), l.presence.clone()) else { return false };
        let (mut dial, first) = Introduction::dial(ours, l.key, d.clock.at(self.now));
        let mut listen = Introduction::listen(theirs, d.key, l.clock.at(self.now));
        let mut frames = VecDeque::from([(1, first)]);
        let mut admitted: [Option<Admitted>; 2] = [None, None];
        let mut fault = None;
        while let Some((to, frame)) = frames.pop_front() {
            let step = if to == 0 { dial.handle(frame) } else { listen.handle(frame) };
            match step {
                Step::Send(more) => frames.extend(more.into_iter().map(|frame| (1 - to, frame))),
                Step::Admit(more, other) => {
                    admitted[to] = Some(other);
                    frames.extend(more.into_iter().map(|frame| (1 - to, frame)));
                }
                Step::Refuse { answer, why: _ } => {
                    self.counts.add("refused-at-the-door");
                    frames.extend(answer.map(|frame| (1 - to, frame)));
                }
                Step::Refused { .. } => {}
                Step::Violation(error) => fault = Some(error.to_string()),
            }
        }
        if let Some(fault) = fault {
            invariants::on_introduction_fault(self, dialler, listener, &fault);
        }
        let learned = [dial.learned().to_vec(), listen.learned().to_vec()];
        let ends = [(dialler, listener), (listener, dialler)];
        let [Some(to_dialler), Some(to_listener)] = admitted else {
            for ((at, other), learned) in ends.into_iter().zip(learned) {
                self.learn(at, other, learned);
            }
            return false;
        };
        let before = ends.map(|(at, other)| self.network.believes(at, other));
        let old = self.network.link(dialler, listener).map(|link| link.id);
        self.network.join(dialler, listener, &mut self.draw);
        self.say(|| {
            format!("{} reaches {}, held up before: {before:?}", self.name(dialler), self.name(listener))
        });
        let introduced =
            ends.into_iter().zip(learned).zip([to_dialler, to_listener]).zip(before).zip([true, false]);
        for (((((at, other), learned), admitted), was_up), dialled) in introduced {
            self.learn(at, other, learned);
            if was_up {
                // It holds an older connection to be alive, so that this is a spare one and nobody is told.
                self.counts.add("silent-reconnection");
                self.stale.extend(old.map(|old| (at, other, old)));
                continue;
            }
            let Admitted { node, member, remote_time, .. } = admitted;
            self.handle(at, Input::Connected { node, member, remote_time, dialled });
            invariants::on_admission(self, at, other);
        }
        true
    }

    fn learn(&mut self, at: usize, other: usize, learned: Vec<LearnedDocument>) {
        if learned.is_empty() {
            return;
        }
        let (mut documents, mut bodies) = (Vec::new(), Vec::new());
        for document in learned {
            documents.push(match document {
                LearnedDocument::Charter(charter) => Ok(AnyDocument::Charter(charter)),
                LearnedDocument::Settlement(settlement) => {
                    self.counts.add("certificate-at-the-door");
                    self.count_certificate(settlement.envelope());
                    Ok(AnyDocument::Settlement(settlement))
                }
                LearnedDocument::KeySet(key_set) => Ok(AnyDocument::KeySet(key_set)),
                LearnedDocument::Record { header, body } => {
                    bodies.push(body);
                    self.memo.verify(&header, self.federation)
                }
            });
        }
        let from = Some(self.nodes[other].key);
        self.handle(at, Input::Documents(Batch { from, documents, bodies, carriage: Carriage::Hand }));
    }
}

/// Ids as a trace shows them.
fn short(ids: &[MessageId]) -> String {
    ids.iter().map(|id| id.short().to_string()).collect::<Vec<_>>().join(" ")
}

/// What a repair asks, as a trace shows it.
fn asked(request: &RepairRequest) -> String {
    match request {
        RepairRequest::Digest(_) => "digest".into(),
        RepairRequest::Positions(of) => format!("positions of {}", of.kind.name()),
        RepairRequest::Fetch(fetch) => format!("fetch {:?} {:?}", fetch.documents, fetch.bodies),
        RepairRequest::Chains(chains) => format!("chains {chains:?}"),
        RepairRequest::Give(given) => format!("gives {} and {}", given.envelopes.len(), given.bodies.len()),
    }
}

/// What a repair answers, as a trace shows it.
fn answered(answer: &RepairResponse) -> String {
    match answer {
        RepairResponse::Digest(_) => "digest".into(),
        RepairResponse::Positions(held) => format!("{} positions", held.positions.len()),
        RepairResponse::Documents(held) => format!("{} and {}", held.envelopes.len(), held.bodies.len()),
        RepairResponse::Taken(_) => "taken".into(),
        RepairResponse::Busy(_) => "busy".into(),
    }
}

/// The longest pause between two dials, in milliseconds.
const REDIAL_MAX: u64 = 480_000;
