//! `refpoint peers`: every other node, connected or not, and why not.

use super::{
    failure::Failure,
    human,
    node::{Node, converse},
    output::{Output, table},
    safe_text::line,
};
use crate::api::views::{
    instant::Instant,
    peer::{Direction, FaultView, PeerView},
};

/// List the other members' nodes: direction, transport, latency, last contact, and a plain reason when down.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// Only those that are not connected.
    #[arg(long)]
    down: bool,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    let mut peers = converse(async { Ok(client.peers().await?) })?;
    if arguments.down {
        peers.retain(|peer| !peer.connected);
    }
    if peers.is_empty() {
        let human =
            if arguments.down { "every known node is connected" } else { "no other node is known yet" };
        return output.result(human, &peers);
    }
    let now = human::now();
    let human = table(
        ["member", "name", "node", "state", "round trip", "transport", "last contact", "why, next"],
        peers.iter().map(|peer| row(peer, now)),
    );
    output.result(human, &peers)
}

fn row(peer: &PeerView, now: Instant) -> [String; 8] {
    let state = match (peer.connected, peer.direction) {
        (false, _) => "down".to_owned(),
        (true, Some(Direction::Inbound)) => "up, dialled in".to_owned(),
        (true, Some(Direction::Outbound)) => "up, dialled out".to_owned(),
        (true, None) => "up".to_owned(),
    };
    let round_trip =
        peer.latency_us.map(|micros| format!("{}.{:01} ms", micros / 1_000, micros % 1_000 / 100));
    let transport: Vec<&str> =
        [peer.transport.as_deref(), peer.group.as_deref()].into_iter().flatten().collect();
    let contact = match peer.last_contact {
        Some(last) => format!("{} ago", human::duration(last.age_seconds(now))),
        None => "never".to_owned(),
    };
    let next = peer.next_dial.map(|next| {
        let wait = next.timestamp().since(now.timestamp()).as_secs();
        if wait == 0 { "dialled now".to_owned() } else { format!("dialled in {}", human::duration(wait)) }
    });
    let why: Vec<String> =
        [peer.reason.as_deref().map(line), next, broken(&peer.faults)].into_iter().flatten().collect();
    [
        peer.member.to_string(),
        line(&peer.names.en),
        peer.node.short(),
        state,
        round_trip.unwrap_or_default(),
        line(&transport.join(" ")),
        contact,
        why.join("; "),
    ]
}

/// What it did that no honest node does; the rules stand in `protocol/VALIDATION.md`.
fn broken(faults: &[FaultView]) -> Option<String> {
    let rules: Vec<String> =
        faults.iter().map(|fault| format!("{} {} times", line(&fault.rule), fault.count)).collect();
    (!rules.is_empty()).then(|| format!("broke {}", rules.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_rules_are_named_with_how_often() {
        let fault = |rule: &str, count| FaultView { rule: rule.to_owned(), count };
        assert_eq!(broken(&[]), None);
        let shown = broken(&[fault("DO-04", 3), fault("NET-2", 1)]);
        assert_eq!(shown.as_deref(), Some("broke DO-04 3 times, NET-2 1 times"));
    }
}
