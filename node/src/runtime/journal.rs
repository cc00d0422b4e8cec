//! Keeps the journal: follows the stored events a little behind, and says under the node's signature where it stands.
//!
//! Nothing that a message waits for waits for this. What is lost by a hard stop is followed again from the events.

mod tiers;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    audit::{Exporter, Journal, merkle::proof, note::Note},
    document::EncodeError,
    heads::JournalPosition,
    ids::{MemberCode, TreeRoot},
    limits::CLOCK_SKEW_MAX,
    machine::NumberedEvent,
    storage::Table,
    time::Timestamp,
};
use tokio_util::sync::CancellationToken;

use self::tiers::StoredTiers;
pub use self::tiers::TiersError;
use super::events::EventLog;
use crate::store::{Keys, Store, StoreError};

/// The journal and where it is stored. Cheap to clone.
#[derive(Clone)]
pub struct JournalKeeper {
    store: Arc<dyn Store>,
    started: Timestamp,
    /// `None` until it was opened.
    journal: Arc<Mutex<Option<Journal>>>,
}

/// Why the journal does not go on, or cannot say where it stands.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store refuses or has stopped.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A broken invariant of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// What a proof is made from is not there.
    #[error(transparent)]
    Tiers(#[from] TiersError),
}

impl JournalKeeper {
    /// Opens nothing yet: a full disk keeps no node from starting.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, now: Timestamp) -> Self {
        Self { store, started: now, journal: Arc::default() }
    }

    /// Follows the events until told to stop, at most once a second.
    pub(super) async fn run(self, events: EventLog, stop: CancellationToken) {
        let mut live = events.subscribe(None).live;
        loop {
            let keeper = self.clone();
            match tokio::task::spawn_blocking(move || keeper.catch_up()).await {
                Ok(Ok(())) => {}
                // They are followed with the next event, when there is room.
                Ok(Err(error)) => tracing::warn!(%error, "the journal is behind"),
                Err(error) => tracing::error!(%error, "the journal is behind"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                // Whatever came: the events are read from storage.
                _any = live.recv() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Follows all events that are stored by now.
    ///
    /// # Errors
    /// [`JournalError`]; the journal is as it was after the last batch that was stored.
    pub fn catch_up(&self) -> Result<(), JournalError> {
        self.caught_up(&mut self.journal()).map(drop)
    }

    /// Where the journal stands, signed once all of it is on the device.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn checkpoint(
        &self,
        exporter: &Exporter,
        key: &SigningKey,
        now: Timestamp,
    ) -> Result<Note, JournalError> {
        let mut journal = self.journal();
        let journal = self.caught_up(&mut journal)?;
        self.store.sync()?;
        Ok(signed(journal, exporter, key, now))
    }

    /// Where the journal stands, once all of it is on the device.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn synced(&self) -> Result<JournalPosition, JournalError> {
        let mut journal = self.journal();
        let stands = self.caught_up(&mut journal)?.stands();
        self.store.sync()?;
        Ok(stands)
    }

    /// The proof that an entry, by its number from 0, is among the first `size` ones of a journal.
    ///
    /// # Errors
    /// [`TiersError`] if not all that it is made from is stored.
    pub fn inclusion(&self, began: Timestamp, number: u64, size: u64) -> Result<Vec<TreeRoot>, TiersError> {
        proof::inclusion(&StoredTiers { store: self.store.as_ref(), began }, number, size)
    }

    /// The proof that a journal's first `size` entries continue its first `old` ones.
    ///
    /// # Errors
    /// [`TiersError`] if not all that it is made from is stored.
    pub fn consistency(&self, began: Timestamp, old: u64, size: u64) -> Result<Vec<TreeRoot>, TiersError> {
        proof::consistency(&StoredTiers { store: self.store.as_ref(), began }, old, size)
    }

    /// Reads a journal's hashes.
    pub(super) fn with_tiers<R>(&self, began: Timestamp, read: impl FnOnce(&StoredTiers<'_>) -> R) -> R {
        read(&StoredTiers { store: self.store.as_ref(), began })
    }

    /// Ends the journal and begins one that follows what a witness holds of it.
    ///
    /// # Errors
    /// [`JournalError`]; then the journal goes on as it was.
    pub fn succeed(&self, held: JournalPosition, now: Timestamp) -> Result<(), JournalError> {
        let mut slot = self.journal();
        let last_event = self.caught_up(&mut slot)?.last_event();
        // A journal that began later than this clock says is followed all the same.
        let began = now.max(after_began(&held));
        let (journal, changes) = Journal::begin(began, Some(held), last_event)?;
        self.store.apply(&changes)?;
        *slot = Some(journal);
        Ok(())
    }

    /// Ends a journal that is named by a time that has not come, by a clock that is right, and begins one now that
    /// names it: nobody would cosign it before its day. Whether it was so.
    ///
    /// # Errors
    /// [`JournalError`]; then the journal goes on as it was.
    pub fn redate(&self, now: Timestamp) -> Result<bool, JournalError> {
        let mut slot = self.journal();
        let journal = self.caught_up(&mut slot)?;
        let (stands, last_event) = (journal.stands(), journal.last_event());
        if stands.began <= now.after(CLOCK_SKEW_MAX) {
            return Ok(false);
        }
        let (journal, changes) = Journal::begin(now, Some(stands), last_event)?;
        self.store.apply(&changes)?;
        *slot = Some(journal);
        Ok(true)
    }

    /// Notes how far a witness cosigned the journal before this one; whether that was news.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn witnessed(
        &self,
        by: MemberCode,
        before: JournalPosition,
        now: Timestamp,
    ) -> Result<bool, JournalError> {
        let mut slot = self.journal();
        let mut journal = self.caught_up(&mut slot)?.clone();
        let changes = journal.witnessed(now, by, before)?;
        self.store.apply(&changes)?;
        *slot = Some(journal);
        Ok(!changes.is_empty())
    }

    fn caught_up<'a>(&self, slot: &'a mut Option<Journal>) -> Result<&'a Journal, JournalError> {
        let journal = match slot {
            Some(journal) => journal,
            None => slot.insert(self.opened()?),
        };
        loop {
            let after = journal.last_event().to_be_bytes();
            let mut batch = Vec::new();
            for row in self.store.scan(Table::Events, Keys::After(&after)).take(EVENTS_AT_ONCE) {
                match row {
                    Ok((_, value)) => batch.extend(NumberedEvent::from_row(&value).ok()),
                    Err(error) if error.is_fatal() => return Err(error.into()),
                    // It is journalled as missed, by the next one's number.
                    Err(_) => {}
                }
            }
            let mut next = journal.clone();
            let changes = next.follow(batch)?;
            if changes.is_empty() {
                return Ok(journal);
            }
            self.store.apply(&changes)?;
            *journal = next;
        }
    }

    /// Goes on with the stored journal; begins one where there is none, where a restore ended it, or where its head is
    /// damaged.
    fn opened(&self) -> Result<Journal, JournalError> {
        let store = self.store.as_ref();
        let before = match stored(store)? {
            Some(journal) if !ended(store)? => return Ok(journal),
            before => before.map(|journal| (journal.stands(), journal.last_event())),
        };
        // One that never was follows the events from the first that is kept.
        let after = match before {
            Some((_, last)) => last.min(number(store.scan(Table::Events, Keys::All).next_back())?),
            None => number(store.scan(Table::Events, Keys::All).find(Result::is_ok))?.saturating_sub(1),
        };
        let follows = before.map(|(stands, _)| stands);
        // It is named by when it began, so a clock that was set back must not give it the name of the one before.
        let began = follows.map_or(self.started, |follows| self.started.max(after_began(&follows)));
        let (journal, changes) = Journal::begin(began, follows, after)?;
        store.apply(&changes)?;
        match follows {
            None => tracing::info!("this node's journal begins"),
            Some(JournalPosition { size, .. }) => {
                tracing::info!(entries = size, "a new journal begins, and names where the one before stood");
            }
        }
        Ok(journal)
    }

    fn journal(&self) -> MutexGuard<'_, Option<Journal>> {
        // It is replaced as a whole.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the journal of a stopped node stands, if it has one that a restore did not end.
///
/// # Errors
/// [`StoreError`] if the store does not answer.
pub fn stopped_checkpoint(
    store: &dyn Store,
    exporter: &Exporter,
    key: &SigningKey,
    now: Timestamp,
) -> Result<Option<Note>, StoreError> {
    let journal = stored(store)?;
    let ended = ended(store)?;
    Ok(journal.filter(|_| !ended).map(|journal| signed(&journal, exporter, key, now)))
}

fn signed(journal: &Journal, exporter: &Exporter, key: &SigningKey, now: Timestamp) -> Note {
    let Exporter { federation, member, node } = exporter.clone();
    journal.checkpoint((federation, member, node), key, now)
}

/// The first moment at which a journal may begin that follows another.
fn after_began(before: &JournalPosition) -> Timestamp {
    before.began.after(Duration::from_millis(1))
}

/// The stored journal; one whose head is damaged counts as none.
fn stored(store: &dyn Store) -> Result<Option<Journal>, StoreError> {
    let told = |error: &dyn std::fmt::Display| tracing::error!(%error, "the journal's head cannot be read");
    match store.value(Table::OwnState, Journal::HEAD) {
        Ok(None) => Ok(None),
        Ok(Some(head)) => Ok(Journal::restore(&head).map_err(|error| told(&error)).ok()),
        Err(error) if error.is_fatal() => Err(error),
        Err(error) => {
            told(&error);
            Ok(None)
        }
    }
}

fn ended(store: &dyn Store) -> Result<bool, StoreError> {
    match store.value(Table::OwnState, Journal::ENDED) {
        Ok(mark) => Ok(mark.is_some()),
        Err(error) if error.is_fatal() => Err(error),
        // It was there once.
        Err(_) => Ok(true),
    }
}

fn number(row: Option<crate::store::Row>) -> Result<u64, StoreError> {
    match row {
        Some(Ok((key, _))) => Ok(<[u8; 8]>::try_from(key).map(u64::from_be_bytes).unwrap_or_default()),
        Some(Err(error)) if error.is_fatal() => Err(error),
        Some(Err(_)) | None => Ok(0),
    }
}

/// How long events gather before they are followed: one batch for many, and few rewritten heads.
const PAUSE: Duration = Duration::from_secs(1);

/// Events followed in one batch: about 100 KB of rows.
const EVENTS_AT_ONCE: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::{
        audit::{
            JournalCheckpoint, entry_key, journal_ended_mark,
            merkle::{Tree, leaf_hash},
        },
        ids::{FederationId, NodeKey},
        machine::Event,
        storage::Change,
    };

    use super::*;
    use crate::store::{Fullness, MemoryStore};

    const STARTED: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn happened(store: &MemoryStore, number: u64, event: Event) {
        let row = NumberedEvent { number, at: STARTED, event }.to_row().unwrap();
        store.apply(&[Change::put(Table::Events, number.to_be_bytes(), row)]).unwrap();
    }

    fn read(keeper: &JournalKeeper) -> JournalCheckpoint {
        let key = SigningKey::from_bytes(&[7; 32]);
        let node = NodeKey::from_bytes(key.verifying_key().to_bytes());
        let federation = FederationId::from_bytes([1; 32]);
        let exporter = Exporter { federation, member: "KE".parse().unwrap(), node };
        let note = keeper.checkpoint(&exporter, &key, STARTED).unwrap();
        JournalCheckpoint::read(note.to_string().as_bytes()).unwrap()
    }

    fn leaves(store: &MemoryStore) -> Vec<Vec<u8>> {
        store.scan(Table::Journal, Keys::All).map(|row| row.unwrap().1).collect()
    }

    /// The root of the rows that are stored.
    fn root_of(rows: &[Vec<u8>]) -> refpoint_protocol::ids::TreeRoot {
        let mut tree = Tree::default();
        rows.iter().for_each(|row| tree.push(row));
        tree.root()
    }

    #[test]
    fn it_follows_what_happened_over_crashes_and_signs_what_is_on_the_device() {
        let store = Arc::new(MemoryStore::new());
        let keeper = JournalKeeper::new(store.clone(), STARTED);
        happened(&store, 1, Event::TwinSeen);
        // Connections are nobody's deed.
        let peer = Event::PeerConnected { member: "FR".parse().unwrap(), node: NodeKey::from_bytes([2; 32]) };
        happened(&store, 2, peer);
        happened(&store, 3, Event::TwinSeen);
        let first = read(&keeper);
        assert_eq!((first.size, first.root), (3, root_of(&leaves(&store))));
        // What was followed and not yet on the device is followed again.
        happened(&store, 4, Event::TwinSeen);
        keeper.catch_up().unwrap();
        store.crash();
        happened(&store, 4, Event::ClockJudged { right: true, offset_millis: -3 });
        let keeper = JournalKeeper::new(store.clone(), STARTED);
        let second = read(&keeper);
        assert_eq!((&second.origin, second.size), (&first.origin, 4));
        assert_eq!(second.root, root_of(&leaves(&store)));
        assert_eq!(root_of(&leaves(&store)[..3]), first.root, "it only grew");
    }

    #[test]
    fn proofs_are_made_from_what_is_stored_and_a_missing_row_is_told() {
        let store = Arc::new(MemoryStore::new());
        let keeper = JournalKeeper::new(store.clone(), STARTED);
        happened(&store, 1, Event::TwinSeen);
        let first = read(&keeper);
        (2..=700).for_each(|number| happened(&store, number, Event::TwinSeen));
        let last = read(&keeper);
        assert_eq!((first.size, last.size), (2, 701));
        let began = last.origin.began;
        let proof = keeper.consistency(began, first.size, last.size).unwrap();
        let (before, after) = ((first.size, first.root), (last.size, last.root));
        proof::check_consistency(before, after, &proof).unwrap();
        let leaves = leaves(&store);
        for number in [0, 255, 256, 511, 512, 700] {
            let proof = keeper.inclusion(began, number, last.size).unwrap();
            let leaf = leaf_hash(&leaves[usize::try_from(number).unwrap()]);
            proof::check_inclusion(&leaf, number, after, &proof).unwrap();
        }
        // Of the first 256 entries only the root is needed, of the second only that and what the place itself needs.
        store.apply(&[Change::delete(Table::Journal, entry_key(began, 3))]).unwrap();
        assert!(keeper.inclusion(began, 300, last.size).is_ok());
        let lost = keeper.inclusion(began, 4, last.size).unwrap_err();
        assert!(matches!(lost, TiersError::Missing { tier: 0, number: 2..=3 }), "{lost}");
    }

    #[test]
    fn what_a_witness_holds_is_named_by_the_journal_that_follows() {
        let store = Arc::new(MemoryStore::new());
        happened(&store, 1, Event::TwinSeen);
        let keeper = JournalKeeper::new(store.clone(), STARTED);
        let old = read(&keeper);
        let root = TreeRoot::from_bytes([0xEE; 32]);
        happened(&store, 2, Event::TwinSeen);
        // The witness's journal of this node began later than this node's clock says.
        let held = JournalPosition { began: STARTED.after(Duration::from_secs(9)), size: 70, root };
        keeper.succeed(held, STARTED.after(Duration::from_secs(1))).unwrap();
        let new = read(&keeper);
        assert!(new.origin.began > held.began && new.size == 1, "{new:?}");
        let rows = leaves(&store);
        assert!(rows.last().unwrap().windows(32).any(|bytes| bytes == root.as_bytes()));
        assert_eq!(rows.len() as u64, old.size + 2, "what happened before is in the old one");
        happened(&store, 3, Event::TwinSeen);
        assert_eq!(read(&JournalKeeper::new(store.clone(), STARTED)).size, 2);
    }

    #[test]
    fn a_journal_of_a_day_that_has_not_come_ends_once_the_clock_is_right() {
        let store = Arc::new(MemoryStore::new());
        let ahead = STARTED.after(Duration::from_secs(200 * 86_400));
        let keeper = JournalKeeper::new(store.clone(), ahead);
        happened(&store, 1, Event::TwinSeen);
        let old = read(&keeper);
        assert!(!keeper.redate(ahead).unwrap());
        let keeper = JournalKeeper::new(store.clone(), STARTED);
        assert!(keeper.redate(STARTED).unwrap());
        let new = read(&keeper);
        assert_eq!((old.origin.began, new.origin.began, new.size), (ahead, STARTED, 1));
        assert!(leaves(&store).iter().any(|row| row.windows(32).any(|bytes| bytes == old.root.as_bytes())));
        assert!(!keeper.redate(STARTED).unwrap());
        happened(&store, 2, Event::TwinSeen);
        assert_eq!(read(&JournalKeeper::new(store.clone(), STARTED)).size, 2, "it is this one that goes on");
    }

    #[test]
    fn a_full_disk_stops_no_node_and_what_was_never_stored_is_journalled_as_missed() {
        let store = Arc::new(MemoryStore::new());
        let keeper = JournalKeeper::new(store.clone(), STARTED);
        store.fill_disk(Fullness::Full);
        assert!(keeper.catch_up().is_err());
        store.fill_disk(Fullness::Space);
        happened(&store, 5, Event::TwinSeen);
        keeper.catch_up().unwrap();
        happened(&store, 9, Event::TwinSeen);
        // It began with the first event that was kept; 6 to 8 are gone.
        assert_eq!(read(&keeper).size, 4);
        assert_eq!(read(&keeper).size, 4, "nothing twice");
    }

    #[test]
    fn after_a_restore_a_new_journal_begins_and_names_where_the_old_one_stood() {
        let store = Arc::new(MemoryStore::new());
        happened(&store, 1, Event::TwinSeen);
        let old = read(&JournalKeeper::new(store.clone(), STARTED));
        store.apply(&[journal_ended_mark()]).unwrap();
        let later = Timestamp::from_millis(STARTED.as_millis() + 1);
        let new = read(&JournalKeeper::new(store.clone(), later));
        assert_eq!((new.origin.began, new.size), (later, 1));
        // Its first entry is the last row: rows are sorted by when their journal began.
        let first = leaves(&store).pop().unwrap();
        assert!(first.windows(32).any(|bytes| bytes == old.root.as_bytes()), "it names the root");
        // The mark is gone, and the journal goes on.
        assert_eq!(read(&JournalKeeper::new(store.clone(), later)).size, 1);
    }
}
