//! A node's folder, opened by a command while the node is stopped.

use super::owner;
use crate::{
    cli::failure::Failure,
    config::Config,
    keyfile::{
        NodeSecret, PassphraseFile, PassphrasePurpose, Secret, StorageKey, obtain_passphrase, read_key,
    },
    store::{Opened, Options, SledStore, StorageKey as StoreKey},
};

/// The store of a folder that no node has open.
pub(super) struct OpenFolder {
    /// The store.
    pub(super) store: Box<SledStore>,
    /// What was found and done when it was opened.
    pub(super) opened: Opened,
}

impl OpenFolder {
    /// Opens the configured folder; it is made if it is not there.
    ///
    /// # Errors
    /// [`Failure`] if the storage key or the store cannot be opened, a node is running on the folder, or the folder
    /// belongs to another user.
    pub(super) fn open(config: &Config) -> Result<Self, Failure> {
        owner::check(&config.data, "the data folder was not opened")?;
        let key: StorageKey = open_key(config, &config.storage_key)?;
        let (store, opened) =
            SledStore::open(&config.data, &StoreKey::from_bytes(key.as_bytes()), &Options::default())?;
        Ok(Self { store: Box::new(store), opened })
    }
}

/// This node's key.
///
/// # Errors
/// [`Failure`] if its file cannot be opened.
pub(super) fn node_secret(config: &Config) -> Result<NodeSecret, Failure> {
    open_key(config, &config.node_key)
}

fn open_key<S: Secret>(config: &Config, file: &std::path::Path) -> Result<S, Failure> {
    let from = PassphraseFile(config.passphrase_file.clone());
    let asked = || obtain_passphrase(&from, PassphrasePurpose::Open, S::KIND.name());
    let (header, secret) = read_key(file, asked)?;
    if header.member == config.member {
        return Ok(secret);
    }
    let why = format!(
        "{} belongs to {}, and {} says {}",
        file.display(),
        header.member,
        config.file.display(),
        config.member
    );
    Err(Failure::error(
        "a key file is not used",
        why,
        "put the key of this member there, or correct `member`",
    ))
}
