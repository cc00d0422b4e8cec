//! Late truth about keys: what a signature by a node key is worth when the key's state has changed since.

use super::{KeyState, Membership};
use crate::{
    ids::{MemberCode, NodeKey},
    membership::charter::MemberStatus,
    time::Timestamp,
};

/// What the signature of a node key under something created then is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerStanding {
    /// It counts.
    Accepted,
    /// It counts only if it was held before that was known, or another member's custody receipt proves
    /// it; else it is shown as unproven, never dropped.
    Unproven(UnprovenSigner),
    /// It does not count.
    Rejected(RejectedSigner),
    /// No held key set of that member lists the key: it waits while the key set is fetched.
    Unknown,
}

/// Why a signature cannot be told from a thief's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnprovenSigner {
    /// The key is in strange hands since then; its holder may write any date.
    Compromised {
        /// Since when.
        since: Timestamp,
    },
    /// The member's key sets differ about the key.
    Disputed,
    /// The charter replaced the root that certified the key; versions carry no date.
    RootReplaced,
    /// Charter tips differ about the member's root.
    RootDisputed,
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectedSigner {
    /// Created when the key was out of use already.
    AfterRetirement {
        /// Since when it was.
        at: Timestamp,
    },
    /// The member is suspended.
    MemberSuspended,
    /// The member withdrew.
    MemberWithdrawn,
    /// Only some of several charter tips list the member.
    AwaitingAdmission,
    /// The member's key sets contradict each other beyond repair: no key of it counts.
    Broken,
}

impl Membership {
    /// What a signature by `node`, for `member`, under something created at `created` is worth.
    #[must_use]
    pub fn signer_standing(&self, member: &MemberCode, node: &NodeKey, created: Timestamp) -> SignerStanding {
        let Some(standing) = self.node_of(member, node) else {
            let broken = self.member(member).is_some_and(|view| view.broken);
            return if broken {
                SignerStanding::Rejected(RejectedSigner::Broken)
            } else {
                SignerStanding::Unknown
            };
        };
        if let Some(rejected) = self.rejected_member(member) {
            return SignerStanding::Rejected(rejected);
        }
        // Whoever took a root that was replaced since may have dated its key sets as he liked.
        let replaced = self.member(member).is_some_and(|view| view.incarnation > standing.incarnation);
        match standing.state {
            KeyState::Active => SignerStanding::Accepted,
            KeyState::Retired { at } | KeyState::LeftOut { at } if created >= at => {
                SignerStanding::Rejected(RejectedSigner::AfterRetirement { at })
            }
            KeyState::Retired { .. } | KeyState::LeftOut { .. } if replaced => {
                SignerStanding::Unproven(UnprovenSigner::RootReplaced)
            }
            KeyState::Retired { .. } | KeyState::LeftOut { .. } => SignerStanding::Accepted,
            KeyState::Compromised { since } => {
                SignerStanding::Unproven(UnprovenSigner::Compromised { since })
            }
            KeyState::Disputed => SignerStanding::Unproven(UnprovenSigner::Disputed),
            KeyState::RootReplaced => SignerStanding::Unproven(UnprovenSigner::RootReplaced),
            KeyState::RootDisputed => SignerStanding::Unproven(UnprovenSigner::RootDisputed),
            KeyState::MemberSuspended => SignerStanding::Rejected(RejectedSigner::MemberSuspended),
            KeyState::MemberWithdrawn => SignerStanding::Rejected(RejectedSigner::MemberWithdrawn),
            KeyState::AwaitingAdmission => SignerStanding::Rejected(RejectedSigner::AwaitingAdmission),
        }
    }

    fn rejected_member(&self, member: &MemberCode) -> Option<RejectedSigner> {
        match self.member(member).map(|view| view.status) {
            None => Some(RejectedSigner::AwaitingAdmission),
            Some(MemberStatus::Suspended) => Some(RejectedSigner::MemberSuspended),
            Some(MemberStatus::Withdrawn) => Some(RejectedSigner::MemberWithdrawn),
            Some(MemberStatus::Active) => None,
        }
    }
}
