//! The floor: what one message cannot do without. Seal, a durable append, TLS there, open, verify, a durable append,
//! sign, TLS back, verify; no protocol around it.

use std::{fs::File, io::Write as _, time::Instant};

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{
    core::upgrade::{InboundConnectionUpgrade as _, OutboundConnectionUpgrade as _, UpgradeInfo as _},
    identity::Keypair,
    tls,
};
use refpoint_protocol::crypto::{OpenedSeed, SealingSeed, hpke_open, hpke_seal};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

/// The floor, ready to be measured in slices between those of what is measured against it.
pub(super) struct Floor {
    one: Pair,
    many: Vec<Pair>,
}

impl Floor {
    /// Connects its pairs, and warms them up.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let mut floor =
            Self { one: Pair::connect().await?, many: vec![Pair::connect().await?, Pair::connect().await?] };
        floor.one_by_one(WARM_UP).await?;
        floor.seconds_of(1).await?;
        Ok(floor)
    }

    /// The milliseconds that each of so many messages takes, one in flight.
    pub(super) async fn one_by_one(&mut self, messages: usize) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::with_capacity(messages);
        for _ in 0..messages {
            let begun = Instant::now();
            self.one.round(1).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }

    /// The seconds that so many rounds of [`IN_FLIGHT`] messages take, over two connections.
    pub(super) async fn seconds_of(&mut self, rounds: usize) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let halves = std::mem::take(&mut self.many).into_iter().map(|mut pair| {
            tokio::spawn(async move {
                for _ in 0..rounds {
                    pair.round(IN_FLIGHT / 2).await?;
                }
                anyhow::Ok(pair)
            })
        });
        for half in halves.collect::<Vec<_>>() {
            self.many.push(half.await??);
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

type Stream = tls::TlsStream<tokio_util::compat::Compat<TcpStream>>;

/// One end: a connection, a disk, keys.
struct End {
    stream: Stream,
    disk: File,
    signing: SigningKey,
    peer: VerifyingKey,
    seed: OpenedSeed,
    peer_key: Vec<u8>,
    _folder: tempfile::TempDir,
}

struct Pair {
    sender: End,
    answerer: Option<End>,
}

impl Pair {
    async fn connect() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (there, here) = futures::try_join!(TcpStream::connect(listener.local_addr()?), async {
            listener.accept().await.map(|(stream, _)| stream)
        })?;
        for stream in [&there, &here] {
            stream.set_nodelay(true)?;
        }
        let config = || tls::Config::new(&Keypair::generate_ed25519());
        let (dialler, listener) = (config()?, config()?);
        let info = dialler.protocol_info().next().ok_or_else(|| anyhow::anyhow!("TLS has a name"))?;
        let (out, inside) = futures::join!(
            dialler.upgrade_outbound(there.compat(), info),
            listener.upgrade_inbound(here.compat(), info)
        );
        let keys = [[1; 32], [2; 32]].map(|seed| SigningKey::from_bytes(&seed));
        let seeds = || [[3; 32], [4; 32]].map(|seed| SealingSeed::from_bytes(seed).expand());
        let public = |seed: &OpenedSeed| {
            seed.entry(refpoint_protocol::time::Timestamp::default(), refpoint_protocol::time::Timestamp::MAX)
                .key
        };
        let [seed, peer_seed] = seeds();
        let (own_public, peer_public) = (public(&seed), public(&peer_seed));
        let [signing, peer] = keys;
        let end = |stream, signing: &SigningKey, peer: &SigningKey, seed, peer_key| -> anyhow::Result<End> {
            let folder = tempfile::tempdir_in(".")?;
            let disk = File::create(folder.path().join("floor"))?;
            let (signing, peer) = (signing.clone(), peer.verifying_key());
            Ok(End { stream, disk, signing, peer, seed, peer_key, _folder: folder })
        };
        Ok(Self {
            sender: end(out?.1, &signing, &peer, seed, peer_public)?,
            answerer: Some(end(inside?.1, &peer, &signing, peer_seed, own_public)?),
        })
    }

    /// So many messages there, as many receipts back; each end syncs once for all of them.
    async fn round(&mut self, messages: usize) -> anyhow::Result<()> {
        let mut answerer = self.answerer.take().ok_or_else(|| anyhow::anyhow!("no answerer"))?;
        let answering = tokio::spawn(async move {
            answerer.answer(messages).await?;
            anyhow::Ok(answerer)
        });
        self.sender.send(messages).await?;
        self.answerer = Some(answering.await??);
        Ok(())
    }
}

impl End {
    async fn send(&mut self, messages: usize) -> anyhow::Result<()> {
        let mut parcels = Vec::with_capacity(messages);
        for _ in 0..messages {
            let body = [5; BODY_BYTES];
            let signature = self.signing.sign(&body).to_bytes();
            let sealed = hpke_seal(&self.peer_key, b"floor", &signature, &[6; 64]);
            let sealed = sealed.map_err(|fault| anyhow::anyhow!("{fault}"))?;
            self.disk.write_all(&[0; ROW_BYTES])?;
            parcels.push([sealed.as_slice(), &body].concat());
        }
        self.disk.sync_data()?;
        for parcel in &parcels {
            self.stream.write_all(parcel).await?;
        }
        self.stream.flush().await?;
        for _ in 0..messages {
            let mut receipt = [0; RECEIPT_BYTES];
            self.stream.read_exact(&mut receipt).await?;
            let signature = ed25519_dalek::Signature::from_bytes(&receipt);
            self.peer.verify_strict(b"delivered", &signature)?;
        }
        Ok(())
    }

    async fn answer(&mut self, messages: usize) -> anyhow::Result<()> {
        for _ in 0..messages {
            let mut parcel = vec![0; SEALED_BYTES + BODY_BYTES];
            self.stream.read_exact(&mut parcel).await?;
            let (sealed, body) = parcel.split_at(SEALED_BYTES);
            let opened =
                hpke_open(&self.seed, b"floor", sealed).map_err(|fault| anyhow::anyhow!("{fault}"))?;
            let signature = ed25519_dalek::Signature::from_slice(&opened)?;
            self.peer.verify_strict(body, &signature)?;
            self.disk.write_all(&[0; ROW_BYTES])?;
        }
        self.disk.sync_data()?;
        for _ in 0..messages {
            self.stream.write_all(&self.signing.sign(b"delivered").to_bytes()).await?;
        }
        self.stream.flush().await?;
        Ok(())
    }
}

/// Messages in flight where the rate is measured.
pub(super) const IN_FLIGHT: usize = 64;
const WARM_UP: usize = 50;
const BODY_BYTES: usize = 1_024;
/// What a message's rows take in the database.
const ROW_BYTES: usize = 1_536;
const RECEIPT_BYTES: usize = 64;
/// X-Wing's encapsulated key, a signature, the tag.
const SEALED_BYTES: usize = 1_120 + 64 + 16;
