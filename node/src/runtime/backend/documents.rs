//! The documents that a member's next key set is made from.

use std::time::Duration;

use refpoint_protocol::{
    document::encode,
    ids::{DocumentId, FederationId, MemberCode},
};

use super::{NodeBackend, directory};
use crate::{
    api::{
        backend::BackendError,
        views::{bytes::Base64, document::OwnDocuments},
    },
    ceremony::Hint,
};

impl NodeBackend {
    /// Charter versions with what settled them, the key sets of a member, of this node's own unless another is named,
    /// and the newest headers of its nodes' chains.
    pub(super) async fn gathered_documents(
        &self,
        member: Option<&MemberCode>,
    ) -> Result<OwnDocuments, BackendError> {
        let own = member.unwrap_or(&self.own.member);
        let mut left = LOOKS;
        loop {
            let (federation, ids, hints) = self.document_ids(own.clone()).await?;
            match self.read_documents(&ids) {
                Ok(envelopes) => return Ok(OwnDocuments { federation, envelopes, hints }),
                // What came a moment ago is still on its way to the disk, and what it replaced is gone.
                Err(_) if left > 0 => {
                    left -= 1;
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn document_ids(
        &self,
        own: MemberCode,
    ) -> Result<(FederationId, Vec<DocumentId>, Vec<Hint>), BackendError> {
        self.look(move |machine, _| {
            let evidence = machine.evidence();
            let trust = evidence.trust();
            let settlements = trust.settlements().map(|settlement| settlement.id());
            let charters = trust.charters().map(|charter| charter.id()).chain(settlements);
            let sets: Vec<_> = trust.key_sets().filter(|set| set.payload().member == own).collect();
            let nodes: Vec<_> =
                sets.iter().flat_map(|set| &set.payload().nodes).map(|node| node.key).collect();
            let chains = nodes.into_iter().flat_map(|node| evidence.chains().of_node(node));
            let headers = chains.filter_map(|(_, chain)| chain.newest()).map(|header| header.id.into());
            let ids: Vec<DocumentId> =
                charters.chain(sets.iter().map(|set| set.id())).chain(headers).collect();
            (evidence.federation(), ids, directory::hints(machine))
        })
        .await
    }

    fn read_documents(&self, ids: &[DocumentId]) -> Result<Vec<Base64>, BackendError> {
        let read = |id: &DocumentId| {
            let held = crate::runtime::load::envelope(self.handle.store.as_ref(), id);
            let why = || BackendError::Storage { why: format!("document {} cannot be read", id.short()) };
            let bytes = held.and_then(|envelope| encode(&envelope).ok()).ok_or_else(why)?;
            Ok(Base64::from(bytes))
        };
        ids.iter().map(read).collect()
    }
}

/// How often documents are looked for that are not on the disk yet, and how long between: a batch is stored within
/// milliseconds, on a slow card within a second.
const LOOKS: u32 = 20;
const LOOK_PAUSE: Duration = Duration::from_millis(100);
