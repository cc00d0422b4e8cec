//! What the network brings, verified before the machine's door.

use std::{
    collections::{BTreeSet, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use refpoint_protocol::{
    document::{Envelope, Kind, Unverified, Verified, VerifyError, encode},
    evidence::{AnyDocument, push::Pushed, verify_any, verify_brought},
    heads::{Head, verify_head},
    ids::{ContentHash, FederationId, MemberCode, NodeKey},
    introduction::{LearnedDocument, Presence},
    limits::FAULTS_PER_INTERVAL_MAX,
    machine::{AnswerToken, AskTicket, Batch, Carriage, Input, PushToken},
    relay::{exchange::RelayInput, frame::RelayFrame, parcel::Class, receipt::Receipt},
    storage::{Change, Table},
};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    carry::Parcels,
    dialled_in::DialledIn,
    doors::{Doors, Order},
    pool::{Pool, Source, Urgency},
    tokens::Tokens,
};
use crate::{
    network::{
        self, CosignAsked, Direction, GossipToken, InboundFrame, Network, NetworkEvent, NetworkEvents,
        ResponseToken,
    },
    store::Store,
};

/// Opens and verifies documents, and isolates those that make our own code fail.
#[derive(Clone)]
pub(crate) struct Verifier {
    federation: FederationId,
    quarantine: Arc<Mutex<Quarantine>>,
    store: Arc<dyn Store>,
    /// What this node holds, once it runs: it says what needs no verification.
    presence: Option<Arc<ArcSwap<Presence>>>,
}

#[derive(Default)]
struct Quarantine {
    hashes: BTreeSet<ContentHash>,
    order: VecDeque<ContentHash>,
}

impl Verifier {
    /// Starts with the hashes that storage kept.
    pub(super) fn new(
        federation: FederationId,
        kept: impl IntoIterator<Item = ContentHash>,
        store: Arc<dyn Store>,
    ) -> Self {
        let mut quarantine = Quarantine::default();
        for hash in kept {
            quarantine.add(hash);
        }
        Self { federation, quarantine: Arc::new(Mutex::new(quarantine)), store, presence: None }
    }

    /// Looks from now on at what the node holds, before it verifies what others bring.
    pub(super) fn knowing(self, presence: Arc<ArcSwap<Presence>>) -> Self {
        Self { presence: Some(presence), ..self }
    }

    /// Opens and verifies one envelope. One that makes the decoder panic is put in quarantine: 196 nodes run
    /// this program, and one poison record must not stop them all.
    pub(super) fn verify(&self, envelope: Envelope) -> Result<AnyDocument, VerifyError> {
        let federation = self.federation;
        self.isolating(envelope, |envelope| verify_any(envelope, federation))
    }

    /// The same of what a peer brought; `None` for what says no more than this node knows, which is nobody's fault.
    fn verify_brought(&self, envelope: Envelope) -> Option<Result<AnyDocument, VerifyError>> {
        let Some(presence) = &self.presence else { return Some(self.verify(envelope)) };
        let presence = presence.load_full();
        let verify = |envelope| verify_brought(envelope, &presence.trust).transpose();
        self.isolating(envelope, verify).transpose()
    }

    fn isolating<T>(
        &self,
        envelope: Envelope,
        verify: impl FnOnce(Envelope) -> Result<T, VerifyError>,
    ) -> Result<T, VerifyError> {
        let hash = hash_of(&envelope);
        let poison = || VerifyError::Newer { kind: "quarantined".to_owned(), version: 0 };
        if self.lock().hashes.contains(&hash) {
            return Err(poison());
        }
        std::panic::catch_unwind(AssertUnwindSafe(|| verify(envelope))).unwrap_or_else(|_| {
            tracing::error!(document = %hash.short(), "a document makes the decoder fail: quarantined");
            self.isolate(hash);
            Err(poison())
        })
    }

    /// Opens and verifies a head; one that makes the decoder panic is left alone.
    fn verify_head(&self, envelope: Envelope) -> Result<Verified<Head>, VerifyError> {
        let federation = self.federation;
        std::panic::catch_unwind(AssertUnwindSafe(|| verify_head(envelope, federation))).unwrap_or_else(
            |_| {
                tracing::error!("a head makes the decoder fail: left alone");
                Err(VerifyError::Newer { kind: "quarantined".to_owned(), version: 0 })
            },
        )
    }

    /// Verifies what a peer brought at once, in order. After as many failures as cut a peer off the rest is not
    /// looked at: it costs this node as much and its bearer nothing more.
    pub(super) fn verify_all(&self, envelopes: Vec<Envelope>) -> Vec<Result<AnyDocument, VerifyError>> {
        let is_fault = |result: &Result<_, VerifyError>| matches!(result, Err(error) if !matches!(error, VerifyError::Newer { .. }));
        let (mut verified, mut faults) = (Vec::new(), 0);
        for envelope in envelopes {
            if faults >= FAULTS_PER_INTERVAL_MAX {
                break;
            }
            let Some(result) = self.verify_brought(envelope) else { continue };
            faults += u64::from(is_fault(&result));
            verified.push(result);
        }
        verified
    }

    /// Remembers a poison document by its hash, over restarts too.
    fn isolate(&self, hash: ContentHash) {
        let mut changes = vec![Change::put(Table::Quarantine, *hash.as_bytes(), Vec::new())];
        let forgotten = self.lock().add(hash);
        changes.extend(forgotten.map(|oldest| Change::delete(Table::Quarantine, *oldest.as_bytes())));
        if let Err(error) = self.store.apply(&changes) {
            tracing::error!(%error, "the quarantine was not stored");
        }
    }

    /// How many documents are in quarantine.
    pub(super) fn quarantined(&self) -> usize {
        self.lock().hashes.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Quarantine> {
        self.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Quarantine {
    /// Adds a hash; returns the one that leaves for it.
    fn add(&mut self, hash: ContentHash) -> Option<ContentHash> {
        if self.hashes.insert(hash) {
            self.order.push_back(hash);
        }
        if self.order.len() <= QUARANTINE_MAX {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.hashes.remove(&oldest);
        Some(oldest)
    }
}

/// The task that reads the network's events.
pub(super) struct Ingest {
    pub(super) network: Network,
    /// This node's member.
    pub(super) own: MemberCode,
    pub(super) doors: Doors,
    pub(super) pool: Pool,
    pub(super) verifier: Verifier,
    pub(super) pushes: Tokens<PushToken, GossipToken>,
    pub(super) answers: Tokens<AnswerToken, ResponseToken>,
    pub(super) parcels: Parcels,
    pub(super) dialled_in: DialledIn,
    /// Requests to cosign.
    pub(super) witness: mpsc::Sender<CosignAsked>,
}

impl Ingest {
    /// Runs until the network has stopped or `stop` is cancelled: what comes after that is not taken in, and
    /// whoever sent it has no receipt for it.
    pub(super) async fn run(self, mut events: NetworkEvents, stop: CancellationToken) {
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            let Some(event) = event else { return };
            self.take(event).await;
        }
    }

    async fn take(&self, event: NetworkEvent) {
        match event {
            NetworkEvent::Connected(connected) => {
                let dialled = connected.direction == Direction::Outbound;
                if !dialled && connected.member != self.own {
                    self.dialled_in.note();
                }
                let (node, member, remote_time) = (connected.node, connected.member, connected.remote_time);
                self.hand_in(Class::Normal, Input::Connected { node, member, remote_time, dialled }).await;
            }
            // The network logs these as they happen.
            NetworkEvent::Disconnected { node, .. } => {
                self.hand_in(Class::Normal, Input::Disconnected { node }).await;
            }
            NetworkEvent::Frame(frame) => self.take_frame(frame).await,
            NetworkEvent::Gossip { source, token, data } => self.take_gossip(source, token, data).await,
            NetworkEvent::RepairRequested { from, token, request } => {
                let token = self.answers.hold(token);
                self.hand_in(Class::Normal, Input::RepairRequested { from, token, request }).await;
            }
            NetworkEvent::RepairAnswered { from, ticket, result } => {
                if let Err(why) = &result {
                    tracing::debug!(peer = %from.short(), %why, "a repair request was not answered");
                }
                let input = Input::RepairAnswered { from, ticket: AskTicket(ticket.0), answer: result.ok() };
                self.hand_in(Class::Normal, input).await;
            }
            NetworkEvent::CosignAsked(asked) => {
                // Dropped, the asker sees a failure at once and asks somebody else.
                if self.witness.try_send(asked).is_err() {
                    tracing::debug!("a request to cosign is not taken: too many wait");
                }
            }
            NetworkEvent::SendFailed { to, ticket, why } => self.take_failed(to, ticket, &why).await,
            NetworkEvent::Learned { from, documents } => self.take_learned(from, documents),
            NetworkEvent::ListenerLost { why } => {
                tracing::error!(%why, "this node cannot be dialled any more")
            }
            NetworkEvent::Listening(_) | NetworkEvent::DialFailed { .. } => {}
            NetworkEvent::PublishFailed { why } => tracing::warn!(%why, "nobody was told: repair will"),
            NetworkEvent::Fault { node, address, fault } => {
                // The machine sums up what a peer does; the network tells of some strangers.
                tracing::debug!(%fault, ?node, ?address, "a rule of the wire was broken");
                if let Some(from) = node {
                    let (rule, what) = (fault.rule(), fault.to_string());
                    self.hand_in(Class::Normal, Input::Fault { from, rule, what, push: None }).await;
                }
            }
            NetworkEvent::TwinMet => self.hand_in(Class::Normal, Input::TwinMet).await,
        }
    }

    async fn take_frame(&self, inbound: InboundFrame) {
        let InboundFrame { from, class, frame, room } = inbound;
        let input = match frame {
            RelayFrame::Parcel(parcel) => RelayInput::ParcelReceived { from, parcel },
            RelayFrame::Receipt(envelope) => return self.take_receipt(from, class, envelope, room).await,
            RelayFrame::Offer(offer) => RelayInput::OfferReceived { from, offer },
            RelayFrame::OfferUnknown(offer) => RelayInput::OfferUnknownReceived { from, offer },
            RelayFrame::OfferIds(ids) => RelayInput::OfferIdsReceived { from, ids },
            RelayFrame::Lacking(lacking) => RelayInput::LackingReceived { from, lacking },
        };
        self.hand_in(class, Input::Relay(input)).await;
        drop(room);
    }

    async fn take_receipt(&self, from: NodeKey, class: Class, envelope: Envelope, room: network::Room) {
        let (doors, federation) = (self.doors.clone(), self.verifier.federation);
        let urgency = match class {
            Class::Urgent => Urgency::Urgent,
            Class::Normal => Urgency::Normal,
        };
        let source = Source::documents(from, std::slice::from_ref(&envelope), &[]);
        let work = move || {
            let verify = || Unverified::<Receipt>::open(envelope).and_then(|open| open.verify(federation));
            let input = match std::panic::catch_unwind(AssertUnwindSafe(verify)) {
                Ok(Ok(receipt)) => Input::Relay(RelayInput::ReceiptReceived { from, receipt }),
                Ok(Err(VerifyError::Newer { .. })) => return,
                Ok(Err(error)) => {
                    Input::Fault { from, rule: error.rule(), what: error.to_string(), push: None }
                }
                Err(_) => return tracing::error!(peer = %from.short(), "a receipt makes the decoder fail"),
            };
            doors.hand_in(class, input);
            drop(room);
        };
        if self.pool.submit(source, urgency, work).is_err() {
            // The sender of the message asks again; the receipt is made anew.
            tracing::debug!(peer = %from.short(), "a receipt was left out: too much of this peer waits");
        }
    }

    async fn take_gossip(&self, source: NodeKey, token: GossipToken, data: Vec<u8>) {
        let (doors, verifier, pushes, held) =
            (self.doors.clone(), self.verifier.clone(), self.pushes.clone(), token.clone());
        let bytes = data.len();
        let work = move || {
            let push = pushes.hold(held);
            let input = match Pushed::from_bytes(&data) {
                Ok(Pushed { document, body: None }) if document.kind == Kind::Head.name() => {
                    Input::head(source, push, verifier.verify_head(document))
                }
                Ok(Pushed { document, body }) => Input::Documents(Batch {
                    from: Some(source),
                    documents: verifier.verify_brought(document).into_iter().collect(),
                    bodies: body.into_iter().map(serde_bytes::ByteBuf::into_vec).collect(),
                    carriage: Carriage::Push(push),
                }),
                Err(error) => {
                    Input::Fault { from: source, rule: "PU-01", what: error.to_string(), push: Some(push) }
                }
            };
            doors.hand_in(Class::Normal, input);
        };
        if self.pool.submit(Source::Peer { node: source, bytes }, Urgency::Background, work).is_err()
            && self.network.verdict(token, network::Verdict::Ignore).await.is_err()
        {
            tracing::debug!("the network had stopped");
        }
    }

    async fn take_failed(&self, to: NodeKey, ticket: network::Ticket, why: &network::SendFailure) {
        tracing::debug!(peer = %to.short(), %why, "a frame did not go out");
        let message = self.parcels.lock().unwrap_or_else(PoisonError::into_inner).take(ticket.0);
        if let Some(message) = message {
            self.hand_in(Class::Urgent, Input::Relay(RelayInput::SendFailed { to, message })).await;
        }
    }

    fn take_learned(&self, from: NodeKey, learned: Vec<LearnedDocument>) {
        let (verifier, doors) = (self.verifier.clone(), self.doors.clone());
        let bytes = learned.iter().map(LearnedDocument::size).sum();
        let work = move || {
            let mut bodies = Vec::new();
            let verify = |document| match document {
                LearnedDocument::Charter(charter) => Ok(AnyDocument::Charter(charter)),
                LearnedDocument::Settlement(settlement) => Ok(AnyDocument::Settlement(settlement)),
                LearnedDocument::KeySet(key_set) => Ok(AnyDocument::KeySet(key_set)),
                LearnedDocument::Record { header, body } => {
                    bodies.push(body);
                    verifier.verify(header)
                }
            };
            let documents = learned.into_iter().map(verify).collect();
            let batch = Batch { from: Some(from), documents, bodies, carriage: Carriage::Hand };
            doors.hand_in(Class::Normal, Input::Documents(batch));
        };
        let source = Source::Peer { node: from, bytes };
        if self.pool.submit(source, Urgency::Background, work).is_err() {
            tracing::debug!(peer = %from.short(), "what an introduction brought was left to repair");
        }
    }

    async fn hand_in(&self, class: Class, input: Input) {
        if self.doors.of(class).send(Order::Input(input)).await.is_err() {
            tracing::debug!("the machine had stopped");
        }
    }
}

fn hash_of(envelope: &Envelope) -> ContentHash {
    let bytes = encode(envelope).unwrap_or_default();
    ContentHash::from_bytes(Sha256::digest(bytes).into())
}

/// Documents in quarantine: a ring, so that a flood of poison cannot fill memory.
const QUARANTINE_MAX: usize = 1_024;
