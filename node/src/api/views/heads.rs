//! What the heads say: who holds the same directory, who is behind, who is silent, who contradicts himself.

use refpoint_protocol::{
    heads::{self, Contradicted, HeldHead, JournalPosition, Standing},
    ids::{CharterId, ContentHash, HeadId, MemberCode, NodeKey, Sequence, TreeRoot},
};
use serde::{Deserialize, Serialize};

use super::instant::Instant;

/// The heads, seen from this node. Times are by its clock, but those inside a head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadsReport {
    /// This node's member.
    pub member: MemberCode,
    /// This node.
    pub node: NodeKey,
    /// When this was gathered.
    pub now: Instant,
    /// The digest of what this node holds.
    pub digest: ContentHash,
    /// Since when it holds that.
    pub since: Instant,
    /// The last head that it signed in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<HeadView>,
    /// All other nodes whose keys count, by member.
    pub nodes: Vec<HeadRow>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadRow {
    /// The member.
    pub member: MemberCode,
    /// The node.
    pub node: NodeKey,
    /// How it stands to this node.
    pub standing: HeadStanding,
    /// Since when, where there is a beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Instant>,
    /// Its newest head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadView>,
    /// When that came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<Instant>,
    /// With `contradicts`: the two heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<HeadProof>,
}

/// How a node stands to this one. Behind is not different, and neither is unmatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadStanding {
    /// It signed two heads that cannot both be true.
    Contradicts,
    /// Nothing came for longer than the rarest heads take.
    Silent,
    /// Nothing came in this run of this node.
    NotHeard,
    /// It holds what this node held before.
    Behind,
    /// It holds what this node never held: more, or the same in another order.
    Unmatched,
    /// It holds the same.
    Same,
}

impl HeadStanding {
    /// All, what wants looking at first.
    pub const ALL: [Self; 6] =
        [Self::Contradicts, Self::Silent, Self::NotHeard, Self::Behind, Self::Unmatched, Self::Same];

    /// The word on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contradicts => "contradicts",
            Self::Silent => "silent",
            Self::NotHeard => "not-heard",
            Self::Behind => "behind",
            Self::Unmatched => "unmatched",
            Self::Same => "same",
        }
    }

    /// What it means, to follow a number of nodes.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Contradicts => "signed two heads that cannot both be true",
            Self::Silent => "silent for more than two hours",
            Self::NotHeard => "not heard since this node's start",
            Self::Behind => "behind this node",
            Self::Unmatched => "hold what this node never held: ahead, or in between",
            Self::Same => "hold the same directory",
        }
    }
}

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadView {
    /// Its document id.
    pub id: HeadId,
    /// When the node's run began, by its clock.
    pub run: Instant,
    /// Its number in that run.
    pub number: Sequence,
    /// When it was signed, by the node's clock.
    pub time: Instant,
    /// The charter's tips.
    pub charter: Vec<CharterId>,
    /// The digest of everything that the node held.
    pub digest: ContentHash,
    /// Where its journal stood, if it could be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<JournalView>,
}

/// Where a node's journal stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalView {
    /// When it began, by the node's clock.
    pub began: Instant,
    /// Its entries.
    pub size: u64,
    /// Their root.
    pub root: TreeRoot,
}

/// Two heads that cannot both be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadProof {
    /// In what.
    pub what: Contradicted,
    /// The run of the earlier one, by the node's clock.
    pub run: Instant,
    /// The earlier one's number.
    pub number: Sequence,
    /// Their ids.
    pub heads: [HeadId; 2],
}

impl HeadsReport {
    /// Draws what the machine says.
    #[must_use]
    pub fn of(member: MemberCode, node: NodeKey, now: Instant, view: heads::HeadsView) -> Self {
        let heads::HeadsView { digest, since, own, nodes } = view;
        let mut nodes: Vec<HeadRow> = nodes.into_iter().map(HeadRow::from).collect();
        nodes.sort_by(|a, b| (&a.member, a.node).cmp(&(&b.member, b.node)));
        Self { member, node, now, digest, since: since.into(), own: own.map(Into::into), nodes }
    }

    /// How many nodes stand in a way.
    #[must_use]
    pub fn count(&self, standing: HeadStanding) -> usize {
        self.nodes.iter().filter(|node| node.standing == standing).count()
    }
}

impl From<HeldHead> for HeadView {
    fn from(HeldHead { id, head }: HeldHead) -> Self {
        Self {
            id,
            run: head.run.into(),
            number: head.number,
            time: head.time.into(),
            charter: head.charter,
            digest: head.digest,
            journal: head.journal.map(|JournalPosition { began, size, root }| JournalView {
                began: began.into(),
                size,
                root,
            }),
        }
    }
}

impl From<heads::NodeHead> for HeadRow {
    fn from(row: heads::NodeHead) -> Self {
        let heads::NodeHead { member, node, standing, head, received } = row;
        let since = standing.since().map(Into::into);
        let (standing, proof) = match standing {
            Standing::Same => (HeadStanding::Same, None),
            Standing::Behind { .. } => (HeadStanding::Behind, None),
            Standing::Unmatched { .. } => (HeadStanding::Unmatched, None),
            Standing::Silent { .. } => (HeadStanding::Silent, None),
            Standing::NotHeard { .. } => (HeadStanding::NotHeard, None),
            Standing::Contradicts { proof } => {
                let heads::Contradiction { what, run, number, heads } = proof;
                (HeadStanding::Contradicts, Some(HeadProof { what, run: run.into(), number, heads }))
            }
        };
        let (head, received) = (head.map(Into::into), received.map(Into::into));
        Self { member, node, standing, since, head, received, proof }
    }
}
