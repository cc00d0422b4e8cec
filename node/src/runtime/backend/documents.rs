//! The documents that a member's next key set is made from.

use refpoint_protocol::{
    document::encode,
    ids::{DocumentId, MemberCode},
};

use super::{NodeBackend, directory};
use crate::api::{
    backend::BackendError,
    views::{bytes::Base64, document::OwnDocuments},
};

impl NodeBackend {
    /// Charter versions with what settled them, the key sets of a member, of this node's own unless another is named, and the newest headers of
    /// its nodes' chains.
    pub(super) async fn gathered_documents(
        &self,
        member: Option<&MemberCode>,
    ) -> Result<OwnDocuments, BackendError> {
        let own = member.unwrap_or(&self.own.member).clone();
        let ids = self.look(move |machine, _| {
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
        });
        let (federation, ids, hints) = ids.await?;
        let mut envelopes = Vec::with_capacity(ids.len());
        for id in ids {
            let held = crate::runtime::load::envelope(self.handle.store.as_ref(), &id);
            let why = || BackendError::Storage { why: format!("document {} cannot be read", id.short()) };
            let bytes = held.and_then(|envelope| encode(&envelope).ok()).ok_or_else(why)?;
            envelopes.push(Base64::from(bytes));
        }
        Ok(OwnDocuments { federation, envelopes, hints })
    }
}
