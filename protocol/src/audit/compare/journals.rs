//! What two bundles of one node say of its journals. Whether a longer journal includes a shorter one is shown by its
//! entries, if its bundle has them, and not by two checkpoints alone.

use crate::{
    audit::{journal::JournalOrigin, report::Audited},
    heads::JournalPosition,
    ids::TreeRoot,
    time::Timestamp,
};

/// One node's journal with one number of entries and two roots, both in what the node signed: a checkpoint, the entries
/// below it, or what a later journal says of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFork {
    /// Which journal.
    pub origin: JournalOrigin,
    /// How many entries it had.
    pub size: u64,
    /// Their root in the first and in the second bundle.
    pub roots: [TreeRoot; 2],
}

/// One node's journal that had fewer entries when its later checkpoint was signed. Both are signed by the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRewound {
    /// Which journal.
    pub origin: JournalOrigin,
    /// How many entries it had in the first and in the second bundle.
    pub sizes: [u64; 2],
    /// When that was signed, by its node's clock.
    pub made: [Timestamp; 2],
}

/// A journal that is in one bundle, and what the one after it in the other names of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesLess {
    /// The earlier journal.
    pub origin: JournalOrigin,
    /// Its entries in the bundle that has it.
    pub signed: u64,
    /// How many of them the later one names; 0 if it names none.
    pub named: u64,
}

/// Whether two bundles of one node cannot both be true of a journal, at a size of which both know the root.
pub(super) fn fork(a: &Audited, b: &Audited) -> Option<JournalFork> {
    let origin = same_node(a, b)?;
    let at = |of: &JournalPosition, roots| {
        let origin = JournalOrigin { began: of.began, ..origin.clone() };
        JournalFork { origin, size: of.size, roots }
    };
    let other = |root: &TreeRoot, audited: &Audited, of: &JournalPosition| {
        roots(audited, of).into_iter().find(|there| there != root)
    };
    let in_b = positions(a).into_iter().find_map(|of| Some(at(&of, [of.root, other(&of.root, b, &of)?])));
    in_b.or_else(|| {
        positions(b).into_iter().find_map(|of| Some(at(&of, [other(&of.root, a, &of)?, of.root])))
    })
}

/// Whether the later checkpoint of one journal has fewer entries.
pub(super) fn rewound(a: &Audited, b: &Audited) -> Option<JournalRewound> {
    let (one, other) = a.journal.as_ref().zip(b.journal.as_ref())?;
    let is_rewound =
        one.size > other.size && one.made < other.made || one.size < other.size && one.made > other.made;
    (one.origin == other.origin && is_rewound).then(|| JournalRewound {
        origin: one.origin.clone(),
        sizes: [one.size, other.size],
        made: [one.made, other.made],
    })
}

/// Whether the later of two journals of one node names less of the earlier than its node signed, by its entries.
pub(super) fn names_less(a: &Audited, b: &Audited) -> Option<NamesLess> {
    same_node(a, b)?;
    let began = |audited: &Audited| audited.journal.as_ref().map(|journal| journal.origin.began);
    let (before, after) = if began(a) < began(b) { (a, b) } else { (b, a) };
    let (signed, entries) = (before.journal.as_ref()?, after.entries.as_ref()?);
    let own = signed.origin.began;
    if Some(own) == began(after) {
        return None;
    }
    let named = [entries.follows, entries.witnessed.as_ref().map(|(_, before)| *before)];
    // It may follow one between the two.
    let furthest = named.into_iter().flatten().max_by_key(JournalPosition::reach);
    let named = match furthest {
        Some(position) if position.began > own => return None,
        Some(position) if position.began == own => position.size,
        _ => 0,
    };
    let origin = signed.origin.clone();
    (named < signed.size).then_some(NamesLess { origin, signed: signed.size, named })
}

/// Any journal of the node that exported both; `None` if two did, or one has no journal.
fn same_node(a: &Audited, b: &Audited) -> Option<JournalOrigin> {
    let (one, other) = a.journal.as_ref().zip(b.journal.as_ref())?;
    let (one, other) = (&one.origin, &other.origin);
    let is_same = (one.federation, &one.member, one.node) == (other.federation, &other.member, other.node);
    is_same.then(|| one.clone())
}

/// Where a bundle says that its node's journals stood.
fn positions(audited: &Audited) -> Vec<JournalPosition> {
    let stands = audited.journal.as_ref().map(|journal| journal.position());
    let entries = audited.entries.as_ref();
    let follows = entries.and_then(|entries| entries.follows);
    let witnessed = entries.and_then(|entries| entries.witnessed.as_ref()).map(|(_, before)| *before);
    [stands, follows, witnessed].into_iter().flatten().collect()
}

/// The roots that a bundle has for a journal at a size.
fn roots(audited: &Audited, of: &JournalPosition) -> Vec<TreeRoot> {
    let is_it = |it: &JournalPosition| (it.began, it.size) == (of.began, of.size);
    let named = positions(audited).into_iter().filter(is_it).map(|it| it.root);
    let is_own = audited.journal.as_ref().is_some_and(|journal| journal.origin.began == of.began);
    let entries = audited.entries.as_ref().filter(|_| is_own);
    named.chain(entries.and_then(|entries| entries.root_at(of.size))).collect()
}
