//! Carries out what the machine orders, in order, once what it rests on is on disk.
//!
//! Nothing here waits for a peer: the network queues or says at once that it cannot, and what a repair lends is
//! loaded elsewhere. So one slow peer, a greedy one, or a full queue holds up nobody else's receipt.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use refpoint_protocol::{
    document::{Envelope, encode, sign},
    evidence::{
        push::Pushed,
        repair::{Documents, RepairRequest, RepairResponse, Taken},
    },
    ids::{DocumentId, NodeKey},
    machine::{AnswerToken, AskTicket, CommandRefused, Effect, Ended, Input, PushToken, Reply, Verdict},
    relay::{
        exchange::{CommandId, Outgoing, RelayInput, Ticket},
        parcel::Class,
    },
};
use serde_bytes::ByteBuf;
use tokio::sync::{mpsc, oneshot};

use super::{
    commit::{Outcome, Ready},
    doors::Order,
    events::EventLog,
    jobs::Workshop,
    journal::JournalKeeper,
    lending::{Desk, Loan, Purpose},
    logged, own,
    tokens::Tokens,
};
use crate::network::{self, GossipToken, Network, ResponseToken};

/// Who waits for the answer of a command.
pub(super) type Waiting = Arc<std::sync::Mutex<BTreeMap<CommandId, oneshot::Sender<CommandResult>>>>;

/// What a command is answered.
pub type CommandResult = Result<Reply, CommandRefused>;

/// The task that carries out.
pub(super) struct Carrier {
    pub(super) network: Network,
    pub(super) workshop: Workshop,
    pub(super) journal: JournalKeeper,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) events: EventLog,
    pub(super) waiting: Waiting,
    pub(super) pushes: Tokens<PushToken, GossipToken>,
    pub(super) answers: Tokens<AnswerToken, ResponseToken>,
    pub(super) desk: Desk,
    pub(super) presence: Arc<arc_swap::ArcSwap<refpoint_protocol::introduction::Presence>>,
    pub(super) parcels: Parcels,
    pub(super) hints: Vec<crate::network::Address>,
    /// Writes that were refused for lack of room: what rests on them is not said.
    pub(super) refused: BTreeSet<Ticket>,
}

/// Remembers for which message a frame's ticket stands, so that a failed one is told to the relay.
pub(super) type Parcels = Arc<std::sync::Mutex<SentParcels>>;

/// The parcels most recently handed to the network.
#[derive(Default)]
pub(super) struct SentParcels {
    next: u64,
    sent: BTreeMap<u64, refpoint_protocol::ids::MessageId>,
}

impl SentParcels {
    fn add(&mut self, message: refpoint_protocol::ids::MessageId) -> u64 {
        self.next += 1;
        self.sent.insert(self.next, message);
        while self.sent.len() > SENT_KEPT {
            self.sent.pop_first();
        }
        self.next
    }

    /// The message whose parcel had this ticket, unless it was too long ago: the relay's own retry covers it.
    pub(super) fn take(&mut self, ticket: u64) -> Option<refpoint_protocol::ids::MessageId> {
        self.sent.remove(&ticket)
    }
}

impl Carrier {
    /// Runs until the machine's side is gone, or storage fails: then the error is returned and the node stops.
    pub(super) async fn run(
        mut self,
        mut batches: mpsc::UnboundedReceiver<Ready>,
    ) -> Result<(), crate::store::StoreError> {
        while let Some(ready) = batches.recv().await {
            match ready.outcome {
                Outcome::Stored(effects) => {
                    for effect in effects {
                        self.carry(effect).await;
                    }
                }
                Outcome::NoRoom(tickets) => {
                    tracing::warn!(messages = tickets.len(), "the disk is full: messages were refused");
                    self.refused.extend(&tickets);
                    while self.refused.len() > REFUSED_KEPT {
                        self.refused.pop_first();
                    }
                    for ticket in tickets {
                        self.tell(Input::Relay(RelayInput::StorageRefused { ticket }));
                    }
                }
                Outcome::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn carry(&mut self, effect: Effect) {
        match effect {
            // Stored by the commit, or started at once by the core.
            Effect::Persist { .. } | Effect::Work(_) | Effect::Verify { .. } => {}
            Effect::Send { after: Some(write), .. } if self.refused.contains(&write) => {}
            Effect::Send { to, class, frame, after: _ } => self.send(to, class, frame),
            Effect::Push { document, body } => self.push((*document).clone(), body).await,
            Effect::PushStored(ids) => {
                for envelope in self.envelopes(&ids).into_iter().flatten() {
                    self.push(Arc::unwrap_or_clone(envelope), None).await;
                }
            }
            Effect::Judge { token, verdict } => self.judge(token, verdict).await,
            Effect::Ask { to, ticket, request } => self.ask(to, ticket, request).await,
            Effect::Give { to, ticket, documents, bodies } => {
                let loan = Loan { purpose: Purpose::Give(ticket), documents, bodies };
                if !self.desk.ask(to, loan) {
                    self.tell(Input::RepairAnswered { from: to, ticket, answer: None });
                }
            }
            Effect::Answer { token, answer } => self.answer(token, answer).await,
            Effect::Serve { to, token, documents, bodies } => {
                let loan = Loan { purpose: Purpose::Answer(token), documents, bodies };
                if !self.desk.ask(to, loan) {
                    self.answer(token, RepairResponse::Busy(Taken {})).await;
                }
            }
            Effect::SignHeader { kind, header, body } => {
                let input = own::sign_header(&self.workshop.identity, kind, header, body);
                self.tell_or_log(input);
            }
            Effect::SignHead(head) => {
                // The journal is read and synced, and nothing else waits for that.
                let (identity, journal) = (Arc::clone(&self.workshop.identity), self.journal.clone());
                let orders = self.orders.clone();
                tokio::task::spawn_blocking(move || match own::sign_head(&identity, &journal, head) {
                    Ok(input) => tell(&orders, input),
                    Err(error) => tracing::error!(error, "a head was not signed"),
                });
            }
            Effect::MakeSealingKey { from, until } => {
                let (workshop, orders) = (self.workshop.clone(), self.orders.clone());
                tokio::spawn(async move {
                    while let Err(error) = own::sealing_key_made(&workshop, &orders, from, until).await {
                        tracing::error!(%error, "no sealing key was made; it is tried again");
                        tokio::time::sleep(SEALING_KEY_RETRY).await;
                    }
                });
            }
            Effect::DestroySeed(id) => self.workshop.seeds.destroy(id),
            Effect::Aim(targets) => {
                let targets = targets.into_iter().filter_map(own::network_target).collect();
                self.stopped(self.network.aim(targets, self.hints.clone()).await);
            }
            Effect::Present(presence) => self.presence.store(presence),
            Effect::Disconnect { node, why: Ended::Key { proof } } => {
                self.disconnect(node, &proof, "its key is no longer active".to_owned());
            }
            Effect::Disconnect { node, why: Ended::Faults { rule } } => {
                self.disconnect(node, &[], format!("it broke too many rules, the last {rule}"));
            }
            Effect::Emit(event) => {
                logged::log(&event.event);
                self.events.publish(event);
            }
            Effect::Reply { id, reply } => {
                let waiting =
                    self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&id);
                // Whoever asked may have gone; what was done stands.
                let _unheard = waiting.map(|waiting| waiting.send(reply));
            }
            Effect::Report { from, rule, times, what } => {
                tracing::warn!(peer = %from.short(), rule, times, %what, "a peer broke a rule");
            }
        }
    }

    fn send(&self, to: NodeKey, class: Class, frame: Outgoing) {
        let message = match &frame {
            Outgoing::Parcel(parcel) => Some(parcel.label.message),
            _ => None,
        };
        let identity = &self.workshop.identity;
        let frame = match frame
            .into_frame(|receipt| sign(receipt, Some(identity.federation), &[&identity.signing]))
        {
            Ok(frame) => frame,
            Err(error) => return tracing::error!(%error, "a receipt cannot be encoded"),
        };
        let ticket = message.map_or(0, |message| {
            self.parcels.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(message)
        });
        if let Err(why) = self.network.send(to, class, frame, network::Ticket(ticket)) {
            tracing::debug!(peer = %to.short(), %why, "a frame was not sent");
            if let Some(message) = message {
                self.tell(Input::Relay(RelayInput::SendFailed { to, message }));
            }
        }
    }

    async fn push(&self, document: Envelope, body: Option<Vec<u8>>) {
        match encode(&Pushed { document, body: body.map(ByteBuf::from) }) {
            Ok(data) => self.stopped(self.network.publish(data).await),
            Err(error) => tracing::error!(%error, "a document cannot be pushed"),
        }
    }

    async fn judge(&self, token: PushToken, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::Accept => network::Verdict::Accept,
            Verdict::Ignore => network::Verdict::Ignore,
            Verdict::Reject => network::Verdict::Reject,
        };
        if let Some(token) = self.pushes.take(token) {
            self.stopped(self.network.verdict(token, verdict).await);
        }
    }

    async fn ask(&self, to: NodeKey, ticket: AskTicket, request: RepairRequest) {
        self.stopped(self.network.request(to, request, network::Ticket(ticket.0)).await);
    }

    async fn answer(&self, token: AnswerToken, answer: RepairResponse) {
        if let Some(token) = self.answers.take(token) {
            self.stopped(self.network.respond(token, answer).await);
        }
    }

    /// Tells a node why, gives it a moment to hear it, and closes.
    fn disconnect(&self, node: NodeKey, proof: &[DocumentId], why: String) {
        let proof = self.envelopes(proof);
        let network = self.network.clone();
        tokio::spawn(async move {
            if !proof.is_empty() {
                let give = RepairRequest::Give(Documents::pack(proof, Vec::new()).documents);
                if network.request(node, give, network::Ticket(0)).await.is_ok() {
                    tokio::time::sleep(PROOF_TIME).await;
                }
            }
            if network.disconnect(node, why).await.is_err() {
                tracing::debug!("the network had stopped");
            }
        });
    }

    /// One for each id, `None` where storage has it not.
    fn envelopes(&self, ids: &[DocumentId]) -> Vec<Option<Arc<Envelope>>> {
        let load = |id| super::load::envelope(self.workshop.store.as_ref(), id).map(Arc::new);
        ids.iter().map(load).collect()
    }

    fn tell(&self, input: Input) {
        tell(&self.orders, input);
    }

    fn tell_or_log(&self, input: Result<Input, String>) {
        match input {
            Ok(input) => self.tell(input),
            Err(error) => tracing::error!(%error, "an order could not be carried out"),
        }
    }

    fn stopped(&self, result: Result<(), network::Stopped>) {
        if result.is_err() {
            tracing::debug!("the network had stopped");
        }
    }
}

pub(super) fn tell(orders: &mpsc::UnboundedSender<Order>, input: Input) {
    if orders.send(Order::Input(input)).is_err() {
        tracing::debug!("the machine had stopped");
    }
}

/// Tickets of parcels remembered: all that can be in the network's queues.
const SENT_KEPT: usize = 16_384;

/// Refused writes remembered: what rests on one follows within the batches under way.
const REFUSED_KEPT: usize = 8_192;

/// How long after a failure, such as a full disk, a sealing key is made again.
const SEALING_KEY_RETRY: Duration = Duration::from_secs(1);

/// How long a peer whose key has ended may read the proof before the connection is closed.
const PROOF_TIME: Duration = Duration::from_millis(500);
