//! What members of the world sign beside their nodes' own records.

use refpoint_protocol::{
    evidence::{
        AnyDocument,
        repair::{Documents, RepairRequest, RepairResponse},
    },
    ids::HeaderId,
    machine::{Batch, Carriage, Command, CommandRefused, Input, PushToken, Reply},
    membership::{charter::Charter, key_set::KeySet},
    testing,
};

use super::{OWN_REQUEST, World};

impl World {
    pub(crate) fn import(&mut self, node: usize, document: AnyDocument) -> Result<Reply, CommandRefused> {
        let documents = vec![Ok(document)];
        let batch = Batch { from: None, documents, bodies: Vec::new(), carriage: Carriage::Hand };
        self.command(node, Command::Import(batch))
    }

    /// Charter version 2, signed by all stewards.
    pub(crate) fn successor(&self, change: impl FnOnce(&mut Charter)) -> AnyDocument {
        let mut charter = self.federation.founding.payload().clone();
        charter.version = charter.version.next().unwrap();
        charter.nonce = None;
        charter.parents = vec![self.federation.founding.id().into()];
        change(&mut charter);
        let roots: Vec<_> = self.federation.units.iter().take(3).map(|unit| &unit.root).collect();
        AnyDocument::Charter(testing::verified(&charter, self.federation.id, &roots))
    }

    /// Has a node give documents to another, as a modified program would, and returns the answer.
    pub(crate) fn give(&mut self, from: usize, to: usize, documents: Documents) -> RepairResponse {
        let (from, request) = (self.key(from), RepairRequest::Give(documents));
        let input = Input::RepairRequested { from, token: OWN_REQUEST, request };
        self.queue.push_back((to, input));
        self.settle();
        self.answered.take().unwrap()
    }

    /// Has a node push a document to another, as a modified program would.
    pub(crate) fn push_alone(&mut self, from: usize, to: usize, document: &AnyDocument) {
        self.counter += 1;
        let token = PushToken(self.counter);
        self.pushes.insert(token, (from, document.envelope().as_ref().clone(), None));
        let (documents, bodies) = (vec![Ok(document.clone())], Vec::new());
        let batch = Batch { from: Some(self.key(from)), documents, bodies, carriage: Carriage::Push(token) };
        self.queue.push_back((to, Input::Documents(batch)));
        self.settle();
    }

    /// The next key set of a member, which lists another's node as its own, with an old record of that node's.
    pub(crate) fn claim(&self, member: usize, victim: usize, record: HeaderId) -> AnyDocument {
        let unit = &self.federation.units[member];
        let mut entry = testing::entry(0, &self.federation.units[victim].nodes[0]);
        entry.node_record = Some(record);
        let change = |set: &mut KeySet| set.nodes.push(entry);
        AnyDocument::KeySet(self.federation.next_key_set(&[&unit.key_set], change, &unit.root))
    }
}
