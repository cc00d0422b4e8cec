//! Messages: the signed header, the sealed body, the words that they use, and what a body may hold.

pub mod body;
mod check;
pub mod draft;
pub mod drill;
pub mod header;
