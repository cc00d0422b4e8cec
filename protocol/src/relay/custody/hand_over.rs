//! From the disk to the recipient: at once when it is connected, and again when nothing comes back.

use super::{Custody, Kept, Progress, refuse};
use crate::{
    ids::{MessageId, NodeKey},
    limits::{REPEAT_BURST, REPEAT_INTERVAL, REPEAT_UNIT_BYTES, RETRY_MAX},
    relay::{
        event::CustodyEnd,
        exchange::{Job, Outgoing, RelayEffect, Ticket},
        parcel::Parcel,
        receipt::RefusalReason,
        retry::{Timer, pause, receipt_wait},
        rows::CustodyKey,
        turn::Turn,
    },
    time::Timestamp,
};

impl Custody {
    /// Hands over what the recipient's window has room for; `at_hand` is a parcel that just came.
    pub(super) fn pump(
        &mut self,
        turn: &mut Turn<'_>,
        node: NodeKey,
        at_hand: Option<(CustodyKey, Box<Parcel>)>,
    ) {
        if !self.connected.contains(&node) {
            return;
        }
        let mut at_hand = at_hand;
        while let Some(place) = self.lanes.get_mut(&node).and_then(super::Lane::take_next) {
            let key = place.key;
            if self.is_one_on_its_way(key) {
                self.wait_behind(key);
                continue;
            }
            let Some(kept) = self.kept.get_mut(&key) else {
                // A queue holds only what is kept; forgetting a place is right all the same.
                self.land(key);
                continue;
            };
            let stopped =
                [&kept.row.by, &kept.row.member].into_iter().any(|it| turn.stop_reason(it).is_some());
            let mut is_allowed = || {
                let cost = u32::try_from(place.size.div_ceil(REPEAT_UNIT_BYTES)).unwrap_or(u32::MAX);
                let rate = self.repeats.entry(node).or_default().of(kept.row.class);
                rate.allow(&kept.row.by, cost, (REPEAT_BURST, REPEAT_INTERVAL), turn.now)
            };
            if stopped || (kept.handed && !is_allowed()) {
                self.rest(turn, key, Some(turn.now.after(RETRY_MAX)));
                continue;
            }
            match at_hand.take_if(|(at_hand, _)| *at_hand == key) {
                Some((_, parcel)) => self.hand_over(turn, key, parcel),
                None => {
                    let ticket = turn.tickets.draw();
                    let class = kept.row.class;
                    kept.progress = Progress::Loading(ticket);
                    self.loading.insert(ticket, key);
                    turn.effects.push(RelayEffect::Work(Job::Load { ticket, key, class }));
                }
            }
        }
    }

    /// A parcel was read from the disk, or could not be.
    pub(in crate::relay) fn on_loaded(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        parcel: Option<Box<Parcel>>,
    ) {
        let Some(key) = self.loading.remove(&ticket) else { return };
        let Some(kept) = self.kept.get_mut(&key).filter(|it| it.progress == Progress::Loading(ticket)) else {
            // What stood behind it may go.
            return self.pump(turn, key.node, None);
        };
        // What the key names must be what is inside: a mixed-up disk hands nobody another's parcel.
        let parcel = parcel.filter(|it| {
            it.label.node == key.node
                && it.label.message == key.message
                && it.sealing_key == kept.row.sealing_key
        });
        match parcel {
            Some(parcel) if self.connected.contains(&key.node) => self.hand_over(turn, key, parcel),
            Some(_) => self.queue(turn, key),
            None => {
                // The read may have run ahead of the write that it follows, for as long as the disk is busy or full.
                let may_be_on_its_way = kept.write.is_some();
                kept.unreadable += 1;
                if may_be_on_its_way || kept.unreadable < UNREADABLE_MAX {
                    self.rest(turn, key, None);
                } else {
                    let class = kept.row.class;
                    self.drop_parcel(turn, key, CustodyEnd::Lost);
                    self.forget(turn, key);
                    if self.connected.contains(&key.hander) {
                        refuse(turn, key, class, RefusalReason::Lost);
                    }
                }
            }
        }
        self.pump(turn, key.node, None);
    }

    /// A parcel could not be handed to the recipient's connection.
    pub(in crate::relay) fn on_send_failed(
        &mut self,
        turn: &mut Turn<'_>,
        node: NodeKey,
        message: MessageId,
    ) {
        for key in self.keys_of(message, node) {
            let sent = self.kept.get(&key).is_some_and(|kept| matches!(kept.progress, Progress::Sent(_)));
            if sent {
                self.rest(turn, key, None);
            }
        }
        self.pump(turn, node, None);
    }

    pub(super) fn on_hand_over_timer(&mut self, turn: &mut Turn<'_>, at: Timestamp, key: CustodyKey) {
        match self.kept.get(&key).map(|kept| kept.progress) {
            Some(Progress::Resting(until)) if until == at => self.queue(turn, key),
            Some(Progress::Sent(until)) if until == at => self.rest(turn, key, None),
            _ => return,
        }
        self.pump(turn, key.node, None);
    }

    /// Puts a parcel into its recipient's queue.
    pub(super) fn queue(&mut self, turn: &mut Turn<'_>, key: CustodyKey) {
        self.unqueue(turn, key);
        if self.kept.get(&key).is_some_and(Kept::holds_parcel) {
            self.enqueue(key);
        }
    }

    /// Lets a parcel rest, until `until` or for a pause that grows with each attempt.
    pub(super) fn rest(&mut self, turn: &mut Turn<'_>, key: CustodyKey, until: Option<Timestamp>) {
        self.unqueue(turn, key);
        let Some(kept) = self.kept.get_mut(&key) else { return };
        let until = until.unwrap_or_else(|| turn.now.after(pause(kept.attempts, turn.rng)));
        kept.attempts = kept.attempts.saturating_add(1);
        kept.progress = Progress::Resting(until);
        turn.timers.set(until, Timer::HandOver(key));
        self.resting.entry(key.node).or_default().insert(key);
    }

    /// Takes a parcel out of queue, window and rest, with its timer. The next node's parcel of the same message takes
    /// its place, if one waits behind it.
    pub(super) fn unqueue(&mut self, turn: &mut Turn<'_>, key: CustodyKey) {
        let Some(kept) = self.kept.get(&key) else { return };
        if let Progress::Resting(at) | Progress::Sent(at) = kept.progress {
            turn.timers.clear(at, Timer::HandOver(key));
        }
        let since = kept.row.since;
        if let Some(lane) = self.lanes.get_mut(&key.node) {
            lane.remove(key, since);
            if lane.is_empty() {
                self.lanes.remove(&key.node);
            }
        }
        if let Some(resting) = self.resting.get_mut(&key.node) {
            resting.remove(&key);
            if resting.is_empty() {
                self.resting.remove(&key.node);
            }
        }
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.progress = Progress::Done;
        }
        self.let_the_next_go(key);
    }

    /// Whether another node's parcel of the same message for the same node is on its way.
    fn is_one_on_its_way(&self, key: CustodyKey) -> bool {
        self.others_of(key).any(|(_, it)| it.progress.is_on_its_way())
    }

    fn wait_behind(&mut self, key: CustodyKey) {
        self.land(key);
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.progress = Progress::Behind;
        }
    }

    /// Queues the next parcel that waits behind this one, by turns: whoever hands a parcel over again and again takes
    /// nobody else's turn.
    fn let_the_next_go(&mut self, key: CustodyKey) {
        let is_going = |it: &Kept| it.progress == Progress::Waiting || it.progress.is_on_its_way();
        if self.others_of(key).any(|(_, it)| is_going(it)) {
            return;
        }
        let behind = || self.others_of(key).filter(|(_, it)| it.progress == Progress::Behind);
        let next = behind().find(|(other, _)| other.hander > key.hander).or_else(|| behind().next());
        let Some((next, _)) = next else { return };
        self.enqueue(next);
    }

    /// What other nodes handed over of the same message for the same node.
    fn others_of(&self, key: CustodyKey) -> impl Iterator<Item = (CustodyKey, &Kept)> {
        let handers = self.handers.get(&(key.message, key.node)).into_iter().flatten();
        let others = handers.filter(move |hander| **hander != key.hander);
        let keys = others.map(move |hander| CustodyKey { hander: *hander, ..key });
        keys.filter_map(|key| Some((key, self.kept.get(&key)?)))
    }

    /// The keys under which a message's parcel for a node is kept, by whoever handed it over.
    pub(super) fn keys_of(&self, message: MessageId, node: NodeKey) -> Vec<CustodyKey> {
        let handers = self.handers.get(&(message, node)).into_iter().flatten();
        handers.map(|hander| CustodyKey { hander: *hander, message, node }).collect()
    }

    fn hand_over(&mut self, turn: &mut Turn<'_>, key: CustodyKey, parcel: Box<Parcel>) {
        let Some(kept) = self.kept.get_mut(&key) else { return };
        let until = turn.now.after(receipt_wait(parcel.ciphertext.len()));
        kept.progress = Progress::Sent(until);
        kept.handed = true;
        kept.unanswered = kept.unanswered.saturating_add(1);
        turn.timers.set(until, Timer::HandOver(key));
        let (to, class, after) = (key.node, kept.row.class, kept.write);
        let frame = Outgoing::Parcel(parcel);
        turn.effects.push(RelayEffect::Send { to, frame, class, after });
    }

    /// Remembers that an answer to a parcel that goes may still come.
    pub(super) fn note_stray(&mut self, turn: &Turn<'_>, key: CustodyKey) {
        let Some(kept) = self.kept.get_mut(&key) else { return };
        // Of which copy an answer was counted off is not sure, only how many are to come.
        let owed = std::mem::take(&mut kept.unanswered) > 0;
        if owed || self.others_of(key).any(|(_, it)| it.unanswered > 0) {
            let now = turn.now;
            self.strays.retain(|_, until| *until > now);
            self.strays.insert((key.message, key.node), now.after(STRAY_ANSWER));
        }
    }

    /// Whether an answer can be to no other parcel than this one.
    pub(super) fn is_alone(&self, turn: &Turn<'_>, key: CustodyKey) -> bool {
        let stray = self.strays.get(&(key.message, key.node)).is_some_and(|until| *until > turn.now);
        // Beside another copy an answer may be to an earlier hand-over of either.
        let is_only = self.others_of(key).next().is_none();
        let mut copies = self.others_of(key).map(|(_, it)| it).chain(self.kept.get(&key));
        !stray && (is_only || copies.all(|it| it.unanswered == 0))
    }

    fn land(&mut self, key: CustodyKey) {
        if let Some(lane) = self.lanes.get_mut(&key.node) {
            lane.land(&key);
        }
    }
}

/// How late the answer to a parcel may come, over a slow line and through a full queue.
const STRAY_ANSWER: std::time::Duration = RETRY_MAX;

/// Times that a stored parcel is looked for.
const UNREADABLE_MAX: u32 = 3;
