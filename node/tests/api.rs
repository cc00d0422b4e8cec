//! The API's contract: every route, every failure, its bounds and its stream, against a backend in memory.

mod contract;
mod events;
pub(crate) mod fake;
mod metrics;
pub(crate) mod samples;
mod socket;
