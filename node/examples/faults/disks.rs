//! Full disks, and folders that are put back to what they were.

use std::{path::Path, time::Duration};

use super::{
    ground, image,
    image::Image,
    say,
    traffic::Traffic,
    trial::{Scene, Trial},
};

/// So many rounds of each fault.
pub(crate) async fn run(trial: &Trial<'_>, rounds: u64) -> anyhow::Result<()> {
    restored(trial, rounds).await?;
    let folder = trial.ground.folder("disks")?;
    if let Some(why) = image::obstacle(&folder) {
        trial.leave_out("full disk", why);
        return Ok(());
    }
    full(trial, rounds, &folder).await
}

/// A node goes on from a copy of its folder that is older than what it has said since.
async fn restored(trial: &Trial<'_>, rounds: u64) -> anyhow::Result<()> {
    say("folders put back");
    let mut scene = trial.scene("restored", None)?;
    scene.open().await?;
    let mut draw = trial.draw("restored");
    for _ in 0..rounds {
        if trial.is_over() {
            break;
        }
        busy(&scene, &mut draw, Duration::from_secs(2)).await;
        let victim = draw.below(scene.fleet.len());
        scene.fleet.stop(victim).await?;
        let data = scene.fleet.at(victim)?.place.folder.join("data");
        let copy = data.with_extension("copy");
        copy_folder(&data, &copy)?;
        scene.fleet.start(victim)?;
        scene.fleet.answers(victim).await?;
        let before = scene.ledger.read();
        busy(&scene, &mut draw, Duration::from_secs(3)).await;
        let mut verdict = scene.verdict().await?;
        scene.fleet.kill(victim).await?;
        std::fs::remove_dir_all(&data)?;
        std::fs::rename(&copy, &data)?;
        let code = scene.fleet.at(victim)?.code().clone();
        say(&format!("  {code} is put back by {} messages", scene.ledger.accepted() - before.accepted.len()));
        scene.ledger.write(|book| {
            let since = book.accepted.iter_mut().filter(|(id, _)| !before.accepted.contains_key(id));
            since.filter(|(_, sent)| sent.sender == code).for_each(|(_, sent)| sent.is_forgotten = true);
        });
        scene.fleet.start(victim)?;
        scene.fleet.answers(victim).await?;
        busy(&scene, &mut draw, Duration::from_secs(2)).await;
        let after = scene.verdict().await?;
        verdict.lost += after.lost;
        verdict.doubled += after.doubled;
        for member in scene.fleet.members() {
            let disputed = member.client.status().await?.facts.directory.disputed;
            anyhow::ensure!(disputed == 0, "{} sees a fork after {code} was put back", member.code());
        }
        trial.add("restored folder", 1, verdict);
    }
    scene.fleet.stop_all().await
}

/// A disk without room for much, for anything, and without any.
async fn full(trial: &Trial<'_>, rounds: u64, folder: &Path) -> anyhow::Result<()> {
    say("full disks");
    let mut scene = trial.scene("full", None)?;
    scene.open().await?;
    let victim = 1;
    scene.fleet.stop(victim).await?;
    let data = scene.fleet.at(victim)?.place.folder.join("data");
    let image = Image::before(&data, &folder.join("full.image"), IMAGE_MEGABYTES)?;
    scene.fleet.start_all().await?;
    scene.fleet.meshed(scene.fleet.len() as u64 - 1, super::trial::SETTLING).await?;
    let mut draw = trial.draw("full");
    for _ in 0..rounds {
        for left in [160, 40, 0] {
            if trial.is_over() {
                break;
            }
            let traffic = Traffic::start(&scene.fleet, &scene.ledger, &mut draw, PACE);
            tokio::time::sleep(Duration::from_secs(1)).await;
            image.fill(left)?;
            tokio::time::sleep(Duration::from_secs(4)).await;
            let ended =
                scene.fleet.members_mut().get_mut(victim).is_some_and(|it| it.has_ended().unwrap_or(true));
            image.relieve()?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            traffic.stop().await;
            let refused = scene.ledger.read().refused.len();
            say(&format!("  {left} MB left: {refused} refused so far, the node {}", word(ended)));
            if scene.fleet.members_mut().get_mut(victim).is_some_and(|it| it.has_ended().unwrap_or(true)) {
                if !ended {
                    let log = scene.fleet.at(victim)?.log_tail();
                    say(&format!("  it stopped once there was room again:\n{log}"));
                }
                scene.fleet.kill(victim).await?;
                scene.fleet.start(victim)?;
                scene.fleet.answers(victim).await?;
            }
            let verdict = scene.verdict().await?;
            trial.add("full disk", 1, verdict);
        }
    }
    scene.fleet.stop_all().await
}

const fn word(ended: bool) -> &'static str {
    if ended { "stopped" } else { "went on" }
}

async fn busy(scene: &Scene, draw: &mut super::draw::Draw, time: Duration) {
    let traffic = Traffic::start(&scene.fleet, &scene.ledger, draw, PACE);
    tokio::time::sleep(time).await;
    traffic.stop().await;
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    ground::run("cp", &["-a", ground::text(from)?, ground::text(to)?])
}

/// Room above what the node keeps free.
const IMAGE_MEGABYTES: u64 = 480;

/// How often each officer writes.
const PACE: Duration = Duration::from_millis(200);
