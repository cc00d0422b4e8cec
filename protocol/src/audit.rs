//! What an auditor checks without a node: bundles of signed documents, and what two of them say of one another.
//!
//! A bundle is read from its pinned federation up with the same rules by which a node takes documents in: nothing in
//! it is believed for the sake of who handed it over. Reading a file and telling people is the node's.

mod bundle;
mod compare;
mod entries;
mod error;
mod exhibit;
mod journal;
pub mod merkle;
mod message_proof;
pub mod note;
mod report;
#[cfg(test)]
mod tests;
pub mod witness;

pub use bundle::{BundleError, BundleWriter, Exporter, Frame};
pub use compare::{
    ChainPlace, Comparison, Difference, JournalFork, JournalRewound, NamesLess, Side, compare,
};
pub use entries::{CosignedState, EntriesError, JournalEntries};
pub use error::{AuditError, JournalError, LineError};
pub use exhibit::{Exhibit, Signer};
pub use journal::{
    Entry, Journal, JournalCheckpoint, JournalOrigin, entry_key, entry_of_key, journal_ended_mark, tier_key,
    tiers_of,
};
pub use message_proof::{
    Continues, Grounds, Included, Journalled, MessageProof, ProofFault, ProofRefused, ProvenHeader,
    ProvenMessage, ProvenReceipt, ProvenStatement, Witnessed, check_message_proof, is_message_proof,
};
pub use report::{Audited, Fork, ForkPlace, NotHeld, Refused, audit};
