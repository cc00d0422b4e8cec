//! This node's own records in the machine: its orders become the node's, and what it signed becomes evidence.

use std::sync::Arc;

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Batch, Carriage, CommandRefused, Effect, Event, Machine, OperatorAction, Reply};
use crate::{
    crypto::SealingSeed,
    directory::{
        header::ChainKind,
        node_record::SealingKeyEntry,
        own_chain::{OwnChainError, OwnEffect, OwnInput, Standing, StopReason, Surroundings},
        reference_point::ReferencePoint,
    },
    document::{EncodeError, Envelope},
    evidence::verify_any,
    ids::MemberCode,
    relay::{
        exchange::CommandId,
        rows::{RowError, decode_row, encode_row},
    },
    storage::{Change, Grade, Table},
    time::Timestamp,
};

impl Machine {
    /// Why this node does or does not sign its own chains now.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        self.own.standing(now, self.surroundings([[0; 16]; 2]))
    }

    pub(super) fn surroundings(&self, salts: [[u8; 16]; 2]) -> Surroundings<'_> {
        Surroundings { evidence: &self.evidence, clock: &self.clocks, salts }
    }

    /// Hands an input that cannot be refused to the own chains.
    pub(super) fn tell_own(&mut self, now: Timestamp, input: OwnInput, effects: &mut Vec<Effect>) {
        if let Err(error) = self.try_own(now, input, effects) {
            self.bug(format!("this node's own records: {error}"));
        }
    }

    pub(super) fn drive_own(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.tell_own(now, OwnInput::Woke, effects);
    }

    fn try_own(
        &mut self,
        now: Timestamp,
        input: OwnInput,
        effects: &mut Vec<Effect>,
    ) -> Result<(), OwnChainError> {
        let mut salts = [[0; 16]; 2];
        salts.iter_mut().for_each(|salt| self.rng.fill_bytes(salt));
        let around = Surroundings { evidence: &self.evidence, clock: &self.clocks, salts };
        for effect in self.own.handle(now, input, around)? {
            match effect {
                OwnEffect::GenerateSealingKey { from, until } => {
                    effects.push(Effect::MakeSealingKey { from, until });
                }
                OwnEffect::DestroySeed { id } => {
                    let changes = vec![Change::delete(Table::SealingSeeds, *id.as_bytes())];
                    effects.push(Effect::Persist { grade: Grade::Durable, changes, ticket: None });
                    effects.push(Effect::DestroySeed(id));
                }
                OwnEffect::Sign { id: _, kind, header, body } => {
                    effects.push(Effect::SignHeader { kind, header, body });
                }
            }
        }
        Ok(())
    }

    pub(super) fn on_sealing_key_made(
        &mut self,
        now: Timestamp,
        entry: SealingKeyEntry,
        effects: &mut Vec<Effect>,
    ) {
        self.tell_own(now, OwnInput::SealingKeyGenerated(entry), effects);
    }

    /// A header that this node signed enters its evidence like any other, is durable before anybody else
    /// sees it, and is pushed with its body.
    pub(super) fn on_header_signed(
        &mut self,
        now: Timestamp,
        kind: ChainKind,
        envelope: Envelope,
        body: Option<Vec<u8>>,
        effects: &mut Vec<Effect>,
    ) {
        let document = Arc::new(envelope.clone());
        if kind == ChainKind::NodeRecord {
            let before = self.record.take().map(|(_, body)| body);
            self.record = body.clone().or(before).map(|body| (envelope.clone(), body));
        }
        let changes = vec![signed_before_mark()];
        effects.push(Effect::Persist { grade: Grade::Durable, changes, ticket: None });
        let batch = Batch {
            from: None,
            documents: vec![verify_any(envelope, self.evidence.federation())],
            bodies: body.iter().cloned().collect(),
            carriage: Carriage::Hand,
        };
        let outcome = self.take_in(now, batch, effects);
        let Some(header) = outcome.accepted.first().and_then(|accepted| accepted.document.header()) else {
            return self.bug("a header of this node's own was not accepted".to_owned());
        };
        let sequence = header.sequence;
        effects.push(Effect::Push { document, body });
        self.emit(now, Event::Published { kind, sequence }, effects);
        if kind == ChainKind::NodeRecord {
            self.present(effects);
        }
    }

    pub(super) fn on_repaired_with(
        &mut self,
        now: Timestamp,
        member: &MemberCode,
        effects: &mut Vec<Effect>,
    ) {
        self.tell_own(now, OwnInput::RepairCompleted(member.clone()), effects);
    }

    /// Notices when another machine signs with this node's key.
    pub(super) fn watch_for_twin(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let reason = match self.standing(now) {
            Standing::Stopped(reason) => Some(reason),
            _ => None,
        };
        let is_twin = matches!(reason, Some(StopReason::Twin { .. } | StopReason::TwinMet));
        if is_twin && !self.twin_told {
            self.twin_told = true;
            self.emit(now, Event::TwinSeen, effects);
        }
    }

    pub(super) fn publish_entry(
        &mut self,
        now: Timestamp,
        id: CommandId,
        entry: ReferencePoint,
        effects: &mut Vec<Effect>,
    ) {
        let mut orders = Vec::new();
        let reply = match self.try_own(now, OwnInput::Publish(Box::new(entry)), &mut orders) {
            Err(error) => Err(CommandRefused::Entry(error.to_string())),
            Ok(()) => Ok(Reply::Published {
                sequence: orders.iter().find_map(|effect| match effect {
                    Effect::SignHeader { kind: ChainKind::ReferencePoint, header, .. } => {
                        Some(header.sequence)
                    }
                    _ => None,
                }),
            }),
        };
        effects.extend(orders);
        effects.push(Effect::Reply { id, reply });
    }

    pub(super) fn resume(&mut self, now: Timestamp, id: CommandId, effects: &mut Vec<Effect>) {
        let reply = match self.standing(now) {
            Standing::Waiting { .. } => Ok(Reply::Resumed),
            Standing::Stopped(_) => Err(CommandRefused::Twin),
            Standing::ClockWrong { offset_ms } => Err(CommandRefused::ClockWrong(offset_ms)),
            Standing::Signing | Standing::NotListed => Err(CommandRefused::NotWaiting),
        };
        if reply.is_ok() {
            self.emit(now, Event::Operated(OperatorAction::Resumed), effects);
            self.tell_own(now, OwnInput::Resume, effects);
        }
        effects.push(Effect::Reply { id, reply });
    }
}

/// What says that this node key has signed a chain header, so that after the next start it asks others first. A
/// folder that is restored from a copy gets it too: the copy may be older than the first header.
#[must_use]
pub fn signed_before_mark() -> Change {
    Change::put(Table::OwnState, SIGNED_BEFORE, [1])
}

/// The row of [`Table::SealingSeeds`].
#[derive(Serialize, Deserialize)]
struct SeedRow {
    #[serde(with = "serde_bytes")]
    seed: [u8; 32],
    from: Timestamp,
    until: Timestamp,
}

/// The row of a sealing key's seed.
///
/// # Errors
/// [`EncodeError`] if an invariant of ours is broken.
pub fn sealing_seed_row(
    seed: &SealingSeed,
    from: Timestamp,
    until: Timestamp,
) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
    let row = Zeroizing::new(*seed.expose());
    encode_row(&SeedRow { seed: *row, from, until }).map(Zeroizing::new)
}

/// Reads the row of a sealing key's seed: the seed, and what is published of it.
///
/// # Errors
/// [`RowError`] if it is damaged or newer than this program.
pub fn sealing_seed_from_row(row: &[u8]) -> Result<(SealingSeed, SealingKeyEntry), RowError> {
    let SeedRow { seed, from, until } = decode_row(row)?;
    let seed = SealingSeed::from_bytes(seed);
    let entry = seed.expand().entry(from, until);
    Ok((seed, entry))
}

/// The name in [`Table::OwnState`] that says that this node key has signed a chain header.
pub(super) const SIGNED_BEFORE: &[u8] = b"signed-before";
