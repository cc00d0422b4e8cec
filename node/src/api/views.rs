//! The JSON contract: what the server sends, what the client reads, and what `--json` prints.
//!
//! Plain data only. It decides nothing but how a view is drawn from facts (`status/health`) and which
//! requests are well formed. Instants are RFC 3339 texts in UTC, durations whole seconds or milliseconds
//! named so, identifiers 64 hexadecimal digits, bytes base64. A machine's word (`delivered`) and a person's
//! word (`acknowledged`) are separate fields everywhere.

pub mod bytes;
pub mod dial_back;
pub mod directory;
pub mod document;
pub mod drill;
pub mod event;
pub mod heads;
pub mod history;
pub mod instant;
pub mod message;
pub mod names;
pub mod peer;
pub mod problem;
pub mod receipt;
pub mod send;
pub mod snapshot;
pub mod status;
pub mod witness;
pub mod witnessed;
