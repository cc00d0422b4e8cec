//! What must hold of messages.

use std::time::Duration;

use refpoint_protocol::{
    directory::own_chain::Standing,
    document::Envelope,
    ids::{MessageId, NodeKey, SealingKeyId},
    membership::KeyState,
    relay::{
        rows::{StatementRow, decode_row, statement_key},
        views::{MessageView, StatementView},
    },
    storage::Table,
    time::Timestamp,
};

use super::{NO_REVOKED_KEY, NOBODY_ASKED_TWICE, NOTHING_LOST, ONE_ENTRY};
use crate::sim::{Sim, ledger::Promised};

/// One inbox entry a message: it is told of once in a folder's life.
pub(super) fn one_inbox_entry(sim: &mut Sim, at: usize, message: MessageId) {
    if !sim.nodes[at].arrived.insert(message) {
        let what = format!("{} tells of {message} a second time", sim.name(at));
        sim.violate(ONE_ENTRY, what);
    }
}

/// No revoked key is accepted: a message whose signer is known to be in strange hands is marked, and one made
/// after its key ended is not told of.
pub(super) fn signer_counted(sim: &mut Sim, at: usize, message: MessageId) {
    let Some(machine) = sim.nodes[at].machine.as_ref().filter(|_| sim.nodes[at].is_honest()) else { return };
    let Some(MessageView::Received(view)) = machine.messages().message(&message) else { return };
    let membership = machine.evidence().membership();
    let state = membership.node_of(&view.sender, &view.signer).map(|standing| standing.state);
    let wrong = match state {
        Some(KeyState::Compromised { .. }) => !view.marks.unproven,
        Some(KeyState::Retired { at: since } | KeyState::LeftOut { at: since }) => view.created >= since,
        Some(KeyState::Active | KeyState::Disputed | KeyState::RootDisputed) => false,
        None | Some(_) => true,
    };
    // A key that counted when the message was decided on may have ended since.
    let just_now = sim.nodes[at].clock.at(sim.now).since(view.received) < Duration::from_secs(1);
    if wrong && just_now {
        let what = format!("{} tells of {message}, signed by {:?}: {state:?}", sim.name(at), view.signer);
        sim.violate(NO_REVOKED_KEY, what);
    }
}

/// No message that the sender's node accepted is lost before its expiry while its promises hold: whatever a
/// recipient's node has not got yet lies on the sender's disk, with its content.
pub(super) fn senders_hold_what_they_owe(sim: &mut Sim) {
    let lost = sim.ledger.messages.iter().find_map(|(message, promised)| {
        let disk = &sim.nodes[promised.node].disk;
        let held = disk.value(Table::Outbox, message.as_bytes()).is_some()
            && disk.value(Table::OutboxContent, message.as_bytes()).is_some();
        if held || !is_alive(sim, promised) || is_done_with(sim, message, promised) {
            return None;
        }
        lacking(sim, message, promised).next().is_some().then_some((*message, promised.node))
    });
    if let Some((message, node)) = lost {
        let what = format!("{} owes {message} and does not hold it any more", sim.name(node));
        sim.violate(NOTHING_LOST, what);
    }
    forget_expired(sim);
}

/// The same once faults have stopped: every recipient's node that is up has it.
pub(super) fn everything_arrived(sim: &mut Sim) {
    let lost = sim.ledger.messages.iter().find_map(|(message, promised)| {
        let settled = promised.accepted + SETTLING < sim.now;
        let owed = is_alive(sim, promised) && !is_done_with(sim, message, promised);
        if !owed || !settled || !is_sound(sim, promised.node) {
            return None;
        }
        lacking(sim, message, promised)
            .find(|node| !is_unreachable(sim, *node))
            .map(|node| (*message, promised.node, node))
    });
    if let Some((message, from, to)) = lost {
        let view = sim.nodes[from].machine.as_ref().and_then(|machine| machine.messages().message(&message));
        let state = match view {
            Some(MessageView::Sent(view)) => {
                let of = view.recipients.iter().find(|it| it.member == sim.nodes[to].member);
                of.map_or_else(|| "no recipient".into(), |it| format!("{:?} {:?}", it.state, it.nodes))
            }
            _ => "not known".into(),
        };
        let what = format!(
            "{message} of {} is not at {} (clock {} ms off); its sender holds it to be {state}",
            sim.name(from),
            sim.name(to),
            sim.nodes[to].clock.0
        );
        sim.violate(NOTHING_LOST, what);
    }
}

/// Where a message is that a person of the node's member acknowledged, and its sender knows, it is shown so.
pub(super) fn acknowledged_everywhere(sim: &mut Sim) {
    let asked_twice = sim.ledger.messages.iter().find_map(|(message, promised)| {
        let machine = sim.nodes[promised.node].machine.as_ref().filter(|_| is_sound(sim, promised.node))?;
        let Some(MessageView::Sent(sent)) = machine.messages().message(message) else { return None };
        let said = sent.recipients.iter().filter_map(|it| it.acknowledged.as_ref());
        let settled = said.filter(|said| {
            !said.marks.unproven && said.created.after(SAID_SETTLES) < Timestamp::from_millis(sim.now)
        });
        let mut asked = settled.flat_map(|said| {
            let nodes = sim.honest().into_iter().filter(|node| sim.nodes[*node].member == said.member);
            nodes.map(|node| (node, said.clone()))
        });
        let open = asked.find(|(node, said)| {
            is_open_at(sim, *node, message) && counts_at(sim, *node, promised.node, message, said)
        });
        open.map(|(node, _)| (*message, promised.node, node))
    });
    if let Some((message, from, to)) = asked_twice {
        let what = format!("{message} of {} is acknowledged, and not at {}", sim.name(from), sim.name(to));
        sim.violate(NOBODY_ASKED_TWICE, what);
    }
}

/// Whether what a sender holds as said was made before its signer's key ended, as a node knows that: a clock that was ahead
/// may have dated it later.
fn counts_at(sim: &Sim, node: usize, sender: usize, message: &MessageId, said: &StatementView) -> bool {
    let row = sim.nodes[sender].disk.value(Table::Statements, &statement_key(*message, said.id));
    let signed = row.and_then(|row| decode_row::<StatementRow>(&row).unwrap().signed);
    let header = signed.map(|signed| Envelope::from_bytes(&signed.header).unwrap());
    let key = header
        .and_then(|header| Some(NodeKey::from_bytes(header.signatures.first()?.key[..].try_into().ok()?)));
    let (Some(key), Some(machine)) = (key, sim.nodes[node].machine.as_ref()) else { return false };
    let membership = machine.evidence().membership();
    match membership.node_of(&said.member, &key).map(|standing| standing.state) {
        Some(KeyState::Retired { at } | KeyState::LeftOut { at }) => said.created < at,
        Some(KeyState::Compromised { .. }) | None => false,
        Some(_) => true,
    }
}

/// Whether a node holds a message that nobody there is known to have acknowledged.
fn is_open_at(sim: &Sim, node: usize, message: &MessageId) -> bool {
    let machine =
        sim.nodes[node].machine.as_ref().filter(|_| is_sound(sim, node) && !sim.nodes[node].retired);
    match machine.and_then(|machine| machine.messages().message(message)) {
        Some(MessageView::Received(received)) => received.acknowledged.is_none(),
        _ => false,
    }
}

/// Whether every recipient's officer has acknowledged a message, after which its sender may let it go.
fn is_done_with(sim: &Sim, message: &MessageId, promised: &Promised) -> bool {
    let machine = sim.nodes[promised.node].machine.as_ref();
    match machine.and_then(|machine| machine.messages().message(message)) {
        Some(MessageView::Sent(view)) => {
            view.recipients.iter().all(|recipient| recipient.acknowledged.is_some())
        }
        _ => false,
    }
}

/// Whether a message has not expired by the true time, and could not have been taken for expired by a clock
/// that is as right as clocks must be.
fn is_alive(sim: &Sim, promised: &Promised) -> bool {
    sim.now + CLOCKS_DIFFER < promised.expires
}

fn is_sound(sim: &Sim, node: usize) -> bool {
    let node = &sim.nodes[node];
    node.is_up() && node.is_honest() && !sim.units[node.unit].suspended
}

/// The honest nodes of a message's recipients that have not got it.
fn lacking<'a>(
    sim: &'a Sim,
    message: &'a MessageId,
    promised: &'a Promised,
) -> impl Iterator<Item = usize> + 'a {
    let units = promised.recipients.iter().map(|unit| &sim.units[*unit]).filter(|unit| !unit.suspended);
    units.flat_map(|unit| unit.nodes.iter().copied()).filter(|node| {
        let node = &sim.nodes[*node];
        node.is_honest() && !node.retired && node.disk.value(Table::Inbox, message.as_bytes()).is_none()
    })
}

/// Whether nobody can write to a node, and everybody is told so: it holds no sealing key that is in the directory,
/// as it is new or was put back from an old copy, and signs none while its clock is wrong.
fn is_unreachable(sim: &Sim, node: usize) -> bool {
    let now = sim.nodes[node].clock.at(sim.now);
    let Some(machine) = sim.nodes[node].machine.as_ref() else { return true };
    let evidence = machine.evidence();
    let listing = evidence.listing(&sim.nodes[node].member, sim.nodes[node].key);
    // Senders go by right clocks.
    let right = Timestamp::from_millis(sim.now);
    let key = listing.and_then(|listing| evidence.directory().sealing_key(listing, right));
    let seed = |key: &SealingKeyId| sim.nodes[node].disk.value(Table::SealingSeeds, key.as_bytes());
    let keyless = key.is_none_or(|key| seed(&key.id()).is_none());
    keyless && matches!(machine.standing(now), Standing::ClockWrong { .. })
}

fn forget_expired(sim: &mut Sim) {
    let now = sim.now;
    sim.ledger.messages.retain(|_, promised| now < promised.expires);
}

/// Milliseconds by which right clocks may differ, and a minute.
const CLOCKS_DIFFER: u64 = 660_000;

/// After which what was said by a right clock has come to all nodes of its speaker's that are connected with whoever it
/// was said to.
const SAID_SETTLES: Duration = Duration::from_millis(CLOCKS_DIFFER + SETTLING);

/// Milliseconds within which a message that was sent without faults arrives.
const SETTLING: u64 = 120_000;
