//! Where passphrases come from: a file that only its owner may read, or a terminal. Never an argument.

use std::{
    fs,
    io::{self, IsTerminal as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use age::secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::text_file::without_mark;

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The file cannot be read.
    #[error("cannot read the passphrase file {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read the file.
    #[error("the passphrase file {} may be read by others than its owner (mode {mode:03o})", file.display())]
    Permissions {
        /// The file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file holds no line of text within bounds.
    #[error("the passphrase file {} does not hold one line of 1 to {PASSPHRASE_BYTES_MAX} bytes", file.display())]
    NotOneLine {
        /// The file.
        file: PathBuf,
    },
    /// There is no terminal to ask on, and no file was named.
    #[error("a passphrase is needed for {0}, and there is no terminal to ask on")]
    NoTerminal(String),
    /// The terminal failed.
    #[error("cannot ask for a passphrase: {0}")]
    Terminal(io::Error),
    /// The two that were typed differ.
    #[error("the two passphrases differ")]
    Differ,
    /// A new passphrase is too short to protect anything.
    #[error("the passphrase has {got} characters, at least {PASSPHRASE_CHARACTERS_LEAST} are needed")]
    TooShort {
        /// Characters given.
        got: usize,
    },
}

/// A file named for a passphrase, if one was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassphraseFile(pub Option<PathBuf>);

/// What a passphrase is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassphrasePurpose {
    /// To protect a new key: asked twice, and long enough.
    Protect,
    /// To open what is there.
    Open,
}

/// Takes the passphrase out of the file that was named, else asks for it on the terminal.
///
/// # Errors
/// [`PassphraseError`].
pub fn obtain_passphrase(
    from: &PassphraseFile,
    purpose: PassphrasePurpose,
    what: &str,
) -> Result<SecretString, PassphraseError> {
    let passphrase = match &from.0 {
        Some(file) => read_file(file)?,
        None if !io::stdin().is_terminal() => return Err(PassphraseError::NoTerminal(what.to_owned())),
        None => ask(purpose, what)?,
    };
    if purpose == PassphrasePurpose::Protect {
        check_length(&passphrase)?;
    }
    Ok(passphrase)
}

fn check_length(passphrase: &SecretString) -> Result<(), PassphraseError> {
    let got = passphrase.expose_secret().chars().count();
    if got < PASSPHRASE_CHARACTERS_LEAST { Err(PassphraseError::TooShort { got }) } else { Ok(()) }
}

fn ask(purpose: PassphrasePurpose, what: &str) -> Result<SecretString, PassphraseError> {
    let prompt = |text: String| {
        rpassword::prompt_password(text).map(SecretString::from).map_err(PassphraseError::Terminal)
    };
    match purpose {
        PassphrasePurpose::Open => prompt(format!("Passphrase of {what}: ")),
        PassphrasePurpose::Protect => {
            let first = prompt(format!("New passphrase for {what}: "))?;
            // Nobody types it twice to hear that it is too short.
            check_length(&first)?;
            let second = prompt("The same again: ".to_owned())?;
            if first.expose_secret() == second.expose_secret() {
                Ok(first)
            } else {
                Err(PassphraseError::Differ)
            }
        }
    }
}

fn read_file(file: &Path) -> Result<SecretString, PassphraseError> {
    let read_error = |source| PassphraseError::Read { file: file.to_owned(), source };
    let metadata = fs::metadata(file).map_err(read_error)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PassphraseError::Permissions { file: file.to_owned(), mode });
    }
    let bad = || PassphraseError::NotOneLine { file: file.to_owned() };
    if metadata.len() > PASSPHRASE_BYTES_MAX + 2 {
        return Err(bad());
    }
    let bytes = Zeroizing::new(fs::read(file).map_err(read_error)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| bad())?;
    let text = without_mark(text);
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\n') {
        return Err(bad());
    }
    Ok(SecretString::from(line.to_owned()))
}

/// Bytes of a passphrase: a long sentence.
const PASSPHRASE_BYTES_MAX: u64 = 1_024;

/// Characters of a new passphrase: fewer are guessed within years even at a second a guess.
pub const PASSPHRASE_CHARACTERS_LEAST: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_file_gives_its_one_line_if_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        let from = PassphraseFile(Some(file.clone()));
        let obtain = |purpose| obtain_passphrase(&from, purpose, "the root key");
        assert!(matches!(obtain(PassphrasePurpose::Open), Err(PassphraseError::Read { .. })));
        fs::write(&file, "correct horse battery\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(obtain(PassphrasePurpose::Open), Err(PassphraseError::Permissions { .. })));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        let passphrase = obtain(PassphrasePurpose::Protect).unwrap();
        assert_eq!(passphrase.expose_secret(), "correct horse battery");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "\u{feff}correct horse battery\r\n").unwrap();
        let windows = obtain(PassphrasePurpose::Protect).unwrap();
        assert_eq!(windows.expose_secret(), "correct horse battery");
    }

    #[test]
    fn empty_long_and_short_passphrases_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (text, good_to_open) in [("", false), ("\n", false), ("two\nlines\n", false), ("short", true)] {
            let file = folder.path().join("passphrase");
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            let from = PassphraseFile(Some(file));
            assert_eq!(obtain_passphrase(&from, PassphrasePurpose::Open, "it").is_ok(), good_to_open);
            assert!(obtain_passphrase(&from, PassphrasePurpose::Protect, "it").is_err());
        }
    }
}
