//! 196 whole nodes in this process over libp2p's memory transport, every one connected with every other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use refpoint::{
    clock::Clock,
    network::{Address, TransportKind},
    runtime::Node,
    sample::{Draw, Sample, SampleMember},
    store::{MemoryStore, Store as _},
};
use refpoint_protocol::{
    ids::{ContentHash, MemberCode},
    machine::{Command, Machine, Reply},
};

use super::{
    Figure,
    federation::Federation,
    process::{cpu_seconds, resident_mb},
    say,
};

/// Measures the mesh.
pub(super) async fn measure(size: usize) -> anyhow::Result<Vec<Figure>> {
    let before = resident_mb(std::process::id())?;
    let clock = Clock::start(0);
    let sample = Sample::found(&mut Draw::Seeded { seed: 3, drawn: 0 }, &[], clock.now(), || {})?;
    // Every node is given the addresses of those before it.
    let federation =
        Federation { sample, clock, transport: TransportKind::Memory, publishes_addresses: false };
    let changes = federation.sample.changes(&[])?;
    let members: Vec<&SampleMember> = federation.sample.members.iter().take(size).collect();
    let addresses: Vec<Address> = (1..=members.len() as u64).map(|at| Address::memory(BASE + at)).collect();
    let mut nodes = Vec::new();
    for (member, address) in members.iter().zip(&addresses) {
        let store = MemoryStore::new();
        store.apply(&changes)?;
        // Each pair is dialled from one side: the later node knows the earlier ones.
        let hints = addresses.iter().take(nodes.len()).cloned().collect();
        nodes.push(federation.start(member, address, Arc::new(store), hints).await?);
    }
    let others = nodes.len().saturating_sub(1);
    let begun = Instant::now();
    let mut told = Instant::now();
    loop {
        let mut connected = 0;
        for node in &nodes {
            connected += node.handle().query(|machine, _| machine.connected().len()).await?;
        }
        if connected == others * nodes.len() {
            break;
        }
        if told.elapsed() > Duration::from_secs(15) {
            say(&format!("{size} nodes: {connected} of {} connections", others * nodes.len()));
            told = Instant::now();
        }
        anyhow::ensure!(begun.elapsed() < MESH_TIME, "only {connected} connections came up");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let meshed = begun.elapsed().as_secs_f64();
    let memory = (resident_mb(std::process::id())? - before) / nodes.len() as f64;
    say(&format!("how fast a change reaches all; they were connected after {meshed:.0} s"));
    settle(&nodes).await?;
    let me = std::process::id();
    let (resting, at_rest) = (Instant::now(), cpu_seconds(me)?);
    tokio::time::sleep(REST).await;
    let busy = (cpu_seconds(me)? - at_rest) / resting.elapsed().as_secs_f64() / nodes.len() as f64;
    let mut times = Vec::new();
    let before_rounds = received(&nodes).await?;
    let (spreading, before_spreading) = (Instant::now(), cpu_seconds(me)?);
    for round in 0..ROUNDS {
        times.push(spread(&nodes, &members, round).await?);
    }
    let spent =
        cpu_seconds(me)? - before_spreading - busy * nodes.len() as f64 * spreading.elapsed().as_secs_f64();
    let work = spent * 1e3 / (ROUNDS * nodes.len()) as f64;
    // The last copies come after the last node has shown the change.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let copies = (received(&nodes).await? - before_rounds) as f64 / (ROUNDS * nodes.len()) as f64;
    let ms = |name, value, aim| Figure { name, value, unit: "ms", ratio: None, aim };
    Ok(vec![
        ms("gossip_196_p50", super::percentile(&mut times.clone(), 50), "<= 250"),
        ms("gossip_196_worst", super::percentile(&mut times, 100), "<= 250"),
        ms("gossip_196_work", work, "processor time of a node"),
        Figure {
            name: "mesh_196_rest",
            value: busy * 100.0,
            unit: "%",
            ratio: None,
            aim: "of a core, a node",
        },
        Figure { name: "gossip_196_copies", value: copies, unit: "", ratio: None, aim: "<= 7 a node" },
        Figure { name: "gossip_196_memory", value: memory, unit: "MB", ratio: None, aim: "<= 12 a node" },
        Figure { name: "mesh_196", value: meshed, unit: "s", ratio: None, aim: "" },
    ])
}

/// Waits until nothing of the start goes on: no dial, no spare connection, no news of what nodes sign of themselves.
async fn settle(nodes: &[Node]) -> anyhow::Result<()> {
    let begun = Instant::now();
    let (mut heard, mut quiet_since) = (0, Instant::now());
    while quiet_since.elapsed() < QUIET {
        anyhow::ensure!(begun.elapsed() < MESH_TIME, "the nodes never came to rest");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now_heard = received(nodes).await?;
        let mut is_quiet = now_heard == heard;
        heard = now_heard;
        for node in nodes {
            let summary = node.handle().network().summary().await?;
            is_quiet &= summary.dialling == 0 && summary.connections as usize == summary.connected;
        }
        if !is_quiet {
            quiet_since = Instant::now();
        }
    }
    say(&format!("they came to rest {:.0} s later", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Pieces of gossip that all nodes together have received, copies included.
async fn received(nodes: &[Node]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for node in nodes {
        sum += node.handle().network().summary().await?.gossip_received;
    }
    Ok(sum)
}

/// Publishes a changed entry at one node. Returns the milliseconds until the last node shows it.
async fn spread(nodes: &[Node], members: &[&SampleMember], round: usize) -> anyhow::Result<f64> {
    let at = round * 7 % nodes.len();
    let (node, member) = nodes.get(at).zip(members.get(at)).ok_or_else(|| anyhow::anyhow!("a node"))?;
    let mut entry = member.entry.clone();
    entry.agency = Some(format!("round {round}"));
    let begun = Instant::now();
    let reply = node.handle().command(Command::Publish(Box::new(entry))).await??;
    anyhow::ensure!(matches!(reply, Reply::Published { sequence: Some(_) }), "not published: {reply:?}");
    let code = member.country.code.clone();
    let new = loop {
        if let Some(shown) = shown(node, &code, round).await? {
            break shown;
        }
        tokio::task::yield_now().await;
    };
    for node in nodes {
        while shown(node, &code, round).await? != Some(new) {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), "a node never showed the change");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// The body that a node shows of a member, once it is that of this round.
async fn shown(node: &Node, code: &MemberCode, round: usize) -> anyhow::Result<Option<ContentHash>> {
    let code = code.clone();
    let look = move |machine: &Machine, now| {
        let entry = machine.evidence().directory().member(&code, now)?;
        let point = entry.reference_point?;
        let is_new = point.entry?.agency.as_deref() == Some(format!("round {round}").as_str());
        is_new.then_some(ContentHash::from_bytes(*point.header.id.as_bytes()))
    };
    Ok(node.handle().query(look).await?)
}

const ROUNDS: usize = 20;
/// How long nothing must have happened.
const QUIET: Duration = Duration::from_secs(10);
/// What is measured of the rest.
const REST: Duration = Duration::from_secs(15);
/// How long 19,110 connections may take to come up: each is a handshake at both ends.
const MESH_TIME: Duration = Duration::from_secs(3_600);
/// Above what tests use.
const BASE: u64 = 7_000_000;
