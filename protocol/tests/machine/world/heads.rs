//! Heads: signed, pushed, and handed in by a test itself.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    document::{Envelope, Kind, Verified, sign},
    evidence::verify_any,
    heads::{Head, verify_head},
    machine::{Batch, Carriage, Input, Machine, PushToken},
    membership::key_set::KeySet,
};

use super::World;

impl World {
    pub(crate) fn machine_mut(&mut self, node: usize) -> &mut Machine {
        &mut self.nodes[node].machine
    }

    pub(crate) fn signing(&self, node: usize) -> &SigningKey {
        &self.nodes[node].signing
    }

    pub(crate) fn key_set(&self, node: usize) -> Arc<Verified<KeySet>> {
        Arc::clone(&self.federation.units[node].key_set)
    }

    pub(super) fn sign_head(&mut self, at: usize, head: &Head) {
        let envelope = sign(head, Some(self.federation.id), &[&self.nodes[at].signing]).unwrap();
        self.queue.push_back((at, Input::HeadSigned { envelope }));
    }

    /// What a node makes of gossip that `from` passed on.
    pub(super) fn pushed(
        &self,
        from: usize,
        token: PushToken,
        document: &Envelope,
        body: Option<&Vec<u8>>,
    ) -> Input {
        if document.kind == Kind::Head.name() {
            let head = verify_head(document.clone(), self.federation.id);
            return Input::head(self.key(from), token, head);
        }
        Input::Documents(Batch {
            from: Some(self.key(from)),
            documents: vec![verify_any(document.clone(), self.federation.id)],
            bodies: body.into_iter().cloned().collect(),
            carriage: Carriage::Push(token),
        })
    }
}
