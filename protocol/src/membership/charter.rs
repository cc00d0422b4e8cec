//! The charter's payload: who is a member, who the stewards are, how many of them must sign.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::require;
use crate::{
    document::{FormError, Kind, Payload, Signature, SignatureBounds},
    ids::{CharterId, CharterVersion, ContentHash, FederationId, Incarnation, MemberCode, RootKey},
    limits::{
        CHARTER_BYTES_MAX, CHARTER_PARENTS_MAX, CHARTER_SIGNATURES_BYTES_MAX, MEMBERS_MAX, SIGNATURES_MAX,
        STEWARDS_MAX, STEWARDS_MIN,
    },
};

/// One version of the charter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charter {
    /// 1 for the founding version, else one more than the highest of the parents.
    pub version: CharterVersion,
    /// In version 1 alone: 32 random bytes, so that two foundings never share an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<ContentHash>,
    /// In version 1 alone, where it takes the place of a federation that can no longer govern itself: that federation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refounds: Option<Refounded>,
    /// The versions that this one follows: none in version 1, one as a rule, several in a merge. Sorted.
    pub parents: Vec<CharterId>,
    /// How many stewards must sign a successor: n/2 < t ≤ n − 1, n ≥ 3.
    pub threshold: u64,
    /// The members whose roots count towards the threshold. Sorted, each an active member.
    pub stewards: Vec<MemberCode>,
    /// Every member that ever was, sorted by code.
    pub members: Vec<MemberEntry>,
}

/// The federation that a founding takes the place of: a statement by all founders, from which no right follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refounded {
    /// Its id.
    pub federation: FederationId,
    /// Its newest charter versions, as the founders held them: one, or several where it was disputed. Sorted.
    pub tips: Vec<CharterId>,
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

impl Charter {
    /// What this version says of a member.
    #[must_use]
    pub fn member(&self, code: &MemberCode) -> Option<&MemberEntry> {
        let index = self.members.binary_search_by(|entry| entry.code.cmp(code)).ok()?;
        self.members.get(index)
    }

    /// The stewards' entries, by ascending code.
    pub fn steward_entries(&self) -> impl Iterator<Item = &MemberEntry> {
        self.stewards.iter().filter_map(|code| self.member(code))
    }

    fn check_members(&self) -> Result<(), FormError> {
        let count = self.members.len();
        require((1..=MEMBERS_MAX).contains(&count), "CH-03", || {
            format!("{count} members, expected 1 to {MEMBERS_MAX}")
        })?;
        require(self.members.is_sorted_by(|a, b| a.code < b.code), "CH-03", || {
            "members are not sorted by code, or one stands twice".into()
        })?;
        let mut roots = BTreeSet::new();
        for entry in &self.members {
            let code = &entry.code;
            require(roots.insert(entry.root), "CH-04", || format!("the root key of {code} stands twice"))?;
            entry.check_form()?;
            let first = self.version != CharterVersion(1) || entry.is_first_listing();
            require(first, "CH-10", || format!("{code} is not active with incarnation 0 in version 1"))?;
        }
        Ok(())
    }

    fn check_stewards(&self) -> Result<(), FormError> {
        let count = self.stewards.len();
        require((STEWARDS_MIN..=STEWARDS_MAX).contains(&count), "CH-08", || {
            format!("{count} stewards, expected {STEWARDS_MIN} to {STEWARDS_MAX}")
        })?;
        require(self.stewards.is_sorted_by(|a, b| a < b), "CH-08", || {
            "stewards are not sorted, or one stands twice".into()
        })?;
        for code in &self.stewards {
            let active = self.member(code).is_some_and(|entry| entry.status == MemberStatus::Active);
            require(active, "CH-08", || format!("steward {code} is not an active member"))?;
        }
        let (stewards, threshold) = (count as u64, self.threshold);
        let within = threshold > stewards / 2 && threshold < stewards;
        require(within, "CH-09", || {
            format!(
                "threshold {threshold} of {stewards} stewards, expected {} to {}",
                stewards / 2 + 1,
                stewards - 1
            )
        })
    }
}

impl Payload for Charter {
    const KIND: Kind = Kind::Charter;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = CHARTER_BYTES_MAX;
    const SIGNATURES: SignatureBounds =
        SignatureBounds { count: SIGNATURES_MAX, bytes: CHARTER_SIGNATURES_BYTES_MAX };

    fn check_form(&self) -> Result<(), FormError> {
        let first = self.version == CharterVersion(1);
        require(self.version >= CharterVersion(1), "CH-01", || "version 0, expected 1 or more".into())?;
        require(first == self.parents.is_empty() && first == self.nonce.is_some(), "CH-01", || {
            format!(
                "version {} with {} parents, nonce {}; version 1 alone has a nonce and no parents",
                self.version,
                self.parents.len(),
                if self.nonce.is_some() { "present" } else { "absent" }
            )
        })?;
        require(first || self.refounds.is_none(), "CH-01", || {
            format!("version {} names a federation before it; version 1 alone may", self.version)
        })?;
        if let Some(Refounded { tips, .. }) = &self.refounds {
            let count = tips.len();
            require((1..=CHARTER_PARENTS_MAX).contains(&count), "CH-02", || {
                format!("{count} versions of the federation before, expected 1 to {CHARTER_PARENTS_MAX}")
            })?;
            require(tips.is_sorted_by(|a, b| a < b), "CH-02", || {
                "the versions of the federation before are not sorted, or one stands twice".into()
            })?;
        }
        let parents = self.parents.len();
        require(parents <= CHARTER_PARENTS_MAX, "CH-02", || {
            format!("{parents} parents, at most {CHARTER_PARENTS_MAX} are allowed")
        })?;
        require(self.parents.is_sorted_by(|a, b| a < b), "CH-02", || {
            "parents are not sorted, or one stands twice".into()
        })?;
        self.check_members()?;
        self.check_stewards()
    }

    fn domain(&self, federation: FederationId) -> Option<FederationId> {
        (self.version != CharterVersion(1)).then_some(federation)
    }
}

impl MemberEntry {
    /// Whether the entry is as a member's first listing must be: active, with incarnation 0.
    #[must_use]
    pub fn is_first_listing(&self) -> bool {
        self.incarnation == Incarnation(0) && self.status == MemberStatus::Active
    }

    fn check_form(&self) -> Result<(), FormError> {
        let code = &self.code;
        require(self.alg == Signature::ED25519, "CH-05", || {
            format!("the root key of {code} has algorithm {}, expected {}", self.alg, Signature::ED25519)
        })?;
        require(self.kind == MemberKind::of(code), "CH-06", || {
            format!("{code} has the code of another kind of member")
        })?;
        require(self.next != root_hash(&self.root), "CH-07", || {
            format!("the next root key of {code} is its present one")
        })
    }
}

impl MemberKind {
    /// The kind that a code belongs to: two letters are a country's, `X-NAME` a bureau's.
    #[must_use]
    pub fn of(code: &MemberCode) -> Self {
        if code.as_str().starts_with("X-") { Self::Bureau } else { Self::Country }
    }
}

/// The hash under which a root key is announced before it is used: SHA-256 of its 32 bytes.
#[must_use]
pub fn root_hash(root: &RootKey) -> ContentHash {
    ContentHash::from_bytes(Sha256::digest(root.as_bytes()).into())
}
