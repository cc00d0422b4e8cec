//! What all trials share: the sample federation, the folder, the seed, the time that is left.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use refpoint::{
    clock::Clock,
    sample::{Draw as Keys, Placement, Sample},
};
use refpoint_protocol::ids::MemberCode;

use super::{
    draw::Draw,
    fleet::Fleet,
    ground::Ground,
    ledger::Ledger,
    report::Report,
    say,
    verdict::{Judge, Verdict},
};

/// One run of the harness.
pub(crate) struct Trial<'a> {
    program: &'a Path,
    pub(crate) ground: &'a Ground,
    seed: u64,
    sample: Sample,
    report: Mutex<Report>,
    end: Instant,
}

/// A fleet with its promises.
pub(crate) struct Scene {
    name: String,
    pub(crate) fleet: Fleet,
    pub(crate) ledger: Ledger,
    pub(crate) judge: Judge,
}

impl<'a> Trial<'a> {
    /// Founds the federation that all trials run with.
    pub(crate) fn new(
        program: &'a Path,
        ground: &'a Ground,
        seed: u64,
        time: Duration,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(program.exists(), "there is no {}: build it first", program.display());
        say(&format!("seed {seed}; founding a federation of 196 members, four of which run"));
        let mut keys = Keys::Seeded { seed, drawn: 0 };
        let sample = Sample::found(&mut keys, &codes()?, Clock::start(0).now(), || {})?;
        let report = Mutex::new(Report::default());
        Ok(Self { program, ground, seed, sample, report, end: Instant::now() + time })
    }

    /// Whether the time that was given is over.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() > self.end
    }

    /// What is drawn for a purpose.
    pub(crate) fn draw(&self, purpose: &str) -> Draw {
        Draw::new(self.seed, purpose)
    }

    /// Folders of four members at places of the caller's choice, or on free ports of loopback.
    pub(crate) fn scene(
        &self,
        name: &str,
        places: Option<Vec<(SocketAddr, SocketAddr)>>,
    ) -> anyhow::Result<Scene> {
        let folder = self.ground.folder("")?.join(name);
        let codes = codes()?;
        let places = match places {
            None => self.sample.write_folders(&folder, &codes, || {})?,
            Some(places) => {
                let placed = codes.into_iter().zip(places);
                let placements: Vec<Placement> = placed
                    .map(|(member, (listen, announce))| Placement { member, listen, announce })
                    .collect();
                self.sample.write_folders_at(&folder, &placements, || {})?
            }
        };
        Ok(Scene {
            name: name.to_owned(),
            fleet: Fleet::new(self.program, places),
            ledger: Ledger::default(),
            judge: Judge::default(),
        })
    }

    /// Writes down what was found.
    pub(crate) fn add(&self, kind: &'static str, count: u64, verdict: Verdict) {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).add(kind, count, verdict);
    }

    /// Writes down what this machine does not permit.
    pub(crate) fn leave_out(&self, kind: &'static str, why: impl std::fmt::Display) {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).leave_out(kind, why.to_string());
    }

    /// The end of the run.
    pub(crate) fn into_report(self) -> Report {
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scene {
    /// Starts all, and waits until each can write to each.
    pub(crate) async fn open(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.fleet.start_all().await?;
        self.fleet.meshed(self.fleet.len() as u64 - 1, SETTLING).await?;
        let meshed = begun.elapsed().as_secs_f64();
        self.fleet.published(SETTLING).await?;
        let published = begun.elapsed().as_secs_f64();
        say(&format!(
            "{}: all connected after {meshed:.1} s, all published after {published:.1} s",
            self.name
        ));
        Ok(())
    }

    /// Looks whether all promises were kept.
    pub(crate) async fn verdict(&mut self) -> anyhow::Result<Verdict> {
        let verdict = self.judge.verdict(&self.fleet, &self.ledger, SETTLING).await?;
        say(&format!(
            "  of {} messages {} lost, {} doubled",
            self.ledger.accepted(),
            verdict.lost,
            verdict.doubled
        ));
        Ok(verdict)
    }
}

/// The members that run.
fn codes() -> anyhow::Result<Vec<MemberCode>> {
    Ok(["BR", "FR", "KE", "SG"].into_iter().map(str::parse).collect::<Result<_, _>>()?)
}

/// How long what was interrupted may take to arrive: past the longest pause of retries and dials.
pub(crate) const SETTLING: Duration = Duration::from_secs(330);
