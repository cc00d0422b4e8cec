//! Has the journal cosigned when an operator asks for it.

use refpoint_protocol::audit::{JournalCheckpoint, witness::Candidate};

use super::refusals::unavailable;
use crate::{
    api::{
        backend::BackendError,
        views::witness::{CosignedBy, NotCosigned, WitnessReply},
    },
    runtime::witnessing::{NoRound, RoundDesk},
};

/// A round, now.
pub(super) async fn now(rounds: &RoundDesk) -> Result<WitnessReply, BackendError> {
    let storage = |why| BackendError::Storage { why };
    let over = rounds.round().await.map_err(|error| match error {
        NoRound::Stopping => unavailable(),
        NoRound::Journal(why) => storage(why),
    })?;
    let read = JournalCheckpoint::of(&over.checkpoint).map_err(|error| storage(error.to_string()))?;
    let cosigned = over.cosigned.into_iter().map(|Candidate { member, node }| CosignedBy { member, node });
    let refused = over.refused.into_iter();
    let refused =
        refused.map(|(Candidate { member, node }, why)| NotCosigned { member, node, why: why.to_string() });
    Ok(WitnessReply {
        began: read.origin.began.into(),
        entries: read.size,
        root: read.root,
        made: read.made.into(),
        cosigned: cosigned.collect(),
        refused: refused.collect(),
        lost: over.lost.map(|(candidate, _)| candidate.member),
    })
}
