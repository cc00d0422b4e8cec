//! Has the journal cosigned when an operator asks for it, and shows what this node holds of others'.

use std::sync::Arc;

use refpoint_protocol::{
    audit::{
        JournalCheckpoint,
        witness::{Candidate, WitnessedRow},
    },
    ids::NodeKey,
    storage::Table,
};

use super::refusals::unavailable;
use crate::{
    api::{
        backend::BackendError,
        views::{
            witness::{CosignedBy, NotCosigned, WitnessReply},
            witnessed::{WitnessedNode, WitnessedReply},
        },
    },
    runtime::witnessing::{NoRound, RoundDesk},
    store::{Keys, Store, StoreError},
};

/// A round, now.
pub(super) async fn now(rounds: &RoundDesk) -> Result<WitnessReply, BackendError> {
    let storage = |why| BackendError::Storage { why };
    let over = rounds.round().await.map_err(|error| match error {
        NoRound::Stopping => unavailable(),
        NoRound::Journal(why) => storage(why),
    })?;
    let read = JournalCheckpoint::of(&over.checkpoint).map_err(|error| storage(error.to_string()))?;
    let cosigned = over.cosigned.into_iter().map(|Candidate { member, node }| CosignedBy { member, node });
    let refused = over.refused.into_iter();
    let refused =
        refused.map(|(Candidate { member, node }, why)| NotCosigned { member, node, why: why.to_string() });
    Ok(WitnessReply {
        began: read.origin.began.into(),
        entries: read.size,
        root: read.root,
        made: read.made.into(),
        cosigned: cosigned.collect(),
        refused: refused.collect(),
        lost: over.lost.map(|(candidate, _)| candidate.member),
    })
}

/// What this node holds as a witness: one row a node, read on a thread that may wait.
pub(super) async fn held(store: &Arc<dyn Store>) -> Result<WitnessedReply, BackendError> {
    let store = Arc::clone(store);
    let read = tokio::task::spawn_blocking(move || read(store.as_ref()));
    let read = read.await.map_err(|error| BackendError::Storage { why: error.to_string() })?;
    read.map_err(|error| BackendError::Storage { why: error.to_string() })
}

fn read(store: &dyn Store) -> Result<WitnessedReply, StoreError> {
    let mut reply = WitnessedReply { nodes: Vec::new(), damaged: 0 };
    for row in store.scan(Table::Witnessed, Keys::All) {
        let node = match row {
            Ok((key, row)) => <[u8; 32]>::try_from(key).ok().zip(WitnessedRow::from_row(&row).ok()),
            Err(error) if error.is_fatal() => return Err(error),
            Err(_) => None,
        };
        match node {
            Some((key, row)) => reply.nodes.push(WitnessedNode::of(NodeKey::from_bytes(key), row)),
            None => reply.damaged += 1,
        }
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use ed25519_dalek::SigningKey;
    use refpoint_protocol::{
        audit::{
            Journal,
            witness::{Doubt, Refuted},
        },
        ids::FederationId,
        storage::Change,
        time::Timestamp,
    };

    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn what_is_held_is_read_with_both_signed_notes_and_damaged_rows_are_counted() {
        let (store, key) = (MemoryStore::new(), SigningKey::from_bytes(&[4; 32]));
        let node = NodeKey::from_bytes(key.verifying_key().to_bytes());
        let at = Timestamp::from_millis(1_800_000_000_000);
        let note = |follows| {
            let (journal, _) = Journal::begin(at, follows, 0).unwrap();
            let who = (FederationId::from_bytes([1; 32]), "KE".parse().unwrap(), node);
            (journal.checkpoint(who, &key, at).to_string(), journal.stands())
        };
        let (held, stands) = note(None);
        let (refused, _) = note(Some(stands));
        let refuted = Refuted { doubt: Doubt::Forked, held: held.clone(), refused: refused.clone(), at };
        let row = WitnessedRow { newest: Some(held.clone()), ended: Vec::new(), refuted: vec![refuted] };
        let changes = [
            Change::put(Table::Witnessed, *node.as_bytes(), row.to_row().unwrap()),
            Change::put(Table::Witnessed, [9; 32], [1]),
        ];
        store.apply(&changes).unwrap();
        let reply = read(&store).unwrap();
        let [only] = reply.nodes.as_slice() else { panic!("one row is whole") };
        assert_eq!((only.node, only.member().unwrap().as_str(), reply.damaged), (node, "KE", 1));
        let newest = only.newest.as_ref().unwrap();
        assert_eq!((newest.entries, &newest.note), (1, &held));
        assert_eq!((&only.refuted[0].held, &only.refuted[0].refused), (&held, &refused));
        // Of a journal that was known by a head alone nothing was cosigned.
        let unknown = WitnessedNode::of(node, WitnessedRow { newest: None, ..row });
        assert_eq!((unknown.newest, only.member()), (None, Some("KE".parse().unwrap())));
    }
}
