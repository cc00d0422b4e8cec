//! Who holds the same, who is behind, who is silent, who contradicts himself: a pure function of what was heard.

use serde::Serialize;

use super::{Contradiction, Heard, HeldHead, History};
use crate::{
    directory::view::NodeListing,
    ids::{ContentHash, MemberCode, NodeKey},
    limits::HEAD_SILENCE,
    time::Timestamp,
};

/// What the heads say, seen from one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeadsView {
    /// The digest of what this node holds.
    pub digest: ContentHash,
    /// Since when it holds that.
    pub since: Timestamp,
    /// The last head that it signed in this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<HeldHead>,
    /// All other nodes whose keys count, by member and rank.
    pub nodes: Vec<NodeHead>,
}

/// One node's head and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeHead {
    /// The member.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
    /// How it stands to this node.
    #[serde(flatten)]
    pub standing: Standing,
    /// Its newest head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeldHead>,
    /// When that came, by this node's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<Timestamp>,
}

/// How another node stands to this one, by its newest head. Times are by this node's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// It holds the same.
    Same,
    /// It holds what this node held before, and has not told of more since.
    Behind {
        /// When this node went beyond it.
        since: Timestamp,
    },
    /// It holds what this node never held: more than this node, or what came to it in another order. Which of the
    /// two only the documents say, and those come by repair. It is not called different.
    Unmatched {
        /// Since when it says so.
        since: Timestamp,
    },
    /// Nothing has come from it for longer than the rarest heads take.
    Silent {
        /// When its last head came.
        since: Timestamp,
    },
    /// Nothing has come from it in this run of this node.
    NotHeard {
        /// Since when this node listens.
        since: Timestamp,
    },
    /// It signed two heads that cannot both be true: its key is in two hands, its disk was rolled back, or its
    /// program is at fault.
    Contradicts {
        /// The proof.
        proof: Contradiction,
    },
}

impl Standing {
    /// The word on screens.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Behind { .. } => "behind",
            Self::Unmatched { .. } => "unmatched",
            Self::Silent { .. } => "silent",
            Self::NotHeard { .. } => "not-heard",
            Self::Contradicts { .. } => "contradicts",
        }
    }

    /// Since when, where there is a beginning.
    #[must_use]
    pub const fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Behind { since }
            | Self::Unmatched { since }
            | Self::Silent { since }
            | Self::NotHeard { since } => Some(*since),
            Self::Same | Self::Contradicts { .. } => None,
        }
    }
}

/// Judges each node that counts, but this one.
pub fn judge<'a>(
    heard: &Heard,
    history: &History,
    listings: impl Iterator<Item = &'a NodeListing>,
    own: NodeKey,
    (started, now): (Timestamp, Timestamp),
) -> Vec<NodeHead> {
    let others = listings.filter(|listing| listing.node != own);
    others
        .map(|listing| {
            // Two members may list one key: the head counts for the one that it names.
            let of = heard.of(&listing.node).filter(|of| of.member == listing.member);
            let newest = of.and_then(|of| Some((of, of.newest()?)));
            let standing = match newest {
                None => Standing::NotHeard { since: started },
                Some((of, held)) => {
                    let digest = held.head.digest;
                    if let Some(proof) = &of.contradiction {
                        Standing::Contradicts { proof: proof.clone() }
                    } else if now.since(of.received) > HEAD_SILENCE {
                        Standing::Silent { since: of.received }
                    } else if history.newest().is_some_and(|(newest, _)| newest == digest) {
                        Standing::Same
                    } else if let Some(since) = history.left(&digest) {
                        Standing::Behind { since }
                    } else {
                        Standing::Unmatched { since: of.digest_since }
                    }
                }
            };
            NodeHead {
                member: listing.member.clone(),
                node: listing.node,
                standing,
                head: newest.map(|(_, held)| held.clone()),
                received: newest.map(|(of, _)| of.received),
            }
        })
        .collect()
}
