//! Numbers of things in plain words.

/// A number of things: `1 check`, `2 checks`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
