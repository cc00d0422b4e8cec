//! Runs the operator's `alert_command` once for each delivered message, the most urgent first.
//!
//! The command gets one line of JSON on its standard input: precedence, reference, country and TLP, never
//! the text. While one runs, others are queued, so that a flood of one member neither delays nor hides the flash
//! of another. What waits is durable by its message's id, so a restart neither repeats nor loses an alert; a crash
//! while one runs repeats it. Where the event log does not reach back far enough, the inbox says what was missed.

mod queue;

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use refpoint_protocol::{
    document::{decode, encode},
    ids::{MemberCode, MessageId},
    limits::STORED_VALUE_BYTES_MAX,
    machine::{Event, Machine, NumberedEvent},
    message::{body::Tlp, header::Precedence},
    relay::{
        event::RelayEvent,
        views::{MessageView, ReceivedView},
    },
    storage::{Change, Table},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command, sync::broadcast::error::RecvError, time::timeout};
use tokio_util::sync::CancellationToken;

use self::queue::AlertQueue;
use super::{Handle, Stopping, events::Subscription};
use crate::store::StoreError;

/// A message about which somebody is to be woken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alert {
    message: MessageId,
    precedence: Precedence,
    sender: MemberCode,
    tlp: Tlp,
    drill: bool,
}

impl Alert {
    fn of(event: &Event) -> Option<Self> {
        let Event::Relay(RelayEvent::MessageArrived { message, sender, precedence, tlp, drill, .. }) = event
        else {
            return None;
        };
        let (message, precedence, sender) = (*message, *precedence, sender.clone());
        Some(Self { message, precedence, sender, tlp: *tlp, drill: *drill })
    }

    fn of_row(row: ReceivedView) -> Self {
        let ReceivedView { id: message, precedence, sender, tlp, drill, .. } = row;
        Self { message, precedence, sender, tlp, drill }
    }
}

/// What the command learns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct AlertLine {
    /// The message's id.
    message: String,
    /// Flash, immediate, priority or routine.
    precedence: String,
    /// A short reference to say on the telephone: the id's first eight digits.
    reference: String,
    /// The sending member's code.
    country: String,
    /// The marking, such as `AMBER`.
    tlp: String,
    /// Whether it is a drill.
    drill: bool,
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

/// What went wrong last, shared with `status`.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlertHealth(Arc<Mutex<Ailments>>);

#[derive(Debug, Default)]
struct Ailments {
    /// How the last run failed.
    failure: Option<String>,
    /// Messages without an alert of their own, and when the last of them came.
    left_out: Option<(u64, Instant)>,
}

impl AlertHealth {
    /// What is wrong with the alerts: the last run failed, or messages came too fast for the command within a day.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<String> {
        let ailments = self.ailments();
        let left_out = ailments.left_out.filter(|(_, last)| last.elapsed() < LEFT_OUT_SHOWN);
        let left_out = left_out.map(|(count, _)| {
            format!(
                "{count} messages came faster than the alert command runs and had no alert of their own; \
                 they are in the inbox"
            )
        });
        let all: Vec<_> = ailments.failure.clone().into_iter().chain(left_out).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Records how the last run ended.
    fn record(&self, outcome: &Result<(), AlertError>) {
        let failure = outcome.as_ref().err().map(ToString::to_string);
        if let Some(failure) = &failure {
            tracing::error!(%failure, "the alert command failed");
        }
        self.ailments().failure = failure;
    }

    fn leave_out(&self) {
        let mut ailments = self.ailments();
        let count = ailments.left_out.map_or(0, |(count, _)| count) + 1;
        if count.is_power_of_two() {
            tracing::error!(count, "messages come faster than the alert command runs: some had no alert");
        }
        ailments.left_out = Some((count, Instant::now()));
    }

    fn ailments(&self) -> std::sync::MutexGuard<'_, Ailments> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that watches for delivered messages and runs the command for each.
pub(super) struct Watch {
    pub(super) command: Vec<String>,
    pub(super) handle: Handle,
}

impl Watch {
    /// Runs until `stop` is cancelled.
    ///
    /// # Errors
    /// [`StoreError`] if storage has stopped; a full disk costs a repeated alert after the next start at most.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        let Some(mut progress) = self.restore().await? else { return Ok(()) };
        let mut running = None;
        loop {
            let Subscription { missed, gap, mut live, .. } =
                self.handle.events.subscribe(Some(progress.taken));
            if gap && self.look_into_inbox(&mut progress, &missed).await.is_err() {
                return Ok(());
            }
            for event in missed {
                self.take(&mut progress, &event)?;
            }
            loop {
                if running.is_none() {
                    let Ok(next) = self.next_open(&mut progress).await else { return Ok(()) };
                    progress.running = next.as_ref().map(|alert| alert.message);
                    running = next.map(|alert| Box::pin(run(&self.command, alert)));
                }
                let event = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    outcome = ended(&mut running) => {
                        running = None;
                        progress.running = None;
                        self.handle.alert.record(&outcome);
                        self.store(&progress)?;
                        continue;
                    }
                    event = live.recv() => event,
                };
                match event {
                    Ok(event) => self.take(&mut progress, &event)?,
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
        }
    }

    fn take(&self, progress: &mut Progress, event: &NumberedEvent) -> Result<(), StoreError> {
        if event.at != progress.at {
            progress.latest.clear();
        }
        (progress.taken, progress.at) = (event.number, event.at);
        if let Some(alert) = Alert::of(&event.event) {
            progress.latest.push(alert.message);
            self.queue(progress, alert);
        }
        // Now and then, so that after a restart the log reaches back to where this was.
        if event.number.is_multiple_of(STORED_EVERY) { self.store(progress) } else { Ok(()) }
    }

    /// The next alert that is still anybody's: a message may be acknowledged before its turn, and one that a node lost
    /// comes with what was said of it.
    async fn next_open(&self, progress: &mut Progress) -> Result<Option<Alert>, Stopping> {
        while let Some(alert) = progress.queue.next() {
            let message = alert.message;
            if self.handle.query(move |machine, _| machine.messages().is_unseen(&message)).await? {
                return Ok(Some(alert));
            }
        }
        Ok(None)
    }

    fn queue(&self, progress: &mut Progress, alert: Alert) {
        if !progress.queue.add(alert) {
            self.handle.alert.leave_out();
        }
    }

    /// Queues what came after the last event that was taken and of which the log says nothing any more.
    async fn look_into_inbox(
        &self,
        progress: &mut Progress,
        logged: &[Arc<NumberedEvent>],
    ) -> Result<(), Stopping> {
        let since = progress.at;
        let look = move |machine: &Machine, _| {
            let mut rows = machine.messages().received_since(since);
            rows.retain(|row| machine.messages().is_unseen(&row.id));
            rows
        };
        let rows = self.handle.query(look).await?;
        let mut known: std::collections::BTreeSet<MessageId> = progress.latest.iter().copied().collect();
        known.extend(progress.queue.iter().map(|alert| alert.message));
        known.extend(logged.iter().filter_map(|event| Alert::of(&event.event)).map(|alert| alert.message));
        let missed: Vec<_> =
            rows.into_iter().map(Alert::of_row).filter(|alert| !known.contains(&alert.message)).collect();
        tracing::warn!(messages = missed.len(), "the event log has a gap: alerts come from the inbox");
        for alert in missed {
            self.queue(progress, alert);
        }
        Ok(())
    }

    /// Where an earlier run was; at the first start with a command, what came before is nobody's alarm. `None`
    /// when the node is stopping.
    async fn restore(&self) -> Result<Option<Progress>, StoreError> {
        let row = self.handle.store.value(Table::OwnState, PROGRESS)?;
        let row = row.and_then(|row| match decode::<ProgressRow>(&row, STORED_VALUE_BYTES_MAX) {
            Ok(row) => Some(row),
            Err(error) => {
                tracing::error!(%error, "where the alerts were cannot be read: they begin anew");
                None
            }
        });
        let Some(ProgressRow { taken, at, latest, waiting }) = row else {
            let progress = Progress { taken: self.handle.events.newest(), ..Progress::default() };
            // Or the next start would take itself for the first, and what came meanwhile for nobody's alarm.
            self.store(&progress)?;
            return Ok(Some(progress));
        };
        let look = move |machine: &Machine, _| {
            let unseen = waiting.iter().filter(|message| machine.messages().is_unseen(message));
            let messages = unseen.filter_map(|message| machine.messages().message(message));
            let received = messages.filter_map(|message| match message {
                MessageView::Received(row) => Some(row),
                MessageView::Sent(_) => None,
            });
            received.collect::<Vec<_>>()
        };
        let Ok(mut rows) = self.handle.query(look).await else { return Ok(None) };
        rows.sort_by_key(|row| (row.received, row.id));
        let mut progress = Progress { taken, at, latest, ..Progress::default() };
        for alert in rows.into_iter().map(Alert::of_row) {
            self.queue(&mut progress, alert);
        }
        Ok(Some(progress))
    }

    fn store(&self, progress: &Progress) -> Result<(), StoreError> {
        let row = ProgressRow {
            taken: progress.taken,
            at: progress.at,
            latest: progress.latest.clone(),
            waiting: progress.running.into_iter().chain(progress.queue.iter().map(|it| it.message)).collect(),
        };
        let value = match encode(&row) {
            Ok(value) => value,
            Err(error) => {
                tracing::error!(%error, "where the alerts are cannot be encoded");
                return Ok(());
            }
        };
        let store = &self.handle.store;
        let stored =
            store.apply(&[Change::put(Table::OwnState, PROGRESS, value)]).and_then(|()| store.sync());
        match stored {
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "where the alerts are was not stored: some may come again");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// How far the events have been taken, and what waits.
#[derive(Debug, Default)]
struct Progress {
    /// The last event that was taken.
    taken: u64,
    /// When it happened.
    at: Timestamp,
    /// Messages that came at that very time.
    latest: Vec<MessageId>,
    /// About which the command runs now: until it has ended, nobody is known to be awake.
    running: Option<MessageId>,
    queue: AlertQueue,
}

/// The same in [`Table::OwnState`].
#[derive(Serialize, Deserialize)]
struct ProgressRow {
    taken: u64,
    at: Timestamp,
    latest: Vec<MessageId>,
    waiting: Vec<MessageId>,
}

/// Waits for a run under way, for ever if there is none.
async fn ended<F: Future + Unpin>(running: &mut Option<F>) -> F::Output {
    match running {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

/// Where [`ProgressRow`] lies in [`Table::OwnState`].
const PROGRESS: &[u8] = b"alerts";

/// Events after which the progress is stored though no alert was run: a part of what the log keeps.
const STORED_EVERY: u64 = 1_024;

/// How long `status` shows that alerts were left out: whoever comes on duty should read it.
const LEFT_OUT_SHOWN: Duration = Duration::from_secs(86_400);

/// Runs the command once.
///
/// # Errors
/// [`AlertError`].
async fn run(command: &[String], alert: Alert) -> Result<(), AlertError> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let alert = AlertLine {
        message: alert.message.to_string(),
        precedence: alert.precedence.name().to_owned(),
        reference: alert.message.short(),
        country: alert.sender.to_string(),
        tlp: alert.tlp.label().to_owned(),
        drill: alert.drill,
    };
    let fail = |source| AlertError::Run { program: program.clone(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(fail)?;
    let mut line = serde_json::to_vec(&alert).map_err(|error| fail(error.into()))?;
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
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn alert() -> Alert {
        Alert {
            message: MessageId::from_bytes([0xAB; 32]),
            precedence: Precedence::Flash,
            sender: "BR".parse().unwrap(),
            tlp: Tlp::Amber,
            drill: false,
        }
    }

    #[tokio::test]
    async fn the_command_gets_the_alert_as_one_line_of_json() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("alert");
        let command = ["sh", "-c", r#"cat > "$0""#, out.to_str().unwrap()].map(String::from);
        run(&command, alert()).await.unwrap();
        let line = std::fs::read_to_string(out).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["country"], "BR");
        assert_eq!(value["tlp"], "AMBER");
    }

    #[tokio::test]
    async fn a_failure_is_kept_for_status_until_a_run_succeeds() {
        let health = AlertHealth::default();
        let outcome = run(&["/nowhere/alarm".into()], alert()).await;
        health.record(&outcome);
        assert!(health.failure().unwrap().contains("/nowhere/alarm"));
        let outcome = run(&["false".into()], alert()).await;
        assert!(matches!(outcome, Err(AlertError::Failed { .. })));
        let outcome = run(&["true".into()], alert()).await;
        health.record(&outcome);
        assert_eq!(health.failure(), None);
        health.leave_out();
        health.leave_out();
        health.record(&Ok(()));
        assert!(health.failure().unwrap().starts_with("2 messages came faster"), "shown though runs succeed");
    }
}
