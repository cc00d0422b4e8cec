//! Runs the relay's costly functions on the pool, with this node's keys and fresh randomness.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    crypto::{OpenedSeed, SEAL_RANDOM_BYTES, SealingSeed},
    ids::{FederationId, MemberCode, MessageId, NodeKey, SealingKeyId},
    relay::{
        exchange::{ContentSource, Job, RelayInput},
        parcel::Parcel,
        rows::{
            CustodyKey, decode_custody_parcel, decode_outbox_content, decode_statement_content, statement_key,
        },
        sealing::{
            COMPOSE_RANDOM_BYTES, ComposeError, OpenError, SealError, Sealable, compose, label, open, seal,
        },
    },
    storage::Table,
};

use crate::store::Store;

/// Who this node is, for the functions that sign, seal and open. It has no `Debug`: it holds keys.
pub(crate) struct Identity {
    /// The federation.
    pub(crate) federation: FederationId,
    /// The member.
    pub(crate) member: MemberCode,
    /// The node key.
    pub(crate) node: NodeKey,
    /// Its secret half.
    pub(crate) signing: SigningKey,
}

/// The expanded seeds of this node's sealing keys, by name.
#[derive(Clone, Default)]
pub(super) struct Seeds(Arc<RwLock<BTreeMap<SealingKeyId, Arc<OpenedSeed>>>>);

impl Seeds {
    /// Adds a seed that is on disk.
    pub(super) fn add(&self, seed: &SealingSeed) -> SealingKeyId {
        let opened = Arc::new(seed.expand());
        let id = opened.id();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, opened);
        id
    }

    /// Forgets a seed whose days are over.
    pub(super) fn destroy(&self, id: SealingKeyId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// The seed of this name.
    pub(super) fn of(&self, id: SealingKeyId) -> Option<Arc<OpenedSeed>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

/// What every job needs.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) identity: Arc<Identity>,
    pub(super) seeds: Seeds,
    pub(super) store: Arc<dyn Store>,
}

impl Workshop {
    /// Runs one job on the calling thread and returns what the machine is told.
    pub(super) fn run(&self, job: Job) -> RelayInput {
        let Identity { federation, member, node, signing } = self.identity.as_ref();
        match job {
            Job::Compose { ticket, draft, created } => {
                let result = drawn::<COMPOSE_RANDOM_BYTES>()
                    .map_err(ComposeError::Bug)
                    .and_then(|random| compose(&draft, member, *federation, signing, created, &random));
                RelayInput::Composed { ticket, result }
            }
            Job::Seal { ticket, content, label, key } => {
                let result = self.content(content).and_then(|content| {
                    let random = drawn::<SEAL_RANDOM_BYTES>().map_err(SealError::Bug)?;
                    seal(&content, label, &key, &random).map(Box::new)
                });
                RelayInput::Sealed { ticket, result }
            }
            Job::SealStatement { ticket, answers, statement, member, node, key, .. } => {
                let result = self.statement(answers, statement).and_then(|content| {
                    let random = drawn::<SEAL_RANDOM_BYTES>().map_err(SealError::Bug)?;
                    seal(&content, label(&content, member, node), &key, &random).map(Box::new)
                });
                RelayInput::Sealed { ticket, result }
            }
            Job::Open { ticket, parcel } => {
                let seed = self.seeds.of(parcel.sealing_key);
                let result = open(&parcel, seed.as_deref(), *federation, member, node).map(Box::new);
                RelayInput::Opened { ticket, result }
            }
            Job::Load { ticket, key, .. } => {
                RelayInput::Loaded { ticket, parcel: self.kept(key).map(Box::new) }
            }
        }
    }

    /// What the machine is told of a job whose input makes our code panic: it is refused, and the node lives.
    pub(super) fn crashed(job: &Job) -> RelayInput {
        let what = || "an internal fault; see the log".to_owned();
        match job {
            Job::Compose { ticket, .. } => {
                RelayInput::Composed { ticket: *ticket, result: Err(ComposeError::Bug(what())) }
            }
            Job::Seal { ticket, .. } | Job::SealStatement { ticket, .. } => {
                RelayInput::Sealed { ticket: *ticket, result: Err(SealError::Bug(what())) }
            }
            Job::Open { ticket, .. } => {
                let result = Err(OpenError::Invalid { rule: "PA-10", what: what() });
                RelayInput::Opened { ticket: *ticket, result }
            }
            Job::Load { ticket, .. } => RelayInput::Loaded { ticket: *ticket, parcel: None },
        }
    }

    /// A parcel kept for another node. One that is not there was let go meanwhile, or its write is still on its way:
    /// the machine knows which, and says so where custody ends by it. One that is damaged is reported here.
    fn kept(&self, key: CustodyKey) -> Option<Parcel> {
        let fault = match self.store.value(Table::CustodyParcels, &key.to_bytes()) {
            Ok(Some(row)) => match decode_custody_parcel(&row) {
                Ok(parcel) => return Some(parcel),
                Err(error) => error.to_string(),
            },
            Ok(None) => {
                tracing::debug!(message = %key.message.short(), node = %key.node.short(), "a kept parcel is not there");
                return None;
            }
            Err(error) => error.to_string(),
        };
        tracing::error!(message = %key.message.short(), node = %key.node.short(), %fault, "a kept parcel cannot be read");
        None
    }

    /// Another member's statement, as its maker signed it.
    fn statement(&self, answers: MessageId, id: MessageId) -> Result<Sealable, SealError> {
        let row = self.store.value(Table::Statements, &statement_key(answers, id));
        let content = row.map_err(|error| error.to_string()).and_then(|row| match row {
            None => Ok(None),
            Some(row) => {
                decode_statement_content(&row, self.identity.federation).map_err(|it| it.to_string())
            }
        });
        content
            .unwrap_or_else(|fault| {
                tracing::error!(statement = %id.short(), %fault, "a stored statement cannot be read");
                None
            })
            .ok_or(SealError::NoContent)
    }

    /// The content to seal, its header signed by the key that this node has now.
    fn content(&self, source: ContentSource) -> Result<Arc<Sealable>, SealError> {
        let content = match source {
            ContentSource::AtHand(content) => content,
            ContentSource::Stored(id) => match self.store.value(Table::OutboxContent, id.as_bytes()) {
                Ok(Some(row)) => Arc::new(decode_outbox_content(&row).map_err(|error| {
                    tracing::error!(message = %id.short(), %error, "stored content cannot be read");
                    SealError::NoContent
                })?),
                Ok(None) => return Err(SealError::NoContent),
                Err(error) => {
                    tracing::error!(message = %id.short(), %error, "stored content cannot be read");
                    return Err(SealError::NoContent);
                }
            },
        };
        let Identity { federation, node, signing, .. } = self.identity.as_ref();
        if content.is_signed_by(node) {
            return Ok(content);
        }
        content
            .signed_anew(*federation, signing)
            .map(Arc::new)
            .map_err(|error| SealError::Bug(error.to_string()))
    }
}

/// Fresh bytes of the operating system's generator.
pub(super) fn drawn<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no random bytes: {error}"))?;
    Ok(bytes)
}
