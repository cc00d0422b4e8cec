//! The member's next key set, out of the evidence that is held: a further one, or the rotation to the next root key.
//!
//! It signs nothing. What it makes names all earlier key sets, so that it ends what they list and it does not.

use std::collections::BTreeSet;

use refpoint_protocol::{
    directory::header::ChainKind,
    document::{Payload as _, Signature},
    evidence::Evidence,
    ids::{CharterId, ContentHash, Epoch, KeySetId, MemberCode, NodeKey, RootKey},
    limits::KEY_SET_REVIEW_DEFAULT,
    membership::{
        LineGeneration,
        key_set::{KeySet, NodeEntry, NodeState, Opening, Rotation},
    },
    time::Timestamp,
};

use super::{EvidenceError, new_node};

/// How the next key set differs from those before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// This node's key, listed if it is not yet.
    pub node: NodeKey,
    /// Nodes that are out of use now.
    pub ended: Vec<Ending>,
    /// When the set is issued.
    pub issued: Timestamp,
}

/// A node key that is used no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which.
    pub node: NodeKey,
    /// Retired, or in strange hands.
    pub state: NodeState,
    /// Since when.
    pub since: Timestamp,
}

/// What a rotation reveals, and what it announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revealed {
    /// The root key that was announced.
    pub root: RootKey,
    /// The hash of the one after.
    pub next: ContentHash,
    /// The newest key set that the root key's owner signed; unless said, the newest one.
    pub base: Option<KeySetId>,
}

/// The member's next key set: names all earlier ones, keeps their nodes, and makes the change.
///
/// # Errors
/// [`EvidenceError`] if there is no valid root, or a rule would be broken.
pub fn next_key_set(
    evidence: &Evidence,
    member: &MemberCode,
    change: &Succession,
) -> Result<KeySet, EvidenceError> {
    let trust = evidence.trust();
    let Line { charter, of } = Line::of(evidence, member)?;
    let earlier = trust.generation_key_sets(&of);
    let mut ancestors: BTreeSet<KeySetId> =
        earlier.iter().flat_map(|held| held.payload().ancestors.clone()).collect();
    let tips: Vec<&KeySet> = earlier
        .iter()
        .filter(|held| !ancestors.contains(&held.id().into()))
        .map(|held| held.payload())
        .collect();
    let nodes = nodes_after(evidence, member, &tips, change);
    ancestors.extend(earlier.iter().map(|held| KeySetId::from(held.id())));
    let opening = trust.openings(&of).pop();
    let set = KeySet {
        member: member.clone(),
        charter,
        incarnation: of.incarnation,
        generation: of.generation,
        epoch: earlier.iter().filter_map(|held| held.payload().epoch.next()).max().unwrap_or_default(),
        ancestors: ancestors.into_iter().collect(),
        issued: change.issued,
        review: change.issued.after(KEY_SET_REVIEW_DEFAULT),
        nodes,
        rotation: opening.map(|opening| Rotation::Follows(opening.id().into())),
    };
    set.check_form().map_err(|error| EvidenceError::KeySet(error.to_string()))?;
    Ok(set)
}

/// The rotation to the root key that was announced. It keeps the nodes of its base, and voids whatever the root
/// before signed beside or after that.
///
/// # Errors
/// [`EvidenceError`] if there is no valid root, several newest key sets and no base, or a rule would be broken.
pub fn rotated_key_set(
    evidence: &Evidence,
    member: &MemberCode,
    change: &Succession,
    revealed: Revealed,
) -> Result<KeySet, EvidenceError> {
    let trust = evidence.trust();
    let Line { charter, of } = Line::of(evidence, member)?;
    let view = evidence.membership();
    let tips = view.member(member).map(|member| member.key_sets.clone()).unwrap_or_default();
    let base = match (revealed.base, tips.as_slice()) {
        (Some(base), _) => base,
        (None, [only]) => *only,
        (None, _) => return Err(EvidenceError::Disputed { member: member.clone(), tips }),
    };
    let held = trust.key_set(&base).map(|held| held.payload());
    let held = held.filter(|set| trust.generation_of(set).as_ref() == Some(&of));
    let why = || format!("{} is no key set of its present generation", base.short());
    let base_set = held.ok_or_else(|| EvidenceError::KeySet(why()))?;
    let after = trust.openings(&of).pop();
    let set = KeySet {
        member: member.clone(),
        charter,
        incarnation: of.incarnation,
        generation: of.generation.next().unwrap_or(of.generation),
        epoch: Epoch(0),
        ancestors: Vec::new(),
        issued: change.issued,
        review: change.issued.after(KEY_SET_REVIEW_DEFAULT),
        nodes: nodes_after(evidence, member, &[base_set], change),
        rotation: Some(Rotation::Opens(Opening {
            alg: Signature::ED25519,
            root: revealed.root,
            next: revealed.next,
            after: after.map(|opening| opening.id().into()),
            base: Some(base),
        })),
    };
    set.check_form().map_err(|error| EvidenceError::KeySet(error.to_string()))?;
    Ok(set)
}

/// Where a member stands: the charter version that lists it, and how often its root was rotated.
struct Line {
    charter: CharterId,
    of: LineGeneration,
}

impl Line {
    fn of(evidence: &Evidence, member: &MemberCode) -> Result<Self, EvidenceError> {
        let (trust, view) = (evidence.trust(), evidence.membership());
        let listed = |tip: &CharterId| Some((*tip, trust.charter(tip)?.payload().member(member)?.clone()));
        let found = view.tips().iter().find_map(listed);
        let (charter, entry) = found.ok_or_else(|| EvidenceError::NoRoot(member.clone()))?;
        let standing = view.member(member);
        if standing.is_some_and(|standing| standing.broken) {
            return Err(EvidenceError::Broken(member.clone()));
        }
        let generation = standing.map(|standing| standing.generation).unwrap_or_default();
        let member = member.clone();
        let (incarnation, root) = (entry.incarnation, entry.root);
        Ok(Self { charter, of: LineGeneration { member, incarnation, root, generation } })
    }
}

/// The nodes that these key sets list, with the change made.
fn nodes_after(
    evidence: &Evidence,
    member: &MemberCode,
    sets: &[&KeySet],
    change: &Succession,
) -> Vec<NodeEntry> {
    let mut nodes: Vec<NodeEntry> = Vec::new();
    for node in sets.iter().flat_map(|set| &set.nodes) {
        if nodes.iter().all(|kept| kept.key != node.key) {
            nodes.push(node.clone());
        }
    }
    for node in &mut nodes {
        carry_over(evidence, member, node, change.issued);
        let ending = change.ended.iter().find(|ending| ending.node == node.key);
        // What is in strange hands is not retired in good order any more.
        if let Some(ending) = ending
            && node.state != NodeState::Compromised
        {
            (node.state, node.since) = (ending.state, Some(ending.since));
        }
    }
    if nodes.iter().all(|node| node.key != change.node) {
        let rank = nodes.iter().map(|node| node.rank + 1).max().unwrap_or_default();
        nodes.push(new_node(change.node, rank));
    }
    nodes.sort_by_key(|node| node.key);
    nodes
}

/// Names the last headers of a node's chains, so that they are shown until the new chains have one.
fn carry_over(evidence: &Evidence, member: &MemberCode, node: &mut NodeEntry, now: Timestamp) {
    // A node that does not count now keeps what the key set before named.
    let Some(listing) = evidence.listing(member, node.key) else { return };
    let directory = evidence.directory();
    let last = |kind| directory.header(listing, kind, now).map(|header| header.id);
    node.node_record = last(ChainKind::NodeRecord);
    node.reference_point = last(ChainKind::ReferencePoint);
}
