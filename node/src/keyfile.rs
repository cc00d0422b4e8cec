//! Key files: one secret each, in a file of its owner alone, under a passphrase where that is due.
//!
//! A file is a short header for people (kind, member, public part), then the secret as text, encrypted in the
//! age format under a passphrase, or plain for a node that must start without one. Root keys are never plain.
//! It refuses files that others can read, files of another kind, and secrets whose public part is not the one
//! in the header; it never overwrites.

mod passphrase;
mod secret;
mod signed_record;

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use age::secrecy::{ExposeSecret as _, SecretString};
use refpoint_protocol::ids::MemberCode;
use zeroize::Zeroizing;

use crate::text_file::without_mark;

pub use passphrase::{
    PASSPHRASE_CHARACTERS_LEAST, PassphraseError, PassphraseFile, PassphrasePurpose, obtain_passphrase,
};
pub(crate) use secret::random_32;
pub use secret::{KeyKind, NodeSecret, RootSecret, Secret, StorageKey};
pub use signed_record::{RecordError, SignedRecord};

/// Why a key file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is no such file.
    #[error("there is no {kind} at {}", file.display())]
    Missing {
        /// What was looked for.
        kind: KeyKind,
        /// Where.
        file: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file or folder.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read the file.
    #[error("{} may be read by others than its owner (mode {mode:03o})", file.display())]
    Permissions {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is a file already.
    #[error("{} exists already", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// The file is none that this program wrote, or was damaged.
    #[error("{} is no {kind}, or is damaged: {what}", file.display())]
    Damaged {
        /// What was looked for.
        kind: KeyKind,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file holds another kind of key.
    #[error("{} holds a {got}, not a {expected}", file.display())]
    Kind {
        /// The file.
        file: PathBuf,
        /// What was looked for.
        expected: KeyKind,
        /// What it is.
        got: KeyKind,
    },
    /// The passphrase does not open the file.
    #[error("the passphrase does not open {}", file.display())]
    WrongPassphrase {
        /// The file.
        file: PathBuf,
    },
    /// The file is under a passphrase and none was given.
    #[error("{} is under a passphrase", file.display())]
    PassphraseNeeded {
        /// The file.
        file: PathBuf,
    },
    /// A root key is to be written, or lies there, without a passphrase.
    #[error("{} must be under a passphrase", file.display())]
    Unprotected {
        /// The file.
        file: PathBuf,
    },
    /// No passphrase could be had.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

/// How costly guessing a passphrase is: scrypt with N = 2^factor, r = 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkFactor(u8);

impl WorkFactor {
    /// For keys in use: 128 MiB and about half a second each guess.
    pub const STRONG: Self = Self(17);

    /// For sample federations, whose keys are worth nothing: no work at all.
    pub const SAMPLE: Self = Self(1);

    /// The most that is spent on opening a file: a file that asks for more is refused.
    pub const MOST: u8 = 20;

    /// The exponent.
    pub(crate) const fn exponent(self) -> u8 {
        self.0
    }

    /// A chosen factor, from 1 to [`Self::MOST`]; below [`Self::STRONG`] it is for tests alone.
    #[must_use]
    pub const fn new(factor: u8) -> Option<Self> {
        if factor >= 1 && factor <= Self::MOST { Some(Self(factor)) } else { None }
    }
}

/// What a key file's header says; nothing in it is secret, and nothing proven before the file is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHeader {
    /// What the file holds.
    pub kind: KeyKind,
    /// Whose it is.
    pub member: MemberCode,
    /// The public part in hexadecimal: the key, or for a storage key a hash.
    pub public: String,
    /// Whether the secret is under a passphrase.
    pub protected: bool,
}

/// Writes a new key file and its folder (owner only), and waits until both are on the device.
///
/// # Errors
/// [`KeyFileError`]; an existing file is left alone.
pub fn write_key<S: Secret>(
    file: &Path,
    member: &MemberCode,
    secret: &S,
    passphrase: Option<(&SecretString, WorkFactor)>,
) -> Result<(), KeyFileError> {
    if passphrase.is_none() && S::KIND.needs_passphrase() {
        return Err(KeyFileError::Unprotected { file: file.to_owned() });
    }
    let io = |action, source| KeyFileError::Io { action, file: file.to_owned(), source };
    let plain = Zeroizing::new(format!(
        "{} {FORMAT}\nmember {member}\npublic {}\nsecret {}\n",
        S::KIND.name(),
        secret.public_hex(),
        secret.secret_hex().as_str(),
    ));
    let mut text = Zeroizing::new(format!(
        "# Refpoint {}. Keep it secret; nobody will ever ask you for it.\n# member {member}\n# public {}\n",
        S::KIND.name(),
        secret.public_hex(),
    ));
    match passphrase {
        Some((passphrase, factor)) => {
            let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
            recipient.set_work_factor(factor.0);
            let sealed = age::encrypt_and_armor(&recipient, plain.as_bytes())
                .map_err(|error| io("write", io::Error::other(error.to_string())))?;
            text.push_str(&sealed);
        }
        None => text.push_str(&plain),
    }
    make_owner_folder(folder_of(file)).map_err(|error| io("write", error))?;
    write_new(file, text.as_bytes(), OWNER_ONLY_FILE).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { file: file.to_owned() },
        _ => io("write", error),
    })
}

/// Reads a key file's header without its secret.
///
/// # Errors
/// [`KeyFileError`].
pub fn read_header(file: &Path, kind: KeyKind) -> Result<KeyHeader, KeyFileError> {
    let text = read_checked(file, kind)?;
    Ok(parse_header(file, kind, &text)?.0)
}

/// Opens a key file; `passphrase` is asked only if the file is under one.
///
/// # Errors
/// [`KeyFileError`], which says what to do.
pub fn read_key<S: Secret>(
    file: &Path,
    passphrase: impl FnOnce() -> Result<SecretString, PassphraseError>,
) -> Result<(KeyHeader, S), KeyFileError> {
    open_key(file, &read_checked(file, S::KIND)?, passphrase)
}

/// Opens a key file's text as [`read_key`] does, wherever it was read; `file` names it in errors.
///
/// # Errors
/// [`KeyFileError`], which says what to do.
pub fn open_key<S: Secret>(
    file: &Path,
    text: &str,
    passphrase: impl FnOnce() -> Result<SecretString, PassphraseError>,
) -> Result<(KeyHeader, S), KeyFileError> {
    let (header, body) = parse_header(file, S::KIND, text)?;
    let damaged =
        |what: &str| KeyFileError::Damaged { kind: S::KIND, file: file.to_owned(), what: what.to_owned() };
    let plain = if header.protected {
        Zeroizing::new(decrypt(file, S::KIND, body, passphrase()?)?)
    } else if S::KIND.needs_passphrase() {
        return Err(KeyFileError::Unprotected { file: file.to_owned() });
    } else {
        Zeroizing::new(body.as_bytes().to_vec())
    };
    let plain = std::str::from_utf8(&plain).map_err(|_| damaged("its secret is not text"))?;
    let first = format!("{} {FORMAT}", S::KIND.name());
    if plain.lines().next() != Some(first.as_str()) {
        return Err(damaged("its secret is of another kind or a newer form"));
    }
    let field = |name: &str| {
        let found = plain.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.ok_or_else(|| damaged(&format!("it has no line {name:?}")))
    };
    let secret =
        S::from_hex(field("secret")?).ok_or_else(|| damaged("its secret is not 64 hexadecimal digits"))?;
    if secret.public_hex() != header.public || field("public")? != header.public {
        return Err(damaged("the public part in its header is another key's"));
    }
    if field("member")? != header.member.as_str() {
        return Err(damaged("the member in its header is another than inside"));
    }
    Ok((header, secret))
}

/// A passphrase out of a text, for tests and for files already read.
#[must_use]
pub fn passphrase_from(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

fn decrypt(
    file: &Path,
    kind: KeyKind,
    body: &str,
    passphrase: SecretString,
) -> Result<Vec<u8>, KeyFileError> {
    if passphrase.expose_secret().is_empty() {
        return Err(KeyFileError::PassphraseNeeded { file: file.to_owned() });
    }
    let mut identity = age::scrypt::Identity::new(passphrase);
    identity.set_max_work_factor(WorkFactor::MOST);
    age::decrypt(&identity, body.as_bytes()).map_err(|error| match error {
        age::DecryptError::DecryptionFailed
        | age::DecryptError::KeyDecryptionFailed
        | age::DecryptError::NoMatchingKeys => KeyFileError::WrongPassphrase { file: file.to_owned() },
        error => KeyFileError::Damaged { kind, file: file.to_owned(), what: error.to_string() },
    })
}

/// Reads a file that must be its owner's alone.
fn read_checked(file: &Path, kind: KeyKind) -> Result<Zeroizing<String>, KeyFileError> {
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing { kind, file: file.to_owned() },
        _ => KeyFileError::Io { action: "read", file: file.to_owned(), source },
    };
    let metadata = fs::metadata(file).map_err(io)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Permissions { file: file.to_owned(), mode });
    }
    if metadata.len() > KEY_FILE_BYTES_MAX {
        let what = format!("it has {} bytes, at most {KEY_FILE_BYTES_MAX} are expected", metadata.len());
        return Err(KeyFileError::Damaged { kind, file: file.to_owned(), what });
    }
    let text = Zeroizing::new(fs::read(file).map_err(io)?);
    let text = std::str::from_utf8(&text).map_err(|_| KeyFileError::Damaged {
        kind,
        file: file.to_owned(),
        what: "it is not text".to_owned(),
    })?;
    Ok(Zeroizing::new(without_mark(text).to_owned()))
}

/// Splits a file into what its header says and the rest.
fn parse_header<'a>(file: &Path, kind: KeyKind, text: &'a str) -> Result<(KeyHeader, &'a str), KeyFileError> {
    let damaged = |what: &str| KeyFileError::Damaged { kind, file: file.to_owned(), what: what.to_owned() };
    let got = text
        .strip_prefix("# Refpoint ")
        .and_then(|rest| KeyKind::ALL.into_iter().find(|kind| rest.starts_with(&format!("{}.", kind.name()))))
        .ok_or_else(|| damaged("its first line does not say what it is"))?;
    if got != kind {
        return Err(KeyFileError::Kind { file: file.to_owned(), expected: kind, got });
    }
    let field = |name: &str| {
        let comments = text.lines().filter_map(|line| line.strip_prefix("# "));
        let mut found = comments.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.next().ok_or_else(|| damaged(&format!("its header has no {name:?}")))
    };
    let member =
        field("member")?.parse().map_err(|_| damaged("the member in its header is no member code"))?;
    let public = field("public")?.to_owned();
    let header_bytes: usize =
        text.split_inclusive('\n').take_while(|line| line.starts_with('#')).map(str::len).sum();
    let body = text.get(header_bytes..).unwrap_or_default();
    let protected = body.trim_start().starts_with("-----BEGIN AGE ENCRYPTED FILE-----");
    Ok((KeyHeader { kind, member, public, protected }, body))
}

/// Makes a folder, and those above it, that only the owner may enter; one that is there must be such already.
///
/// # Errors
/// What the system says.
pub fn make_owner_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(OWNER_ONLY_FOLDER).create(folder)?;
    sync_folder(folder_of(folder))
}

/// Writes a file that must not exist yet, and waits until it is on the device.
///
/// # Errors
/// What the system says; `AlreadyExists` if the file is there. A file that was begun is removed again.
pub fn write_new(file: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut handle = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
    let written = handle.write_all(bytes).and_then(|()| handle.sync_all());
    if let Err(error) = written {
        // The first error is the one to tell; what is left of the file is of no use.
        let _ = fs::remove_file(file);
        return Err(error);
    }
    sync_folder(folder_of(file))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The mode of a file that only its owner may read.
pub const OWNER_ONLY_FILE: u32 = 0o600;

/// The mode of a file that anybody may read.
pub const PUBLIC_FILE: u32 = 0o644;

const OWNER_ONLY_FOLDER: u32 = 0o700;
/// Permission bits of group and others.
const OTHERS: u32 = 0o077;
/// The version of the secret's text.
const FORMAT: u8 = 1;
/// Bytes of a key file: an encrypted one has about a thousand.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn quick() -> WorkFactor {
        WorkFactor::new(4).unwrap()
    }

    fn member() -> MemberCode {
        "SG".parse().unwrap()
    }

    fn given(text: &'static str) -> impl FnOnce() -> Result<SecretString, PassphraseError> {
        move || Ok(passphrase_from(text))
    }

    fn written(passphrase: Option<&str>) -> (tempfile::TempDir, PathBuf, RootSecret) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys/root.key");
        let secret = RootSecret::generate().unwrap();
        let phrase = passphrase.map(passphrase_from);
        write_key(&file, &member(), &secret, phrase.as_ref().map(|phrase| (phrase, quick()))).unwrap();
        (folder, file, secret)
    }

    #[test]
    fn a_root_key_comes_back_under_its_passphrase_alone() {
        let (_folder, file, secret) = written(Some("correct horse"));
        let (header, read) = read_key::<RootSecret>(&file, given("correct horse")).unwrap();
        assert_eq!((read.key(), header.member), (secret.key(), member()));
        assert_eq!(read_header(&file, KeyKind::Root).unwrap().public, secret.key().to_string());
        let wrong = read_key::<RootSecret>(&file, given("wrong horse"));
        assert!(matches!(wrong, Err(KeyFileError::WrongPassphrase { .. })));
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(secret.secret_hex().as_str()));
    }

    #[test]
    fn files_and_folders_are_the_owners_alone() {
        let (_folder, file, _) = written(Some("correct horse"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let open = read_key::<RootSecret>(&file, given("correct horse"));
        assert!(matches!(open, Err(KeyFileError::Permissions { mode: 0o640, .. })));
    }

    #[test]
    fn a_root_key_is_never_plain_and_a_node_key_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root.key");
        let refused = write_key(&file, &member(), &RootSecret::generate().unwrap(), None);
        assert!(matches!(refused, Err(KeyFileError::Unprotected { .. })));
        assert!(!file.exists());
        let node = NodeSecret::generate().unwrap();
        let file = folder.path().join("node.key");
        write_key(&file, &member(), &node, None).unwrap();
        let asked = || panic!("no passphrase is needed");
        assert_eq!(read_key::<NodeSecret>(&file, asked).unwrap().1.key(), node.key());
    }

    #[test]
    fn nothing_is_overwritten() {
        let (_folder, file, _) = written(Some("correct horse"));
        let before = fs::read(&file).unwrap();
        let phrase = passphrase_from("another one");
        let again = write_key(&file, &member(), &RootSecret::generate().unwrap(), Some((&phrase, quick())));
        assert!(matches!(again, Err(KeyFileError::Exists { .. })));
        assert_eq!(fs::read(&file).unwrap(), before);
    }

    #[test]
    fn missing_damaged_and_mistaken_files_are_told_apart() {
        let (folder, file, _) = written(Some("correct horse"));
        let missing = read_header(&folder.path().join("none"), KeyKind::Root);
        assert!(matches!(missing, Err(KeyFileError::Missing { .. })));
        let mistaken = read_key::<NodeSecret>(&file, given("correct horse"));
        assert!(matches!(mistaken, Err(KeyFileError::Kind { got: KeyKind::Root, .. })));
        let text = fs::read_to_string(&file).unwrap();
        let replaced = [
            text.chars().take(text.len() / 2).collect::<String>(),
            "garbage".to_owned(),
            text.replace("member SG", "member FR"),
            text.replacen("# public ", "# public 0", 1),
            "x".repeat(100_000),
        ];
        for damaged in replaced {
            fs::write(&file, damaged).unwrap();
            let result = read_key::<RootSecret>(&file, given("correct horse"));
            assert!(matches!(result, Err(KeyFileError::Damaged { .. })), "{:?}", result.err());
        }
    }

    #[test]
    fn a_file_that_asks_for_endless_work_is_refused() {
        let (_folder, file, _) = written(Some("correct horse"));
        let phrase = passphrase_from("correct horse");
        // The work factor stands in clear in the age header; 2^40 would take years and terabytes.
        let body = {
            let mut recipient = age::scrypt::Recipient::new(phrase);
            recipient.set_work_factor(4);
            let sealed = age::encrypt(&recipient, b"secret").unwrap();
            let at = sealed.windows(3).position(|window| window == b" 4\n").unwrap();
            [&sealed[..at], b" 40\n", &sealed[at + 3..]].concat()
        };
        let armored = {
            let mut writer =
                age::armor::ArmoredWriter::wrap_output(Vec::new(), age::armor::Format::AsciiArmor).unwrap();
            writer.write_all(&body).unwrap();
            String::from_utf8(writer.finish().unwrap()).unwrap()
        };
        let header: String =
            fs::read_to_string(&file).unwrap().lines().take(3).map(|line| format!("{line}\n")).collect();
        fs::write(&file, header + &armored).unwrap();
        let result = read_key::<RootSecret>(&file, given("correct horse"));
        assert!(matches!(result, Err(KeyFileError::Damaged { .. })));
    }
}
