//! The digest: one root for each kind, equal on two nodes exactly if their positions are.

use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use super::{
    AnyDocument, Evidence,
    repair::{Digest, KindRoot, Position},
};
use crate::{
    directory::header::{ChainKind, NodeRecordHeader, ReferencePointHeader},
    document::{EncodeError, Kind, Payload, encode},
    ids::{ContentHash, KeySetId},
    membership::{charter::Charter, key_set::KeySet},
    time::Timestamp,
};

/// The roots of all kinds, computed once after each change.
#[derive(Clone, Debug, Default)]
pub struct Roots([OnceLock<ContentHash>; Kind::EVIDENCE.len()]);

impl Roots {
    /// A document has entered: forgets the roots that may be others now.
    pub(super) fn forget(&mut self, document: &AnyDocument) {
        for (kind, root) in Kind::EVIDENCE.into_iter().zip(&mut self.0) {
            let changes = match document {
                AnyDocument::Charter(_) => kind == Kind::Charter,
                // Which chains are compared follows from the key sets.
                AnyDocument::KeySet(_) => kind != Kind::Charter,
                AnyDocument::NodeRecord(_) => kind == Kind::NodeRecord,
                AnyDocument::ReferencePoint(_) => kind == Kind::ReferencePoint,
            };
            if changes {
                *root = OnceLock::new();
            }
        }
    }
}

impl Evidence {
    /// What this node says at the start of a repair.
    ///
    /// # Errors
    /// [`EncodeError`] if positions have no encoding: an invariant of ours is broken.
    pub fn digest(&self, now: Timestamp) -> Result<Digest, EncodeError> {
        Ok(Digest { roots: self.roots()?, time: now })
    }

    /// The root of each kind, in the order of dependence.
    ///
    /// # Errors
    /// [`EncodeError`] as [`Evidence::digest`].
    pub fn roots(&self) -> Result<Vec<KindRoot>, EncodeError> {
        let root = |(kind, known): (Kind, &OnceLock<ContentHash>)| {
            let root = match known.get() {
                Some(root) => *root,
                None => {
                    let root = root_of(&self.positions(kind))?;
                    *known.get_or_init(|| root)
                }
            };
            Ok(KindRoot { kind: kind.name().into(), version: version_of(kind), root })
        };
        Kind::EVIDENCE.into_iter().zip(&self.roots.0).map(root).collect()
    }

    /// One value that is equal on two nodes exactly if all their roots are: what a head names.
    ///
    /// # Errors
    /// [`EncodeError`] as [`Evidence::digest`].
    pub fn digest_root(&self) -> Result<ContentHash, EncodeError> {
        let roots = self.roots()?;
        Ok(ContentHash::from_bytes(Sha256::digest(encode(&roots)?).into()))
    }

    /// Where this node stands in one kind, sorted; nothing for kinds that are not evidence.
    ///
    /// Chains under key sets of a broken generation are left out, as those key sets are: which of them a
    /// node holds depends on what came first.
    #[must_use]
    pub fn positions(&self, kind: Kind) -> Vec<Position> {
        let mut positions: Vec<_> = match kind {
            Kind::Charter => self.trust.charters().map(|charter| Position::Held(charter.id())).collect(),
            Kind::KeySet => {
                let whole = self.trust.key_sets().filter(|set| !self.is_broken(set.payload()));
                let broken = self.trust.broken_generations();
                let broken = broken.map(|(member, incarnation, generation)| {
                    Position::Broken(member.clone(), incarnation, generation)
                });
                whole.map(|set| Position::Held(set.id())).chain(broken).collect()
            }
            Kind::NodeRecord => self.chain_positions(ChainKind::NodeRecord).collect(),
            Kind::ReferencePoint => self.chain_positions(ChainKind::ReferencePoint).collect(),
            Kind::JoiningRequest | Kind::Message | Kind::Receipt | Kind::Head => Vec::new(),
        };
        positions.sort();
        positions
    }

    /// Whether chains under a key set are compared with other nodes'.
    #[must_use]
    pub fn is_compared(&self, key_set: KeySetId) -> bool {
        self.trust.key_set(&key_set).is_some_and(|set| !self.is_broken(set.payload()))
    }

    fn chain_positions(&self, kind: ChainKind) -> impl Iterator<Item = Position> {
        let compared = self.chains.of_kind(kind).filter(|(key, _)| self.is_compared(key.key_set));
        compared.filter_map(|(key, chain)| chain.position(*key))
    }

    fn is_broken(&self, set: &KeySet) -> bool {
        self.trust.is_lost_generation(&set.member, set.incarnation, set.generation)
    }
}

/// SHA-256 of the canonical encoding of sorted positions.
///
/// # Errors
/// [`EncodeError`] if they have none: an invariant of ours is broken.
pub fn root_of(positions: &[Position]) -> Result<ContentHash, EncodeError> {
    Ok(ContentHash::from_bytes(Sha256::digest(encode(positions)?).into()))
}

/// The payload version that this node reads of a kind of evidence; 0 for other kinds.
#[must_use]
pub const fn version_of(kind: Kind) -> u64 {
    match kind {
        Kind::Charter => Charter::VERSION,
        Kind::KeySet => KeySet::VERSION,
        Kind::NodeRecord => NodeRecordHeader::VERSION,
        Kind::ReferencePoint => ReferencePointHeader::VERSION,
        Kind::JoiningRequest | Kind::Message | Kind::Receipt | Kind::Head => 0,
    }
}
