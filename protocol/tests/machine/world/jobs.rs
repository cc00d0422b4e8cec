//! The costly functions that a machine has run, with its node's keys and what it stored.

use std::sync::Arc;

use refpoint_protocol::{
    crypto::SEAL_RANDOM_BYTES,
    relay::{
        exchange::{ContentSource, Job, RelayInput},
        rows::{decode_custody_parcel, decode_outbox_content, decode_statement_content, statement_key},
        sealing::{COMPOSE_RANDOM_BYTES, SealError, compose, label, open, seal},
    },
    storage::Table,
};

use super::World;

impl World {
    pub(super) fn work(&mut self, at: usize, job: Job) -> RelayInput {
        let (federation, member, node) = (self.federation.id, self.member(at), self.key(at));
        match job {
            Job::Compose { ticket, draft, created } => {
                let random: [u8; COMPOSE_RANDOM_BYTES] = self.random();
                let signing = &self.nodes[at].signing;
                let result = compose(&draft, &member, federation, signing, created, &random);
                RelayInput::Composed { ticket, result }
            }
            Job::Seal { ticket, content, label, key } => {
                let random: [u8; SEAL_RANDOM_BYTES] = self.random();
                let store = &self.nodes[at].store;
                let content = match content {
                    ContentSource::AtHand(content) => Some(content),
                    ContentSource::Stored(id) => store
                        .get(&(Table::OutboxContent, id.as_bytes().to_vec()))
                        .map(|row| Arc::new(decode_outbox_content(row).unwrap())),
                };
                let seal = |content: Arc<_>| seal(&content, label, &key, &random).map(Box::new);
                RelayInput::Sealed { ticket, result: content.ok_or(SealError::NoContent).and_then(seal) }
            }
            Job::SealStatement { ticket, answers, statement, member, node, key, .. } => {
                let random: [u8; SEAL_RANDOM_BYTES] = self.random();
                let row = self.nodes[at].store.get(&(Table::Statements, statement_key(answers, statement)));
                let content = row.and_then(|row| decode_statement_content(row, federation).unwrap());
                let seal =
                    |content| seal(&content, label(&content, member, node), &key, &random).map(Box::new);
                RelayInput::Sealed { ticket, result: content.ok_or(SealError::NoContent).and_then(seal) }
            }
            Job::Open { ticket, parcel } => {
                let seed = self.nodes[at].seeds.get(&parcel.sealing_key);
                let result = open(&parcel, seed, federation, &member, &node).map(Box::new);
                RelayInput::Opened { ticket, result }
            }
            Job::Load { ticket, key, .. } => {
                let stored = self.nodes[at].store.get(&(Table::CustodyParcels, key.to_bytes()));
                let parcel = stored.map(|row| Box::new(decode_custody_parcel(row).unwrap()));
                RelayInput::Loaded { ticket, parcel }
            }
        }
    }
}
