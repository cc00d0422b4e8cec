//! What a run found: the table for people, and the last line for programs.

use std::collections::BTreeMap;

use super::verdict::Verdict;

/// Faults by kind, and what this machine did not permit.
#[derive(Default)]
pub(crate) struct Report {
    kinds: BTreeMap<&'static str, Counted>,
    left_out: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, Default)]
struct Counted {
    count: u64,
    lost: u64,
    doubled: u64,
}

impl Report {
    /// Adds so many faults of a kind, and what was found after them.
    pub(crate) fn add(&mut self, kind: &'static str, count: u64, verdict: Verdict) {
        let counted = self.kinds.entry(kind).or_default();
        counted.count += count;
        counted.lost += verdict.lost;
        counted.doubled += verdict.doubled;
    }

    /// Says that a kind was left out, and why.
    pub(crate) fn leave_out(&mut self, kind: &'static str, why: String) {
        super::say(&format!("left out: {kind}: {why}"));
        self.left_out.push((kind, why));
    }

    /// Whether nothing was lost or doubled, and anything was tried.
    pub(crate) fn is_clean(&self) -> bool {
        !self.kinds.is_empty() && self.kinds.values().all(|counted| counted.lost + counted.doubled == 0)
    }

    /// Prints the table, then one line of JSON.
    #[expect(clippy::print_stdout, reason = "the table is what this program is for")]
    pub(crate) fn print(&self) {
        println!("{:<24} {:>8} {:>8} {:>8}", "fault", "count", "lost", "doubled");
        for (kind, Counted { count, lost, doubled }) in &self.kinds {
            println!("{kind:<24} {count:>8} {lost:>8} {doubled:>8}");
        }
        for (kind, why) in &self.left_out {
            println!("{kind:<24} left out: {why}");
        }
        let sum = |of: fn(&Counted) -> u64| self.kinds.values().map(of).sum::<u64>();
        let faults: BTreeMap<_, _> =
            self.kinds.iter().map(|(kind, counted)| (*kind, counted.count)).collect();
        let line = serde_json::json!({
            "lost": sum(|counted| counted.lost),
            "doubled": sum(|counted| counted.doubled),
            "faults": faults,
        });
        println!("{line}");
    }
}
