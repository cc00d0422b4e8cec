//! The nodes under trial: processes of the program, each with its folder, its client and its log.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use refpoint::{api::views::status::StatusView, client::Client, sample::RunningMember};
use refpoint_protocol::ids::MemberCode;
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};

/// Nodes of one federation.
pub(crate) struct Fleet {
    program: PathBuf,
    members: Vec<Member>,
}

/// One of them.
pub(crate) struct Member {
    pub(crate) place: RunningMember,
    pub(crate) client: Client,
    /// The network namespace that it runs in, if not this process's.
    pub(crate) namespace: Option<String>,
    /// What its environment holds besides.
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
    child: Option<Child>,
    log: PathBuf,
}

impl Fleet {
    /// A fleet of which nobody runs yet.
    pub(crate) fn new(program: &Path, places: Vec<RunningMember>) -> Self {
        let member = |place: RunningMember| Member {
            client: Client::new(&place.socket),
            namespace: None,
            environment: Vec::new(),
            child: None,
            log: place.folder.join("node.log"),
            place,
        };
        Self { program: program.to_owned(), members: places.into_iter().map(member).collect() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// All of them.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// All of them, to change how they run.
    pub(crate) fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// One of them.
    pub(crate) fn at(&self, at: usize) -> anyhow::Result<&Member> {
        self.members.get(at).context("no such node")
    }

    /// Starts a node; it need not answer yet.
    pub(crate) fn start(&mut self, at: usize) -> anyhow::Result<()> {
        let program = self.program.clone();
        let member = self.members.get_mut(at).context("no such node")?;
        let log = File::options().create(true).append(true).open(&member.log)?;
        let mut command = match &member.namespace {
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg("run").arg("--config").arg(&member.place.config);
        command.envs(member.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        member.child = Some(command.spawn().context("the program cannot be started")?);
        Ok(())
    }

    /// Starts all, and waits until each answers.
    pub(crate) async fn start_all(&mut self) -> anyhow::Result<()> {
        for at in 0..self.len() {
            if self.at(at)?.child.is_none() {
                self.start(at)?;
            }
        }
        for at in 0..self.len() {
            self.answers(at).await?;
        }
        Ok(())
    }

    /// Waits until a node answers.
    pub(crate) async fn answers(&mut self, at: usize) -> anyhow::Result<StatusView> {
        let begun = Instant::now();
        loop {
            let member = self.members.get_mut(at).context("no such node")?;
            if let Ok(status) = member.client.status().await {
                return Ok(status);
            }
            if let Some(child) = &mut member.child
                && let Some(ended) = child.try_wait()?
            {
                anyhow::bail!("the node of {} ended ({ended}):\n{}", member.code(), member.log_tail());
            }
            let late = begun.elapsed() > START_TIME;
            anyhow::ensure!(!late, "the node of {} does not answer:\n{}", member.code(), member.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every running node is connected with so many others.
    pub(crate) async fn meshed(&self, others: u64, within: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        for member in self.members.iter().filter(|member| member.child.is_some()) {
            loop {
                let connected = member.client.status().await.map(|status| status.facts.peers.connected);
                if connected.is_ok_and(|connected| connected >= others) {
                    break;
                }
                let late = begun.elapsed() > within;
                anyhow::ensure!(!late, "{} is not connected again:\n{}", member.code(), member.log_tail());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Waits until a running node sees its entries and sealing keys everywhere: from then on anybody can write to it.
    pub(crate) async fn published(&self, within: Duration) -> anyhow::Result<()> {
        use refpoint::api::views::status::ChainState;
        let begun = Instant::now();
        for member in self.members.iter().filter(|member| member.child.is_some()) {
            loop {
                let chain = member.client.status().await.map(|status| status.facts.chain);
                if matches!(chain, Ok(ChainState::Publishing { .. })) {
                    break;
                }
                let late = begun.elapsed() > within;
                anyhow::ensure!(!late, "{} does not publish:\n{}", member.code(), member.log_tail());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Kills a node as `kill -9` does, and waits until it is gone.
    pub(crate) async fn kill(&mut self, at: usize) -> anyhow::Result<()> {
        if let Some(mut child) = self.members.get_mut(at).and_then(|member| member.child.take()) {
            child.kill().await?;
        }
        Ok(())
    }

    /// Ends a node in order.
    pub(crate) async fn stop(&mut self, at: usize) -> anyhow::Result<()> {
        let member = self.members.get_mut(at).context("no such node")?;
        let code = member.code().clone();
        if let Some(mut child) = member.child.take() {
            signal(&child, Signal::TERM)?;
            let ended = tokio::time::timeout(START_TIME, child.wait()).await;
            anyhow::ensure!(ended.is_ok(), "the node of {code} does not stop:\n{}", member.log_tail());
        }
        Ok(())
    }

    /// Ends all.
    pub(crate) async fn stop_all(&mut self) -> anyhow::Result<()> {
        for at in 0..self.len() {
            self.stop(at).await?;
        }
        Ok(())
    }
}

impl Member {
    /// Its code.
    pub(crate) const fn code(&self) -> &MemberCode {
        &self.place.member
    }

    /// Whether its process was started and not ended by the trial.
    pub(crate) const fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Whether its process runs.
    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?.is_some(),
            None => true,
        })
    }

    /// Its process.
    pub(crate) fn process(&self) -> anyhow::Result<u32> {
        self.child.as_ref().and_then(Child::id).context("the node does not run")
    }

    /// Stops every thread where it is, and returns once all stand still.
    pub(crate) fn freeze(&self) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("the node does not run")?;
        signal(child, Signal::STOP)?;
        let tasks = format!("/proc/{}/task", self.process()?);
        let begun = Instant::now();
        while !all_stopped(&tasks)? {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(5), "a thread does not stop");
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> anyhow::Result<()> {
        signal(self.child.as_ref().context("the node does not run")?, Signal::CONT)
    }

    /// The whole log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// The last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)).copied().collect::<Vec<_>>().join("\n")
    }
}

fn all_stopped(tasks: &str) -> anyhow::Result<bool> {
    for task in std::fs::read_dir(tasks)? {
        // A thread may end before it is looked at.
        let Ok(line) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
        let state = line.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        if !matches!(state, Some('T' | 't')) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let number = child.id().and_then(|number| i32::try_from(number).ok()).context("the node does not run")?;
    let pid = Pid::from_raw(number).context("no process number")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// How long a node may take to start, or to stop.
const START_TIME: Duration = Duration::from_secs(60);

const TAIL_LINES: usize = 15;
