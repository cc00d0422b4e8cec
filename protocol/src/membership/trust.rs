//! The grow-only evidence of charters and key sets.
//!
//! It takes verified documents in any order and refuses only what is invalid in every state. What the
//! documents mean is [`Membership`]'s to say.

mod descent;
mod history;
mod settle;
mod settled;
mod succession;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

pub(super) use history::CharterHistory;
use serde::{Deserialize, Serialize};
#[cfg(test)]
pub(super) use settled::members_needed;
use settled::{Settled, Settlements};
pub(super) use succession::{check_draft, expected_incarnation, new_roots, stewardship_changes};

use super::{
    Membership, TrustError,
    charter::{Charter, MemberEntry, root_hash},
    key_set::{KeySet, Rotation},
    settlement::{Certificate, ClaimedCertificate, Span, Voice},
};
use crate::{
    document::Verified,
    ids::{CharterId, DocumentId, FederationId, Generation, Incarnation, KeySetId, MemberCode, RootKey},
};

/// The evidence of who is a member and which keys are whose. Cheap to clone: documents are shared.
#[derive(Clone, Debug)]
pub struct Trust {
    charters: CharterHistory,
    key_sets: Arc<BTreeMap<KeySetId, Arc<Verified<KeySet>>>>,
    generations: Arc<BTreeMap<LineGeneration, BTreeSet<KeySetId>>>,
    broken: BTreeSet<LineGeneration>,
    settlements: Settlements,
    view: OnceLock<Arc<Membership>>,
}

/// One generation of one line of key sets. The root is part of the name: versions of the charter that contradict each
/// other may give a member different roots under one incarnation, and what the one signs must not touch the other's line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LineGeneration {
    /// The member.
    pub member: MemberCode,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The root key that the charter lists for it.
    pub root: RootKey,
    /// The generation of that root.
    pub generation: Generation,
}

/// What became of an acceptable document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is evidence now.
    New,
    /// It was evidence already.
    Known,
    /// These named ancestors are not held; hand it in again when one of them came.
    Pending(BTreeSet<DocumentId>),
    /// It is valid and not kept: its generation is broken, and what is held proves it.
    Surplus,
}

impl Trust {
    /// Starts with no evidence but the federation's id.
    #[must_use]
    pub fn new(federation: FederationId) -> Self {
        Self {
            charters: CharterHistory::new(federation),
            key_sets: Arc::default(),
            generations: Arc::default(),
            broken: BTreeSet::new(),
            settlements: Settlements::default(),
            view: OnceLock::new(),
        }
    }

    /// The federation that all of this is about.
    #[must_use]
    pub const fn federation(&self) -> FederationId {
        self.charters.federation()
    }

    /// Takes a charter version.
    ///
    /// # Errors
    /// [`TrustError`] if it is invalid in every state.
    pub fn accept_charter(&mut self, document: Arc<Verified<Charter>>) -> Result<Acceptance, TrustError> {
        let held = self.charter(&document.id().into());
        if held.is_some_and(|held| held.envelope() == document.envelope()) {
            return Ok(Acceptance::Known);
        }
        // Another envelope of the same document must carry enough signatures by itself.
        let is_known = held.is_some();
        let missing = self.charters.missing_parents(&document);
        if !missing.is_empty() {
            return Ok(Acceptance::Pending(missing));
        }
        succession::check(&self.charters, &document)?;
        if is_known {
            return Ok(Acceptance::Known);
        }
        self.charters.insert(document);
        self.view = OnceLock::new();
        Ok(Acceptance::New)
    }

    /// Takes a key set. Earlier key sets that it names need not be held.
    ///
    /// # Errors
    /// [`TrustError`] if it is invalid in every state.
    pub fn accept_key_set(&mut self, document: Arc<Verified<KeySet>>) -> Result<Acceptance, TrustError> {
        let id = KeySetId::from(document.id());
        let set = document.payload();
        let Some(charter) = self.charters.get(&set.charter) else {
            return Ok(Acceptance::Pending(BTreeSet::from([set.charter.into()])));
        };
        let Some(generation) = generation_of(charter.payload(), set) else {
            return Err(not_listed(set));
        };
        // Nothing of a line with a broken rotation can count, and what it names may not be kept.
        let is_surplus = self.is_lost_generation(&generation) && !self.key_sets.contains_key(&id);
        let opening = match set.named_opening() {
            None => None,
            Some(named) => match self.key_sets.get(&named) {
                Some(held) => Some(Arc::clone(held)),
                None if is_surplus => return Ok(Acceptance::Surplus),
                None => return Ok(Acceptance::Pending(BTreeSet::from([named.into()]))),
            },
        };
        // Two versions may give a member different roots under one incarnation: each has its own rotations.
        if let Some(opening) = &opening
            && !self.generation_of(opening.payload()).is_some_and(|of| of.is_line_of(&generation))
        {
            return Err(TrustError::RotationMisplaced(set.member.clone()));
        }
        check_key_set(charter.payload(), opening.as_deref(), &document)?;
        if self.key_sets.contains_key(&id) {
            return Ok(Acceptance::Known);
        }
        if is_surplus {
            return Ok(Acceptance::Surplus);
        }
        let held = self.generation_key_sets(&generation);
        if descent::breaks(&held, &document) {
            self.broken.insert(generation.clone());
        }
        Arc::make_mut(&mut self.generations).entry(generation).or_default().insert(id);
        Arc::make_mut(&mut self.key_sets).insert(id, document);
        self.view = OnceLock::new();
        Ok(Acceptance::New)
    }

    /// Takes a certificate that a charter version is settled.
    ///
    /// # Errors
    /// [`TrustError`] if it is invalid in every state.
    pub fn accept_settlement(&mut self, certificate: Arc<Certificate>) -> Result<Acceptance, TrustError> {
        let acceptance = self.settlements.accept(&self.charters, certificate)?;
        if acceptance == Acceptance::New {
            self.view = OnceLock::new();
        }
        Ok(acceptance)
    }

    /// What would become of a certificate of which no signature is checked, if all of them verified: whatever is not
    /// [`Acceptance::New`] need not be verified.
    ///
    /// # Errors
    /// [`TrustError`] if it is invalid in every state, whoever signed it.
    pub fn judge_claim(&self, claim: &ClaimedCertificate) -> Result<Acceptance, TrustError> {
        self.settlements.judge(&self.charters, claim)
    }

    /// What the evidence means: computed once after each change.
    #[must_use]
    pub fn membership(&self) -> Arc<Membership> {
        Arc::clone(self.view.get_or_init(|| Arc::new(Membership::of(self))))
    }

    /// A charter version that is held.
    #[must_use]
    pub fn charter(&self, id: &CharterId) -> Option<&Arc<Verified<Charter>>> {
        self.charters.get(id)
    }

    /// A key set that is held.
    #[must_use]
    pub fn key_set(&self, id: &KeySetId) -> Option<&Arc<Verified<KeySet>>> {
        self.key_sets.get(id)
    }

    /// All charter versions, ancestors first.
    pub fn charters(&self) -> impl Iterator<Item = &Arc<Verified<Charter>>> {
        self.charters.in_order()
    }

    /// The charter versions that do not stand beside a settled one, ancestors first.
    pub fn applied_charters(&self) -> impl Iterator<Item = &Arc<Verified<Charter>>> {
        let view = self.membership();
        self.charters().filter(move |held| !view.ignored().contains(&held.id().into()))
    }

    /// All key sets, by ascending id.
    pub fn key_sets(&self) -> impl Iterator<Item = &Arc<Verified<KeySet>>> {
        self.key_sets.values()
    }

    /// The certificates of settled versions that are held: none that another one makes needless.
    pub fn settlements(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.settlements.iter()
    }

    /// The certificate that is held of this.
    #[must_use]
    pub fn settlement(&self, span: &Span) -> Option<&Arc<Certificate>> {
        self.settlements.get(span)
    }

    /// Whether a certificate that is held settles a version, or one that builds on it; version 1 is settled by itself.
    #[must_use]
    pub fn is_settled(&self, version: &CharterId) -> bool {
        self.settlements.reached(&self.charters).iter().any(|it| self.charters.descends(it, version))
    }

    /// Whether a version whose parents are held stands beside the settled one, whoever signed it.
    #[must_use]
    pub fn is_beside_settled(&self, version: &Charter) -> bool {
        let Some(settled) = self.settled().map(|settled| settled.version) else { return false };
        let held = |parent: &&CharterId| self.charters.get(parent).is_some();
        version.parents.iter().filter(held).any(|parent| !self.charters.follows(parent, &settled))
    }

    /// Whether a certificate that is held says as much, or more.
    #[must_use]
    pub fn is_settlement_covered(&self, span: Span) -> bool {
        self.settlements.is_covered(&self.charters, span)
    }

    /// The certificates that were let go since this was last asked, since others say more.
    pub(crate) fn take_superseded(&mut self) -> BTreeSet<DocumentId> {
        self.settlements.take_superseded()
    }

    /// The members whose heads settle several versions of which none builds on another. Who signed the second after he
    /// held the certificate of the first did as he should; the others contradicted themselves.
    ///
    /// It reads the certificates held, so that it may name others than another node's.
    #[must_use]
    pub fn counted_for_several(&self) -> BTreeSet<MemberCode> {
        self.settlements.counted_for_several(self.membership().contradicting())
    }

    /// The stewards, of the version where its parents part, who signed a version that is held.
    #[must_use]
    pub fn stewards_who_signed(&self, id: &CharterId) -> BTreeSet<MemberCode> {
        succession::stewards_who_signed(&self.charters, id)
    }

    /// The charter versions that no other one follows, without those that stand beside a settled one. Sorted.
    #[must_use]
    pub fn charter_tips(&self) -> Vec<CharterId> {
        self.membership().tips().to_vec()
    }

    /// What a holder of these tips lacks, ancestors first, without what stands beside a settled version. Tips that are
    /// not held here say nothing.
    #[must_use]
    pub fn charters_beyond(&self, their_tips: &[CharterId]) -> Vec<Arc<Verified<Charter>>> {
        self.charters_for(their_tips, &[])
    }

    /// The same for a holder who is to judge these certificates, with the versions that heads in them name: those may
    /// stand beside a version that was settled later.
    #[must_use]
    pub fn charters_for(
        &self,
        their_tips: &[CharterId],
        certificates: &[Arc<Certificate>],
    ) -> Vec<Arc<Verified<Charter>>> {
        let known = self.charters.closure(their_tips);
        let tips = certificates.iter().flat_map(|held| held.voices()).filter_map(Voice::tip);
        let named = self.charters.closure(&tips.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        let view = self.membership();
        let is_lacking =
            |id: CharterId| !known.contains(&id) && (named.contains(&id) || !view.ignored().contains(&id));
        self.charters().filter(|held| is_lacking(held.id().into())).cloned().collect()
    }

    /// What a holder that knows this version to be settled lacks of the certificates that count, those of the oldest
    /// versions first. `None`: it knows none but version 1.
    #[must_use]
    pub fn settlements_beyond(&self, theirs: Option<CharterId>) -> Vec<Arc<Certificate>> {
        let is_known = |of: &CharterId| theirs.is_some_and(|it| self.charters.descends(&it, of));
        let counting = self.settlements.counting(&self.charters).into_iter();
        counting.filter(|held| !is_known(&held.span().charter)).cloned().collect()
    }

    /// The generations whose key sets contradict each other beyond repair: a member's root signed nine of
    /// which none names another, or what no one line of descent explains. None of their keys is valid.
    ///
    /// Of a line whose rotation is broken it is that generation alone: what became of later ones depends on what came
    /// first.
    pub fn broken_generations(&self) -> impl Iterator<Item = &LineGeneration> {
        let before = |key: &LineGeneration| key.generation.0.checked_sub(1).map(|number| key.at(number));
        self.broken.iter().filter(move |key| {
            !before(key).is_some_and(|before| before.generation.0 > 0 && self.is_lost_generation(&before))
        })
    }

    /// Whether no key set of that generation can count, so that which of them are held depends on what came first:
    /// it is broken, or a rotation on the way to it is.
    #[must_use]
    pub fn is_lost_generation(&self, of: &LineGeneration) -> bool {
        if self.broken.is_empty() {
            return false;
        }
        // A rotation ends generation 0 whatever became of it; from there on each builds on the one before.
        let first = of.generation.0.min(1);
        (first..=of.generation.0).any(|earlier| self.broken.contains(&of.at(earlier)))
    }

    /// Whether that is so of a key set's generation.
    #[must_use]
    pub fn is_lost(&self, set: &KeySet) -> bool {
        !self.broken.is_empty() && self.generation_of(set).is_some_and(|of| self.is_lost_generation(&of))
    }

    /// The generation that a key set belongs to; `None` if its charter version is not held or does not list its member.
    #[must_use]
    pub fn generation_of(&self, set: &KeySet) -> Option<LineGeneration> {
        generation_of(self.charter(&set.charter)?.payload(), set)
    }

    /// The rotations of a line up to a generation, oldest first.
    #[must_use]
    pub fn openings(&self, until: &LineGeneration) -> Vec<Arc<Verified<KeySet>>> {
        (1..=until.generation.0)
            .flat_map(|number| self.generation_key_sets(&until.at(number)))
            .filter(|set| set.payload().opening().is_some())
            .collect()
    }

    /// The key sets held of one generation, by ascending id; of a broken one, the proof.
    #[must_use]
    pub fn generation_key_sets(&self, of: &LineGeneration) -> Vec<Arc<Verified<KeySet>>> {
        let ids = self.generations.get(of).into_iter().flatten();
        ids.filter_map(|id| self.key_sets.get(id)).cloned().collect()
    }

    /// The stewards who signed two successors of one version: a fork of the charter takes at least one.
    ///
    /// It reads the envelopes held, so that it may name fewer than another node's.
    #[must_use]
    pub fn double_signers(&self) -> BTreeSet<MemberCode> {
        succession::double_signers(&self.charters)
    }

    pub(super) fn settled(&self) -> Option<Settled> {
        self.settlements.settled(&self.charters)
    }

    pub(super) const fn history(&self) -> &CharterHistory {
        &self.charters
    }

    /// Each generation with its key sets and whether it is broken.
    pub(super) fn generations(
        &self,
    ) -> impl Iterator<Item = (&LineGeneration, Vec<Arc<Verified<KeySet>>>, bool)> {
        self.generations.keys().map(|key| (key, self.generation_key_sets(key), self.broken.contains(key)))
    }
}

impl LineGeneration {
    /// Whether both are generations of one line.
    fn is_line_of(&self, other: &Self) -> bool {
        (&self.member, self.incarnation, self.root) == (&other.member, other.incarnation, other.root)
    }

    /// Another generation of the line.
    fn at(&self, generation: u64) -> Self {
        Self { generation: Generation(generation), ..self.clone() }
    }
}

/// The generation of a key set by the charter version that it names.
fn generation_of(charter: &Charter, set: &KeySet) -> Option<LineGeneration> {
    let entry = charter.member(&set.member).filter(|entry| entry.incarnation == set.incarnation)?;
    let (member, incarnation, generation) = (set.member.clone(), set.incarnation, set.generation);
    Some(LineGeneration { member, incarnation, root: entry.root, generation })
}

fn not_listed(set: &KeySet) -> TrustError {
    TrustError::NotListed { charter: set.charter, member: set.member.clone(), incarnation: set.incarnation }
}

/// Checks a key set against the charter version that it names and, after a rotation, the opening that it names;
/// nothing else.
///
/// # Errors
/// [`TrustError`] with one of the rules KS-08, KS-09, KS-10, KS-15 and KS-16.
pub fn check_key_set(
    charter: &Charter,
    opening: Option<&Verified<KeySet>>,
    document: &Verified<KeySet>,
) -> Result<(), TrustError> {
    let is_signer = |root: &RootKey| document.signers().contains(root.as_bytes());
    check_listed(charter, opening.map(Verified::payload), document.payload(), is_signer)
}

/// The same of what a key set says, with whoever signed it or is said to have.
fn check_listed(
    charter: &Charter,
    opening: Option<&KeySet>,
    set: &KeySet,
    is_signer: impl Fn(&RootKey) -> bool,
) -> Result<(), TrustError> {
    let root = root_of(charter, opening, set)?;
    if !is_signer(&root) {
        return Err(TrustError::NotSignedByRoot { member: set.member.clone(), root });
    }
    let listed = charter.member(&set.member).map_or(root, |entry| entry.root);
    if set.nodes.iter().any(|node| [listed, root].iter().any(|it| it.as_bytes() == node.key.as_bytes())) {
        return Err(TrustError::RootAsNode(set.member.clone()));
    }
    Ok(())
}

/// The root key whose signature counts under a key set, by this charter version.
fn root_of(charter: &Charter, opening: Option<&KeySet>, set: &KeySet) -> Result<RootKey, TrustError> {
    let entry = charter.member(&set.member).filter(|entry| entry.incarnation == set.incarnation);
    signing_root(entry.ok_or_else(|| not_listed(set))?, opening, set)
}

/// The root key whose signature counts under a key set of a listed member.
fn signing_root(entry: &MemberEntry, opening: Option<&KeySet>, set: &KeySet) -> Result<RootKey, TrustError> {
    let misplaced = || TrustError::RotationMisplaced(set.member.clone());
    let of_generation = |generation: Option<u64>| {
        let opening = opening.filter(|it| {
            (&it.member, it.incarnation, Some(it.generation.0)) == (&set.member, set.incarnation, generation)
        });
        opening.and_then(KeySet::opening).ok_or_else(misplaced)
    };
    match &set.rotation {
        None => Ok(entry.root),
        Some(Rotation::Follows(_)) => Ok(of_generation(Some(set.generation.0))?.root),
        Some(Rotation::Opens(revealed)) => {
            let announced = match revealed.after {
                None => entry.next,
                Some(_) => of_generation(set.generation.0.checked_sub(1))?.next,
            };
            if root_hash(&revealed.root) != announced {
                return Err(TrustError::RotationNotCommitted(set.member.clone()));
            }
            Ok(revealed.root)
        }
    }
}
