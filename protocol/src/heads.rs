//! Heads: each node's signed word on what it holds, so that anybody sees who holds the same directory.
//!
//! A head names the charter's tips and one digest of everything that the node holds. A node signs one every five
//! minutes while that changes, and one an hour at rest; gossip brings it to all. Whoever holds less than another is
//! *behind*, and that is never called different: what contradicts is two documents at one place, and those are
//! evidence with or without heads. Only a node that signs two heads at one place contradicts itself here.

mod document;
mod heard;
mod history;
mod own;
#[cfg(test)]
mod tests;
mod view;

pub use self::{
    document::{Head, JournalPosition, verify_head},
    heard::{Contradicted, Contradiction, Heard, HeldHead, Taken},
    history::History,
    own::{OwnHeads, Said},
    view::{HeadsView, NodeHead, Standing, judge},
};
