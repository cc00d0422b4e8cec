//! Writes the vectors: `cargo run -p refpoint-protocol --example vectors -- protocol/tests/vectors`.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program that writes vectors")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "its own mistake should stop it"
)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it writes files; the crate does not"
)]

#[path = "../tests/vectors.rs"]
mod vectors;

fn main() {
    let folder = std::env::args().nth(1).expect("the folder to write to is the only argument");
    for (name, value) in vectors::all() {
        let file = std::path::Path::new(&folder).join(name);
        std::fs::write(&file, format!("{value:#}\n")).expect("the folder can be written");
        println!("{}", file.display());
    }
}
