//! What recipients answered, on its way back to whoever handed the parcel over.
//!
//! An answer is believed by the recipient node's own signature, whoever bears it, and passed back until the sender
//! hands the same receipt here: that says that it has it.

use super::{Custody, Kept, Progress, range_of};
use crate::{
    document::{Envelope, Verified, encode},
    ids::{MemberCode, NodeKey},
    limits::{ANSWER_ECHO_WAIT, ANSWERS_IN_FLIGHT_MAX},
    relay::{
        event::CustodyEnd,
        exchange::{Outgoing, RelayFault},
        receipt::{Receipt, ReceiptWord, RefusalReason},
        retry::Timer,
        rows::{CustodyAnswerRow, CustodyKey},
        turn::Turn,
    },
};
use rand_core::Rng;
use serde_bytes::ByteBuf;

impl Custody {
    /// A receipt came whose signature holds. Returns whether it is about a parcel in custody here.
    pub(in crate::relay) fn on_receipt(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeKey,
        verified: &Verified<Receipt>,
    ) -> bool {
        let receipt = verified.payload();
        let keys = self.keys_of(receipt.message, receipt.node);
        if keys.is_empty() || receipt.word == ReceiptWord::Custody {
            return false;
        }
        if verified.signer() != Some(*receipt.node.as_bytes()) {
            turn.fault(from, RelayFault::ReceiptSigner(receipt.message));
            return true;
        }
        let bearer = turn.member_of(&from).cloned();
        for key in keys {
            self.take_answer(turn, key, from, bearer.as_ref(), verified);
        }
        self.pump(turn, receipt.node, None);
        true
    }

    /// Passes back what waits for a node that just connected: its own, and that of a node of its member that is no
    /// longer active.
    pub(super) fn pass_back_to(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        if self.answered.is_empty() {
            return;
        }
        self.pass_back_more(turn, node);
        let Some(member) = turn.member_of(&node).cloned() else { return };
        let active = turn.book.active_nodes(&member);
        let orphaned = |key: &&CustodyKey| {
            !active.contains(&key.hander) && self.kept.get(key).is_some_and(|kept| kept.row.by == member)
        };
        let orphaned = self.answered.iter().filter(orphaned).copied().collect();
        for key in some_of(orphaned, ANSWERS_IN_FLIGHT_MAX, turn.rng) {
            self.pass_back(turn, key, node);
        }
    }

    /// Passes one answer back to a node.
    pub(super) fn pass_back(&mut self, turn: &mut Turn<'_>, key: CustodyKey, to: NodeKey) {
        if !self.connected.contains(&to) {
            return;
        }
        let Some(kept) = self.kept.get(&key) else { return };
        let Some(answer) = &kept.row.answer else { return };
        let Ok(envelope) = Envelope::from_bytes(&answer.receipt) else {
            debug_assert!(false, "only verified receipts are stored");
            return;
        };
        if to == key.hander && self.passed.insert(key) && self.awaiting.insert(to) {
            turn.timers.set(turn.now.after(ANSWER_ECHO_WAIT), Timer::PassBack(to));
        }
        turn.send(to, kept.row.class, Outgoing::Borne(Box::new(envelope)));
    }

    /// What was passed back and not echoed is passed again.
    pub(super) fn on_pass_back_timer(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        self.awaiting.remove(&node);
        let (first, last) = range_of(node);
        self.passed.retain(|key| *key < first || *key > last);
        self.pass_back_more(turn, node);
    }

    fn take_answer(
        &mut self,
        turn: &mut Turn<'_>,
        key: CustodyKey,
        from: NodeKey,
        bearer: Option<&MemberCode>,
        verified: &Verified<Receipt>,
    ) {
        let Some(kept) = self.kept.get_mut(&key) else { return };
        let receipt = verified.payload();
        if receipt.member != kept.row.member {
            // The node speaks for another member than the label says, so it will never take what is in it.
            if kept.holds_parcel() {
                self.drop_parcel(turn, key, CustodyEnd::Refused);
            }
            return self.forget(turn, key);
        }
        let (holds, by_sender) = (kept.holds_parcel(), bearer == Some(&kept.row.by) && from != key.node);
        // `delivered` is said of the message; anything else of the one parcel that is on its way.
        let of_this = from == key.node && matches!(kept.progress, Progress::Sent(_));
        if of_this {
            kept.unanswered = kept.unanswered.saturating_sub(1);
        }
        let answered = |word| kept.row.answer.as_ref().is_some_and(|answer| answer.word == word);
        let (refused, delivered) = (answered(ReceiptWord::Refused), answered(ReceiptWord::Delivered));
        match (receipt.word, holds) {
            // Its sender has the answer: nothing more is to be kept.
            (ReceiptWord::Delivered, true) if by_sender => {
                self.drop_parcel(turn, key, CustodyEnd::Delivered);
                self.forget(turn, key);
            }
            (ReceiptWord::Delivered | ReceiptWord::Refused, false)
                if by_sender && (refused || receipt.word == ReceiptWord::Delivered) =>
            {
                self.forget(turn, key);
                self.pass_back_more(turn, key.hander);
            }
            (ReceiptWord::Delivered, true) => {
                self.answer(turn, key, ReceiptWord::Delivered, verified.envelope());
                self.drop_parcel(turn, key, CustodyEnd::Delivered);
                self.pass_back(turn, key, key.hander);
            }
            // It was said of another copy, or of one that was handed over before it expired: the word of the node itself, and the last that there can be.
            (ReceiptWord::Delivered, false) if !delivered => {
                self.answer(turn, key, ReceiptWord::Delivered, verified.envelope());
                self.store(turn, key);
                self.pass_back(turn, key, key.hander);
            }
            (ReceiptWord::Refused, true) if of_this => {
                let reason = receipt.reason.unwrap_or(RefusalReason::Invalid);
                if reason.is_passing() || !self.is_alone(turn, key) {
                    return self.rest(turn, key, None);
                }
                self.answer(turn, key, ReceiptWord::Refused, verified.envelope());
                self.drop_parcel(turn, key, CustodyEnd::Refused);
                self.pass_back(turn, key, key.hander);
            }
            (ReceiptWord::Reseal, true) if of_this => {
                self.answer(turn, key, ReceiptWord::Reseal, verified.envelope());
                self.store(turn, key);
                // It is tried again, ever more rarely: the seed may be put back, or this be a late answer to another copy.
                let pause = self.kept.get_mut(&key).map(Kept::unopened_pause).unwrap_or_default();
                self.rest(turn, key, Some(turn.now.after(pause)));
                self.pass_back(turn, key, key.hander);
            }
            _ => {}
        }
    }

    /// Stores the row as it is.
    fn store(&self, turn: &mut Turn<'_>, key: CustodyKey) {
        turn.persist(self.kept.get(&key).and_then(|kept| kept.stored(key)).into_iter().collect());
    }

    /// Keeps an answer in the row, to be stored with the next change of it.
    fn answer(&mut self, turn: &mut Turn<'_>, key: CustodyKey, word: ReceiptWord, envelope: &Envelope) {
        self.unqueue(turn, key);
        let Some(kept) = self.kept.get_mut(&key) else { return };
        let Ok(receipt) = encode(envelope) else {
            debug_assert!(false, "an envelope that was decoded can be encoded");
            return;
        };
        kept.progress = Progress::Done;
        kept.row.answer = Some(CustodyAnswerRow { word, receipt: ByteBuf::from(receipt) });
        self.answered.insert(key);
    }

    /// Passes back what the sender's window has room for.
    fn pass_back_more(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        if !self.connected.contains(&node) {
            return;
        }
        let (first, last) = range_of(node);
        let room = ANSWERS_IN_FLIGHT_MAX.saturating_sub(self.passed.range(first..=last).count());
        if room == 0 {
            return;
        }
        let waiting = self.answered.range(first..=last).filter(|key| !self.passed.contains(key));
        for key in some_of(waiting.copied().collect(), room, turn.rng) {
            self.pass_back(turn, key, node);
        }
    }
}

/// So many of these, from a random one on: some answers are never echoed, such as those about what the sender does not
/// know any more, and those hold up no other for ever.
fn some_of(mut keys: Vec<CustodyKey>, room: usize, rng: &mut impl Rng) -> Vec<CustodyKey> {
    let start = rng.next_u32() as usize % keys.len().max(1);
    keys.rotate_left(start);
    keys.truncate(room);
    keys
}
