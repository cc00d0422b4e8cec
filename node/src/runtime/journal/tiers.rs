//! The stored hashes from which the journal's proofs are made.

use refpoint_protocol::{
    audit::{
        entry_key,
        merkle::{leaf_hash, proof::Tiers},
        tier_key,
    },
    ids::TreeRoot,
    storage::Table,
    time::Timestamp,
};

use crate::store::{Keys, Store, StoreError};

/// One journal's hashes: those of its entries are made as they are read, the others are stored beside them.
pub(in crate::runtime) struct StoredTiers<'a> {
    pub(super) store: &'a dyn Store,
    /// When the journal began.
    pub(super) began: Timestamp,
}

/// Why a proof cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TiersError {
    /// The store's reason; a damaged entry too.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is not there.
    #[error("entry {number} of tier {tier} of the journal is missing")]
    Missing {
        /// The tier; 0 are the entries themselves.
        tier: u32,
        /// Its number.
        number: u64,
    },
}

impl Tiers for StoredTiers<'_> {
    type Error = TiersError;

    fn read(&self, tier: u32, from: u64, count: u64) -> Result<Vec<TreeRoot>, TiersError> {
        let missing = |number| TiersError::Missing { tier, number };
        let (table, key) = match tier {
            0 => (Table::Journal, Some(entry_key(self.began, from))),
            _ => (Table::JournalTiers, tier_key(self.began, tier, from)),
        };
        let first = key.ok_or_else(|| missing(from))?;
        let mut rows = self.store.scan(table, Keys::From(&first));
        let read_one = |number| {
            let key = match tier {
                0 => Some(entry_key(self.began, number)),
                _ => tier_key(self.began, tier, number),
            };
            // Rows that are set aside come first, whosever they are: a gap is told by the keys.
            let row = rows.by_ref().find(|row| !matches!(row, Err(error) if !error.is_fatal()));
            let (_, value) = row
                .transpose()?
                .filter(|(found, _)| Some(found) == key.as_ref())
                .ok_or_else(|| missing(number))?;
            if tier == 0 {
                return Ok(TreeRoot::from_bytes(leaf_hash(&value)));
            }
            value.try_into().map(TreeRoot::from_bytes).map_err(|_| missing(number))
        };
        (from..from.saturating_add(count)).map(read_one).collect()
    }
}
