//! The node's tests from outside, as one binary; a file without its `mod` line here would not run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing
)]

mod addresses;
mod api;
mod attacks;
mod audit;
mod backup;
mod ceremonies;
mod cli;
mod demo;
mod drills;
mod founding;
mod keys;
mod network;
mod processes;
mod refounding;
mod runtime;
mod settings;
mod store;
