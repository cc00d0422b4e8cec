//! What must hold, each as a function under the sentence that it checks.
//!
//! Some are looked at when a node is about to say something, some every two minutes, and some when faults have
//! stopped for long enough.

pub(crate) mod custody;
mod directory;
mod messages;
pub(crate) mod settlement;

use refpoint_protocol::{
    directory::header::ChainKind,
    evidence::Evidence,
    ids::{DocumentId, MessageId, NodeKey},
    limits::{EVENTS_KEPT, PENDING_BEARERS_MAX, PENDING_PER_BEARER_MAX},
    machine::{Event, NumberedEvent},
    relay::{
        event::{CustodyEnd, RelayEvent},
        receipt::{Receipt, ReceiptWord},
    },
    storage::Table,
};

use super::Sim;

pub(crate) const ONE_ENTRY: &str = "one inbox entry a message";
pub(crate) const NOTHING_LOST: &str =
    "no message that the sender's node accepted is lost before its expiry while its promises hold";
pub(crate) const NOBODY_ASKED_TWICE: &str =
    "what a member's people acknowledged is acknowledged at each of its nodes once faults stop";
pub(crate) const DURABLE_BEFORE_SAID: &str = "no receipt without the durable state that it states";
pub(crate) const SAME_VIEWS: &str = "honest connected nodes hold equal digests and views once faults stop";
pub(crate) const NOTHING_DISAPPEARS: &str =
    "no charter version, key set, fork proof or header below a fork disappears";
pub(crate) const NO_REVOKED_KEY: &str = "no revoked key is accepted";
pub(crate) const FORKS_KNOWN: &str = "every fork seen is known to all honest connected nodes";
pub(crate) const KEPT_UNTIL_ANSWERED: &str =
    "a custodian keeps a parcel until its recipient has answered or it expires";
pub(crate) const KEY_NOT_LOST: &str =
    "`undeliverable: key lost` is never said while an active node can open the message";
pub(crate) const BOUNDED: &str = "queues and memory stay under their bounds";
pub(crate) const NO_HONEST_BLAME: &str = "an honest peer is never blamed";
pub(crate) const READS_BACK: &str = "what a node stored, it reads back";
pub(crate) const NO_BUG: &str = "no machine breaks an invariant of its own";
pub(crate) const ONE_ANSWER: &str = "everything is answered once";
pub(crate) const SETTLED_STAYS: &str =
    "what is settled at a node stays settled for it while its promises hold";
pub(crate) const SETTLES: &str = "honest connected nodes agree on what is settled once faults stop, and that is the only tip if enough can speak";
pub(crate) const ONE_SETTLED: &str =
    "no two settlements contradict each other while fewer members than a third belie themselves";
pub(crate) const NOBODY_BESIDE: &str = "nothing beside a settled version admits or suspends anybody";
pub(crate) const NO_SELF_CONTRADICTION: &str = "no honest node's heads contradict each other";
pub(crate) const HEADS_HEARD: &str = "honest connected nodes hear each other's heads once faults stop";

/// Every two minutes.
pub(crate) fn at_every_look(sim: &mut Sim) {
    messages::senders_hold_what_they_owe(sim);
    for node in sim.honest() {
        bounds(sim, node);
        directory::nothing_disappears(sim, node);
        settlement::stays_settled(sim, node);
        settlement::one_is_settled(sim, node);
        settlement::nobody_is_admitted_beside(sim, node);
    }
}

/// When faults have stopped for long enough.
pub(crate) fn once_faults_stopped(sim: &mut Sim) {
    sim.counts.settled += 1;
    sim.follow_settlements();
    at_every_look(sim);
    connected(sim);
    directory::forks_are_known(sim);
    directory::views_are_equal(sim);
    directory::no_revoked_key_is_connected(sim);
    directory::common_evidence_remains(sim);
    settlement::all_is_settled(sim);
    settlement::nothing_beside_counts(sim);
    settlement::heads_are_heard(sim);
    messages::everything_arrived(sim);
    messages::acknowledged_everywhere(sim);
    custody::what_was_left_arrived(sim);
}

/// What a machine's restore says of its folder.
pub(crate) fn on_start(sim: &mut Sim, node: usize, problems: &[String]) {
    // Other members' chains are not waited for, so a crash may leave a gap that peers fill.
    let damage = problems.iter().find(|problem| !problem.ends_with("will be fetched"));
    if let Some(problem) = damage {
        sim.violate(READS_BACK, format!("{}: {problem}", sim.name(node)));
    }
    settlement::stays_settled(sim, node);
}

/// Queues and memory stay under their bounds, and so does work: a machine that was woken does not want to be
/// woken again at once, for ever.
pub(crate) fn on_woken(sim: &mut Sim, node: usize) {
    let now = sim.nodes[node].clock.at(sim.now);
    let wakeup = sim.nodes[node].machine.as_ref().and_then(|machine| machine.next_wakeup());
    let Some((_, why)) = wakeup.filter(|(at, _)| *at <= now) else {
        sim.nodes[node].woken_in_vain = 0;
        return;
    };
    sim.nodes[node].woken_in_vain += 1;
    if sim.nodes[node].woken_in_vain > WOKEN_IN_VAIN_MAX {
        sim.violate(BOUNDED, format!("{} wants to be woken without end: {why}", sim.name(node)));
    }
}

/// Something is told to people.
pub(crate) fn on_event(sim: &mut Sim, at: usize, event: &NumberedEvent) {
    match &event.event {
        Event::Relay(RelayEvent::MessageArrived { message, .. }) => {
            messages::one_inbox_entry(sim, at, *message);
            messages::signer_counted(sim, at, *message);
            sim.noticed(at, *message);
        }
        Event::Relay(RelayEvent::CustodyEnded { message, node, by, why: CustodyEnd::KeyLost, .. }) => {
            custody::on_key_lost(sim, at, by, *message, *node);
        }
        Event::ForkSeen { .. } => sim.counts.add("fork-seen"),
        Event::CharterSettled { charter } => settlement::on_settled(sim, at, *charter),
        Event::BesideSettled { .. } => sim.counts.add("beside-settled-told"),
        Event::TwinSeen => sim.counts.add("twin-seen"),
        Event::ClockJudged { right: false, .. } => sim.counts.add("clock-judged-wrong"),
        _ => {}
    }
}

/// No receipt without the durable state that it states.
pub(crate) fn on_receipt(sim: &mut Sim, at: usize, receipt: &Receipt) {
    if matches!(receipt.word, ReceiptWord::Delivered | ReceiptWord::Refused) {
        custody::on_answered(sim, at, receipt);
    }
    if receipt.word == ReceiptWord::Delivered {
        let disk = &sim.nodes[at].disk;
        let key = receipt.message.as_bytes();
        // What was said here, and comes back, has its id in the outbox.
        let has_id = [Table::MessageIds, Table::Outbox].iter().any(|table| disk.has_durably(*table, key));
        let is_statement = || disk.table(Table::Statements).any(|(row, _)| row.ends_with(key));
        if !has_id || !(disk.has_durably(Table::Inbox, key) || is_statement()) {
            let what =
                format!("{} says delivered of {}, which is not on its disk", sim.name(at), receipt.message);
            sim.violate(DURABLE_BEFORE_SAID, what);
        }
        sim.counts.receipts += 1;
    }
    if receipt.word == ReceiptWord::Custody {
        let disk = &sim.nodes[at].disk;
        let place = [receipt.message.as_bytes().as_slice(), receipt.node.as_bytes().as_slice()].concat();
        // Its recipient may have answered meanwhile: then the parcel goes next, and this was still true.
        if !disk.durable_keys(Table::CustodyParcels).any(|row| row.ends_with(&place)) {
            let what =
                format!("{} says custody of {}, which is not on its disk", sim.name(at), receipt.message);
            sim.violate(DURABLE_BEFORE_SAID, what);
        }
        sim.counts.add("custody");
    }
}

/// A message was called queued: its row and its content are on the device.
pub(crate) fn on_queued(sim: &mut Sim, at: usize, message: MessageId) {
    let disk = &sim.nodes[at].disk;
    let key = message.as_bytes();
    if !disk.has_durably(Table::Outbox, key) || !disk.has_durably(Table::OutboxContent, key) {
        let what = format!("{} says queued of {message}, which is not on its disk", sim.name(at));
        sim.violate(DURABLE_BEFORE_SAID, what);
    }
}

/// No revoked key is accepted.
pub(crate) fn on_admission(sim: &mut Sim, at: usize, other: usize) {
    let key = sim.nodes[other].key;
    let Some(machine) = sim.nodes[at].machine.as_ref() else { return };
    let active = machine.evidence().membership().is_active_node(&key);
    if sim.nodes[at].is_honest() && !active && sim.network.believes(at, other) {
        // The door decides before the machine, which may know more by then and cuts off at once.
        sim.counts.add("admitted-and-cut-off");
    }
}

pub(crate) fn on_introduction_fault(sim: &mut Sim, dialler: usize, listener: usize, fault: &str) {
    if sim.nodes[dialler].is_honest() && sim.nodes[listener].is_honest() {
        let what = format!("{} and {}: {fault}", sim.name(dialler), sim.name(listener));
        sim.violate(NO_HONEST_BLAME, what);
    }
}

/// An honest peer is never blamed.
pub(crate) fn on_report(sim: &mut Sim, at: usize, from: NodeKey, rule: &str, what: &str) {
    let blamed = sim.index.get(&from).copied();
    let honest = blamed.is_some_and(|node| sim.nodes[node].is_honest());
    if honest && sim.nodes[at].is_honest() {
        let what = format!("{} blames {}: {rule} {what}", sim.name(at), sim.name(blamed.unwrap()));
        return sim.violate(NO_HONEST_BLAME, what);
    }
    sim.counts.add("fault-named");
}

/// Queues and memory stay under their bounds.
fn bounds(sim: &mut Sim, node: usize) {
    let said = std::mem::take(&mut sim.nodes[node].said);
    if said > SAID_MAX {
        sim.violate(BOUNDED, format!("{} sent {said} frames in two minutes", sim.name(node)));
    }
    let Some(machine) = sim.nodes[node].machine.as_ref() else { return };
    let pending = machine.evidence().pending_count();
    let events = sim.nodes[node].disk.count(Table::Events);
    let bugs = machine.bugs();
    if pending > PENDING_BEARERS_MAX * PENDING_PER_BEARER_MAX {
        sim.violate(BOUNDED, format!("{}: {pending} documents wait for an ancestor", sim.name(node)));
    }
    if events > EVENTS_KEPT as usize + 8 {
        sim.violate(BOUNDED, format!("{}: {events} events are kept", sim.name(node)));
    }
    if bugs > 0 {
        sim.violate(NO_BUG, format!("{}: {bugs}", sim.name(node)));
    }
}

/// Once faults stop, honest nodes are connected: without this the other checks would say little.
fn connected(sim: &mut Sim) {
    let honest = sim.honest();
    for (at, one) in honest.iter().enumerate() {
        for other in &honest[at + 1..] {
            if !sim.network.believes(*one, *other) || !sim.network.believes(*other, *one) {
                let what = format!("{} and {} are not", sim.name(*one), sim.name(*other));
                return sim.violate("honest nodes are connected once faults stop", what);
            }
        }
    }
}

/// The documents that lie below every fork: charters, key sets, headers that count, and proofs of forks.
fn lasting(evidence: &Evidence) -> Vec<DocumentId> {
    let trust = evidence.trust();
    let mut ids: Vec<DocumentId> = trust.charters().map(|charter| charter.id()).collect();
    let whole = trust.key_sets().filter(|set| !trust.is_lost(set.payload()));
    ids.extend(whole.map(|set| set.id()));
    for kind in [ChainKind::NodeRecord, ChainKind::ReferencePoint] {
        for (_, chain) in evidence.chains().of_kind(kind) {
            let fork = chain.fork().map(|fork| fork.sequence);
            let below = chain.newest_first().filter(|info| fork.is_none_or(|fork| info.sequence < fork));
            ids.extend(below.map(|info| DocumentId::from(info.id)));
        }
    }
    ids
}

/// Frames that one node sends in two minutes: a few floods answered, and all of its own messages.
const SAID_MAX: u32 = 1_500;

/// Wakes in a row that did not move the next one into the future: what comes in between may take some.
const WOKEN_IN_VAIN_MAX: u32 = 50;
