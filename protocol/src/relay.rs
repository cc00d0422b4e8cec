//! The urgent relay: parcels, receipts, the outbox and the inbox.

pub mod frame;
pub mod parcel;
pub mod receipt;
