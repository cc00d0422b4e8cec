//! The demo's nodes: child processes of this program, each with its client, ended whatever happens.

use std::{
    collections::BTreeMap,
    fs::File,
    future::Future,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use refpoint_protocol::ids::MemberCode;
use tokio::process::{Child, Command};

use super::DemoError;
use crate::{client::Client, sample::RunningMember};

/// The running members.
pub(super) struct Fleet {
    program: PathBuf,
    nodes: BTreeMap<MemberCode, Member>,
}

/// One running member.
pub(super) struct Member {
    pub(super) place: RunningMember,
    pub(super) client: Client,
    child: Option<Child>,
    log: PathBuf,
}

impl Fleet {
    /// Starts a process for each place.
    pub(super) fn start(places: Vec<RunningMember>) -> Result<Self, DemoError> {
        let program = std::env::current_exe().map_err(|error| DemoError::Start(error.to_string()))?;
        let mut fleet = Self { program, nodes: BTreeMap::new() };
        for place in places {
            let (code, log) = (place.member.clone(), place.folder.join("node.log"));
            let client = Client::new(&place.socket);
            fleet.nodes.insert(code.clone(), Member { place, client, child: None, log });
            fleet.spawn(&code)?;
        }
        Ok(fleet)
    }

    /// Starts a member's process, again after it was killed.
    pub(super) fn spawn(&mut self, code: &MemberCode) -> Result<(), DemoError> {
        let program = self.program.clone();
        let member =
            self.nodes.get_mut(code).ok_or_else(|| DemoError::Start(format!("no node of {code}")))?;
        let started = || -> io::Result<Child> {
            let log = File::options().create(true).append(true).open(&member.log)?;
            Command::new(program)
                .arg("run")
                .arg("--config")
                .arg(&member.place.config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .kill_on_drop(true)
                .spawn()
        };
        member.child = Some(started().map_err(|error| DemoError::Start(format!("{code}: {error}")))?);
        Ok(())
    }

    /// Kills a member's process as a power cut would: it is told nothing.
    pub(super) async fn kill(&mut self, code: &MemberCode) -> Result<(), DemoError> {
        if let Some(mut child) = self.nodes.get_mut(code).and_then(|member| member.child.take()) {
            child.kill().await.map_err(|error| DemoError::Start(format!("killing {code}: {error}")))?;
        }
        Ok(())
    }

    /// A member.
    pub(super) fn of(&self, code: &MemberCode) -> Result<&Member, DemoError> {
        self.nodes.get(code).ok_or_else(|| DemoError::Start(format!("no node of {code}")))
    }

    /// All members.
    pub(super) fn all(&self) -> impl Iterator<Item = (&MemberCode, &Member)> {
        self.nodes.iter()
    }

    /// Ends every process in order, and the hard way where that takes too long.
    pub(super) async fn stop(&mut self) {
        for member in self.nodes.values_mut() {
            if let Some(pid) =
                member.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
                && rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_err()
            {
                tracing::debug!("a node of the demo had ended by itself");
            }
        }
        for member in self.nodes.values_mut() {
            if let Some(mut child) = member.child.take()
                && tokio::time::timeout(STOP_TIME, child.wait()).await.is_err()
                && child.kill().await.is_err()
            {
                tracing::debug!("a node of the demo had ended by itself");
            }
        }
    }
}

impl Member {
    fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Memory of the process in MB, as Linux counts it; `None` elsewhere.
    pub(super) fn memory_mb(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
        Some(kilobytes / 1024)
    }

    /// The last lines of the process's log, for whoever looks for a fault.
    pub(super) fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

/// Asks until there is an answer. What did not happen in time is the error, with the log's end.
pub(super) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    member: &Member,
    mut ask: impl FnMut() -> F,
) -> Result<T, DemoError> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if began.elapsed() > STEP_TIME {
            return Err(DemoError::Late { what: what.to_owned(), log: member.log_tail() });
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_else(|error| format!("(no log: {error})"));
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).copied().collect::<Vec<_>>().join("\n")
}

/// How long one step may take: ten times what it takes on a small machine.
const STEP_TIME: Duration = Duration::from_secs(20);

/// How often a step looks: well below what a person notices.
const ASK_INTERVAL: Duration = Duration::from_millis(10);

/// How long a node may take to stop in order.
const STOP_TIME: Duration = Duration::from_secs(5);

/// Lines of a log that a failed step shows.
const TAIL_LINES: usize = 12;
