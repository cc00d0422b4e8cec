//! This node's own two chains: what to sign next and when, and when to sign nothing.
//!
//! It decides and signs nothing itself: the runtime holds the keys. A header is ordered at most once for
//! a place in a chain and a run of the program. Restored backups and twins are how honest members fork,
//! so a node that has signed before waits until others have told it what it said.

mod gate;
mod sealing_keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::{gate::Gate, sealing_keys::SealingKeys};
pub use self::{
    gate::{History, Standing, StopReason},
    sealing_keys::published,
};
use super::{
    bodies::BodyState,
    chain::{BodyRef, Chain, HeaderInfo},
    clock::ClockWitnesses,
    header::{ChainKey, ChainKind, ChainPayload, Header, NodeRecordHeader, ReferencePointHeader},
    node_record::{NodeRecord, ReadableKind, SealingKeyEntry},
    reference_point::ReferencePoint,
};
use crate::{
    document::{EncodeError, FormError, encode, signed_bytes},
    evidence::Evidence,
    ids::{ContentHash, DocumentId, HeaderId, KeySetId, MemberCode, NodeKey, SealingKeyId, Sequence},
    limits::{BODY_BYTES_MAX, BODY_SALT_BYTES, CHAIN_LENGTH_MAX, FRESHNESS, RENEWAL_INTERVAL},
    time::Timestamp,
};

/// The machine of this node's own chains.
#[derive(Clone, Debug)]
pub struct OwnChains {
    member: MemberCode,
    node: NodeKey,
    profile: NodeProfile,
    draft: Option<ReferencePoint>,
    gate: Gate,
    sealing: SealingKeys,
    /// What was ordered last of each chain, so that it is not ordered twice before it is evidence.
    ordered: BTreeMap<ChainKey, Sequence>,
    /// Whether the clock was wrong and whether the gate was open when it was decided last.
    decided: Option<(bool, bool)>,
    /// What was planned then.
    planned: Option<(Timestamp, WakeReason)>,
}

/// What happened, or is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnInput {
    /// A wakeup's time came, or evidence has changed.
    Woke,
    /// A repair with a node of that member is complete.
    RepairCompleted(MemberCode),
    /// A first connection to that member came up.
    Connected(MemberCode),
    /// The last connection to that member is gone.
    Disconnected(MemberCode),
    /// A header of one of this node's chains has become evidence, by whatever way.
    HeaderAccepted {
        /// The header.
        id: HeaderId,
        /// When it says that it was signed.
        issued: Timestamp,
    },
    /// Another machine was met that holds this node's key.
    TwinMet,
    /// A person has compared and ordered: sign again.
    Resume,
    /// A person publishes a new reference point; its salt is replaced.
    Publish(Box<ReferencePoint>),
    /// The configuration has changed.
    Configure(NodeProfile),
    /// The sealing key that was ordered is on disk; this is its public part.
    SealingKeyGenerated(SealingKeyEntry),
    /// The sealing key that was ordered could not be made: it is ordered anew at the next input.
    SealingKeyFailed,
}

/// An order to the runtime, to be carried out in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a call gives two at most")]
pub enum OwnEffect {
    /// Generate a sealing key, store its seed durably, and hand in [`OwnInput::SealingKeyGenerated`].
    GenerateSealingKey {
        /// From when it is used.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Destroy a sealing key's seed for good.
    DestroySeed {
        /// The key.
        id: SealingKeyId,
    },
    /// Sign this header with the node key, hand it in as [`crate::evidence::Bearer::Local`], then the
    /// body if there is one, store both durably, and push them.
    Sign {
        /// The header's document id.
        id: HeaderId,
        /// Which chain.
        kind: ChainKind,
        /// What to sign.
        header: Header,
        /// A new body; `None` if the header names one that is published already.
        body: Option<Vec<u8>>,
    },
}

/// What the operator has configured of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeProfile {
    /// Addresses to announce, `host:port` each.
    pub addresses: Vec<String>,
    /// Document kinds and versions that the node reads.
    pub reads: Vec<ReadableKind>,
    /// Wire versions, ascending.
    pub wire: Vec<u64>,
    /// The program and its version.
    pub software: String,
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The evidence.
    pub evidence: &'a Evidence,
    /// What other members' clocks say.
    pub clock: &'a ClockWitnesses,
    /// Random bytes for a node record's and a reference point's body, fresh for every call.
    pub salts: [[u8; BODY_SALT_BYTES]; 2],
}

/// Why to wake up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeReason {
    /// A chain's daily renewal is due.
    Renewal,
    /// A successor of the sealing key is due.
    SealingKey,
    /// A seed is past its days.
    SeedDestruction,
    /// The wait for other members' repairs is over.
    ResumeWait,
}

/// Why an input was refused. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnChainError {
    /// What is to be published breaks a rule of form.
    #[error("this cannot be published: {0}")]
    Form(#[from] FormError),
    /// What is to be published is too long.
    #[error("this cannot be published: {0} bytes, at most {BODY_BYTES_MAX} are allowed; shorten its texts")]
    TooLong(usize),
    /// An invariant of ours is broken.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl OwnChains {
    /// Starts the machine. `sealing_keys` are those whose seeds are on disk.
    #[must_use]
    pub fn new(
        member: MemberCode,
        node: NodeKey,
        profile: NodeProfile,
        sealing_keys: Vec<SealingKeyEntry>,
        history: History,
        now: Timestamp,
    ) -> Self {
        Self {
            gate: Gate::new(member.clone(), history, now),
            member,
            node,
            profile,
            draft: None,
            sealing: SealingKeys::new(sealing_keys),
            ordered: BTreeMap::new(),
            decided: None,
            planned: None,
        }
    }

    /// Takes an input and says what to do.
    ///
    /// # Errors
    /// [`OwnChainError`] for [`OwnInput::Publish`] and [`OwnInput::Configure`] of what breaks a rule.
    pub fn handle(
        &mut self,
        now: Timestamp,
        input: OwnInput,
        around: Surroundings<'_>,
    ) -> Result<Vec<OwnEffect>, OwnChainError> {
        // Others come and go all day: that decides something only if it moved the gate, or the clock is judged anew.
        let is_passing = matches!(
            input,
            OwnInput::RepairCompleted(_) | OwnInput::Connected(_) | OwnInput::Disconnected(_)
        );
        match input {
            OwnInput::Woke => {}
            OwnInput::RepairCompleted(member) => self.gate.witness(member),
            OwnInput::Connected(member) => self.gate.connect(member),
            OwnInput::Disconnected(member) => self.gate.disconnect(&member),
            OwnInput::HeaderAccepted { id, issued } => self.gate.compare(id, issued),
            OwnInput::TwinMet => self.gate.meet_twin(),
            OwnInput::Resume => self.gate.resume(),
            OwnInput::Publish(point) => {
                point.check_form()?;
                body_bytes(&*point)?;
                self.draft = Some(*point);
            }
            OwnInput::Configure(profile) => {
                record_of(&profile, Vec::new(), [0; BODY_SALT_BYTES]).check_form()?;
                self.profile = profile;
            }
            OwnInput::SealingKeyGenerated(entry) => self.sealing.generated(entry),
            OwnInput::SealingKeyFailed => self.sealing.failed(),
        }
        if is_passing && self.decided == Some(self.judgement(now, around)) {
            return Ok(Vec::new());
        }
        self.decide(now, around)
    }

    /// When to hand in [`OwnInput::Woke`] next, and why: as it was when something was decided last.
    #[must_use]
    pub const fn planned(&self) -> Option<(Timestamp, WakeReason)> {
        self.planned
    }

    /// The same, looked at anew.
    #[must_use]
    pub fn next_wakeup(&self, now: Timestamp, around: Surroundings<'_>) -> Option<(Timestamp, WakeReason)> {
        // What a wrong clock holds up goes on when the clocks are judged anew, not at any time of its own.
        if around.clock.is_wrong(now, self.asked(around)) {
            return None;
        }
        let mut wakeups: Vec<(Timestamp, WakeReason)> = self.sealing.wakeups();
        wakeups.extend(self.gate.wait_ends(now).map(|at| (at, WakeReason::ResumeWait)));
        if self.gate.is_open(now, self.asked(around)) && !self.sealing.all().is_empty() {
            for kind in KINDS {
                let place = self.place(around.evidence, kind).filter(|place| self.may_order(place));
                let newest = place.and_then(|place| place.newest);
                let renewal = newest.map(|newest| newest.issued.after(RENEWAL_INTERVAL));
                wakeups.extend(renewal.map(|at| (at, WakeReason::Renewal)));
            }
        }
        wakeups.into_iter().min()
    }

    /// Whether the node signs its own chains now, and if not, why: for `status`.
    #[must_use]
    pub fn standing(&self, now: Timestamp, around: Surroundings<'_>) -> Standing {
        let asked = self.asked(around);
        let offset = around.clock.median_offset(now, asked);
        if let Some(offset_ms) = offset.filter(|_| around.clock.is_wrong(now, asked)) {
            return Standing::ClockWrong { offset_ms };
        }
        let waits = self.gate.standing(now, asked);
        if waits != Standing::Signing {
            return waits;
        }
        for kind in KINDS {
            let Some(place) = self.place(around.evidence, kind) else { return Standing::NotListed };
            if let Some(fork) = place.chain.and_then(Chain::fork) {
                return Standing::Stopped(StopReason::Forked { kind, sequence: fork.sequence });
            }
            if place.next.is_none() {
                return Standing::Stopped(StopReason::Full { kind });
            }
        }
        Standing::Signing
    }

    /// The sealing keys whose seeds this node holds, oldest first.
    #[must_use]
    pub fn sealing_keys(&self) -> &[SealingKeyEntry] {
        self.sealing.all()
    }

    /// How many other members bear witness for this node.
    fn asked(&self, around: Surroundings<'_>) -> usize {
        around.evidence.membership().witnesses_asked(&self.member)
    }

    /// Whether the clock is wrong, and whether the gate is open.
    fn judgement(&self, now: Timestamp, around: Surroundings<'_>) -> (bool, bool) {
        let asked = self.asked(around);
        (around.clock.is_wrong(now, asked), self.gate.is_open(now, asked))
    }

    fn decide(&mut self, now: Timestamp, around: Surroundings<'_>) -> Result<Vec<OwnEffect>, OwnChainError> {
        let effects = self.orders(now, around);
        self.planned = self.next_wakeup(now, around);
        effects
    }

    fn orders(&mut self, now: Timestamp, around: Surroundings<'_>) -> Result<Vec<OwnEffect>, OwnChainError> {
        let (wrong, open) = self.judgement(now, around);
        self.decided = Some((wrong, open));
        if wrong {
            return Ok(Vec::new());
        }
        let mut effects = self.sealing.decide(now);
        if !open {
            return Ok(effects);
        }
        let [record_salt, point_salt] = around.salts;
        effects.extend(self.sign_record(now, around.evidence, record_salt)?);
        effects.extend(self.sign_point(now, around.evidence, point_salt)?);
        Ok(effects)
    }

    fn sign_record(
        &mut self,
        now: Timestamp,
        evidence: &Evidence,
        salt: [u8; BODY_SALT_BYTES],
    ) -> Result<Option<OwnEffect>, OwnChainError> {
        let keys = self.sealing.published(now);
        // A record without a sealing key would tell others to stop writing.
        let Some(place) = self.place(evidence, ChainKind::NodeRecord).filter(|_| !keys.is_empty()) else {
            return Ok(None);
        };
        let record = record_of(&self.profile, keys, salt);
        let published = place.previous.filter(|previous| {
            let state = evidence.chains().body(ChainKind::NodeRecord, *previous);
            matches!(state, Some(BodyState::NodeRecord(held)) if is_same_record(held, &record))
        });
        match published {
            Some(body) => self.renew::<NodeRecordHeader>(now, evidence, &place, body),
            None => self.order::<NodeRecordHeader>(now, evidence, &place, Content::New(body_bytes(&record)?)),
        }
    }

    fn sign_point(
        &mut self,
        now: Timestamp,
        evidence: &Evidence,
        salt: [u8; BODY_SALT_BYTES],
    ) -> Result<Option<OwnEffect>, OwnChainError> {
        let Some(place) = self.place(evidence, ChainKind::ReferencePoint) else { return Ok(None) };
        let held = place.previous.and_then(|previous| {
            match evidence.chains().body(ChainKind::ReferencePoint, previous) {
                Some(BodyState::ReferencePoint(point)) => Some(point),
                _ => None,
            }
        });
        let changed = self.draft.as_ref().filter(|draft| held.is_none_or(|held| !is_same_point(held, draft)));
        if let Some(draft) = changed {
            let content = Content::New(body_bytes(&ReferencePoint { salt, ..draft.clone() })?);
            return self.order::<ReferencePointHeader>(now, evidence, &place, content);
        }
        match place.previous {
            Some(body) => self.renew::<ReferencePointHeader>(now, evidence, &place, body),
            None => Ok(None),
        }
    }

    /// Orders a header alone, if a renewal is due or the chain begins.
    fn renew<P: ChainPayload + From<Header>>(
        &mut self,
        now: Timestamp,
        evidence: &Evidence,
        place: &Place<'_>,
        body: BodyRef,
    ) -> Result<Option<OwnEffect>, OwnChainError> {
        let due = place.newest.is_none_or(|newest| now.since(newest.issued) >= RENEWAL_INTERVAL);
        if due { self.order::<P>(now, evidence, place, Content::Published(body)) } else { Ok(None) }
    }

    fn order<P: ChainPayload + From<Header>>(
        &mut self,
        now: Timestamp,
        evidence: &Evidence,
        place: &Place<'_>,
        content: Content,
    ) -> Result<Option<OwnEffect>, OwnChainError> {
        let Some((sequence, predecessor)) = place.next.filter(|_| self.may_order(place)) else {
            return Ok(None);
        };
        let (body, bytes) = match content {
            Content::Published(body) => (body, None),
            Content::New(bytes) => (ref_of(&bytes), Some(bytes)),
        };
        let header = Header {
            member: self.member.clone(),
            node: self.node,
            key_set: place.key.key_set,
            sequence,
            predecessor,
            issued: now,
            fresh_until: now.after(FRESHNESS),
            body: body.hash,
            length: body.length,
        };
        let payload = P::from(header.clone());
        let signed =
            signed_bytes(P::KIND.name(), P::VERSION, Some(evidence.federation()), &encode(&payload)?);
        let id = HeaderId::from_bytes(*hash_of(&signed).as_bytes());
        self.gate.signed(id);
        self.ordered.retain(|key, _| key.kind != place.key.kind);
        self.ordered.insert(place.key, sequence);
        Ok(Some(OwnEffect::Sign { id, kind: P::CHAIN, header, body: bytes }))
    }

    /// Whether a further header of the chain may be ordered: none above a fork or past the chain's end, and
    /// none while the last one ordered is not evidence yet.
    fn may_order(&self, place: &Place<'_>) -> bool {
        let ordered = |sequence| self.ordered.get(&place.key).is_some_and(|ordered| *ordered >= sequence);
        let is_forked = place.chain.and_then(Chain::fork).is_some();
        !is_forked && place.next.is_some_and(|(sequence, _)| !ordered(sequence))
    }

    /// Where the node stands in one of its chains; `None` if no current key set lists it.
    fn place<'a>(&self, evidence: &'a Evidence, kind: ChainKind) -> Option<Place<'a>> {
        let listing = evidence.listing(&self.member, self.node)?;
        let epoch = |id: &KeySetId| evidence.trust().key_set(id).map(|set| set.payload().epoch);
        let key_set = listing.key_sets.iter().copied().max_by_key(|id| (epoch(id), *id))?;
        let key = ChainKey { node: self.node, key_set, kind };
        let chain = evidence.chains().chain(&key);
        let newest = chain.and_then(Chain::newest);
        let next = match newest {
            None => Some((Sequence(0), DocumentId::from(key_set))),
            Some(newest) => newest.sequence.next().map(|next| (next, newest.id.into())),
        };
        let next = next.filter(|(sequence, _)| sequence.0 < CHAIN_LENGTH_MAX);
        let previous = newest.map(|newest| newest.body).or_else(|| {
            let named = evidence.chains().named(listing, kind);
            let of_node = evidence.chains().of_node(self.node).filter(|(key, _)| key.kind == kind);
            let older = || of_node.filter_map(|(_, chain)| chain.newest()).max_by_key(|info| info.issued);
            named.or_else(older).map(|info| info.body)
        });
        Some(Place { key, chain, newest, next, previous })
    }
}

/// Where the node stands in one of its chains.
struct Place<'a> {
    key: ChainKey,
    chain: Option<&'a Chain>,
    newest: Option<HeaderInfo>,
    /// The next header's sequence and predecessor; `None` if the chain is full.
    next: Option<(Sequence, DocumentId)>,
    /// The body published last, in this chain or in an older one.
    previous: Option<BodyRef>,
}

enum Content {
    Published(BodyRef),
    New(Vec<u8>),
}

fn record_of(
    profile: &NodeProfile,
    sealing_keys: Vec<SealingKeyEntry>,
    salt: [u8; BODY_SALT_BYTES],
) -> NodeRecord {
    let NodeProfile { addresses, reads, wire, software } = profile.clone();
    NodeRecord { salt, addresses, sealing_keys, reads, wire, software }
}

fn is_same_record(held: &NodeRecord, new: &NodeRecord) -> bool {
    NodeRecord { salt: held.salt, ..new.clone() } == *held
}

fn is_same_point(held: &ReferencePoint, new: &ReferencePoint) -> bool {
    ReferencePoint { salt: held.salt, ..new.clone() } == *held
}

fn body_bytes<T: serde::Serialize>(body: &T) -> Result<Vec<u8>, OwnChainError> {
    let bytes = encode(body)?;
    if bytes.len() > BODY_BYTES_MAX { Err(OwnChainError::TooLong(bytes.len())) } else { Ok(bytes) }
}

fn ref_of(bytes: &[u8]) -> BodyRef {
    BodyRef { hash: hash_of(bytes), length: bytes.len() as u64 }
}

fn hash_of(bytes: &[u8]) -> ContentHash {
    use sha2::{Digest, Sha256};
    ContentHash::from_bytes(Sha256::digest(bytes).into())
}

const KINDS: [ChainKind; 2] = [ChainKind::NodeRecord, ChainKind::ReferencePoint];
