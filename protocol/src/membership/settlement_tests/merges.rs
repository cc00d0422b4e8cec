//! Settlements about a fork that was merged: in whatever order they come out, they say one thing.

use super::*;

/// Version 2 and another beside it, their merge, what follows that, and what follows one side beside it.
struct Merged {
    federation: Federation,
    side: Version,
    other: Version,
    merge: Version,
    after: Version,
    beside: Version,
}

impl Merged {
    fn new() -> Self {
        let World { federation, .. } = World::new();
        let grouped =
            |parent: &Version, group| amend(&federation, parent, |charter| charter.members[5].group = group);
        let side = grouped(&federation.founding, WorkingGroup::Mena);
        let other = grouped(&federation.founding, WorkingGroup::Africa);
        let roots = ["BR", "FR"].map(|code| &federation.unit(code).root);
        let merge = federation.successor(&[&side, &other], |_| {}, &roots);
        let after = grouped(&merge, WorkingGroup::Africa);
        let beside = grouped(&side, WorkingGroup::Africa);
        Self { federation, side, other, merge, after, beside }
    }

    /// What is settled, and what contradicts, by certificates that come in this order.
    fn view(&self, certificates: &[Arc<Certificate>]) -> (Option<CharterId>, Vec<CharterId>, Trust) {
        let mut trust = self.federation.trust();
        for version in [&self.side, &self.other, &self.merge, &self.after, &self.beside] {
            trust.accept_charter(Arc::clone(version)).unwrap();
        }
        for certificate in certificates {
            trust.accept_settlement(Arc::clone(certificate)).unwrap();
        }
        let view = trust.membership();
        (view.settled(), view.contradicting().to_vec(), trust)
    }
}

/// Every order of every choice of them.
fn arrangements<T: Clone>(of: &[T]) -> Vec<Vec<T>> {
    let mut all = vec![Vec::new()];
    for (index, first) in of.iter().enumerate() {
        let rest = [&of[..index], &of[index + 1..]].concat();
        all.extend(arrangements(&rest).into_iter().map(|rest| [vec![first.clone()], rest].concat()));
    }
    all
}

#[test]
fn a_certificate_of_one_side_of_a_merged_fork_that_comes_late_unsettles_nothing() {
    let world = World::new();
    let merged = Merged::new();
    let [side, other, merge, after] = [&merged.side, &merged.other, &merged.merge, &merged.after];
    let certificates = [side, other, merge, after].map(|version| world.settles(version));
    for certificates in arrangements(&certificates) {
        let settled = certificates.iter().map(|held| held.span().charter).collect::<BTreeSet<_>>();
        let is_settled = |version: &Version| settled.contains(&version.id().into());
        let (version, contradicting, _) = merged.view(&certificates);
        let newest = [after, merge].into_iter().find(|version| is_settled(version));
        let expected = match newest {
            Some(newest) => (newest, 0),
            None if is_settled(side) && is_settled(other) => (&merged.federation.founding, 2),
            None => (
                [side, other].into_iter().find(|it| is_settled(it)).unwrap_or(&merged.federation.founding),
                0,
            ),
        };
        assert_eq!((version, contradicting.len()), (Some(expected.0.id().into()), expected.1));
    }
}

/// What stays open: the members sign for the merge, learn that one side of it was settled before, and go on from that.
#[test]
fn a_merge_and_what_follows_one_side_of_it_contradict_each_other_in_every_order() {
    let world = World::new();
    let merged = Merged::new();
    let certificates = [&merged.side, &merged.merge, &merged.beside].map(|version| world.settles(version));
    for certificates in arrangements(&certificates) {
        let settled = certificates.iter().map(|held| held.span().charter).collect::<BTreeSet<_>>();
        let both = [&merged.merge, &merged.beside].map(|version| CharterId::from(version.id()));
        let contradict = both.iter().all(|version| settled.contains(version));
        let (version, contradicting, trust) = merged.view(&certificates);
        assert_eq!(
            contradicting.iter().copied().collect::<BTreeSet<_>>() == BTreeSet::from(both),
            contradict
        );
        if contradict {
            assert_eq!(version, Some(merged.federation.founding.id().into()));
            assert_eq!(trust.counted_for_several().len(), 5, "they did as they should, and are named");
        }
    }
}
