//! The stewards: they suspend members and take them back, now and then sign two successors of one version, and merge
//! them again.

use std::{collections::BTreeSet, sync::Arc};

use refpoint_protocol::{
    document::Verified,
    evidence::AnyDocument,
    ids::CharterId,
    membership::charter::{Charter, MemberStatus},
};

use super::Sim;

impl Sim {
    /// The stewards change the charter, if they can.
    pub(crate) fn change_charter(&mut self) {
        if self.calm {
            return;
        }
        self.follow_settlements();
        if self.tips.len() > 1 {
            return self.merge_charters();
        }
        let out: Vec<usize> = (0..self.units.len()).filter(|unit| self.units[*unit].suspended).collect();
        let many = out.len() * 8 >= self.units.len();
        if many || (self.draw.chance(1, 2) && !out.is_empty()) {
            let back = self.draw.pick(&out).unwrap();
            self.units[back].suspended = false;
            self.counts.add("member-back");
            let next = self.version(&[]);
            self.tips = vec![next];
            return;
        }
        let sound = |unit: usize| unit >= STEWARDS && self.nodes[self.units[unit].nodes[0]].is_honest();
        let mut candidates: Vec<usize> =
            (0..self.units.len()).filter(|unit| sound(*unit) && !self.units[*unit].suspended).collect();
        if candidates.len() <= STEWARDS {
            return;
        }
        let one = candidates.swap_remove(self.draw.below(candidates.len()));
        let other = candidates.swap_remove(self.draw.below(candidates.len()));
        if self.draw.chance(1, 2) {
            self.units[one].suspended = true;
            self.counts.add("member-suspended");
            let next = self.version(&[]);
            self.tips = vec![next];
        } else {
            // Two versions, each of which suspends another member: of both together, both count.
            self.counts.add("charter-forked");
            (self.units[one].suspended, self.units[other].suspended) = (true, true);
            let first = self.version(&[other]);
            let second = self.version(&[one]);
            self.tips = vec![first, second];
        }
    }

    /// What the stewards look at before they sign: versions beside one that is settled for some honest node do not
    /// count, so they build on none of those, and whoever those suspend or take back is not.
    pub(crate) fn follow_settlements(&mut self) {
        let settled = self.nodes.iter().filter(|node| node.is_honest()).filter_map(|node| {
            let settled = node.machine.as_ref()?.evidence().membership().settled()?;
            Some((self.version_of(settled)?.payload().version, settled))
        });
        let Some((_, settled)) = settled.max() else { return };
        let counts = |held: &&Arc<Verified<Charter>>| {
            let id = held.id().into();
            self.follows(settled, id) || !self.avoids(id, settled)
        };
        let counting: Vec<_> = self.charters.iter().filter(counts).cloned().collect();
        let named = |id| counting.iter().any(|it| it.payload().parents.contains(&id));
        let tips: Vec<_> = counting.iter().filter(|it| !named(it.id().into())).cloned().collect();
        let is_common = |of: &Arc<Verified<Charter>>| {
            tips.iter().all(|tip| self.follows(tip.id().into(), of.id().into()))
        };
        let (common, parted): (Vec<_>, Vec<_>) = counting.iter().partition(|it| is_common(it));
        let latest = common.into_iter().max_by_key(|it| it.payload().version);
        let mut out = BTreeSet::new();
        for entry in latest.into_iter().chain(parted).flat_map(|it| &it.payload().members) {
            if entry.status != MemberStatus::Active {
                out.insert(entry.code.clone());
            }
        }
        if tips != self.tips {
            self.counts.add("charter-version-left-aside");
        }
        for unit in &mut self.units {
            unit.suspended = out.contains(&unit.code);
        }
        self.tips = tips;
    }

    /// A version that somebody signed.
    pub(crate) fn version_of(&self, id: CharterId) -> Option<&Arc<Verified<Charter>>> {
        self.charters.iter().chain(&self.ledger.siblings).find(|it| CharterId::from(it.id()) == id)
    }

    fn parents_of(&self, id: CharterId) -> &[CharterId] {
        self.version_of(id).map_or(&[], |it| it.payload().parents.as_slice())
    }

    /// Whether a version is another, or builds on it.
    pub(crate) fn follows(&self, id: CharterId, of: CharterId) -> bool {
        id == of || self.parents_of(id).iter().any(|parent| self.follows(*parent, of))
    }

    /// Whether a version has a line of descent without another.
    fn avoids(&self, id: CharterId, other: CharterId) -> bool {
        let parents = self.parents_of(id);
        id != other && (parents.is_empty() || parents.iter().any(|parent| self.avoids(*parent, other)))
    }

    /// The stewards sign one version that follows all tips.
    pub(crate) fn merge_charters(&mut self) {
        self.counts.add("charter-merged");
        let next = self.version(&[]);
        self.tips = vec![next];
    }

    /// A version after all tips that says who is suspended, but for some whom it passes over, in the hands of one of
    /// the stewards.
    fn version(&mut self, passed_over: &[usize]) -> Arc<Verified<Charter>> {
        let suspended = |unit: usize| self.units[unit].suspended && !passed_over.contains(&unit);
        let out: Vec<_> = (0..self.units.len()).filter(|unit| suspended(*unit)).collect();
        let out: Vec<_> = out.into_iter().map(|unit| self.units[unit].code.clone()).collect();
        let change = |charter: &mut Charter| {
            for entry in &mut charter.members {
                let is_out = out.contains(&entry.code);
                entry.status = if is_out { MemberStatus::Suspended } else { MemberStatus::Active };
            }
        };
        let roots: Vec<_> = (0..STEWARDS).map(|steward| self.founded.units[steward].root.clone()).collect();
        let tips: Vec<_> = self.tips.iter().collect();
        let next = self.founded.successor(&tips, change, &roots.iter().collect::<Vec<_>>());
        self.say(|| format!("a charter version without {out:?}"));
        self.charters.push(Arc::clone(&next));
        self.ledger.made.insert(next.id().into(), self.now);
        let up = |steward: &usize| self.nodes[self.units[*steward].nodes[0]].is_up();
        let stewards: Vec<usize> = (0..STEWARDS).filter(up).collect();
        if let Some(steward) = self.draw.pick(&stewards) {
            self.import(self.units[steward].nodes[0], AnyDocument::Charter(Arc::clone(&next)));
        }
        next
    }
}

/// The units that are stewards.
pub(crate) const STEWARDS: usize = 3;
