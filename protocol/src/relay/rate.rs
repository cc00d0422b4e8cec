//! How often one member may have something done: a burst, then a steady rate.

use std::{collections::BTreeMap, time::Duration};

use super::parcel::Class;
use crate::{ids::MemberCode, limits::MEMBERS_MAX, time::Timestamp};

/// The allowance of every member, of normal and of urgent parcels: who floods with the one has the other still.
#[derive(Default)]
pub(super) struct ClassRates {
    normal: Rates,
    urgent: Rates,
}

impl ClassRates {
    /// The allowance of a class.
    pub(super) const fn of(&mut self, class: Class) -> &mut Rates {
        match class {
            Class::Normal => &mut self.normal,
            Class::Urgent => &mut self.urgent,
        }
    }
}

/// The allowance of every member.
#[derive(Default)]
pub(super) struct Rates {
    members: BTreeMap<MemberCode, Allowance>,
}

struct Allowance {
    /// Below nothing, what is owed.
    left: i64,
    /// Since when the next one is earned.
    since: Timestamp,
}

impl Rates {
    /// Whether anything is left of the member's allowance, which so much uses up: at most a burst, one more earned in
    /// each interval. What costs more than is left is owed, so that large things wait no longer than small ones.
    pub(super) fn allow(
        &mut self,
        member: &MemberCode,
        cost: u32,
        (burst, interval): (u32, Duration),
        now: Timestamp,
    ) -> bool {
        if !self.members.contains_key(member) && self.members.len() >= MEMBERS_MAX {
            // Whoever has been silent longest has its full burst again soonest.
            let silent = self.members.iter().min_by_key(|(_, it)| it.since).map(|(member, _)| member.clone());
            silent.and_then(|member| self.members.remove(&member));
        }
        let full = Allowance { left: burst.into(), since: now };
        let allowance = self.members.entry(member.clone()).or_insert(full);
        let earned = now.since(allowance.since).as_millis() / interval.as_millis().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        let left = allowance.left.saturating_add(earned.into());
        if left >= burst.into() {
            *allowance = Allowance { left: burst.into(), since: now };
        } else {
            *allowance = Allowance { left, since: allowance.since.after(interval.saturating_mul(earned)) };
        }
        let allowed = allowance.left > 0;
        if allowed {
            allowance.left = allowance.left.saturating_sub(cost.into());
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_burst_is_allowed_then_a_steady_rate_and_each_member_has_its_own() {
        let mut rates = Rates::default();
        let (br, fr) = ("BR".parse().unwrap(), "FR".parse().unwrap());
        let mut taken = |member: &MemberCode, millis: u64, asked: usize| {
            let now = Timestamp::from_millis(1_000 + millis);
            (0..asked).filter(|_| rates.allow(member, 1, (10, Duration::from_millis(20)), now)).count()
        };
        assert_eq!(taken(&br, 0, 50), 10);
        assert_eq!(taken(&br, 19, 50), 0);
        assert_eq!(taken(&br, 50, 50), 2);
        assert_eq!(taken(&br, 60, 50), 1, "what was earned in part is not lost");
        assert_eq!(taken(&fr, 60, 50), 10);
        assert_eq!(taken(&br, 10_000, 50), 10);
    }

    #[test]
    fn what_is_large_is_owed_for() {
        let mut rates = Rates::default();
        let br = "BR".parse().unwrap();
        let mut allowed = |seconds: u64, cost| {
            let now = Timestamp::from_millis(1_000 * seconds);
            rates.allow(&br, cost, (10, Duration::from_secs(1)), now)
        };
        assert!(allowed(0, 9) && allowed(0, 30));
        assert!(!allowed(29, 1), "29 are owed");
        assert!(allowed(30, 1));
    }
}
