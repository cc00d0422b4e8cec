//! What a member signs and stores when it joins, and when it issues its next key set.
//!
//! It makes key sets out of the evidence that the folder holds, and the changes that put them there. It signs
//! nothing by itself and talks to nobody: commands bring the root key, and the store or the running node takes
//! the changes.

mod succession;

use refpoint_protocol::{
    document::{
        DecodeError, EncodeError, Envelope, EnvelopeError, Signature, VerifyError, decode, encode, sign,
    },
    evidence::{AnyDocument, Evidence, Rejection, verify_any},
    ids::{CharterId, DocumentId, Epoch, FederationId, Generation, KeySetId, MemberCode, NodeKey},
    limits::{KEY_SET_REVIEW_DEFAULT, REPAIR_BYTES_MAX},
    membership::{
        Trust,
        charter::MemberEntry,
        key_set::{KeySet, NodeEntry, NodeState},
    },
    storage::{Change, Table},
    time::Timestamp,
};

pub use self::succession::{Ending, Revealed, Succession, next_key_set, rotated_key_set};
use crate::{
    ceremony::Hint,
    keyfile::RootSecret,
    store::{Keys, Store, StoreError},
};

/// Why the evidence in a folder does not serve.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder belongs to no federation yet.
    #[error("the folder has joined no federation")]
    NotJoined,
    /// A stored document does not verify.
    #[error("a document stored among the {} is refused: {source}", table.name())]
    Verify {
        /// Where it lies.
        table: Table,
        /// Why.
        source: VerifyError,
    },
    /// A stored envelope does not decode.
    #[error("a stored document is damaged: {0}")]
    Envelope(#[from] EnvelopeError),
    /// A stored value does not decode.
    #[error("a stored value is damaged: {0}")]
    Decode(#[from] DecodeError),
    /// A stored document breaks a rule.
    #[error("the stored document {} breaks rule {rule}: {reason}", id.short())]
    Rejected {
        /// Its id.
        id: DocumentId,
        /// The rule in VALIDATION.md.
        rule: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The member is not in the charter, or has no valid root now.
    #[error("the charter lists no valid root key of {0}")]
    NoRoot(MemberCode),
    /// No key of the member is valid, and no key set changes that.
    #[error("the key sets of {0} contradict each other beyond repair")]
    Broken(MemberCode),
    /// Several key sets are the newest, and none was named to build on.
    #[error("several key sets of {member} are the newest: {}", tips.iter().map(|tip| tip.short()).collect::<Vec<_>>().join(", "))]
    Disputed {
        /// The member.
        member: MemberCode,
        /// They.
        tips: Vec<KeySetId>,
    },
    /// The next key set would break a rule.
    #[error("the key set would break a rule: {0}")]
    KeySet(String),
    /// A value of ours without a canonical form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// The first key set of a member: its one node, active, ranked first.
#[must_use]
pub fn first_key_set(entry: &MemberEntry, charter: CharterId, node: NodeKey, issued: Timestamp) -> KeySet {
    KeySet {
        member: entry.code.clone(),
        charter,
        incarnation: entry.incarnation,
        generation: Generation(0),
        epoch: Epoch(0),
        ancestors: Vec::new(),
        issued,
        review: issued.after(KEY_SET_REVIEW_DEFAULT),
        nodes: vec![new_node(node, 0)],
        rotation: None,
    }
}

/// An active node with no earlier chains.
const fn new_node(key: NodeKey, rank: u64) -> NodeEntry {
    NodeEntry {
        alg: Signature::ED25519,
        key,
        rank,
        state: NodeState::Active,
        since: None,
        node_record: None,
        reference_point: None,
    }
}

/// The place of a key set in the record of what a root key signed: one of each epoch.
#[must_use]
pub fn key_set_place(set: &KeySet) -> String {
    format!("key-set {} {}.{}.{}", set.member, set.incarnation, set.generation, set.epoch)
}

/// Signs a key set with a root key.
///
/// # Errors
/// [`EncodeError`]: an invariant of ours is broken.
pub fn sign_key_set(
    set: &KeySet,
    federation: FederationId,
    root: &RootSecret,
) -> Result<Envelope, EncodeError> {
    sign(set, Some(federation), &[root.signing_key()])
}

/// What a member joins with, verified.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The federation.
    pub federation: FederationId,
    /// Every charter version, ancestors first.
    pub charters: Vec<Envelope>,
    /// First key sets: the own one among them.
    pub key_sets: Vec<Envelope>,
    /// Where nodes said that they are.
    pub hints: Vec<Hint>,
}

/// All that joining stores: the charter versions, the first key sets, the federation's id and the hints, in one
/// batch.
///
/// # Errors
/// [`EncodeError`]: an invariant of ours is broken.
pub fn joining_changes(joining: &Joining) -> Result<Vec<Change>, EncodeError> {
    let id = joining.federation;
    let mut changes = vec![
        Change::put(Table::OwnState, FEDERATION_KEY, *id.as_bytes()),
        Change::put(Table::OwnState, HINTS_KEY, encode(&joining.hints)?),
    ];
    for (at, charter) in joining.charters.iter().enumerate() {
        let document = charter.id((at > 0).then_some(id));
        changes.push(Change::put(Table::Charters, *document.as_bytes(), encode(charter)?));
    }
    for key_set in &joining.key_sets {
        changes.push(key_set_change(id, key_set)?);
    }
    Ok(changes)
}

/// What storing one key set changes.
///
/// # Errors
/// [`EncodeError`]: an invariant of ours is broken.
pub fn key_set_change(federation: FederationId, key_set: &Envelope) -> Result<Change, EncodeError> {
    let id = key_set.id(Some(federation));
    Ok(Change::put(Table::KeySets, *id.as_bytes(), encode(key_set)?))
}

/// The federation that a folder has joined, if it has.
///
/// # Errors
/// [`EvidenceError`] if the store does not answer or the value is damaged.
pub fn joined_federation(store: &dyn Store) -> Result<Option<FederationId>, EvidenceError> {
    let Some(value) = store.value(Table::OwnState, FEDERATION_KEY)? else { return Ok(None) };
    let got = value.len();
    let bytes = <[u8; 32]>::try_from(value).map_err(|_| DecodeError::TooLong { max: 32, got })?;
    Ok(Some(FederationId::from_bytes(bytes)))
}

/// Where the members' first nodes said that they are: for the first dials, until their records are there.
///
/// # Errors
/// [`EvidenceError`] if the store does not answer or the value is damaged.
pub fn joined_hints(store: &dyn Store) -> Result<Vec<Hint>, EvidenceError> {
    match store.value(Table::OwnState, HINTS_KEY)? {
        Some(value) => Ok(decode(&value, REPAIR_BYTES_MAX)?),
        None => Ok(Vec::new()),
    }
}

/// Reads and verifies what a folder holds of charters, settlements, key sets and this member's own chains.
///
/// # Errors
/// [`EvidenceError`].
pub fn stored_evidence(store: &dyn Store, member: &MemberCode) -> Result<Evidence, EvidenceError> {
    let federation = joined_federation(store)?.ok_or(EvidenceError::NotJoined)?;
    let mut documents = Vec::new();
    for table in TRUST.into_iter().chain([Table::NodeRecords, Table::ReferencePoints]) {
        for row in store.scan(table, Keys::All) {
            let (_, value) = row?;
            let envelope = Envelope::from_bytes(&value)?;
            let document =
                verify_any(envelope, federation).map_err(|source| EvidenceError::Verify { table, source })?;
            if document.header().is_none_or(|header| header.member == *member) {
                documents.push(document);
            }
        }
    }
    evidence_of(federation, documents)
}

/// Reads and verifies the charter versions, settlements and key sets that a folder holds.
///
/// # Errors
/// [`EvidenceError`].
pub fn stored_trust(store: &dyn Store) -> Result<Trust, EvidenceError> {
    let federation = joined_federation(store)?.ok_or(EvidenceError::NotJoined)?;
    let mut documents = Vec::new();
    for table in TRUST {
        for row in store.scan(table, Keys::All) {
            let envelope = Envelope::from_bytes(&row?.1)?;
            let document = verify_any(envelope, federation);
            documents.push(document.map_err(|source| EvidenceError::Verify { table, source })?);
        }
    }
    Ok(evidence_of(federation, documents)?.trust().clone())
}

/// Takes verified documents for the evidence of a next key set.
///
/// # Errors
/// [`EvidenceError::Rejected`] if one of them breaks a rule.
pub fn evidence_of(federation: FederationId, documents: Vec<AnyDocument>) -> Result<Evidence, EvidenceError> {
    let (headers, trust): (Vec<_>, _) = documents.into_iter().partition(|it| it.header().is_some());
    let (evidence, outcome) = Evidence::restore(federation, trust, headers, std::iter::empty::<&[u8]>());
    match outcome.rejected.first() {
        None => Ok(evidence),
        Some(Rejection { id, rule, reason, .. }) => {
            Err(EvidenceError::Rejected { id: *id, rule, reason: reason.clone() })
        }
    }
}

/// Where that lies from which the membership follows: ancestors first.
pub(crate) const TRUST: [Table; 3] = [Table::Charters, Table::Settlements, Table::KeySets];

/// The name in [`Table::OwnState`] under which the joined federation's id lies.
pub const FEDERATION_KEY: &[u8] = b"federation";

/// The name in [`Table::OwnState`] under which the hints for the first dials lie: a CBOR array of [`Hint`].
pub const HINTS_KEY: &[u8] = b"hints";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::{
        directory::header::ChainKind,
        evidence::Bearer,
        testing::{
            self, FOUNDED, Federation,
            chains::{ChainWriter, IntoAny as _, body, node_record},
        },
    };

    use super::*;

    #[test]
    fn a_next_key_set_names_the_records_of_a_node_that_others_claim() {
        let federation = Federation::new(3, &["BR", "KE", "SG"], 1);
        let (br, ke) = (federation.unit("BR"), federation.unit("KE"));
        let claim = |set: &mut KeySet| set.nodes.push(testing::entry(0, &ke.nodes[0]));
        let claim = federation.next_key_set(&[&br.key_set], claim, &br.root);
        let record =
            ChainWriter::new(&federation, ke, 0, ChainKind::NodeRecord).write(&body(&node_record(1)));
        let documents = [federation.founding.any(), br.key_set.any(), claim.any(), ke.key_set.any()];
        let mut evidence = evidence_of(federation.id, documents.to_vec()).unwrap();
        drop(evidence.accept(Bearer::Local, record.clone()));
        let node = testing::node_key(&ke.nodes[0]);
        let change = Succession { node, ended: Vec::new(), issued: FOUNDED };
        let next = next_key_set(&evidence, &ke.code, &change).unwrap();
        assert_eq!(next.nodes[0].node_record, Some(record.id().into()));
    }
}
