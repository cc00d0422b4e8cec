//! What a person or a script sees: results on standard output, everything else on standard error.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::failure::{Exit, Failure};

/// The two streams, and whether results are for people or for programs.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Results as JSON, or as text and tables.
    #[must_use]
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are for programs.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a command's result: `human` for people, `machine` with `--json`.
    ///
    /// # Errors
    /// [`Failure`] if standard output is gone.
    pub fn result(&self, human: impl Display, machine: &impl Serialize) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string_pretty(machine).map_err(|error| {
                Failure::error(
                    "cannot print the result as JSON",
                    error,
                    "report this: the fault is the program's",
                )
            })?
        } else {
            human.to_string()
        };
        let mut stream = io::stdout().lock();
        let printed = writeln!(stream, "{}", text.trim_end()).and_then(|()| stream.flush());
        match printed {
            // Whoever reads, such as `head`, has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed.map_err(|error| {
                Failure::error(
                    "cannot print the result",
                    error,
                    "what was asked for is done; look at it with a further command",
                )
            }),
        }
    }

    /// Says something that is no result: a note, a next step.
    pub fn talk(&self, text: impl Display) {
        // Nobody may be listening any more; that is no reason to stop.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Asks for a yes, unless `yes` was given in advance. Without a terminal it refuses rather than assumes.
    ///
    /// # Errors
    /// [`Failure`] if the answer is no or nobody can be asked.
    pub fn confirm(&self, question: &str, yes: Consent) -> Result<(), Failure> {
        if yes == Consent::Given {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::usage(
                "nothing was done",
                "a person must agree, and there is no terminal to ask on",
                "read what is shown, then say --yes",
            ));
        }
        let mut stream = io::stderr().lock();
        let mut answer = String::new();
        let asked = write!(stream, "{question} [yes/no] ").and_then(|()| stream.flush());
        asked.and_then(|()| io::stdin().read_line(&mut answer)).map_err(|error| {
            Failure::error("nothing was done", error, "try again on a terminal, or say --yes")
        })?;
        match answer.trim() {
            "yes" | "y" => Ok(()),
            _ => Err(Failure::error(
                "nothing was done",
                "the answer was not yes",
                "run the command again when you agree",
            )),
        }
    }

    /// A progress bar on standard error, hidden where nobody watches.
    #[must_use]
    pub fn progress(&self, length: u64, what: &'static str) -> ProgressBar {
        let watched = io::stderr().is_terminal() && !self.json;
        let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        bar.with_message(what)
    }

    /// Prints a failure and gives the exit code.
    #[must_use]
    pub fn fail(&self, failure: &Failure) -> ExitCode {
        if self.json {
            let text = serde_json::to_string(&serde_json::json!({ "error": failure }));
            self.talk(text.unwrap_or_else(|error| error.to_string()));
        } else {
            self.talk(failure);
        }
        failure.exit().into()
    }
}

/// Whether a person agreed in advance (`--yes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// `--yes` was given.
    Given,
    /// The person is to be asked.
    Ask,
}

impl Consent {
    /// From the flag `--yes`.
    #[must_use]
    pub const fn from_flag(yes: bool) -> Self {
        if yes { Self::Given } else { Self::Ask }
    }
}

/// A table for people.
#[must_use]
pub fn table<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::TableStyle::new()).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
