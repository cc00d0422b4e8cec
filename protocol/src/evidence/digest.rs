//! The digest: one root for each kind, equal on two nodes exactly if their positions are.

use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use super::{
    AnyDocument, Evidence,
    repair::{Digest, KindRoot, Position},
};
use crate::{
    directory::header::{ChainKey, ChainKind, NodeRecordHeader, ReferencePointHeader},
    document::{EncodeError, Kind, Payload, encode},
    ids::{ContentHash, KeySetId},
    membership::{charter::Charter, key_set::KeySet, settlement::Settlement},
    time::Timestamp,
};

/// Where this node stands in each kind, and the roots of that, kept in step with what enters.
#[derive(Clone, Debug, Default)]
pub struct Roots([Standing; Kind::EVIDENCE.len()]);

/// Where this node stands in one kind.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// Sorted.
    placed: OnceLock<Vec<Placed>>,
    root: OnceLock<ContentHash>,
}

/// A position with its canonical encoding: of a federation's chains one or two have moved when a root is asked for.
#[derive(Clone, Debug)]
struct Placed {
    position: Position,
    encoded: Vec<u8>,
}

impl Placed {
    fn new(position: Position) -> Result<Self, EncodeError> {
        Ok(Self { encoded: encode(&position)?, position })
    }

    fn chain(&self) -> Option<&ChainKey> {
        match &self.position {
            Position::Newest(chain, ..) | Position::Forked(chain, _) => Some(chain),
            Position::Held(_) | Position::Broken(..) | Position::Settled(..) => None,
        }
    }
}

impl Standing {
    /// A chain stands elsewhere.
    fn moved(&mut self, chain: &ChainKey, position: Option<Position>) {
        self.root = OnceLock::new();
        let Some(placed) = self.placed.get_mut() else { return };
        placed.retain(|placed| placed.chain() != Some(chain));
        let Some(position) = position else { return };
        match Placed::new(position) {
            Ok(new) => {
                let after = placed.partition_point(|placed| placed.position < new.position);
                placed.insert(after, new);
            }
            // Whoever asks for the root is told.
            Err(_) => self.placed = OnceLock::new(),
        }
    }
}

impl Roots {
    fn of(&self, kind: Kind) -> Option<&Standing> {
        Kind::EVIDENCE.into_iter().zip(&self.0).find(|(of, _)| *of == kind).map(|(_, standing)| standing)
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
        let root = |(kind, standing): (Kind, &Standing)| {
            let root = match standing.root.get() {
                Some(root) => *root,
                None => {
                    let root = root_of_placed(self.placed(kind, standing)?);
                    *standing.root.get_or_init(|| root)
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
        self.positions_after(kind, None, usize::MAX).0
    }

    /// The first `max` of them after one, and whether there are more.
    #[must_use]
    pub fn positions_after(&self, kind: Kind, after: Option<&Position>, max: usize) -> (Vec<Position>, bool) {
        let Some(standing) = self.roots.of(kind) else { return (Vec::new(), false) };
        let is_before = |at: &Position| after.is_some_and(|after| at <= after);
        match self.placed(kind, standing) {
            Ok(placed) => {
                let start = placed.partition_point(|placed| is_before(&placed.position));
                let page = placed.iter().skip(start).take(max).map(|placed| placed.position.clone());
                (page.collect(), placed.len() - start > max)
            }
            // Without an encoding there is no digest either, and so nobody who asks: what is computed is the same.
            Err(_) => {
                let mut rest = self.sorted_positions(kind).into_iter().skip_while(is_before);
                (rest.by_ref().take(max).collect(), rest.next().is_some())
            }
        }
    }

    /// A document has entered: brings in step what follows from it.
    pub(super) fn follow_roots(&mut self, document: &AnyDocument) {
        let header = document.header().zip(ChainKind::of(document.kind()));
        let chain = header.map(|(header, kind)| header.chain(kind));
        let position = chain.filter(|chain| self.is_compared(chain.key_set));
        let position = position.and_then(|chain| self.chains.chain(&chain)?.position(chain));
        for (kind, standing) in Kind::EVIDENCE.into_iter().zip(&mut self.roots.0) {
            match (document, chain) {
                (AnyDocument::Charter(_), _) if kind == Kind::Charter => *standing = Standing::default(),
                (AnyDocument::Settlement(_), _) if kind == Kind::Settlement => {
                    *standing = Standing::default()
                }
                // Which chains are compared follows from the key sets.
                (AnyDocument::KeySet(_), _) if !matches!(kind, Kind::Charter | Kind::Settlement) => {
                    *standing = Standing::default()
                }
                (_, Some(chain)) if kind == document.kind() => standing.moved(&chain, position.clone()),
                _ => {}
            }
        }
    }

    fn placed<'a>(&'a self, kind: Kind, standing: &'a Standing) -> Result<&'a [Placed], EncodeError> {
        if let Some(placed) = standing.placed.get() {
            return Ok(placed);
        }
        let placed: Vec<Placed> =
            self.sorted_positions(kind).into_iter().map(Placed::new).collect::<Result<_, _>>()?;
        Ok(standing.placed.get_or_init(|| placed))
    }

    fn sorted_positions(&self, kind: Kind) -> Vec<Position> {
        let mut positions: Vec<_> = match kind {
            Kind::Charter => self.trust.charters().map(|charter| Position::Held(charter.id())).collect(),
            Kind::Settlement => {
                let spans = self.trust.settlements().map(|held| held.span());
                spans.map(|span| Position::Settled(span.charter, span.base)).collect()
            }
            Kind::KeySet => {
                let whole = self.trust.key_sets().filter(|set| !self.is_broken(set.payload()));
                let broken = self.trust.broken_generations();
                let broken = broken.map(Position::broken);
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
        self.trust.is_lost(set)
    }
}

/// SHA-256 of the canonical encoding of sorted positions.
///
/// # Errors
/// [`EncodeError`] if they have none: an invariant of ours is broken.
pub fn root_of(positions: &[Position]) -> Result<ContentHash, EncodeError> {
    Ok(ContentHash::from_bytes(Sha256::digest(encode(positions)?).into()))
}

/// The same of positions that are encoded already.
fn root_of_placed(placed: &[Placed]) -> ContentHash {
    let mut hasher = Sha256::new();
    hasher.update(array_head(placed.len()));
    placed.iter().for_each(|placed| hasher.update(&placed.encoded));
    ContentHash::from_bytes(hasher.finalize().into())
}

/// The canonical head of an array of that many items (RFC 8949, section 3).
fn array_head(length: usize) -> Vec<u8> {
    const ARRAY: u8 = 4 << 5;
    let bytes = (length as u64).to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let (argument, kept) = match (zeros, length) {
        (_, 0..24) => return vec![ARRAY | bytes.last().copied().unwrap_or_default()],
        (7, _) => (24, 1),
        (6, _) => (25, 2),
        (4..6, _) => (26, 4),
        _ => (27, 8),
    };
    let mut head = vec![ARRAY | argument];
    head.extend(bytes.iter().skip(bytes.len() - kept));
    head
}

/// The payload version that this node reads of a kind of evidence; 0 for other kinds.
#[must_use]
pub const fn version_of(kind: Kind) -> u64 {
    match kind {
        Kind::Charter => Charter::VERSION,
        Kind::Settlement => Settlement::VERSION,
        Kind::KeySet => KeySet::VERSION,
        Kind::NodeRecord => NodeRecordHeader::VERSION,
        Kind::ReferencePoint => ReferencePointHeader::VERSION,
        Kind::JoiningRequest | Kind::Message | Kind::Receipt | Kind::Head => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::{
        evidence::Bearer,
        testing::{
            Federation,
            chains::{ChainWriter, IntoAny as _, body, node_record},
        },
    };

    #[test]
    fn the_head_of_an_array_is_the_codecs() {
        for length in [0, 1, 23, 24, 255, 256, 65_535, 65_536] {
            let encoded = encode(&vec![true; length]).unwrap();
            let head = array_head(length);
            assert_eq!(encoded[..encoded.len() - length], head, "{length}");
        }
        assert_eq!(array_head(1 << 32), [0x9B, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    /// What is kept in step, against what is computed from nothing, after every document.
    #[test]
    fn roots_and_positions_follow_every_document() {
        let federation = Federation::new(5, &["BR", "FR", "KE"], 2);
        let mut documents = vec![federation.founding.any()];
        documents.extend(federation.units.iter().map(|unit| unit.key_set.any()));
        for (unit, node) in federation.units.iter().flat_map(|unit| [(unit, 0), (unit, 1)]) {
            for kind in [ChainKind::NodeRecord, ChainKind::ReferencePoint] {
                let mut chain = ChainWriter::new(&federation, unit, node, kind);
                let first = chain.write(&body(&node_record(1)));
                let mut twin = chain.clone();
                documents.extend([first, chain.write(&body(&node_record(2)))]);
                if node == 1 {
                    documents.push(twin.write(&body(&node_record(3))));
                }
            }
        }
        let ke = federation.unit("KE");
        documents.push(federation.next_key_set(&[&ke.key_set], |_| {}, &ke.root).any());
        let mut evidence = Evidence::new(federation.id);
        for document in documents {
            assert!(evidence.accept(Bearer::Local, document).rejected.is_empty());
            for (kind, root) in Kind::EVIDENCE.into_iter().zip(evidence.roots().unwrap()) {
                let anew = evidence.sorted_positions(kind);
                assert_eq!(evidence.positions(kind), anew);
                assert_eq!(root.root, root_of(&anew).unwrap(), "{kind}");
            }
        }
        let forked = |position: &Position| matches!(position, Position::Forked(..));
        assert_eq!(evidence.positions(Kind::NodeRecord).iter().filter(|it| forked(it)).count(), 3);
    }
}
