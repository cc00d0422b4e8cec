//! The directory as it is shown: a pure function of the chains, the current keys, and the time, which
//! only marks. It decides what is current; it never drops what is old.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

use super::{
    Chains,
    bodies::BodyState,
    chain::{BodyRef, HeaderInfo},
    header::{ChainKey, ChainKind},
    node_record::{NodeRecord, SealingKeyEntry},
    reference_point::ReferencePoint,
};
use crate::{
    ids::{ContentHash, HeaderId, KeySetId, MemberCode, NodeKey, Sequence},
    limits::{FRESHNESS, FUTURE_TOLERANCE},
    time::Timestamp,
};

/// A node key that counts now, as the current key sets list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeListing {
    /// The member.
    pub member: MemberCode,
    /// The node key.
    pub node: NodeKey,
    /// The lowest rank that is fresh is shown.
    pub rank: u64,
    /// The current key sets that list it: one as a rule, each of several tips in a dispute. Sorted.
    pub key_sets: Vec<KeySetId>,
    /// The header of its earlier node-record chain that counts until the new chain has one.
    pub node_record: Option<HeaderId>,
    /// The same of its reference-point chain.
    pub reference_point: Option<HeaderId>,
}

/// The directory at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Directory<'a> {
    chains: &'a Chains,
    /// Sorted by member, rank and node.
    listings: &'a [NodeListing],
}

/// One member's entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// The member.
    pub member: MemberCode,
    /// The reference point shown, `None` if none of the member's nodes published one.
    pub reference_point: Option<ReferencePointView>,
    /// The member's nodes, by rank.
    pub nodes: Vec<NodeView>,
}

/// A reference point with its marks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReferencePointView {
    /// The node that published it.
    pub source: NodeKey,
    /// Its header and marks.
    pub header: HeaderView,
    /// The entry, `None` unless its body is held.
    #[serde(serialize_with = "shared")]
    pub entry: Option<Arc<ReferencePoint>>,
}

/// One node with its newest record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeView {
    /// The node key.
    pub node: NodeKey,
    /// Its rank among the member's nodes.
    pub rank: u64,
    /// The newest header of its record, `None` if it never published one.
    pub header: Option<HeaderView>,
    /// The newest record whose body is held: of an older header while the newest one's is missing.
    #[serde(serialize_with = "shared")]
    pub record: Option<Arc<NodeRecord>>,
}

/// What is shown of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderView {
    /// The header's document id.
    pub id: HeaderId,
    /// The key set whose chain it stands in, `None` for one that a later key set names.
    pub key_set: Option<KeySetId>,
    /// Its place in the chain.
    pub sequence: Sequence,
    /// When its node says that it signed it.
    pub issued: Timestamp,
    /// Until when it counts as fresh: what it says, at most seven days after it was issued.
    pub fresh_until: Timestamp,
    /// What the clock says of it.
    pub age: Age,
    /// The lowest known fork of the chain: what is above is disputed until the next key set.
    pub disputed_from: Option<Sequence>,
    /// Whether its content is here.
    pub body: BodyMark,
}

/// What a clock says of a header. It marks and never drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Age {
    /// Renewed in time.
    Fresh,
    /// Past its renewal; shown with its age.
    Stale,
    /// Issued after the reader's clock: one of the two is wrong.
    Future,
}

/// Whether a header's content is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyMark {
    /// Held and read.
    Held,
    /// Not received yet.
    Missing,
    /// Erased; the header is proof that there was one.
    Erased,
    /// Received, and not readable: its node's fault.
    Unreadable,
}

impl<'a> Directory<'a> {
    /// Looks at the chains through the current keys, sorted by member, rank and node.
    #[must_use]
    pub const fn new(chains: &'a Chains, listings: &'a [NodeListing]) -> Self {
        Self { chains, listings }
    }

    /// Every member with a node key that counts, by code.
    #[must_use]
    pub fn members(&self, now: Timestamp) -> Vec<MemberView> {
        let groups = self.listings.chunk_by(|a, b| a.member == b.member);
        groups.filter_map(|nodes| self.member_of(nodes, now)).collect()
    }

    /// One member, `None` if it has no node key that counts.
    #[must_use]
    pub fn member(&self, member: &MemberCode, now: Timestamp) -> Option<MemberView> {
        self.member_of(self.nodes_of(member), now)
    }

    /// The listings of one member's nodes, by rank.
    #[must_use]
    pub fn nodes_of(&self, member: &MemberCode) -> &'a [NodeListing] {
        let start = self.listings.partition_point(|listing| listing.member < *member);
        let end = self.listings.partition_point(|listing| listing.member <= *member);
        self.listings.get(start..end).unwrap_or_default()
    }

    /// The newest readable record of a node.
    #[must_use]
    pub fn record(&self, listing: &NodeListing) -> Option<&'a Arc<NodeRecord>> {
        self.record_bodies(listing).find_map(|body| match self.chains.body(ChainKind::NodeRecord, body) {
            Some(BodyState::NodeRecord(record)) => Some(record),
            _ => None,
        })
    }

    /// The sealing key to use for a node at `now`: of those whose days have begun the newest, even past
    /// its end if there is no newer; if none has begun, the first.
    #[must_use]
    pub fn sealing_key(&self, listing: &NodeListing, now: Timestamp) -> Option<&'a SealingKeyEntry> {
        current_sealing_key(&self.record(listing)?.sealing_keys, now)
    }

    /// The header shown of one of a node's chains, and whether it is disputed.
    #[must_use]
    pub fn header(&self, listing: &NodeListing, kind: ChainKind, now: Timestamp) -> Option<HeaderView> {
        let Current { info, key_set, disputed_from } = self.current(listing, kind)?;
        let fresh_until = info.fresh_until.min(info.issued.after(FRESHNESS));
        let age = if info.issued > now.after(FUTURE_TOLERANCE) {
            Age::Future
        } else if now > fresh_until {
            Age::Stale
        } else {
            Age::Fresh
        };
        let body = self.body_mark(kind, info.body);
        let HeaderInfo { id, sequence, issued, .. } = info;
        Some(HeaderView { id, key_set, sequence, issued, fresh_until, age, disputed_from, body })
    }

    fn member_of(&self, nodes: &[NodeListing], now: Timestamp) -> Option<MemberView> {
        let member = nodes.first()?.member.clone();
        let reference_point = self.shown_of(nodes, now);
        let nodes = nodes.iter().map(|listing| self.node_view(listing, now)).collect();
        Some(MemberView { member, reference_point, nodes })
    }

    /// The lowest rank whose newest header was issued less than seven days before the newest of them all.
    fn shown_of(&self, nodes: &[NodeListing], now: Timestamp) -> Option<ReferencePointView> {
        let issued =
            |listing: &NodeListing| self.current(listing, ChainKind::ReferencePoint).map(|c| c.info.issued);
        let newest = nodes.iter().filter_map(issued).max()?;
        let recent = |listing: &&NodeListing| issued(listing).is_some_and(|at| newest.since(at) < FRESHNESS);
        let shown = nodes.iter().find(recent)?;
        let header = self.header(shown, ChainKind::ReferencePoint, now)?;
        let body = self.current(shown, ChainKind::ReferencePoint)?.info.body;
        let entry = match self.chains.body(ChainKind::ReferencePoint, body) {
            Some(BodyState::ReferencePoint(entry)) => Some(Arc::clone(entry)),
            _ => None,
        };
        Some(ReferencePointView { source: shown.node, header, entry })
    }

    fn node_view(&self, listing: &NodeListing, now: Timestamp) -> NodeView {
        NodeView {
            node: listing.node,
            rank: listing.rank,
            header: self.header(listing, ChainKind::NodeRecord, now),
            record: self.record(listing).cloned(),
        }
    }

    /// The newest header below the lowest fork of the current chains; else the one that a key set names.
    fn current(&self, listing: &NodeListing, kind: ChainKind) -> Option<Current> {
        let chains = listing.key_sets.iter().filter_map(|key_set| {
            let key = ChainKey { node: listing.node, key_set: *key_set, kind };
            self.chains.chain(&key).map(|chain| (*key_set, chain))
        });
        let newest = chains
            .clone()
            .filter_map(|(key_set, chain)| Some((chain.newest()?, key_set, chain.fork())))
            .max_by_key(|(info, _, _)| (info.issued, info.id));
        if let Some((info, key_set, fork)) = newest {
            let disputed_from = fork.map(|fork| fork.sequence);
            return Some(Current { info, key_set: Some(key_set), disputed_from });
        }
        let info = self.chains.named(listing, kind)?;
        let disputed_from = chains.filter_map(|(_, chain)| chain.fork()).map(|fork| fork.sequence).min();
        Some(Current { info, key_set: None, disputed_from })
    }

    fn body_mark(&self, kind: ChainKind, body: BodyRef) -> BodyMark {
        match self.chains.body(kind, body) {
            Some(BodyState::NodeRecord(_) | BodyState::ReferencePoint(_)) => BodyMark::Held,
            Some(BodyState::Erased) => BodyMark::Erased,
            Some(BodyState::Unreadable(_)) => BodyMark::Unreadable,
            Some(BodyState::Missing) | None => BodyMark::Missing,
        }
    }

    /// Bodies that are shown or would be, and are not held: what repair asks for.
    #[must_use]
    pub fn missing_bodies(&self) -> BTreeSet<BodyRef> {
        let records = self.listings.iter().flat_map(|listing| {
            // While the newest record cannot be read, the newest that can be is used.
            let used = self.record_bodies(listing).take_while(|body| {
                !matches!(self.chains.body(ChainKind::NodeRecord, *body), Some(BodyState::NodeRecord(_)))
            });
            used.map(|body| (ChainKind::NodeRecord, body))
        });
        let points = self.listings.iter().filter_map(|listing| {
            let current = self.current(listing, ChainKind::ReferencePoint)?;
            Some((ChainKind::ReferencePoint, current.info.body))
        });
        let missing =
            records.chain(points).filter(|(kind, body)| self.body_mark(*kind, *body) == BodyMark::Missing);
        missing.map(|(_, body)| body).collect()
    }

    /// Whether exactly one chain keeps a content, and no key set names an old header with it.
    #[must_use]
    pub fn is_of_one_chain(&self, content: ContentHash) -> bool {
        self.chains.keepers(content) == 1
    }

    /// The chains of current nodes that show, or would show, one of these contents: whose member, of which node.
    /// Looks at every node.
    #[must_use]
    pub fn showing(&self, contents: &BTreeSet<ContentHash>) -> Vec<(MemberCode, ChainKind, NodeKey)> {
        let shows = |listing: &NodeListing, kind| match kind {
            ChainKind::NodeRecord => self.record_bodies(listing).any(|body| contents.contains(&body.hash)),
            ChainKind::ReferencePoint => {
                self.current(listing, kind).is_some_and(|current| contents.contains(&current.info.body.hash))
            }
        };
        let pairs = self.listings.iter().flat_map(|listing| {
            [ChainKind::NodeRecord, ChainKind::ReferencePoint].map(|kind| (listing, kind))
        });
        let pairs = pairs.filter(|(listing, kind)| shows(listing, *kind));
        pairs.map(|(listing, kind)| (listing.member.clone(), kind, listing.node)).collect()
    }

    /// The bodies of a node's record, the newest first.
    fn record_bodies(&self, listing: &NodeListing) -> impl Iterator<Item = BodyRef> {
        let older = listing.key_sets.iter().flat_map(|key_set| {
            let key = ChainKey { node: listing.node, key_set: *key_set, kind: ChainKind::NodeRecord };
            self.chains.chain(&key).into_iter().flat_map(|chain| chain.recent_bodies())
        });
        let shown = self.current(listing, ChainKind::NodeRecord).map(|current| current.info.body);
        let named = self.chains.named(listing, ChainKind::NodeRecord).map(|info| info.body);
        shown.into_iter().chain(older).chain(named)
    }
}

impl NodeListing {
    /// The header of an earlier chain of that kind that counts.
    #[must_use]
    pub const fn name_of(&self, kind: ChainKind) -> Option<HeaderId> {
        match kind {
            ChainKind::NodeRecord => self.node_record,
            ChainKind::ReferencePoint => self.reference_point,
        }
    }

    /// The headers of earlier chains that count.
    pub(super) fn named(&self) -> impl Iterator<Item = (ChainKind, HeaderId)> {
        let kinds = [ChainKind::NodeRecord, ChainKind::ReferencePoint];
        kinds.into_iter().filter_map(|kind| Some((kind, self.name_of(kind)?)))
    }
}

impl HeaderView {
    /// How long ago it was issued.
    #[must_use]
    pub fn age_at(&self, now: Timestamp) -> Duration {
        now.since(self.issued)
    }
}

/// The sealing key to use at `now`, of those that a record lists.
#[must_use]
pub fn current_sealing_key(keys: &[SealingKeyEntry], now: Timestamp) -> Option<&SealingKeyEntry> {
    let begun = keys.iter().filter(|key| key.from <= now).max_by_key(|key| key.from);
    begun.or_else(|| keys.iter().min_by_key(|key| key.from))
}

struct Current {
    info: HeaderInfo,
    key_set: Option<KeySetId>,
    disputed_from: Option<Sequence>,
}

/// Writes what is shared as if it were owned.
#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
fn shared<T: Serialize, S: Serializer>(value: &Option<Arc<T>>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_deref().serialize(serializer)
}
