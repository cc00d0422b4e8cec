//! Backups of real nodes: made, checked, damaged, restored; and nodes lost in every state of a message.

mod chain;
mod damage;
mod lost;
mod procedure;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::{
    founding::{Unit, parsed, run_in, text},
    processes::Federation,
};

/// Quick in tests; release builds know the strong one alone.
fn quick() -> &'static [&'static str] {
    if cfg!(debug_assertions) { &["--work-factor", "4"] } else { &[] }
}

/// What of a unit survives the loss of its machine: a passphrase, backups, the root key.
struct Shelf {
    folder: PathBuf,
    passphrase: PathBuf,
}

impl Shelf {
    fn of(federation: &Federation, at: usize) -> Self {
        let unit = federation.unit(at);
        let folder = federation.founding.desk.join(format!("shelf-{}", unit.code));
        fs::create_dir(&folder).unwrap();
        for file in ["keys/root.key", "keys/root.key.signed"] {
            let to = folder.join(Path::new(file).file_name().unwrap());
            fs::copy(unit.folder.join(file), to).unwrap();
        }
        let passphrase = folder.join("passphrase");
        fs::copy(unit.passphrase(), &passphrase).unwrap();
        Self { folder, passphrase }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn back_up(&self, unit: &Unit, name: &str) -> Value {
        let mut arguments = vec!["backup", "create"];
        let (file, passphrase) = (self.file(name), text(&self.passphrase).to_owned());
        arguments.extend([text(&file), "--passphrase-file", &passphrase]);
        arguments.extend(quick());
        unit.run_ok(&arguments)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run_in(&self.folder, Some(&self.passphrase), arguments)
    }

    fn verify(&self, name: &str) -> Output {
        self.run(&["backup", "verify", name, "--passphrase-file", "passphrase"])
    }

    fn restore(&self, name: &str, into: &Path) -> Output {
        self.run(&["backup", "restore", name, "--dir", text(into), "--passphrase-file", "passphrase"])
    }

    /// Destroys a unit's folder, all of it, and restores it.
    fn replace(&self, unit: &Unit, name: &str) -> Value {
        fs::remove_dir_all(&unit.folder).unwrap();
        parsed(&self.restore(name, &unit.folder))
    }
}

fn rows(value: &Value) -> &Vec<Value> {
    value.as_array().or_else(|| value["messages"].as_array()).unwrap()
}
