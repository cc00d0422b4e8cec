//! The charter's payload: who is a member, who the stewards are, how many of them must sign.

use serde::{Deserialize, Serialize};

use crate::ids::{CharterId, CharterVersion, ContentHash, Incarnation, MemberCode, RootKey};

/// One version of the charter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charter {
    /// 1 for the founding version, else one more than the highest of the parents.
    pub version: CharterVersion,
    /// In version 1 alone: 32 random bytes, so that two foundings never share an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<ContentHash>,
    /// The versions that this one follows: none in version 1, one as a rule, several in a merge. Sorted.
    pub parents: Vec<CharterId>,
    /// How many stewards must sign a successor: n/2 < t ≤ n − 1, n ≥ 3.
    pub threshold: u64,
    /// The members whose roots count towards the threshold. Sorted, each an active member.
    pub stewards: Vec<MemberCode>,
    /// Every member that ever was, sorted by code.
    pub members: Vec<MemberEntry>,
}

/// What the charter says of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEntry {
    /// The member's code.
    pub code: MemberCode,
    /// A country or a bureau.
    pub kind: MemberKind,
    /// Rises with every root replacement by the charter and with every readmission.
    pub incarnation: Incarnation,
    /// The root key's algorithm: [`crate::document::Signature::ED25519`].
    pub alg: u64,
    /// The member's root key.
    pub root: RootKey,
    /// SHA-256 of the next root key's 32 bytes.
    pub next: ContentHash,
    /// Whether the member takes part.
    pub status: MemberStatus,
    /// The regional working group.
    pub group: WorkingGroup,
}

/// Kinds of member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberKind {
    /// A country, with an ISO 3166-1 code.
    Country,
    /// A liaison office, with a code `X-NAME`.
    Bureau,
}

/// Whether a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemberStatus {
    /// Takes part.
    Active,
    /// Cut off until a later version says otherwise.
    Suspended,
    /// Left; comes back only with a higher incarnation.
    Withdrawn,
}

/// The regional working groups of the heads of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkingGroup {
    /// Africa.
    Africa,
    /// The Americas and the Caribbean.
    Americas,
    /// Europe, Central and East Asia, the Pacific.
    Eurasia,
    /// Middle East and North Africa.
    #[serde(rename = "MENA")]
    Mena,
}
