//! Prints the message vectors: `cargo run -p refpoint-protocol --example message_vectors > protocol/tests/vectors/message.json`.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program that prints vectors")]

#[path = "../tests/relay/vectors.rs"]
mod vectors;

fn main() {
    println!("{:#}", vectors::message());
}
