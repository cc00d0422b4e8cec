//! The charter's part of the view: one tip as it stands, several folded so that nobody picks a winner.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{MemberView, Membership};
use crate::{
    document::Verified,
    ids::{CharterId, CharterVersion, ContentHash, Generation, Incarnation, MemberCode, RootKey},
    membership::{
        Trust,
        charter::{Charter, MemberEntry, MemberStatus},
        trust::CharterHistory,
    },
};

/// The view without key sets.
///
/// Of several tips, with L the latest common ancestor: L's members, each with the worst status of L and of
/// every version after it, and without a root where the tips differ about it; L's stewards.
pub(super) fn charter_view(trust: &Trust) -> Membership {
    let history = trust.history();
    let mut view = Membership {
        federation: trust.federation(),
        version: CharterVersion(0),
        base: None,
        tips: Vec::new(),
        settled: None,
        contradicting: Vec::new(),
        ignored: BTreeSet::new(),
        stewards: Vec::new(),
        threshold: 0,
        members: BTreeMap::new(),
        nodes: BTreeMap::new(),
        active: BTreeMap::new(),
    };
    apply_settlements(&mut view, trust);
    let Some(split) = history.base(&view.tips) else { return view };
    let Some(base) = history.get(&split.version) else { return view };
    let tips = view.tips.iter().filter_map(|id| history.get(id)).collect::<Vec<_>>();
    let after = split.after.iter().filter_map(|id| history.get(id)).collect::<Vec<_>>();
    view.version = tips.iter().map(|tip| tip.payload().version).max().unwrap_or_default();
    view.base = Some(split.version);
    view.stewards.clone_from(&base.payload().stewards);
    view.threshold = base.payload().threshold;
    for entry in &base.payload().members {
        view.members.insert(entry.code.clone(), fold_member(entry, &tips, &after));
    }
    for member in view.members.values_mut().filter(|member| !member.is_active()) {
        member.ended_by = versions_that_ended(history, &view.ignored, &member.code, &after);
    }
    view
}

/// Sets apart what stands beside the settled version: whatever has a line of descent that avoids it, so that not even
/// a merge brings in again what was never applied.
fn apply_settlements(view: &mut Membership, trust: &Trust) {
    let history = trust.history();
    let Some(settled) = trust.settled() else { return };
    let mut applied = history.followers(settled.version);
    let parents = |id: &CharterId| history.get(id).map_or(&[][..], |held| &held.payload().parents);
    let named = applied.iter().flat_map(parents).copied().collect::<BTreeSet<_>>();
    view.tips = applied.difference(&named).copied().collect();
    applied.extend(history.closure(&[settled.version]));
    let all = history.in_order().map(|held| CharterId::from(held.id()));
    view.ignored = all.filter(|id| !applied.contains(id)).collect();
    view.settled = Some(settled.version);
    view.contradicting = settled.contradicting;
}

fn fold_member(
    base: &MemberEntry,
    tips: &[&Arc<Verified<Charter>>],
    after: &[&Arc<Verified<Charter>>],
) -> MemberView {
    let code = &base.code;
    let status = after.iter().filter_map(|version| version.payload().member(code)).map(|entry| entry.status);
    let (incarnation, root, next) = agreed_root(base, tips);
    MemberView {
        code: code.clone(),
        kind: base.kind,
        group: base.group,
        status: status.fold(base.status, MemberStatus::max),
        ended_by: Vec::new(),
        incarnation,
        root,
        next,
        rotated_root: None,
        generation: Generation(0),
        key_sets: Vec::new(),
        epoch: None,
        review: None,
        broken: false,
    }
}

/// The root that all tips list, `None` where they differ; then the incarnation is the base's.
fn agreed_root(
    base: &MemberEntry,
    tips: &[&Arc<Verified<Charter>>],
) -> (Incarnation, Option<RootKey>, ContentHash) {
    let mut listed = tips.iter().map(|tip| tip.payload().member(&base.code));
    let first = listed.next().flatten().unwrap_or(base);
    let agreed =
        listed.all(|entry| entry.is_some_and(|e| e.root == first.root && e.incarnation == first.incarnation));
    if agreed {
        (first.incarnation, Some(first.root), first.next)
    } else {
        (base.incarnation, None, base.next)
    }
}

/// The versions in which an inactive member's present status begins: those after the base where tips part,
/// else the last one that the member was active before.
fn versions_that_ended(
    history: &CharterHistory,
    ignored: &BTreeSet<CharterId>,
    code: &MemberCode,
    after: &[&Arc<Verified<Charter>>],
) -> Vec<CharterId> {
    let status = |charter: &Charter| charter.member(code).map(|entry| entry.status);
    let ends = |document: &&Arc<Verified<Charter>>| {
        let charter = document.payload();
        let was_active = |parent: &CharterId| {
            history.get(parent).and_then(|held| status(held.payload())) == Some(MemberStatus::Active)
        };
        status(charter).is_some_and(|status| status != MemberStatus::Active)
            && charter.parents.iter().any(was_active)
    };
    let recent = after.iter().copied().filter(ends).map(|held| held.id().into()).collect::<Vec<_>>();
    if recent.is_empty() {
        let applied = history.in_order().filter(|held| !ignored.contains(&held.id().into()));
        let last = applied.filter(ends).last();
        return last.map(|held| held.id().into()).into_iter().collect();
    }
    recent
}
