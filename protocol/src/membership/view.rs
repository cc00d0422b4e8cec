//! What the evidence means: who is a member, whose keys count, and what ended those that do not.
//!
//! A pure function of the evidence. It knows no clock: whoever shows a date compares it.

mod fold;
mod line;
mod nodes;
mod signer;

use std::collections::{BTreeMap, BTreeSet};

pub use signer::{RejectedSigner, SignerStanding, UnprovenSigner};

use super::{
    LineGeneration, Trust,
    charter::{MemberKind, MemberStatus, WorkingGroup},
};
use crate::{
    ids::{
        CharterId, CharterVersion, ContentHash, DocumentId, Epoch, FederationId, Generation, Incarnation,
        KeySetId, MemberCode, NodeKey, RootKey,
    },
    limits::WITNESSES,
    time::Timestamp,
};

/// The view of members and node keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    federation: FederationId,
    version: CharterVersion,
    base: Option<CharterId>,
    tips: Vec<CharterId>,
    settled: Option<CharterId>,
    contradicting: Vec<CharterId>,
    ignored: BTreeSet<CharterId>,
    stewards: Vec<MemberCode>,
    threshold: u64,
    members: BTreeMap<MemberCode, MemberView>,
    nodes: BTreeMap<NodeKey, Claims>,
    /// Each member's valid node keys, by rank and then by key: asked with everything that happens.
    active: BTreeMap<MemberCode, Vec<NodeKey>>,
}

/// What members say of one node key, by member: one as a rule. Several may claim it, and no claim touches another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Claims(Vec<NodeStanding>);

impl Claims {
    /// Enters a member's claim, in the place of one that it made before.
    fn enter(&mut self, standing: NodeStanding) {
        let after = self.0.partition_point(|claim| claim.member < standing.member);
        match self.0.get_mut(after).filter(|claim| claim.member == standing.member) {
            Some(before) => *before = standing,
            None => {
                // One is what there is of nearly all.
                self.0.reserve_exact(1);
                self.0.insert(after, standing);
            }
        }
    }
}

/// One member, as the charter's tips and its key sets have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// The code.
    pub code: MemberCode,
    /// A country or a bureau.
    pub kind: MemberKind,
    /// The working group.
    pub group: WorkingGroup,
    /// Whether it takes part.
    pub status: MemberStatus,
    /// For a member that does not: the charter versions that say so.
    pub ended_by: Vec<CharterId>,
    /// How often the charter replaced its root or took it back.
    pub incarnation: Incarnation,
    /// The root key; `None` while charter tips differ about it.
    pub root: Option<RootKey>,
    /// The hash of the next root key, as the listing that gave `root` has it, or the last rotation.
    pub next: ContentHash,
    /// The root key that signs its key sets since its last rotation; `None` while it is still `root`.
    pub rotated_root: Option<RootKey>,
    /// How often the root was rotated.
    pub generation: Generation,
    /// The key sets that no other names: one as a rule, none before the first or when broken, several
    /// while they are in dispute.
    pub key_sets: Vec<KeySetId>,
    /// The highest epoch among them.
    pub epoch: Option<Epoch>,
    /// The earliest of their review dates: past it the key set is overdue, and still valid.
    pub review: Option<Timestamp>,
    /// Whether its key sets contradict each other beyond repair, or its root was rotated twice at once: none of its
    /// keys is valid.
    pub broken: bool,
}

/// What one member's key sets say of a node key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStanding {
    /// The member.
    pub member: MemberCode,
    /// The incarnation whose key sets speak.
    pub incarnation: Incarnation,
    /// Whose reference point goes first: the lowest.
    pub rank: u64,
    /// Whether the key is valid.
    pub state: KeyState,
    /// The newest key set that lists the key.
    pub key_set: KeySetId,
    /// For a key that is not valid any more: the documents that say so.
    pub ended_by: Vec<DocumentId>,
}

/// States of a node key. Only [`KeyState::Active`] keys may do anything now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// Valid.
    Active,
    /// Out of use since then, in good order.
    Retired {
        /// When.
        at: Timestamp,
    },
    /// Left out by a later key set, issued then: counts as retired at that time.
    LeftOut {
        /// When.
        at: Timestamp,
    },
    /// In strange hands since then.
    Compromised {
        /// When.
        since: Timestamp,
    },
    /// Several key sets are tips, and they differ about it.
    Disputed,
    /// The member is suspended.
    MemberSuspended,
    /// The member withdrew.
    MemberWithdrawn,
    /// The charter replaced the root that signed for it, or took the member back anew; or a rotation of the root
    /// voided the key sets that list it.
    RootReplaced,
    /// Charter tips differ about the member's root.
    RootDisputed,
    /// Only some of several charter tips list the member at all.
    AwaitingAdmission,
}

impl MemberView {
    /// The generation of key sets that counts; `None` while charter tips differ about the root.
    #[must_use]
    pub fn line(&self) -> Option<LineGeneration> {
        let (member, incarnation, generation) = (self.code.clone(), self.incarnation, self.generation);
        self.root.map(|root| LineGeneration { member, incarnation, root, generation })
    }

    /// Whether several key sets are tips.
    #[must_use]
    pub fn is_disputed(&self) -> bool {
        self.key_sets.len() > 1 || self.root.is_none()
    }

    /// Whether the member takes part.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == MemberStatus::Active
    }
}

impl NodeStanding {
    /// Whether the key is valid.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == KeyState::Active
    }
}

impl Membership {
    /// Computes the view.
    pub(super) fn of(trust: &Trust) -> Self {
        let mut view = fold::charter_view(trust);
        nodes::add_key_sets(&mut view, trust);
        view.active = view.ranked();
        view
    }

    /// The federation.
    #[must_use]
    pub const fn federation(&self) -> FederationId {
        self.federation
    }

    /// The highest charter version among the tips; 0 before version 1 is held.
    #[must_use]
    pub const fn version(&self) -> CharterVersion {
        self.version
    }

    /// The newest charter version that is settled, by members' heads or as the first: what does not follow it is not
    /// applied. `None` before version 1 is held.
    #[must_use]
    pub const fn settled(&self) -> Option<CharterId> {
        self.settled
    }

    /// Versions that members' heads settle though none builds on another: none of them counts. None as a rule; more than
    /// a third of the members signed for several.
    #[must_use]
    pub fn contradicting(&self) -> &[CharterId] {
        &self.contradicting
    }

    /// Versions that stand beside a settled one: evidence, not applied.
    #[must_use]
    pub const fn ignored(&self) -> &BTreeSet<CharterId> {
        &self.ignored
    }

    /// The charter versions that no held one follows, without those that stand beside a settled one, sorted: one as a rule.
    #[must_use]
    pub fn tips(&self) -> &[CharterId] {
        &self.tips
    }

    /// The version whose stewards may sign the next one: the tip, or where several tips part.
    #[must_use]
    pub const fn base(&self) -> Option<CharterId> {
        self.base
    }

    /// Whether several charter versions are tips: removals of all count, admissions of none.
    #[must_use]
    pub fn is_disputed(&self) -> bool {
        self.tips.len() > 1
    }

    /// The members whose roots may sign the next charter version, sorted.
    #[must_use]
    pub fn stewards(&self) -> &[MemberCode] {
        &self.stewards
    }

    /// How many of the stewards must sign.
    #[must_use]
    pub const fn threshold(&self) -> u64 {
        self.threshold
    }

    /// One member, whatever its status.
    #[must_use]
    pub fn member(&self, code: &MemberCode) -> Option<&MemberView> {
        self.members.get(code)
    }

    /// All members, whatever their status, by code.
    pub fn members(&self) -> impl Iterator<Item = &MemberView> {
        self.members.values()
    }

    /// How many other members bear witness for a node of `own`: to what it signed before, and to its clock.
    /// [`WITNESSES`], or all other active members where the charter has fewer: there can never be more.
    /// Without a charter nothing is known of others, and [`WITNESSES`] are asked.
    #[must_use]
    pub fn witnesses_asked(&self, own: &MemberCode) -> usize {
        let others = self.members().filter(|member| member.is_active() && member.code != *own);
        if self.members.is_empty() { WITNESSES } else { others.take(WITNESSES).count() }
    }

    /// What is known of a node key: the valid claim, of several the one with the first code. Who knows
    /// the member asks [`Membership::node_of`].
    #[must_use]
    pub fn node(&self, key: &NodeKey) -> Option<&NodeStanding> {
        let claims = self.nodes.get(key)?;
        claims.0.iter().find(|standing| standing.is_active()).or_else(|| claims.0.first())
    }

    /// What one member's key sets say of a node key.
    #[must_use]
    pub fn node_of(&self, member: &MemberCode, key: &NodeKey) -> Option<&NodeStanding> {
        self.nodes.get(key)?.0.iter().find(|standing| standing.member == *member)
    }

    /// Every node key that a held key set lists or listed, each with every member that claims it.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeKey, &NodeStanding)> {
        self.nodes.iter().flat_map(|(key, claims)| claims.0.iter().map(move |standing| (key, standing)))
    }

    /// A member's valid node keys, by rank and then by key.
    #[must_use]
    pub fn active_nodes(&self, member: &MemberCode) -> Vec<NodeKey> {
        self.active.get(member).cloned().unwrap_or_default()
    }

    fn ranked(&self) -> BTreeMap<MemberCode, Vec<NodeKey>> {
        let mut ranked: BTreeMap<&MemberCode, Vec<(u64, NodeKey)>> = BTreeMap::new();
        for (key, standing) in self.nodes().filter(|(_, standing)| standing.is_active()) {
            ranked.entry(&standing.member).or_default().push((standing.rank, *key));
        }
        let sorted = ranked.into_iter().map(|(member, mut nodes)| {
            nodes.sort_unstable();
            (member.clone(), nodes.into_iter().map(|(_, key)| key).collect())
        });
        sorted.collect()
    }

    /// Whether a node key is valid for some member.
    #[must_use]
    pub fn is_active_node(&self, key: &NodeKey) -> bool {
        self.node(key).is_some_and(NodeStanding::is_active)
    }

    /// The documents that ended a key that was once certified; `None` for a valid or unknown key.
    #[must_use]
    pub fn ending_proof(&self, key: &NodeKey) -> Option<Vec<DocumentId>> {
        let standing = self.node(key).filter(|standing| !standing.ended_by.is_empty())?;
        Some(standing.ended_by.clone())
    }
}
