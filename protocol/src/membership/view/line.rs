//! One line of a member's key sets: its generations, what rotations of the root voided, and which key sets speak now.

use std::{collections::BTreeSet, sync::Arc};

use super::{KeyState, NodeStanding};
use crate::{
    document::Verified,
    ids::{DocumentId, Generation, KeySetId, NodeKey},
    membership::key_set::{KeySet, NodeEntry, NodeState, Opening},
    time::Timestamp,
};

type Held = Arc<Verified<KeySet>>;

/// The key sets held of one generation.
pub(super) struct Generated {
    pub(super) sets: Vec<Held>,
    /// Whether they contradict each other beyond repair.
    pub(super) broken: bool,
}

/// The key sets of one member and incarnation.
pub(super) struct Line {
    /// Those that count: the newest generation's, and of each before what its rotation named.
    sets: Vec<Held>,
    /// Those of the newest generation that no other names, by ascending id.
    tips: Vec<Held>,
    /// Those that a rotation did not name.
    voided: Vec<Held>,
    /// The rotations, oldest first.
    openings: Vec<Held>,
}

impl Line {
    /// Reads the generations, oldest first; `None` if no key of the line is valid, since the newest generation is
    /// broken or a root was rotated twice.
    pub(super) fn of(generations: Vec<Generated>) -> Option<Self> {
        let mut line = Self { sets: Vec::new(), tips: Vec::new(), voided: Vec::new(), openings: Vec::new() };
        for Generated { sets, broken } in generations {
            let is_opening = |set: &&Held| set.payload().opening().is_some();
            let mut openings = sets.iter().filter(is_opening);
            let opening = openings.next().cloned();
            let is_first = sets.first().is_some_and(|set| set.payload().generation == Generation(0));
            if openings.next().is_some() || (broken && !is_first) {
                return None;
            }
            if let Some(opening) = opening {
                line.void_before(&opening);
                line.openings.push(opening);
            }
            line.tips = if broken { Vec::new() } else { tips(&sets) };
            if !broken {
                line.sets.extend(sets);
            }
        }
        (!line.tips.is_empty()).then_some(line)
    }

    /// The key sets that no other names.
    pub(super) fn tips(&self) -> impl Iterator<Item = &Held> {
        self.tips.iter()
    }

    /// The newest rotation and the generation that it began.
    pub(super) fn last_rotation(&self) -> Option<(Generation, &Opening)> {
        let set = self.openings.last()?.payload();
        Some((set.generation, set.opening()?))
    }

    /// What the line says of each key that any of its key sets lists.
    pub(super) fn standings(&self) -> Vec<(NodeKey, NodeStanding)> {
        let listed = self.sets.iter().chain(&self.voided).flat_map(|set| &set.payload().nodes);
        let keys = listed.map(|node| node.key).collect::<BTreeSet<_>>();
        keys.into_iter().filter_map(|key| Some((key, self.standing(&key)?))).collect()
    }

    /// Leaves of the generation before an opening what that names: its base, and what the base names.
    fn void_before(&mut self, opening: &Held) {
        let ended = opening.payload().generation.0.checked_sub(1).map(Generation);
        let base = opening.payload().opening().and_then(|opening| opening.base);
        let of_base = |set: &&Held| Some(KeySetId::from(set.id())) == base;
        let base_set = self.sets.iter().find(of_base).cloned();
        let counts = |set: &Held| {
            let id = KeySetId::from(set.id());
            Some(set.payload().generation) != ended
                || Some(id) == base
                || base_set.as_ref().is_some_and(|base| base.payload().names(&id))
        };
        let (sets, voided): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sets).into_iter().partition(counts);
        self.sets = sets;
        self.voided.extend(voided);
    }

    fn standing(&self, key: &NodeKey) -> Option<NodeStanding> {
        let Some(newest) = newest_listing(key, &self.sets) else { return self.voided_standing(key) };
        let entry = newest.payload().node(key)?;
        let state = match agreed_entry(key, &self.tips) {
            Agreement::Listed(entry) => state_of(entry),
            Agreement::Differ => KeyState::Disputed,
            // What was retired or stolen stays so: leaving it out must not make a thief's signatures count again.
            Agreement::Absent if entry.state != NodeState::Active => state_of(entry),
            Agreement::Absent => KeyState::LeftOut { at: left_out_at(key, &self.sets)? },
        };
        let ended_by = if state == KeyState::Active { Vec::new() } else { self.proof() };
        Some(standing_of(newest, entry, state, ended_by))
    }

    /// A key that only voided key sets list: whoever had the root before the rotation may have listed it.
    fn voided_standing(&self, key: &NodeKey) -> Option<NodeStanding> {
        let newest = newest_listing(key, &self.voided)?;
        let entry = newest.payload().node(key)?;
        Some(standing_of(newest, entry, KeyState::RootReplaced, self.proof()))
    }

    /// What shows which keys count: the rotations, then the tips.
    fn proof(&self) -> Vec<DocumentId> {
        let mut ids: Vec<DocumentId> = self.openings.iter().map(|opening| opening.id()).collect();
        ids.extend(self.tips.iter().map(|tip| tip.id()).filter(|id| !ids.contains(id)).collect::<Vec<_>>());
        ids
    }
}

fn standing_of(newest: &Held, entry: &NodeEntry, state: KeyState, ended_by: Vec<DocumentId>) -> NodeStanding {
    NodeStanding {
        member: newest.payload().member.clone(),
        incarnation: newest.payload().incarnation,
        rank: entry.rank,
        state,
        key_set: newest.id().into(),
        ended_by,
    }
}

fn newest_listing<'a>(key: &NodeKey, sets: &'a [Held]) -> Option<&'a Held> {
    let listing = |set: &&Held| set.payload().node(key).is_some();
    let age = |set: &&Held| (set.payload().generation, set.payload().epoch, set.id());
    sets.iter().filter(listing).max_by_key(age)
}

/// The key sets that none of the others names, by ascending id.
fn tips(sets: &[Held]) -> Vec<Held> {
    let named = sets.iter().flat_map(|set| &set.payload().ancestors).collect::<BTreeSet<_>>();
    sets.iter().filter(|set| !named.contains(&KeySetId::from(set.id()))).cloned().collect()
}

enum Agreement<'a> {
    Listed(&'a NodeEntry),
    Differ,
    Absent,
}

/// Whether all tips list the key alike. The headers that they carry over may differ: that is a matter of
/// the chains, and no reason to cut the node off.
fn agreed_entry<'a>(key: &NodeKey, tips: &'a [Held]) -> Agreement<'a> {
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
    let names = |set: &Held, earlier: &Held| {
        // A rotation follows all that it did not void.
        set.payload().generation > earlier.payload().generation || set.payload().names(&earlier.id().into())
    };
    let last =
        sets.iter().filter(lists).filter(|set| !sets.iter().filter(lists).any(|later| names(later, set)));
    let last = last.collect::<Vec<_>>();
    let leaves_out = |set: &&Held| !lists(set) && last.iter().any(|listing| names(set, listing));
    sets.iter().filter(leaves_out).map(|set| set.payload().issued).min()
}
