//! `refpoint config check` and `config show`.

use clap::Subcommand;
use serde_json::json;

use super::{
    ConfigFile,
    failure::Failure,
    output::{Output, table},
};

/// Validate the configuration, or show every value in force.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Say whether the configuration is valid and what it names is there, or all that is wrong with it.
    Check(ConfigFile),
    /// Show every value in force and where it came from.
    Show(ConfigFile),
}

pub(super) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Check(file) => {
            let config = file.load()?;
            config.check_named()?;
            let human = format!("{} is valid", config.file.display());
            output.result(human, &json!({ "file": config.file, "valid": true }))
        }
        Command::Show(file) => {
            let config = file.load()?;
            let rows = config.effective();
            let human = table(
                ["key", "value", "from"],
                rows.iter()
                    .map(|(name, value, origin)| [(*name).to_owned(), value.clone(), origin.to_string()]),
            );
            let machine: Vec<_> = rows
                .iter()
                .map(|(name, value, origin)| json!({ "key": name, "value": value, "from": origin.to_string() }))
                .collect();
            output.result(human, &json!({ "file": config.file, "settings": machine }))
        }
    }
}
