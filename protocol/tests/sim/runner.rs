//! Runs simulations, shows how far they are, and names the seed of one that fails.

use std::{
    num::NonZero,
    panic::AssertUnwindSafe,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{Plan, Sim, Violation, report::Counts};

/// Runs one simulation; a panic of a machine is a violation like any other.
pub(crate) fn run(plan: &Plan) -> (Counts, Option<Violation>) {
    let mut sim = Sim::new(plan.clone());
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| sim.run()));
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "without words".into());
        sim.violation = Some(Violation { invariant: "nothing panics", what });
    }
    let hours = sim.passed() as f64 / 3_600_000.0;
    sim.counts.node_hours = hours * sim.nodes.len() as f64;
    sim.counts.counted_seconds = (hours - 1.0).max(0.0) * 3_600.0 * sim.nodes.len() as f64;
    if let Some(violation) = &mut sim.violation {
        violation.what = format!("after {:.0} s: {}", hours * 3_600.0, violation.what);
    }
    (sim.counts, sim.violation)
}

/// How to run a seed again.
pub(crate) fn again(plan: &Plan) -> String {
    let Plan { seed, members, hours, hostile, faults, at_rest } = plan;
    let faults = if *faults { "" } else { " --no-faults" };
    let rest = if *at_rest { " --at-rest" } else { "" };
    format!(
        "scripts/simulate --seed {seed} --members {members} --hours {hours} --hostile {hostile}{faults}{rest}"
    )
}

/// Simulates and fails with the seeds that break something.
pub(crate) fn check(plans: impl IntoIterator<Item = Plan>) -> Counts {
    let mut counts = Counts::default();
    for plan in plans {
        let (of_one, violation) = run(&plan);
        counts.merge(&of_one);
        if let Some(Violation { invariant, what }) = violation {
            panic!("seed {}: {invariant}: {what}\nrun it again: {}", plan.seed, again(&plan));
        }
    }
    counts
}

/// What `scripts/simulate` asks for, in variables of its own: each seed is a simulation for itself, and as many run at
/// once as there are processors.
pub(crate) fn from_environment() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let members = number("REFPOINT_SIM_MEMBERS").unwrap_or(50) as usize;
    let hours = number("REFPOINT_SIM_HOURS").unwrap_or(6);
    let hostile = number("REFPOINT_SIM_HOSTILE").unwrap_or(10) as usize;
    let seeds = number("REFPOINT_SIM_SEEDS").unwrap_or(10);
    let first = number("REFPOINT_SIM_SEED").unwrap_or(1);
    let faults = number("REFPOINT_SIM_NO_FAULTS").is_none();
    let at_rest = number("REFPOINT_SIM_AT_REST").is_some();
    let until_found = number("REFPOINT_SIM_UNTIL_FOUND").is_some();
    let left = Mutex::new(first..first + seeds);
    let progress = Mutex::new(Progress::default());
    let started = Instant::now();
    // A function, so that the lock is not held while a seed runs.
    let next = || left.lock().unwrap().next();
    let work = || {
        while let Some(seed) = next() {
            let plan = Plan { seed, members, hours, hostile, faults, at_rest };
            let (of_one, violation) = run(&plan);
            let mut progress = progress.lock().unwrap();
            progress.note(&of_one, violation, &plan);
            progress.show(seeds, started.elapsed());
            if until_found && !progress.failed.is_empty() {
                *left.lock().unwrap() = 0..0;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let Progress { counts, failed, .. } = progress.into_inner().unwrap();
    println!("{}", counts.to_json(in_minutes(started.elapsed()), processor_minutes(), failed.len() as u64));
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

/// What came of the seeds so far.
#[derive(Default)]
struct Progress {
    done: u64,
    counts: Counts,
    failed: Vec<u64>,
}

impl Progress {
    fn note(&mut self, of_one: &Counts, violation: Option<Violation>, plan: &Plan) {
        self.done += 1;
        self.counts.merge(of_one);
        if let Some(Violation { invariant, what }) = violation {
            println!("seed {} FAILED: {invariant}: {what}\n    again: {}", plan.seed, again(plan));
            self.failed.push(plan.seed);
        }
    }

    fn show(&self, seeds: u64, elapsed: Duration) {
        let Self { done, counts, failed } = self;
        let a_minute = counts.node_hours / in_minutes(elapsed);
        let (hours, failed) = (counts.node_hours, failed.len());
        println!(
            "{done:>4} of {seeds} seeds, {hours:>9.0} node-hours, {a_minute:>7.0} a minute, {failed} failed"
        );
    }
}

fn in_minutes(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() / 60.0
}

/// Minutes of processor time that this process has had: what a busy machine does not change. Zero where the
/// system does not say.
fn processor_minutes() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0 / 60.0
}

mod tests {
    use super::*;

    #[test]
    fn federations_keep_their_promises_through_faults() {
        let plan =
            |(seed, members)| Plan { seed, members, hours: 2, hostile: 10, faults: true, at_rest: false };
        let counts = check([(1, 5), (2, 8), (3, 12), (4, 20)].map(plan));
        assert!(counts.settled >= 4 && counts.messages > 50 && counts.receipts > 50, "{counts:?}");
    }

    #[test]
    fn what_is_settled_stays_so_whatever_hostile_members_sign() {
        let plan = |seed| Plan { seed, members: 12, hours: 4, hostile: 30, faults: true, at_rest: false };
        let counts = check([11, 13, 14].map(plan));
        for needed in
            ["charter-settled", "certificate-in-repair", "contradicting-heads", "sibling-of-settled"]
        {
            assert!(counts.count(needed) > 0, "{needed}: {counts:?}");
        }
    }

    #[test]
    fn a_seed_replays_exactly() {
        let plan = Plan { seed: 7, members: 6, hours: 1, hostile: 20, faults: true, at_rest: false };
        let once = format!("{:?}", run(&plan));
        assert_eq!(once, format!("{:?}", run(&plan)));
    }

    #[test]
    #[ignore = "scripts/simulate starts it"]
    fn simulate() {
        from_environment();
    }
}
