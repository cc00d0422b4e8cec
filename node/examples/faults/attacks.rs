//! Attacks on a running node, each within its bound: the node lives, its memory and processor time stay bounded,
//! honest messages arrive, and a member that breaks rules is named.

use std::{collections::BTreeMap, path::Path, time::Duration};

use ed25519_dalek::SigningKey;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use refpoint::network::names;
use refpoint_protocol::{
    directory::header::ReferencePointHeader,
    document::{Envelope, encode},
    evidence::repair::{Documents, Fetch, RepairRequest},
    ids::DocumentId,
    introduction::{Introduction, encode_frame},
    limits::{PARCEL_BYTES_MAX, RELAY_FRAME_BYTES_MAX, REPAIR_BYTES_MAX},
    relay::parcel::Class,
};
use tokio::task::JoinSet;

use super::{
    arena::{Arena, Measured},
    chain::{Chain, node_key},
    members,
    peer::{GOSSIP, call, data, publication, subscription, varint},
    replays::Replay,
    say,
};

/// One attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Connections that never say a word.
    HalfOpen,
    /// Callers whom nobody certified, who know the federation.
    Strangers,
    /// A member that asks and never reads.
    SlowReader,
    /// Frames past every bound, garbage, frames never finished.
    BrokenFrames,
    /// Gossip that is no document, as fast as it goes.
    GossipFlood,
    /// Good headers of the member's own chain, far more than its key may push.
    GoodGossipFlood,
    /// Records that are invalid, and such as once broke readers.
    RecordStorm,
    /// A chain and a fork at each of its headers, from the highest down.
    ForksDownAChain,
    /// Two nodes of one member, both active, that contradict each other.
    TwoNodes,
}

impl Attack {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::HalfOpen,
        Self::Strangers,
        Self::SlowReader,
        // Before those for which gossip does not listen to a peer any more.
        Self::GoodGossipFlood,
        Self::BrokenFrames,
        Self::GossipFlood,
        Self::RecordStorm,
        Self::ForksDownAChain,
        // Last: it ends the key set under which the others' headers stand.
        Self::TwoNodes,
    ];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HalfOpen => "half-open connections",
            Self::Strangers => "uncertified callers",
            Self::SlowReader => "a member that never reads",
            Self::BrokenFrames => "broken frames",
            Self::GossipFlood => "gossip flood",
            Self::GoodGossipFlood => "flood of valid gossip",
            Self::RecordStorm => "invalid and poison records",
            Self::ForksDownAChain => "forks down a chain",
            Self::TwoNodes => "two nodes that contradict",
        }
    }

    /// What must be seen of it afterwards: a member that broke rules is named, in `peers` and in the log; its forks
    /// are shown.
    pub(crate) async fn look(self, arena: &Arena, before: &BTreeMap<String, u64>) -> anyhow::Result<()> {
        match self {
            Self::HalfOpen | Self::Strangers | Self::SlowReader => {}
            Self::BrokenFrames | Self::GossipFlood | Self::GoodGossipFlood | Self::RecordStorm => {
                say(&format!("  named for {:?}", arena.named(before).await?));
                let attacker = arena.attacker()?.node.key().short();
                arena.logged("a peer broke a rule", &attacker).await?;
            }
            Self::ForksDownAChain => arena.disputed(1).await?,
            Self::TwoNodes => {
                let agreed = members::agreed(arena).await?;
                say(&format!("  all nodes show the same {:.1} s after it", agreed.as_secs_f64()));
            }
        }
        Ok(())
    }

    /// Does it for about so long.
    pub(crate) async fn run(self, arena: &Arena, time: Duration) -> anyhow::Result<()> {
        let attack = async {
            match self {
                Self::HalfOpen => half_open(arena).await,
                Self::Strangers => strangers(arena).await,
                Self::SlowReader => slow_reader(arena).await,
                Self::BrokenFrames => broken_frames(arena).await,
                Self::GossipFlood => gossip_flood(arena).await,
                Self::GoodGossipFlood => members::flood(arena).await,
                Self::RecordStorm => record_storm(arena).await,
                Self::ForksDownAChain => forks_down_a_chain(arena).await,
                Self::TwoNodes => members::two_nodes(arena).await,
            }
        };
        // Most go on until they are stopped.
        tokio::time::timeout(time, attack).await.unwrap_or(Ok(()))
    }
}

/// Runs all, or those whose names begin so, prints the table, and says whether every bound was kept.
pub(crate) async fn all(
    program: &Path,
    folder: &Path,
    time: Duration,
    only: &[String],
) -> anyhow::Result<bool> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| name.starts_with(only.as_str()));
    let mut arena = Arena::open(program, folder).await?;
    let mut rows = Vec::new();
    for attack in Attack::ALL.into_iter().filter(|attack| wanted(attack.name())) {
        say(&format!("{} ...", attack.name()));
        let before = arena.faults().await?;
        // So long that the node has noticed.
        let time = if attack == Attack::SlowReader { time.max(SILENT * 2) } else { time };
        let ((), measured) = arena.during(attack.run(&arena, time)).await?;
        attack.look(&arena, &before).await?;
        rows.push((attack.name(), measured));
    }
    for replay in Replay::ALL.into_iter().filter(|replay| wanted(replay.name())) {
        say(&format!("{} ...", replay.name()));
        let ((), measured) = arena.during(replay.play(&arena)).await?;
        rows.push((replay.name(), measured));
    }
    let alive = arena.fleet.members_mut().iter_mut().all(|member| !member.has_ended().unwrap_or(true));
    arena.fleet.stop_all().await?;
    Ok(table(&rows) && alive)
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn table(rows: &[(&str, Measured)]) -> bool {
    println!(
        "{:<28} {:>9} {:>12} {:>8} {:>6}  kept",
        "attack", "delivered", "slowest ms", "RSS +MB", "cores"
    );
    let mut all = true;
    for (name, Measured { delivered, slowest, grown_megabytes, busy }) in rows {
        let kept = *grown_megabytes <= GROWTH_MEGABYTES_MAX
            && *slowest <= SLOWEST_MAX
            && *busy <= BUSY_MAX
            && *delivered > 1;
        all &= kept;
        println!(
            "{name:<28} {delivered:>9} {:>12.0} {grown_megabytes:>8.1} {busy:>6.2}  {}",
            slowest.as_secs_f64() * 1e3,
            if kept { "yes" } else { "NO" },
        );
    }
    let json: Vec<_> = rows
        .iter()
        .map(|(name, it)| {
            serde_json::json!({
                "attack": name, "delivered": it.delivered, "slowest_ms": it.slowest.as_millis(),
                "grown_mb": it.grown_megabytes, "cores": it.busy,
            })
        })
        .collect();
    println!("{}", serde_json::json!({ "kept": all, "attacks": json }));
    all
}

async fn half_open(arena: &Arena) -> anyhow::Result<()> {
    let address = arena.address()?;
    let mut held = std::collections::VecDeque::new();
    loop {
        if let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
        {
            held.push_back(stream);
        }
        if held.len() > HELD_CONNECTIONS {
            held.pop_front();
        }
    }
}

async fn strangers(arena: &Arena) -> anyhow::Result<()> {
    let mut callers = JoinSet::new();
    let (address, listener) = (arena.address()?, arena.victim()?);
    for caller in 0..16_u8 {
        let now = arena.now();
        let claims: Vec<_> = (0..8_u8)
            .map(|number| {
                let signing = SigningKey::from_bytes(&[caller.wrapping_mul(8).wrapping_add(number); 32]);
                let claim = arena.claim(node_key(&signing));
                (signing, claim)
            })
            .collect();
        callers.spawn(async move {
            for (signing, claim) in claims.iter().cycle() {
                let Ok(mut caller) = call(address, signing).await else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let (_, hello) = Introduction::dial(claim.clone(), listener, now);
                let Ok(bytes) = encode_frame(&hello) else { return };
                if caller.write_all(&bytes).await.is_ok() && caller.flush().await.is_ok() {
                    // It is told nothing, and closed.
                    let _end = caller.read(&mut [0; 64]).await;
                }
            }
        });
    }
    while callers.join_next().await.is_some() {}
    Ok(())
}

async fn slow_reader(arena: &Arena) -> anyhow::Result<()> {
    let repair = names::repair(arena.sample.federation);
    let ids: Vec<DocumentId> =
        arena.sample.members.iter().map(|member| member.key_set.id(Some(arena.sample.federation))).collect();
    let fetch = RepairRequest::Fetch(Fetch { documents: ids, ..Fetch::default() });
    let fetch = encode(&fetch)?;
    let request = [varint(fetch.len() as u64), fetch].concat();
    loop {
        let Ok(mut peer) = arena.enter().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Not more than a connection may have, which would end it at once.
        for stream in (1..).step_by(2).take(UNREAD_STREAMS) {
            if !peer.ask(stream, repair.as_ref(), &request).await {
                break;
            }
        }
        // What it was sent stands in its way until it has been cut off.
        tokio::time::sleep(SILENT).await;
        arena.cut_off_as_silent().await?;
    }
}

async fn broken_frames(arena: &Arena) -> anyhow::Result<()> {
    let federation = arena.sample.federation;
    let (repair, urgent) = (names::repair(federation), names::relay(federation, Class::Urgent));
    let long = |length: usize| varint(length as u64 + 1);
    let broken: [(&str, Vec<u8>); 7] = [
        (urgent.as_ref(), b"\x80\x00".to_vec()),
        (urgent.as_ref(), long(PARCEL_BYTES_MAX)),
        (urgent.as_ref(), [long(RELAY_FRAME_BYTES_MAX), b"\xA1\x67receipt".to_vec()].concat()),
        (urgent.as_ref(), [varint(PARCEL_BYTES_MAX as u64), b"\xA1\x66parcel".to_vec()].concat()),
        (repair.as_ref(), long(REPAIR_BYTES_MAX)),
        (repair.as_ref(), b"\x01\xF6\x00".to_vec()),
        (repair.as_ref(), [varint(2_000), vec![0x81; 2_000]].concat()),
    ];
    loop {
        let Ok(mut peer) = arena.enter().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        peer.drain();
        for (stream, (protocol, bytes)) in (1..).step_by(2).zip(broken.iter().cycle()) {
            if !peer.say(stream, protocol, bytes).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn gossip_flood(arena: &Arena) -> anyhow::Result<()> {
    let topic = names::evidence_topic(arena.sample.federation).hash().into_string();
    let mut number = 0_u64;
    loop {
        let Ok(mut peer) = arena.enter().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        peer.drain();
        peer.say(1, GOSSIP, &subscription(&topic)).await;
        loop {
            let mut pieces = Vec::new();
            for _ in 0..64 {
                number += 1;
                pieces.extend(publication(&topic, format!("no document {number}").as_bytes()));
            }
            if !peer.write(&data(1, 0, &pieces)).await {
                break;
            }
            // About ten thousand a second.
            tokio::time::sleep(Duration::from_millis(6)).await;
        }
    }
}

async fn record_storm(arena: &Arena) -> anyhow::Result<()> {
    let empty = |kind: &str, payload: Vec<u8>| Envelope {
        kind: kind.to_owned(),
        version: 1,
        payload,
        signatures: Vec::new(),
    };
    let invalid = Documents { envelopes: vec![empty("charter", vec![0xA0]); 4_000], bodies: Vec::new() };
    let poison = Documents {
        envelopes: vec![
            empty("key-set", vec![0x81; 12_000]),
            empty("node-record", vec![0x9B, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            empty("reference-point", vec![0x5B, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            empty("charter", [vec![0xBF], [0x61, 0x61, 0xA0].repeat(4_000)].concat()),
        ],
        bodies: vec![serde_bytes::ByteBuf::from(vec![0x81; 16_000])],
    };
    let mut requests = Vec::new();
    for documents in [invalid, poison] {
        let give = encode(&RepairRequest::Give(documents))?;
        requests.push([varint(give.len() as u64), give].concat());
    }
    give_for_ever(arena, &requests).await
}

async fn forks_down_a_chain(arena: &Arena) -> anyhow::Result<()> {
    let attacker = arena.attacker()?;
    let (now, kind) = (arena.now(), ReferencePointHeader);
    let key_set = attacker.key_set.id(Some(arena.sample.federation));
    let mut chain = Chain::new(arena, key_set, attacker.node.signing_key().clone())?;
    let mut whole = vec![attacker.reference_point.header.clone()];
    let mut forks = Vec::new();
    for _ in 0..CHAIN {
        if let Some(last) = whole.last() {
            chain.follow(last);
        }
        whole.push(chain.sign(kind, now, &[0; BODY])?);
        forks.push(chain.sign(kind, now, &[1; BODY])?);
    }
    forks.reverse();
    let whole = Documents { envelopes: whole, bodies: Vec::new() };
    let mut requests = Vec::new();
    for documents in std::iter::once(whole)
        .chain(forks.into_iter().map(|fork| Documents { envelopes: vec![fork], bodies: Vec::new() }))
    {
        let give = encode(&RepairRequest::Give(documents))?;
        requests.push([varint(give.len() as u64), give].concat());
    }
    give_for_ever(arena, &requests).await
}

/// Hands documents over by repair, again and again, and comes back whenever it is cut off.
async fn give_for_ever(arena: &Arena, requests: &[Vec<u8>]) -> anyhow::Result<()> {
    let repair = names::repair(arena.sample.federation);
    loop {
        let Ok(mut peer) = arena.enter().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        peer.drain();
        for (stream, request) in (1..).step_by(2).zip(requests.iter().cycle()) {
            if !peer.ask(stream, repair.as_ref(), request).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Longer than a node waits for the answer to a ping: so long a member is watched that never reads.
const SILENT: Duration = Duration::from_secs(40);

/// Requests on one connection whose answers nobody reads.
const UNREAD_STREAMS: usize = 100;

/// Headers of the chain that is forked.
const CHAIN: usize = 64;

/// Bytes of the bodies that its headers tell of; nobody sees one.
const BODY: usize = 100;

/// Connections that a caller holds open without a word.
const HELD_CONNECTIONS: usize = 400;

/// What an attacked node may take beyond what it had (THREATS.md).
const GROWTH_MEGABYTES_MAX: f64 = 64.0;

/// How long an honest flash message may take while the node is attacked (THREATS.md).
const SLOWEST_MAX: Duration = Duration::from_secs(10);

/// Cores that an attacked node may keep busy (THREATS.md): one for introductions, and the rest of its work.
const BUSY_MAX: f64 = 1.5;
