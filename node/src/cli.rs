//! The commands: one file each, one line here each.
//!
//! Results go to standard output, talk to standard error, and every failure leaves by [`failure::Failure`], which
//! says what happened, to what, why and what to do, and decides the exit code.

mod charter;
mod config;
mod demo;
mod directory;
pub mod failure;
mod folder;
mod human;
mod init;
mod join;
mod keys;
mod message;
mod node;
pub mod output;
mod peers;
mod run;
mod safe_text;
mod sample;
mod status;

use std::{path::PathBuf, process::ExitCode};

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
        }
    }
}

/// Parses the arguments, runs the command and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    // clap prints usage errors itself and leaves with 2.
    let arguments = Arguments::parse();
    let output = Output::new(arguments.json);
    match arguments.command.run(&output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output.fail(&failure),
    }
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
        let here = PathBuf::from("refpoint.toml");
        let installed = PathBuf::from("/var/lib/refpoint/refpoint.toml");
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
        Ok(Config::load(&self.path())?)
    }
}

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
