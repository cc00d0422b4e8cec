//! `refpoint doctor`: what an operator would check by hand, each check one line that is OK, WARN or FAIL.
//!
//! It looks and tries; it changes nothing but a file of its own that it removes again. What a stopped node can be
//! asked is asked of its folder, the rest of the running node.

mod folder;
mod host;
mod running;

use std::fmt;

use serde::Serialize;
use serde_json::json;

use super::{ConfigFile, failure::Failure, human, node::converse, output::Output, safe_text::line as safe};
use crate::{
    client::{Client, ClientError},
    clock::Clock,
    config::Config,
};

/// Check clock, disk, keys, addresses and limits, have another node dial back, and say how to mend each fault.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let lines = match arguments.config.load() {
        Err(failure) => {
            let (what, fix) = failure.into_why_and_remedy();
            vec![Line::fail("configuration", what, fix)]
        }
        Ok(config) => examine(&config)?,
    };
    let failed: Vec<&str> =
        lines.iter().filter(|line| line.verdict == Verdict::Fail).map(|line| line.check).collect();
    let page: String = lines.iter().map(shown).collect();
    output.result(page, &json!({ "well": failed.is_empty(), "checks": lines }))?;
    if failed.is_empty() {
        return Ok(());
    }
    let what = format!("{} failed", human::count(failed.len() as u64, "check"));
    Err(Failure::error(what, failed.join(", "), "do what stands below each FAIL, then run this again"))
}

/// All checks, in the order in which a cause comes before its effects.
fn examine(config: &Config) -> Result<Vec<Line>, Failure> {
    let mut lines = vec![Line::ok("configuration", format!("{} is valid", config.file.display()))];
    let (keys, node, storage) = folder::keys(config);
    lines.extend(keys);
    lines.extend(host::disk(&config.data));
    lines.push(host::descriptors(config));
    lines.extend(host::announced(config));
    let alert = host::alert(config);
    let client = Client::new(&config.socket);
    match converse(async { Ok(client.status().await) })? {
        Ok(status) => {
            let facts = &status.facts;
            lines.push(host::listening(config, Some(&facts.listening)));
            if facts.alert_failure.is_none() || alert.verdict == Verdict::Fail {
                lines.push(alert);
            }
            let (entry, back) = converse(async {
                let entry = client.directory_entry(&config.member).await;
                let back = if config.announce.is_empty() { None } else { Some(client.dial_back().await) };
                Ok((entry, back))
            })?;
            lines.extend(running::running(facts, entry.ok().as_ref()));
            match back {
                Some(Ok(reply)) => lines.extend(running::dialled_back(&reply)),
                Some(Err(error)) => {
                    lines.push(Line::warn(
                        "reached from outside",
                        error.to_string(),
                        "run this again in a minute",
                    ));
                }
                None => {}
            }
        }
        Err(error) => {
            lines.push(not_answering(&error, config));
            lines.push(host::listening(config, None));
            lines.push(alert);
            lines.extend(folder::stored(config, node.as_ref(), storage.as_ref(), Clock::start(0).now()));
            let unasked = ["clock", "peers", "own records", "reference point", "reached from outside"];
            lines.extend(unasked.map(Line::needs_node));
        }
    }
    Ok(lines)
}

fn not_answering(error: &ClientError, config: &Config) -> Line {
    match error {
        ClientError::NotRunning { .. } => {
            Line::warn("node", "is not running", "systemctl start refpoint, or refpoint run")
        }
        ClientError::NotPermitted { .. } => Line::fail(
            "node",
            error.to_string(),
            "run this as the node's own user: sudo -u refpoint refpoint doctor",
        ),
        _ => Line::fail(
            "node",
            format!("does not answer at {}: {error}", config.socket.display()),
            "look at journalctl -u refpoint, then restart the node",
        ),
    }
}

fn shown(line: &Line) -> String {
    let mut text = format!("{:<4}  {:<20}  {}\n", line.verdict, line.check, safe(&line.what));
    if let Some(fix) = &line.fix {
        text.push_str(&format!("      {:<20}  to do: {}\n", "", safe(fix)));
    }
    text
}

/// One check's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    /// What was checked, in a word or two.
    check: &'static str,
    /// How it is.
    verdict: Verdict,
    /// What was found.
    what: String,
    /// What to do; always there with a FAIL.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look; or it could not be checked.
    Warn,
    /// It does not work.
    Fail,
}

impl Line {
    /// As it should be.
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, what: what.into(), fix: None }
    }

    /// To be looked at.
    fn warn(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, what: what.into(), fix: Some(fix.into()) }
    }

    /// Broken, with what to do.
    fn fail(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, what: what.into(), fix: Some(fix.into()) }
    }

    /// A check that only the running node can answer.
    #[must_use]
    fn needs_node(check: &'static str) -> Self {
        Self::warn(check, "not checked: this needs the running node", "start the node, then run this again")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        })
    }
}
