//! The rules by which one charter version follows others.

use std::{collections::BTreeSet, sync::Arc};

use super::history::CharterHistory;
use crate::{
    document::Verified,
    ids::{CharterId, Incarnation, MemberCode},
    membership::{
        TrustError,
        charter::{Charter, MemberEntry, MemberStatus},
    },
};

/// Checks a version whose parents are all held.
pub(super) fn check(history: &CharterHistory, document: &Verified<Charter>) -> Result<(), TrustError> {
    let charter = document.payload();
    if charter.parents.is_empty() {
        if document.id() != history.federation().into() {
            return Err(TrustError::OtherFederation(document.id()));
        }
        return check_new_roots(history, document);
    }
    check_draft(history, charter)?;
    check_new_roots(history, document)?;
    check_stewards(history, document)
}

/// Checks all that does not depend on signatures of a version whose parents, one at least, are all held.
pub(in crate::membership) fn check_draft(
    history: &CharterHistory,
    charter: &Charter,
) -> Result<(), TrustError> {
    let parents = charter.parents.iter().filter_map(|id| history.get(id)).collect::<Vec<_>>();
    let highest = parents.iter().map(|parent| parent.payload().version).max().unwrap_or_default();
    let expected = highest.next().unwrap_or(highest);
    if charter.version != expected || expected == highest {
        return Err(TrustError::Version { expected, got: charter.version });
    }
    check_parents_part(history, charter, &parents)?;
    check_members(charter, &parents)?;
    check_root_owners(history, charter)
}

/// The stewards who signed two successors of one version.
pub(super) fn double_signers(history: &CharterHistory) -> BTreeSet<MemberCode> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for document in history.in_order() {
        for parent in &document.payload().parents {
            let Some(held) = history.get(parent) else { continue };
            for steward in signing_stewards(held.payload(), document) {
                if !seen.insert((*parent, steward.code.clone())) {
                    twice.insert(steward.code.clone());
                }
            }
        }
    }
    twice
}

/// The stewards, of the version where its parents part, who signed a version.
pub(super) fn stewards_who_signed(history: &CharterHistory, id: &CharterId) -> BTreeSet<MemberCode> {
    let Some(document) = history.get(id) else { return BTreeSet::new() };
    let base = history.before(id).and_then(|base| history.get(&base));
    let base = base.unwrap_or(document);
    signing_stewards(base.payload(), document).map(|steward| steward.code.clone()).collect()
}

/// No parent descends from another: otherwise "all tips" and "the latest common ancestor" say nothing.
fn check_parents_part(
    history: &CharterHistory,
    charter: &Charter,
    parents: &[&Arc<Verified<Charter>>],
) -> Result<(), TrustError> {
    let grandparents =
        parents.iter().flat_map(|parent| &parent.payload().parents).copied().collect::<Vec<_>>();
    if parents.len() < 2 {
        return Ok(());
    }
    let ancestors = history.closure(&grandparents);
    match charter.parents.iter().find(|parent| ancestors.contains(parent)) {
        Some(redundant) => Err(TrustError::RedundantParent(*redundant)),
        None => Ok(()),
    }
}

/// Members stay listed, and incarnations follow from what the parents list.
fn check_members(charter: &Charter, parents: &[&Arc<Verified<Charter>>]) -> Result<(), TrustError> {
    for parent in parents {
        for entry in &parent.payload().members {
            if charter.member(&entry.code).is_none() {
                return Err(TrustError::MemberVanished(entry.code.clone()));
            }
        }
    }
    for entry in &charter.members {
        let before =
            parents.iter().filter_map(|parent| parent.payload().member(&entry.code)).collect::<Vec<_>>();
        if before.is_empty() {
            if !entry.is_first_listing() {
                return Err(TrustError::FirstListing(entry.code.clone()));
            }
            continue;
        }
        let expected = expected_incarnation(entry, &before);
        if entry.incarnation != expected {
            return Err(TrustError::Incarnation {
                member: entry.code.clone(),
                expected,
                got: entry.incarnation,
            });
        }
    }
    Ok(())
}

/// The highest incarnation that a parent lists, if it stays as it was; one more for another root, for a
/// readmission, and where the parents list that incarnation with different roots.
pub(in crate::membership) fn expected_incarnation(
    entry: &MemberEntry,
    before: &[&MemberEntry],
) -> Incarnation {
    let highest = before.iter().map(|earlier| earlier.incarnation).max().unwrap_or_default();
    let same_root =
        before.iter().filter(|earlier| earlier.incarnation == highest).all(|e| e.root == entry.root);
    let readmitted = entry.status != MemberStatus::Withdrawn
        && before.iter().any(|earlier| earlier.status == MemberStatus::Withdrawn);
    if same_root && !readmitted { highest } else { highest.next().unwrap_or(highest) }
}

/// No root was another member's.
fn check_root_owners(history: &CharterHistory, charter: &Charter) -> Result<(), TrustError> {
    for entry in &charter.members {
        if let Some(other) = history.root_owner(&charter.parents, &entry.root)
            && *other != entry.code
        {
            return Err(TrustError::RootOfAnother { member: entry.code.clone(), other: other.clone() });
        }
    }
    Ok(())
}

/// The entries whose roots no ancestor lists. In version 1 that is all.
pub(in crate::membership) fn new_roots<'a>(
    history: &CharterHistory,
    charter: &'a Charter,
) -> impl Iterator<Item = &'a MemberEntry> {
    charter.members.iter().filter(|entry| history.root_owner(&charter.parents, &entry.root).is_none())
}

/// Each root that no ancestor lists signs.
fn check_new_roots(history: &CharterHistory, document: &Verified<Charter>) -> Result<(), TrustError> {
    let silent = |entry: &&MemberEntry| !document.signers().contains(entry.root.as_bytes());
    match new_roots(history, document.payload()).find(silent) {
        Some(entry) => Err(TrustError::RootSilent(entry.code.clone())),
        None => Ok(()),
    }
}

/// Enough stewards of the version where the parents part, and of its own where they change.
fn check_stewards(history: &CharterHistory, document: &Verified<Charter>) -> Result<(), TrustError> {
    let charter = document.payload();
    let base = history.base(&charter.parents).and_then(|base| history.get(&base.version));
    // Every parent is held and descends from version 1, so there is a base; without one nobody may sign.
    let Some(base) = base.map(|held| held.payload()) else {
        return Err(TrustError::StewardSignatures { needed: charter.threshold, got: 0 });
    };
    let got = signing_stewards(base, document).count() as u64;
    if got < base.threshold {
        return Err(TrustError::StewardSignatures { needed: base.threshold, got });
    }
    if stewardship_changes(base, charter) {
        let got = signing_stewards(charter, document).count() as u64;
        if got < charter.threshold {
            return Err(TrustError::OwnSignatures { needed: charter.threshold, got });
        }
    }
    Ok(())
}

/// The stewards of `charter`, by the roots that it lists, who signed the document.
fn signing_stewards<'a>(
    charter: &'a Charter,
    document: &'a Verified<Charter>,
) -> impl Iterator<Item = &'a MemberEntry> {
    charter.steward_entries().filter(|steward| document.signers().contains(steward.root.as_bytes()))
}

/// Whether stewards, their keys or the threshold differ.
pub(in crate::membership) fn stewardship_changes(before: &Charter, after: &Charter) -> bool {
    let keys = |charter: &Charter| charter.steward_entries().map(|entry| entry.root).collect::<Vec<_>>();
    before.threshold != after.threshold || before.stewards != after.stewards || keys(before) != keys(after)
}
