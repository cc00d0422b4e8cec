//! The Unix socket's file: who may reach it, and whose it is.
//!
//! It refuses to take the place of a living node's socket, and of anything that is no socket.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    os::unix::net::{UnixListener as StdListener, UnixStream as StdStream},
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

/// A bound socket. Dropping it removes its file, unless another has taken its place.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

/// The file of a bound socket, removed on drop.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A node answers there.
    #[error(
        "another refpoint node already answers at {}; stop it first, or give this one another folder and socket", path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error("{} exists and is no socket; move it away, or choose another path for socket in refpoint.toml", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error(
        "cannot {step} {}: {source}; check the folder's owner and permissions, and that the path is shorter than 90 bytes", path.display()
    )]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Socket {
    /// Binds the socket with mode 0660, in a folder that is made with mode 0750 if it is missing.
    ///
    /// A socket that nobody answers at, which a killed node leaves behind, is replaced. Needs a running tokio.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let fail = |step, at: &Path| {
            let path = at.to_owned();
            move |source| SocketError::Io { step, path, source }
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o750).create(folder).map_err(fail("make the folder", folder))?;
        clear_stale(path)?;

        // Bound out of sight and then moved into place: there is no instant at which others could connect
        // because the permissions are not set yet.
        let hidden = folder.join(HIDDEN);
        match fs::remove_dir_all(&hidden) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(fail("remove", &hidden)(error));
            }
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&hidden).map_err(fail("make the folder", &hidden))?;
        let bound = bind_hidden(&hidden.join("s"), path);
        let removed = fs::remove_dir_all(&hidden).map_err(fail("remove", &hidden));
        let socket = bound?;
        removed?;
        Ok(socket)
    }

    /// The listener, and the file's owner to hold while it is used.
    #[must_use]
    pub fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if is_own && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket's file could not be removed");
        }
    }
}

fn bind_hidden(hidden: &Path, path: &Path) -> Result<Socket, SocketError> {
    let fail = |step| move |source| SocketError::Io { step, path: path.to_owned(), source };
    let listener = StdListener::bind(hidden).map_err(fail("bind the socket"))?;
    listener.set_nonblocking(true).map_err(fail("set up the socket"))?;
    fs::set_permissions(hidden, fs::Permissions::from_mode(0o660)).map_err(fail("set the permissions of"))?;
    let found = fs::symlink_metadata(hidden).map_err(fail("read back"))?;
    fs::rename(hidden, path).map_err(fail("put in place"))?;
    let file = SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() };
    let listener = UnixListener::from_std(listener).map_err(fail("set up the socket"))?;
    Ok(Socket { listener, file })
}

/// Refuses if a node lives at `path`, or something that is no socket lies there.
fn clear_stale(path: &Path) -> Result<(), SocketError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SocketError::Io { step: "look at", path: path.to_owned(), source }),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match StdStream::connect(path) {
        // It is replaced by the rename; nobody listens.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(SocketError::InUse { path: path.to_owned() }),
        // Not permitted, or its queue is full: somebody else's, or alive.
        Err(source) => Err(SocketError::Io { step: "ask the node at", path: path.to_owned(), source }),
    }
}

/// The hidden folder's name, short because a socket's path has at most 107 bytes.
const HIDDEN: &str = ".new";
