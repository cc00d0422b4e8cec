//! What nodes promised: every message that a node accepted from its officer, and every word that was said of it. A
//! promise is written down before anything is broken, and looked at afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use refpoint_protocol::ids::{MemberCode, MessageId};

/// The book of one federation's promises. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

/// What the book holds.
#[derive(Clone, Default)]
pub(crate) struct Book {
    next: u64,
    /// Accepted by the sender's node.
    pub(crate) accepted: BTreeMap<MessageId, Sent>,
    /// Texts whose sender heard no answer: accepted or not, at most once in an inbox.
    pub(crate) unanswered: BTreeSet<String>,
    /// Texts that were refused, each with the reason's code: nobody was promised anything, and nobody gets them.
    pub(crate) refused: BTreeMap<String, String>,
    /// Said to be delivered, by the sender's node.
    pub(crate) delivered: BTreeSet<(MessageId, MemberCode)>,
    /// Said to have come, by the recipient's node.
    pub(crate) received: BTreeSet<(MessageId, MemberCode)>,
    /// Said to be kept by a custodian for a recipient, by the sender's node.
    pub(crate) custody: BTreeSet<(MessageId, MemberCode, MemberCode)>,
    /// Acknowledged by a person, as the recipient's node accepted it.
    pub(crate) acknowledged: BTreeSet<(MessageId, MemberCode)>,
}

/// A message that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) sender: MemberCode,
    pub(crate) recipients: Vec<MemberCode>,
    pub(crate) text: Text,
    /// Whether its sender's folder was put back to a time before it, so that only its recipients know of it.
    pub(crate) is_forgotten: bool,
}

/// A message's text: made from two numbers, so that the book stays small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    number: u64,
    length: usize,
}

impl Text {
    /// The words.
    pub(crate) fn words(self) -> String {
        let mut words = format!("trial message {} ", self.number);
        let line = format!("keep the records of line {} until the order comes; ", self.number);
        while words.len() < self.length {
            words.push_str(&line);
        }
        words
    }
}

impl Ledger {
    /// A text that was not used before, of about so many bytes.
    pub(crate) fn new_text(&self, length: usize) -> Text {
        let mut book = self.lock();
        book.next += 1;
        Text { number: book.next, length }
    }

    /// Writes something down.
    pub(crate) fn write(&self, note: impl FnOnce(&mut Book)) {
        note(&mut self.lock());
    }

    /// The book as it is now.
    pub(crate) fn read(&self) -> Book {
        self.lock().clone()
    }

    /// How many messages were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.lock().accepted.len()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
