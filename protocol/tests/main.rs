//! The crate's tests through its public door, in one binary. It owns no test itself: each module has one subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests read files and keep time; the crate does not"
)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod document;
mod machine;
mod model;
mod relay;
mod sim;
mod tidy;
mod vectors;
mod wycheproof;
