//! Messages: the signed header, the sealed body, and the words that they use.

pub mod body;
pub mod header;
