//! What a run takes of this machine: one folder, mounts below it, network namespaces with its own prefix. All of it
//! goes with the run, and what a killed run left behind goes at the start of the next one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

/// A run's folder and the names of its namespaces; dropping it removes both.
pub(crate) struct Ground {
    folder: PathBuf,
    run: u32,
}

impl Ground {
    /// Clears what runs that are over left behind, and takes a folder.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let run = std::process::id();
        for left in leftovers()? {
            clear(left);
        }
        let folder = folder_of(run);
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder, run })
    }

    /// A new folder of this run.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The name of a network namespace of this run.
    pub(crate) fn namespace(&self, name: &str) -> String {
        format!("{NAMESPACE_PREFIX}{}-{name}", self.run)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        clear(self.run);
    }
}

/// Runs a command of the system; what it said is the error.
pub(crate) fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be run"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

fn folder_of(run: u32) -> PathBuf {
    std::env::temp_dir().join(format!("{FOLDER_PREFIX}{run}"))
}

/// Runs that are over and left something behind.
fn leftovers() -> anyhow::Result<Vec<u32>> {
    let mut runs = Vec::new();
    for (folder, prefix) in [(std::env::temp_dir(), FOLDER_PREFIX), (NAMESPACES.into(), NAMESPACE_PREFIX)] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            let number =
                number.and_then(|rest| rest.split('-').next()).and_then(|run| run.parse::<u32>().ok());
            runs.extend(number.filter(|run| !Path::new(&format!("/proc/{run}")).exists()));
        }
    }
    runs.sort_unstable();
    runs.dedup();
    Ok(runs)
}

/// Removes all that belongs to a run; a part that is in the way of nothing may stay behind.
fn clear(run: u32) {
    let folder = folder_of(run);
    end_processes(&folder);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut points: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    points.retain(|point| Path::new(point).starts_with(&folder));
    for point in points.iter().rev() {
        attempt("umount", &["-l", point]);
    }
    if let Ok(entries) = fs::read_dir(NAMESPACES) {
        let prefix = format!("{NAMESPACE_PREFIX}{run}-");
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            if name.starts_with(&prefix) {
                attempt("ip", &["netns", "delete", &name]);
            }
        }
    }
    if folder.exists()
        && let Err(error) = fs::remove_dir_all(&folder)
    {
        super::say(&format!("{} is left behind: {error}", folder.display()));
    }
}

fn attempt(program: &str, arguments: &[&str]) {
    if let Err(error) = run(program, arguments) {
        super::say(&error.to_string());
    }
}

/// Ends the nodes that run on a folder of a run that was killed itself.
fn end_processes(folder: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let marker = format!("{}/", folder.display());
    for name in processes.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Ok(number) = name.parse::<i32>() else { continue };
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(" run --config ")
            && line.contains(&marker)
            && let Some(pid) = rustix::process::Pid::from_raw(number)
            && rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_err()
        {
            super::say(&format!("process {number} had ended by itself"));
        }
    }
}

const FOLDER_PREFIX: &str = "refpoint-faults-";
const NAMESPACE_PREFIX: &str = "rpf";
const NAMESPACES: &str = "/run/netns";
