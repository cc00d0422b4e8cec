//! The form of a backup's content: a manifest, files each with its hash, an end that closes over all.
//!
//! It knows names and bytes. What the files mean, and whether they belong together, is for others.

use std::{
    fmt,
    io::{self, Read, Write},
};

use refpoint_protocol::document::{decode, encode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{BackupError, FORMAT, Manifest};
use crate::store::{CONTENT_BYTES_MAX, content_hash, content_name};

/// A file in a backup. There are no others, so nothing is ever written to a place of the backup's choosing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// `refpoint.toml`.
    Config,
    /// The unit's entry as it was last edited.
    ReferencePoint,
    /// The node key's file.
    NodeKey,
    /// The storage key's file.
    StorageKey,
    /// The root key's file.
    RootKey,
    /// What the root key has signed.
    RootKeySigned,
    /// The next root key's file.
    NextRootKey,
    /// The raw rows of the database.
    Rows,
    /// A content file.
    Content([u8; 32]),
}

impl Name {
    /// All but rows and content files, in the order in which a backup has them.
    pub(super) const SMALL: [Self; 7] = [
        Self::Config,
        Self::ReferencePoint,
        Self::NodeKey,
        Self::StorageKey,
        Self::RootKey,
        Self::RootKeySigned,
        Self::NextRootKey,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::Config => "refpoint.toml",
            Self::ReferencePoint => "reference-point.toml",
            Self::NodeKey => "keys/node.key",
            Self::StorageKey => "keys/storage.key",
            Self::RootKey => "keys/root.key",
            Self::RootKeySigned => "keys/root.key.signed",
            Self::NextRootKey => "keys/next-root.key",
            Self::Rows => "data/rows",
            Self::Content(_) => CONTENT,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix(CONTENT) {
            // One spelling alone, so that no file comes twice.
            return content_hash(name).filter(|hash| content_name(hash) == name).map(Self::Content);
        }
        Self::SMALL.into_iter().chain([Self::Rows]).find(|name| name.path() == text)
    }

    /// Bytes that such a file may have; rows are read in pieces and have no bound of their own.
    pub(super) const fn bytes_max(self) -> u64 {
        match self {
            Self::Rows => u64::MAX,
            Self::Content(_) => CONTENT_BYTES_MAX,
            _ => SMALL_BYTES_MAX,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())?;
        if let Self::Content(hash) = self { f.write_str(&content_name(hash)) } else { Ok(()) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileHead {
    name: String,
    bytes: u64,
}

/// The last frame.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    files: u64,
    bytes: u64,
    /// Content files that rows name and that were damaged or missing already.
    left_out: Vec<String>,
    #[serde(with = "serde_bytes")]
    hash: [u8; 32],
}

/// Writes a backup's content.
pub(super) struct ArchiveWriter<W> {
    output: W,
    hash: Sha256,
    files: u64,
    bytes: u64,
}

impl<W: Write> ArchiveWriter<W> {
    pub(super) fn begin(output: W, manifest: &Manifest) -> Result<Self, WriteError> {
        let mut archive = Self { output, hash: Sha256::new(), files: 0, bytes: 0 };
        archive.put(MAGIC)?;
        archive.frame(MANIFEST, manifest)?;
        Ok(archive)
    }

    /// Writes one file of exactly `bytes` bytes from `input`; `moved` hears of each piece.
    pub(super) fn file(
        &mut self,
        name: Name,
        bytes: u64,
        input: &mut impl Read,
        mut moved: impl FnMut(u64),
    ) -> Result<(), WriteError> {
        self.frame(FILE, &FileHead { name: name.to_string(), bytes })?;
        let mut hash = Sha256::new();
        let mut left = bytes;
        let mut buffer = vec![0; PIECE_BYTES];
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let piece = buffer.get_mut(..most).unwrap_or_default();
            input.read_exact(piece).map_err(WriteError::Input)?;
            hash.update(&*piece);
            self.put(piece)?;
            left -= most as u64;
            moved(most as u64);
        }
        self.files += 1;
        self.bytes += bytes;
        self.put(&hash.finalize())
    }

    /// Ends the content and gives back what it was written to.
    pub(super) fn end(mut self, left_out: &[[u8; 32]]) -> Result<W, WriteError> {
        let hash = self.hash.clone().finalize().into();
        let left_out = left_out.iter().map(content_name).collect();
        self.frame(END, &End { files: self.files, bytes: self.bytes, left_out, hash })?;
        Ok(self.output)
    }

    fn frame(&mut self, tag: u8, value: &impl Serialize) -> Result<(), WriteError> {
        let bytes = encode(value).map_err(|error| WriteError::Backup(error.into()))?;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.put(&[tag])?;
        self.put(&length.to_be_bytes())?;
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.hash.update(bytes);
        self.output.write_all(bytes).map_err(WriteError::Output)
    }
}

/// Why something was not written.
pub(super) enum WriteError {
    /// The file that goes in cannot be read, or is shorter than it was.
    Input(io::Error),
    /// The backup cannot be written.
    Output(io::Error),
    /// Anything else.
    Backup(BackupError),
}

/// Reads a backup's content.
pub(super) struct ArchiveReader<R> {
    input: R,
    hash: Sha256,
    files: u64,
    bytes: u64,
    /// Bytes of content read so far.
    at: u64,
}

/// What comes next.
pub(super) enum Next {
    /// A file of so many bytes, to be read by [`ArchiveReader::body`].
    File(Name, u64),
    /// The end, with the content files that were left out.
    End(Vec<[u8; 32]>),
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the manifest; `None` if the content is of another kind.
    pub(super) fn begin(input: R) -> Result<Option<(Self, Manifest)>, BackupError> {
        let mut archive = Self { input, hash: Sha256::new(), files: 0, bytes: 0, at: 0 };
        let mut magic = [0; MAGIC.len()];
        archive.fill(&mut magic)?;
        if magic != *MAGIC {
            return Ok(None);
        }
        if archive.tag()? != MANIFEST {
            return Err(BackupError::Unexpected { expected: "the manifest" });
        }
        let bytes = archive.frame_bytes()?;
        // Read first, since a newer form may have other fields.
        let Form { format } = decode(&bytes, FRAME_BYTES_MAX)?;
        if format > FORMAT {
            return Err(BackupError::Newer { found: format });
        }
        let manifest = decode(&bytes, FRAME_BYTES_MAX)?;
        Ok(Some((archive, manifest)))
    }

    /// Reads the next head, or the end and that nothing follows it.
    pub(super) fn next(&mut self) -> Result<Next, BackupError> {
        let so_far = self.hash.clone();
        match self.tag()? {
            FILE => {
                let FileHead { name, bytes } = self.frame()?;
                let Some(known) = Name::parse(&name) else { return Err(BackupError::Name { name }) };
                let max = known.bytes_max();
                if bytes > max {
                    return Err(BackupError::FileTooLong { name, bytes, max });
                }
                self.files += 1;
                self.bytes = self.bytes.saturating_add(bytes);
                Ok(Next::File(known, bytes))
            }
            END => {
                let End { files, bytes, left_out, hash } = self.frame()?;
                let so_far: [u8; 32] = so_far.finalize().into();
                if (files, bytes, hash) != (self.files, self.bytes, so_far) {
                    return Err(BackupError::End);
                }
                if self.input.read(&mut [0]).map_err(|error| self.failure(&error))? != 0 {
                    return Err(BackupError::TooLong);
                }
                let hashes = left_out.iter().map(|name| content_hash(name).ok_or(BackupError::End));
                Ok(Next::End(hashes.collect::<Result<_, _>>()?))
            }
            _ => Err(BackupError::Unexpected { expected: "a file" }),
        }
    }

    /// Hands the bytes of the file that was just announced to `take`, then checks their hash.
    pub(super) fn body<T>(
        &mut self,
        name: Name,
        bytes: u64,
        take: impl FnOnce(&mut Body<'_, R>) -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        let mut body = Body { archive: self, left: bytes, hash: Sha256::new(), failure: None };
        let taken = take(&mut body);
        let Body { hash, failure, left, .. } = body;
        // What was wrong with the bytes comes before what that led to.
        if let Some(failure) = failure {
            return Err(failure);
        }
        let taken = taken?;
        if left > 0 {
            return Err(BackupError::Hash { name: name.to_string() });
        }
        let mut told = [0; 32];
        self.fill(&mut told)?;
        if hash.finalize().as_slice() != told {
            return Err(BackupError::Hash { name: name.to_string() });
        }
        Ok(taken)
    }

    /// Reads a small file whole.
    pub(super) fn small(
        &mut self,
        name: Name,
        bytes: u64,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, BackupError> {
        self.body(name, bytes, |body| {
            let mut whole = zeroize::Zeroizing::new(Vec::with_capacity(usize::try_from(bytes).unwrap_or(0)));
            // The body has noted its own failure, which is told instead.
            body.read_to_end(&mut whole).map_err(|_| BackupError::End)?;
            Ok(whole)
        })
    }

    fn tag(&mut self) -> Result<u8, BackupError> {
        let mut tag = [0];
        self.fill(&mut tag)?;
        Ok(tag[0])
    }

    fn frame<T: DeserializeOwned>(&mut self) -> Result<T, BackupError> {
        Ok(decode(&self.frame_bytes()?, FRAME_BYTES_MAX)?)
    }

    fn frame_bytes(&mut self) -> Result<Vec<u8>, BackupError> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(BackupError::Unexpected { expected: "a frame" });
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), BackupError> {
        match self.input.read_exact(into) {
            Ok(()) => {
                self.hash.update(&*into);
                self.at += into.len() as u64;
                Ok(())
            }
            Err(error) => Err(self.failure(&error)),
        }
    }

    fn failure(&self, error: &io::Error) -> BackupError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::CutShort { at: self.at },
            _ => BackupError::Damaged { at: self.at },
        }
    }
}

/// The bytes of one file.
pub(super) struct Body<'a, R> {
    archive: &'a mut ArchiveReader<R>,
    left: u64,
    hash: Sha256,
    failure: Option<BackupError>,
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let piece = into.get_mut(..most).unwrap_or_default();
        if piece.is_empty() {
            return Ok(0);
        }
        if let Err(failure) = self.archive.fill(piece) {
            self.failure = Some(failure);
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.hash.update(&*piece);
        self.left -= most as u64;
        Ok(most)
    }
}

/// The one field that every form has.
#[derive(Deserialize)]
struct Form {
    format: u64,
}

const MAGIC: &[u8; 16] = b"refpoint backup\n";
const MANIFEST: u8 = b'M';
const FILE: u8 = b'F';
const END: u8 = b'E';

/// What a content file's name begins with.
const CONTENT: &str = "data/content/";

/// Bytes of a frame: the end of a backup that leaves out a thousand damaged files.
const FRAME_BYTES_MAX: usize = 128 * 1024;

/// Bytes of a configuration, an entry or a key file, several times over.
const SMALL_BYTES_MAX: u64 = 256 * 1024;

/// Read and encrypted at once.
const PIECE_BYTES: usize = 256 * 1024;
