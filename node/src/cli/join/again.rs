//! Joining again after a member lost its node: the key set that follows those in another member's file.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use refpoint_protocol::{
    document::encode,
    ids::{FederationId, MemberCode, NodeKey, RootKey},
    membership::key_set::{KeySet, NodeState},
    storage::{Change, Table},
    time::Timestamp,
};

use crate::{
    api::views::document::OwnDocuments,
    cli::{
        failure::Failure,
        keys::{evidence_from, find_node},
    },
    founding::{Ending, Succession, key_set_change, next_key_set},
};

/// The next key set, and what it follows.
pub(super) struct Next {
    pub(super) set: KeySet,
    /// The root key that signs it.
    pub(super) root: Option<RootKey>,
    /// What is stored of the documents.
    pub(super) earlier: Vec<Change>,
}

/// Reads another member's file and makes the key set that retires the lost node for this one.
pub(super) fn next_set(
    file: &Path,
    replaced: &str,
    federation: FederationId,
    member: &MemberCode,
    (node, issued): (NodeKey, Timestamp),
) -> Result<Next, Failure> {
    let (what, again) = ("the documents are not used", "ask another member for `refpoint keys export` again");
    let text = read_bounded(file).map_err(|error| {
        Failure::error(what, format!("cannot read {}: {error}", file.display()), "check the file's name")
    })?;
    let documents: OwnDocuments = serde_json::from_str(&text)
        .map_err(|error| Failure::unverified(what, format!("{}: {error}", file.display()), again))?;
    if documents.federation != federation {
        return Err(Failure::unverified(what, "they are of another federation", again));
    }
    let evidence = evidence_from(&documents)?;
    let view = evidence.membership();
    let replaced = find_node(replaced, &view.active_nodes(member), "active")?;
    let ended = vec![Ending { node: replaced, state: NodeState::Retired, since: issued }];
    let set = next_key_set(&evidence, member, &Succession { node, ended, issued })?;
    let trust = evidence.trust();
    let broken = |error| Failure::error(what, error, "report this: the fault is the program's");
    let mut earlier = Vec::new();
    for charter in trust.charters() {
        let bytes = encode(charter.envelope().as_ref()).map_err(broken)?;
        earlier.push(Change::put(Table::Charters, *charter.id().as_bytes(), bytes));
    }
    for settlement in trust.settlements() {
        let bytes = encode(settlement.envelope().as_ref()).map_err(broken)?;
        earlier.push(Change::put(Table::Settlements, *settlement.id().as_bytes(), bytes));
    }
    for set in trust.key_sets() {
        earlier.push(key_set_change(evidence.federation(), set.envelope()).map_err(broken)?);
    }
    let root = view.member(member).and_then(|member| member.rotated_root.or(member.root));
    Ok(Next { set, root, earlier })
}

/// Reads a text file of bounded size.
fn read_bounded(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(file)?.take(DOCUMENTS_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > DOCUMENTS_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
    }
    Ok(text)
}

/// Bytes of another member's documents: charters of 256 KiB and key sets of years, in base64.
const DOCUMENTS_BYTES_MAX: u64 = 16 * 1024 * 1024;
