//! The key sets' part of the view: what each member's key sets say of each node key.

use std::{collections::BTreeSet, sync::Arc};

use super::{KeyState, MemberView, Membership, NodeStanding};
use crate::{
    document::Verified,
    ids::{DocumentId, Incarnation, KeySetId, MemberCode, NodeKey, RootKey},
    membership::{
        Trust,
        charter::MemberStatus,
        key_set::{KeySet, NodeEntry, NodeState},
        trust::CharterHistory,
    },
    time::Timestamp,
};

type Held = Arc<Verified<KeySet>>;

/// Adds every key that a held key set lists, by ascending incarnation, so that the newest one speaks.
pub(super) fn add_key_sets(view: &mut Membership, trust: &Trust) {
    for ((code, incarnation, _), sets, broken) in trust.generations() {
        let root = signing_root(trust.history(), &sets);
        let member = view.members.get_mut(code);
        let ended = charter_state(member.as_deref(), *incarnation, root);
        if let Some(member) = member
            && member.incarnation == *incarnation
            && member.root == root
        {
            describe(member, &sets, broken);
        }
        // Which of a broken generation's key sets are held depends on the order in which they came: the
        // view says only that it is broken.
        if broken {
            continue;
        }
        let ended_by = ended.map(|_| charter_proof(view, trust.history(), code, *incarnation));
        for (key, mut standing) in standings(&sets) {
            if let (KeyState::Active, Some(ended)) = (standing.state, ended) {
                standing.state = ended;
                standing.ended_by = ended_by.clone().unwrap_or_default();
            }
            view.nodes.entry(key).or_default().enter(standing);
        }
    }
}

/// The root that the generation's key sets are signed by. An incarnation has one, except where charter
/// tips differ, and then the member has no valid root at all.
fn signing_root(history: &CharterHistory, sets: &[Held]) -> Option<RootKey> {
    let set = sets.first()?.payload();
    Some(history.get(&set.charter)?.payload().member(&set.member)?.root)
}

/// What the charter makes of the keys of one incarnation; `None` if it stands behind them.
fn charter_state(
    member: Option<&MemberView>,
    incarnation: Incarnation,
    root: Option<RootKey>,
) -> Option<KeyState> {
    let Some(member) = member else { return Some(KeyState::AwaitingAdmission) };
    match member.status {
        MemberStatus::Suspended => return Some(KeyState::MemberSuspended),
        MemberStatus::Withdrawn => return Some(KeyState::MemberWithdrawn),
        MemberStatus::Active => {}
    }
    if member.root.is_none() {
        Some(KeyState::RootDisputed)
    } else if member.incarnation != incarnation || member.root != root {
        Some(KeyState::RootReplaced)
    } else {
        None
    }
}

/// The charter versions to show to the holder of a key that the charter ended.
fn charter_proof(
    view: &Membership,
    history: &CharterHistory,
    code: &MemberCode,
    incarnation: Incarnation,
) -> Vec<DocumentId> {
    let Some(member) = view.members.get(code) else { return Vec::new() };
    if !member.is_active() {
        return member.ended_by.iter().map(|id| (*id).into()).collect();
    }
    if member.root.is_none() {
        return view.tips.iter().map(|id| (*id).into()).collect();
    }
    let replaces = |held: &&Arc<Verified<crate::membership::charter::Charter>>| {
        held.payload().member(code).is_some_and(|entry| entry.incarnation > incarnation)
    };
    history.in_order().find(replaces).map(|held| held.id()).into_iter().collect()
}

fn describe(member: &mut MemberView, sets: &[Held], broken: bool) {
    member.broken = broken;
    if broken {
        return;
    }
    let tips = tips(sets);
    member.epoch = tips.iter().map(|tip| tip.payload().epoch).max();
    member.review = tips.iter().map(|tip| tip.payload().review).min();
    member.key_sets = tips.iter().map(|tip| tip.id().into()).collect();
}

/// The key sets that none of the others names, by ascending id.
fn tips(sets: &[Held]) -> Vec<&Held> {
    let named = sets.iter().flat_map(|set| &set.payload().ancestors).collect::<BTreeSet<_>>();
    sets.iter().filter(|set| !named.contains(&KeySetId::from(set.id()))).collect()
}

fn standings(sets: &[Held]) -> Vec<(NodeKey, NodeStanding)> {
    let tips = tips(sets);
    let keys = sets.iter().flat_map(|set| &set.payload().nodes).map(|node| node.key).collect::<BTreeSet<_>>();
    keys.into_iter().filter_map(|key| Some((key, standing(&key, sets, &tips)?))).collect()
}

/// What the key sets say of one key that at least one of them lists.
fn standing(key: &NodeKey, sets: &[Held], tips: &[&Held]) -> Option<NodeStanding> {
    let listing = |set: &&Held| set.payload().node(key).is_some();
    let newest = sets.iter().filter(listing).max_by_key(|set| (set.payload().epoch, set.id()))?;
    let entry = newest.payload().node(key)?;
    let state = match agreed_entry(key, tips) {
        Agreement::Listed(entry) => state_of(entry),
        Agreement::Differ => KeyState::Disputed,
        // What was retired or stolen stays so: leaving it out must not make a thief's signatures count again.
        Agreement::Absent if entry.state != NodeState::Active => state_of(entry),
        Agreement::Absent => KeyState::LeftOut { at: left_out_at(key, sets)? },
    };
    let ended_by =
        if state == KeyState::Active { Vec::new() } else { tips.iter().map(|tip| tip.id()).collect() };
    Some(NodeStanding {
        member: newest.payload().member.clone(),
        incarnation: newest.payload().incarnation,
        rank: entry.rank,
        state,
        key_set: newest.id().into(),
        ended_by,
    })
}

enum Agreement<'a> {
    Listed(&'a NodeEntry),
    Differ,
    Absent,
}

/// Whether all tips list the key alike. The headers that they carry over may differ: that is a matter of
/// the chains, and no reason to cut the node off.
fn agreed_entry<'a>(key: &NodeKey, tips: &[&'a Held]) -> Agreement<'a> {
    let mut entries = tips.iter().map(|tip| tip.payload().node(key));
    let Some(first) = entries.next() else { return Agreement::Absent };
    let alike = |entry: Option<&NodeEntry>| match (first, entry) {
        (Some(a), Some(b)) => (a.alg, a.rank, a.state, a.since) == (b.alg, b.rank, b.state, b.since),
        (None, None) => true,
        _ => false,
    };
    match first {
        _ if !entries.all(alike) => Agreement::Differ,
        Some(entry) => Agreement::Listed(entry),
        None => Agreement::Absent,
    }
}

fn state_of(entry: &NodeEntry) -> KeyState {
    // The form of a key set says that a key that is not active has a time.
    let since = entry.since.unwrap_or_default();
    match entry.state {
        NodeState::Active => KeyState::Active,
        NodeState::Retired => KeyState::Retired { at: since },
        NodeState::Compromised => KeyState::Compromised { since },
    }
}

/// When the first key set was issued that leaves the key out after the last ones that list it.
fn left_out_at(key: &NodeKey, sets: &[Held]) -> Option<Timestamp> {
    let lists = |set: &&Held| set.payload().node(key).is_some();
    let names = |set: &Held, earlier: &Held| set.payload().names(&earlier.id().into());
    let last =
        sets.iter().filter(lists).filter(|set| !sets.iter().filter(lists).any(|later| names(later, set)));
    let last = last.collect::<Vec<_>>();
    let leaves_out = |set: &&Held| !lists(set) && last.iter().any(|listing| names(set, listing));
    sets.iter().filter(leaves_out).map(|set| set.payload().issued).min()
}
