//! What the demo prints: a time, who, and what happened.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Instant,
};

use serde_json::json;

/// Prints the demo's steps with the time since its start.
pub(super) struct Timeline {
    began: Instant,
    json: bool,
    colour: bool,
}

impl Timeline {
    /// Starts now.
    pub(super) fn start(json: bool) -> Self {
        Self { began: Instant::now(), json, colour: !json && io::stdout().is_terminal() }
    }

    /// A heading.
    pub(super) fn chapter(&self, text: &str) {
        if self.json {
            return;
        }
        self.line(&if self.colour { format!("\n\x1b[1m{text}\x1b[0m") } else { format!("\n{text}") });
    }

    /// One thing that happened.
    pub(super) fn say(&self, who: &str, what: &str) {
        let millis = self.began.elapsed().as_millis();
        if self.json {
            self.line(
                &json!({ "ms": u64::try_from(millis).unwrap_or(u64::MAX), "who": who, "what": what })
                    .to_string(),
            );
        } else {
            self.line(&format!("{:>9}  {who:<3} {what}", format!("+{millis} ms")));
        }
    }

    /// A line as it is, for people alone.
    pub(super) fn note(&self, text: &str) {
        if !self.json {
            self.line(text);
        }
    }

    /// The time since the start.
    pub(super) fn elapsed(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    fn line(&self, text: &str) {
        // A reader that has gone does not stop the demo: its exit code still tells.
        if writeln!(io::stdout().lock(), "{text}").is_err() {
            tracing::debug!("standard output is gone");
        }
    }
}
