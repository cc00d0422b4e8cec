//! `kill -9` at random moments: while starting, writing, receiving, keeping for others.

use std::time::{Duration, Instant};

use super::{say, traffic::Traffic, trial::Trial};

/// Kills nodes so often, each brought back after a moment or a while.
pub(crate) async fn run(trial: &Trial<'_>, kills: u64) -> anyhow::Result<()> {
    say(&format!("kill -9, {kills} times"));
    let mut scene = trial.scene("kills", None)?;
    scene.open().await?;
    let mut draw = trial.draw("kills");
    let mut done = 0;
    while done < kills && !trial.is_over() {
        let round = (kills - done).min(ROUND);
        let traffic = Traffic::start(&scene.fleet, &scene.ledger, &mut draw, PACE);
        let mut returns: Vec<Option<Instant>> = vec![None; scene.fleet.len()];
        let mut killed = 0;
        while killed < round {
            tokio::time::sleep(draw.millis(5, 250)).await;
            for (at, due) in returns.iter_mut().enumerate() {
                if due.is_some_and(|due| due <= Instant::now()) {
                    scene.fleet.start(at)?;
                    *due = None;
                }
            }
            let victim = draw.below(scene.fleet.len());
            let away = returns.iter().filter(|due| due.is_some()).count();
            if away >= 2 || returns.get(victim).is_none_or(Option::is_some) {
                continue;
            }
            scene.fleet.kill(victim).await?;
            killed += 1;
            // Mostly back at once; now and then away for long enough that others take it into custody.
            let pause = if draw.below(8) == 0 { Duration::from_secs(7) } else { draw.millis(0, 1_500) };
            if let Some(due) = returns.get_mut(victim) {
                *due = Some(Instant::now() + pause);
            }
        }
        traffic.stop().await;
        scene.fleet.start_all().await?;
        done += killed;
        say(&format!("  {done} of {kills}"));
        let verdict = scene.verdict().await?;
        trial.add("kill -9", killed, verdict);
    }
    scene.fleet.stop_all().await
}

/// Kills between two looks at all inboxes.
const ROUND: u64 = 50;

/// How often each officer writes.
const PACE: Duration = Duration::from_millis(150);
