//! Opening a data folder: guard, lock, check, and the ladder of remedies when the database does not open.
//!
//! After an end that was not orderly the database is copied before sled touches it, since sled cuts off what it
//! cannot read; the copy goes when every row has been checked. What a remedy may remove is only what sled derives
//! from its log (snapshots). If no remedy helps, the database is put back as it was and opening fails: a folder
//! that held records is never started empty.

use std::{
    collections::BTreeSet,
    fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use refpoint_protocol::storage::Table;

use super::{
    Damage, OpenError, Options, SledStore, StorageKey, Store, StoreError,
    content::Unread,
    error::is_lack_of_room,
    folder::{Layout, Lock, copy_folder, create_data_folder, create_folder, sync_folder},
    record::{self, FileReference, Place, Shape},
    schema::{self, Founding, Migrated},
    sled::{FOUNDING, Gap, Moved, SET_ASIDE},
    snapshot::{self, SnapshotError},
};

/// What was found and done when a folder was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Whether the folder was new.
    pub is_new: bool,
    /// What a recovery did, if one was needed.
    pub recovered: Option<Recovered>,
    /// What a check of every row found; made after a recovery and when the last end was not orderly.
    pub checked: Option<Checked>,
    /// The upgrades that were run.
    pub migrated: Vec<Migrated>,
    /// Damaged records, from now or earlier, that wait for being fetched again.
    pub set_aside: usize,
}

/// A recovery that worked. The records that are left were all checked, but the last ones written may be gone:
/// peers have to be asked, and people told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// What the database said.
    pub cause: String,
    /// What helped.
    pub remedy: Remedy,
    /// Batches that were acknowledged and are not there any more, as far as is known.
    pub lost: u64,
    /// Where the database lies as it was before.
    pub copy: PathBuf,
}

/// What can help a database that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Removing snapshots that were not finished.
    WithoutUnfinishedSnapshots,
    /// Removing all snapshots, so that sled reads its whole log.
    WithoutSnapshots,
    /// Nothing: it opens, and what it lost is lost.
    AsFound,
}

/// What a check of every row found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Rows that are whole.
    pub rows: u64,
    /// Damaged rows, which were set aside: table and key.
    pub damaged: Vec<(Table, Vec<u8>)>,
    /// Content files that no row named, which were removed.
    pub swept: u64,
}

impl SledStore {
    /// Opens a data folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with which path and what to do about it.
    pub fn open(
        folder: &Path,
        storage_key: &StorageKey,
        options: &Options,
    ) -> Result<(Self, Opened), OpenError> {
        let layout = Layout::new(folder);
        // Before anything is made or locked: a newer folder stays as it is.
        schema::guard(&layout, schema::CURRENT)?;
        create_data_folder(folder)?;
        let lock = Arc::new(Lock::take(&layout)?);
        let found = schema::guard(&layout, schema::CURRENT)?;
        let has_database = exists(&layout.database_file())?;
        if found.is_some() && !has_database {
            return Err(OpenError::DatabaseMissing { folder: folder.to_path_buf() });
        }
        create_folder(&layout.content())?;
        match snapshot::remove_leftover(&layout.snapshot()) {
            // Whoever reads it removes it.
            Ok(()) | Err(SnapshotError::InUse) => {}
            Err(error) => tracing::warn!("what a backup left behind stays: {error}"),
        }
        let was_orderly = take_mark(&layout)?;
        let opening = Opening { layout: &layout, lock: &lock, storage_key, options, found };
        let depth = if has_database && !was_orderly { Depth::EveryRow } else { Depth::Founding };
        if depth == Depth::EveryRow {
            opening.copy_before_opening()?;
        }
        let attempted = match opening.attempt(depth) {
            Ok(attempted) if attempted.lost > 0 => {
                let lost = attempted.lost;
                // sled lets nobody else open its database, not even us.
                drop(attempted);
                opening.recover(format!("its last {lost} batches are missing"))?
            }
            Ok(attempted) => attempted,
            Err(Attempt::Broken(cause)) => opening.recover(cause)?,
            Err(Attempt::Final(error)) => return Err(error),
        };
        let Attempted { store, mut opened, schema, .. } = attempted;
        opened.migrated = schema::migrate(&store, schema::MIGRATIONS, schema, schema::CURRENT)?;
        if found.is_none() {
            schema::write_guard(&layout, schema::CURRENT)?;
        }
        opened.set_aside = store.set_aside().map_err(|cause| opening.failed(cause))?.len();
        opening.remove_copy()?;
        store.accept().map_err(|cause| opening.failed(cause))?;
        Ok((store, opened))
    }
}

/// What every attempt to open needs.
struct Opening<'a> {
    layout: &'a Layout,
    lock: &'a Arc<Lock>,
    storage_key: &'a StorageKey,
    options: &'a Options,
    /// What the schema file says, if the folder has one.
    found: Option<u32>,
}

/// How far an attempt looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Founding,
    EveryRow,
    /// Every row of what there is, with the end of the log even if the database lacks what is before.
    WhateverIsThere,
}

/// An attempt that opened the database.
struct Attempted {
    store: SledStore,
    opened: Opened,
    schema: u32,
    /// Batches that were known to be stored and are not there.
    lost: u64,
}

/// Why an attempt failed.
enum Attempt {
    /// The database is broken; a remedy may help.
    Broken(String),
    /// Nothing here can help.
    Final(OpenError),
}

impl Opening<'_> {
    /// Opens the database once.
    fn attempt(&self, depth: Depth) -> Result<Attempted, Attempt> {
        let broken = |error: StoreError| Attempt::Broken(error.to_string());
        let gap = if depth == Depth::WhateverIsThere { Gap::Skip } else { Gap::Stop };
        let (store, lost) =
            SledStore::start(self.layout, self.lock, self.storage_key.duplicate(), self.options, gap)
                .map_err(Attempt::Broken)?;
        let mut opened = Opened::default();
        let schema = match schema::founding(&store).map_err(broken)? {
            Founding::Schema(schema) if schema > schema::CURRENT => {
                return Err(Attempt::Final(OpenError::NewerSchema {
                    folder: self.folder(),
                    found: schema,
                    known: schema::CURRENT,
                }));
            }
            Founding::Schema(schema) => schema,
            Founding::OtherKey => {
                return Err(Attempt::Final(OpenError::WrongKey { folder: self.folder() }));
            }
            Founding::Damaged => {
                return Err(Attempt::Broken("its founding record is damaged".to_owned()));
            }
            Founding::Missing if self.found.is_none() && store.database.is_empty() => {
                schema::write_founding(&store, schema::CURRENT).map_err(broken)?;
                opened.is_new = true;
                schema::CURRENT
            }
            Founding::Missing => return Err(Attempt::Broken("its founding record is missing".to_owned())),
        };
        // A check removes content files that no row names: not before it is settled which rows there are.
        if depth == Depth::WhateverIsThere || (depth == Depth::EveryRow && lost == 0) {
            opened.checked = Some(check(&store).map_err(broken)?);
        }
        Ok(Attempted { store, opened, schema, lost })
    }

    /// Goes through the remedies on a database of which a copy lies aside.
    fn recover(&self, cause: String) -> Result<Attempted, OpenError> {
        let database = self.layout.database();
        if !exists(&self.layout.before_opening())? {
            self.copy_before_opening()?;
        }
        tracing::error!("the database does not open as it should: {cause}; trying without its snapshots");
        let mut last = cause.clone();
        let mut opens = false;
        for remedy in [Remedy::WithoutUnfinishedSnapshots, Remedy::WithoutSnapshots] {
            let removed = remove_snapshots(&database, remedy).map_err(|cause| OpenError::Folder {
                doing: "remove snapshots in",
                path: database.clone(),
                cause,
            })?;
            if removed == 0 {
                continue;
            }
            match self.attempt(Depth::EveryRow) {
                Ok(attempted) if attempted.lost == 0 => return self.recovered(attempted, cause, remedy),
                Ok(_) => opens = true,
                Err(Attempt::Final(error)) => return Err(error),
                Err(Attempt::Broken(cause)) => last = cause,
            }
        }
        match self.attempt(Depth::WhateverIsThere) {
            Ok(attempted) => {
                let remedy = if opens { Remedy::WithoutSnapshots } else { Remedy::AsFound };
                return self.recovered(attempted, cause, remedy);
            }
            Err(Attempt::Final(error)) => return Err(error),
            Err(Attempt::Broken(cause)) => last = if opens { cause } else { last },
        }
        // Put back what was there, so that nothing is lost and the next start says the same.
        let copy = self.layout.before_opening();
        fs::remove_dir_all(&database)
            .and_then(|()| fs::rename(&copy, &database))
            .and_then(|()| sync_folder(self.layout.folder()))
            .map_err(|cause| OpenError::Folder { doing: "put the database back from", path: copy, cause })?;
        Err(OpenError::Unrecoverable { folder: self.folder(), database, cause: last })
    }

    /// Keeps the copy under a name for people, and reports.
    fn recovered(
        &self,
        mut attempted: Attempted,
        cause: String,
        remedy: Remedy,
    ) -> Result<Attempted, OpenError> {
        let copy = (1_u32..=u32::MAX)
            .map(|number| self.layout.folder().join(format!("database.damaged-{number}")))
            .find(|path| !path.exists())
            .unwrap_or_else(|| self.layout.folder().join("database.damaged"));
        self.rename(&self.layout.before_opening(), &copy)?;
        let lost = attempted.lost;
        tracing::error!(copy = %copy.display(), lost, "the database was recovered; its last records may be missing");
        attempted.opened.recovered = Some(Recovered { cause, remedy, lost, copy });
        Ok(attempted)
    }

    /// Copies the database before sled touches it: sled cuts off whatever it cannot read.
    ///
    /// A copy that is there already comes from an opening that was cut short. It is the better one.
    fn copy_before_opening(&self) -> Result<(), OpenError> {
        let (copy, incomplete) = (self.layout.before_opening(), self.layout.incomplete());
        self.remove_incomplete()?;
        if exists(&copy)? {
            return Ok(());
        }
        match copy_folder(&self.layout.database(), &incomplete) {
            Ok(()) => self.rename(&incomplete, &copy),
            // A full disk must not keep a node from starting whose database is most likely whole.
            Err(cause) if is_lack_of_room(&cause) => {
                tracing::warn!("no room to copy the database before it is checked: {cause}");
                self.remove_incomplete()
            }
            Err(cause) => Err(OpenError::Folder { doing: "copy the database to", path: incomplete, cause }),
        }
    }

    /// Removes the copy of a database that turned out well.
    fn remove_copy(&self) -> Result<(), OpenError> {
        if exists(&self.layout.before_opening())? {
            // Under another name first, so that half a copy is never taken for a whole one.
            self.rename(&self.layout.before_opening(), &self.layout.incomplete())?;
        }
        self.remove_incomplete()
    }

    fn remove_incomplete(&self) -> Result<(), OpenError> {
        let path = self.layout.incomplete();
        if exists(&path)? {
            fs::remove_dir_all(&path).map_err(|cause| OpenError::Folder { doing: "remove", path, cause })?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), OpenError> {
        fs::rename(from, to)
            .and_then(|()| sync_folder(self.layout.folder()))
            .map_err(|cause| OpenError::Folder { doing: "rename", path: from.to_path_buf(), cause })
    }

    fn folder(&self) -> PathBuf {
        self.layout.folder().to_path_buf()
    }

    fn failed(&self, cause: StoreError) -> OpenError {
        OpenError::Store { folder: self.folder(), cause }
    }
}

/// Checks every row, sets the damaged ones aside, and removes content files that no row names.
///
/// Content files are only looked at: their bytes are checked whenever they are read.
fn check(store: &SledStore) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let mut named = BTreeSet::new();
    let mut rows = store.raw_rows((Bound::Unbounded, Bound::Unbounded));
    while let Some((row_key, row)) = store.call("checking every row", || rows.next().transpose())? {
        let Some((&prefix, key)) = row_key.split_first() else { continue };
        if prefix == FOUNDING {
            continue;
        }
        if prefix == SET_ASIDE {
            named.extend(reference_of_aside(store, key, &row).map(|reference| reference.hash));
            continue;
        }
        let Some(table) = Table::from_id(prefix) else {
            return Err(StoreError::Failed {
                doing: "checking every row",
                cause: format!("a row belongs to no table ({prefix:#04x})"),
            });
        };
        let place = Place::of(table, key);
        let reference = record::file_reference(place, &row, &store.storage_key);
        named.extend(reference.map(|reference| reference.hash));
        match check_row(store, place, &row, reference) {
            Ok(()) => checked.rows += 1,
            Err(Unread::Unreadable(cause)) => {
                return Err(StoreError::Failed {
                    doing: "looking at a content file",
                    cause: cause.to_string(),
                });
            }
            Err(Unread::Damaged(damage)) => {
                if matches!(store.put_aside(table, key, &row)?, Moved::Aside) {
                    tracing::error!(table = table.name(), "a damaged record was set aside: {damage}");
                    checked.damaged.push((table, key.to_vec()));
                }
            }
        }
    }
    checked.swept = store.content.sweep(|hash| Ok(named.contains(hash)))?;
    store.sync()?;
    Ok(checked)
}

fn check_row(
    store: &SledStore,
    place: Place<'_>,
    row: &[u8],
    reference: Option<FileReference>,
) -> Result<(), Unread> {
    let (shape, _) = record::decode(place, row, &store.storage_key).map_err(Unread::Damaged)?;
    match (shape, reference) {
        (Shape::Inline, _) => Ok(()),
        (Shape::File, Some(reference)) => store.content.look(reference),
        (Shape::File, None) | (Shape::Content, _) => Err(Unread::Damaged(Damage::Checksum)),
    }
}

/// The content file that a set-aside row names, which is kept as long as the row.
fn reference_of_aside(store: &SledStore, aside: &[u8], remains: &[u8]) -> Option<FileReference> {
    let place = Place { prefix: SET_ASIDE, key: aside, secret: false };
    let (_, row) = record::decode(place, remains, &store.storage_key).ok()?;
    let (&table, key) = aside.split_first()?;
    record::file_reference(Place::of(Table::from_id(table)?, key), &row, &store.storage_key)
}

/// Removes snapshots and returns how many.
fn remove_snapshots(database: &Path, remedy: Remedy) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(database)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let goes = name.starts_with("snap.")
            && match remedy {
                Remedy::WithoutUnfinishedSnapshots => name.ends_with(".generating"),
                Remedy::WithoutSnapshots => true,
                Remedy::AsFound => false,
            };
        if goes {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    sync_folder(database)?;
    Ok(removed)
}

/// Takes the mark of an orderly end away, durably, and says whether it was there.
fn take_mark(layout: &Layout) -> Result<bool, OpenError> {
    let path = layout.clean();
    match fs::remove_file(&path) {
        Ok(()) => sync_folder(layout.folder()).map(|()| true),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    }
    .map_err(|cause| OpenError::Folder { doing: "remove", path, cause })
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(|cause| OpenError::Folder {
        doing: "look for",
        path: path.to_path_buf(),
        cause,
    })
}
