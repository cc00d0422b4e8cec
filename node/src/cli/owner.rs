//! Whose folder it is: what another user writes there, the node's user cannot read.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::failure::Failure;

/// Refuses to write into a folder, or to make one below it, that belongs to another user than the one who runs
/// the command.
///
/// # Errors
/// [`Failure`] with the command that does it as that user.
pub(super) fn check(folder: &Path, what: &str) -> Result<(), Failure> {
    let (found, owner) = nearest(folder).map_err(|error| {
        let why = format!("the folder {} cannot be looked at: {error}", folder.display());
        Failure::error(what, why, "name a folder that you may enter")
    })?;
    refuse(&found, owner, rustix::process::geteuid().as_raw(), what)
}

fn refuse(folder: &Path, owner: u32, me: u32, what: &str) -> Result<(), Failure> {
    // Folders made new below one of root's, such as /tmp, are another matter: there the system itself refuses.
    if owner == me || (owner == 0 && me != 0) {
        return Ok(());
    }
    let (owner, me) = (User::of(owner), User::of(me));
    let why = format!(
        "{} belongs to {owner}, and this command runs as {me}: the node of {owner} could not read what it writes",
        folder.display()
    );
    let command: Vec<String> = std::env::args().map(|argument| shell_word(&argument)).collect();
    let remedy = format!("run it as that user: sudo -u {} {}", owner.for_sudo(), command.join(" "));
    Err(Failure::error(what, why, remedy))
}

/// The folder, or the nearest one above it that is there, with its owner.
fn nearest(folder: &Path) -> io::Result<(PathBuf, u32)> {
    let absolute = std::path::absolute(folder)?;
    for place in absolute.ancestors() {
        match fs::metadata(place) {
            Ok(metadata) => return Ok((place.to_owned(), metadata.uid())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// A user of the system: by name where the system's own list has one.
struct User {
    number: u32,
    name: Option<String>,
}

impl User {
    fn of(number: u32) -> Self {
        let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let named = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
        };
        Self { number, name: list.lines().find_map(named) }
    }

    fn for_sudo(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("'#{}'", self.number))
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "user {}", self.number),
        }
    }
}

/// An argument as a shell takes it back.
fn shell_word(argument: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn root_does_not_write_into_the_folder_of_the_nodes_user() {
        let refused = refuse(Path::new("/var/lib/refpoint"), 4_000_000, 0, "nothing was joined").unwrap_err();
        let text = refused.to_string();
        for part in ["belongs to user 4000000", "runs as root", "sudo -u '#4000000' "] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert!(refuse(Path::new("/home/a"), 1_000, 1_001, "nothing").is_err());
    }

    #[test]
    fn the_owner_writes_and_what_root_owns_is_the_systems_to_refuse() {
        assert_eq!(refuse(Path::new("/srv"), 1_000, 1_000, "nothing"), Ok(()));
        assert_eq!(refuse(Path::new("/tmp"), 0, 1_000, "nothing"), Ok(()));
    }

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let (found, owner) = nearest(&folder.path().join("a/b")).unwrap();
        assert_eq!((found.as_path(), owner), (folder.path(), rustix::process::geteuid().as_raw()));
    }

    #[test]
    fn arguments_are_quoted_for_the_shell() {
        assert_eq!(shell_word("--fingerprint"), "--fingerprint");
        assert_eq!(shell_word("7Q2K MNLD"), "'7Q2K MNLD'");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
