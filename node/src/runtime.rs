//! The running node: one loop around the machine, and the parts that carry out what it orders.
//!
//! ```text
//! network ─▶ ingest ─▶ pool ─▶┐                          ┌─▶ network
//!                             ├─▶ core (the machine) ─▶ commit ─▶ carry ─▶ events, replies
//! api ───────────────────────▶┘         └─▶ pool ─▶ core └─▶ (signs what is said; lends what is stored)
//! ```
//!
//! Commit holds back what a batch says until what it stores is on the device. Nothing that carries out ever
//! waits for the machine, so the ring cannot stand still.

mod alert;
mod backend;
mod carry;
mod commit;
mod core;
mod counting;
mod dialled_in;
mod doors;
pub mod events;
mod ingest;
mod jobs;
pub mod journal;
mod lending;
mod load;
mod logged;
mod message_proof;
mod own;
mod pool;
mod reminders;
mod tokens;
mod witnessing;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use arc_swap::ArcSwap;
use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    ids::MemberCode,
    machine::{self, Command, Input, Machine, OperatorAction},
    time::Timestamp,
};
use tokio::{sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{
    alert::{AlertHealth, Watch},
    carry::{Carrier, SentParcels, Waiting, tell},
    commit::Commit,
    core::Core,
    counting::{Counting, Depths},
    dialled_in::DialledIn,
    doors::{Doors, Order},
    events::EventLog,
    ingest::{Ingest, Verifier},
    jobs::{Identity, Seeds, Workshop, drawn},
    journal::JournalKeeper,
    lending::{Desk, Lender},
    pool::Pool,
    reminders::Reminders,
    tokens::Tokens,
    witnessing::{RoundDesk, Witnessing},
};
pub use self::{
    backend::{NodeBackend, Operator},
    carry::CommandResult,
};
use crate::{
    clock::Clock,
    metrics::{Counted, QueueDepth},
    network::{Address, Network, NetworkConfig, StartError},
    refounding::{self, Inherited},
    store::{KeptRows, Store, StoreError, WaitsForRoom, Writer},
};

/// What a node is started with.
pub struct Parts {
    /// What the machine must know.
    pub machine: machine::Config,
    /// The node key's secret half.
    pub signing: SigningKey,
    /// Storage, open.
    pub store: Arc<dyn Store>,
    /// How the network is set up.
    pub network: NetworkConfig,
    /// Addresses of nodes whose keys are not known yet: a newcomer's first dials.
    pub hints: Vec<Address>,
    /// The command to run for each delivered message; empty for none.
    pub alert_command: Vec<String>,
    /// The clock.
    pub clock: Clock,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Storage.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Network(#[from] StartError),
    /// The operating system gives no thread or no randomness.
    #[error("the node cannot be started: {0}")]
    System(String),
}

/// A running node. Dropping it stops it hard; [`Node::run_until`] stops it in order.
pub struct Node {
    handle: Handle,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), StoreError>>,
    network: Network,
}

/// A handle on a running node. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    doors: Doors,
    pub(crate) events: EventLog,
    pub(crate) network: Network,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) alert: AlertHealth,
    pub(crate) damaged: Arc<Vec<String>>,
    pub(crate) dialled_in: DialledIn,
    /// What the federation before said of its members, if this one takes its place.
    pub(crate) inherited: Arc<BTreeMap<MemberCode, Inherited>>,
    pub(crate) journal: JournalKeeper,
    pub(crate) rounds: RoundDesk,
    pub(crate) verifier: Verifier,
    pub(crate) identity: Arc<Identity>,
    pub(crate) started: Timestamp,
    pub(crate) waits_for_room: WaitsForRoom,
    pub(crate) kept: KeptRows,
    pub(crate) counted: Counted,
    depths: Depths,
}

/// The node is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopping;

/// Why a command has no answer: the node is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It was not taken: nothing happened.
    #[error("the node is stopping, and did not take the command")]
    NotTaken,
    /// Whether it was taken, and what it led to is stored, is not known before the next start.
    #[error("the node stopped before it said what came of the command")]
    Undecided,
}

impl Handle {
    /// Asks the machine to do something, and waits until it is done and durable.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn command(&self, command: Command) -> Result<CommandResult, Unanswered> {
        let (answer, answered) = oneshot::channel();
        let door = match &command {
            Command::Send(draft) => self.doors.of(draft.precedence.class()),
            _ => &self.doors.urgent,
        };
        door.send(Order::Command { command, answer }).await.map_err(|_| Unanswered::NotTaken)?;
        answered.await.map_err(|_| Unanswered::Undecided)
    }

    /// Looks at the machine between two inputs: to be quick.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Machine, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        let look = Box::new(move |machine: &mut Machine, now| {
            // Whoever asked may have gone.
            let _unheard = answer.send(look(machine, now));
        });
        self.doors.looks.send(look).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    /// Has what an operator did journalled.
    pub(crate) fn operated(&self, action: OperatorAction) {
        tell(&self.doors.inner, Input::Operated(action));
    }

    /// What waits in the node's queues.
    pub(crate) fn queues(&self) -> Vec<QueueDepth> {
        self.depths.now()
    }

    /// The event log.
    #[must_use]
    pub const fn events(&self) -> &EventLog {
        &self.events
    }

    /// The network.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }
}

impl Node {
    /// Starts everything.
    ///
    /// # Errors
    /// [`RuntimeError`]; then nothing runs.
    pub async fn start(parts: Parts) -> Result<Self, RuntimeError> {
        let Parts { machine: config, signing, store, network, mut hints, alert_command, clock } = parts;
        let (federation, now) = (config.federation, clock.now());
        let verifier = Verifier::new(federation, load::quarantined(store.as_ref())?, Arc::clone(&store));
        let seeds = Seeds::default();
        let rng = drawn::<32>().map_err(RuntimeError::System)?;
        let loaded = load::restore(store.as_ref(), &verifier, &seeds, config.clone(), (now, rng))?;
        let restored = loaded.restored;
        // Dialled to notice a machine with the same key: one folder may have been copied, or moved and left behind.
        hints.splice(0..0, own_addresses(&restored.machine));
        let identity =
            Arc::new(Identity { federation, member: config.member.clone(), node: config.node, signing });
        let system = |error: std::io::Error| RuntimeError::System(error.to_string());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = Pool::start(threads).map_err(system)?;
        let writer = Writer::start(Arc::clone(&store)).map_err(system)?;
        // From here on whoever reads sees what waits in memory for room on the disk, too.
        let store = writer.kept().over(store);
        let workshop = Workshop { identity: Arc::clone(&identity), seeds, store: Arc::clone(&store) };
        let presence = Arc::new(ArcSwap::new(restored.machine.presence()));
        let verifier = verifier.knowing(Arc::clone(&presence));
        let (network, network_events) =
            Network::start(network, &identity.signing, Arc::clone(&presence), Arc::new(move || clock.now()))?;
        let events = EventLog::restore(loaded.events);
        let mut damaged: Vec<String> =
            loaded.damaged.iter().map(|(table, error)| format!("{}: {error}", table.name())).collect();
        damaged.extend(restored.problems);
        let (doors, entrance) = Doors::new();
        let (commit, batches) = Commit::new(writer);
        let waiting: Waiting = Arc::new(Mutex::new(BTreeMap::new()));
        let parcels = Arc::new(Mutex::new(SentParcels::default()));
        let pushes = Tokens::new(machine::PushToken);
        let answers = Tokens::new(machine::AnswerToken);
        let stop = CancellationToken::new();
        let dialled_in = DialledIn::restore(Arc::clone(&store))?;
        let inherited = Arc::new(refounding::restore(store.as_ref())?);
        let journal = JournalKeeper::new(Arc::clone(&store), now);
        let (rounds, witness, witness_doors) = RoundDesk::new();
        let handle = Handle {
            doors: doors.clone(),
            events: events.clone(),
            network: network.clone(),
            store: Arc::clone(&store),
            alert: AlertHealth::default(),
            damaged: Arc::new(damaged),
            dialled_in: dialled_in.clone(),
            inherited,
            journal: journal.clone(),
            rounds,
            verifier: verifier.clone(),
            identity,
            started: now,
            waits_for_room: commit.waits_for_room().clone(),
            kept: commit.kept().clone(),
            counted: Counted::with_syncs(commit.syncs().clone()),
            depths: Depths { doors: doors.clone(), pool: pool.clone(), batches: commit.places() },
        };
        let core = Core {
            machine: restored.machine,
            clock,
            commit,
            pool: pool.clone(),
            workshop: workshop.clone(),
            verifier: verifier.clone(),
            doors: doors.clone(),
            waiting: Arc::clone(&waiting),
            commands: 0,
            first: restored.effects,
        };
        let desk = Desk::default();
        let lender = Lender {
            desk: desk.clone(),
            store: Arc::clone(&store),
            network: network.clone(),
            answers: answers.clone(),
            orders: doors.inner.clone(),
        };
        let carrier = Carrier {
            network: network.clone(),
            workshop,
            journal: journal.clone(),
            orders: doors.inner.clone(),
            events: events.clone(),
            waiting,
            pushes: pushes.clone(),
            answers: answers.clone(),
            desk,
            presence,
            parcels: Arc::clone(&parcels),
            hints,
            refused: std::collections::BTreeSet::new(),
        };
        let orders = doors.inner.clone();
        let witnessing = Witnessing { handle: handle.clone(), clock, orders, doors: witness_doors };
        let ingest = Ingest {
            network: network.clone(),
            own: config.member,
            doors,
            pool,
            verifier,
            pushes,
            answers,
            parcels,
            dialled_in,
            witness,
        };
        let mut tasks = JoinSet::new();
        let token = stop.clone();
        tasks.spawn(async move {
            core.run(entrance, token).await;
            Ok(())
        });
        tasks.spawn(carrier.run(batches));
        let token = stop.clone();
        tasks.spawn(async move {
            ingest.run(network_events, token).await;
            Ok(())
        });
        let token = stop.clone();
        tasks.spawn(async move {
            lender.run(token).await;
            Ok(())
        });
        let counting = Counting { from: handle.events.newest(), handle: handle.clone() };
        let token = stop.clone();
        tasks.spawn(async move {
            counting.run(token).await;
            Ok(())
        });
        tasks.spawn(Reminders(handle.clone()).run(stop.clone()));
        tasks.spawn(witnessing.run(stop.clone()));
        let (log, token) = (handle.events.clone(), stop.clone());
        tasks.spawn(async move {
            journal.run(log, token).await;
            Ok(())
        });
        if !alert_command.is_empty() {
            let watch = Watch { command: alert_command, handle: handle.clone() };
            tasks.spawn(watch.run(stop.clone()));
        }
        Ok(Self { handle, stop, tasks, network })
    }

    /// A handle on it.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs until `stop` is cancelled or a part fails, then stops in order: intake first, then what was
    /// submitted is stored, then the connections close.
    ///
    /// # Errors
    /// What made a part fail: the node must not go on and verifies its storage at the next start.
    pub async fn run_until(mut self, stop: CancellationToken) -> Result<(), RuntimeError> {
        let failed = tokio::select! {
            () = stop.cancelled() => None,
            Some(ended) = self.tasks.join_next() => Some(ended),
        };
        self.stop.cancel();
        self.network.stop().await;
        let mut outcome = failed.map_or(Ok(()), ended_early);
        let drain = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let (Ok(()), Ok(Err(error))) = (&outcome, ended) {
                    outcome = Err(error.into());
                }
            }
        };
        if tokio::time::timeout(DRAIN_TIME, drain).await.is_err() {
            tracing::warn!("some parts did not end in time");
        }
        outcome
    }
}

/// Where this node is to be found, as it is configured and as it said before.
fn own_addresses(machine: &Machine) -> Vec<Address> {
    let (config, evidence) = (machine.config(), machine.evidence());
    let record = evidence
        .listing(&config.member, config.node)
        .and_then(|listing| evidence.directory().record(listing));
    let said = record.map(|record| record.addresses.as_slice()).unwrap_or_default();
    let texts: std::collections::BTreeSet<&String> = config.addresses.iter().chain(said).collect();
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

/// A part that ends while the node should run has failed.
fn ended_early(ended: Result<Result<(), StoreError>, tokio::task::JoinError>) -> Result<(), RuntimeError> {
    match ended {
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(())) => Err(RuntimeError::System("a part of the node ended by itself".to_owned())),
        Err(panic) => Err(RuntimeError::System(format!("a part of the node failed: {panic}"))),
    }
}

/// How long the parts may take to end: a batch in hand is stored in milliseconds.
const DRAIN_TIME: std::time::Duration = std::time::Duration::from_secs(10);
