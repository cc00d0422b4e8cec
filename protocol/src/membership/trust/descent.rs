//! Whether a generation's key sets can be explained by one owner who made few mistakes.
//!
//! Every test here looks at the given documents alone: what breaks a generation is broken for everyone
//! who holds the same documents, in whatever order they came, and stays so whatever comes later.

use std::sync::Arc;

use crate::{
    document::Verified,
    ids::KeySetId,
    limits::{KEY_SET_TIPS_MAX, KEY_SET_UNRELATED_MAX},
    membership::key_set::KeySet,
};

/// Whether a further key set breaks a generation that was not broken:
/// - it names one, or is named by one, whose own list or epoch contradicts that; or
/// - it is one of more than [`KEY_SET_TIPS_MAX`] of which none names another; or
/// - more than [`KEY_SET_UNRELATED_MAX`] stand beside one of them, neither naming the other.
pub(super) fn breaks(held: &[Arc<Verified<KeySet>>], new: &Arc<Verified<KeySet>>) -> bool {
    if held.iter().any(|old| contradicts(old, new) || contradicts(new, old)) {
        return true;
    }
    let beside = held.iter().filter(|old| is_beside(old, new)).collect::<Vec<_>>();
    if beside.len() < KEY_SET_TIPS_MAX {
        return false;
    }
    let crowded = |one: &Arc<Verified<KeySet>>| {
        // The new one stands beside it too.
        held.iter().filter(|other| is_beside(one, other)).count() + 1 > KEY_SET_UNRELATED_MAX
    };
    if beside.len() > KEY_SET_UNRELATED_MAX || beside.iter().any(|one| crowded(one)) {
        return true;
    }
    largest_antichain(&beside) >= KEY_SET_TIPS_MAX
}

/// `later` names `earlier`, and not all that `earlier` names, or with an epoch that is not higher.
fn contradicts(earlier: &Verified<KeySet>, later: &Verified<KeySet>) -> bool {
    let (before, after) = (earlier.payload(), later.payload());
    let complete = || before.ancestors.iter().all(|ancestor| after.names(ancestor));
    after.names(&earlier.id().into()) && (before.epoch >= after.epoch || !complete())
}

fn is_beside(one: &Verified<KeySet>, other: &Verified<KeySet>) -> bool {
    let names = |a: &Verified<KeySet>, b: &Verified<KeySet>| a.payload().names(&KeySetId::from(b.id()));
    one.id() != other.id() && !names(one, other) && !names(other, one)
}

/// The size of the largest group of which none names another. Without contradictions naming is a partial
/// order, so by Dilworth's theorem that is the least number of lines that cover all: their number less
/// the size of a largest matching between each set and one that it names.
fn largest_antichain(sets: &[&Arc<Verified<KeySet>>]) -> usize {
    let named = |set: &Arc<Verified<KeySet>>| {
        let is_named =
            |(_, other): &(usize, &&Arc<Verified<KeySet>>)| set.payload().names(&other.id().into());
        sets.iter().enumerate().filter(is_named).map(|(index, _)| index).collect::<Vec<_>>()
    };
    let edges = sets.iter().map(|set| named(set)).collect::<Vec<_>>();
    let mut matched = vec![None; sets.len()];
    let count = (0..sets.len())
        .filter(|from| augment(*from, &edges, &mut matched, &mut vec![false; sets.len()]))
        .count();
    sets.len() - count
}

/// Finds an augmenting path (Kuhn); its depth is bounded by [`KEY_SET_UNRELATED_MAX`].
fn augment(from: usize, edges: &[Vec<usize>], matched: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for &to in edges.get(from).into_iter().flatten() {
        match seen.get_mut(to) {
            Some(visited) if !*visited => *visited = true,
            _ => continue,
        }
        let holder = matched.get(to).copied().flatten();
        if holder.is_none_or(|holder| augment(holder, edges, matched, seen)) {
            if let Some(slot) = matched.get_mut(to) {
                *slot = Some(from);
            }
            return true;
        }
    }
    false
}
