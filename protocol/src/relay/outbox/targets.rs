//! From a queued message to parcels on their way: to which nodes, when, and again when nothing comes back.

use std::collections::BTreeSet;

use super::{
    Outbox,
    entry::{Entry, Progress, Target},
};
use crate::{
    directory::node_record::SealingKeyEntry,
    ids::{MemberCode, MessageId, NodeKey},
    limits::RETRY_MAX,
    relay::{
        event::{RelayEvent, StopReason},
        exchange::{ContentSource, Job, Outgoing, RelayEffect, Ticket},
        parcel::{Label, Parcel},
        retry::{pause, receipt_wait},
        rows::StoppedRow,
        sealing::SealError,
        turn::Turn,
    },
    time::Timestamp,
};

impl Outbox {
    /// Brings a message's parcels in step with the directory, for one recipient or all: new nodes are added,
    /// nodes that are no longer active leave, suspended members stop and go on when they are back.
    pub(super) fn retarget(&mut self, turn: &mut Turn<'_>, message: MessageId, only: Option<&MemberCode>) {
        let Some(entry) = self.entries.get_mut(&message).filter(|entry| entry.is_open()) else { return };
        let recipients: Vec<MemberCode> = entry
            .row
            .recipients
            .iter()
            .filter(|member| only.is_none_or(|only| only == *member))
            .cloned()
            .collect();
        let mut touched = BTreeSet::new();
        let mut stops = Vec::new();
        for member in recipients {
            let stop = turn.stop_reason(&member);
            if update_stop(entry, &member, stop) {
                stops.push((member.clone(), stop));
            }
            let active: BTreeSet<NodeKey> =
                if entry.stop_of(&member).is_some() { BTreeSet::new() } else { nodes_of(turn, &member) };
            let known: Vec<NodeKey> =
                entry.targets.iter().filter(|(_, t)| t.member == member).map(|(node, _)| *node).collect();
            for node in known.iter().filter(|node| !active.contains(*node)) {
                entry.set_progress(turn, message, *node, Progress::Done);
                self.custodians.forget(turn, entry, message, *node);
                entry.targets.remove(node);
                touched.insert(*node);
            }
            for node in active {
                let key = |member| turn.book.sealing_key(member, &node, turn.now).map(|key| key.id());
                let idle = entry.targets.get(&node).is_none_or(|target| match target.progress {
                    Progress::Sealing(_) | Progress::Sent(_) | Progress::Done => false,
                    // Another recipient only claims the node: it is this one's for which the node speaks.
                    _ if target.member != member => key(&member).is_some() && key(&target.member).is_none(),
                    Progress::Keyless => true,
                    // A new key is tried at once.
                    Progress::Resting(_) => key(&member) != target.key,
                    Progress::Waiting => false,
                });
                // What answered is done with, unless it has said since that it lacks the message: then it has a
                // target that is not done.
                if idle && (entry.answer(&node).is_none() || entry.targets.contains_key(&node)) {
                    if entry.targets.get(&node).is_some_and(|target| target.member != member) {
                        self.custodians.forget(turn, entry, message, node);
                    }
                    let known = entry.targets.get(&node);
                    if known.is_none_or(|known| known.member != member) {
                        let progress = known.map_or(Progress::Keyless, |known| known.progress);
                        let mut target = Target::new(member.clone(), progress);
                        target.lacking = known.and_then(|known| known.lacking);
                        target.returned.owe(entry.said_by(&member));
                        entry.targets.insert(node, target);
                    }
                    entry.set_progress(turn, message, node, Progress::Waiting);
                    let peer = self.peers.entry(node).or_default();
                    peer.resting.remove(&message);
                    peer.lane.queue(entry.place(message));
                    touched.insert(node);
                }
            }
        }
        let (created, command, drill) = (entry.row.created, entry.command, entry.row.drill);
        if !stops.is_empty() {
            turn.persist(entry.stored(message).into_iter().collect());
        }
        for (member, stop) in stops {
            if let Some(why) = stop {
                let member = Some(member);
                turn.emit(RelayEvent::MessageStopped { message, command, member, why, drill });
            }
        }
        for node in touched {
            if let Some(entry) = self.entries.get(&message)
                && !entry.targets.contains_key(&node)
                && let Some(peer) = self.peers.get_mut(&node)
            {
                peer.remove(message, created);
            }
            self.watch(turn, message, node);
            self.pump(turn, node);
            self.forget_idle_peer(node);
        }
    }

    /// The directory's view of a member, or the charter, changed.
    pub(in crate::relay) fn on_directory_changed(
        &mut self,
        turn: &mut Turn<'_>,
        member: Option<&MemberCode>,
    ) {
        // A change of one's own standing concerns every recipient.
        let only = member.filter(|member| **member != turn.own.member);
        let concerned: Vec<MessageId> = self
            .open
            .iter()
            .filter(|id| {
                let recipients = self.entries.get(id).map(|entry| entry.row.recipients.as_slice());
                only.is_none_or(|only| recipients.is_some_and(|all| all.contains(only)))
            })
            .copied()
            .collect();
        for message in concerned {
            self.retarget(turn, message, only);
        }
    }

    pub(in crate::relay) fn on_connected(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        let peer = self.peers.entry(node).or_default();
        peer.connected = true;
        peer.repeated.clear();
        for message in std::mem::take(&mut peer.resting) {
            if let Some(target) = self.target_mut(message, node) {
                target.attempts = 0;
            }
            self.requeue(turn, message, node);
        }
        self.pump(turn, node);
        self.on_custodian_connected(turn, node);
    }

    pub(in crate::relay) fn on_disconnected(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.connected = false;
        peer.repeated.clear();
        // What is still being sealed comes back by its ticket.
        for message in peer.lane.in_flight() {
            let progress = self.progress(&message, &node);
            if matches!(progress, Some(Progress::Sent(_))) {
                self.requeue(turn, message, node);
            }
        }
        self.on_custodian_disconnected(turn, node);
        self.forget_idle_peer(node);
    }

    /// A parcel could not be handed over: it waits, and goes when the node connects or after a pause.
    pub(in crate::relay) fn on_send_failed(&mut self, turn: &mut Turn<'_>, node: NodeKey, parcel: MessageId) {
        let message = self.message_of(parcel);
        if matches!(self.progress(&message, &node), Some(Progress::Sent(_))) {
            self.rest(turn, message, node, None);
            self.pump(turn, node);
        }
        self.on_custody_send_failed(turn, node, parcel);
    }

    pub(in crate::relay) fn on_sealed(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        result: Result<Box<Parcel>, SealError>,
    ) {
        if self.on_sealed_for_custodians(turn, ticket, &result) {
            return;
        }
        let Some((message, node, statement)) = self.sealing.remove(&ticket) else { return };
        let current = self.progress(&message, &node) == Some(Progress::Sealing(ticket));
        if !current {
            return;
        }
        match result {
            Ok(parcel) if self.is_connected(&node) => self.send(turn, message, node, parcel),
            Ok(_) => self.requeue(turn, message, node),
            Err(SealError::Key(_)) => self.rest(turn, message, node, Some(turn.now.after(RETRY_MAX))),
            // It may be without its proof, or its write on its way.
            Err(SealError::NoContent) if statement.is_some() => self.on_vain(turn, message, node),
            Err(SealError::NoContent) => self.on_unreadable(turn, message, node),
            Err(SealError::Busy | SealError::Bug(_)) => self.on_vain(turn, message, node),
        }
        self.release_content(message);
        self.pump(turn, node);
    }

    fn send(&mut self, turn: &mut Turn<'_>, message: MessageId, node: NodeKey, parcel: Box<Parcel>) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let Some(target) = entry.targets.get_mut(&node) else { return };
        target.resealed &= target.key == Some(parcel.sealing_key);
        target.key = Some(parcel.sealing_key);
        let wait = receipt_wait(parcel.ciphertext.len());
        let class = parcel.label.class;
        turn.send_after(node, class, Outgoing::Parcel(parcel), entry.write);
        entry.set_progress(turn, message, node, Progress::Sent(turn.now.after(wait)));
    }

    /// The stored content cannot be read. What was composed in this run may stand behind a busy or full disk for as
    /// long as that lasts, so it is tried until it expires; what an earlier run stored stops the message, and says so.
    fn on_unreadable(&mut self, turn: &mut Turn<'_>, message: MessageId, node: NodeKey) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        if entry.write.is_some() {
            return self.rest(turn, message, node, None);
        }
        let Some(target) = entry.targets.get_mut(&node) else { return };
        target.unreadable += 1;
        if target.unreadable < UNREADABLE_MAX {
            return self.rest(turn, message, node, None);
        }
        let why = StopReason::ContentLost;
        let missing =
            |member: &&MemberCode| !entry.is_delivered_to(member) && entry.stop_of(member).is_none();
        let missing: Vec<MemberCode> = entry.row.recipients.iter().filter(missing).cloned().collect();
        entry.row.stopped.extend(missing.iter().cloned().map(|member| StoppedRow { member, why }));
        let (command, drill) = (entry.command, entry.row.drill);
        if let Some(changes) = self.drop_content(turn, message) {
            turn.persist(changes);
        }
        if !missing.is_empty() {
            turn.emit(RelayEvent::MessageStopped { message, command, member: None, why, drill });
        }
    }

    pub(super) fn on_retry(&mut self, turn: &mut Turn<'_>, at: Timestamp, message: MessageId, node: NodeKey) {
        match self.progress(&message, &node) {
            Some(Progress::Resting(until)) if until == at => self.requeue(turn, message, node),
            Some(Progress::Sent(until)) if until == at => {
                if let Some(target) = self.target_mut(message, node) {
                    // It does not answer any more, whatever it said before.
                    target.refused = None;
                }
                self.on_vain(turn, message, node);
            }
            _ => return,
        }
        self.pump(turn, node);
    }

    /// The peer lacks messages that it once confirmed, or what its people said of them: its disk is older than its word.
    /// They go once more.
    pub(in crate::relay) fn on_lacking(&mut self, turn: &mut Turn<'_>, node: NodeKey, ids: &[MessageId]) {
        for id in ids {
            let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.connected) else { return };
            if !peer.kept.contains(id) || !peer.repeated.insert(*id) {
                continue;
            }
            let message = self.message_of(*id);
            let lacks_message = message == *id;
            let Some(entry) = self.entries.get(&message) else { continue };
            let said = entry.answer(&node).into_iter().flat_map(|it| entry.said_by(&it.member));
            let statements = said.filter(|said| lacks_message || said == id).collect();
            self.go_again(turn, message, node, statements, lacks_message);
        }
        self.pump(turn, node);
    }

    /// Something goes once more to a node that answered: what its people said of a message, and that if it lacks it.
    pub(super) fn go_again(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        node: NodeKey,
        statements: Vec<MessageId>,
        lacks_message: bool,
    ) {
        if statements.is_empty() && !lacks_message {
            return;
        }
        let Some(entry) = self.entries.get_mut(&message).filter(|entry| entry.is_open()) else { return };
        let Some(target) = entry.target_again(node) else { return };
        target.returned.owe(statements);
        if lacks_message {
            target.lacking.get_or_insert(turn.now);
        }
        // Else it is on its way already.
        if target.progress == Progress::Done {
            entry.set_progress(turn, message, node, Progress::Waiting);
            self.peers.entry(node).or_default().lane.queue(entry.place(message));
        }
    }

    /// A connected node was offered again what is kept for it: what it lacks goes to it once more.
    pub(in crate::relay) fn on_offered_again(&mut self, node: NodeKey) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.repeated.clear();
        }
    }

    /// What is offered to a node: the ids, sorted, that it confirmed and that are still kept.
    pub(in crate::relay) fn kept_for(&self, node: &NodeKey) -> impl Iterator<Item = MessageId> {
        self.peers.get(node).into_iter().flat_map(|peer| peer.kept.iter().copied())
    }

    /// Seals and sends what the node's window has room for.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        while let Some(place) = self.peers.get_mut(&node).and_then(super::Peer::take_next) {
            let message = place.key;
            // A queue holds only what the entries hold; forgetting a place is right all the same.
            let member = self.target(&message, &node).map(|target| target.member.clone());
            let key = member.map(|member| turn.book.sealing_key(&member, &node, turn.now));
            let ticket = turn.tickets.draw();
            let (progress, job) = match key {
                None => (None, None),
                Some(None) => (Some(Progress::Keyless), None),
                Some(Some(key)) => match self.seal_next(ticket, message, node, key) {
                    None => (Some(Progress::Done), None),
                    job => (Some(Progress::Sealing(ticket)), job),
                },
            };
            if let (Some(entry), Some(progress)) = (self.entries.get_mut(&message), progress) {
                entry.set_progress(turn, message, node, progress);
            }
            match job {
                Some(job) => {
                    let statement = match &job {
                        Job::SealStatement { statement, .. } => Some(*statement),
                        _ => None,
                    };
                    self.sealing.insert(ticket, (message, node, statement));
                    turn.effects.push(RelayEffect::Work(job));
                }
                None => self.land(node, message),
            }
        }
    }

    /// Seals what goes to a node next: a statement of its own people's, else the message, if that is to go there at all.
    fn seal_next(
        &mut self,
        ticket: Ticket,
        message: MessageId,
        node: NodeKey,
        key: SealingKeyEntry,
    ) -> Option<Job> {
        let key = Box::new(key);
        let entry = self.entries.get_mut(&message)?;
        let class = entry.row.precedence.class();
        let is_due = entry.is_due(&node);
        let target = entry.targets.get_mut(&node)?;
        let member = target.member.clone();
        if let Some(statement) = target.returned.next() {
            return Some(Job::SealStatement {
                ticket,
                answers: message,
                statement,
                member,
                node,
                class,
                key,
            });
        }
        let (expires, size) = (entry.row.expires, entry.row.size);
        let label = Label { message, member, node, expires, class, size };
        let content = match &entry.at_hand {
            Some(content) => ContentSource::AtHand(content.clone()),
            None => ContentSource::Stored(message),
        };
        is_due.then_some(Job::Seal { ticket, content, label, key })
    }

    /// Lets go of the content at hand once nobody is about to need it.
    pub(super) fn release_content(&mut self, message: MessageId) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let needed = |node: &NodeKey, target: &Target| match target.progress {
            Progress::Sealing(_) => true,
            Progress::Waiting => self.peers.get(node).is_some_and(|peer| peer.connected),
            Progress::Resting(_) | Progress::Keyless | Progress::Sent(_) | Progress::Done => false,
        };
        if !entry.targets.iter().any(|(node, target)| needed(node, target))
            && let Some(content) = entry.at_hand.take()
        {
            self.at_hand_bytes = self.at_hand_bytes.saturating_sub(content.size());
        }
    }

    /// Puts a parcel back into its node's queue.
    pub(super) fn requeue(&mut self, turn: &mut Turn<'_>, message: MessageId, node: NodeKey) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let peer = self.peers.entry(node).or_default();
        peer.lane.land(&message);
        peer.resting.remove(&message);
        if entry.is_open() && entry.targets.contains_key(&node) {
            entry.set_progress(turn, message, node, Progress::Waiting);
            peer.lane.queue(entry.place(message));
        }
    }

    /// Lets a parcel rest, until `until` or for a pause that grows with each attempt.
    pub(super) fn rest(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        node: NodeKey,
        until: Option<Timestamp>,
    ) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let Some(target) = entry.targets.get_mut(&node) else { return };
        let until = until.unwrap_or_else(|| turn.now.after(pause(target.attempts, turn.rng)));
        target.attempts = target.attempts.saturating_add(1);
        let peer = self.peers.entry(node).or_default();
        peer.lane.land(&message);
        peer.resting.insert(message);
        entry.set_progress(turn, message, node, Progress::Resting(until));
    }

    pub(super) fn progress(&self, message: &MessageId, node: &NodeKey) -> Option<Progress> {
        Some(self.target(message, node)?.progress)
    }

    pub(super) fn target(&self, message: &MessageId, node: &NodeKey) -> Option<&Target> {
        self.entries.get(message)?.targets.get(node)
    }

    pub(super) fn target_mut(&mut self, message: MessageId, node: NodeKey) -> Option<&mut Target> {
        self.entries.get_mut(&message)?.targets.get_mut(&node)
    }

    fn land(&mut self, node: NodeKey, message: MessageId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.lane.land(&message);
        }
    }
}

/// The nodes that get a parcel for a member: its active ones, without this one.
fn nodes_of(turn: &Turn<'_>, member: &MemberCode) -> BTreeSet<NodeKey> {
    turn.book.active_nodes(member).into_iter().filter(|node| *node != turn.own.node).collect()
}

/// Brings a recipient's stop in step with the charter; says whether something changed. A message that was
/// taken back or lost stays stopped, whatever the charter says.
fn update_stop(entry: &mut Entry, member: &MemberCode, stop: Option<StopReason>) -> bool {
    let known = entry.stop_of(member);
    let lasting = matches!(known, Some(StopReason::TakenBack | StopReason::ContentLost));
    if lasting || known == stop || (stop.is_some() && entry.is_delivered_to(member)) {
        return false;
    }
    entry.row.stopped.retain(|stopped| stopped.member != *member);
    if let Some(why) = stop {
        entry.row.stopped.push(StoppedRow { member: member.clone(), why });
    }
    true
}

/// Times that a stored content is looked for: a disk may fail to read once.
const UNREADABLE_MAX: u32 = 3;
