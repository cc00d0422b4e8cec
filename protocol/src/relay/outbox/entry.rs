//! One message that this node sends: what each node answered, and where each parcel is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::returned::ReturnedStatements;
use crate::{
    ids::{MemberCode, MessageId, NodeKey, SealingKeyId},
    limits::{CUSTODIAN_REST, CUSTODIANS_MAX, CUSTODY_AGAIN, UNOPENED_PAUSE_MAX},
    message::{drill::DrillId, header::MessageHeader},
    relay::{
        event::{Step, StopReason},
        exchange::{CommandId, Ticket},
        lane::Place,
        receipt::RefusalReason,
        retry::{Timer, doubled},
        rows::{AnswerRow, OutboxRow, encode_row},
        sealing::Sealable,
        turn::{Turn, change},
    },
    storage::{Change, Table},
    time::Timestamp,
};

/// A message in the outbox.
pub(in crate::relay) struct Entry {
    /// What is stored of it.
    pub(in crate::relay) row: OutboxRow,
    /// Where the parcels are.
    pub(in crate::relay) targets: BTreeMap<NodeKey, Target>,
    /// The command that it came from, in this run.
    pub(super) command: Option<CommandId>,
    /// The write that stores it, in this run: parcels rest on it, for who was refused has sent nothing.
    pub(super) write: Option<Ticket>,
    /// The content, until the first parcels are sealed.
    pub(super) at_hand: Option<Arc<Sealable>>,
    /// What each recipient's people said of it.
    pub(super) said: BTreeMap<MemberCode, BTreeSet<MessageId>>,
    /// When its content is to be dropped because every recipient acknowledged it.
    pub(super) drop_at: Option<Timestamp>,
}

/// A parcel for one node.
pub(in crate::relay) struct Target {
    pub(in crate::relay) member: MemberCode,
    pub(in crate::relay) progress: Progress,
    pub(super) attempts: u32,
    /// The key that the last parcel was sealed to.
    pub(super) key: Option<SealingKeyId>,
    /// Reseal answers since the last lasting change, so that two that disagree do not loop.
    pub(super) reseals: u32,
    /// The last passing refusal, for people.
    pub(in crate::relay) refused: Option<RefusalReason>,
    /// The passing reasons that were told in this run: once each, however they alternate.
    pub(super) told: BTreeSet<RefusalReason>,
    /// What its own people said of the message, and it lacks.
    pub(in crate::relay) returned: ReturnedStatements,
    /// When the node said that it lacks what it had confirmed, by this node's clock.
    pub(super) lacking: Option<Timestamp>,
    /// How often the stored content could not be read.
    pub(super) unreadable: u32,
    /// Nodes that were asked to keep it; those that do stand in the row.
    pub(super) asked: BTreeMap<NodeKey, Asked>,
    /// The key that the parcels for custodians were last sealed to.
    pub(super) custody_key: Option<SealingKeyId>,
    /// When it is looked at whether it needs custodians.
    pub(super) look_at: Option<Timestamp>,
    /// Whether the node itself said that it could not open what was last sealed.
    pub(super) resealed: bool,
    /// Whose custodians bore that answer of the node's to what was last sealed for them, and when: each may have
    /// damaged what it kept.
    pub(super) borne_reseals: BTreeMap<MemberCode, Timestamp>,
    /// How often a node refused to keep it for a reason that lasts, unless its clock or directory were behind.
    refusals: BTreeMap<NodeKey, u32>,
}

/// Where a parcel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Progress {
    /// In the node's queue.
    Waiting,
    /// In back-off until then.
    Resting(Timestamp),
    /// No sealing key of the node is known yet.
    Keyless,
    /// Being sealed.
    Sealing(Ticket),
    /// Sent, to be answered by then.
    Sent(Timestamp),
    /// Nothing to be done: answered for good, stopped or expired.
    Done,
}

/// What became of asking one node to keep a parcel. A node that keeps it stands in the message's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay) enum Asked {
    /// Handed over, to be answered by then.
    Handed(Timestamp),
    /// It does not, or no longer; it may be asked again then, or with another sealing key than this one.
    Declined {
        /// When it may be asked again with the same key; never if absent.
        until: Option<Timestamp>,
        /// The key that the parcel was sealed to and did not open under, if that is why.
        key: Option<SealingKeyId>,
    },
}

impl Target {
    pub(super) fn new(member: MemberCode, progress: Progress) -> Self {
        Self {
            member,
            progress,
            attempts: 0,
            key: None,
            reseals: 0,
            refused: None,
            told: BTreeSet::new(),
            returned: ReturnedStatements::default(),
            lacking: None,
            unreadable: 0,
            asked: BTreeMap::new(),
            custody_key: None,
            look_at: None,
            resealed: false,
            borne_reseals: BTreeMap::new(),
            refusals: BTreeMap::new(),
        }
    }

    /// How long a custodian that refused is not asked again; `None`: for good. Where it may only have been behind, ever
    /// longer, so that what is never kept is carried to nobody without end.
    pub(super) fn rest_after(&mut self, custodian: NodeKey, reason: RefusalReason) -> Option<Duration> {
        match reason {
            RefusalReason::Expired => None,
            RefusalReason::TooFast => Some(CUSTODY_AGAIN),
            RefusalReason::Invalid | RefusalReason::NotARecipient => {
                let times = self.refusals.entry(custodian).or_default();
                let rest = doubled(CUSTODIAN_REST, *times, UNOPENED_PAUSE_MAX);
                *times = times.saturating_add(1);
                Some(rest)
            }
            RefusalReason::NoRoom
            | RefusalReason::UnknownSigner
            | RefusalReason::Suspended
            | RefusalReason::Quota
            | RefusalReason::Lost => Some(CUSTODIAN_REST),
        }
    }

    /// Whether the node cannot open what is sealed for it: by its own word, or what so many members bore that it
    /// is none's doing.
    pub(in crate::relay) fn is_unopened(&self) -> bool {
        self.resealed || self.borne_reseals.len() >= CUSTODIANS_MAX
    }

    /// Whether more custodians would only carry there what so many have lately carried in vain.
    pub(super) fn is_borne_in_vain(&self, now: Timestamp) -> bool {
        let lately = |at: &&Timestamp| now < at.after(CUSTODIAN_REST);
        self.borne_reseals.values().filter(lately).count() >= CUSTODIANS_MAX
    }

    /// Parcels for custodians are sealed to this key from now on.
    pub(super) fn sealed_for_custodians(&mut self, key: SealingKeyId) {
        if self.custody_key.replace(key) != Some(key) {
            self.borne_reseals.clear();
            self.resealed &= self.key == Some(key);
        }
    }
}

impl Entry {
    pub(super) fn from_row(row: OutboxRow) -> Self {
        let (targets, said) = (BTreeMap::new(), BTreeMap::new());
        Self { row, targets, command: None, write: None, at_hand: None, said, drop_at: None }
    }

    /// The target of a node that answered, to which something goes once more; `None` while its member is stopped.
    pub(super) fn target_again(&mut self, node: NodeKey) -> Option<&mut Target> {
        let member = self.answer(&node)?.member.clone();
        if self.stop_of(&member).is_some() {
            return None;
        }
        Some(self.targets.entry(node).or_insert_with(|| Target::new(member, Progress::Done)))
    }

    /// Whether the message itself is to go to this node.
    pub(super) fn is_due(&self, node: &NodeKey) -> bool {
        let lacking = self.targets.get(node).is_some_and(|target| target.lacking.is_some());
        lacking || self.answer(node).is_none()
    }

    pub(super) fn answer(&self, node: &NodeKey) -> Option<&AnswerRow> {
        let at = self.row.answers.binary_search_by(|answer| answer.node.cmp(node)).ok()?;
        self.row.answers.get(at)
    }

    pub(super) fn has_delivered(&self, node: &NodeKey) -> bool {
        self.answer(node).is_some_and(|answer| answer.late.is_some())
    }

    /// Whether one of the member's nodes has it.
    pub(super) fn is_delivered_to(&self, member: &MemberCode) -> bool {
        self.row.answers.iter().any(|answer| answer.member == *member && answer.late.is_some())
    }

    /// Records a lasting answer; `delivered` is never replaced.
    pub(super) fn record(&mut self, answer: AnswerRow) {
        match self.row.answers.binary_search_by(|known| known.node.cmp(&answer.node)) {
            Ok(at) => {
                if let Some(known) = self.row.answers.get_mut(at).filter(|known| known.late.is_none()) {
                    *known = answer;
                }
            }
            Err(at) => self.row.answers.insert(at, answer),
        }
    }

    pub(super) fn stop_of(&self, member: &MemberCode) -> Option<StopReason> {
        self.row.stopped.iter().find(|stopped| stopped.member == *member).map(|stopped| stopped.why)
    }

    /// Whether parcels may still be sealed from it.
    pub(super) const fn is_open(&self) -> bool {
        self.row.content && !self.row.expired
    }

    pub(super) fn place(&self, message: MessageId) -> Place<MessageId, ()> {
        Place {
            key: message,
            precedence: self.row.precedence,
            owner: (),
            since: self.row.created,
            size: usize::try_from(self.row.size).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn step(&self, message: MessageId, member: &MemberCode, node: NodeKey) -> Step {
        Step { message, command: self.command, member: member.clone(), node, drill: self.row.drill }
    }

    /// The row as it stands, to be stored.
    pub(super) fn stored(&self, message: MessageId) -> Option<Change> {
        change(encode_row(&self.row).map(|row| Change::put(Table::Outbox, *message.as_bytes(), row)))
    }

    /// Moves a parcel on and keeps its timer in step.
    pub(super) fn set_progress(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        node: NodeKey,
        progress: Progress,
    ) {
        let Some(target) = self.targets.get_mut(&node) else { return };
        let timer = Timer::Retry(message, node);
        if let Progress::Resting(at) | Progress::Sent(at) = target.progress {
            turn.timers.clear(at, timer);
        }
        if let Progress::Resting(at) | Progress::Sent(at) = progress {
            turn.timers.set(at, timer);
        }
        target.progress = progress;
    }
}

/// The row of a message just composed.
pub(super) fn new_row(
    header: &MessageHeader,
    tlp: crate::message::body::Tlp,
    (drill, drill_id): (bool, Option<DrillId>),
    statement: Option<crate::relay::event::StatementLabel>,
) -> OutboxRow {
    OutboxRow {
        recipients: header.recipients.clone(),
        precedence: header.precedence,
        tlp,
        drill,
        drill_id,
        created: header.created,
        expires: header.expires,
        size: header.length,
        statement,
        answers: Vec::new(),
        stopped: Vec::new(),
        custodians: Vec::new(),
        key_lost: Vec::new(),
        expired: false,
        content: true,
    }
}
