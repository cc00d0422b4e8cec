//! What the nodes answered: states only move forward, and late truth wins.

use super::{
    Outbox,
    entry::{Progress, Target},
};
use crate::{
    document::{Envelope, Verified, encode},
    ids::{MemberCode, MessageId, NodeKey},
    relay::{
        event::RelayEvent,
        exchange::RelayFault,
        receipt::{Receipt, ReceiptWord, RefusalReason},
        rows::{AnswerRow, receipt_key},
        turn::{Turn, change},
    },
    storage::{Change, Table},
};

impl Outbox {
    /// A receipt came whose signature holds; whether its signer speaks for this parcel is decided here.
    pub(in crate::relay) fn on_receipt(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeKey,
        verified: &Verified<Receipt>,
    ) {
        let receipt = verified.payload();
        let (message, node) = (receipt.message, receipt.node);
        if verified.signer() != Some(*node.as_bytes()) {
            // Anybody else speaks for its own custody alone.
            let custodian = verified.signer() == Some(*from.as_bytes())
                && matches!(receipt.word, ReceiptWord::Custody | ReceiptWord::Refused);
            return if custodian {
                self.on_custodian_word(turn, from, verified);
            } else {
                turn.fault(from, RelayFault::ReceiptSigner(message));
            };
        }
        // `delivered` is proven by its signature, whoever bears it; what else was said may be about a parcel that
        // its bearer damaged.
        let borne = from != node;
        if borne && receipt.word != ReceiptWord::Delivered {
            return self.on_borne_refusal(turn, from, verified);
        }
        if self.is_said(&message) {
            return self.on_statement_answer(turn, from, receipt);
        }
        let Some(entry) = self.entries.get_mut(&message) else {
            return turn.fault(from, RelayFault::ReceiptUnknown(message));
        };
        // A node that was retired since may still say that it has the message.
        let addressed = match entry.targets.get(&node) {
            Some(target) => target.member == receipt.member,
            None => entry.row.recipients.contains(&receipt.member) && turn.book.lists(&receipt.member, &node),
        };
        if !addressed {
            return turn.fault(from, RelayFault::ReceiptUnknown(message));
        }
        if receipt.word != ReceiptWord::Delivered && self.is_returning(&message, &node) {
            // What it says of an earlier parcel says nothing of the statement that goes there now.
            return turn.fault(from, RelayFault::ReceiptDoubled(message));
        }
        match receipt.word {
            ReceiptWord::Delivered => {
                self.on_delivered(turn, from, verified);
                if borne {
                    // So the bearer knows that it was heard.
                    let class = self.class_of(&message);
                    turn.send_borne(from, class, verified.envelope());
                }
            }
            ReceiptWord::Refused => {
                let reason = receipt.reason.unwrap_or(RefusalReason::Invalid);
                self.on_refused(turn, receipt, reason, verified.envelope());
            }
            ReceiptWord::Reseal => self.on_reseal(turn, message, &receipt.member, node),
            // No node keeps a parcel for itself.
            ReceiptWord::Custody => turn.fault(from, RelayFault::ReceiptSigner(message)),
        }
        self.pump(turn, node);
    }

    fn on_delivered(&mut self, turn: &mut Turn<'_>, from: NodeKey, verified: &Verified<Receipt>) {
        let (receipt, envelope) = (verified.payload(), verified.envelope());
        let (message, node) = (receipt.message, receipt.node);
        let asked = !matches!(self.progress(&message, &node), None | Some(Progress::Done));
        let known = self.entries.get(&message).and_then(|entry| entry.answer(&node));
        // What the node said before its disk was put back does not take back what it said of it since; by a clock that
        // is ahead that word itself may look like a later one.
        let is_old = |known: &AnswerRow| {
            known.late.is_some() && (known.at == receipt.at || !self.is_of_lacking(receipt))
        };
        if from != node && known.is_some_and(is_old) {
            return;
        }
        let entry = self.entries.get(&message);
        if entry.is_some_and(|entry| entry.has_delivered(&node) && !entry.is_due(&node)) {
            // The answer to a parcel that was sent anew confirms what is known; it says nothing of what goes there now.
            if from == node {
                turn.fault(node, RelayFault::ReceiptDoubled(message));
            }
            return;
        }
        let lacked =
            self.target_mut(message, node).map(|target| target.returned.missing()).unwrap_or_default();
        self.settle(turn, message, node);
        let Some(entry) = self.entries.get_mut(&message) else { return };
        if entry.has_delivered(&node) {
            // The answer to a parcel that was sent anew confirms what is known.
            if !asked && from == node {
                turn.fault(node, RelayFault::ReceiptDoubled(message));
            }
            return self.go_again(turn, message, node, lacked, false);
        }
        let late = entry.row.expired || receipt.at > entry.row.expires;
        let member = receipt.member.clone();
        entry.record(AnswerRow {
            node,
            member: member.clone(),
            at: receipt.at,
            late: Some(late),
            reason: None,
            heard: Some(turn.now),
        });
        let step = entry.step(message, &member, node);
        let mut changes: Vec<Change> = entry.stored(message).into_iter().collect();
        changes.extend(stored_receipt(message, node, envelope));
        if entry.is_open() {
            let kept = &mut self.peers.entry(node).or_default().kept;
            kept.insert(message);
            kept.extend(entry.said_by(&member));
        }
        turn.persist(changes);
        turn.emit(RelayEvent::MessageDelivered { step, late, receipt: Some(verified.id()) });
        self.release_custodians(turn, message, node, from, envelope);
        self.go_again(turn, message, node, lacked, false);
    }

    /// Whether a node said this after it had lost the message that it once confirmed. One whose clock is slow says it
    /// once more when it is handed the message again.
    fn is_of_lacking(&self, receipt: &Receipt) -> bool {
        let target = self.target(&receipt.message, &receipt.node);
        target.and_then(|target| target.lacking).is_some_and(|since| receipt.at >= since)
    }

    fn on_refused(
        &mut self,
        turn: &mut Turn<'_>,
        receipt: &Receipt,
        reason: RefusalReason,
        envelope: &Envelope,
    ) {
        let (message, node) = (receipt.message, receipt.node);
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let answered = entry.answer(&node).is_some();
        let step = entry.step(message, &receipt.member, node);
        let again = reason.is_passing() && entry.is_open();
        if again {
            let Some(target) = entry.targets.get_mut(&node) else { return };
            // Each answer has its parcel: otherwise two that alternate would be news without end.
            if !matches!(target.progress, Progress::Sent(_)) {
                return turn.fault(node, RelayFault::ReceiptDoubled(message));
            }
            target.refused = Some(reason);
            let told = !target.told.insert(reason);
            self.on_vain(turn, message, node);
            if !told && !answered {
                turn.emit(RelayEvent::MessageRefused { step, reason, again });
            }
            return;
        }
        self.settle(turn, message, node);
        let Some(entry) = self.entries.get_mut(&message) else { return };
        if answered {
            return turn.fault(node, RelayFault::ReceiptDoubled(message));
        }
        let (at, member) = (receipt.at, receipt.member.clone());
        entry.record(AnswerRow { node, member, at, late: None, reason: Some(reason), heard: Some(turn.now) });
        let mut changes: Vec<Change> = entry.stored(message).into_iter().collect();
        changes.extend(stored_receipt(message, node, envelope));
        turn.persist(changes);
        turn.emit(RelayEvent::MessageRefused { step, reason, again });
    }

    /// The parcel does not open there: it is sealed anew, at once if the directory has another key by now, else
    /// after a pause in which the directory may catch up.
    fn on_reseal(&mut self, turn: &mut Turn<'_>, message: MessageId, member: &MemberCode, node: NodeKey) {
        let current = turn.book.sealing_key(member, &node, turn.now).map(|key| key.id());
        let Some(entry) = self.entries.get_mut(&message) else { return };
        let Some(target) = entry.targets.get_mut(&node) else { return };
        if !matches!(target.progress, Progress::Sent(_)) {
            return turn.fault(node, RelayFault::ReceiptDoubled(message));
        }
        target.reseals = target.reseals.saturating_add(1);
        target.resealed = true;
        let fresh = current.is_some() && current != target.key && target.reseals <= RESEALS_AT_ONCE_MAX;
        if fresh {
            self.requeue(turn, message, node);
        } else {
            self.rest(turn, message, node, None);
        }
    }

    /// Nothing more is to be sent to this node.
    fn settle(&mut self, turn: &mut Turn<'_>, message: MessageId, node: NodeKey) {
        let Some(entry) = self.entries.get_mut(&message) else { return };
        entry.set_progress(turn, message, node, Progress::Done);
        self.custodians.forget(turn, entry, message, node);
        if let Some(target) = entry.targets.get_mut(&node) {
            *target = Target::new(target.member.clone(), Progress::Done);
        }
        let created = entry.row.created;
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.remove(message, created);
        }
        self.release_content(message);
    }
}

fn stored_receipt(message: MessageId, node: NodeKey, envelope: &Envelope) -> Option<Change> {
    change(encode(envelope).map(|bytes| Change::put(Table::Receipts, receipt_key(message, node), bytes)))
}

/// Reseals without a pause: a key that changed twice while a parcel was on its way is rare enough.
const RESEALS_AT_ONCE_MAX: u32 = 3;
