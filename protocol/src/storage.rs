//! What a machine asks to be stored: tables, changes and grades, as plain data.
//!
//! Here lies the vocabulary that the machines' `Persist` effects and the node's store share, with every
//! table's key and value. How bytes reach a device is the node's business and unknown here.

/// The kinds of record that a node keeps, one table each.
///
/// Keys are ordered bytewise, so numbers in keys are big-endian. Values are whole encodings (an envelope as
/// received, or canonical CBOR), never longer than [`crate::limits::STORED_VALUE_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Charter versions. Key: document id (32 B). Value: the envelope as received.
    Charters,
    /// Key sets. Key: document id (32 B). Value: the envelope as received.
    KeySets,
    /// Node record headers. Key: document id (32 B). Value: the envelope as received.
    NodeRecords,
    /// Reference point headers. Key: document id (32 B). Value: the envelope as received.
    ReferencePoints,
    /// Certificates of settled charter versions. Key: document id (32 B). Value: the envelope as received.
    Settlements,
    /// Bodies of chain headers. Key: content hash (32 B). Value: the body as received.
    Bodies,
    /// Seeds of this node's sealing keys. Key: hash of the public key (32 B). Value: seed and validity.
    SealingSeeds,
    /// Messages that this node sends: recipients, states, attempts. Key: message id (32 B).
    Outbox,
    /// What sealing anew needs: header, content key and ciphertext. Key: message id (32 B).
    OutboxContent,
    /// Messages that this node received: sender, precedence, times, state. Key: message id (32 B).
    Inbox,
    /// The opened body of a received message. Key: message id (32 B).
    InboxContent,
    /// Ids that were seen, against replays. Key: message id (32 B). Value: until when the id is kept.
    MessageIds,
    /// Receipts received. Key: message id (32 B), then the node that they are about (32 B); for `custody` then the
    /// custodian (32 B). Value: the envelope.
    Receipts,
    /// People's statements. Key: id of the message answered (32 B), then the statement's own id (32 B).
    Statements,
    /// Parcels kept for nodes that are away, and what became of them. Key: the node that handed it over (32 B),
    /// message id (32 B), then the node that it is for (32 B).
    Custody,
    /// The parcels themselves, sealed for their recipient. Key: as in [`Table::Custody`].
    CustodyParcels,
    /// What this node knows of itself: own-chain marks, settings. Key: a name in ASCII.
    OwnState,
    /// Documents that made a decoder fail, in a ring bounded by its owner. Key: SHA-256 of the bytes (32 B).
    Quarantine,
    /// The numbered event log behind resumable event ids, bounded by its owner. Key: number (8 B).
    Events,
    /// What this node did and accepted, a list that only grows. Key: when the journal began, in milliseconds (8 B), then the
    /// entry's number from 0 (8 B). Value: the entry, a leaf of its Merkle tree.
    Journal,
    /// Roots of the journal's complete subtrees of 256, 65,536 and so on entries, from which proofs are made. Key: when the
    /// journal began (8 B), the tier (1 B), the subtree's number from 0 (8 B). Value: the root (32 B).
    JournalTiers,
    /// This node's own checkpoints as witnesses cosigned them. Key: when the journal began (8 B), its size (8 B), when the
    /// checkpoint was made (8 B). Value: the signed note.
    Cosigned,
    /// What this node cosigned last of each other node's journals, and what contradicted it. Key: the node (32 B).
    Witnessed,
}

impl Table {
    /// Every table, in the order of their ids.
    pub const ALL: [Self; 23] = [
        Self::Charters,
        Self::KeySets,
        Self::NodeRecords,
        Self::ReferencePoints,
        Self::Settlements,
        Self::Bodies,
        Self::SealingSeeds,
        Self::Outbox,
        Self::OutboxContent,
        Self::Inbox,
        Self::InboxContent,
        Self::MessageIds,
        Self::Receipts,
        Self::Statements,
        Self::Custody,
        Self::CustodyParcels,
        Self::OwnState,
        Self::Quarantine,
        Self::Events,
        Self::Journal,
        Self::JournalTiers,
        Self::Cosigned,
        Self::Witnessed,
    ];

    /// The byte that names the table on disk; never reused for another meaning.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::Charters => 0x10,
            Self::KeySets => 0x11,
            Self::NodeRecords => 0x12,
            Self::ReferencePoints => 0x13,
            Self::Bodies => 0x14,
            Self::Settlements => 0x15,
            Self::SealingSeeds => 0x20,
            Self::Outbox => 0x21,
            Self::OutboxContent => 0x22,
            Self::Inbox => 0x23,
            Self::InboxContent => 0x24,
            Self::MessageIds => 0x25,
            Self::Receipts => 0x26,
            Self::Statements => 0x27,
            Self::Custody => 0x28,
            Self::CustodyParcels => 0x29,
            Self::OwnState => 0x30,
            Self::Quarantine => 0x31,
            Self::Events => 0x32,
            Self::Journal => 0x33,
            Self::JournalTiers => 0x34,
            Self::Cosigned => 0x35,
            Self::Witnessed => 0x36,
        }
    }

    /// The table with this id, if there is one.
    #[must_use]
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.id() == id)
    }

    /// The table's name in logs and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Charters => "charters",
            Self::KeySets => "key-sets",
            Self::NodeRecords => "node-records",
            Self::ReferencePoints => "reference-points",
            Self::Settlements => "settlements",
            Self::Bodies => "bodies",
            Self::SealingSeeds => "sealing-seeds",
            Self::Outbox => "outbox",
            Self::OutboxContent => "outbox-content",
            Self::Inbox => "inbox",
            Self::InboxContent => "inbox-content",
            Self::MessageIds => "message-ids",
            Self::Receipts => "receipts",
            Self::Statements => "statements",
            Self::Custody => "custody",
            Self::CustodyParcels => "custody-parcels",
            Self::OwnState => "own-state",
            Self::Quarantine => "quarantine",
            Self::Events => "events",
            Self::Journal => "journal",
            Self::JournalTiers => "journal-tiers",
            Self::Cosigned => "cosigned",
            Self::Witnessed => "witnessed",
        }
    }

    /// Says whether values are encrypted at rest: what tells of a person, a case or a key. Keys never are.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        match self {
            Self::SealingSeeds
            | Self::Outbox
            | Self::OutboxContent
            | Self::Inbox
            | Self::InboxContent
            | Self::Statements
            | Self::Custody
            | Self::Events
            | Self::Journal => true,
            Self::Charters
            | Self::KeySets
            | Self::NodeRecords
            | Self::ReferencePoints
            | Self::Settlements
            | Self::Bodies
            | Self::MessageIds
            | Self::Receipts
            // Sealed for another node already.
            | Self::CustodyParcels
            | Self::OwnState
            | Self::Quarantine
            // Hashes and sizes.
            | Self::JournalTiers
            | Self::Cosigned
            | Self::Witnessed => false,
        }
    }

    /// Says whether values fill disks: these are refused first when space runs out, so that the small records
    /// which keep a node going (receipts, states, key sets) still fit.
    #[must_use]
    pub const fn is_bulk(self) -> bool {
        matches!(
            self,
            Self::Bodies | Self::OutboxContent | Self::InboxContent | Self::CustodyParcels | Self::Quarantine
        )
    }
}

/// How soon a batch must be on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grade {
    /// On the device before the first send, publish or event of the same batch: messages, receipts, own
    /// headers, every charter version and key set.
    Durable,
    /// Not waited for: what peers hold too and repair brings back, like other members' chains.
    Cached,
}

/// One record's new value. A batch of changes is applied as a whole or not at all.
///
/// It has no `Debug`: values of secret tables must not reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: Table,
    /// The key, at most [`crate::limits::STORED_KEY_BYTES_MAX`].
    pub key: Vec<u8>,
    /// The value to store, or `None` to delete the record.
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// Stores `value` under `key`.
    pub fn put(table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: Some(value.into()) }
    }

    /// Deletes the record under `key`, if there is one.
    pub fn delete(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_names_tell_tables_apart_and_ids_lead_back() {
        let ids: BTreeSet<u8> = Table::ALL.iter().map(|table| table.id()).collect();
        let names: BTreeSet<&str> = Table::ALL.iter().map(|table| table.name()).collect();
        assert_eq!((ids.len(), names.len()), (Table::ALL.len(), Table::ALL.len()));
        for table in Table::ALL {
            assert_eq!(Table::from_id(table.id()), Some(table));
        }
        assert_eq!(Table::from_id(0), None);
    }

    #[test]
    fn what_carries_keys_or_cases_is_secret() {
        let open: Vec<&str> =
            Table::ALL.iter().filter(|table| !table.is_secret()).map(|table| table.name()).collect();
        assert_eq!(
            open,
            [
                "charters",
                "key-sets",
                "node-records",
                "reference-points",
                "settlements",
                "bodies",
                "message-ids",
                "receipts",
                "custody-parcels",
                "own-state",
                "quarantine",
                "journal-tiers",
                "cosigned",
                "witnessed"
            ]
        );
    }
}
