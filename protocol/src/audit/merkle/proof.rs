//! Proofs that a leaf is in a tree and that a tree continues a smaller one (RFC 9162, sections 2.1.3 and 2.1.4): made
//! from stored hashes without the leaves, and checked from roots alone.

use super::node_hash;
use crate::ids::TreeRoot;

/// Where the hashes of a list's complete subtrees are read. Tier 0 holds a hash for each leaf, tier `k` one for each
/// complete subtree of [`TIER_WIDTH`] to the power `k` leaves.
pub trait Tiers {
    /// Why none is read.
    type Error;

    /// Reads `count` hashes of a tier, at most [`TIER_WIDTH`], beginning with number `from`.
    ///
    /// # Errors
    /// The store's. One hash less than asked for is an error too.
    fn read(&self, tier: u32, from: u64, count: u64) -> Result<Vec<TreeRoot>, Self::Error>;
}

/// The proof that the leaf with this number, from 0, is in the tree of the first `size` leaves. Reads fewer than
/// [`TIER_WIDTH`] hashes for each of its nodes.
///
/// # Errors
/// The store's.
pub fn inclusion<T: Tiers>(tiers: &T, index: u64, size: u64) -> Result<Vec<TreeRoot>, T::Error> {
    inclusion_ranges(index, size).into_iter().map(|range| range_root(tiers, range)).collect()
}

/// The proof that the tree of the first `size` leaves continues that of the first `old`. It is empty for `old` of none
/// or of all.
///
/// # Errors
/// The store's.
pub fn consistency<T: Tiers>(tiers: &T, old: u64, size: u64) -> Result<Vec<TreeRoot>, T::Error> {
    consistency_ranges(old, size).into_iter().map(|range| range_root(tiers, range)).collect()
}

/// The root of the first `size` leaves.
///
/// # Errors
/// The store's.
pub fn root<T: Tiers>(tiers: &T, size: u64) -> Result<TreeRoot, T::Error> {
    if size == 0 { Ok(super::Tree::default().root()) } else { range_root(tiers, (0, size)) }
}

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Numbers that no proof has.
    #[error("place {place} in a list of {size} cannot be proven")]
    Place {
        /// The leaf's number, or the smaller list's size.
        place: u64,
        /// The list's size.
        size: u64,
    },
    /// More or fewer hashes than its sizes ask for.
    #[error("the proof has {got} hashes, {expected} are asked for")]
    Length {
        /// How many there are.
        got: usize,
        /// How many there ought to be.
        expected: usize,
    },
    /// It leads to another root than the larger list's.
    #[error("the proof leads to another root")]
    Root,
    /// It leads to another root than the smaller list's.
    #[error("the proof begins at another root")]
    OldRoot,
}

/// Checks that the leaf with this hash and number is in the tree of `size` leaves with this root.
///
/// # Errors
/// [`ProofError`].
pub fn check_inclusion(
    leaf: &[u8; 32],
    index: u64,
    (size, root): (u64, TreeRoot),
    proof: &[TreeRoot],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Place { place: index, size });
    }
    let expected = inclusion_ranges(index, size).len();
    if proof.len() != expected {
        return Err(ProofError::Length { got: proof.len(), expected });
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling.as_bytes(), &hash);
            // Where the right edge is no complete subtree, it has no sibling on these levels.
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling.as_bytes());
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last == 0 && hash == *root.as_bytes() { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `size` leaves with this root continues the one of `old` leaves with that root. Whatever
/// continues the list of none, so that proof is empty; a list continues itself, by an empty proof and its own root.
///
/// # Errors
/// [`ProofError`].
pub fn check_consistency(
    (old, old_root): (u64, TreeRoot),
    (size, root): (u64, TreeRoot),
    proof: &[TreeRoot],
) -> Result<(), ProofError> {
    if old > size {
        return Err(ProofError::Place { place: old, size });
    }
    let expected = consistency_ranges(old, size).len();
    if proof.len() != expected {
        return Err(ProofError::Length { got: proof.len(), expected });
    }
    if old == 0 {
        return if old_root == super::Tree::default().root() { Ok(()) } else { Err(ProofError::OldRoot) };
    }
    if old == size {
        return if old_root == root { Ok(()) } else { Err(ProofError::OldRoot) };
    }
    // A complete subtree is its own beginning, and its root is left out of the proof.
    let first = old.is_power_of_two().then_some(old_root);
    let mut hashes = first.into_iter().chain(proof.iter().copied());
    let Some(start) = hashes.next() else { return Err(ProofError::Length { got: 0, expected }) };
    let (mut place, mut last) = (old - 1, size - 1);
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let (mut before, mut after) = (*start.as_bytes(), *start.as_bytes());
    for hash in hashes {
        if place & 1 == 1 || place == last {
            before = node_hash(hash.as_bytes(), &before);
            after = node_hash(hash.as_bytes(), &after);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            after = node_hash(&after, hash.as_bytes());
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if before != *old_root.as_bytes() {
        return Err(ProofError::OldRoot);
    }
    if last == 0 && after == *root.as_bytes() { Ok(()) } else { Err(ProofError::Root) }
}

/// The leaves, from the one number up to the other, whose roots make up the proof, in its order (`PATH`).
fn inclusion_ranges(index: u64, size: u64) -> Vec<(u64, u64)> {
    if index >= size {
        return Vec::new();
    }
    let (mut from, mut to, mut ranges) = (0, size, Vec::new());
    while to - from > 1 {
        let split = from + split(to - from);
        if index < split {
            ranges.push((split, to));
            to = split;
        } else {
            ranges.push((from, split));
            from = split;
        }
    }
    ranges.reverse();
    ranges
}

/// The same of a consistency proof (`PROOF`).
fn consistency_ranges(old: u64, size: u64) -> Vec<(u64, u64)> {
    if old == 0 || old >= size {
        return Vec::new();
    }
    let (mut from, mut to, mut ranges) = (0, size, Vec::new());
    while to != old {
        let split = from + split(to - from);
        if old <= split {
            ranges.push((split, to));
            to = split;
        } else {
            ranges.push((from, split));
            from = split;
        }
    }
    if from > 0 {
        ranges.push((from, to));
    }
    ranges.reverse();
    ranges
}

/// The largest power of two that is smaller than a size of at least two.
const fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The root of a range that the standard's recursion comes to: complete subtrees, each smaller than the one before.
fn range_root<T: Tiers>(tiers: &T, (from, to): (u64, u64)) -> Result<TreeRoot, T::Error> {
    let (mut at, mut peaks) = (from, Vec::new());
    while at < to {
        let level = u64::BITS - 1 - (to - at).leading_zeros();
        peaks.push(subtree_root(tiers, level, at >> level)?);
        at += 1 << level;
    }
    let above = |right: TreeRoot, left: TreeRoot| above(&left, &right);
    Ok(peaks.into_iter().rev().reduce(above).unwrap_or_else(|| super::Tree::default().root()))
}

/// The root of the complete subtree with this number on a level, from the tier below it.
fn subtree_root<T: Tiers>(tiers: &T, level: u32, index: u64) -> Result<TreeRoot, T::Error> {
    let (tier, height) = (level / TIER_LEVELS, level % TIER_LEVELS);
    let mut hashes = tiers.read(tier, index << height, 1 << height)?;
    for _ in 0..height {
        hashes = hashes
            .chunks_exact(2)
            .filter_map(|pair| pair.first().zip(pair.get(1)).map(|(left, right)| above(left, right)))
            .collect();
    }
    Ok(hashes.first().copied().unwrap_or_else(|| super::Tree::default().root()))
}

fn above(left: &TreeRoot, right: &TreeRoot) -> TreeRoot {
    TreeRoot::from_bytes(node_hash(left.as_bytes(), right.as_bytes()))
}

/// Levels of the tree between two tiers: what is stored beside the leaves is a 256th of their hashes, and a proof's
/// node is folded from at most 128 of them.
pub const TIER_LEVELS: u32 = 8;

/// Hashes of one tier below one of the next.
pub const TIER_WIDTH: u64 = 1 << TIER_LEVELS;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;
    use crate::audit::merkle::{Tree, leaf_hash};

    /// All hashes of all tiers, as a journal stores them.
    #[derive(Default)]
    struct Stored(Vec<Vec<TreeRoot>>);

    impl Stored {
        fn of(leaves: &[[u8; 8]]) -> (Self, Tree) {
            let (mut stored, mut tree) = (Self::default(), Tree::default());
            for leaf in leaves {
                tree.push_telling(leaf, |level, index, hash| {
                    if level % TIER_LEVELS == 0 {
                        let tier = (level / TIER_LEVELS) as usize;
                        stored.0.resize(stored.0.len().max(tier + 1), Vec::new());
                        assert_eq!(stored.0[tier].len() as u64, index);
                        stored.0[tier].push(hash);
                    }
                });
            }
            (stored, tree)
        }
    }

    impl Tiers for Stored {
        type Error = ();

        fn read(&self, tier: u32, from: u64, count: u64) -> Result<Vec<TreeRoot>, ()> {
            assert!(count <= TIER_WIDTH);
            let (from, count) = (usize::try_from(from).unwrap(), usize::try_from(count).unwrap());
            self.0.get(tier as usize).and_then(|it| it.get(from..from + count)).map(<[_]>::to_vec).ok_or(())
        }
    }

    fn leaves(count: u64) -> Vec<[u8; 8]> {
        (0..count).map(u64::to_be_bytes).collect()
    }

    /// `MTH`, word by word.
    fn root_of(leaves: &[[u8; 8]]) -> [u8; 32] {
        match leaves {
            [] => *Tree::default().root().as_bytes(),
            [leaf] => leaf_hash(leaf),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&root_of(left), &root_of(right))
            }
        }
    }

    /// `PATH`, word by word.
    fn path(index: usize, leaves: &[[u8; 8]]) -> Vec<[u8; 32]> {
        if leaves.len() <= 1 {
            return Vec::new();
        }
        let middle = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(middle);
        let (mut path, other) = if index < middle {
            (path(index, left), root_of(right))
        } else {
            (path(index - middle, right), root_of(left))
        };
        path.push(other);
        path
    }

    /// `SUBPROOF`, word by word.
    fn subproof(old: usize, leaves: &[[u8; 8]], whole: bool) -> Vec<[u8; 32]> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![root_of(leaves)] };
        }
        let middle = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(middle);
        let (mut proof, other) = if old <= middle {
            (subproof(old, left, whole), root_of(right))
        } else {
            (subproof(old - middle, right, false), root_of(left))
        };
        proof.push(other);
        proof
    }

    fn hashes(proof: &[TreeRoot]) -> Vec<[u8; 32]> {
        proof.iter().map(|hash| *hash.as_bytes()).collect()
    }

    #[test]
    fn proofs_of_small_trees_are_those_that_the_standard_defines_and_hold() {
        let all = leaves(70);
        let (stored, _) = Stored::of(&all);
        for size in 0..=70_u64 {
            let prefix = &all[..usize::try_from(size).unwrap()];
            let root = TreeRoot::from_bytes(root_of(prefix));
            assert_eq!(super::root(&stored, size), Ok(root));
            for index in 0..size {
                let place = usize::try_from(index).unwrap();
                let proof = inclusion(&stored, index, size).unwrap();
                assert_eq!(hashes(&proof), path(place, prefix), "{index} of {size}");
                let leaf = leaf_hash(&all[place]);
                assert_eq!(check_inclusion(&leaf, index, (size, root), &proof), Ok(()));
                let other = check_inclusion(&leaf, index ^ 1, (size, root), &proof);
                assert!(other.is_err(), "{index} of {size}");
            }
            for old in 0..=size {
                let place = usize::try_from(old).unwrap();
                let before = (old, TreeRoot::from_bytes(root_of(&all[..place])));
                let proof = consistency(&stored, old, size).unwrap();
                if old > 0 {
                    assert_eq!(hashes(&proof), subproof(place, prefix, true), "{old} of {size}");
                }
                assert_eq!(check_consistency(before, (size, root), &proof), Ok(()));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn proofs_over_several_tiers_hold_and_nothing_else_does(
            size in 1_u64..1_200, (a, b) in (0.0..1.0_f64, 0.0..1.0_f64), flip in any::<(prop::sample::Index, u8)>(),
        ) {
            let all = leaves(size);
            let (stored, tree) = Stored::of(&all);
            let root = tree.root();
            prop_assert_eq!(super::root(&stored, size), Ok(root));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let part = |of: f64| ((size as f64) * of) as u64;
            let (index, old) = (part(a), part(b));
            let place = usize::try_from(index).unwrap();
            let proof = inclusion(&stored, index, size).unwrap();
            prop_assert_eq!(hashes(&proof), path(place, &all));
            let leaf = leaf_hash(&all[place]);
            prop_assert_eq!(check_inclusion(&leaf, index, (size, root), &proof), Ok(()));
            let before = (old, super::root(&stored, old).unwrap());
            let consistent = consistency(&stored, old, size).unwrap();
            prop_assert_eq!(check_consistency(before, (size, root), &consistent), Ok(()));
            // One flipped bit, one hash more or less, another root: each is found.
            let (at, bit) = flip;
            for (inclusion, proof) in [(true, &proof), (false, &consistent)] {
                let check = |proof: &[TreeRoot], root: TreeRoot| if inclusion {
                    check_inclusion(&leaf, index, (size, root), proof)
                } else {
                    check_consistency(before, (size, root), proof)
                };
                let longer = [proof.as_slice(), &[root]].concat();
                let is_length = |checked| matches!(checked, Err(ProofError::Length { .. }));
                prop_assert!(is_length(check(&longer, root)));
                if proof.is_empty() { continue; }
                prop_assert!(is_length(check(&proof[1..], root)));
                let mut changed = proof.clone();
                let which = at.index(changed.len());
                let mut bytes = *changed[which].as_bytes();
                bytes[usize::from(bit % 32)] ^= 1 << (bit / 32);
                changed[which] = TreeRoot::from_bytes(bytes);
                prop_assert!(check(&changed, root).is_err());
                prop_assert!(check(proof, TreeRoot::from_bytes(leaf)).is_err());
            }
        }

        #[test]
        fn no_numbers_and_no_hashes_make_a_check_fail_otherwise_than_by_its_error(
            numbers in any::<[u64; 2]>(), proof in prop::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            let proof: Vec<_> = proof.into_iter().map(TreeRoot::from_bytes).collect();
            let root = TreeRoot::from_bytes([1; 32]);
            let [place, size] = numbers;
            prop_assert!(check_inclusion(&[0; 32], place, (size, root), &proof).is_err());
            prop_assert!(check_consistency((place, root), (size, TreeRoot::from_bytes([2; 32])), &proof).is_err());
        }
    }
}
