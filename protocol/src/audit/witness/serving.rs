//! The side that is asked: what it cosigns, what it refuses, and what it remembers of both.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{CosignAnswer, CosignRefusal, CosignRequest, HeardJournal};
use crate::{
    audit::{
        journal::JournalCheckpoint,
        merkle::{
            Tree,
            proof::{ProofError, check_consistency},
        },
        note::NoteError,
    },
    document::{EncodeError, encode},
    heads::JournalPosition,
    ids::{FederationId, MemberCode, NodeKey, TreeRoot},
    limits::{
        CHECKPOINT_BYTES_MAX, CLOCK_SKEW_MAX, HEAD_SILENCE, HEARD_NODES_MAX, WITNESS_BURST, WITNESS_EARNED,
        WITNESS_ENDED_MAX, WITNESS_PROOF_MAX,
    },
    relay::rows::{RowError, decode_row, encode_row},
    time::Timestamp,
};

/// A node as a witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The federation.
    pub federation: FederationId,
    /// This node's member: it is no witness of its own.
    pub member: MemberCode,
}

/// The row of [`crate::storage::Table::Witnessed`]: what this node cosigned of another's journals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessedRow {
    /// The checkpoint that was cosigned last, a note signed by its node; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<String>,
    /// Where the journals before it stood when they were cosigned last, the oldest first.
    pub ended: Vec<String>,
    /// What contradicted the newest, for good: the first of each kind in a journal, the first six in all.
    pub refuted: Vec<Refuted>,
}

/// A checkpoint that was not cosigned because it contradicts one that was. Both are signed by their node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuted {
    /// What is wrong.
    pub doubt: Doubt,
    /// The checkpoint that this node held, or, of a journal that it knew by a head alone, that head: its envelope in base64.
    pub held: String,
    /// The one that was refused.
    pub refused: String,
    /// When, by this node's clock.
    pub at: Timestamp,
}

/// How a journal contradicts what was cosigned of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// As many entries, with another root. The two checkpoints prove it.
    #[error("as many entries with other content")]
    Forked,
    /// Fewer entries, signed later. The two checkpoints prove it, as far as its node's clock is believed.
    #[error("fewer entries than before")]
    Rewound,
    /// More entries, and no proof that they continue those before.
    #[error("more entries that do not continue those before")]
    Inconsistent,
}

/// What follows from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Store the row durably, then cosign the checkpoint and answer with that.
    Cosign {
        /// The asker's row. The answer tells the last of what has ended.
        row: Box<WitnessedRow>,
        /// Whether the node began a new journal: after a restore, or to be rid of the one before.
        succeeds: bool,
    },
    /// Answer, and remember nothing.
    Answer(CosignAnswer),
    /// Store the row durably, tell people, and answer.
    Refuted {
        /// The asker's row.
        row: Box<WitnessedRow>,
        /// What is wrong.
        doubt: Doubt,
        /// The answer.
        answer: CosignAnswer,
    },
}

/// What no honest node asks, in any state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessFault {
    /// Out of form.
    #[error("a request to cosign with {0}")]
    Form(&'static str),
    /// The checkpoint.
    #[error("a checkpoint to cosign: {0}")]
    Checkpoint(#[from] NoteError),
    /// Not the asker's own journal.
    #[error("a checkpoint of another node's journal, or of another federation's")]
    Origin,
    /// A proof of a length that its numbers exclude.
    #[error("a proof to cosign by: {0}")]
    Proof(ProofError),
}

impl WitnessFault {
    /// The broken rule's id in VALIDATION.md.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Form(_) | Self::Proof(_) => "WI-01",
            Self::Checkpoint(_) | Self::Origin => "WI-02",
        }
    }
}

impl Witness {
    /// Judges a request of a node whose key is active. `held` is its row, `heard` how far its journals had come by its
    /// heads.
    ///
    /// # Errors
    /// [`WitnessFault`] for what is wrong in every state.
    pub fn judge(
        &self,
        now: Timestamp,
        asker: (&MemberCode, NodeKey),
        request: &CosignRequest,
        held: &WitnessedRow,
        heard: Option<&HeardJournal>,
    ) -> Result<Judged, WitnessFault> {
        if request.proof.len() > WITNESS_PROOF_MAX {
            return Err(WitnessFault::Form("too many hashes"));
        }
        if request.checkpoint.len() > CHECKPOINT_BYTES_MAX {
            return Err(WitnessFault::Form("a checkpoint that is too long"));
        }
        let new = JournalCheckpoint::read(request.checkpoint.as_bytes())?;
        let (member, node) = asker;
        let origin = &new.origin;
        if (origin.federation, &origin.member, origin.node) != (self.federation, member, node) {
            return Err(WitnessFault::Origin);
        }
        if request.old > new.size {
            return Err(WitnessFault::Form("an old size above the new"));
        }
        if *member == self.member {
            return Ok(Judged::Answer(CosignAnswer::Refused(CosignRefusal::OwnMember)));
        }
        // A journal dated far ahead would shut out all that begin before that day.
        if origin.began > now.after(CLOCK_SKEW_MAX) {
            return Ok(Judged::Answer(CosignAnswer::Refused(CosignRefusal::Clock)));
        }
        let Some((note, last)) = held.newest() else {
            return judge_unknown(now, request, held, &new, (None, heard));
        };
        let answer = CosignAnswer::Held(note.to_owned());
        if origin.began < last.origin.began {
            return Ok(Judged::Answer(answer));
        }
        if origin.began > last.origin.began {
            return judge_unknown(now, request, held, &new, (Some(note), heard));
        }
        let refuted = |doubt| Ok(held.refuted(doubt, note, &request.checkpoint, answer.clone(), now));
        if new.size == last.size && new.root != last.root {
            return refuted(Doubt::Forked);
        }
        if new.size < last.size {
            // An older checkpoint says nothing new; a newer one of fewer entries does.
            let is_rewound = new.made > last.made;
            return if is_rewound { refuted(Doubt::Rewound) } else { Ok(Judged::Answer(answer)) };
        }
        if request.old != last.size {
            return Ok(Judged::Answer(answer));
        }
        if continues((last.size, last.root), &new, request)? {
            Ok(held.cosigning(request, None))
        } else {
            refuted(Doubt::Inconsistent)
        }
    }
}

/// Judges a request about a journal of which this node cosigned nothing: it is to continue what its node's heads said of it.
/// `before` is what this node cosigned of the journal before.
fn judge_unknown(
    now: Timestamp,
    request: &CosignRequest,
    held: &WitnessedRow,
    new: &JournalCheckpoint,
    (before, heard): (Option<&str>, Option<&HeardJournal>),
) -> Result<Judged, WitnessFault> {
    let began = new.origin.began;
    let refused = |why| Ok(Judged::Answer(CosignAnswer::Refused(why)));
    let Some(heard) = heard.filter(|heard| heard.position().began >= began) else {
        // Its node's heads have told of a journal as old as that: this node has not listened for long, and waits for one.
        if now.since(began) > HEAD_SILENCE {
            return refused(CosignRefusal::NotHeard);
        }
        if request.old != 0 {
            return refused(CosignRefusal::NothingHeld);
        }
        // Whatever continues the list of none.
        continues((0, Tree::default().root()), new, request)?;
        return Ok(held.cosigning(request, before));
    };
    let JournalPosition { began: heard_began, size, root } = heard.position();
    let envelope = heard.head().envelope().as_ref();
    let answer = CosignAnswer::Heard(Box::new(envelope.clone()));
    let refuted = |doubt| match encode(envelope) {
        Ok(head) => held.refuted(doubt, &STANDARD.encode(head), &request.checkpoint, answer.clone(), now),
        // It was decoded before. It is refused all the same.
        Err(_) => Judged::Answer(answer.clone()),
    };
    if heard_began == began && new.size == size && new.root != root {
        return Ok(refuted(Doubt::Forked));
    }
    // A checkpoint of fewer entries is nobody's fault: the head may have come before a request that was made before it.
    if heard_began > began || new.size < size || request.old != size {
        return Ok(Judged::Answer(answer));
    }
    if continues((size, root), new, request)? {
        Ok(held.cosigning(request, before))
    } else {
        Ok(refuted(Doubt::Inconsistent))
    }
}

/// Whether the proof of a request shows that its checkpoint continues an earlier state.
fn continues(
    old: (u64, TreeRoot),
    new: &JournalCheckpoint,
    request: &CosignRequest,
) -> Result<bool, WitnessFault> {
    match check_consistency(old, (new.size, new.root), &request.proof) {
        Ok(()) => Ok(true),
        Err(ProofError::Root | ProofError::OldRoot) => Ok(false),
        Err(fault @ (ProofError::Length { .. } | ProofError::Place { .. })) => {
            Err(WitnessFault::Proof(fault))
        }
    }
}

impl WitnessedRow {
    /// The newest checkpoint and what it says.
    fn newest(&self) -> Option<(&str, JournalCheckpoint)> {
        let note = self.newest.as_deref()?;
        // What is stored was checked before; if it does not read any more, the row is as good as lost.
        JournalCheckpoint::read(note.as_bytes()).ok().map(|read| (note, read))
    }

    /// Its row in [`crate::storage::Table::Witnessed`].
    ///
    /// # Errors
    /// [`EncodeError`] if an invariant of ours is broken.
    pub fn to_row(&self) -> Result<Vec<u8>, EncodeError> {
        encode_row(self)
    }

    /// Reads a row back.
    ///
    /// # Errors
    /// [`RowError`] if it is damaged or newer than this program.
    pub fn from_row(row: &[u8]) -> Result<Self, RowError> {
        decode_row(row)
    }

    /// What is remembered once a request is cosigned; `before` is where the journal before stood, if this is another.
    fn cosigning(&self, request: &CosignRequest, before: Option<&str>) -> Judged {
        let mut row = self.clone();
        row.newest = Some(request.checkpoint.clone());
        row.ended.extend(before.map(str::to_owned));
        let surplus = row.ended.len().saturating_sub(WITNESS_ENDED_MAX);
        row.ended.drain(..surplus);
        Judged::Cosign { row: Box::new(row), succeeds: before.is_some() }
    }

    /// What it says of the journal that was cosigned last.
    #[must_use]
    pub fn last(&self) -> Option<JournalCheckpoint> {
        self.newest().map(|(_, read)| read)
    }

    /// Remembers a contradiction, the first of its kind in a journal; later ones are only answered.
    fn refuted(
        &self,
        doubt: Doubt,
        held: &str,
        refused: &str,
        answer: CosignAnswer,
        now: Timestamp,
    ) -> Judged {
        let began = |note: &str| JournalCheckpoint::read(note.as_bytes()).map(|read| read.origin.began).ok();
        let current = began(refused);
        let is_known = |it: &Refuted| it.doubt == doubt && began(&it.refused) == current;
        // Whoever begins new journals only to contradict them does not get rid of what is kept.
        if self.refuted.len() >= REFUTED_MAX || self.refuted.iter().any(is_known) {
            return Judged::Answer(answer);
        }
        let mut row = self.clone();
        row.refuted.push(Refuted { doubt, held: held.to_owned(), refused: refused.to_owned(), at: now });
        Judged::Refuted { row: Box::new(row), doubt, answer }
    }
}

/// How often each node may ask: bounded in nodes, and the least recent goes first.
#[derive(Clone, Debug, Default)]
pub struct RequestLimits {
    nodes: BTreeMap<NodeKey, (u32, Timestamp)>,
}

impl RequestLimits {
    /// Whether one more request of that node is looked at, which is then counted.
    pub fn allow(&mut self, node: NodeKey, now: Timestamp) -> bool {
        if self.nodes.len() >= HEARD_NODES_MAX && !self.nodes.contains_key(&node) {
            let silent = self.nodes.iter().min_by_key(|(_, (_, since))| *since).map(|(node, _)| *node);
            silent.and_then(|node| self.nodes.remove(&node));
        }
        let (left, since) = self.nodes.entry(node).or_insert((WITNESS_BURST, now));
        let earned = now.since(*since).as_millis() / WITNESS_EARNED.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            *left = left.saturating_add(earned).min(WITNESS_BURST);
            *since = now;
        }
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    }
}

/// Contradictions of one node that are kept, for people told of the first one act on that: each kind, of two journals.
pub(super) const REFUTED_MAX: usize = 6;
