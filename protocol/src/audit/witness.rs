//! Witnesses: other members' nodes that cosign where a journal stands after they checked that it continues all that they
//! cosigned of it before (C2SP `tlog-witness`), or where its node's heads said it stood. So a node's own administrator cannot
//! rewrite its past unseen.
//!
//! [`Witness`] is the side that is asked, [`Asking`] the one that asks. Nothing in a message's path waits for either.

mod asking;
mod heard;
mod serving;
#[cfg(test)]
mod tests;
mod wire;

use std::{fmt, str::FromStr};

pub use self::{
    asking::{AskEffect, AskInput, Asking, Candidate, RoundOver, Unproven},
    heard::{HeardJournal, HeardJournals},
    serving::{Doubt, Judged, Refuted, RequestLimits, Witness, WitnessFault, WitnessedRow},
    wire::{CosignAnswer, CosignRefusal, CosignRequest, Cosignature},
};
use super::note::NoteError;
use crate::ids::{FederationId, MemberCode, NodeKey};

/// The name under which a node cosigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessName {
    /// The federation.
    pub federation: FederationId,
    /// The node's member.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
}

impl fmt::Display for WitnessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}/{}/{}/{}", self.federation, self.member, self.node)
    }
}

impl FromStr for WitnessName {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let read = || {
            let mut parts = text.strip_prefix(NAME)?.strip_prefix('/')?.split('/');
            let name = Self {
                federation: parts.next()?.parse().ok()?,
                member: parts.next()?.parse().ok()?,
                node: parts.next()?.parse().ok()?,
            };
            (name.to_string() == text).then_some(name)
        };
        read().ok_or(NoteError::Checkpoint("witness"))
    }
}

/// What a witness's name begins with.
const NAME: &str = "refpoint-witness";
