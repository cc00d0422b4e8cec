//! Logs: for people on a terminal, as JSON otherwise. Fields, never formatted text; nothing personal.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::LogFormat;

/// Starts logging to standard error at the configured level and in the configured form.
///
/// # Errors
/// A text that says what is wrong with `filter`, or that logging runs already.
pub fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|error| format!("the log filter {filter:?} cannot be read: {error}; try \"info\""))?;
    let registry = tracing_subscriber::registry().with(filter);
    let human = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let started = if human {
        registry.with(fmt::layer().with_writer(io::stderr).with_target(false)).try_init()
    } else {
        registry.with(fmt::layer().json().with_writer(io::stderr)).try_init()
    };
    started.map_err(|error| format!("logging cannot be started: {error}"))
}

/// What libp2p says at the level of the operator's news is none: a peer id, in a line without words. Whoever names the
/// part in the filter hears it all the same.
const QUIET: &str = "libp2p_swarm=warn";
