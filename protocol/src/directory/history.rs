//! What a member's reference points were: every header that is held, and the contents that still are.
//!
//! A node keeps headers for ever and of each chain the newest few contents ([`BODIES_PER_CHAIN_MAX`]); what was let
//! go cannot be shown again, and says so. All times are those that the issuers wrote: when something reached this
//! node is not kept. Forked headers are in no history; the fork is named. Pure functions of the evidence.
//!
//! [`BODIES_PER_CHAIN_MAX`]: crate::limits::BODIES_PER_CHAIN_MAX

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Chains,
    bodies::BodyState,
    chain::{BodyRef, Chain, HeaderInfo},
    header::{ChainKey, ChainKind},
    reference_point::ReferencePoint,
};
use crate::{
    ids::{Epoch, KeySetId, MemberCode, NodeKey, Sequence},
    limits::FRESHNESS,
    membership::{
        Trust,
        key_set::{KeySet, NodeState},
    },
    time::Timestamp,
};

/// What is held of one reference-point chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHistory {
    /// The chain.
    pub chain: ChainKey,
    /// The epoch of its key set.
    pub epoch: Epoch,
    /// Headers with one content in a row, oldest first; a gap begins another run.
    pub runs: Vec<Run>,
    /// Ranges of sequences, both ends included, whose headers exist and are not held.
    pub gaps: Vec<(Sequence, Sequence)>,
    /// The lowest known fork: what was signed at it or above does not count.
    pub disputed_from: Option<Sequence>,
}

/// An entry and its renewals without change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first header with this content.
    pub first: HeaderInfo,
    /// The last one, which may be the first.
    pub last: HeaderInfo,
    /// The content.
    pub content: Content,
}

/// What is here of an entry's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Held.
    Held(Arc<ReferencePoint>),
    /// One of the newest, and not received yet.
    Missing,
    /// Erased; the header is proof that there was one.
    Erased,
    /// Received, and not readable: its node's fault.
    Unreadable,
    /// Older than what a node keeps.
    LetGo,
}

/// What a member's entry was at some time, as far as this node can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryThen {
    /// The node that published it.
    pub node: NodeKey,
    /// The key set in whose chain it stands.
    pub key_set: KeySetId,
    /// The newest header then.
    pub header: HeaderInfo,
    /// Its content.
    pub content: Content,
    /// Whether a header that is not held may have been newer.
    pub may_be_older: bool,
}

/// All reference-point chains of a member's nodes under any key set that is held, in the order of their key sets'
/// issue, then of their nodes.
#[must_use]
pub fn of_member(trust: &Trust, chains: &Chains, member: &MemberCode) -> Vec<ChainHistory> {
    let mut sets: Vec<(KeySetId, &KeySet)> = key_sets(trust, member).collect();
    sets.sort_by_key(|(id, set)| (set.incarnation, set.generation, set.epoch, *id));
    let keys = sets.into_iter().flat_map(|(key_set, set)| {
        let nodes = set.nodes.iter().map(|entry| entry.key);
        nodes.map(move |node| (ChainKey { node, key_set, kind: ChainKind::ReferencePoint }, set.epoch))
    });
    keys.filter_map(|(key, epoch)| Some(of_chain(chains, key, epoch, chains.chain(&key)?))).collect()
}

/// What a member's entry was at `then`: by the key sets that its root had signed until then, of the lowest rank
/// whose newest header was issued less than seven days before the newest of all. `None` if nothing that is held
/// was issued by then.
#[must_use]
pub fn at(trust: &Trust, chains: &Chains, member: &MemberCode, then: Timestamp) -> Option<EntryThen> {
    let issued: Vec<(KeySetId, &KeySet)> =
        key_sets(trust, member).filter(|(_, set)| set.issued <= then).collect();
    let newest = issued.iter().map(|(_, set)| (set.incarnation, set.generation)).max()?;
    let is_newest = |set: &KeySet| (set.incarnation, set.generation) == newest;
    let named: BTreeSet<KeySetId> = issued
        .iter()
        .filter(|(_, set)| is_newest(set))
        .flat_map(|(_, set)| set.ancestors.iter().copied())
        .collect();
    let in_force = issued.iter().filter(|(id, set)| is_newest(set) && !named.contains(id));
    let mut nodes: Vec<(u64, EntryThen)> = Vec::new();
    for (id, set) in in_force {
        for entry in set.nodes.iter().filter(|entry| entry.state == NodeState::Active) {
            let current = newest_by(chains, entry.key, *id, then);
            // Until a new chain has a header, what the old ones had counts.
            let earlier = || {
                let others = issued.iter().filter(|(other, _)| other != id);
                let found = others.filter_map(|(other, _)| newest_by(chains, entry.key, *other, then));
                found.max_by_key(|entry| (entry.header.issued, entry.header.id))
            };
            nodes.extend(current.or_else(earlier).map(|it| (entry.rank, it)));
        }
    }
    let newest = nodes.iter().map(|(_, entry)| entry.header.issued).max()?;
    nodes.retain(|(_, entry)| newest.since(entry.header.issued) < FRESHNESS);
    nodes.into_iter().min_by_key(|(rank, entry)| (*rank, entry.node)).map(|(_, entry)| entry)
}

/// Since when the contents of all entries are held, of chains as [`of_member`] returns them: since the issue of
/// the first after all that lack. The epoch if nothing lacks, `None` if a newest one does.
#[must_use]
pub fn complete_since(chains: &[ChainHistory]) -> Option<Timestamp> {
    let mut since = Timestamp::from_millis(0);
    for history in chains {
        let mut expected = Some(Sequence(0));
        let mut lacks = false;
        for run in &history.runs {
            lacks |= Some(run.first.sequence) != expected;
            expected = run.last.sequence.next();
            if !matches!(run.content, Content::Held(_)) {
                lacks = true;
            } else if std::mem::take(&mut lacks) {
                since = since.max(run.first.issued);
            }
        }
        if lacks {
            return None;
        }
    }
    Some(since)
}

fn key_sets<'a>(
    trust: &'a Trust,
    member: &'a MemberCode,
) -> impl Iterator<Item = (KeySetId, &'a KeySet)> + 'a {
    let all = trust.key_sets().map(|document| (KeySetId::from(document.id()), document.payload()));
    all.filter(move |(_, set)| set.member == *member)
}

fn of_chain(chains: &Chains, key: ChainKey, epoch: Epoch, chain: &Chain) -> ChainHistory {
    let recent = chain.recent_bodies();
    let mut runs: Vec<Run> = Vec::new();
    for info in chain.between(Sequence(0), Sequence(u64::MAX)) {
        match runs.last_mut() {
            Some(run) if run.last.body == info.body && run.last.sequence.next() == Some(info.sequence) => {
                run.last = info;
            }
            _ => {
                let content = content(chains, &recent, info.body);
                runs.push(Run { first: info, last: info, content });
            }
        }
    }
    let disputed_from = chain.fork().map(|fork| fork.sequence);
    ChainHistory { chain: key, epoch, runs, gaps: chain.gaps(GAPS_MAX), disputed_from }
}

fn newest_by(chains: &Chains, node: NodeKey, key_set: KeySetId, then: Timestamp) -> Option<EntryThen> {
    let chain = chains.chain(&ChainKey { node, key_set, kind: ChainKind::ReferencePoint })?;
    let header = chain.newest_first().find(|info| info.issued <= then)?;
    let content = content(chains, &chain.recent_bodies(), header.body);
    let is_newest = chain.newest().is_some_and(|newest| newest.id == header.id);
    let next_is_held = || {
        let next = header.sequence.next();
        next.is_some_and(|next| chain.between(next, next).next().is_some())
    };
    Some(EntryThen { node, key_set, header, content, may_be_older: !is_newest && !next_is_held() })
}

fn content(chains: &Chains, recent: &[BodyRef], body: BodyRef) -> Content {
    match chains.body(ChainKind::ReferencePoint, body) {
        Some(BodyState::ReferencePoint(entry)) => Content::Held(Arc::clone(entry)),
        Some(BodyState::Erased) => Content::Erased,
        Some(BodyState::Unreadable(_)) => Content::Unreadable,
        _ if recent.contains(&body) => Content::Missing,
        Some(BodyState::Missing | BodyState::NodeRecord(_)) | None => Content::LetGo,
    }
}

/// Gaps named of one chain: a chain with more is hardly held.
const GAPS_MAX: usize = 16;
