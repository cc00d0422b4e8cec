//! The one loop around the machine: input in, effects out, in order.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use refpoint_protocol::{
    evidence::AnyDocument,
    machine::{Batch, Carriage, Command, Effect, Input, Machine},
    relay::{
        exchange::{CommandId, Job},
        parcel::Class,
    },
    time::Timestamp,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    carry::{CommandResult, Waiting},
    commit::{Commit, Stopping},
    ingest::Verifier,
    jobs::Workshop,
    pool::{Pool, Source, Urgency},
};
use crate::clock::Clock;

/// What the loop is handed.
pub(super) enum Order {
    /// Something happened.
    Input(Input),
    /// The operator asks.
    Command {
        /// What.
        command: Command,
        /// Where the answer goes.
        answer: oneshot::Sender<CommandResult>,
    },
    /// Somebody looks at the machine's views.
    Query(Look),
}

/// A look at the machine between two inputs.
pub(super) type Look = Box<dyn FnOnce(&mut Machine, Timestamp) + Send>;

/// The ways into the loop, the most urgent first.
#[derive(Clone)]
pub(super) struct Doors {
    /// From the node's own parts; bounded by what they carry out, so that they never wait for the loop.
    pub(super) inner: mpsc::UnboundedSender<Order>,
    /// Whoever looks: answered also while the machine waits for storage.
    pub(super) looks: mpsc::Sender<Look>,
    /// Urgent messages, their receipts, and commands.
    pub(super) urgent: mpsc::Sender<Order>,
    /// Everything else.
    pub(super) normal: mpsc::Sender<Order>,
}

/// The other ends of [`Doors`].
pub(super) struct Entrance {
    inner: mpsc::UnboundedReceiver<Order>,
    looks: mpsc::Receiver<Look>,
    urgent: mpsc::Receiver<Order>,
    normal: mpsc::Receiver<Order>,
    urgent_in_a_row: u32,
    patience: Patience,
    turns: Arc<Semaphore>,
}

/// For how long normal orders stand back after an urgent one. Its way leads through many hands, and behind other work
/// it would wait for each; but who sends urgent messages without end holds nobody up for more than half of the time.
struct Patience {
    until: Instant,
    left: Duration,
    since: Instant,
}

impl Patience {
    const fn new(now: Instant) -> Self {
        Self { until: now, left: PATIENCE_MAX, since: now }
    }

    fn on_urgent(&mut self, now: Instant) {
        let earned = now.duration_since(self.since) / 2;
        self.left = (self.left + earned).min(PATIENCE_MAX);
        self.since = now;
        let from = self.until.max(now);
        let longer = (now + STAND_BACK).duration_since(from);
        // Of less than was asked for, timers that ring late would make all of it: between two, normal orders have theirs.
        if let Some(left) = self.left.checked_sub(longer) {
            self.left = left;
            self.until = from + longer;
        }
    }
}

/// What an order that was not urgent holds until all that came of it is carried out.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

impl Doors {
    /// Makes both ends.
    pub(super) fn new() -> (Self, Entrance) {
        let (inner, inner_end) = mpsc::unbounded_channel();
        let (looks, looks_end) = mpsc::channel(LOOKS_MAX);
        let (urgent, urgent_end) = mpsc::channel(DOOR_MAX);
        let (normal, normal_end) = mpsc::channel(DOOR_MAX);
        let entrance = Entrance {
            inner: inner_end,
            looks: looks_end,
            urgent: urgent_end,
            normal: normal_end,
            urgent_in_a_row: 0,
            patience: Patience::new(Instant::now()),
            turns: Arc::new(Semaphore::new(TURNS)),
        };
        (Self { inner, looks, urgent, normal }, entrance)
    }

    /// The door for a class of message.
    pub(super) const fn of(&self, class: Class) -> &mpsc::Sender<Order> {
        match class {
            Class::Urgent => &self.urgent,
            Class::Normal => &self.normal,
        }
    }

    /// Hands in an input from one of the pool's threads, which may wait.
    pub(super) fn hand_in(&self, class: Class, input: Input) {
        if self.of(class).blocking_send(Order::Input(input)).is_err() {
            tracing::debug!("the machine had stopped");
        }
    }
}

impl Entrance {
    /// The next order; normal ones have one turn in eight while urgent ones wait, and stand back for a moment after each.
    /// What they lead to is stored in order with everything else, so only a few of them may be on their way to the
    /// disk: an urgent one waits for those.
    async fn next(&mut self) -> Option<(Order, Turn)> {
        if self.urgent_in_a_row >= URGENT_IN_A_ROW_MAX {
            self.urgent_in_a_row = 0;
            if let Ok(order) = self.normal.try_recv() {
                return Some((order, None));
            }
        }
        let (turns, normal, stands_back_until) = (&self.turns, &mut self.normal, self.patience.until);
        let normal = async {
            if stands_back_until > Instant::now() {
                tokio::time::sleep_until(stands_back_until).await;
            }
            // On a disk that stands still it goes on without a turn, as everything does until all places are taken.
            let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(turns).acquire_owned()).await;
            Some((normal.recv().await?, turn.ok().and_then(Result::ok)))
        };
        tokio::select! {
            biased;
            Some(order) = self.inner.recv() => Some((order, None)),
            Some(look) = self.looks.recv() => Some((Order::Query(look), None)),
            Some(order) = self.urgent.recv() => {
                self.urgent_in_a_row += 1;
                self.patience.on_urgent(Instant::now());
                Some((order, None))
            }
            Some(order) = normal => {
                self.urgent_in_a_row = 0;
                Some(order)
            }
            else => None,
        }
    }
}

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
        let mut has_woken = false;
        loop {
            let next = self.machine.next_wakeup();
            let wakeup = next.map_or(IDLE, |(at, _)| self.clock.until(at));
            // What is due and what comes in go by turns: doors that are never empty do not stop the time.
            let is_due = wakeup.is_zero() && !has_woken;
            let order = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = std::future::ready(()), if is_due => Some((Order::Input(Input::Woke), None)),
                order = entrance.next() => order,
                () = tokio::time::sleep(wakeup) => Some((Order::Input(Input::Woke), None)),
            };
            let Some((order, turn)) = order else { break };
            has_woken = matches!(order, Order::Input(Input::Woke));
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
                Some(look) = entrance.looks.recv() => look(&mut self.machine, self.clock.now()),
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

/// Orders that may wait at one door: with this many the network's readers wait too.
const DOOR_MAX: usize = 1_024;

/// People and programs who may wait for a look at once.
const LOOKS_MAX: usize = 64;

/// Urgent orders taken before a waiting normal one has its turn.
const URGENT_IN_A_ROW_MAX: u32 = 7;

/// Normal orders whose batches are on their way to the disk: enough for syncs to be shared, few enough that an urgent
/// message does not wait behind a queue.
const TURNS: usize = 8;

/// How long normal orders stand back after an urgent one: the next step of an urgent message comes within it, and finds
/// the processors free.
const STAND_BACK: Duration = Duration::from_millis(3);

/// How long normal orders stand back at most in a row: a few hundred urgent messages, one after the other.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// How long a normal order waits for a turn.
const TURN_WAIT: Duration = Duration::from_millis(250);

/// How long to sleep when the machine waits for nothing.
const IDLE: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn normal_orders_stand_back_for_urgent_ones_and_never_for_more_than_half_of_the_time() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        assert!(patience.until <= start, "nobody waits for nothing");
        patience.on_urgent(start);
        assert_eq!(patience.until, start + STAND_BACK);
        // An urgent order each millisecond, for a minute.
        let (mut waited, minute) = (Duration::ZERO, 60_000);
        for millis in 1..=minute {
            let now = start + Duration::from_millis(millis);
            patience.on_urgent(now);
            waited += patience.until.saturating_duration_since(now).min(Duration::from_millis(1));
        }
        let half = Duration::from_millis(minute) / 2;
        assert!(waited > half && waited <= half + PATIENCE_MAX, "{waited:?}");
        // A quiet second, and there is patience again.
        let later = start + Duration::from_secs(70);
        patience.on_urgent(later);
        assert_eq!(patience.until, later + STAND_BACK);
    }

    #[test]
    fn with_urgent_orders_without_end_normal_ones_have_whole_moments() {
        // A timer rings up to a millisecond late, and then at the next whole one.
        let (start, late, every) = (Instant::now(), Duration::from_millis(2), Duration::from_millis(2));
        let (mut patience, mut free, count) = (Patience::new(start), Duration::ZERO, 30_000);
        for number in 0..count {
            let now = start + every * number;
            patience.on_urgent(now);
            let waits = patience.until > now;
            let until = if waits { patience.until + late } else { now };
            free += (now + every).saturating_duration_since(until);
        }
        assert!(free > every * count / 4, "{free:?} of {:?}", every * count);
    }

    #[tokio::test]
    async fn few_normal_orders_are_on_their_way_at_once_and_an_urgent_one_passes_the_rest() {
        let (doors, mut entrance) = Doors::new();
        for _ in 0..=TURNS + 1 {
            doors.normal.send(Order::Input(Input::Woke)).await.unwrap();
        }
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(entrance.next().await.unwrap().1.expect("a turn"));
        }
        doors.urgent.send(Order::Input(Input::TwinMet)).await.unwrap();
        let (order, turn) = entrance.next().await.unwrap();
        assert!(matches!(order, Order::Input(Input::TwinMet)) && turn.is_none());
        // As one of them is carried out, the next has its turn; on a disk that stands still it goes on without.
        turns.pop();
        turns.push(entrance.next().await.unwrap().1.expect("a turn"));
        assert!(entrance.next().await.unwrap().1.is_none());
    }
}
