//! Why a charter version or key set is refused, whatever else the receiver holds.

use crate::ids::{CharterId, CharterVersion, DocumentId, Incarnation, MemberCode, RootKey};

/// A verified document that is invalid in *every* state: the bearer's fault, or its signers'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A first version that founds another federation.
    #[error("this charter founds another federation, {0}")]
    OtherFederation(DocumentId),
    /// A version that is not one more than the highest of its parents.
    #[error("charter version {got} where its parents call for {expected}")]
    Version {
        /// One more than the highest parent.
        expected: CharterVersion,
        /// What it says.
        got: CharterVersion,
    },
    /// A parent that another parent descends from.
    #[error("parent {0} is an ancestor of another parent")]
    RedundantParent(CharterId),
    /// A member that a parent lists and this version does not.
    #[error("{0} is listed by a parent and missing here")]
    MemberVanished(MemberCode),
    /// A member listed for the first time otherwise than active with incarnation 0.
    #[error("{0} is listed for the first time and is not active with incarnation 0")]
    FirstListing(MemberCode),
    /// An incarnation that does not follow from the parents.
    #[error("{member} has incarnation {got} where its parents call for {expected}")]
    Incarnation {
        /// The member.
        member: MemberCode,
        /// What the parents call for.
        expected: Incarnation,
        /// What this version says.
        got: Incarnation,
    },
    /// A root key that an earlier version lists for another member.
    #[error("the root key of {member} was {other}'s")]
    RootOfAnother {
        /// The member that has it now.
        member: MemberCode,
        /// The member that had it.
        other: MemberCode,
    },
    /// Too few stewards of the version before signed.
    #[error("{got} stewards of the version before signed, {needed} must")]
    StewardSignatures {
        /// The threshold.
        needed: u64,
        /// Distinct stewards.
        got: u64,
    },
    /// The stewards, their keys or the threshold change, and too few of the new ones signed.
    #[error("{got} of this version's own stewards signed, {needed} must, since they change")]
    OwnSignatures {
        /// The threshold.
        needed: u64,
        /// Distinct stewards.
        got: u64,
    },
    /// A root key that no earlier version lists did not sign.
    #[error("the new root key of {0} did not sign")]
    RootSilent(MemberCode),
    /// A key set whose charter version does not list its member under its incarnation.
    #[error("charter {charter} does not list {member} with incarnation {incarnation}")]
    NotListed {
        /// The charter version that the key set names.
        charter: CharterId,
        /// The key set's member.
        member: MemberCode,
        /// The key set's incarnation.
        incarnation: Incarnation,
    },
    /// A key set that its member's root did not sign.
    #[error("the key set of {member} is not signed by its root key {}", root.short())]
    NotSignedByRoot {
        /// The member.
        member: MemberCode,
        /// The root that the named charter version lists.
        root: RootKey,
    },
    /// A rotation that reveals another root key than was announced.
    #[error("the rotation of {0} reveals another root key than was announced")]
    RotationNotCommitted(MemberCode),
    /// A key set that names another key set as its rotation than one of its own line.
    #[error("the key set of {0} names as its rotation what is none of its own line")]
    RotationMisplaced(MemberCode),
    /// A settlement that counts the members of another version than one that the settled version follows.
    #[error("charter {charter} does not follow {base}, whose members are counted for it")]
    SettledBase {
        /// The settled version.
        charter: CharterId,
        /// The version whose members are counted.
        base: CharterId,
    },
    /// A settlement that counts somebody else than an active member.
    #[error("{0} is counted and is no active member of the version whose members are counted")]
    SettledMember(MemberCode),
    /// A settlement that counts a node by a key set of another root.
    #[error("the node counted for {member} is not its: {why}")]
    SettledKeySet {
        /// The member.
        member: MemberCode,
        /// What is wrong with the key set.
        why: Box<TrustError>,
    },
    /// A settlement that counts a head which names another tip.
    #[error("the head of {member} names a tip that does not follow charter {charter}")]
    SettledTip {
        /// The member.
        member: MemberCode,
        /// The settled version.
        charter: CharterId,
    },
    /// A settlement that counts too few members.
    #[error("{got} members are counted, {needed} must be")]
    SettledCount {
        /// More than two thirds.
        needed: usize,
        /// Distinct members.
        got: usize,
    },
    /// A key set that lists its own root as a node key.
    #[error("the key set of {0} lists the root key as a node's")]
    RootAsNode(MemberCode),
}

impl TrustError {
    /// The broken rule's id in VALIDATION.md.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::FirstListing(_) => "CH-10",
            Self::OtherFederation(_) => "CH-11",
            Self::Version { .. } => "CH-12",
            Self::RedundantParent(_) => "CH-13",
            Self::MemberVanished(_) => "CH-14",
            Self::Incarnation { .. } => "CH-15",
            Self::RootOfAnother { .. } => "CH-16",
            Self::RootSilent(_) => "CH-17",
            Self::StewardSignatures { .. } => "CH-18",
            Self::OwnSignatures { .. } => "CH-19",
            Self::NotListed { .. } => "KS-08",
            Self::NotSignedByRoot { .. } => "KS-09",
            Self::RootAsNode(_) => "KS-10",
            Self::RotationNotCommitted(_) => "KS-15",
            Self::RotationMisplaced(_) => "KS-16",
            Self::SettledBase { .. } => "SE-04",
            Self::SettledMember(_) | Self::SettledKeySet { .. } => "SE-05",
            Self::SettledTip { .. } => "SE-06",
            Self::SettledCount { .. } => "SE-07",
        }
    }
}
