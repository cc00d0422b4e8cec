//! What to do when a backup is not made, does not check out, or is not restored.

use super::{Exit, Failure};
use crate::backup::BackupError;

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let what = "the backup is not used";
        let again = "use another backup; keep this one for whoever looks into it";
        match error {
            BackupError::Key(error) => error.into(),
            BackupError::Passphrase(error) => error.into(),
            BackupError::Open(error) => Self::from(error).during("the restored folder does not open"),
            BackupError::Exists(_) => {
                Self::error("no backup was made", error, "choose another name, or replace it with --force")
            }
            BackupError::NotEmpty(_) => Self::error(
                "nothing was restored",
                error,
                "name an empty folder with --dir; an old folder is moved away first, never mixed with a backup",
            ),
            BackupError::Io { ref cause, .. } if cause.kind() == std::io::ErrorKind::NotFound => Self::error(
                what,
                error,
                "name the right file; if it lies on a medium, see that that is mounted",
            ),
            BackupError::Io { .. } | BackupError::Snapshot(_) => {
                Self::error(what, error, "check that the files and folders are yours and the disk not full")
            }
            BackupError::Rebuild(_) => Self::error(
                "nothing was restored",
                error,
                "check the disk and its free space, then try again",
            ),
            BackupError::Encrypt(_) | BackupError::Encode(_) => {
                Self::error("no backup was made", error, "report this: the fault is the program's")
            }
            BackupError::Newer { .. } => Self::error(what, error, "use the version of refpoint that made it"),
            BackupError::FileTooLong { .. } => {
                Self::unverified(what, error, "look at that file: it is none that this program wrote")
            }
            BackupError::UnderPassphrase(_) => {
                Self::usage(what, error, "leave --identity out, and give the passphrase")
            }
            BackupError::ForRecipient(_) => {
                Self::usage(what, error, "name the file of the recipient's age identity with --identity")
            }
            BackupError::NoIdentity { .. } => {
                Self::error(what, error, "name the file that age-keygen wrote, with --identity")
            }
            BackupError::Permissions { ref file, .. } => {
                let remedy = format!("run: chmod 600 {}", file.display());
                Self::error(what, error, remedy)
            }
            BackupError::WrongPassphrase(_) => Self::new(
                Exit::VerificationFailed,
                "the backup stays closed",
                error,
                "try again; without the passphrase the backup is lost",
            ),
            BackupError::WrongIdentity(_) => Self::new(
                Exit::VerificationFailed,
                "the backup stays closed",
                error,
                "bring the identity of the recipient that it was made for",
            ),
            BackupError::NotAge(_) | BackupError::NotABackup(_) => {
                Self::unverified(what, error, "name a file that `refpoint backup create` made")
            }
            BackupError::Damaged { .. }
            | BackupError::CutShort { .. }
            | BackupError::TooLong
            | BackupError::Frame(_)
            | BackupError::Unexpected { .. }
            | BackupError::Hash { .. }
            | BackupError::End
            | BackupError::Name { .. }
            | BackupError::Missing { .. }
            | BackupError::Manifest(_)
            | BackupError::Rows(_) => Self::unverified(what, error, again),
        }
    }
}
