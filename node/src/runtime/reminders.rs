//! Tells the log of the key set's review date, on the days that [`crate::review`] names.

use std::time::Duration;

use refpoint_protocol::{
    document::{decode, encode},
    limits::STORED_VALUE_BYTES_MAX,
    machine::Machine,
    storage::{Change, Table},
    time::Timestamp,
};
use tokio_util::sync::CancellationToken;

use super::Handle;
use crate::{
    review::{Stage, Told, is_due},
    store::StoreError,
};

/// The task that tells.
pub(super) struct Reminders(pub(super) Handle);

impl Reminders {
    /// Runs until the token is cancelled or the node is stopping.
    ///
    /// # Errors
    /// [`StoreError`] if storage has stopped.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut told = self.restore()?;
        loop {
            let look = |machine: &Machine, now: Timestamp| {
                let membership = machine.evidence().membership();
                let review = membership.member(&machine.config().member).and_then(|own| own.review);
                (review, now)
            };
            let Ok((review, now)) = self.0.query(look).await else { return Ok(()) };
            if let Some(review) = review.filter(|review| is_due(*review, told, now)) {
                tell(review, now);
                let new = Told { review, stage: Stage::of(review, now), at: now };
                self.store(new)?;
                told = Some(new);
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn restore(&self) -> Result<Option<Told>, StoreError> {
        let row = self.0.store.value(Table::OwnState, TOLD)?;
        Ok(row.and_then(|row| match decode::<Told>(&row, STORED_VALUE_BYTES_MAX) {
            Ok(told) => Some(told),
            Err(error) => {
                tracing::error!(%error, "when the review date was last told cannot be read");
                None
            }
        }))
    }

    fn store(&self, told: Told) -> Result<(), StoreError> {
        let value = match encode(&told) {
            Ok(value) => value,
            Err(error) => {
                tracing::error!(%error, "when the review date was told cannot be encoded");
                return Ok(());
            }
        };
        match self.0.store.apply(&[Change::put(Table::OwnState, TOLD, value)]) {
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "that the review date was told was not stored: it may be told again");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

fn tell(review: Timestamp, now: Timestamp) {
    let stage = Stage::of(review, now);
    let days = review.since(now).max(now.since(review)).as_secs() / 86_400;
    match stage {
        Stage::Far => {}
        Stage::Within60Days => {
            tracing::info!(days, "the key set is to be looked at within 60 days: refpoint keys issue");
        }
        Stage::Within30Days => {
            tracing::warn!(days, "the key set is to be looked at within 30 days: refpoint keys issue");
        }
        Stage::Within7Days => {
            tracing::warn!(days, "the key set is to be looked at within 7 days: refpoint keys issue");
        }
        Stage::Overdue => {
            tracing::warn!(days, "the key set's review is overdue; it stays valid: refpoint keys issue");
        }
    }
}

/// Where [`Told`] lies in [`Table::OwnState`].
const TOLD: &[u8] = b"review-told";

/// How often the date is looked at: a stage is told within the hour in which it begins.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
