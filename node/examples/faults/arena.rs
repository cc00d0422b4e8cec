//! Four honest nodes as processes, a further member whose keys the attacker has, and what is measured of the first node
//! while it is attacked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use refpoint::{
    api::views::{receipt::MachineWord, send::SendRequest},
    client::Client,
    clock::Clock,
    sample::{Draw as Keys, Sample, SampleMember},
};
use refpoint_protocol::{
    document::Envelope,
    evidence::{AnyDocument, verify_any},
    ids::{MemberCode, NodeKey},
    introduction::Presence,
    limits::WIRE_VERSION,
    membership::Trust,
    message::{body::Tlp, header::Precedence},
    redact::Redacted,
};

use super::{fleet::Fleet, peer::Peer};

/// The place of an attack.
pub(crate) struct Arena {
    pub(crate) sample: Sample,
    pub(crate) fleet: Fleet,
    presence: Arc<Presence>,
    clock: Clock,
}

/// What an attack did to the node that was attacked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// Messages delivered meanwhile.
    pub(crate) delivered: u64,
    /// The slowest of them.
    pub(crate) slowest: Duration,
    /// Megabytes of memory above those before.
    pub(crate) grown_megabytes: f64,
    /// Seconds of processor time in a second.
    pub(crate) busy: f64,
}

impl Arena {
    /// Starts Brazil, which is attacked, and three others; Kenya's keys are the attacker's.
    pub(crate) async fn open(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let clock = Clock::start(0);
        // A node publishes its sealing keys once three others have told it what it signed before.
        let running = ["BR", "SG", "FR", "JO"].into_iter().map(str::parse);
        let running = running.collect::<Result<Vec<MemberCode>, _>>()?;
        let sample = Sample::found(&mut Keys::System, &running, clock.now(), || {})?;
        let places = sample.write_folders(&folder.join("arena"), &running, || {})?;
        let mut fleet = Fleet::new(program, places);
        fleet.start_all().await?;
        fleet.meshed(3, PATIENCE).await?;
        fleet.published(PATIENCE).await?;
        let presence = Arc::new(presence(&sample)?);
        let arena = Self { sample, fleet, presence, clock };
        // Each knows the other's sealing key once a message has arrived either way.
        arena.message(0).await?;
        arena.message(1).await?;
        Ok(arena)
    }

    /// Where the attacked node listens.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.fleet.at(0)?.place.listen)
    }

    /// The attacker's member.
    pub(crate) fn attacker(&self) -> anyhow::Result<&SampleMember> {
        self.sample.member(&"KE".parse()?).context("the sample has Kenya")
    }

    /// What a caller under any key says of itself who knows the federation.
    pub(crate) fn claim(&self, node: NodeKey) -> Arc<Presence> {
        Arc::new(Presence { node, ..Presence::clone(&self.presence) })
    }

    /// The attacked node's key.
    pub(crate) fn victim(&self) -> anyhow::Result<NodeKey> {
        let code = self.fleet.at(0)?.code();
        Ok(self.sample.member(code).context("the sample has Brazil")?.node.key())
    }

    /// The time.
    pub(crate) fn now(&self) -> refpoint_protocol::time::Timestamp {
        self.clock.now()
    }

    /// What a node says of itself that a new key set of Kenya's lists.
    pub(crate) fn with_key_set(&self, key_set: &Envelope, node: NodeKey) -> anyhow::Result<Arc<Presence>> {
        let mut presence = Presence { node, ..Presence::clone(&self.presence) };
        if let AnyDocument::KeySet(key_set) = verify_any(key_set.clone(), self.sample.federation)? {
            presence.trust.accept_key_set(key_set)?;
        }
        Ok(Arc::new(presence))
    }

    /// Comes in as Kenya's node.
    pub(crate) async fn enter(&self) -> anyhow::Result<Peer> {
        self.enter_as(self.attacker()?.node.signing_key(), Arc::clone(&self.presence)).await
    }

    /// Comes in as the node that a presence names.
    pub(crate) async fn enter_as(
        &self,
        signing: &SigningKey,
        presence: Arc<Presence>,
    ) -> anyhow::Result<Peer> {
        Peer::enter(self.address()?, signing, presence, (self.victim()?, self.now())).await
    }

    /// Sends a flash message between the honest nodes; how long it took to be delivered.
    pub(crate) async fn message(&self, from: usize) -> anyhow::Result<Duration> {
        let (sender, recipient) = (self.fleet.at(from)?, self.fleet.at(1 - from)?);
        deliver(&sender.client, recipient.code().clone()).await.with_context(|| sender.log_tail())
    }

    /// Attacks, and measures meanwhile.
    pub(crate) async fn during<T>(
        &self,
        attack: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, Measured)> {
        let process = self.fleet.at(0)?.process()?;
        let (before, used, begun) = (resident_mb(process)?, cpu_seconds(process)?, Instant::now());
        let stop = tokio_util::sync::CancellationToken::new();
        let honest = async {
            let mut measured = Measured::default();
            let mut from = 0;
            loop {
                let took = self.message(from).await?;
                measured.delivered += 1;
                measured.slowest = measured.slowest.max(took);
                measured.grown_megabytes = measured.grown_megabytes.max(resident_mb(process)? - before);
                from = 1 - from;
                if stop.is_cancelled() && measured.delivered > 1 {
                    return Ok(measured);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let attack = async {
            let outcome = attack.await;
            stop.cancel();
            outcome
        };
        let (outcome, measured): (_, anyhow::Result<Measured>) = tokio::join!(attack, honest);
        let mut measured = measured?;
        let outcome = outcome?;
        measured.grown_megabytes = measured.grown_megabytes.max(resident_mb(process)? - before);
        measured.busy = (cpu_seconds(process)? - used) / begun.elapsed().as_secs_f64();
        Ok((outcome, measured))
    }

    /// How often the attacker broke which rule, as `peers` shows it.
    pub(crate) async fn faults(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let attacker = self.attacker()?.node.key();
        let peers = self.fleet.at(0)?.client.peers().await?;
        let of_attacker = peers.into_iter().find(|peer| peer.node == Some(attacker)).map(|peer| peer.faults);
        Ok(of_attacker.unwrap_or_default().into_iter().map(|fault| (fault.rule, fault.count)).collect())
    }

    /// Waits until the attacker is shown to have broken a rule more often than before; which.
    pub(crate) async fn named(&self, before: &BTreeMap<String, u64>) -> anyhow::Result<BTreeSet<String>> {
        let begun = Instant::now();
        loop {
            let more = |(rule, count): &(String, u64)| before.get(rule).is_none_or(|known| known < count);
            let named: BTreeSet<String> =
                self.faults().await?.into_iter().filter(more).map(|(rule, _)| rule).collect();
            if !named.is_empty() {
                return Ok(named);
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the attacker is not named in `peers`");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether the attacker was cut off because it answers no ping, is named for it in the log, and is not connected
    /// in `peers`.
    pub(crate) async fn cut_off_as_silent(&self) -> anyhow::Result<()> {
        let attacker = self.attacker()?.node.key();
        let (log, short) = (self.fleet.at(0)?.log(), attacker.short());
        let named = ["disconnected", "it does not answer pings", short.as_str()];
        let of_attacker = || log.lines().filter(|line| line.contains(&short)).collect::<Vec<_>>();
        anyhow::ensure!(
            log.lines().any(|line| named.iter().all(|part| line.contains(part))),
            "the log does not say that it was cut off: {:#?}",
            of_attacker()
        );
        let peers = self.fleet.at(0)?.client.peers().await?;
        let shown = peers.into_iter().find(|peer| peer.node == Some(attacker));
        anyhow::ensure!(shown.is_some_and(|peer| !peer.connected), "`peers` shows it as connected");
        Ok(())
    }

    /// Waits until the attacked node shows so many entries as disputed.
    pub(crate) async fn disputed(&self, entries: u64) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.fleet.at(0)?.client.status().await?.facts.directory.disputed != entries {
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the fork is not shown");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Waits until a line of the attacked node's log says something of somebody.
    pub(crate) async fn logged(&self, what: &str, of: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        let says = |line: &str| line.contains(what) && line.contains(of);
        while !self.fleet.at(0)?.log().lines().any(says) {
            let tail = || self.fleet.at(0).map(super::fleet::Member::log_tail).unwrap_or_default();
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the log does not say {what:?}:\n{}", tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn presence(sample: &Sample) -> anyhow::Result<Presence> {
    let member: MemberCode = "KE".parse()?;
    let attacker = sample.member(&member).context("the sample has Kenya")?;
    let mut trust = Trust::new(sample.federation);
    let sets = sample.members.iter().map(|member| &member.key_set);
    for envelope in std::iter::once(&sample.charter).chain(sets) {
        match verify_any(envelope.clone(), sample.federation)? {
            AnyDocument::Charter(charter) => trust.accept_charter(charter)?,
            AnyDocument::Settlement(settlement) => trust.accept_settlement(settlement)?,
            AnyDocument::KeySet(key_set) => trust.accept_key_set(key_set)?,
            AnyDocument::NodeRecord(_) | AnyDocument::ReferencePoint(_) => continue,
        };
    }
    let node = attacker.node.key();
    Ok(Presence { trust, node, member, wire: vec![WIRE_VERSION], record: None, full: false })
}

async fn deliver(sender: &Client, to: MemberCode) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let request = SendRequest {
        recipients: vec![to],
        precedence: Precedence::Flash,
        tlp: Tlp::Amber,
        text: Some(Redacted("keep the records".to_owned())),
        reference: None,
        form: None,
        attachments: Vec::new(),
        expires_in_seconds: None,
        drill: false,
    };
    let id = sender.send(&request).await?.id.to_string().parse()?;
    loop {
        let receipts = sender.receipts(&id).await?;
        if receipts.recipients.iter().all(|state| state.machine == MachineWord::Delivered) {
            return Ok(begun.elapsed());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "an honest message was not delivered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Resident memory of a process in MB, as Linux counts it.
fn resident_mb(process: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("the node is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
}

/// Seconds of processor time that a process has used, as Linux counts them: by hundredths.
fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat")).context("the node is gone")?;
    let after_name = line.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
