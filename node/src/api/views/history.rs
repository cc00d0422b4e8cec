//! What the members' entries were: a member's history, and the directory at a time in the past.
//!
//! All times are those that the issuers wrote; when something reached this node is not kept.

use std::collections::BTreeMap;

use refpoint_protocol::ids::{ContentHash, Epoch, HeaderId, KeySetId, MemberCode, NodeKey, Sequence};
use serde::{Deserialize, Serialize};

use super::{directory::ReferencePointView, instant::Instant, names::MemberNames};

/// All that is held of a member's entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryHistoryView {
    /// The member.
    pub member: MemberCode,
    /// How many of the newest contents of each chain a node keeps; headers are kept for ever.
    pub contents_kept: u64,
    /// The header shown in the directory now; a bare number such as `FR@12` means its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<HeaderId>,
    /// The chains of its nodes, one for each key set, oldest key set first.
    pub chains: Vec<ChainHistoryView>,
    /// The contents that are here, by their hash.
    pub contents: BTreeMap<ContentHash, ReferencePointView>,
}

/// What is held of one chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHistoryView {
    /// The node that signs it.
    pub node: NodeKey,
    /// The key set under which it began.
    pub key_set: KeySetId,
    /// That key set's epoch.
    pub epoch: Epoch,
    /// The entries, oldest first.
    pub entries: Vec<PastEntry>,
    /// Sequences, first and last of each range, whose headers exist and are not here.
    pub gaps: Vec<[Sequence; 2]>,
    /// The lowest fork: what was signed from there on does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disputed_from: Option<Sequence>,
}

/// An entry with its renewals without change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastEntry {
    /// Where it begins.
    pub first: Sequence,
    /// Its last renewal, or the same.
    pub last: Sequence,
    /// The first header.
    pub header: HeaderId,
    /// When that was issued.
    pub issued: Instant,
    /// When it was last renewed.
    pub renewed: Instant,
    /// What is here of it.
    pub content: ContentState,
    /// The hash of its content.
    pub hash: ContentHash,
}

/// What is here of an entry's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContentState {
    /// Held.
    Held,
    /// Not received yet.
    Missing,
    /// Erased.
    Erased,
    /// Received, and not readable.
    Unreadable,
    /// Older than what a node keeps.
    LetGo,
}

/// The directory as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryAtView {
    /// The time asked for.
    pub at: Instant,
    /// Since when this node can show the entry of every member that had one; absent if it cannot even now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_since: Option<Instant>,
    /// The members of the charter now, by code: charter versions bear no time, so who was a member then is not
    /// told.
    pub members: Vec<MemberAt>,
}

/// One member as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAt {
    /// The member.
    pub member: MemberCode,
    /// Its names.
    pub names: MemberNames,
    /// Its entry then; absent if no header that is here was issued by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryAt>,
}

/// A member's entry as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryAt {
    /// The node that published it.
    pub node: NodeKey,
    /// Its place in that node's chain.
    pub sequence: Sequence,
    /// The header.
    pub header: HeaderId,
    /// When it was issued.
    pub issued: Instant,
    /// What is here of its content.
    pub content: ContentState,
    /// Whether a header that is not here may have been newer.
    pub may_be_older: bool,
    /// The content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_point: Option<ReferencePointView>,
}
