//! The body of a node record: where a node is reached and to which keys one seals for it.

use serde::{Deserialize, Serialize};

use super::text::{broken, check_address, check_count, check_text};
use crate::{
    document::{DecodeError, FormError, decode},
    ids::SealingKeyId,
    limits::{
        ADDRESSES_MAX, BODY_BYTES_MAX, KIND_BYTES_MAX, READABLE_KINDS_MAX, SEALING_KEYS_MAX,
        SOFTWARE_BYTES_MAX, WIRE_VERSIONS_MAX,
    },
    time::Timestamp,
};

/// What a node publishes of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// 16 random bytes, so that the body's hash tells nothing.
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 16],
    /// Addresses as the operator configured them, `host:port` each; none if the node can only dial out.
    pub addresses: Vec<String>,
    /// The sealing keys, oldest first: the current one, and its successor when it is near.
    pub sealing_keys: Vec<SealingKeyEntry>,
    /// Document kinds and versions that the node reads.
    pub reads: Vec<ReadableKind>,
    /// Wire versions that the node speaks, ascending.
    pub wire: Vec<u64>,
    /// The program and its version, for people.
    pub software: String,
}

/// One sealing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealingKeyEntry {
    /// The HPKE KEM: 0x647A, X-Wing.
    pub kem: u64,
    /// The public key, 1,216 bytes for X-Wing.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// From when it is used.
    pub from: Timestamp,
    /// Until when it is used, if there is a newer one.
    pub until: Timestamp,
}

/// One document kind that a node reads, with its highest version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReadableKind {
    /// The kind's name.
    pub kind: String,
    /// The highest version that is read.
    pub version: u64,
}

impl SealingKeyEntry {
    /// The HPKE KEM identifier of X-Wing.
    pub const X_WING: u64 = 0x647A;
    /// Bytes of an X-Wing public key.
    pub const X_WING_KEY_BYTES: usize = 1_216;

    /// The name of this key: SHA-256 of its bytes.
    #[must_use]
    pub fn id(&self) -> SealingKeyId {
        Self::id_of(&self.key)
    }

    /// The name of the key with these public bytes.
    #[must_use]
    pub fn id_of(key: &[u8]) -> SealingKeyId {
        use sha2::{Digest, Sha256};
        SealingKeyId::from_bytes(Sha256::digest(key).into())
    }
}

impl NodeRecord {
    /// Decodes and checks a body.
    ///
    /// # Errors
    /// [`BodyError`]: the node that published it is at fault, never its bearer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BodyError> {
        let record: Self = decode(bytes, BODY_BYTES_MAX)?;
        record.check_form()?;
        Ok(record)
    }

    /// Checks NR-01 to NR-06.
    ///
    /// # Errors
    /// [`FormError`] with the first broken rule.
    pub fn check_form(&self) -> Result<(), FormError> {
        check_count("NR-01", "addresses", self.addresses.len(), ADDRESSES_MAX)?;
        self.addresses.iter().try_for_each(|address| check_address("NR-02", address))?;
        check_count("NR-03", "sealing keys", self.sealing_keys.len(), SEALING_KEYS_MAX)?;
        self.sealing_keys.iter().try_for_each(SealingKeyEntry::check_form)?;
        if !self.sealing_keys.is_sorted_by(|a, b| a.from < b.from) {
            return broken("NR-03", "sealing keys not oldest first".into());
        }
        check_count("NR-05", "reads", self.reads.len(), READABLE_KINDS_MAX)?;
        self.reads.iter().try_for_each(|read| check_text("NR-05", "reads", &read.kind, KIND_BYTES_MAX))?;
        check_count("NR-05", "wire", self.wire.len(), WIRE_VERSIONS_MAX)?;
        if !self.wire.is_sorted_by(|a, b| a < b) {
            return broken("NR-05", "wire versions not ascending".into());
        }
        check_text("NR-06", "software", &self.software, SOFTWARE_BYTES_MAX)
    }
}

impl SealingKeyEntry {
    /// Checks NR-04: an X-Wing key of the right length, not all zero, with days from before until.
    ///
    /// # Errors
    /// [`FormError`] with the rule.
    pub fn check_form(&self) -> Result<(), FormError> {
        if self.from >= self.until {
            return broken(
                "NR-04",
                format!("sealing key from {}, not before until {}", self.from, self.until),
            );
        }
        if self.kem != Self::X_WING {
            return broken("NR-04", format!("KEM {:#06x}, expected {:#06x}", self.kem, Self::X_WING));
        }
        if self.key.len() != Self::X_WING_KEY_BYTES {
            let got = self.key.len();
            return broken("NR-04", format!("a key of {got} bytes, expected {}", Self::X_WING_KEY_BYTES));
        }
        if self.key.iter().all(|byte| *byte == 0) {
            return broken("NR-04", "a sealing key of zeros".into());
        }
        Ok(())
    }
}

/// Why a chain's body cannot be read. The header that names it stays valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The bytes are not the body's encoding.
    #[error("body: {0}")]
    Decode(#[from] DecodeError),
    /// A field is out of its bounds.
    #[error(transparent)]
    Form(#[from] FormError),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::time::Duration;

    use super::*;
    use crate::testing::{
        FOUNDED,
        chains::{body, node_record, sealing_key},
    };

    fn rule(change: impl FnOnce(&mut NodeRecord)) -> Option<&'static str> {
        let mut record = node_record(1);
        change(&mut record);
        match NodeRecord::from_bytes(&body(&record)) {
            Ok(read) => {
                assert_eq!(read, record);
                None
            }
            Err(BodyError::Form(error)) => Some(error.rule),
            Err(BodyError::Decode(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn addresses_are_few_and_in_form() {
        assert_eq!(rule(|record| record.addresses.clear()), None);
        assert_eq!(
            rule(|record| record.addresses = vec!["a.example:1".into(); ADDRESSES_MAX + 1]),
            Some("NR-01")
        );
        assert_eq!(rule(|record| record.addresses.push("no port".into())), Some("NR-02"));
    }

    #[test]
    fn sealing_keys_are_few_and_the_oldest_comes_first() {
        assert_eq!(rule(|record| record.sealing_keys.clear()), None);
        let days = |number: u8| sealing_key(number, FOUNDED.after(Duration::from_secs(u64::from(number))));
        assert_eq!(rule(|record| record.sealing_keys = vec![days(1), days(2)]), None);
        assert_eq!(rule(|record| record.sealing_keys = vec![days(2), days(1)]), Some("NR-03"));
        assert_eq!(rule(|record| record.sealing_keys = vec![days(1), days(1)]), Some("NR-03"));
        let many = (0..=SEALING_KEYS_MAX as u8).map(days).collect();
        assert_eq!(rule(|record| record.sealing_keys = many), Some("NR-03"));
    }

    #[test]
    fn a_sealing_key_is_one() {
        let with = |change: fn(&mut SealingKeyEntry)| rule(|record| change(&mut record.sealing_keys[0]));
        assert_eq!(with(|key| key.kem = 0x0020), Some("NR-04"));
        assert_eq!(with(|key| key.key.truncate(1_215)), Some("NR-04"));
        assert_eq!(with(|key| key.key.push(1)), Some("NR-04"));
        assert_eq!(with(|key| key.key.fill(0)), Some("NR-04"));
        assert_eq!(with(|key| key.until = key.from), Some("NR-04"));
    }

    #[test]
    fn what_a_node_reads_is_bounded() {
        let kind = |name: &str| ReadableKind { kind: name.into(), version: 1 };
        assert_eq!(rule(|record| record.reads = vec![kind("charter"); READABLE_KINDS_MAX]), None);
        assert_eq!(
            rule(|record| record.reads = vec![kind("charter"); READABLE_KINDS_MAX + 1]),
            Some("NR-05")
        );
        assert_eq!(rule(|record| record.reads = vec![kind("")]), Some("NR-05"));
        assert_eq!(rule(|record| record.wire = vec![2, 1]), Some("NR-05"));
        assert_eq!(rule(|record| record.wire = (0..=WIRE_VERSIONS_MAX as u64).collect()), Some("NR-05"));
    }

    #[test]
    fn the_program_is_named_in_one_plain_line() {
        assert_eq!(rule(|record| record.software = "refpoint\n1".into()), Some("NR-06"));
        assert_eq!(rule(|record| record.software.clear()), Some("NR-06"));
        assert_eq!(rule(|record| record.software = "r".repeat(SOFTWARE_BYTES_MAX + 1)), Some("NR-06"));
    }
}
