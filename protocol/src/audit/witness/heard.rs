//! What a witness knows of journals that it never cosigned: where their nodes said in their heads that they stood. Heads come
//! to all, so a node cannot show one past to its witnesses and another to a node that never cosigned it.

use std::collections::BTreeMap;

use crate::{
    document::Verified,
    heads::{Head, JournalPosition},
    ids::{MemberCode, NodeKey},
    limits::{CLOCK_SKEW_MAX, HEARD_JOURNALS_MAX},
    time::Timestamp,
};

/// The head in which a node said how far its journal had come, with its signature alone.
#[derive(Clone, Debug)]
pub struct HeardJournal {
    head: Verified<Head>,
    position: JournalPosition,
}

impl HeardJournal {
    /// Of a verified head; `None` if it says nothing of the journal.
    #[must_use]
    pub fn of(head: &Verified<Head>) -> Option<Self> {
        let position = head.payload().journal?;
        // Signatures of algorithms that nobody knows yet would be handed on, and what is handed on has a bound.
        let head = head.signed_alone_by(head.payload().node.as_bytes())?;
        Some(Self { head, position })
    }

    /// Where the journal stood.
    #[must_use]
    pub const fn position(&self) -> JournalPosition {
        self.position
    }

    /// The signed head.
    #[must_use]
    pub const fn head(&self) -> &Verified<Head> {
        &self.head
    }
}

/// How far each node's journals had come by its heads. Nothing of it is stored: a node that connects is told by a head
/// within minutes.
#[derive(Clone, Debug, Default)]
pub struct HeardJournals(BTreeMap<NodeKey, HeardJournal>);

impl HeardJournals {
    /// Takes in what a verified head of a node whose key counts says of its journal.
    pub fn hear(&mut self, now: Timestamp, head: &Verified<Head>) {
        let Head { node, journal, .. } = head.payload();
        let Some(position) = journal.filter(|position| is_of_now(position, now)) else { return };
        let is_news = match self.0.get(node) {
            None => self.0.len() < HEARD_JOURNALS_MAX,
            // This node's clock may have been ahead when it heard the one it knows.
            Some(known) => !is_of_now(&known.position, now) || known.position.reach() < position.reach(),
        };
        if is_news && let Some(heard) = HeardJournal::of(head) {
            self.0.insert(*node, heard);
        }
    }

    /// Forgets nodes whose keys do not count any more.
    pub fn retain(&mut self, counts: impl Fn(&MemberCode, &NodeKey) -> bool) {
        self.0.retain(|node, heard| counts(&heard.head.payload().member, node));
    }

    /// How far a node's journals had come, by its heads.
    #[must_use]
    pub fn of(&self, now: Timestamp, node: &NodeKey) -> Option<&HeardJournal> {
        self.0.get(node).filter(|heard| is_of_now(&heard.position, now))
    }
}

/// Whether a journal began before now, as far as clocks agree. One that is dated ahead would shut out all that begin before
/// that day.
fn is_of_now(position: &JournalPosition, now: Timestamp) -> bool {
    position.began <= now.after(CLOCK_SKEW_MAX)
}
