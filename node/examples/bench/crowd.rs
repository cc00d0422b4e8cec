//! One node among 196: what 195 connections cost a process at rest, and how soon a newcomer has the directory.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use refpoint::{
    clock::Clock,
    network::{Address, TransportKind},
    runtime::Node,
    sample::{Draw, Sample, listen_on_free_port},
    store::{MemoryStore, Store as _},
};
use refpoint_protocol::{
    ids::MemberCode,
    storage::{Change, Table},
};

use super::{
    Figure,
    federation::Federation,
    percentile,
    process::{Running, cpu_seconds, resident_mb},
    say,
};

/// Measures a process that all others are connected with, and no other.
pub(super) async fn at_rest(program: &std::path::Path) -> anyhow::Result<Vec<Figure>> {
    // The others connect with the process alone: it rests only when nothing is new anywhere.
    let federation = Federation { publishes_addresses: false, ..found(4)? };
    let code: MemberCode = "FR".parse()?;
    let folder = tempfile::tempdir()?;
    let places =
        federation.sample.write_folders(&folder.path().join("nodes"), std::slice::from_ref(&code), || {})?;
    let place = places.first().ok_or_else(|| anyhow::anyhow!("a folder"))?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(&place.config).stdout(Stdio::null()).stderr(Stdio::null());
    let child = Running(command.spawn()?);
    let changes = federation.sample.changes(&[])?;
    let mut others = Vec::new();
    for member in federation.sample.members.iter().filter(|member| member.country.code != code) {
        let store = MemoryStore::new();
        store.apply(&changes)?;
        let hints = vec![Address::from(place.listen)];
        others.push(federation.start(member, &free_address()?, Arc::new(store), hints).await?);
    }
    let begun = Instant::now();
    for node in &others {
        while node.handle().query(|machine, _| machine.connected().is_empty()).await? {
            anyhow::ensure!(begun.elapsed() < CROWD_TIME, "not all could connect with the process");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    say("the process at rest, with all connected");
    tokio::time::sleep(SETTLING).await;
    let before = cpu_seconds(child.0.id())?;
    tokio::time::sleep(RESTING).await;
    let busy = (cpu_seconds(child.0.id())? - before) / RESTING.as_secs_f64();
    let memory = resident_mb(child.0.id())?;
    Ok(vec![
        Figure { name: "idle_rss_195", value: memory, unit: "MB", ratio: None, aim: "<= 60" },
        Figure { name: "idle_cpu_195", value: busy * 100.0, unit: "%", ratio: None, aim: "none" },
    ])
}

/// Measures how soon a node that has only the charter and its own key set holds what its one peer holds.
pub(super) async fn cold_directory() -> anyhow::Result<Vec<Figure>> {
    let federation = found(5)?;
    let changes = federation.sample.changes(&[])?;
    let members = &federation.sample.members;
    let (Some(holder), Some(newcomer)) = (members.first(), members.last()) else {
        anyhow::bail!("a sample has members")
    };
    let address = free_address()?;
    let store = MemoryStore::new();
    store.apply(&changes)?;
    let full = federation.start(holder, &address, Arc::new(store), Vec::new()).await?;
    let held = entries(&full).await?;
    anyhow::ensure!(held == members.len(), "the first node holds {held} entries");
    let own_key_set = newcomer.key_set.id(federation.sample.federation.into());
    let mut times = Vec::new();
    for _ in 0..COLD_ROUNDS {
        let store = MemoryStore::new();
        let little: Vec<Change> = changes
            .iter()
            .filter(|change| match change.table {
                Table::Charters | Table::OwnState => true,
                Table::KeySets => change.key == own_key_set.as_bytes(),
                _ => false,
            })
            .cloned()
            .collect();
        store.apply(&little)?;
        let begun = Instant::now();
        let node =
            federation.start(newcomer, &free_address()?, Arc::new(store), vec![address.clone()]).await?;
        while entries(&node).await? < held {
            anyhow::ensure!(begun.elapsed() < COLD_TIME, "the newcomer never had the whole directory");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let value = percentile(&mut times, 50);
    Ok(vec![Figure { name: "cold_directory_196", value, unit: "ms", ratio: None, aim: "<= 1000" }])
}

fn found(seed: u64) -> anyhow::Result<Federation> {
    let clock = Clock::start(0);
    let sample = Sample::found(&mut Draw::Seeded { seed, drawn: 0 }, &[], clock.now(), || {})?;
    Ok(Federation { sample, clock, transport: TransportKind::Tcp, publishes_addresses: true })
}

/// Members of which a node can show an entry, with its body.
async fn entries(node: &Node) -> anyhow::Result<usize> {
    let look = |machine: &refpoint_protocol::machine::Machine, now| {
        let directory = machine.evidence().directory();
        let shown = |code: &MemberCode| directory.member(code, now)?.reference_point?.entry;
        machine.evidence().membership().members().filter(|member| shown(&member.code).is_some()).count()
    };
    Ok(node.handle().query(look).await?)
}

/// An address on loopback that nobody listens at.
fn free_address() -> anyhow::Result<Address> {
    Ok(Address::from(listen_on_free_port()?.local_addr()?))
}

/// How long 195 nodes may take to connect with one.
const CROWD_TIME: Duration = Duration::from_secs(300);
/// Repairs after the connections, and gossip's first rounds.
const SETTLING: Duration = Duration::from_secs(45);
/// What is measured of the rest.
const RESTING: Duration = Duration::from_secs(30);
const COLD_ROUNDS: usize = 5;
const COLD_TIME: Duration = Duration::from_secs(60);
