//! Makes a node's folder of a backup, after all of it was checked.
//!
//! The configuration is written last: without it nothing starts in a folder that is not complete. The folder is
//! marked as one that has signed before, whatever it remembers, so that the node asks others before it signs an
//! entry of its own chain.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use refpoint_protocol::{audit::journal_ended_mark, machine::signed_before_mark};

use super::{
    BackupError, Checked, NodePassphrase, Opener,
    archive::{Name, Next},
    check::{check, key_in, open_archive},
};
use crate::{
    config::{Config, NEXT_ROOT_KEY, NODE_KEY, Origin, ROOT_KEY, STORAGE_KEY},
    keyfile::{OWNER_ONLY_FILE, PUBLIC_FILE, SignedRecord, StorageKey, make_owner_folder, write_new},
    store::{Options, Rebuild, SledStore, StorageKey as StoreKey},
};

/// A folder that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What was in the backup.
    pub checked: Checked,
    /// Settings that were changed or need a look, in plain words.
    pub notes: Vec<String>,
}

/// Restores a backup into `folder`, which must be empty or not there. `moved` hears of the bytes read, all of them
/// twice.
///
/// # Errors
/// [`BackupError`]; what was begun is removed again, and a damaged backup begins nothing.
pub fn restore(
    file: &Path,
    folder: &Path,
    opener: &Opener<'_>,
    node_passphrase: &NodePassphrase<'_>,
    mut moved: impl FnMut(u64),
) -> Result<Restored, BackupError> {
    let is_new = !folder.exists();
    if !is_new && fs::read_dir(folder).map_err(BackupError::io("read", folder))?.next().is_some() {
        return Err(BackupError::NotEmpty(folder.to_path_buf()));
    }
    let checked = check(file, opener, node_passphrase, &mut moved)?;
    let written = write_all(file, folder, opener, node_passphrase, moved);
    match written {
        Ok(notes) => Ok(Restored { checked, notes }),
        Err(error) => {
            if let Err(cause) = remove_begun(folder, is_new) {
                tracing::warn!("what was begun in {} stays: {cause}", folder.display());
            }
            Err(error)
        }
    }
}

fn write_all(
    file: &Path,
    folder: &Path,
    opener: &Opener<'_>,
    node_passphrase: &NodePassphrase<'_>,
    moved: impl FnMut(u64),
) -> Result<Vec<String>, BackupError> {
    let (mut archive, manifest) = open_archive(file, opener, moved)?;
    make_owner_folder(folder).map_err(BackupError::io("make", folder))?;
    let data = folder.join(DATA);
    let mut config = None;
    let mut storage_key = None;
    let mut rebuild = None;
    loop {
        let (name, bytes) = match archive.next()? {
            Next::End(_) => break,
            Next::File(name, bytes) => (name, bytes),
        };
        match name {
            Name::Rows => {
                let missing = BackupError::Missing { name: "keys/storage.key" };
                let key: &StorageKey = storage_key.as_ref().ok_or(missing)?;
                let mut begun = Rebuild::begin(&data, StoreKey::from_bytes(key.as_bytes()))?;
                archive.body(name, bytes, |body| Ok(begun.rows(body)?))?;
                rebuild = Some(begun);
            }
            Name::Content(hash) => {
                let content = archive.small(name, bytes)?;
                rebuild
                    .as_ref()
                    .ok_or(BackupError::Missing { name: "data/rows" })?
                    .content(&hash, &content)?;
            }
            Name::Config => config = Some(archive.small(name, bytes)?),
            name => {
                let text = archive.small(name, bytes)?;
                if name == Name::StorageKey {
                    storage_key = Some(key_in(&manifest, file, name, &text, node_passphrase)?);
                }
                let mode = if name == Name::ReferencePoint { PUBLIC_FILE } else { OWNER_ONLY_FILE };
                write_small(&folder.join(place_of(name)), &text, mode)?;
            }
        }
    }
    let rebuild = rebuild.ok_or(BackupError::Missing { name: "data/rows" })?;
    rebuild.finish(&[signed_before_mark(), journal_ended_mark()])?;
    let key = storage_key.ok_or(BackupError::Missing { name: "keys/storage.key" })?;
    // Checks every row on the disk, runs upgrades, and ends in order.
    let (store, opened) = SledStore::open(&data, &StoreKey::from_bytes(key.as_bytes()), &Options::default())?;
    drop(store);
    let config = config.ok_or(BackupError::Missing { name: CONFIG })?;
    let (text, mut notes) = settled(folder, &config);
    if opened.set_aside > 0 {
        notes.push(format!(
            "{} records were damaged before the backup was made; peers give back what they hold",
            opened.set_aside
        ));
    }
    write_small(&folder.join(CONFIG), &text, PUBLIC_FILE)?;
    sync_folder(folder)?;
    Ok(notes)
}

/// Where a small file belongs in a node's folder.
fn place_of(name: Name) -> std::path::PathBuf {
    match name {
        Name::NodeKey => NODE_KEY.into(),
        Name::StorageKey => STORAGE_KEY.into(),
        Name::RootKey => ROOT_KEY.into(),
        Name::RootKeySigned => SignedRecord::path_beside(Path::new(ROOT_KEY)),
        Name::NextRootKey => NEXT_ROOT_KEY.into(),
        name => name.to_string().into(),
    }
}

/// The configuration with its paths of keys and data as the restored folder has them. Other lines stay as they are.
fn settled(folder: &Path, text: &[u8]) -> (Vec<u8>, Vec<String>) {
    let file = folder.join(CONFIG);
    let look = |why: String| vec![format!("refpoint.toml was restored as it was, and needs a look: {why}")];
    let Ok(old) = std::str::from_utf8(text) else {
        return (text.to_vec(), look("it is not text".to_owned()));
    };
    let config = match Config::parse(&file, old, None) {
        Ok(config) => config,
        Err(error) => return (text.to_vec(), look(error.to_string())),
    };
    let mut lines: Vec<String> = old.lines().map(str::to_owned).collect();
    let mut notes = Vec::new();
    for (key, path, standard) in [
        ("data", &config.data, DATA),
        ("node_key", &config.node_key, NODE_KEY),
        ("storage_key", &config.storage_key, STORAGE_KEY),
    ] {
        let origin = config.effective().into_iter().find(|(name, _, _)| *name == key);
        let Some((_, _, Origin::File(number))) = origin else { continue };
        let line = number.checked_sub(1).and_then(|at| lines.get_mut(at));
        let Some(line) = line.filter(|_| *path != folder.join(standard)) else { continue };
        notes.push(format!("refpoint.toml, line {number}: {key} was {}, now {standard:?}", path.display()));
        *line = format!("{key} = {standard:?}");
    }
    if let Some(passphrase) = &config.passphrase_file {
        notes.push(format!(
            "the passphrase file {} is not part of a backup: put it there",
            passphrase.display()
        ));
    }
    if !config.alert_command.is_empty() {
        notes.push(
            "the alert command's program is not part of a backup: check that it is installed".to_owned(),
        );
    }
    let new = format!("{}\n", lines.join("\n"));
    let fits = Config::parse(&file, &new, None).is_ok_and(|new| {
        let places = [(&new.data, DATA), (&new.node_key, NODE_KEY), (&new.storage_key, STORAGE_KEY)];
        places.iter().all(|(path, standard)| **path == folder.join(standard))
    });
    if fits {
        (new.into_bytes(), notes)
    } else {
        let why = format!("data, node_key and storage_key must name {DATA}, {NODE_KEY} and {STORAGE_KEY}");
        (text.to_vec(), look(why))
    }
}

fn write_small(path: &Path, bytes: &[u8], mode: u32) -> Result<(), BackupError> {
    let folder = path.parent().unwrap_or(path);
    make_owner_folder(folder).map_err(BackupError::io("make", folder))?;
    write_new(path, bytes, mode).map_err(BackupError::io("write", path))
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|handle| handle.sync_all()).map_err(BackupError::io("sync", folder))
}

/// Removes what a failed restore began in a folder that was empty.
fn remove_begun(folder: &Path, is_new: bool) -> io::Result<()> {
    if is_new {
        return match fs::remove_dir_all(folder) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        };
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

const CONFIG: &str = "refpoint.toml";
const DATA: &str = "data";
