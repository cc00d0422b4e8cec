//! Two whole nodes over TCP on loopback, each with its database on a disk: from the command to the verified
//! `delivered`.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use refpoint::runtime::{Handle, events::Subscription};
use refpoint_protocol::{
    ids::{MemberCode, MessageId},
    machine::{self, Command, Event, Reply},
    message::{
        body::{Body, Tlp},
        draft::Draft,
        header::Precedence,
    },
    redact::Redacted,
    relay::event::RelayEvent,
};
use tokio::sync::Semaphore;

use super::{
    Figure,
    few::Few,
    floor::{Floor, IN_FLIGHT},
    percentile,
};

/// Measures the relay, in slices between those of the floor: what else the machine does meets both.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut floor = Floor::start().await?;
    let pair = Pair::start().await?;
    for _ in 0..50 {
        pair.one(SMALL).await?;
    }
    let (mut floor_times, mut small, mut large) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SLICES {
        floor_times.extend(floor.one_by_one(ONE_BY_ONE).await?);
        for _ in 0..ONE_BY_ONE {
            small.push(pair.one(SMALL).await?);
        }
    }
    for _ in 0..SLICES * ONE_BY_ONE / 5 {
        large.push(pair.one(LARGE).await?);
    }
    let (mut loaded, beside) = pair.one_by_one_under_load(SLICES * ONE_BY_ONE / 5).await?;
    let (mut floor_seconds, mut seconds) = (0.0, 0.0);
    for _ in 0..SLICES {
        floor_seconds += floor.seconds_of(MANY / IN_FLIGHT).await?;
        seconds += pair.seconds_of(MANY, Precedence::Flash).await?;
    }
    let messages = (SLICES * MANY) as f64;
    let (floor_rate, rate) = (messages / floor_seconds, messages / seconds);
    let at = |times: &mut Vec<f64>| (percentile(times, 50), percentile(times, 99));
    let ((floor_p50, floor_p99), (p50, p99), (large_p50, large_p99)) =
        (at(&mut floor_times), at(&mut small), at(&mut large));
    let ms = |name, value, ratio, aim| Figure { name, value, unit: "ms", ratio, aim };
    let per_second = |name, value, ratio, aim| Figure { name, value, unit: "1/s", ratio, aim };
    Ok(vec![
        ms("floor_p50", floor_p50, None, ""),
        ms("floor_p99", floor_p99, None, ""),
        per_second("floor_rate_64", floor_rate, None, ""),
        ms("relay_p50", p50, Some(p50 / floor_p50), "<= 2 x floor"),
        ms("relay_p99", p99, Some(p99 / floor_p99), ""),
        ms("relay_64k_p50", large_p50, None, "no 40 ms step"),
        ms("relay_64k_p99", large_p99, None, ""),
        ms("flash_under_load_p50", percentile(&mut loaded, 50), None, "<= 2 x relay_p50"),
        per_second("routine_beside_flash", beside, None, ""),
        per_second("relay_rate_64", rate, Some(rate / floor_rate), ">= 0.6 x floor, >= 2000"),
    ])
}

struct Pair {
    sender: Handle,
    to: MemberCode,
    /// Messages of [`Self::seconds_of`] that arrived.
    arrived: Arc<AtomicU64>,
    _few: Few,
}

impl Pair {
    async fn start() -> anyhow::Result<Self> {
        let few = Few::start(&["FR", "SG"]).await?;
        Ok(Self { sender: few.handle(0)?.clone(), to: few.code(1)?, arrived: Arc::default(), _few: few })
    }

    /// One flash message. Returns the milliseconds from the command to the event.
    async fn one(&self, bytes: usize) -> anyhow::Result<f64> {
        let command = draft(self.to.clone(), Precedence::Flash, bytes);
        let mut live = self.sender.events().subscribe(None).live;
        let begun = Instant::now();
        let reply = self.sender.command(command).await??;
        let Reply::Queued { message, .. } = reply else { anyhow::bail!("not queued") };
        loop {
            if delivered(&live.recv().await?.event) == Some(message) {
                return Ok(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
    }

    /// Flash messages, [`BETWEEN_FLASHES`] apart, while [`IN_FLIGHT`] routine ones are always under way. Returns their
    /// milliseconds, and how many routine ones a second arrived beside them.
    async fn one_by_one_under_load(&self, count: usize) -> anyhow::Result<(Vec<f64>, f64)> {
        let load = async {
            loop {
                self.seconds_of(MANY, Precedence::Routine).await?;
            }
        };
        let flashes = async {
            // The load is there before anything is timed.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let (begun, before) = (Instant::now(), self.arrived.load(Ordering::Relaxed));
            let mut times = Vec::new();
            for _ in 0..count {
                times.push(self.one(SMALL).await?);
                // So that each of them meets the whole load.
                tokio::time::sleep(BETWEEN_FLASHES).await;
            }
            let routine = self.arrived.load(Ordering::Relaxed) - before;
            anyhow::Ok((times, routine as f64 / begun.elapsed().as_secs_f64()))
        };
        tokio::select! {
            ended = load => ended,
            measured = flashes => measured,
        }
    }

    /// The seconds that so many messages take with [`IN_FLIGHT`] of them under way.
    async fn seconds_of(&self, messages: usize, precedence: Precedence) -> anyhow::Result<f64> {
        let room = Arc::new(Semaphore::new(IN_FLIGHT));
        let (events, done, arrived) =
            (self.sender.events().clone(), Arc::clone(&room), Arc::clone(&self.arrived));
        let mut number = events.newest();
        let counting = tokio::spawn(async move {
            let mut seen = BTreeSet::new();
            loop {
                let Subscription { missed, mut live, .. } = events.subscribe(Some(number));
                let mut take = |event: &machine::NumberedEvent| {
                    number = event.number;
                    if let Some(id) = delivered(&event.event)
                        && seen.insert(id)
                    {
                        done.add_permits(1);
                        arrived.fetch_add(1, Ordering::Relaxed);
                    }
                    seen.len() >= messages
                };
                if missed.iter().any(|event| take(event)) {
                    return;
                }
                while let Ok(event) = live.recv().await {
                    if take(&event) {
                        return;
                    }
                }
            }
        });
        let begun = Instant::now();
        let mut sending = tokio::task::JoinSet::new();
        for _ in 0..messages {
            room.acquire().await?.forget();
            let (sender, command) = (self.sender.clone(), draft(self.to.clone(), precedence, SMALL));
            sending.spawn(async move { sender.command(command).await });
        }
        counting.await?;
        let seconds = begun.elapsed().as_secs_f64();
        while let Some(sent) = sending.join_next().await {
            sent???;
        }
        Ok(seconds)
    }
}

/// A message of so many bytes of text.
pub(super) fn draft(to: MemberCode, precedence: Precedence, bytes: usize) -> Command {
    let text = "x".repeat(bytes.saturating_sub(64));
    Command::Send(Box::new(Draft {
        recipients: vec![to],
        precedence,
        lifetime: None,
        body: Body {
            tlp: Tlp::Amber,
            text: Some(Redacted(text)),
            reference: None,
            attachments: Vec::new(),
            statement: None,
            drill: false,
            form: None,
        },
    }))
}

fn delivered(event: &Event) -> Option<MessageId> {
    match event {
        Event::Relay(RelayEvent::MessageDelivered { step, .. }) => Some(step.message),
        _ => None,
    }
}

/// Slices of each figure, the floor's and the relay's in turn.
const SLICES: usize = 10;
/// Messages of a slice, one in flight.
const ONE_BY_ONE: usize = 100;
/// Messages of a slice, many in flight.
const MANY: usize = 16 * IN_FLIGHT;
/// Between two flash messages under load: several times what one takes.
const BETWEEN_FLASHES: Duration = Duration::from_millis(20);
/// Bytes of a message, as most are.
const SMALL: usize = 1_024;
/// Bytes of a message that takes several segments.
const LARGE: usize = 64 * 1_024;
