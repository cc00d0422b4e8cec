//! What stands before a node on loopback: passes bytes on, late or not at all.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
    time::Instant,
};

/// A listener before a node, until it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    mode: Mode,
    serving: JoinHandle<()>,
}

/// What it does with bytes that come from now on.
#[derive(Clone, Default)]
struct Mode(Arc<AtomicU8>);

impl Proxy {
    /// Listens on a free port of loopback before a node at `behind`.
    pub(crate) async fn before(behind: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, mode) = (listener.local_addr()?, Mode::default());
        let of_calls = mode.clone();
        let serving = tokio::spawn(async move {
            while let Ok((call, _)) = listener.accept().await {
                tokio::spawn(carry(call, behind, of_calls.clone()));
            }
        });
        Ok(Self { address, mode, serving })
    }

    /// Passes on at once.
    pub(crate) fn pass(&self) {
        self.mode.0.store(PASS, Ordering::Relaxed);
    }

    /// Passes on after [`DELAY`], either way.
    pub(crate) fn delay(&self) {
        self.mode.0.store(LATE, Ordering::Relaxed);
    }

    /// Takes everything, old connections' bytes and new connections, and passes nothing on.
    pub(crate) fn swallow(&self) {
        self.mode.0.store(SWALLOW, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn carry(call: TcpStream, behind: SocketAddr, mode: Mode) {
    let Ok(onward) = TcpStream::connect(behind).await else { return };
    for stream in [&call, &onward] {
        if stream.set_nodelay(true).is_err() {
            return;
        }
    }
    let ((from_call, to_call), (from_node, to_node)) = (call.into_split(), onward.into_split());
    // Either direction's end ends both, as the loss of a connection does.
    tokio::select! {
        () = pass(from_call, to_node, mode.clone()) => {}
        () = pass(from_node, to_call, mode) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mode: Mode) {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUE);
    let write = async {
        while let Some((when, bytes)) = queued.recv().await {
            tokio::time::sleep_until(when).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut bytes = vec![0; 64 * 1024];
        let mut has_swallowed = false;
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let wait = match mode.0.load(Ordering::Relaxed) {
                LATE => DELAY,
                SWALLOW => {
                    has_swallowed = true;
                    continue;
                }
                // With bytes missing in its middle there is nothing to go on with.
                _ if has_swallowed => return,
                _ => Duration::ZERO,
            };
            let chunk = bytes.get(..count).unwrap_or_default().to_vec();
            if queue.send((Instant::now() + wait, chunk)).await.is_err() {
                return;
            }
        }
        drop(queue);
    };
    tokio::join!(read, write);
}

/// How late bytes are, each way.
pub(crate) const DELAY: Duration = Duration::from_millis(800);

const QUEUE: usize = 256;

const PASS: u8 = 0;
const LATE: u8 = 1;
const SWALLOW: u8 = 2;
