//! The directory: the chains that nodes publish, and the view computed from them.
//!
//! [`Chains`] takes headers by their structure alone and bodies by the headers that name them. It
//! refuses what no state could accept, and decides nothing about what is current: that is [`view`]'s.

pub mod bodies;
pub mod chain;
pub mod clock;
pub mod header;
pub mod history;
pub mod node_record;
pub mod own_chain;
pub mod reference_point;
mod text;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    bodies::{Bodies, BodyAcceptance, BodyKey, BodyState},
    chain::{BodyRef, Chain, ChainAcceptance, Fork, HeaderInfo},
    header::{ChainKey, ChainKind, SignedHeader},
    view::NodeListing,
};
use crate::{
    document::FormError,
    ids::{ContentHash, HeaderId, KeySetId, MemberCode, NodeKey, Sequence},
    membership::key_set::{KeySet, NodeState},
};

/// All chains of all nodes, with the bodies that their recent headers name.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    chains: BTreeMap<ChainKey, Kept>,
    /// Headers that current key sets name as the last of an old chain that counts.
    names: BTreeMap<HeaderId, Name>,
    bodies: Bodies,
}

/// What became of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderAcceptance {
    /// Held now: keep it and pass it on.
    New,
    /// Held already.
    Known,
    /// Its key set is not held yet: wait, bounded, and fetch it.
    Pending(KeySetId),
    /// At or above the lowest known fork: neither kept nor passed on.
    AboveFork,
    /// It proves a fork, or a lower one than was known: keep it and pass both halves on.
    Forked(ForkProof),
}

/// A fork that has just become known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkProof {
    /// The chain.
    pub chain: ChainKey,
    /// Where and by which headers.
    pub fork: Fork,
    /// Headers above the fork that need not be stored any longer.
    pub dropped: Vec<HeaderId>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    /// Whose key set it is under; `None` before the first header.
    member: Option<MemberCode>,
    chain: Chain,
    /// The bodies that the chain keeps alive.
    retained: Vec<BodyRef>,
}

/// Who names a header. Any member can name any header: it counts for the one whose node signed it alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Name {
    claims: BTreeSet<Claim>,
    /// The header, and whose it is.
    found: Option<(Claim, HeaderInfo)>,
}

/// That a header is of that member's node and kind of chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    member: MemberCode,
    node: NodeKey,
    kind: ChainKind,
}

impl Chains {
    /// Takes a header in. `key_set` is the one that it names, if it is held.
    ///
    /// # Errors
    /// [`FormError`] if the key set does not list the node as an active key of the header's member
    /// (HD-06): wrong in every state, since a key set never changes.
    pub fn accept_header(
        &mut self,
        signed: &SignedHeader,
        key_set: Option<&KeySet>,
    ) -> Result<HeaderAcceptance, FormError> {
        let Some(key_set) = key_set else {
            return Ok(HeaderAcceptance::Pending(signed.header.key_set));
        };
        check_listed(signed, key_set)?;
        let key = signed.chain();
        let kept = self.chains.entry(key).or_default();
        kept.member.get_or_insert_with(|| signed.header.member.clone());
        let before = kept.chain.newest();
        let acceptance = match kept.chain.accept(signed) {
            ChainAcceptance::New => HeaderAcceptance::New,
            ChainAcceptance::Known => HeaderAcceptance::Known,
            ChainAcceptance::AboveFork => HeaderAcceptance::AboveFork,
            ChainAcceptance::Forked { fork, mut dropped } => {
                dropped.retain(|id| !self.names.contains_key(id));
                HeaderAcceptance::Forked(ForkProof { chain: key, fork, dropped })
            }
        };
        let after = kept.chain.newest();
        // A plain renewal changes no retention: the newest body is the one before.
        let renewed = before.zip(after).is_some_and(|(before, after)| {
            before.body == after.body && matches!(acceptance, HeaderAcceptance::New) && before.id != after.id
        });
        if !renewed && !matches!(acceptance, HeaderAcceptance::Known | HeaderAcceptance::AboveFork) {
            let recent = kept.chain.recent_bodies();
            self.bodies.replace(key.kind, &kept.retained, &recent);
            kept.retained = recent;
        }
        let found_name = self.find_name(signed);
        Ok(match acceptance {
            HeaderAcceptance::Known | HeaderAcceptance::AboveFork if found_name => HeaderAcceptance::New,
            other => other,
        })
    }

    /// Takes a body in, if a recent header names it by hash and length.
    pub fn accept_body(&mut self, bytes: &[u8]) -> BodyAcceptance {
        self.bodies.accept(bytes)
    }

    /// Forgets a body's content for good: it is shown as erased and never fetched again.
    ///
    /// Returns whether any recent header names it.
    pub fn erase_body(&mut self, hash: ContentHash) -> bool {
        self.bodies.erase(hash)
    }

    /// How many chains keep a content, each name that a key set gives to an old header counted too.
    #[must_use]
    pub fn keepers(&self, hash: ContentHash) -> u32 {
        self.bodies.count(hash)
    }

    /// Hashes that no recent header names any more, since the last call: what storage may erase.
    pub fn take_released(&mut self) -> BTreeSet<ContentHash> {
        self.bodies.take_released()
    }

    /// Follows the current key sets: the old headers that they name are looked for and kept.
    pub fn follow(&mut self, listings: &[NodeListing]) {
        let mut names: BTreeMap<HeaderId, Name> = BTreeMap::new();
        for listing in listings {
            for (kind, id) in listing.named() {
                let claim = Claim { member: listing.member.clone(), node: listing.node, kind };
                let old = self.names.get(&id).and_then(|name| name.found.clone());
                let old = old.filter(|(found, _)| *found == claim).map(|(_, info)| info);
                let found = old.or_else(|| self.find_in_chains(&claim, id));
                let name = names.entry(id).or_default();
                name.found = name.found.take().or_else(|| Some((claim.clone(), found?)));
                name.claims.insert(claim);
            }
        }
        let bodies = |names: &BTreeMap<HeaderId, Name>, kind| {
            let found = names.values().filter_map(|name| name.found.as_ref());
            found.filter(|(claim, _)| claim.kind == kind).map(|(_, info)| info.body).collect::<Vec<_>>()
        };
        for kind in [ChainKind::NodeRecord, ChainKind::ReferencePoint] {
            self.bodies.replace(kind, &bodies(&self.names, kind), &bodies(&names, kind));
        }
        self.names = names;
    }

    /// One chain.
    #[must_use]
    pub fn chain(&self, key: &ChainKey) -> Option<&Chain> {
        self.chains.get(key).map(|kept| &kept.chain)
    }

    /// All chains of a kind, sorted.
    pub fn of_kind(&self, kind: ChainKind) -> impl Iterator<Item = (&ChainKey, &Chain)> {
        self.chains.iter().filter(move |(key, _)| key.kind == kind).map(|(key, kept)| (key, &kept.chain))
    }

    /// All chains of one node, whatever key set or kind.
    pub fn of_node(&self, node: NodeKey) -> impl Iterator<Item = (&ChainKey, &Chain)> {
        self.kept_of(node).map(|(key, kept)| (key, &kept.chain))
    }

    /// The header that a current key set names as the last that counts of a node's earlier chain, if it is
    /// held and is that member's node's.
    #[must_use]
    pub fn named(&self, listing: &NodeListing, kind: ChainKind) -> Option<HeaderInfo> {
        let (claim, info) = self.names.get(&listing.name_of(kind)?)?.found.as_ref()?;
        let counts = claim.member == listing.member && claim.node == listing.node && claim.kind == kind;
        counts.then_some(*info)
    }

    /// Headers that current key sets name and that are not held.
    pub fn missing_names(&self) -> impl Iterator<Item = HeaderId> {
        self.names.iter().filter(|(_, name)| name.found.is_none()).map(|(id, _)| *id)
    }

    /// What is known of a body that a recent header of that kind of chain names.
    #[must_use]
    pub fn body(&self, kind: ChainKind, body: BodyRef) -> Option<&BodyState> {
        self.bodies.state(&BodyKey { kind, body })
    }

    /// Gaps of all chains, at most `max` ranges. Each chain has its part of them, and with each `turn` others
    /// come first: whoever publishes chains full of gaps that nobody can fill does not keep others' open.
    pub fn gaps(&self, max: usize, turn: u64) -> Vec<(ChainKey, Sequence, Sequence)> {
        self.gaps_of(&self.with_gaps(), max, turn)
    }

    /// The same of chains that are known to have gaps.
    #[must_use]
    pub fn gaps_of(&self, chains: &[ChainKey], max: usize, turn: u64) -> Vec<(ChainKey, Sequence, Sequence)> {
        let count = chains.len().max(1);
        let each = (max / count).max(GAPS_PER_CHAIN_MIN).min(max);
        // Spreads turns that are evenly apart over all of the chains.
        let first = turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let first = usize::try_from(first % count as u64).unwrap_or_default();
        let (before, from_first) = chains.split_at_checked(first).unwrap_or((&[], chains));
        let mut gaps = Vec::new();
        for key in from_first.iter().chain(before) {
            let room = each.min(max.saturating_sub(gaps.len()));
            let of_chain = self.chain(key).map(|chain| chain.gaps(room)).unwrap_or_default();
            gaps.extend(of_chain.into_iter().map(|(from, to)| (*key, from, to)));
        }
        gaps
    }

    /// The chains with a gap below their newest header or their fork. Sorted.
    #[must_use]
    pub fn with_gaps(&self) -> Vec<ChainKey> {
        self.chains.iter().filter(|(_, kept)| kept.chain.has_gaps()).map(|(key, _)| *key).collect()
    }

    /// Names a header that has just come, if a current key set asks for it. Returns whether it did.
    fn find_name(&mut self, signed: &SignedHeader) -> bool {
        let Some(name) = self.names.get_mut(&signed.id) else { return false };
        let header = &signed.header;
        let claim = Claim { member: header.member.clone(), node: header.node, kind: signed.kind };
        if name.found.is_some() || !name.claims.contains(&claim) {
            return false;
        }
        let body = BodyRef { hash: header.body, length: header.length };
        let info = HeaderInfo {
            id: signed.id,
            sequence: header.sequence,
            issued: header.issued,
            fresh_until: header.fresh_until,
            body,
        };
        name.found = Some((claim, info));
        self.bodies.replace(signed.kind, &[], &[body]);
        true
    }

    fn find_in_chains(&self, claim: &Claim, id: HeaderId) -> Option<HeaderInfo> {
        let of_node = self.kept_of(claim.node).filter(|(key, _)| key.kind == claim.kind);
        let of_member = of_node.filter(|(_, kept)| kept.member.as_ref() == Some(&claim.member));
        of_member.map(|(_, kept)| &kept.chain).find_map(|chain| chain.find(id))
    }

    fn kept_of(&self, node: NodeKey) -> impl Iterator<Item = (&ChainKey, &Kept)> {
        let first = ChainKey { node, key_set: KeySetId::from_bytes([0; 32]), kind: ChainKind::NodeRecord };
        self.chains.range(first..).take_while(move |(key, _)| key.node == node)
    }
}

/// Ranges that each chain may ask for in its turn, however many chains have gaps.
const GAPS_PER_CHAIN_MIN: usize = 16;

/// HD-06: the named key set lists the node as an active key of the header's member.
fn check_listed(signed: &SignedHeader, key_set: &KeySet) -> Result<(), FormError> {
    let header = &signed.header;
    if key_set.member != header.member {
        let what = format!("a header of {} under a key set of {}", header.member, key_set.member);
        return text::broken("HD-06", what);
    }
    let active = |entry: &&crate::membership::key_set::NodeEntry| entry.state == NodeState::Active;
    if !key_set.nodes.iter().filter(active).any(|entry| entry.key == header.node) {
        let what = format!(
            "key set {} does not list node {} as active",
            header.key_set.short(),
            header.node.short()
        );
        return text::broken("HD-06", what);
    }
    Ok(())
}
