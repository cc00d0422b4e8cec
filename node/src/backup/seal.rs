//! Whom a backup is encrypted for, and how it is opened again. The cryptography is age's.

use std::{
    fs,
    io::{self, BufRead, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use age::{
    DecryptError, Decryptor, Encryptor, Identity, Recipient,
    secrecy::SecretString,
    stream::{StreamReader, StreamWriter},
};
use zeroize::Zeroizing;

use super::BackupError;
use crate::keyfile::{PassphraseError, WorkFactor};

/// The public key that a backup is made for: `age1…`, whose secret half need not lie on the node's machine.
#[derive(Clone)]
pub struct BackupKey(age::x25519::Recipient);

impl std::str::FromStr for BackupKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().parse().map(Self).map_err(|_| "not an age recipient: 'age1' and 58 letters and digits")
    }
}

/// Whom a backup is encrypted for. age does not mix the two.
pub enum Recipients {
    /// Whoever knows the passphrase.
    Passphrase(SecretString, WorkFactor),
    /// Whoever holds the identity of one of these.
    Keys(Vec<BackupKey>),
}

/// What opens a backup.
pub struct Opener<'a> {
    /// A file of age identities, if one was named.
    pub identity: Option<PathBuf>,
    /// Where the passphrase comes from, asked only if the backup is under one.
    pub passphrase: Box<dyn Fn() -> Result<SecretString, PassphraseError> + 'a>,
}

impl Recipients {
    /// Begins to encrypt into `output`.
    pub(super) fn seal<W: Write>(&self, output: W) -> Result<StreamWriter<W>, BackupError> {
        let refused = |error: &dyn std::fmt::Display| BackupError::Encrypt(error.to_string());
        let encryptor = match self {
            Self::Passphrase(passphrase, factor) => {
                let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
                recipient.set_work_factor(factor.exponent());
                Encryptor::with_recipients(std::iter::once(&recipient as &dyn Recipient))
            }
            Self::Keys(keys) => Encryptor::with_recipients(keys.iter().map(|key| &key.0 as &dyn Recipient)),
        };
        let encryptor = encryptor.map_err(|error| refused(&error))?;
        encryptor.wrap_output(output).map_err(|error| refused(&error))
    }
}

impl Opener<'_> {
    /// Begins to decrypt `input`, the file at `file`.
    pub(super) fn open<R: BufRead>(&self, file: &Path, input: R) -> Result<StreamReader<R>, BackupError> {
        let decryptor = Decryptor::new_buffered(input).map_err(|error| failure(file, error))?;
        match (&self.identity, decryptor.is_scrypt()) {
            (Some(_), true) => Err(BackupError::UnderPassphrase(file.to_path_buf())),
            (None, false) => Err(BackupError::ForRecipient(file.to_path_buf())),
            (None, true) => {
                let mut identity = age::scrypt::Identity::new((self.passphrase)()?);
                identity.set_max_work_factor(WorkFactor::MOST);
                let opened = decryptor.decrypt(std::iter::once(&identity as &dyn Identity));
                opened.map_err(|error| match error {
                    DecryptError::NoMatchingKeys
                    | DecryptError::DecryptionFailed
                    | DecryptError::KeyDecryptionFailed => BackupError::WrongPassphrase(file.to_path_buf()),
                    other => failure(file, other),
                })
            }
            (Some(identity), false) => {
                let identities = read_identities(identity)?;
                let opened = decryptor.decrypt(identities.iter().map(|identity| identity as &dyn Identity));
                opened.map_err(|error| match error {
                    DecryptError::NoMatchingKeys => BackupError::WrongIdentity(file.to_path_buf()),
                    other => failure(file, other),
                })
            }
        }
    }
}

fn failure(file: &Path, error: DecryptError) -> BackupError {
    match error {
        DecryptError::Io(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            BackupError::CutShort { at: 0 }
        }
        DecryptError::Io(cause) => BackupError::Io { doing: "read", file: file.to_path_buf(), cause },
        DecryptError::InvalidHeader | DecryptError::UnknownFormat => BackupError::NotAge(file.to_path_buf()),
        // The header's code, a stanza, or work beyond the bound.
        _ => BackupError::Damaged { at: 0 },
    }
}

fn read_identities(file: &Path) -> Result<Vec<age::x25519::Identity>, BackupError> {
    let metadata = fs::metadata(file).map_err(BackupError::io("read", file))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(BackupError::Permissions { file: file.to_path_buf(), mode });
    }
    let none = |why| BackupError::NoIdentity { file: file.to_path_buf(), why };
    if metadata.len() > IDENTITY_BYTES_MAX {
        return Err(none("it is too large"));
    }
    let bytes = Zeroizing::new(fs::read(file).map_err(BackupError::io("read", file))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| none("it is not text"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identities: Vec<_> =
        lines.map(|line| line.parse().map_err(|_| none("a line is none"))).collect::<Result<_, _>>()?;
    if identities.is_empty() { Err(none("it is empty")) } else { Ok(identities) }
}

/// Bytes of an identity file: one identity has about two hundred with its comments.
const IDENTITY_BYTES_MAX: u64 = 64 * 1024;
