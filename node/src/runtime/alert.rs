//! Runs the operator's `alert_command` once for each delivered message.
//!
//! The command gets one line of JSON on its standard input: precedence, reference, country and TLP, never
//! the text. The number of the last event handled is durable, so a restart neither repeats nor loses one
//! that was handled before it; a crash in between repeats it.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use refpoint_protocol::{
    machine::{Event, NumberedEvent},
    relay::event::RelayEvent,
    storage::{Change, Table},
};
use serde::Serialize;
use tokio::{io::AsyncWriteExt, process::Command, sync::broadcast::error::RecvError, time::timeout};
use tokio_util::sync::CancellationToken;

use super::events::{EventLog, Subscription};
use crate::store::{Store, StoreError};

/// What the command learns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Alert {
    /// The message's id.
    pub(super) message: String,
    /// Flash, immediate, priority or routine.
    pub(super) precedence: String,
    /// A short reference to say on the telephone: the id's first eight digits.
    pub(super) reference: String,
    /// The sending member's code.
    pub(super) country: String,
    /// The marking, such as `AMBER`.
    pub(super) tlp: String,
    /// Whether it is a drill.
    pub(super) drill: bool,
}

/// Why the alert command did not do its work; shown in `status` until it works again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AlertError {
    /// It could not be started or written to.
    #[error("the alert command {program:?} could not be run: {source}; check the path in alert_command")]
    Run {
        /// The program.
        program: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// It ended with a failure.
    #[error("the alert command {program:?} ended with {status}; run it by hand with the same input")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// It did not end in time and was killed.
    #[error("the alert command {program:?} did not end within {RUN_TIMEOUT:?} and was killed")]
    TimedOut {
        /// The program.
        program: String,
    },
}

/// The last failure, shared with `status`.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlertHealth(Arc<Mutex<Option<String>>>);

impl AlertHealth {
    /// What is wrong with the alert command, `None` if its last run succeeded or none was due.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records how the last run ended.
    pub(super) fn record(&self, outcome: &Result<(), AlertError>) {
        let failure = outcome.as_ref().err().map(ToString::to_string);
        if let Some(failure) = &failure {
            tracing::error!(%failure, "the alert command failed");
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// Watches for delivered messages until `stop`, and runs the command for each.
///
/// # Errors
/// [`StoreError`] if what was handled cannot be stored.
pub(super) async fn watch(
    command: Vec<String>,
    events: EventLog,
    store: Arc<dyn Store>,
    health: AlertHealth,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let mut handled = match cursor(store.as_ref())? {
        Some(number) => number,
        // The first start with a command: what came before it was nobody's alarm.
        None => events.newest(),
    };
    loop {
        let Subscription { missed, gap, mut live, .. } = events.subscribe(Some(handled));
        if gap {
            tracing::warn!("events are missing: alerts of messages that came meanwhile were not run");
        }
        for event in missed {
            handled = handle(&command, &event, store.as_ref(), &health).await?;
        }
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = live.recv() => event,
            };
            match event {
                Ok(event) => handled = handle(&command, &event, store.as_ref(), &health).await?,
                // A slow command: go on from the log.
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}

async fn handle(
    command: &[String],
    event: &NumberedEvent,
    store: &dyn Store,
    health: &AlertHealth,
) -> Result<u64, StoreError> {
    if let Event::Relay(RelayEvent::MessageArrived { message, sender, precedence, tlp, drill, .. }) =
        &event.event
    {
        let alert = Alert {
            message: message.to_string(),
            precedence: precedence.name().to_owned(),
            reference: message.short(),
            country: sender.to_string(),
            tlp: tlp.label().to_owned(),
            drill: *drill,
        };
        health.record(&run(command, &alert).await);
        let value = Some(event.number.to_be_bytes().to_vec());
        store.apply(&[Change { table: Table::OwnState, key: CURSOR.to_vec(), value }])?;
        store.sync()?;
    }
    Ok(event.number)
}

fn cursor(store: &dyn Store) -> Result<Option<u64>, StoreError> {
    let value = store.value(Table::OwnState, CURSOR)?;
    Ok(value.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes))
}

/// Where the number of the last event handled lies in [`Table::OwnState`].
const CURSOR: &[u8] = b"alert-cursor";

/// Runs the command once.
///
/// # Errors
/// [`AlertError`].
pub(super) async fn run(command: &[String], alert: &Alert) -> Result<(), AlertError> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let fail = |source| AlertError::Run { program: program.clone(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(fail)?;
    let mut line = serde_json::to_vec(alert).map_err(|error| fail(error.into()))?;
    line.push(b'\n');
    let finish = async {
        if let Some(mut input) = child.stdin.take() {
            // A command that does not read its input is not at fault for that.
            match input.write_all(&line).await {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        child.wait().await
    };
    match timeout(RUN_TIMEOUT, finish).await {
        Err(_) => Err(AlertError::TimedOut { program: program.clone() }),
        Ok(Err(error)) => Err(fail(error)),
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(AlertError::Failed { program: program.clone(), status }),
    }
}

/// How long one run may take: a modem dials in this time, and the next alert waits behind it.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        Alert {
            message: "ab".repeat(32),
            precedence: "flash".into(),
            reference: "abababab".into(),
            country: "BR".into(),
            tlp: "AMBER".into(),
            drill: false,
        }
    }

    #[tokio::test]
    async fn the_command_gets_the_alert_as_one_line_of_json() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("alert");
        let command = ["sh", "-c", r#"cat > "$0""#, out.to_str().unwrap()].map(String::from);
        run(&command, &alert()).await.unwrap();
        let line = std::fs::read_to_string(out).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["country"], "BR");
        assert_eq!(value["tlp"], "AMBER");
    }

    #[tokio::test]
    async fn a_failure_is_kept_for_status_until_a_run_succeeds() {
        let health = AlertHealth::default();
        let outcome = run(&["/nowhere/alarm".into()], &alert()).await;
        health.record(&outcome);
        assert!(health.failure().unwrap().contains("/nowhere/alarm"));
        let outcome = run(&["false".into()], &alert()).await;
        assert!(matches!(outcome, Err(AlertError::Failed { .. })));
        let outcome = run(&["true".into()], &alert()).await;
        health.record(&outcome);
        assert_eq!(health.failure(), None);
    }
}
