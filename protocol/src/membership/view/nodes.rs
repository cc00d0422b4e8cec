//! The key sets' part of the view: what each member's key sets say of each node key.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    KeyState, MemberView, Membership,
    line::{Generated, Line},
};
use crate::{
    document::Verified,
    ids::{CharterId, ContentHash, DocumentId, Generation, Incarnation, KeySetId, MemberCode, RootKey},
    membership::{
        LineGeneration, Trust,
        charter::{MemberStatus, root_hash},
        key_set::KeySet,
        trust::CharterHistory,
    },
};

/// Adds every key that a held key set lists, by ascending incarnation, so that the newest one speaks, and the line of
/// the member's present root last.
pub(super) fn add_key_sets(view: &mut Membership, trust: &Trust) {
    let mut lines: BTreeMap<(&MemberCode, bool, Incarnation, RootKey), Vec<Generated>> = BTreeMap::new();
    // Asked for only where versions stand beside a settled one.
    let mut applied = (!view.ignored.is_empty()).then(|| Applied::of(trust, &view.ignored));
    // By ascending generation of each line.
    for (of, mut sets, broken) in trust.generations() {
        if let Some(applied) = &mut applied
            && !applied.keep(of, &mut sets, broken)
        {
            continue;
        }
        let member = view.members.get(&of.member);
        let is_present =
            member.is_some_and(|it| (it.incarnation, it.root) == (of.incarnation, Some(of.root)));
        let line = (&of.member, is_present, of.incarnation, of.root);
        lines.entry(line).or_default().push(Generated { sets, broken });
    }
    for ((code, is_present, incarnation, root), generations) in lines {
        // Which of a broken generation's key sets are held depends on the order in which they came: the
        // view says only that it is broken.
        let line = Line::of(generations);
        let member = view.members.get_mut(code);
        let ended = charter_state(member.as_deref(), incarnation, root);
        if let Some(member) = member.filter(|_| is_present) {
            describe(member, line.as_ref());
        }
        let Some(line) = line else { continue };
        let ended_by = ended.map(|_| charter_proof(view, trust.history(), code, incarnation));
        for (key, mut standing) in line.standings() {
            if let (KeyState::Active, Some(ended)) = (standing.state, ended) {
                standing.state = ended;
                standing.ended_by = ended_by.clone().unwrap_or_default();
            }
            view.nodes.entry(key).or_default().enter(standing);
        }
    }
}

/// What versions that are applied say of lines: key sets of other roots, and rotations to others than the announced next
/// roots, are those of versions that stand beside a settled one.
struct Applied<'a> {
    /// For each member, incarnation and root that such a version lists, the next roots that it announces.
    announced: BTreeMap<(&'a MemberCode, Incarnation, RootKey), BTreeSet<ContentHash>>,
    /// Rotations that nothing applied announces, and those that build on them.
    strange: BTreeSet<KeySetId>,
}

impl<'a> Applied<'a> {
    fn of(trust: &'a Trust, ignored: &BTreeSet<CharterId>) -> Self {
        let mut announced = BTreeMap::<_, BTreeSet<_>>::new();
        for version in trust.charters().filter(|held| !ignored.contains(&held.id().into())) {
            for entry in &version.payload().members {
                announced.entry((&entry.code, entry.incarnation, entry.root)).or_default().insert(entry.next);
            }
        }
        Self { announced, strange: BTreeSet::new() }
    }

    /// Leaves of a generation what counts; whether it may count at all.
    fn keep(&mut self, of: &LineGeneration, sets: &mut Vec<Arc<Verified<KeySet>>>, broken: bool) -> bool {
        let Some(announced) = self.announced.get(&(&of.member, of.incarnation, of.root)) else {
            return false;
        };
        // Which key sets of a broken generation are held depends on the order in which they came.
        if broken || of.generation == Generation(0) {
            return true;
        }
        for set in sets.iter() {
            let payload = set.payload();
            let Some(opening) = payload.opening() else { continue };
            let is_strange = match opening.after {
                None => !announced.contains(&root_hash(&opening.root)),
                Some(after) => self.strange.contains(&after),
            };
            if is_strange {
                self.strange.insert(set.id().into());
            }
        }
        let strange = &self.strange;
        let is_strange = |set: &Arc<Verified<KeySet>>| {
            let named = set.payload().named_opening();
            strange.contains(&set.id().into()) || named.is_some_and(|named| strange.contains(&named))
        };
        sets.retain(|set| !is_strange(set));
        !sets.is_empty()
    }
}

/// What the charter makes of the keys of one line; `None` if it stands behind them.
fn charter_state(member: Option<&MemberView>, incarnation: Incarnation, root: RootKey) -> Option<KeyState> {
    let Some(member) = member else { return Some(KeyState::AwaitingAdmission) };
    match member.status {
        MemberStatus::Suspended => return Some(KeyState::MemberSuspended),
        MemberStatus::Withdrawn => return Some(KeyState::MemberWithdrawn),
        MemberStatus::Active => {}
    }
    if member.root.is_none() {
        Some(KeyState::RootDisputed)
    } else if member.incarnation != incarnation || member.root != Some(root) {
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
    let applied = history.in_order().filter(|held| !view.ignored.contains(&held.id().into()));
    applied.into_iter().find(replaces).map(|held| held.id()).into_iter().collect()
}

fn describe(member: &mut MemberView, line: Option<&Line>) {
    member.broken = line.is_none();
    let Some(line) = line else { return };
    member.epoch = line.tips().map(|tip| tip.payload().epoch).max();
    member.review = line.tips().map(|tip| tip.payload().review).min();
    member.key_sets = line.tips().map(|tip| tip.id().into()).collect();
    if let Some((generation, opening)) = line.last_rotation() {
        member.generation = generation;
        member.rotated_root = Some(opening.root);
        member.next = opening.next;
    }
}
