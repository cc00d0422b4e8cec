//! Node folders of sample members: everything that `refpoint run` needs, on loopback and free ports.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use refpoint_protocol::{
    document::{EncodeError, encode},
    ids::{DocumentId, MemberCode},
    storage::{Change, Table},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Published, Sample, SampleMember, ports::listen_on_free_port};
use crate::{
    ceremony::Hint,
    config::{NODE_KEY, ROOT_KEY, STORAGE_KEY},
    founding::{FEDERATION_KEY, HINTS_KEY, key_set_change},
    keyfile::{
        KeyFileError, OWNER_ONLY_FILE, PUBLIC_FILE, StorageKey, WorkFactor, make_owner_folder,
        passphrase_from, write_key, write_new,
    },
    reference_point_file::text_of,
    store::{OpenError, Options, SledStore, StorageKey as StoreKey, Store as _, StoreError},
};

/// A member whose folder is ready for `refpoint run`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunningMember {
    /// The member.
    pub member: MemberCode,
    /// Its folder.
    pub folder: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The socket of its commands.
    pub socket: PathBuf,
}

/// Where a running member's node is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The member.
    pub member: MemberCode,
    /// Where its node listens.
    pub listen: SocketAddr,
    /// Where the others dial it: the same, unless something stands before it.
    pub announce: SocketAddr,
}

/// Why a folder was not made.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is something in the way.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// A path is too long for a Unix socket.
    #[error("{} is too long for a Unix socket, which has at most {SOCKET_BYTES_MAX} bytes", .0.display())]
    SocketPath(PathBuf),
    /// The system refused.
    #[error("cannot make {}: {source}", path.display())]
    Io {
        /// What was being made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No free port.
    #[error("no free port on loopback: {0}")]
    Port(io::Error),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// A key file was not written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The store was not made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store was not filled.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value of ours without a canonical form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Sample {
    /// Makes a folder in `directory` for each of these members, in their order, filled with the whole
    /// federation's evidence, on free ports of loopback. `told` hears of each that is done.
    ///
    /// # Errors
    /// [`FolderError`]; a folder with something in it is left alone.
    pub fn write_folders(
        &self,
        directory: &Path,
        running: &[MemberCode],
        told: impl FnMut(),
    ) -> Result<Vec<RunningMember>, FolderError> {
        // All are held until every folder is made, so that no port is given twice.
        let mut held = Vec::new();
        let mut placements = Vec::new();
        for member in running {
            let listener = listen_on_free_port().map_err(FolderError::Port)?;
            let listen = listener.local_addr().map_err(FolderError::Port)?;
            held.push(listener);
            placements.push(Placement { member: member.clone(), listen, announce: listen });
        }
        self.write_folders_at(directory, &placements, told)
    }

    /// The same with each node at a place that the caller chose.
    ///
    /// # Errors
    /// [`FolderError`]; a folder with something in it is left alone.
    pub fn write_folders_at(
        &self,
        directory: &Path,
        placements: &[Placement],
        mut told: impl FnMut(),
    ) -> Result<Vec<RunningMember>, FolderError> {
        let io = |path: &Path, source| FolderError::Io { path: path.to_owned(), source };
        if fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(FolderError::NotEmpty(directory.to_owned()));
        }
        make_owner_folder(directory).map_err(|error| io(directory, error))?;
        let directory = fs::canonicalize(directory).map_err(|error| io(directory, error))?;
        let mut made = Vec::new();
        for place in placements {
            let Some(member) = self.member(&place.member) else { continue };
            let folder = directory.join(member.country.code.as_str());
            let socket = folder.join("data/refpoint.sock");
            if socket.as_os_str().len() > SOCKET_BYTES_MAX {
                return Err(FolderError::SocketPath(socket));
            }
            let config = folder.join("refpoint.toml");
            let running =
                RunningMember { member: place.member.clone(), folder, config, listen: place.listen, socket };
            made.push((member, running, place.announce));
        }
        let hints: Vec<Hint> = made
            .iter()
            .map(|(member, place, announce)| Hint {
                member: place.member.clone(),
                node: member.node.key(),
                addresses: vec![announce.to_string()],
            })
            .collect();
        let changes = self.changes(&hints)?;
        for (member, place, announce) in &made {
            write_folder(member, place, *announce, &changes)?;
            told();
        }
        Ok(made.into_iter().map(|(_, place, _)| place).collect())
    }

    /// What every running member holds from the start: the evidence of all, and where the running ones are.
    ///
    /// # Errors
    /// [`EncodeError`]: an invariant of ours is broken.
    pub fn changes(&self, hints: &[Hint]) -> Result<Vec<Change>, EncodeError> {
        let mut changes = vec![
            Change::put(
                Table::Charters,
                *DocumentId::from(self.federation).as_bytes(),
                encode(&self.charter)?,
            ),
            Change::put(Table::OwnState, FEDERATION_KEY, *self.federation.as_bytes()),
            Change::put(Table::OwnState, HINTS_KEY, encode(hints)?),
        ];
        for member in &self.members {
            changes.push(key_set_change(self.federation, &member.key_set)?);
            self.put_chain(Table::ReferencePoints, &member.reference_point, &mut changes)?;
            if let Some(record) = &member.node_record {
                self.put_chain(Table::NodeRecords, record, &mut changes)?;
            }
        }
        Ok(changes)
    }

    fn put_chain(
        &self,
        table: Table,
        published: &Published,
        changes: &mut Vec<Change>,
    ) -> Result<(), EncodeError> {
        let id = published.header.id(Some(self.federation));
        changes.push(Change::put(table, *id.as_bytes(), encode(&published.header)?));
        let hash: [u8; 32] = Sha256::digest(&published.body).into();
        changes.push(Change::put(Table::Bodies, hash, published.body.clone()));
        Ok(())
    }
}

fn write_folder(
    member: &SampleMember,
    place: &RunningMember,
    announce: SocketAddr,
    changes: &[Change],
) -> Result<(), FolderError> {
    let (code, folder) = (&place.member, &place.folder);
    let storage = StorageKey::generate()?;
    write_key(&folder.join(NODE_KEY), code, &member.node, None)?;
    write_key(&folder.join(STORAGE_KEY), code, &storage, None)?;
    let passphrase = passphrase_from(SAMPLE_PASSPHRASE);
    write_key(&folder.join(ROOT_KEY), code, &member.root, Some((&passphrase, WorkFactor::SAMPLE)))?;
    let config = format!(
        "# A sample member on this machine.\nmember = \"{code}\"\nlisten = \"{}\"\nannounce = [\"{announce}\"]\n\
         allow_private_addresses = true\n",
        place.listen
    );
    for (path, text, mode) in [
        (place.config.clone(), config, PUBLIC_FILE),
        (folder.join("reference-point.toml"), text_of(&member.entry), PUBLIC_FILE),
        (folder.join("keys/sample-passphrase"), format!("{SAMPLE_PASSPHRASE}\n"), OWNER_ONLY_FILE),
    ] {
        write_new(&path, text.as_bytes(), mode).map_err(|source| FolderError::Io { path, source })?;
    }
    let key = StoreKey::from_bytes(storage.as_bytes());
    let (store, _) = SledStore::open(&folder.join("data"), &key, &Options::default())?;
    store.apply(changes)?;
    store.sync()?;
    Ok(())
}

/// The passphrase of every sample root key: it lies beside it, since the key is worth nothing.
const SAMPLE_PASSPHRASE: &str = "a sample protects nothing";

/// Bytes of a Unix socket's path on Linux, without the final zero.
const SOCKET_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::{clock::Clock, config::Config, founding::stored_evidence, sample::Draw};

    #[test]
    fn folders_are_complete_and_of_one_federation() {
        let root = tempfile::tempdir().unwrap();
        let running: Vec<MemberCode> = ["KE", "BR"].map(|code| code.parse().unwrap()).to_vec();
        let now = Clock::start(0).now();
        let sample = Sample::found(&mut Draw::System, &running, now, || ()).unwrap();
        let made = sample.write_folders(&root.path().join("sample"), &running, || ()).unwrap();
        assert_eq!(
            made.iter().map(|place| &place.member).collect::<Vec<_>>(),
            running.iter().collect::<Vec<_>>()
        );
        assert_ne!(made[0].listen, made[1].listen);
        for place in &made {
            let config = Config::load(&place.config).unwrap();
            assert_eq!((config.socket, config.listen), (place.socket.clone(), place.listen));
            let (_, key) = crate::keyfile::read_key::<StorageKey>(&config.storage_key, || {
                panic!("it is under no passphrase")
            })
            .unwrap();
            let key = StoreKey::from_bytes(key.as_bytes());
            let (store, _) = SledStore::open(&config.data, &key, &Options::default()).unwrap();
            let evidence = stored_evidence(&store, &place.member).unwrap();
            assert_eq!(evidence.federation(), sample.federation);
            assert_eq!(evidence.membership().members().count(), 196);
            assert_eq!(crate::founding::joined_hints(&store).unwrap().len(), 2);
        }
        let again = sample.write_folders(&root.path().join("sample"), &running, || ());
        assert!(matches!(again, Err(FolderError::NotEmpty(_))));
    }
}
