//! Partitions and loss between hosts: each node in a network namespace of its own, behind a bridge in a further one.
//! The machine's own network sees nothing of it.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;

use super::{
    draw::Draw,
    ground::run as command,
    say,
    traffic::Traffic,
    trial::{Scene, Trial},
};

/// So many rounds of each fault.
pub(crate) async fn run(trial: &Trial<'_>, rounds: u64) -> anyhow::Result<()> {
    let names: Vec<String> = ["hub", "1", "2", "3", "4"].map(|name| trial.ground.namespace(name)).to_vec();
    let (hub, hosts) = names.split_first().context("a hub")?;
    let net = Net { hosts: hosts.to_vec() };
    if let Err(why) = net.build(hub) {
        trial.leave_out("partition, loss", why);
        return Ok(());
    }
    say("hosts in network namespaces");
    let places = (0..hosts.len()).map(|at| (net.address(at), net.address(at))).collect();
    let mut scene = trial.scene("hosts", Some(places))?;
    for (member, host) in scene.fleet.members_mut().iter_mut().zip(hosts) {
        member.namespace = Some(host.clone());
    }
    scene.open().await?;
    let mut draw = trial.draw("hosts");
    let longest = if rounds == 1 { TROUBLE_SECONDS } else { 8 * TROUBLE_SECONDS };
    for _ in 0..rounds {
        for kind in [Kind::Halves, Kind::OneWay, Kind::Single, Kind::Loss] {
            if trial.is_over() {
                break;
            }
            say(&format!("  {}", kind.name()));
            let traffic = Traffic::start(&scene.fleet, &scene.ledger, &mut draw, PACE);
            tokio::time::sleep(Duration::from_secs(1)).await;
            net.break_with(kind, &mut draw)?;
            tokio::time::sleep(draw.millis(TROUBLE_SECONDS * 1_000, longest * 1_000)).await;
            net.heal()?;
            traffic.stop().await;
            let verdict = scene.verdict().await?;
            trial.add(kind.name(), 1, verdict);
        }
    }
    over(scene).await
}

async fn over(mut scene: Scene) -> anyhow::Result<()> {
    scene.fleet.stop_all().await
}

/// What is done to the links.
#[derive(Clone, Copy)]
enum Kind {
    /// Two and two.
    Halves,
    /// One hears another no more, who still hears it.
    OneWay,
    /// One is alone; its connections stay open and nothing passes.
    Single,
    /// Three packets of ten, each way.
    Loss,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Halves => "partition in halves",
            Self::OneWay => "partition one way",
            Self::Single => "partition of one node",
            Self::Loss => "loss of 30 %",
        }
    }
}

struct Net {
    hosts: Vec<String>,
}

impl Net {
    /// Makes the namespaces, the bridge and the links; nothing outside the namespaces.
    fn build(&self, hub: &str) -> anyhow::Result<()> {
        let ip = |line: &str| command("ip", &line.split(' ').collect::<Vec<_>>());
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link add bridge type bridge"))?;
        ip(&format!("-n {hub} link set bridge up"))?;
        for (at, host) in self.hosts.iter().enumerate() {
            ip(&format!("netns add {host}"))?;
            ip(&format!("-n {host} link add eth0 type veth peer name port{at} netns {hub}"))?;
            ip(&format!("-n {host} addr add {}/24 dev eth0", self.address(at).ip()))?;
            for link in ["lo", "eth0"] {
                ip(&format!("-n {host} link set {link} up"))?;
            }
            ip(&format!("-n {hub} link set port{at} master bridge up"))?;
            self.rules(at, "add table ip trial\n").context("nft (Debian: apt-get install nftables)")?;
        }
        Ok(())
    }

    /// From the range that is reserved for such trials (RFC 2544).
    fn address(&self, at: usize) -> SocketAddr {
        let last = u8::try_from(at + 1).unwrap_or(u8::MAX);
        SocketAddr::from((Ipv4Addr::new(198, 18, 0, last), 4001))
    }

    fn break_with(&self, kind: Kind, draw: &mut Draw) -> anyhow::Result<()> {
        let all: Vec<usize> = (0..self.hosts.len()).collect();
        let first = draw.below(all.len());
        let second = (first + 1 + draw.below(all.len() - 1)) % all.len();
        match kind {
            Kind::Loss => {
                for at in all {
                    self.drop_at(at, "iifname eth0 numgen random mod 100 < 30")?;
                }
            }
            Kind::OneWay => self.drop_at(first, &self.from(second))?,
            Kind::Single => {
                for other in all.into_iter().filter(|other| *other != first) {
                    self.drop_at(first, &self.from(other))?;
                    self.drop_at(other, &self.from(first))?;
                }
            }
            Kind::Halves => {
                for at in all.clone() {
                    for other in all.clone() {
                        if [first, second].contains(&at) != [first, second].contains(&other) {
                            self.drop_at(at, &self.from(other))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn from(&self, at: usize) -> String {
        format!("ip saddr {}", self.address(at).ip())
    }

    fn drop_at(&self, at: usize, what: &str) -> anyhow::Result<()> {
        let chain = "add chain ip trial in { type filter hook input priority 0; policy accept; }";
        self.rules(at, &format!("{chain}\nadd rule ip trial in {what} drop\n"))
    }

    fn heal(&self) -> anyhow::Result<()> {
        (0..self.hosts.len()).try_for_each(|at| self.rules(at, "delete table ip trial\nadd table ip trial\n"))
    }

    /// Gives a host's packet filter a script.
    fn rules(&self, at: usize, script: &str) -> anyhow::Result<()> {
        let host = self.hosts.get(at).context("no such host")?;
        let mut child = Command::new("nsenter")
            .args([&format!("--net=/run/netns/{host}"), "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("a pipe")?.write_all(script.as_bytes())?;
        let output = child.wait_with_output()?;
        anyhow::ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }
}

/// How long each trouble lasts at least.
const TROUBLE_SECONDS: u64 = 5;

/// How often each officer writes.
const PACE: Duration = Duration::from_millis(300);
