//! How soon a custodian hands over what it keeps once the recipient is back, its sender gone.

use std::time::{Duration, Instant};

use refpoint::runtime::Handle;
use refpoint_protocol::{
    ids::MessageId,
    machine::{Event, NumberedEvent, Reply},
    message::header::Precedence,
    relay::event::RelayEvent,
};

use super::{Figure, few::Few, percentile, relay::draft};

/// Measures the hand-over from the return of the recipient's process, and from its connection with the custodian.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut few = Few::start(&["FR", "SG", "KE"]).await?;
    let (mut from_start, mut from_meeting) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        few.stop(RECIPIENT).await?;
        let since = few.handle(SENDER)?.events().newest();
        let command = draft(few.code(RECIPIENT)?, Precedence::Flash, 1_024);
        let reply = few.handle(SENDER)?.command(command).await??;
        let Reply::Queued { message, .. } = reply else { anyhow::bail!("not queued") };
        seen(few.handle(SENDER)?, since, |event| is_kept(event, message)).await?;
        few.stop(SENDER).await?;
        let (code, since) = (few.code(RECIPIENT)?, few.handle(CUSTODIAN)?.events().newest());
        let begun = Instant::now();
        few.return_of(RECIPIENT).await?;
        seen(few.handle(CUSTODIAN)?, since, |event| is_met(event, &code)).await?;
        let met = Instant::now();
        seen(few.handle(RECIPIENT)?, 0, |event| has_arrived(event, message)).await?;
        from_start.push(begun.elapsed().as_secs_f64() * 1e3);
        from_meeting.push(met.elapsed().as_secs_f64() * 1e3);
        few.return_of(SENDER).await?;
        few.can_write().await?;
    }
    let figure = |name, value, aim| Figure { name, value, unit: "ms", ratio: None, aim };
    let worst = percentile(&mut from_start, 100);
    Ok(vec![
        figure("handover_from_start_p50", percentile(&mut from_start, 50), ""),
        figure("handover_from_start_worst", worst, "<= 1000"),
        figure("handover_from_meeting_p50", percentile(&mut from_meeting, 50), ""),
        figure("handover_from_meeting_worst", percentile(&mut from_meeting, 100), "<= 1000"),
    ])
}

/// Waits for an event after a number.
async fn seen(handle: &Handle, since: u64, is_it: impl Fn(&Event) -> bool) -> anyhow::Result<()> {
    let mut subscription = handle.events().subscribe(Some(since));
    let hit = |event: &NumberedEvent| is_it(&event.event);
    if subscription.missed.iter().any(|event| hit(event)) {
        return Ok(());
    }
    let waiting = async {
        loop {
            if hit(&*subscription.live.recv().await?) {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await?
}

fn is_kept(event: &Event, id: MessageId) -> bool {
    matches!(event, Event::Relay(RelayEvent::MessageInCustody { step, .. }) if step.message == id)
}

fn is_met(event: &Event, code: &refpoint_protocol::ids::MemberCode) -> bool {
    matches!(event, Event::PeerConnected { member, .. } if member == code)
}

fn has_arrived(event: &Event, id: MessageId) -> bool {
    matches!(event, Event::Relay(RelayEvent::MessageArrived { message, .. }) if *message == id)
}

const SENDER: usize = 0;
const RECIPIENT: usize = 1;
const CUSTODIAN: usize = 2;
/// Returns that are measured.
const ROUNDS: usize = 10;
/// How long any step may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(90);
