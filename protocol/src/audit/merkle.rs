//! Merkle trees as RFC 9162, section 2.1, defines them: hashes of leaves and nodes, and the root of a list that only
//! grows. It knows nothing of what the leaves say.

pub mod proof;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::TreeRoot;

/// The hash of a leaf: SHA-256 of a zero byte and its bytes.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// The hash of a node: SHA-256 of a one byte and its children's hashes.
#[must_use]
pub fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A list that only grows, of which nothing is kept but what its root needs: one hash for each binary digit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    size: u64,
    /// The roots of the complete subtrees that the list consists of, the largest first.
    peaks: Vec<TreeRoot>,
}

impl Tree {
    /// Adds a leaf at the end.
    pub fn push(&mut self, leaf: &[u8]) {
        self.push_telling(leaf, |_, _, _| {});
    }

    /// Adds a leaf at the end, and tells every complete subtree that it ends: its level, from 0 for the leaf itself, its
    /// number on that level, and its root.
    pub fn push_telling(&mut self, leaf: &[u8], mut tell: impl FnMut(u32, u64, TreeRoot)) {
        let mut hash = TreeRoot::from_bytes(leaf_hash(leaf));
        let (mut place, mut level) = (self.size, 0);
        tell(level, place, hash);
        // As often as the size ends in a binary one, a complete subtree waits for its sibling.
        while place & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = TreeRoot::from_bytes(node_hash(left.as_bytes(), hash.as_bytes()));
            (place, level) = (place >> 1, level + 1);
            tell(level, place, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of all leaves so far; of none, SHA-256 of nothing.
    #[must_use]
    pub fn root(&self) -> TreeRoot {
        let above = |right: TreeRoot, left: TreeRoot| {
            TreeRoot::from_bytes(node_hash(left.as_bytes(), right.as_bytes()))
        };
        let whole = self.peaks.iter().rev().copied().reduce(above);
        whole.unwrap_or_else(|| TreeRoot::from_bytes(Sha256::digest([]).into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// The definition, word by word.
    fn defined(leaves: &[Vec<u8>]) -> [u8; 32] {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => leaf_hash(leaf),
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&defined(&leaves[..split]), &defined(&leaves[split..]))
            }
        }
    }

    #[test]
    fn the_root_is_the_one_that_the_standard_defines() {
        let leaves: Vec<Vec<u8>> = (0..70_u8).map(|number| vec![number; usize::from(number % 5)]).collect();
        let mut tree = Tree::default();
        for size in 0..leaves.len() {
            assert_eq!(*tree.root().as_bytes(), defined(&leaves[..size]), "{size} leaves");
            assert_eq!(tree.size(), size as u64);
            tree.push(&leaves[size]);
        }
    }

    /// The tree of eight leaves with which the reference implementation of Certificate Transparency is tested.
    #[test]
    fn the_root_is_that_of_other_implementations() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let mut tree = Tree::default();
        assert_eq!(
            tree.root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        leaves.iter().for_each(|leaf| tree.push(leaf));
        assert_eq!(
            tree.root().to_string(),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
        );
    }
}
