//! The grow-only set of signed documents, and how two sets become equal.

pub mod repair;
