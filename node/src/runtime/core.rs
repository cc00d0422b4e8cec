//! The one loop around the machine: input in, effects out, in order.

use std::{panic::AssertUnwindSafe, time::Duration};

use refpoint_protocol::{
    evidence::AnyDocument,
    machine::{Batch, Carriage, Effect, Input, Machine},
    relay::{
        exchange::{CommandId, Job},
        parcel::Class,
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    carry::Waiting,
    commit::{Commit, Stopping},
    doors::{Doors, Entrance, Order, Turn},
    ingest::Verifier,
    jobs::Workshop,
    pool::{Pool, Source, Urgency},
};
use crate::clock::Clock;

/// The loop and what it needs.
pub(super) struct Core {
    pub(super) machine: Machine,
    pub(super) clock: Clock,
    pub(super) commit: Commit,
    pub(super) pool: Pool,
    pub(super) workshop: Workshop,
    pub(super) verifier: Verifier,
    pub(super) doors: Doors,
    pub(super) waiting: Waiting,
    pub(super) commands: u64,
    /// What the machine ordered when it was restored.
    pub(super) first: Vec<Effect>,
}

impl Core {
    /// Runs until the token is cancelled; then stores what was submitted.
    pub(super) async fn run(mut self, mut entrance: Entrance, stop: CancellationToken) {
        let first = std::mem::take(&mut self.first);
        if self.carry_out(first, None, &mut entrance, &stop).await.is_err() {
            return;
        }
        loop {
            let next = self.machine.next_wakeup();
            let wakeup = next.map_or(IDLE, |(at, _)| self.clock.until(at));
            let order = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                order = entrance.next(wakeup) => order,
            };
            let Some((order, turn)) = order else { break };
            if self.take(order, turn, &mut entrance, &stop).await.is_err() {
                break;
            }
        }
        let stored = tokio::task::spawn_blocking(move || self.commit.close()).await;
        match stored {
            Ok(Ok(())) => tracing::info!("everything submitted is stored"),
            Ok(Err(error)) => tracing::error!(%error, "the last batches may not be stored"),
            Err(error) => tracing::error!(%error, "the writer ended badly"),
        }
    }

    async fn take(
        &mut self,
        order: Order,
        turn: Turn,
        entrance: &mut Entrance,
        stop: &CancellationToken,
    ) -> Result<(), Stopping> {
        let now = self.clock.now();
        let input = match order {
            Order::Input(Input::Documents(batch)) => Input::Documents(self.with_room_for(batch)),
            Order::Input(input) => input,
            Order::Command { command, answer } => {
                self.commands += 1;
                let id = CommandId(self.commands);
                self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id, answer);
                Input::Command { id, command }
            }
            Order::Query(query) => {
                query(&mut self.machine, now);
                return Ok(());
            }
        };
        let effects = self.machine.handle(now, input);
        self.carry_out(effects, turn, entrance, stop).await
    }

    /// Leaves out the headers of others while too many wait in memory for room on the disk: what this node would
    /// know, and could neither store nor give to anyone, comes by repair once there is room.
    fn with_room_for(&self, mut batch: Batch) -> Batch {
        let own = self.machine.config().node;
        if batch.from.is_some() && self.commit.kept().is_full() {
            let is_others = |document: &AnyDocument| document.header().is_some_and(|it| it.node != own);
            batch.documents.retain(|document| !document.as_ref().is_ok_and(is_others));
            batch.bodies.clear();
        }
        batch
    }

    /// Starts work at once and submits the rest as one batch. Where that waits, on a full disk for hours, those
    /// who look are answered meanwhile.
    async fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        turn: Turn,
        entrance: &mut Entrance,
        stop: &CancellationToken,
    ) -> Result<(), Stopping> {
        let mut batch = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect {
                Effect::Work(job) => self.work(job),
                Effect::Verify { from, envelopes, bodies, carriage } => {
                    self.verify(from, envelopes, bodies, carriage);
                }
                other => batch.push(other),
            }
        }
        let submitted = self.commit.submit(batch, turn);
        tokio::pin!(submitted);
        loop {
            tokio::select! {
                biased;
                submitted = &mut submitted => return submitted,
                () = stop.cancelled() => return Err(Stopping),
                Some(look) = entrance.next_look() => look(&mut self.machine, self.clock.now()),
            }
        }
    }

    fn work(&self, job: Job) {
        let (workshop, doors) = (self.workshop.clone(), self.doors.clone());
        let class = job.class();
        let urgency = match class {
            Class::Urgent => Urgency::Urgent,
            Class::Normal => Urgency::Normal,
        };
        let work = move || {
            let crashed = Workshop::crashed(&job);
            let input =
                std::panic::catch_unwind(AssertUnwindSafe(|| workshop.run(job))).unwrap_or_else(|_| {
                    tracing::error!("a piece of cryptography panicked; its input is refused");
                    crashed
                });
            doors.hand_in(class, Input::Relay(input));
        };
        // The machine bounds its own work, so the pool takes it always.
        if self.pool.submit(Source::Own, urgency, work).is_err() {
            tracing::error!("the pool refused the node's own work");
        }
    }

    fn verify(
        &self,
        from: refpoint_protocol::ids::NodeKey,
        envelopes: Vec<refpoint_protocol::document::Envelope>,
        bodies: Vec<Vec<u8>>,
        carriage: Carriage,
    ) {
        let (verifier, doors) = (self.verifier.clone(), self.doors.clone());
        let empty = Batch { from: Some(from), documents: Vec::new(), bodies: Vec::new(), carriage };
        let source = Source::documents(from, &envelopes, &bodies);
        let work = move || {
            let documents = verifier.verify_all(envelopes);
            let batch = Batch { from: Some(from), documents, bodies, carriage };
            doors.hand_in(Class::Normal, Input::Documents(batch));
        };
        if self.pool.submit(source, Urgency::Background, work).is_err() {
            // What was left out is still missing, and comes with the next repair.
            let order = Order::Input(Input::Documents(empty));
            if self.doors.inner.send(order).is_err() {
                tracing::debug!("the machine had stopped");
            }
        }
    }
}

/// How long to sleep when the machine waits for nothing.
const IDLE: Duration = Duration::from_secs(3_600);
