//! The commands: one file each, one line here each.
//!
//! Results go to standard output, talk to standard error, and every failure leaves by [`failure::Failure`], which
//! says what happened, to what, why and what to do, and decides the exit code.

mod audit;
mod backup;
mod charter;
mod config;
mod demo;
mod directory;
mod doctor;
mod drill;
pub mod failure;
mod folder;
mod human;
mod init;
mod join;
mod keys;
mod message;
mod node;
pub mod output;
mod owner;
mod page;
mod peers;
mod qr;
mod run;
mod safe_text;
mod sample;
mod status;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use failure::Failure;
use output::Output;

use crate::{
    config::Config,
    keyfile::{PassphraseFile, WorkFactor},
};

/// A country's node in the federated contact network of 24/7 National Reference Points.
///
/// Exit codes: 0 done, 1 error, 2 usage, 3 node not running, 4 verification failed, 5 not delivered in time,
/// 6 delivered but not acknowledged in time.
#[derive(Parser)]
#[command(name = "refpoint", version, max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    /// Print results as JSON on standard output, and errors as JSON on standard error.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    #[command(subcommand)]
    Charter(charter::Command),
    Join(join::Arguments),
    #[command(subcommand)]
    Keys(keys::Command),
    #[command(subcommand)]
    Config(config::Command),
    Sample(sample::Arguments),
    Run(run::Arguments),
    Demo(demo::Arguments),
    Status(status::Arguments),
    Peers(peers::Arguments),
    #[command(subcommand)]
    Directory(directory::Command),
    #[command(subcommand)]
    Message(message::Command),
    #[command(subcommand)]
    Backup(backup::Command),
    #[command(subcommand)]
    Drill(drill::Command),
    Doctor(doctor::Arguments),
    #[command(subcommand)]
    Audit(audit::Command),
}

impl Command {
    fn run(&self, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Init(arguments) => init::run(arguments, output),
            Self::Charter(command) => charter::run(command, output),
            Self::Join(arguments) => join::run(arguments, output),
            Self::Keys(command) => keys::run(command, output),
            Self::Config(command) => config::run(command, output),
            Self::Sample(arguments) => sample::run(arguments, output),
            Self::Run(arguments) => run::run(arguments, output),
            Self::Demo(arguments) => demo::run(arguments, output),
            Self::Status(arguments) => status::run(arguments, output),
            Self::Peers(arguments) => peers::run(arguments, output),
            Self::Directory(command) => directory::run(command, output),
            Self::Message(command) => message::run(command, output),
            Self::Backup(command) => backup::run(command, output),
            Self::Drill(command) => drill::run(command, output),
            Self::Doctor(arguments) => doctor::run(arguments, output),
            Self::Audit(command) => audit::run(command, output),
        }
    }
}

/// Parses the arguments, runs the command and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    match Arguments::try_parse_from(&given) {
        Ok(arguments) => {
            let output = Output::new(arguments.json);
            match arguments.command.run(&output) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => output.fail(&failure),
            }
        }
        Err(error) if error.use_stderr() && asks_for_json(&given) => {
            Output::new(true).fail(&misunderstood(&error.render().to_string()))
        }
        // Help and the version on standard output, usage errors on standard error with 2.
        Err(error) => error.exit(),
    }
}

/// Whether `--json` stands among the arguments, before any `--`.
fn asks_for_json(given: &[OsString]) -> bool {
    given.iter().skip(1).take_while(|argument| *argument != "--").any(|argument| argument == "--json")
}

/// What clap says of arguments that it does not understand, in the form of every other failure.
fn misunderstood(said: &str) -> Failure {
    let why = said.trim().trim_start_matches("error: ");
    let why = why.strip_suffix("For more information, try '--help'.").unwrap_or(why).trim_end();
    Failure::usage("the command was not understood", why, "see the command with --help")
}

/// Which configuration a command works with.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigFile {
    /// The configuration; unless said ./refpoint.toml, else /var/lib/refpoint/refpoint.toml.
    #[arg(long, value_name = "FILE", env = "REFPOINT_CONFIG")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// The path, without looking into the file.
    fn path(&self) -> PathBuf {
        let (here, installed) = (PathBuf::from(HERE), PathBuf::from(INSTALLED));
        match &self.config {
            Some(file) => file.clone(),
            None if !here.exists() && installed.exists() => installed,
            None => here,
        }
    }

    /// Loads the configuration.
    ///
    /// # Errors
    /// [`Failure`] naming everything that is wrong with the file.
    pub fn load(&self) -> Result<Config, Failure> {
        let path = self.path();
        if self.config.is_none() && matches!(path.try_exists(), Ok(false)) {
            return Err(Self::nowhere());
        }
        Ok(Config::load(&path)?)
    }

    /// No file is named, and none lies where one is looked for.
    fn nowhere() -> Failure {
        let here = std::path::absolute(HERE).unwrap_or_else(|_| PathBuf::from(HERE));
        let installed = match std::fs::metadata(INSTALLED) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => "you may not look there",
            _ => "not there",
        };
        let why = format!(
            "none is named with --config or REFPOINT_CONFIG, and these were looked at:\n{}: not there\n{INSTALLED}: {installed}",
            here.display()
        );
        Failure::error(
            "there is no configuration to work with",
            why,
            "name one with --config FILE, go to its folder, or make one with `refpoint init`",
        )
    }
}

/// Where a configuration is looked for first.
const HERE: &str = "refpoint.toml";

/// Where else, as the service file has it.
const INSTALLED: &str = "/var/lib/refpoint/refpoint.toml";

/// Where the passphrase of a root key comes from.
#[derive(clap::Args, Clone, Debug)]
struct RootPassphrase {
    /// File with the root key's passphrase, one line, readable by its owner alone; else the terminal is asked.
    #[arg(long, value_name = "FILE", env = "REFPOINT_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
}

impl RootPassphrase {
    fn source(&self) -> PassphraseFile {
        PassphraseFile(self.passphrase_file.clone())
    }
}

/// How costly a new key file is to guess.
#[derive(clap::Args, Clone, Copy, Debug)]
struct Work {
    /// Exponent of the passphrase's scrypt work; lower ones are for tests. Not in release builds.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true, value_parser = clap::value_parser!(u8).range(1..=20))]
    work_factor: Option<u8>,
}

impl Work {
    #[cfg(debug_assertions)]
    fn factor(self) -> WorkFactor {
        self.work_factor.and_then(WorkFactor::new).unwrap_or(WorkFactor::STRONG)
    }

    #[cfg(not(debug_assertions))]
    fn factor(self) -> WorkFactor {
        WorkFactor::STRONG
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn every_command_is_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
