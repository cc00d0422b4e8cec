//! Power cuts: the device as it stands while three nodes work, looked into copy by copy; now and then the nodes go on
//! from their copies.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    autopsy::Case,
    fleet::Fleet,
    image::{self, Image},
    ledger::Ledger,
    say,
    traffic::Traffic,
    trial::Trial,
    verdict::Verdict,
};

/// Takes so many copies.
pub(crate) async fn run(trial: &Trial<'_>, cuts: u64) -> anyhow::Result<()> {
    let folder = trial.ground.folder("images")?;
    if let Some(why) = image::obstacle(&folder) {
        trial.leave_out("power cut", why);
        return Ok(());
    }
    say(&format!("power cuts, {cuts} copies"));
    let mut scene = trial.scene("cuts", None)?;
    scene.open().await?;
    scene.fleet.stop_all().await?;
    let mut bench = Bench { folder, images: Vec::new(), number: 0, checks: Checks::default() };
    // The last member is away throughout, so that the others keep for it.
    let away = scene.fleet.len() - 1;
    for at in 0..away {
        let member = scene.fleet.at(at)?;
        let file = bench.folder.join(format!("{}.image", member.code()));
        bench.images.push(Image::before(&member.place.folder.join("data"), &file, IMAGE_MEGABYTES)?);
        scene.fleet.start(at)?;
    }
    for at in 0..away {
        scene.fleet.answers(at).await?;
    }
    scene.fleet.meshed(away as u64 - 1, super::trial::SETTLING).await?;
    let mut draw = trial.draw("cuts");
    let traffic = Traffic::start(&scene.fleet, &scene.ledger, &mut draw, PACE);
    let (mut copies, mut moments) = (0, 0_u64);
    while copies < cuts && !trial.is_over() {
        tokio::time::sleep(draw.millis(10, 400)).await;
        moments += 1;
        let goes_on = moments % RESTART_EVERY == 0;
        bench.cut(&mut scene.fleet, &scene.ledger, goes_on).await?;
        copies += away as u64;
        if moments % 20 == 0 {
            say(&format!("  {copies} of {cuts}, {} looked into", bench.checks.done));
        }
    }
    traffic.stop().await;
    let mut verdict = bench.checks.finish().await?;
    scene.fleet.start_all().await?;
    let kept = scene.verdict().await?;
    verdict.lost += kept.lost;
    verdict.doubled += kept.doubled;
    trial.add("power cut", copies, verdict);
    trial.add("power cut, went on", moments / RESTART_EVERY * away as u64, Verdict::default());
    scene.fleet.stop_all().await
}

/// The images and what is done with their copies.
struct Bench {
    folder: PathBuf,
    images: Vec<Image>,
    number: u64,
    checks: Checks,
}

impl Bench {
    /// One moment: all stand still, all are copied.
    async fn cut(&mut self, fleet: &mut Fleet, ledger: &Ledger, goes_on: bool) -> anyhow::Result<()> {
        let book = Arc::new(ledger.read());
        for at in 0..self.images.len() {
            fleet.at(at)?.freeze()?;
        }
        let mut copies = Vec::new();
        for image in &self.images {
            self.number += 1;
            let copy = self.folder.join(format!("copy-{}", self.number));
            image.copy(&copy)?;
            copies.push(copy);
        }
        if goes_on {
            for at in 0..self.images.len() {
                fleet.kill(at).await?;
            }
            for (image, copy) in std::mem::take(&mut self.images).into_iter().zip(&copies) {
                // The copy itself is looked into as well.
                let twin = copy.with_extension("twin");
                super::ground::run(
                    "cp",
                    &["--sparse=auto", super::ground::text(copy)?, super::ground::text(&twin)?],
                )?;
                self.images.push(image.put_back(&twin)?);
            }
            for at in 0..self.images.len() {
                fleet.start(at)?;
            }
            for at in 0..self.images.len() {
                fleet.answers(at).await?;
            }
        } else {
            for at in 0..self.images.len() {
                fleet.at(at)?.thaw()?;
            }
        }
        for (at, copy) in copies.into_iter().enumerate() {
            let member = fleet.at(at)?;
            let case = Case {
                member: member.code().clone(),
                key: member.place.folder.join(refpoint::config::STORAGE_KEY),
                book: Arc::clone(&book),
                ledger: ledger.clone(),
            };
            self.checks.begin(case, copy).await?;
        }
        Ok(())
    }
}

/// Looks into copies beside the nodes, a few at once.
struct Checks {
    turns: Arc<Semaphore>,
    running: JoinSet<anyhow::Result<Vec<String>>>,
    done: u64,
    verdict: Verdict,
}

impl Default for Checks {
    fn default() -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { turns, running: JoinSet::new(), done: 0, verdict: Verdict::default() }
    }
}

impl Checks {
    async fn begin(&mut self, case: Case, copy: PathBuf) -> anyhow::Result<()> {
        let turn = Arc::clone(&self.turns).acquire_owned().await?;
        self.running.spawn_blocking(move || {
            let missing = case.examine(&copy);
            drop(turn);
            missing
        });
        while let Some(found) = self.running.try_join_next() {
            self.count(found??);
        }
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<Verdict> {
        while let Some(found) = self.running.join_next().await {
            self.count(found??);
        }
        Ok(self.verdict)
    }

    fn count(&mut self, missing: Vec<String>) {
        self.done += 1;
        self.verdict.lost += missing.len() as u64;
        for what in missing {
            say(&format!("LOST: {what}"));
        }
    }
}

/// The node itself keeps 256 MiB of a disk free.
const IMAGE_MEGABYTES: u64 = 640;

/// Every so many moments the nodes go on from what is left.
const RESTART_EVERY: u64 = 8;

/// Copies that are looked into at once.
const AT_ONCE: usize = 2;

/// How often each officer writes.
const PACE: Duration = Duration::from_millis(250);
