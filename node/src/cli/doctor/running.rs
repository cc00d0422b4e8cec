//! What the running node says of itself, and what another node saw when it dialled back.

use super::{Line, folder::review};
use crate::api::views::{
    dial_back::{DialBackReply, Outcome, Seen},
    directory::{DirectoryEntryView, Freshness},
    status::{ChainState, StatusFacts},
};

/// What a node's facts mean for the checks that only it can answer. `entry` is the member's own, as the node
/// shows it.
#[must_use]
pub(super) fn running(facts: &StatusFacts, entry: Option<&DirectoryEntryView>) -> Vec<Line> {
    let mut lines = vec![Line::ok("node", format!("runs, version {}", facts.version)), clock(facts)];
    lines.push(if facts.key_set.lists_this_node {
        Line::ok("key set", "lists this node's key as active")
    } else {
        Line::fail(
            "key set",
            "does not list this node's key as active: others refuse it",
            "where the root key is: refpoint keys issue --root-key FILE",
        )
    });
    lines.extend(facts.key_set.review.map(|at| review(at.timestamp(), facts.now.timestamp())));
    lines.push(if facts.charter.this_member_active {
        Line::ok("charter", "lists this member as active")
    } else {
        Line::fail(
            "charter",
            "does not list this member as active",
            "call a steward: only a charter version changes that",
        )
    });
    lines.push(peers(facts));
    lines.push(chain(facts));
    lines.push(reference_point(entry));
    lines.push(if facts.storage_notes.is_empty() {
        Line::ok("storage", "has nothing to report")
    } else {
        let fix = "see *storage notes* in OPERATIONS.md";
        Line::warn("storage", facts.storage_notes.join("; "), fix)
    });
    lines.extend(facts.alert_failure.as_ref().map(|why| {
        Line::fail(
            "alert command",
            format!("failed last: {why}"),
            "run it by hand with a line of node/OPERATIONS.md, \"The alarm\", and correct it",
        )
    }));
    lines
}

fn clock(facts: &StatusFacts) -> Line {
    let clock = facts.clock;
    let fix = "set the clock (timedatectl set-ntp true), then restart the node";
    match clock.offset_ms {
        Some(offset) if clock.wrong => {
            let what = format!("{} s from the median of {} members", offset / 1_000, clock.witnesses);
            Line::fail("clock", what, fix)
        }
        Some(offset) if offset.unsigned_abs() > CLOCK_LOOSE_MS => Line::warn(
            "clock",
            format!("{} s from the median of {} members", offset / 1_000, clock.witnesses),
            fix,
        ),
        Some(offset) => {
            Line::ok("clock", format!("{offset} ms from the median of {} members", clock.witnesses))
        }
        None => Line::warn(
            "clock",
            format!("not judged: {} of {} other members' clocks are known", clock.witnesses, clock.asked),
            "compare the clock by hand until more members are connected",
        ),
    }
}

fn peers(facts: &StatusFacts) -> Line {
    let peers = facts.peers;
    let what = format!("{} of {} other nodes are connected", peers.connected, peers.known);
    if peers.connected == 0 && facts.directory.members > 1 {
        Line::fail(
            "peers",
            what,
            "check this machine's network and firewall; each node's reason: refpoint peers",
        )
    } else if peers.connected < peers.known {
        Line::warn("peers", what, "each node's reason: refpoint peers --down")
    } else {
        Line::ok("peers", what)
    }
}

fn chain(facts: &StatusFacts) -> Line {
    match &facts.chain {
        ChainState::Publishing { .. } => Line::ok("own records", "are signed and renewed"),
        ChainState::Waiting { repairs, needed } => Line::warn(
            "own records",
            format!("wait: {repairs} of {needed} members have told what this node signed before"),
            "wait for connections; only if nobody can be reached, ever: refpoint directory resume",
        ),
        ChainState::Stopped { why, to_do } => {
            Line::fail("own records", format!("are not signed: {why}"), to_do.clone())
        }
    }
}

fn reference_point(entry: Option<&DirectoryEntryView>) -> Line {
    let check = "reference point";
    let publish = "refpoint directory publish reference-point.toml";
    match entry.map(|entry| entry.row.freshness) {
        Some(Freshness::Fresh) => Line::ok(check, "is published and fresh"),
        Some(Freshness::Missing) | None => {
            Line::fail(check, "is not published: others see no unit and no telephone number", publish)
        }
        Some(Freshness::Stale) => Line::fail(
            check,
            "was not renewed in time",
            "let the node run and be connected; see the own records' line",
        ),
        Some(Freshness::Future) => Line::warn(
            check,
            "was signed by a clock that is ahead of this one",
            "look at the clock's line; it passes by itself",
        ),
        Some(Freshness::BodyMissing | Freshness::Erased) => {
            Line::fail(check, "its content is not here", publish)
        }
    }
}

/// What another node saw at the announced addresses.
#[must_use]
pub(super) fn dialled_back(reply: &DialBackReply) -> Vec<Line> {
    let check = "reached from outside";
    let Some(asked) = &reply.asked else {
        let what =
            format!("nobody could be asked: {}", reply.why.as_deref().unwrap_or("no node is connected"));
        return vec![Line::warn(check, what, "run this again in a minute, with other nodes connected")];
    };
    if reply.seen.is_empty() {
        let what = format!("{asked} knows no address of this node");
        return vec![Line::warn(
            check,
            what,
            "set `announce`, restart the node, and wait until its record has spread",
        )];
    }
    let line = |Seen { address, outcome }: &Seen| {
        let (what, fix) = match outcome {
            Outcome::Reached => {
                return Line::ok(check, format!("{asked} dialled {address} and was introduced to this node"));
            }
            Outcome::NotDialled => {
                let what = format!("{asked} does not dial {address}: it is not a public address");
                return Line::warn(check, what, "announce a public address, or its public name");
            }
            Outcome::OtherNode => ("another node answered", "correct `announce`, or who forwards that port"),
            Outcome::Refused => (
                "refused",
                "open the port in the firewall, and check that `announce` leads to the port of `listen`",
            ),
            Outcome::TimedOut => {
                ("no answer in time", "open the port in the firewall, and forward it to this machine")
            }
            Outcome::Unreachable => {
                ("no way there", "check the name in the DNS and the route to this machine")
            }
        };
        Line::fail(check, format!("{asked} dialled {address}: {what}"), fix)
    };
    reply.seen.iter().map(line).collect()
}

/// A clock off by more than this is not kept by anything.
const CLOCK_LOOSE_MS: u64 = 60_000;
