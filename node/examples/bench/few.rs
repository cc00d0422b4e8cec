//! A few whole nodes of a federation over TCP on loopback, each with its database on a disk.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use refpoint::{
    clock::Clock,
    network::{Address, TransportKind},
    runtime::{Handle, Node},
    sample::{Draw, Sample, listen_on_free_port},
    store::{Options, SledStore, StorageKey, Store as _},
};
use refpoint_protocol::{ids::MemberCode, machine::Command};

use super::federation::Federation;

/// The nodes of one measurement, by their places in the list of members.
pub(super) struct Few {
    codes: Vec<MemberCode>,
    federation: Federation,
    addresses: Vec<SocketAddr>,
    folders: Vec<tempfile::TempDir>,
    nodes: Vec<Option<Node>>,
}

impl Few {
    /// Founds a federation of these members, starts their nodes, and waits until each can write to each.
    pub(super) async fn start(codes: &[&str]) -> anyhow::Result<Self> {
        let codes: Vec<MemberCode> = codes.iter().map(|code| code.parse()).collect::<Result<_, _>>()?;
        let clock = Clock::start(0);
        let sample = Sample::found(&mut Draw::Seeded { seed: 1, drawn: 0 }, &codes, clock.now(), || {})?;
        let listeners: Vec<TcpListener> =
            codes.iter().map(|_| listen_on_free_port()).collect::<Result<_, _>>()?;
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        drop(listeners);
        let changes = sample.changes(&[])?;
        let federation =
            Federation { sample, clock, transport: TransportKind::Tcp, publishes_addresses: true };
        let mut few = Self {
            nodes: codes.iter().map(|_| None).collect(),
            codes,
            federation,
            addresses,
            folders: Vec::new(),
        };
        for at in 0..few.codes.len() {
            few.folders.push(tempfile::tempdir_in(".")?);
            let store = few.store(at)?;
            store.apply(&changes)?;
            store.sync()?;
            few.run(at, store).await?;
        }
        // The sample's nodes have an entry already, and few cannot be each other's three witnesses: their operators
        // let them sign.
        for node in few.nodes.iter().flatten() {
            node.handle().command(Command::Resume).await??;
        }
        few.can_write().await?;
        Ok(few)
    }

    /// What a node is asked by.
    pub(super) fn handle(&self, at: usize) -> anyhow::Result<&Handle> {
        Ok(self.nodes.get(at).and_then(Option::as_ref).context("the node does not run")?.handle())
    }

    /// Whose node it is.
    pub(super) fn code(&self, at: usize) -> anyhow::Result<MemberCode> {
        self.codes.get(at).cloned().context("no such member")
    }

    /// Ends a node in order.
    pub(super) async fn stop(&mut self, at: usize) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(at).and_then(Option::take).context("the node does not run")?;
        let stop = tokio_util::sync::CancellationToken::new();
        stop.cancel();
        Ok(node.run_until(stop).await?)
    }

    /// Starts a node again on its folder.
    pub(super) async fn return_of(&mut self, at: usize) -> anyhow::Result<()> {
        let store = self.store(at)?;
        self.run(at, store).await
    }

    fn store(&self, at: usize) -> anyhow::Result<SledStore> {
        let data: PathBuf = self.folders.get(at).context("no such folder")?.path().join("data");
        Ok(SledStore::open(&data, &StorageKey::from_bytes(&[7; 32]), &Options::default())?.0)
    }

    async fn run(&mut self, at: usize, store: SledStore) -> anyhow::Result<()> {
        let own = *self.addresses.get(at).context("no such address")?;
        let hints = self.addresses.iter().filter(|other| **other != own).map(|other| (*other).into());
        let code = self.code(at)?;
        let member = self.federation.sample.member(&code).with_context(|| format!("{code} is no sample"))?;
        let node =
            self.federation.start(member, &Address::from(own), Arc::new(store), hints.collect()).await?;
        *self.nodes.get_mut(at).context("no such node")? = Some(node);
        Ok(())
    }

    /// Waits until each knows every other's sealing key, and is connected with it.
    pub(super) async fn can_write(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        for node in self.nodes.iter().flatten() {
            loop {
                anyhow::ensure!(begun.elapsed() < MEETING, "the nodes did not learn each other's keys");
                let codes = self.codes.clone();
                let ready = node.handle().query(move |machine, now| {
                    let evidence = machine.evidence();
                    let has_key = |code: &MemberCode| {
                        let mut listings = evidence.listings().iter().filter(|it| it.member == *code);
                        listings.any(|listing| evidence.directory().sealing_key(listing, now).is_some())
                    };
                    codes.iter().all(has_key) && machine.connected().len() + 1 >= codes.len()
                });
                if ready.await? {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

/// How long a few nodes may take to meet.
const MEETING: Duration = Duration::from_secs(60);
