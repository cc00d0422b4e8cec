//! Wall clocks that are set while nodes run, and clocks that are wrong when they start.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{ground, say, traffic::Traffic, trial::Trial};

/// So many rounds of each step.
pub(crate) async fn run(trial: &Trial<'_>, rounds: u64) -> anyhow::Result<()> {
    let folder = trial.ground.folder("clocks")?;
    let library = match build(&folder) {
        Ok(library) => library,
        Err(why) => {
            trial.leave_out("clock step", why);
            return Ok(());
        }
    };
    say("clock steps");
    let mut scene = trial.scene("clocks-nodes", None)?;
    let mut shifts = Vec::new();
    for member in scene.fleet.members_mut() {
        let path = folder.join(member.code().as_str());
        let shift = Shift::at(&path)?;
        shift.set(Duration::ZERO, Direction::Ahead)?;
        member.environment = vec![("LD_PRELOAD", library.clone()), ("TRIAL_CLOCK", path)];
        shifts.push(shift);
    }
    scene.open().await?;
    let mut draw = trial.draw("clocks");
    for round in 0..rounds {
        for (seconds, direction) in STEPS {
            if trial.is_over() {
                break;
            }
            let victim = draw.below(scene.fleet.len());
            let Some(shift) = shifts.get(victim) else { continue };
            let traffic = Traffic::start(&scene.fleet, &scene.ledger, &mut draw, PACE);
            tokio::time::sleep(Duration::from_secs(1)).await;
            // While it runs, and then at its next start.
            shift.set(Duration::from_secs(seconds), direction)?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            scene.fleet.kill(victim).await?;
            scene.fleet.start(victim)?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            let status = scene.fleet.answers(victim).await?;
            traffic.stop().await;
            say(&format!(
                "  {} {seconds} s {}: its clock counts as {}",
                scene.fleet.at(victim)?.code(),
                direction.name(),
                if status.facts.clock.wrong { "wrong" } else { "right" },
            ));
            let wrong = scene.verdict().await?;
            trial.add("clock step", 1, wrong);
            shift.set(Duration::ZERO, Direction::Ahead)?;
            scene.fleet.kill(victim).await?;
            scene.fleet.start(victim)?;
            scene.fleet.answers(victim).await?;
            let set_right = scene.verdict().await?;
            trial.add("clock step", 1, set_right);
        }
        say(&format!("  round {} of {rounds}", round + 1));
    }
    scene.fleet.stop_all().await
}

/// One node's shift, in the file that its process reads.
struct Shift(File);

impl Shift {
    fn at(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(File::options().create(true).truncate(false).write(true).open(path)?))
    }

    fn set(&self, by: Duration, direction: Direction) -> anyhow::Result<()> {
        let millis = i64::try_from(by.as_millis())?;
        let shift = match direction {
            Direction::Ahead => millis,
            Direction::Behind => -millis,
        };
        Ok(self.0.write_all_at(&shift.to_ne_bytes(), 0)?)
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Ahead,
    Behind,
}

impl Direction {
    const fn name(self) -> &'static str {
        match self {
            Self::Ahead => "ahead",
            Self::Behind => "behind",
        }
    }
}

/// The clock that is preloaded.
fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, include_str!("clock.c"))?;
    ground::run(
        "cc",
        &["-O1", "-shared", "-fPIC", "-o", ground::text(&library)?, ground::text(&source)?, "-ldl"],
    )?;
    Ok(library)
}

/// A little, past ten minutes, past a message's lifetime, and back.
const STEPS: [(u64, Direction); 5] = [
    (540, Direction::Ahead),
    (540, Direction::Behind),
    (3_600, Direction::Ahead),
    (4 * 86_400, Direction::Ahead),
    (86_400, Direction::Behind),
];

/// How often each officer writes.
const PACE: Duration = Duration::from_millis(250);
