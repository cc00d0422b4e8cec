//! Slow, silent and frozen peers, on loopback: a proxy stands before each node.

use std::time::Duration;

use refpoint::sample::listen_on_free_port;

use super::{
    proxy::{DELAY, Proxy},
    say,
    traffic::Traffic,
    trial::Trial,
};

/// So many rounds of each fault.
pub(crate) async fn run(trial: &Trial<'_>, rounds: u64) -> anyhow::Result<()> {
    // Now and then past what pings allow.
    let longest = if rounds == 1 { TROUBLE_SECONDS } else { 8 * TROUBLE_SECONDS };
    say("slow, silent and frozen peers");
    let (mut proxies, mut places) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let listen = free()?;
        let proxy = Proxy::before(listen).await?;
        places.push((listen, proxy.address));
        proxies.push(proxy);
    }
    let mut scene = trial.scene("links", Some(places))?;
    scene.open().await?;
    let mut draw = trial.draw("links");
    for _ in 0..rounds {
        if trial.is_over() {
            break;
        }
        let trouble = draw.millis(TROUBLE_SECONDS * 1_000, longest * 1_000);
        say(&format!(
            "  {} ms more on every link, either way; a node starts anew meanwhile",
            DELAY.as_millis()
        ));
        let traffic = Traffic::start(&scene.fleet, &scene.ledger, &mut draw, PACE);
        proxies.iter().for_each(Proxy::delay);
        tokio::time::sleep(trouble / 2).await;
        let victim = draw.below(scene.fleet.len());
        scene.fleet.kill(victim).await?;
        scene.fleet.start(victim)?;
        tokio::time::sleep(trouble).await;
        traffic.stop().await;
        let verdict = scene.verdict().await?;
        proxies.iter().for_each(Proxy::pass);
        trial.add("delay of 800 ms", 1, verdict);

        say("  a peer behind a black hole");
        let traffic = Traffic::start(&scene.fleet, &scene.ledger, &mut draw, PACE);
        let victim = draw.below(scene.fleet.len());
        let hole = proxies.get(victim);
        hole.into_iter().for_each(Proxy::swallow);
        tokio::time::sleep(trouble).await;
        hole.into_iter().for_each(Proxy::pass);
        traffic.stop().await;
        let verdict = scene.verdict().await?;
        trial.add("black-holed peer", 1, verdict);

        say("  a frozen process");
        let traffic = Traffic::start(&scene.fleet, &scene.ledger, &mut draw, PACE);
        let victim = draw.below(scene.fleet.len());
        scene.fleet.at(victim)?.freeze()?;
        tokio::time::sleep(trouble).await;
        scene.fleet.at(victim)?.thaw()?;
        traffic.stop().await;
        let verdict = scene.verdict().await?;
        trial.add("frozen process", 1, verdict);
    }
    scene.fleet.stop_all().await
}

fn free() -> anyhow::Result<std::net::SocketAddr> {
    Ok(listen_on_free_port()?.local_addr()?)
}

/// How long each trouble lasts at least.
const TROUBLE_SECONDS: u64 = 6;

/// How often each officer writes.
const PACE: Duration = Duration::from_millis(300);
