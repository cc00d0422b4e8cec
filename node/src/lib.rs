//! The node: everything that could give a different answer on another machine.
//!
//! The binary and the tests reach the parts through this library; decisions lie in `refpoint-protocol`.

pub mod api;
pub mod armor;
pub mod backup;
pub mod bundle;
pub mod ceremony;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod countries;
pub mod demo;
pub mod drills;
pub mod fingerprint;
pub mod founding;
pub mod keyfile;
pub mod metrics;
pub mod network;
mod plural;
pub mod reference_point_diff;
pub mod reference_point_file;
pub mod refounding;
pub mod review;
pub mod runtime;
pub mod sample;
pub mod shutdown;
pub mod store;
pub mod telemetry;
mod text_file;
