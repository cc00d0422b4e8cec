//! The node: everything that could give a different answer on another machine.
//!
//! The binary and the tests reach the parts through this library; decisions lie in `refpoint-protocol`.

pub mod api;
pub mod countries;
pub mod store;
