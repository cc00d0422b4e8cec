//! The door: who may come in, decided inside the security upgrade, before any other byte is read.

pub mod frame;
