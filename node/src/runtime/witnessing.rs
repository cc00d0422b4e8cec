//! Has this node's journal cosigned by other members' nodes, and cosigns theirs, beside everything else: no message waits
//! for any of it.
//!
//! What is cosigned of another's journal is on the device before the cosignature leaves this node.

mod serving;

use std::sync::Arc;

use refpoint_protocol::{
    audit::{
        Exporter, JournalCheckpoint,
        witness::{AskEffect, AskInput, Asking, Candidate, CosignAnswer, RequestLimits, RoundOver},
    },
    ids::NodeKey,
    machine::{Input, JournalNews, Machine},
    storage::{Change, Table},
    time::Timestamp,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{Handle, carry::tell, doors::Order};
use crate::{
    clock::Clock,
    network::CosignAsked,
    store::{Keys, Store, StoreError},
};

/// Where a round is asked for. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RoundDesk(mpsc::Sender<Waiting>);

/// Whoever waits for a round.
type Waiting = oneshot::Sender<Result<RoundOver, NoRound>>;

/// Why there was no round.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NoRound {
    /// The journal cannot say where it stands.
    #[error("the journal's checkpoint cannot be made: {0}")]
    Journal(String),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// What comes to the task.
pub(super) struct WitnessDoors {
    rounds: mpsc::Receiver<Waiting>,
    asked: mpsc::Receiver<CosignAsked>,
}

impl RoundDesk {
    /// The desk, the way in for other nodes' requests, and their ends.
    pub(super) fn new() -> (Self, mpsc::Sender<CosignAsked>, WitnessDoors) {
        let (desk, rounds) = mpsc::channel(WAITING_MAX);
        let (asked_by, asked) = mpsc::channel(ASKED_MAX);
        (Self(desk), asked_by, WitnessDoors { rounds, asked })
    }

    /// Has the journal cosigned now, or waits for the round that is under way.
    ///
    /// # Errors
    /// [`NoRound`].
    pub(crate) async fn round(&self) -> Result<RoundOver, NoRound> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| NoRound::Stopping)?;
        answered.await.map_err(|_| NoRound::Stopping)?
    }
}

/// The task.
pub(super) struct Witnessing {
    pub(super) handle: Handle,
    pub(super) clock: Clock,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) doors: WitnessDoors,
}

/// What the task holds while it runs.
struct Run {
    handle: Handle,
    clock: Clock,
    orders: mpsc::UnboundedSender<Order>,
    asking: Asking,
    limits: RequestLimits,
    /// When the journal of the round under way began.
    began: Timestamp,
    answers: JoinSet<(NodeKey, Option<CosignAnswer>)>,
    waiting: Vec<Waiting>,
}

impl Witnessing {
    /// Runs until the token is cancelled or the node is stopping.
    ///
    /// # Errors
    /// [`StoreError`] if storage has stopped.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        let Self { handle, clock, orders, mut doors } = self;
        let identity = Arc::clone(&handle.identity);
        let now = clock.now();
        let mut run = Run {
            asking: Asking::new(identity.member.clone(), identity.node, now),
            limits: RequestLimits::default(),
            began: now,
            answers: JoinSet::new(),
            waiting: Vec::new(),
            handle,
            clock,
            orders,
        };
        loop {
            let due = run.asking.due();
            let rest = due.map(|due| clock.until(due)).unwrap_or_default();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                asked = doors.asked.recv() => match asked {
                    Some(asked) => run.serve(asked).await?,
                    None => return Ok(()),
                },
                waits = doors.rounds.recv() => match waits {
                    Some(waits) => {
                        run.waiting.push(waits);
                        if due.is_some() {
                            run.begin().await?;
                        }
                    }
                    None => return Ok(()),
                },
                Some(answered) = run.answers.join_next() => {
                    match answered {
                        Ok((from, answer)) => run.decide(AskInput::Answered { from, answer }).await?,
                        Err(error) => run.abandon(&error.to_string()),
                    }
                }
                () = tokio::time::sleep(rest), if due.is_some() => run.begin().await?,
            }
        }
    }
}

impl Run {
    /// Begins a round with where the journal stands now.
    async fn begin(&mut self) -> Result<(), StoreError> {
        let look = |machine: &Machine, now| {
            let all = machine.connected().iter();
            let all = all.map(|(node, it)| Candidate { node: *node, member: it.member.clone() });
            (all.collect::<Vec<_>>(), machine.is_clock_confirmed(now))
        };
        let Ok((connected, is_clock_right)) = self.handle.query(look).await else { return Ok(()) };
        let (handle, now) = (self.handle.clone(), self.clock.now());
        let made = tokio::task::spawn_blocking(move || {
            let identity = handle.identity.as_ref();
            if is_clock_right && handle.journal.redate(now)? {
                tracing::warn!(
                    "the journal was begun by a clock that was ahead: a new one begins, and names it"
                );
            }
            let (federation, member, node) = (identity.federation, identity.member.clone(), identity.node);
            handle.journal.checkpoint(&Exporter { federation, member, node }, &identity.signing, now)
        });
        let checkpoint = match made.await.map_err(|error| error.to_string()) {
            Ok(Ok(checkpoint)) => checkpoint,
            Ok(Err(error)) => return self.without_round(&error.to_string()),
            Err(error) => return self.without_round(&error),
        };
        match JournalCheckpoint::read(checkpoint.to_string().as_bytes()) {
            Ok(read) => self.began = read.origin.began,
            Err(error) => return self.without_round(&error.to_string()),
        }
        self.decide(AskInput::Begin { checkpoint: Box::new(checkpoint), connected }).await
    }

    /// A part of the round failed: it is given up as a whole, and the next one begins like the first.
    fn abandon(&mut self, why: &str) {
        tracing::error!(why, "a round of witnesses failed");
        self.answers = JoinSet::new();
        let identity = self.handle.identity.as_ref();
        self.asking = Asking::new(identity.member.clone(), identity.node, self.clock.now());
        for waits in self.waiting.drain(..) {
            drop(waits.send(Err(NoRound::Journal(why.to_owned()))));
        }
    }

    fn without_round(&mut self, why: &str) -> Result<(), StoreError> {
        tracing::warn!(why, "the journal is not cosigned now");
        self.asking.postpone(self.clock.now());
        for waits in self.waiting.drain(..) {
            // Whoever asked may have gone.
            drop(waits.send(Err(NoRound::Journal(why.to_owned()))));
        }
        Ok(())
    }

    async fn decide(&mut self, input: AskInput) -> Result<(), StoreError> {
        let (mut asking, journal) = (self.asking.clone(), self.handle.journal.clone());
        let (now, began) = (self.clock.now(), self.began);
        // Proofs are read from the disk.
        let decided = tokio::task::spawn_blocking(move || {
            let effects = journal.with_tiers(began, |tiers| asking.handle(now, input, tiers));
            (asking, effects)
        });
        let effects = match decided.await {
            Ok((asking, effects)) => {
                self.asking = asking;
                effects
            }
            Err(error) => {
                self.abandon(&error.to_string());
                return Ok(());
            }
        };
        for effect in effects {
            match effect {
                AskEffect::Ask { to, request } => {
                    let network = self.handle.network.clone();
                    self.answers.spawn(async move {
                        let answer = match network.cosign(to, request).await {
                            Ok(Ok(answer)) => Some(answer),
                            Ok(Err(why)) => {
                                tracing::debug!(peer = %to.short(), %why, "a request to cosign was not answered");
                                None
                            }
                            Err(_) => None,
                        };
                        (to, answer)
                    });
                }
                AskEffect::Over(over) => self.finish(*over).await?,
            }
        }
        Ok(())
    }

    /// Keeps what was cosigned, and ends a journal of which a witness holds more than this node.
    async fn finish(&mut self, over: RoundOver) -> Result<(), StoreError> {
        let (handle, now) = (self.handle.clone(), self.clock.now());
        let done = over.clone();
        let kept = tokio::task::spawn_blocking(move || {
            if !done.cosigned.is_empty() {
                keep(handle.store.as_ref(), &done)?;
            }
            if let Some((Candidate { member, .. }, before)) = done.before {
                match handle.journal.witnessed(member.clone(), before, now) {
                    Ok(true) => tracing::warn!(
                        witness = %member, entries = before.size,
                        "the journal before this one had come further than the backup knew: noted in the journal"
                    ),
                    Ok(false) => {}
                    // It is told again with the next cosignature.
                    Err(error) => {
                        tracing::warn!(%error, "what a witness holds of the journal before was not noted")
                    }
                }
            }
            if let Some((_, before)) = done.lost
                && let Err(error) = handle.journal.succeed(before, now)
            {
                tracing::error!(%error, "no new journal was begun");
            }
            Ok::<(), StoreError>(())
        });
        match kept.await {
            Ok(Err(error)) if error.is_fatal() => return Err(error),
            Ok(Err(error)) => tracing::warn!(%error, "a cosigned checkpoint was not stored"),
            Ok(Ok(())) => {}
            Err(error) => tracing::error!(%error, "a cosigned checkpoint was not stored"),
        }
        for (Candidate { member, .. }, why) in &over.refused {
            tracing::debug!(%member, %why, "the journal was not cosigned there");
        }
        match over.cosigned.len() {
            0 => tracing::debug!("nobody cosigned the journal"),
            by => tracing::info!(by, "the journal was cosigned"),
        }
        if let Some((Candidate { member, .. }, before)) = &over.lost {
            tracing::error!(
                witness = %member, entries = before.size,
                "a witness holds another past of this node's journal: its disk was rolled back, or its key is in two hands"
            );
            tell(&self.orders, Input::Journal(JournalNews::OwnLost { witness: member.clone() }));
        }
        for waits in self.waiting.drain(..) {
            drop(waits.send(Ok(over.clone())));
        }
        Ok(())
    }
}

/// Stores a cosigned checkpoint. Of many with one size the first and the newest are kept: when that was reached, and
/// until when nothing more came.
fn keep(store: &dyn Store, over: &RoundOver) -> Result<(), StoreError> {
    let note = over.checkpoint.to_string();
    let Ok(read) = JournalCheckpoint::of(&over.checkpoint) else { return Ok(()) };
    let [began, size, made] =
        [read.origin.began.as_millis(), read.size, read.made.as_millis()].map(u64::to_be_bytes);
    let same = [began, size].concat();
    let mut before = Vec::new();
    for row in store.scan(Table::Cosigned, Keys::Prefix(&same)) {
        match row {
            Ok((key, _)) => before.push(key),
            Err(error) if error.is_fatal() => return Err(error),
            Err(_) => {}
        }
    }
    let mut changes = vec![Change::put(Table::Cosigned, [began, size, made].concat(), note)];
    changes.extend(before.into_iter().skip(1).map(|key| Change::delete(Table::Cosigned, key)));
    store.apply(&changes)
}

/// When other members' nodes last cosigned where this node's journal stands.
///
/// # Errors
/// [`StoreError`] if the newest row cannot be read.
pub(crate) fn last_cosigned(store: &dyn Store) -> Result<Option<Timestamp>, StoreError> {
    let Some(row) = store.scan(Table::Cosigned, Keys::All).next_back() else { return Ok(None) };
    let (key, _) = row?;
    let made = key.last_chunk().map(|made| Timestamp::from_millis(u64::from_be_bytes(*made)));
    Ok(made)
}

/// Operators who wait for one round.
const WAITING_MAX: usize = 8;

/// Requests of other nodes that wait: each that is looked at costs a sync; more are dropped, and asked again.
const ASKED_MAX: usize = 64;
