//! Hostile members: who they are, and where they come between a node and the others.
//!
//! Each of them runs an honest machine beside its mischief, so that it is certified, connected and believed.

use refpoint_protocol::{
    evidence::repair::{RepairRequest, RepairResponse},
    relay::frame::RelayFrame,
};

use super::{Sim, draw::Draw, event::Payload};

/// What a hostile member is up to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Villain {}

/// Chooses who is hostile.
pub(crate) fn choose(_sim: &mut Sim, _draw: &mut Draw) {}

/// A hostile member does something by itself.
pub(crate) fn act(_sim: &mut Sim, _node: usize) {}

/// Whether a node passes nothing on.
pub(crate) fn withholds(_sim: &Sim, _node: usize) -> bool {
    false
}

/// What a hostile node answers instead of its machine.
pub(crate) fn answers(_sim: &Sim, _node: usize, _request: &RepairRequest) -> Option<RepairResponse> {
    None
}

/// Whether a hostile node takes a frame and does nothing with it.
pub(crate) fn swallows(_sim: &Sim, _node: usize, _frame: &RelayFrame) -> bool {
    false
}

/// What a hostile node remembers of what it was sent.
pub(crate) fn records(_sim: &mut Sim, _node: usize, _what: &Payload) {}

/// Whether a node dials others though its own view tells it not to.
pub(crate) fn dials(_sim: &Sim, _node: usize) -> bool {
    false
}
