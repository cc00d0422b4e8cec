//! The urgent relay: parcels, receipts, the outbox and the inbox.

pub mod book;
pub mod event;
pub mod exchange;
pub mod frame;
pub mod parcel;
pub mod receipt;
pub mod rows;
pub mod sealing;
