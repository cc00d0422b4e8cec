//! What a federation takes over from the one whose place it takes: which it was, and what its directory said.
//!
//! A stopped government leaves a directory that is still true for the most part. Until a member has published in the new
//! federation, the others see what it published last in the old one, marked as such: at 3 a.m. an old telephone number is
//! worth more than none. Nothing of it is trusted for anything else.

use std::collections::BTreeMap;

use refpoint_protocol::{
    audit::Audited,
    document::{EncodeError, decode, encode},
    ids::{FederationId, MemberCode},
    limits::CHARTER_PARENTS_MAX,
    membership::charter::Refounded,
    storage::{Change, Table},
};
use serde::{Deserialize, Serialize};

use crate::{
    api::views::{directory::ReferencePointView, instant::Instant},
    store::{Keys, Store, StoreError},
};

/// What a member published last in the federation before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    /// The federation before.
    pub federation: FederationId,
    /// When it was signed there, by its signer's clock.
    pub issued: Instant,
    /// What was published.
    pub entry: ReferencePointView,
}

/// Names the federation of a bundle as the one whose place is taken. Whoever it is to escape from may have signed more tips
/// than a charter can name: of those the first ones are named.
#[must_use]
pub fn refounded(bundle: &Audited) -> Refounded {
    let tips = bundle.evidence.membership().tips().iter().copied().take(CHARTER_PARENTS_MAX).collect();
    Refounded { federation: bundle.evidence.federation(), tips }
}

/// Writes down what is inherited.
///
/// # Errors
/// [`EncodeError`] if an entry has no canonical form, though it was read from one.
pub fn changes(inherited: &BTreeMap<MemberCode, Inherited>) -> Result<Vec<Change>, EncodeError> {
    let row = |(member, entry): (&MemberCode, &Inherited)| {
        Ok(Change::put(Table::OwnState, [PREFIX, member.as_str().as_bytes()].concat(), encode(entry)?))
    };
    inherited.iter().map(row).collect()
}

/// Reads it back. What is damaged is left out and told: it is shown to people, and nothing else rests on it.
///
/// # Errors
/// [`StoreError`] if the store itself has stopped.
pub fn restore(store: &dyn Store) -> Result<BTreeMap<MemberCode, Inherited>, StoreError> {
    let mut inherited = BTreeMap::new();
    for row in store.scan(Table::OwnState, Keys::Prefix(PREFIX)) {
        let (key, value) = match row {
            Ok(row) => row,
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "an entry of the federation before is damaged");
                continue;
            }
        };
        let code = key.get(PREFIX.len()..).and_then(|code| str::from_utf8(code).ok());
        match (code.and_then(|code| code.parse().ok()), decode(&value, value.len())) {
            (Some(member), Ok(entry)) => drop(inherited.insert(member, entry)),
            _ => tracing::warn!("an entry of the federation before is damaged"),
        }
    }
    Ok(inherited)
}

/// Before a member's code in [`Table::OwnState`].
const PREFIX: &[u8] = b"before/";
