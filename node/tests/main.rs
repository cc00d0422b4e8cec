//! The node's tests from outside, as one binary; a file without its `mod` line here would not run.

mod store;
