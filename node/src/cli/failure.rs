//! How commands fail: what happened, to what, why, what to do, and the one exit code that follows.
//!
//! Here alone errors of the parts are turned into exit codes and remedies.

mod backup;

use std::fmt;

use refpoint_protocol::membership::proposal::ProposalError;
use serde::Serialize;

use super::safe_text;
use crate::{
    ceremony::{CeremonyError, Fault},
    config::ConfigError,
    founding::EvidenceError,
    keyfile::{KeyFileError, PASSPHRASE_CHARACTERS_LEAST, PassphraseError, RecordError},
    reference_point_file::ReferencePointFileError,
    sample::{FolderError, SampleError},
    store::{OpenError, StoreError},
};

/// The exit codes that scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// 1: it did not work.
    Error,
    /// 2: the command was not understood, or lacks something.
    Usage,
    /// 3: the node is not running.
    NotRunning,
    /// 4: a signature, fingerprint or rule does not hold.
    VerificationFailed,
    /// 5: not delivered in time.
    NotDelivered,
    /// 6: delivered but not acknowledged in time.
    NotAcknowledged,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Error => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::VerificationFailed => 4,
            Self::NotDelivered => 5,
            Self::NotAcknowledged => 6,
        }
    }
}

/// Why a command failed, for the person at the terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    exit: Exit,
    what: String,
    why: String,
    remedy: String,
}

impl Failure {
    /// Puts a failure together: what happened and to what, why, and what to do.
    pub fn new(
        exit: Exit,
        what: impl Into<String>,
        why: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self { exit, what: what.into(), why: why.to_string(), remedy: remedy.into() }
    }

    /// It did not work.
    pub fn error(what: impl Into<String>, why: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Error, what, why, remedy)
    }

    /// The command lacks something.
    pub fn usage(what: impl Into<String>, why: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, why, remedy)
    }

    /// A signature, fingerprint or rule does not hold.
    pub fn unverified(what: impl Into<String>, why: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self::new(Exit::VerificationFailed, what, why, remedy)
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// Why, and what to do.
    #[must_use]
    pub fn into_why_and_remedy(self) -> (String, String) {
        (self.why, self.remedy)
    }

    /// Names what was being done, instead of the part's own words.
    #[must_use]
    pub fn during(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is wrong with a file may be told in the words of whoever made it.
        let indented = |text: &str| {
            text.trim_end().lines().map(safe_text::line).collect::<Vec<_>>().join("\n            ")
        };
        writeln!(f, "error:      {}", indented(&self.what))?;
        writeln!(f, "why:        {}", indented(&self.why))?;
        write!(f, "what to do: {}", indented(&self.remedy))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let (what, remedy) = match &error {
            ConfigError::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => (
                "the configuration is not for this user",
                "use the account that runs the node (sudo -u refpoint …), or have this one added to the group refpoint \
                 and log in again",
            ),
            ConfigError::Read { .. } => (
                "there is no configuration to work with",
                "name one with --config FILE, or make one with `refpoint init`",
            ),
            ConfigError::TooLong { .. } => {
                ("the configuration is not read", "name the right file with --config")
            }
            ConfigError::Invalid { .. } => (
                "the configuration is not valid",
                "correct the lines named, then run `refpoint config check`; config/refpoint.toml explains every key",
            ),
        };
        Self::error(what, error, remedy)
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        let exit = match &error {
            KeyFileError::WrongPassphrase { .. } | KeyFileError::Damaged { .. } => Exit::VerificationFailed,
            _ => Exit::Error,
        };
        let (what, remedy) = match &error {
            KeyFileError::Missing { .. } => (
                "a key file is missing".to_owned(),
                "name the right file, or bring the medium on which it is kept".to_owned(),
            ),
            KeyFileError::Io { file, .. } => (
                "a key file cannot be used".to_owned(),
                format!("check that {} and its folder are yours and not full", file.display()),
            ),
            KeyFileError::Permissions { file, .. } => (
                "a key file is not used".to_owned(),
                format!("run: chmod 600 {}; and if others had access, replace the key", file.display()),
            ),
            KeyFileError::Exists { .. } => (
                "nothing was written".to_owned(),
                "choose another folder; existing keys are never overwritten".to_owned(),
            ),
            KeyFileError::Damaged { .. } => {
                ("a key file is not used".to_owned(), "restore it from its copy".to_owned())
            }
            KeyFileError::Kind { .. } => {
                ("a key file is not used".to_owned(), "name the right file".to_owned())
            }
            KeyFileError::WrongPassphrase { .. } => (
                "a key file stays closed".to_owned(),
                "try again; without the passphrase the key is lost".to_owned(),
            ),
            KeyFileError::PassphraseNeeded { .. } => (
                "a key file stays closed".to_owned(),
                "name a file with its passphrase: --passphrase-file, or passphrase_file in refpoint.toml"
                    .to_owned(),
            ),
            KeyFileError::Unprotected { .. } => {
                ("a root key is not used".to_owned(), "give it a passphrase".to_owned())
            }
            KeyFileError::Passphrase(_) => return passphrase_failure(&error, &error),
        };
        Self::new(exit, what, error, remedy)
    }
}

impl From<PassphraseError> for Failure {
    fn from(error: PassphraseError) -> Self {
        KeyFileError::from(error).into()
    }
}

fn passphrase_failure(why: &dyn fmt::Display, error: &KeyFileError) -> Failure {
    let KeyFileError::Passphrase(error) = error else {
        return Failure::error("there is no passphrase", why, "try again");
    };
    let remedy = match error {
        PassphraseError::Read { .. } => "check the file's name and its owner".to_owned(),
        PassphraseError::Permissions { file, .. } => format!("run: chmod 600 {}", file.display()),
        PassphraseError::NotOneLine { .. } => {
            "write the passphrase alone into the file, on one line".to_owned()
        }
        PassphraseError::NoTerminal(_) => {
            "name a file with the passphrase: --passphrase-file FILE or REFPOINT_PASSPHRASE_FILE".to_owned()
        }
        PassphraseError::Terminal(_) => {
            "run the command on a terminal, or use --passphrase-file FILE".to_owned()
        }
        PassphraseError::Differ => "type the same passphrase twice".to_owned(),
        PassphraseError::TooShort { .. } => {
            format!(
                "choose one of at least {PASSPHRASE_CHARACTERS_LEAST} characters: four random words will do"
            )
        }
    };
    Failure::error("there is no passphrase", why, remedy)
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let remedy = match &error {
            RecordError::Io { file, .. } => {
                format!("check that {} and its folder are yours and not full", file.display())
            }
            RecordError::Damaged { file, .. } => format!("restore {} from its copy", file.display()),
            RecordError::Other { place, earlier, .. } if place.starts_with("charter") => format!(
                "sign the earlier one; or, if nobody uses that signature any more, give it up: --give-up {}",
                earlier.short()
            ),
            RecordError::NotSigned { .. } => {
                "give the first digits of the document that the refusal without --give-up names".to_owned()
            }
            RecordError::Other { file, place, .. } => format!(
                "sign the earlier one; or, if every member has agreed to give it up, remove the line \
                 '{place} …' from {} and sign again",
                file.display()
            ),
        };
        let exit =
            if matches!(error, RecordError::Other { .. }) { Exit::VerificationFailed } else { Exit::Error };
        Self::new(exit, "nothing was signed", error, remedy)
    }
}

impl From<CeremonyError> for Failure {
    fn from(error: CeremonyError) -> Self {
        let what = "a ceremony file is not used";
        match &error {
            CeremonyError::Read { .. } => {
                Self::error(what, error, "check the file's name and that it is yours to read")
            }
            CeremonyError::Content { fault, .. } => {
                let remedy = remedy_of(fault);
                Self::unverified(what, error, remedy)
            }
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let remedy = remedy_of(&fault);
        Self::unverified("a ceremony file is not used", fault, remedy)
    }
}

const fn remedy_of(fault: &Fault) -> &'static str {
    match fault {
        Fault::NotText | Fault::Armor(_) | Fault::Decode(_) | Fault::Envelope(_) => {
            "ask for the file again, and have it sent as an attachment"
        }
        Fault::Label { .. } => "name the right file; `refpoint charter show FILE` says what a file holds",
        Fault::Encode(_) => "report this: the fault is the program's",
        Fault::Newer | Fault::NotFounding(_) => "use the version of refpoint that the others use",
        Fault::Verify { .. }
        | Fault::RequestSigners(_)
        | Fault::Stranger
        | Fault::Rule { .. }
        | Fault::Versions
        | Fault::KeySet(_)
        | Fault::Differs(_)
        | Fault::Unmatched(_) => {
            "do not use it: somebody changed it; call whoever sent it, and ask for the original"
        }
        Fault::Twice(_) => "ask the unit which of its requests counts, and make the draft anew",
        Fault::OtherCharter { .. } => "combine copies of one draft; ask the member to sign the right one",
    }
}

impl From<ProposalError> for Failure {
    fn from(error: ProposalError) -> Self {
        let remedy = match &error {
            ProposalError::NoParent => "let the node catch up, or name a charter with --charter FILE",
            ProposalError::NotListed(_) | ProposalError::Status { .. } => {
                "look at the members: refpoint directory list; a withdrawn one comes back by `propose admit REQUEST`"
            }
            ProposalError::SameRoot(_) => "ask the unit for a request with its new root key",
            ProposalError::RootsDiffer(_) => "propose replace-root with a request for a third root key first",
            ProposalError::Nothing => "propose a change",
            ProposalError::Form(_) => {
                "correct what is named; where a steward leaves, name the others: --stewards FR,SG,KE --threshold 2"
            }
            ProposalError::Rule(_) => "correct what is named; protocol/VALIDATION.md explains the rule",
        };
        Self::unverified("nothing was proposed", error, remedy)
    }
}

impl From<ReferencePointFileError> for Failure {
    fn from(error: ReferencePointFileError) -> Self {
        Self::error("the reference point is not valid", error, "correct the file; nothing was published")
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        stored("the data folder cannot be used", &error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        stored("the data folder cannot be used", &error.to_string())
    }
}

/// The store's errors end with what to do, after a semicolon.
fn stored(what: &str, text: &str) -> Failure {
    match text.split_once("; ") {
        Some((why, remedy)) => Failure::error(what, why, remedy),
        None => Failure::error(what, text, "check the data folder and the disk"),
    }
}

impl From<EvidenceError> for Failure {
    fn from(error: EvidenceError) -> Self {
        let what = "the folder's evidence does not serve";
        match error {
            EvidenceError::Store(error) => error.into(),
            EvidenceError::NotJoined => Self::error(
                what,
                error,
                "join one first: refpoint join federation.join --fingerprint … --root-key …",
            ),
            EvidenceError::Broken(_) => Self::unverified(
                what,
                error,
                "make new root keys with `refpoint keys new-root`, and ask the stewards to replace the root",
            ),
            EvidenceError::Disputed { .. } => Self::unverified(
                what,
                error,
                "look at both with `refpoint keys status`, and name the last one that is yours: --base DIGITS",
            ),
            EvidenceError::NoRoot(_) => {
                Self::error(what, error, "ask the stewards for a charter version that settles it")
            }
            EvidenceError::KeySet(_) => {
                Self::unverified(what, error, "leave out a node that is retired, or correct what is named")
            }
            EvidenceError::Verify { .. }
            | EvidenceError::Envelope(_)
            | EvidenceError::Decode(_)
            | EvidenceError::Rejected { .. } => Self::unverified(
                what,
                error,
                "restore the data folder from a backup, or join anew in another folder",
            ),
            EvidenceError::Encode(_) => Self::error(what, error, "report this: the fault is the program's"),
        }
    }
}

impl From<SampleError> for Failure {
    fn from(error: SampleError) -> Self {
        let remedy = match &error {
            SampleError::Unknown(_) => "name members of config/members.csv with --run",
            SampleError::Randomness(_) => "try again, or on another machine",
            SampleError::Countries(_) | SampleError::Form(_) | SampleError::Encode(_) => {
                "report this: the fault is the program's"
            }
        };
        Self::error("no sample was made", error, remedy)
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        let what = "the sample's folders were not made";
        let remedy = match &error {
            FolderError::NotEmpty(_) => "name a folder that is empty or not there",
            FolderError::SocketPath(_) => "name a folder with a shorter path",
            FolderError::Io { .. } | FolderError::Key(_) | FolderError::Open(_) | FolderError::Store(_) => {
                "check that the folder is yours and the disk not full"
            }
            FolderError::Port(_) => "stop some programs, or try again",
            FolderError::Randomness(_) => "try again, or on another machine",
            FolderError::Encode(_) => "report this: the fault is the program's",
        };
        Self::error(what, error, remedy)
    }
}

impl From<getrandom::Error> for Failure {
    fn from(error: getrandom::Error) -> Self {
        Self::error(
            "no key was made",
            format!("the system gives no randomness: {error}"),
            "try again, or on another machine",
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn what_others_wrote_draws_nothing_on_the_screen() {
        let failure = Failure::unverified("it was not checked", "\x1b[2J\x1b[Hx holds\x1b[8m", "ask again");
        assert!(failure.to_string().chars().all(|c| c == '\n' || !c.is_control()), "{failure}");
    }

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let failure = Failure::unverified("the federation was not joined", "two\nreasons", "ask again");
        let text = failure.to_string();
        for part in
            ["error:      the federation", "why:        two\n            reasons", "what to do: ask again"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(failure.exit().code(), 4);
    }
}
