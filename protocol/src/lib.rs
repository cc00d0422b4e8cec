//! The decisions of a Refpoint node, without input or output.
mod crypto;
pub mod document;
pub mod ids;
pub mod limits;
pub mod redact;
pub mod time;
