//! `refpoint peers`: every other member's node, connected or not, and why not.

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

/// List the other members' nodes: direction, round trip, key exchange, and a plain reason for each that is down.
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
    peers.sort_by(|a, b| (!a.connected, &a.member, a.node).cmp(&(!b.connected, &b.member, b.node)));
    if peers.is_empty() {
        let human =
            if arguments.down { "every known node is connected" } else { "no other member is known yet" };
        return output.result(human, &peers);
    }
    output.result(page(&peers, human::now()), &peers)
}

/// Those connected as a table, then those that are not, with room for the reason.
fn page(peers: &[PeerView], now: Instant) -> String {
    let (up, down): (Vec<&PeerView>, Vec<&PeerView>) = peers.iter().partition(|peer| peer.connected);
    let mut page = String::new();
    if !up.is_empty() {
        let head = ["member", "node", "state", "for", "round trip", "key exchange"];
        page.push_str(&table(head, up.iter().map(|peer| connected(peer, now))));
        for peer in &up {
            if let Some(broken) = broken(&peer.faults) {
                page.push_str(&format!("{} {broken}\n", human::member(&peer.member)));
            }
        }
    }
    for peer in down {
        let node = peer.node.map(|node| format!("  {}", node.short())).unwrap_or_default();
        let contact = match peer.last_contact {
            Some(last) => format!("last contact {} ago", human::duration(last.age_seconds(now))),
            None => "never met since the start".to_owned(),
        };
        page.push_str(&format!("\n{}{node}  down, {contact}\n", human::member(&peer.member)));
        page.push_str(&format!("    {}\n", why(peer, now)));
    }
    page.trim_start_matches('\n').to_owned()
}

fn connected(peer: &PeerView, now: Instant) -> [String; 6] {
    let state = match peer.direction {
        Some(Direction::Inbound) => "up, dialled in",
        Some(Direction::Outbound) => "up, dialled out",
        None => "up",
    };
    let round_trip =
        peer.latency_us.map(|micros| format!("{}.{:01} ms", micros / 1_000, micros % 1_000 / 100));
    [
        human::member(&peer.member),
        peer.node.map(|node| node.short()).unwrap_or_default(),
        state.to_owned(),
        peer.since.map(|since| human::duration(since.age_seconds(now))).unwrap_or_default(),
        round_trip.unwrap_or_default(),
        line(peer.group.as_deref().unwrap_or_default()),
    ]
}

fn why(peer: &PeerView, now: Instant) -> String {
    let next = peer.next_dial.map(|next| {
        let wait = next.timestamp().since(now.timestamp()).as_secs();
        if wait == 0 {
            "dialled now".to_owned()
        } else {
            format!("dialled again in {}", human::duration(wait))
        }
    });
    let parts: Vec<String> =
        [peer.reason.as_deref().map(line), next, broken(&peer.faults)].into_iter().flatten().collect();
    parts.join("; ")
}

/// What it did that no honest node does; the rules stand in `protocol/VALIDATION.md`.
fn broken(faults: &[FaultView]) -> Option<String> {
    let rules: Vec<String> =
        faults.iter().map(|fault| format!("{} {} times", line(&fault.rule), fault.count)).collect();
    (!rules.is_empty()).then(|| format!("broke {}", rules.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::ids::NodeKey;

    use super::*;
    use crate::api::views::names::MemberNames;

    fn peer(code: &str) -> PeerView {
        let member = code.parse().unwrap();
        PeerView {
            names: MemberNames::of(&member),
            member,
            node: Some(NodeKey::from_bytes([0xb1; 32])),
            connected: false,
            direction: None,
            transport: None,
            group: None,
            addresses: Vec::new(),
            latency_us: None,
            since: None,
            last_contact: None,
            reason: None,
            next_dial: None,
            faults: Vec::new(),
        }
    }

    #[test]
    fn broken_rules_are_named_with_how_often() {
        let fault = |rule: &str, count| FaultView { rule: rule.to_owned(), count };
        assert_eq!(broken(&[]), None);
        let shown = broken(&[fault("DO-04", 3), fault("NET-2", 1)]);
        assert_eq!(shown.as_deref(), Some("broke DO-04 3 times, NET-2 1 times"));
    }

    #[test]
    fn a_page_fits_a_hundred_columns_and_gives_each_that_is_down_its_reason() {
        let now: Instant = "2026-11-24T12:00:00Z".parse().unwrap();
        let up = PeerView {
            connected: true,
            direction: Some(Direction::Outbound),
            group: Some("X25519MLKEM768".into()),
            latency_us: Some(1_234_500),
            since: Some("2026-11-01T09:00:00Z".parse().unwrap()),
            ..peer("VC")
        };
        let unknown = PeerView { node: None, reason: Some("waits for another node".into()), ..peer("KE") };
        let down = PeerView { reason: Some("no answer at 192.0.2.2:4001".into()), ..peer("BR") };
        let page = page(&[up, down, unknown], now);
        assert!(page.lines().take(2).all(|line| line.chars().count() <= 100), "{page}");
        for text in [
            "VC (St. Vincent & Grenadines)",
            "1234.5 ms",
            "23 d 3 h",
            "BR (Brazil)  b1b1b1b1  down, never met since the start\n    no answer at 192.0.2.2:4001\n",
            "KE (Kenya)  down, never met since the start\n    waits for another node\n",
        ] {
            assert!(page.contains(text), "{text:?} is missing in\n{page}");
        }
    }
}
