//! The stewards: they suspend members and take them back, now and then sign two successors of one version, and merge
//! them again.

use std::sync::Arc;

use refpoint_protocol::{
    document::Verified,
    evidence::AnyDocument,
    membership::charter::{Charter, MemberStatus},
};

use super::Sim;

impl Sim {
    /// The stewards change the charter, if they can.
    pub(crate) fn change_charter(&mut self) {
        if self.calm {
            return;
        }
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
        let up = |steward: &usize| self.nodes[self.units[*steward].nodes[0]].is_up();
        let stewards: Vec<usize> = (0..STEWARDS).filter(up).collect();
        if let Some(steward) = self.draw.pick(&stewards) {
            self.import(self.units[steward].nodes[0], AnyDocument::Charter(Arc::clone(&next)));
        }
        next
    }
}

/// The units that are stewards.
const STEWARDS: usize = 3;
