//! What a configuration names outside itself: the alert's program and the passphrase's file must be there.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Config, ConfigError, Origin, Problem};
use crate::keyfile::{PassphraseFile, PassphrasePurpose, obtain_passphrase};

impl Config {
    /// Looks whether what the file names is on this machine. Whether it *works* only its use shows.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], naming everything that is missing.
    pub fn check_named(&self) -> Result<(), ConfigError> {
        let problems: Vec<Problem> = [self.alert_problem(), self.passphrase_problem()]
            .into_iter()
            .flatten()
            .map(|(key, what, remedy)| Problem {
                line: self.line(key),
                what: format!("{key}: {what}"),
                remedy,
            })
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Invalid { file: self.file.clone(), problems })
    }

    fn line(&self, key: &str) -> Option<usize> {
        match self.origins.get(key) {
            Some(Origin::File(line)) => Some(*line),
            _ => None,
        }
    }

    fn alert_problem(&self) -> Option<Missing> {
        let program = self.alert_command.first()?;
        let search = env::var_os("PATH").unwrap_or_default();
        let what = match find_program(program, env::split_paths(&search)) {
            Found::Program => return None,
            Found::NotExecutable(file) => format!("{} is not a program that can be run", file.display()),
            Found::Nowhere => format!("there is no program {program:?}"),
            Found::Relative => {
                format!("{program:?} is no whole path: where the node is started decides what it is")
            }
        };
        let remedy = "name a program with its whole path, and make it executable (chmod +x)";
        Some(("alert_command", what, remedy.to_owned()))
    }

    fn passphrase_problem(&self) -> Option<Missing> {
        let file = self.passphrase_file.clone()?;
        let from = PassphraseFile(Some(file.clone()));
        let error = obtain_passphrase(&from, PassphrasePurpose::Open, "the node key").err()?;
        let remedy = format!(
            "put the passphrase there in one line, as the node's user, and chmod 600 {}; or remove the key",
            file.display()
        );
        Some(("passphrase_file", error.to_string(), remedy))
    }
}

/// The key, what is wrong with what it names, and what to do.
type Missing = (&'static str, String, String);

enum Found {
    Program,
    NotExecutable(PathBuf),
    Nowhere,
    /// It would be looked for wherever the node happens to be started.
    Relative,
}

/// Finds a program as the system would start it: by its path, or in the search path.
fn find_program(name: &str, search: impl Iterator<Item = PathBuf>) -> Found {
    if name.contains('/') && !name.starts_with('/') {
        return Found::Relative;
    }
    let places: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        search.map(|folder| folder.join(name)).collect()
    };
    let mut there = places.into_iter().filter(|place| place.is_file()).peekable();
    let first = there.peek().cloned();
    match (there.any(|place| is_executable(&place)), first) {
        (true, _) => Found::Program,
        (false, Some(file)) => Found::NotExecutable(file),
        (false, None) => Found::Nowhere,
    }
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}
