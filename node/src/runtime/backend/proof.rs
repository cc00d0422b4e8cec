//! The proof of a message that a third party takes away.

use std::collections::BTreeSet;

use refpoint_protocol::{audit::Exporter, ids::MemberCode, machine::OperatorAction};

use super::{Held, NodeBackend};
use crate::{
    api::backend::{BackendError, IdPrefix},
    runtime::message_proof::Proving,
};

impl NodeBackend {
    /// Has the journal cosigned, so that the proof says between which times; then gathers it.
    pub(super) async fn proof_of(&self, id: &IdPrefix) -> Result<String, BackendError> {
        let (message, parties) = match self.held(id).await? {
            Held::Sent(sent) => {
                (sent.id, sent.recipients.iter().map(|recipient| recipient.member.clone()).collect())
            }
            Held::Received(received) => {
                (received.id, received.recipients.iter().cloned().collect::<BTreeSet<MemberCode>>())
            }
        };
        // Without witnesses a proof is worth less, and says so.
        if let Err(error) = self.handle.rounds.round().await {
            tracing::warn!(%error, "a message's proof is gathered without a round of witnesses");
        }
        let (trust, now) = self.look(|machine, now| (machine.evidence().trust().clone(), now)).await?;
        let handle = self.handle.clone();
        let gathered = tokio::task::spawn_blocking(move || {
            let identity = handle.identity.as_ref();
            let (federation, member, node) = (identity.federation, identity.member.clone(), identity.node);
            let exporter = Exporter { federation, member, node };
            let key = &identity.signing;
            let stands = handle.journal.checkpoint(&exporter, key, now).map_err(|error| error.to_string())?;
            let (store, journal) = (handle.store.as_ref(), &handle.journal);
            let proving = Proving { store, trust, journal, stands, exporter, key, now };
            proving.write(message, parties).map_err(|error| error.to_string())
        });
        let gathered = gathered.await.map_err(|error| error.to_string()).and_then(|gathered| gathered);
        tracing::info!(message = %message.short(), "a message's proof was gathered");
        if gathered.is_ok() {
            self.handle.operated(OperatorAction::ProvedMessage { message });
        }
        gathered.map_err(|why| BackendError::Storage { why })
    }
}
