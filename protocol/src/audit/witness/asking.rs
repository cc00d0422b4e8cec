//! The side that asks: whom, when, from which size on, and what the answers mean.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::{CosignAnswer, CosignRefusal, CosignRequest, Cosignature, WitnessName};
use crate::{
    audit::{
        journal::{JournalCheckpoint, JournalOrigin},
        merkle::proof::{self, Tiers},
        note::{Note, NoteSignature},
    },
    document::Envelope,
    heads::{Head, JournalPosition, verify_head},
    ids::{MemberCode, NodeKey},
    limits::{WITNESS_ASKS_MAX, WITNESS_INTERVAL, WITNESS_RETRY, WITNESS_SETTLE, WITNESSES_WANTED},
    time::Timestamp,
};

/// Has this node's journal cosigned. Nothing of it is stored: a witness says itself what it cosigned last.
#[derive(Clone, Debug)]
pub struct Asking {
    member: MemberCode,
    node: NodeKey,
    due: Timestamp,
    /// Of which journal, and at which size, each witness cosigned last in this run.
    known: BTreeMap<NodeKey, (Timestamp, u64)>,
    round: Option<Round>,
}

/// A connected node that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeKey,
    /// Its member.
    pub member: MemberCode,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum AskInput {
    /// A round begins with this checkpoint, as it was signed of what is on the device.
    Begin {
        /// The checkpoint.
        checkpoint: Box<Note>,
        /// Who is connected.
        connected: Vec<Candidate>,
    },
    /// A witness answered, or did not.
    Answered {
        /// The witness.
        from: NodeKey,
        /// Its answer.
        answer: Option<CosignAnswer>,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskEffect {
    /// Ask a witness; it returns as [`AskInput::Answered`].
    Ask {
        /// The witness.
        to: NodeKey,
        /// What.
        request: Box<CosignRequest>,
    },
    /// The round is over.
    Over(Box<RoundOver>),
}

/// What came of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundOver {
    /// The checkpoint with all cosignatures: to be kept if there is one.
    pub checkpoint: Note,
    /// Who cosigned.
    pub cosigned: Vec<Candidate>,
    /// Who did not, and why.
    pub refused: Vec<(Candidate, Unproven)>,
    /// How far the journal before this one had come when a witness cosigned it last: of several the furthest.
    pub before: Option<(Candidate, JournalPosition)>,
    /// What a witness holds of this node's own journal and this node does not: its disk was rolled back, or another
    /// machine has its key. The journal is to be ended, and its successor names this.
    pub lost: Option<(Candidate, JournalPosition)>,
}

/// Why a node did not cosign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// It said why.
    #[error(transparent)]
    Refused(#[from] CosignRefusal),
    /// It does not do this, or has gone, or took too long.
    #[error("it did not answer")]
    Silent,
    /// Its cosignature does not verify, or what it holds is none of this node's.
    #[error("its answer is not in order")]
    Wrong,
    /// It holds what this node does not.
    #[error("it holds another past of this node's journal")]
    OtherPast,
    /// It heard meanwhile in a head of this node of entries that this checkpoint has not: the next one has them.
    #[error("it heard of more entries meanwhile, and is asked again in the next round")]
    Overtaken,
    /// This node cannot make the proof: a row of its journal is damaged.
    #[error("this node's journal has a gap, and no proof can be made")]
    Gap,
}

#[derive(Clone, Debug)]
struct Round {
    note: Note,
    origin: JournalOrigin,
    size: u64,
    /// Who may still be asked, the next one last.
    waiting: Vec<Candidate>,
    /// Who was asked, and how often.
    asked: BTreeMap<NodeKey, (Candidate, u32)>,
    cosigned: Vec<Candidate>,
    refused: Vec<(Candidate, Unproven)>,
    before: Option<(Candidate, JournalPosition)>,
    lost: Option<(Candidate, JournalPosition)>,
}

impl Asking {
    /// Begins a run of a node.
    #[must_use]
    pub fn new(member: MemberCode, node: NodeKey, now: Timestamp) -> Self {
        Self { member, node, due: now.after(WITNESS_SETTLE), known: BTreeMap::new(), round: None }
    }

    /// When a round is to begin next; `None` while one is under way.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.round.is_none().then_some(self.due)
    }

    /// No round could be begun: later.
    pub fn postpone(&mut self, now: Timestamp) {
        self.due = now.after(WITNESS_RETRY);
    }

    /// Decides what follows. The journal's hashes are read for proofs.
    pub fn handle<T: Tiers>(&mut self, now: Timestamp, input: AskInput, tiers: &T) -> Vec<AskEffect> {
        let mut effects = Vec::new();
        match input {
            AskInput::Begin { checkpoint, connected } => {
                // An invariant of the caller's; the round that is under way goes on.
                let Ok(read) = JournalCheckpoint::read(checkpoint.to_string().as_bytes()) else {
                    return effects;
                };
                if self.round.is_some() {
                    return effects;
                }
                self.round = Some(Round {
                    note: *checkpoint,
                    size: read.size,
                    waiting: self.ranked(connected),
                    origin: read.origin,
                    asked: BTreeMap::new(),
                    cosigned: Vec::new(),
                    refused: Vec::new(),
                    before: None,
                    lost: None,
                });
            }
            AskInput::Answered { from, answer } => self.on_answer(from, answer, tiers, &mut effects),
        }
        self.go_on(now, tiers, &mut effects);
        effects
    }

    /// One node of each other member, in an order of this node's own that stays: so a witness has as long a memory of a
    /// journal as there is, and 196 nodes do not all ask the same three.
    fn ranked(&self, connected: Vec<Candidate>) -> Vec<Candidate> {
        let rank = |candidate: &Candidate| -> [u8; 32] {
            let both =
                Sha256::new().chain_update(self.node.as_bytes()).chain_update(candidate.node.as_bytes());
            both.finalize().into()
        };
        let mut ranked: Vec<_> = connected.into_iter().filter(|it| it.member != self.member).collect();
        ranked.sort_by_key(rank);
        let mut members = BTreeSet::new();
        ranked.retain(|candidate| members.insert(candidate.member.clone()));
        ranked.truncate(WITNESS_ASKS_MAX);
        ranked.reverse();
        ranked
    }

    fn on_answer<T: Tiers>(
        &mut self,
        from: NodeKey,
        answer: Option<CosignAnswer>,
        tiers: &T,
        effects: &mut Vec<AskEffect>,
    ) {
        let Some(round) = &mut self.round else { return };
        let Some((candidate, times)) = round.asked.remove(&from) else { return };
        let outcome = match answer {
            None => Err(Unproven::Silent),
            // It forgot, and begins anew.
            Some(CosignAnswer::Refused(CosignRefusal::NothingHeld)) if times < ASKED_AGAIN_MAX => Ok(Some(0)),
            Some(CosignAnswer::Refused(why)) => Err(Unproven::Refused(why)),
            Some(CosignAnswer::Cosigned(word)) => round.cosign(&candidate, &word).map(|()| None),
            Some(CosignAnswer::Held(note)) => {
                round.known_there(&candidate, round.judge_held(&note, tiers), times, Unproven::Wrong)
            }
            // Of a node that changes quickly another head may have come after it was asked again.
            Some(CosignAnswer::Heard(head)) => {
                round.known_there(&candidate, round.judge_heard(*head, tiers), times, Unproven::Overtaken)
            }
        };
        match outcome {
            Ok(None) => {
                self.known.insert(from, (round.origin.began, round.size));
                round.cosigned.push(candidate);
            }
            Ok(Some(old)) => effects.extend(round.ask(candidate, times + 1, old, tiers)),
            Err(why) => {
                self.known.remove(&from);
                round.refused.push((candidate, why));
            }
        }
    }

    /// Asks as many more as are wanted, and ends the round when nobody is left.
    fn go_on<T: Tiers>(&mut self, now: Timestamp, tiers: &T, effects: &mut Vec<AskEffect>) {
        let Some(round) = &mut self.round else { return };
        while round.lost.is_none()
            && round.cosigned.len() + round.asked.len() < WITNESSES_WANTED
            && let Some(candidate) = round.waiting.pop()
        {
            let known = self
                .known
                .get(&candidate.node)
                .filter(|(began, size)| *began == round.origin.began && *size <= round.size);
            let old = known.map_or(0, |(_, size)| *size);
            effects.extend(round.ask(candidate, 1, old, tiers));
        }
        if !round.asked.is_empty() {
            return;
        }
        if let Some(Round { note, cosigned, refused, before, lost, .. }) = self.round.take() {
            let enough = cosigned.len() >= WITNESSES_WANTED;
            self.due = now.after(if enough { WITNESS_INTERVAL } else { WITNESS_RETRY });
            let over = RoundOver { checkpoint: note, cosigned, refused, before, lost };
            effects.push(AskEffect::Over(Box::new(over)));
        }
    }
}

impl Round {
    fn ask<T: Tiers>(&mut self, candidate: Candidate, times: u32, old: u64, tiers: &T) -> Option<AskEffect> {
        let Ok(proof) = proof::consistency(tiers, old, self.size) else {
            self.refused.push((candidate, Unproven::Gap));
            return None;
        };
        // The node's own signature alone: what others cosigned in this round is none of this one's business.
        let own = Note {
            text: self.note.text.clone(),
            signatures: self.note.signatures.iter().take(1).cloned().collect(),
        };
        let request = CosignRequest { old, checkpoint: own.to_string(), proof };
        let to = candidate.node;
        self.asked.insert(to, (candidate, times));
        Some(AskEffect::Ask { to, request: Box::new(request) })
    }

    fn cosign(&mut self, candidate: &Candidate, word: &Cosignature) -> Result<(), Unproven> {
        let Candidate { node, member } = candidate.clone();
        let name = WitnessName { federation: self.origin.federation, member, node }.to_string();
        let line = NoteSignature::claimed_cosignature(&name, node.as_bytes(), word.time, &word.signature);
        let alone = Note { text: self.note.text.clone(), signatures: vec![line] };
        alone.cosigned_by(&name, node.as_bytes()).ok_or(Unproven::Wrong)?;
        self.note.signatures.extend(alone.signatures);
        if let Some(before) = word.before.as_deref().and_then(|note| self.read_before(note))
            && self.before.as_ref().is_none_or(|(_, known)| known.reach() < before.reach())
        {
            self.before = Some((candidate.clone(), before));
        }
        Ok(())
    }

    /// Where a journal of this node's stood that began before this one; of anything else nothing follows.
    fn read_before(&self, note: &str) -> Option<JournalPosition> {
        let position = self.read_own(note)?.position();
        (position.began < self.origin.began).then_some(position)
    }

    /// A checkpoint of one of this node's own journals; `None` of anything else.
    fn read_own(&self, note: &str) -> Option<JournalCheckpoint> {
        let read = JournalCheckpoint::read(note.as_bytes()).ok()?;
        let (of, own) = (&read.origin, &self.origin);
        let is_own = (of.federation, &of.member, of.node) == (own.federation, &own.member, own.node);
        is_own.then_some(read)
    }

    /// What follows from what a witness knows of the journal: it is asked from there on, once; `again` is why not twice.
    fn known_there(
        &mut self,
        candidate: &Candidate,
        known: Result<u64, (Unproven, Option<JournalPosition>)>,
        times: u32,
        again: Unproven,
    ) -> Result<Option<u64>, Unproven> {
        match known {
            Ok(old) if times < ASKED_AGAIN_MAX => Ok(Some(old)),
            Ok(_) => Err(again),
            Err((why, lost)) => {
                self.lost = self.lost.take().or(lost.map(|lost| (candidate.clone(), lost)));
                Err(why)
            }
        }
    }

    /// From which size on a witness is asked that heard this head; or what it says that this node does not hold.
    fn judge_heard<T: Tiers>(
        &self,
        head: Envelope,
        tiers: &T,
    ) -> Result<u64, (Unproven, Option<JournalPosition>)> {
        let wrong = (Unproven::Wrong, None);
        let Ok(head) = verify_head(head, self.origin.federation) else { return Err(wrong) };
        let Head { member, node, journal, .. } = head.payload();
        let heard =
            journal.filter(|_| (member, node) == (&self.origin.member, &self.origin.node)).ok_or(wrong)?;
        // Signed after the checkpoint of this round, and come before it: what it speaks of is on the device since.
        let is_own = heard.began == self.origin.began
            && heard.size > self.size
            && proof::root(tiers, heard.size).is_ok_and(|root| root == heard.root);
        if is_own { Err((Unproven::Overtaken, None)) } else { self.judge_position(heard, tiers) }
    }

    /// From which size on a witness is asked that holds this; or what it holds that this node does not.
    fn judge_held<T: Tiers>(
        &self,
        note: &str,
        tiers: &T,
    ) -> Result<u64, (Unproven, Option<JournalPosition>)> {
        let held = self.read_own(note).ok_or((Unproven::Wrong, None))?;
        self.judge_position(held.position(), tiers)
    }

    /// From which size on a witness is asked that knows this signed position of this node's journals; or the position, if it
    /// is none of this journal's past.
    fn judge_position<T: Tiers>(
        &self,
        held: JournalPosition,
        tiers: &T,
    ) -> Result<u64, (Unproven, Option<JournalPosition>)> {
        if held.began < self.origin.began {
            return Ok(0);
        }
        let other = Err((Unproven::OtherPast, Some(held)));
        if held.began > self.origin.began || held.size > self.size {
            return other;
        }
        match proof::root(tiers, held.size) {
            Ok(root) if root == held.root => Ok(held.size),
            Ok(_) => other,
            Err(_) => Err((Unproven::Gap, None)),
        }
    }
}

/// How often one witness is asked in a round: once more after it said what it holds.
const ASKED_AGAIN_MAX: u32 = 2;
