//! What the members' entries were, as the API shows it.

use std::collections::BTreeMap;

use refpoint_protocol::{
    directory::history::{self, ChainHistory, Content},
    ids::MemberCode,
    limits::BODIES_PER_CHAIN_MAX,
    machine::Machine,
    time::Timestamp,
};

use crate::api::views::{
    directory::ReferencePointView,
    history::{
        ChainHistoryView, ContentState, DirectoryAtView, DirectoryHistoryView, EntryAt, MemberAt, PastEntry,
    },
    names::MemberNames,
};

/// A member's history; `None` if the charter does not list it.
pub(super) fn of(machine: &Machine, member: &MemberCode, now: Timestamp) -> Option<DirectoryHistoryView> {
    let evidence = machine.evidence();
    evidence.membership().member(member)?;
    let shown = evidence.directory().member(member, now).and_then(|entry| entry.reference_point);
    let chains = history::of_member(evidence.trust(), evidence.chains(), member);
    let mut contents = BTreeMap::new();
    for run in chains.iter().flat_map(|chain| &chain.runs) {
        if let Content::Held(entry) = &run.content {
            contents.insert(run.first.body.hash, ReferencePointView::from(entry.as_ref()));
        }
    }
    Some(DirectoryHistoryView {
        member: member.clone(),
        contents_kept: BODIES_PER_CHAIN_MAX as u64,
        shown: shown.map(|point| point.header.id),
        chains: chains.iter().map(chain_view).collect(),
        contents,
    })
}

/// The directory at a time.
pub(super) fn at(machine: &Machine, at: Timestamp) -> DirectoryAtView {
    let evidence = machine.evidence();
    let (trust, chains, membership) = (evidence.trust(), evidence.chains(), evidence.membership());
    let mut complete_since = Some(Timestamp::from_millis(0));
    let members = membership.members().map(|member| {
        let since = history::complete_since(&history::of_member(trust, chains, &member.code));
        complete_since = complete_since.zip(since).map(|(all, own)| all.max(own));
        let entry = history::at(trust, chains, &member.code, at).map(|then| EntryAt {
            node: then.node,
            sequence: then.header.sequence,
            header: then.header.id,
            issued: then.header.issued.into(),
            content: state(&then.content),
            may_be_older: then.may_be_older,
            reference_point: match &then.content {
                Content::Held(entry) => Some(ReferencePointView::from(entry.as_ref())),
                Content::Missing | Content::Erased | Content::Unreadable | Content::LetGo => None,
            },
        });
        MemberAt { member: member.code.clone(), names: MemberNames::of(&member.code), entry }
    });
    let members = members.collect();
    DirectoryAtView { at: at.into(), complete_since: complete_since.map(Into::into), members }
}

fn chain_view(history: &ChainHistory) -> ChainHistoryView {
    let entries = history.runs.iter().map(|run| PastEntry {
        first: run.first.sequence,
        last: run.last.sequence,
        header: run.first.id,
        issued: run.first.issued.into(),
        renewed: run.last.issued.into(),
        content: state(&run.content),
        hash: run.first.body.hash,
    });
    ChainHistoryView {
        node: history.chain.node,
        key_set: history.chain.key_set,
        epoch: history.epoch,
        entries: entries.collect(),
        gaps: history.gaps.iter().map(|(first, last)| [*first, *last]).collect(),
        disputed_from: history.disputed_from,
    }
}

const fn state(content: &Content) -> ContentState {
    match content {
        Content::Held(_) => ContentState::Held,
        Content::Missing => ContentState::Missing,
        Content::Erased => ContentState::Erased,
        Content::Unreadable => ContentState::Unreadable,
        Content::LetGo => ContentState::LetGo,
    }
}
