//! A store in memory for the simulator and for tests, honest about what a power cut takes.
//!
//! It keeps no file. Its faults come on demand: a crash that forgets what was not synced, a full disk, a sync
//! that fails, a damaged record.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use refpoint_protocol::storage::{Change, Table};

use super::{Damage, Keys, Reserve, Row, Rows, SetAside, Store, StoreError, check_bounds};

/// A store that forgets what was not synced when it is told to [`MemoryStore::crash`].
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// Starts empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses power and comes back: every batch applied since the last sync is gone, and a stopped store works
    /// again, as it does after a restart.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// Loses power like [`MemoryStore::crash`], but the first `batches` unsynced ones had reached the device by
    /// chance. They survive whole and in order, as in a log.
    pub fn crash_keeping(&self, batches: usize) {
        let mut state = self.state();
        let kept: Vec<Vec<Change>> = state.unsynced.drain(..).take(batches).collect();
        for batch in kept {
            put(&mut state.synced, &batch);
        }
        state.current = state.synced.clone();
        state.stopped = None;
    }

    /// How many batches a crash would forget.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state().unsynced.len()
    }

    /// Refuses every batch that stores anything, until told otherwise.
    pub fn fill_disk(&self, is_full: Fullness) {
        self.state().fullness = is_full;
    }

    /// Makes the next sync fail, which stops the store.
    pub fn fail_next_sync(&self) {
        self.state().next_sync_fails = true;
    }

    /// Damages a record, if it is there: reading it fails from now on, also after a crash.
    pub fn damage(&self, table: Table, key: &[u8]) {
        let place = (table, key.to_vec());
        let mut guard = self.state();
        let state = &mut *guard;
        for records in [&mut state.synced, &mut state.current] {
            if let Some(record) = records.get_mut(&place) {
                *record = Record::Damaged(std::mem::take(record).into_bytes());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves whole batches behind: every change under the lock is complete.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a [`MemoryStore`] has space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fullness {
    /// There is space.
    #[default]
    Space,
    /// The larger reserve is used up: what fills disks is refused.
    Low,
    /// Nothing more can be stored; deleting works.
    Full,
}

impl Store for MemoryStore {
    fn apply_leaving(&self, changes: &[Change], reserve: Reserve) -> Result<(), StoreError> {
        let mut state = self.running()?;
        check_bounds(changes)?;
        let needed: usize =
            changes.iter().filter_map(|change| change.value.as_ref()).map(|value| value.len().max(1)).sum();
        let is_refused = match state.fullness {
            Fullness::Space => false,
            Fullness::Low => reserve == Reserve::Large,
            Fullness::Full => true,
        };
        if is_refused && needed > 0 {
            return Err(StoreError::DiskFull {
                folder: "memory".to_owned(),
                available: 0,
                needed: needed as u64,
            });
        }
        put(&mut state.current, changes);
        state.unsynced.push(changes.to_vec());
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.running()?;
        if std::mem::take(&mut state.next_sync_fails) {
            let error = StoreError::Failed { doing: "syncing", cause: "injected failure".to_owned() };
            state.stopped = Some(error.to_string());
            return Err(error);
        }
        for batch in std::mem::take(&mut state.unsynced) {
            put(&mut state.synced, &batch);
        }
        Ok(())
    }

    /// Nothing is left for later here.
    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn value(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.running()?;
        match state.current.get(&(table, key.to_vec())) {
            None => Ok(None),
            Some(Record::Whole(value)) => Ok(Some(value.clone())),
            Some(Record::Damaged(_)) => Err(damaged(table, key)),
        }
    }

    fn scan(&self, table: Table, keys: Keys<'_>) -> Rows<'_> {
        let state = match self.running() {
            Ok(state) => state,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let visited = || {
            state
                .current
                .range((table, keys.start())..)
                .take_while(|((of, _), _)| *of == table)
                .filter(|((_, key), _)| keys.contain(key))
        };
        let errors = visited()
            .filter(|(_, record)| matches!(record, Record::Damaged(_)))
            .map(|((table, key), _)| Err(damaged(*table, key)));
        let rows = visited().filter_map(|((_, key), record)| match record {
            Record::Whole(value) => Some(Ok((key.clone(), value.clone()))),
            Record::Damaged(_) => None,
        });
        let all: Vec<Row> = errors.chain(rows).collect();
        Box::new(all.into_iter())
    }

    fn set_aside(&self) -> Result<Vec<SetAside>, StoreError> {
        let state = self.running()?;
        let damaged = state.current.iter().filter_map(|((table, key), record)| match record {
            Record::Whole(_) => None,
            Record::Damaged(remains) => {
                Some(SetAside { table: *table, key: key.clone(), remains: remains.clone() })
            }
        });
        Ok(damaged.collect())
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn free_on_disk(&self) -> Result<u64, StoreError> {
        Ok(match self.state().fullness {
            Fullness::Space => u64::MAX,
            Fullness::Low => LOW_BYTES,
            Fullness::Full => 0,
        })
    }
}

impl MemoryStore {
    fn running(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        match &state.stopped {
            None => Ok(state),
            Some(first) => Err(StoreError::Stopped { first: first.clone() }),
        }
    }
}

type Records = BTreeMap<(Table, Vec<u8>), Record>;

#[derive(Default)]
struct State {
    /// What reads see.
    current: Records,
    /// What a crash leaves.
    synced: Records,
    /// The batches between the two.
    unsynced: Vec<Vec<Change>>,
    stopped: Option<String>,
    fullness: Fullness,
    next_sync_fails: bool,
}

#[derive(Clone)]
enum Record {
    Whole(Vec<u8>),
    Damaged(Vec<u8>),
}

impl Record {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Whole(bytes) | Self::Damaged(bytes) => bytes,
        }
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::Whole(Vec::new())
    }
}

/// What is said to be free when the larger reserve is used up.
const LOW_BYTES: u64 = 128 * 1024 * 1024;

fn put(records: &mut Records, changes: &[Change]) {
    for change in changes {
        let place = (change.table, change.key.clone());
        match &change.value {
            Some(value) => records.insert(place, Record::Whole(value.clone())),
            None => records.remove(&place),
        };
    }
}

fn damaged(table: Table, key: &[u8]) -> StoreError {
    StoreError::Damaged { table, key: key.to_vec(), damage: Damage::SetAside }
}
