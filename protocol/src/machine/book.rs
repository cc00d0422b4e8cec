//! The directory as the relay asks for it.

use std::sync::Arc;

use crate::{
    directory::{clock::ClockWitnesses, node_record::SealingKeyEntry},
    evidence::Evidence,
    ids::{CharterVersion, MemberCode, NodeKey},
    limits::RESUME_WAIT,
    membership::{
        KeyState, Membership, NodeStanding,
        charter::{MemberStatus as CharterStatus, WorkingGroup},
    },
    relay::book::{Book, MemberStatus, SignerStanding},
    time::Timestamp,
};

/// Evidence and clock, seen by the relay for the length of one input.
pub(super) struct EvidenceBook<'a> {
    evidence: &'a Evidence,
    membership: Arc<Membership>,
    clock: Option<BookClock<'a>>,
}

/// What this node's clock is judged by.
pub(super) struct BookClock<'a> {
    pub(super) witnesses: &'a ClockWitnesses,
    pub(super) own: &'a MemberCode,
    pub(super) started: Timestamp,
    pub(super) now: Timestamp,
}

impl<'a> EvidenceBook<'a> {
    pub(super) fn new(evidence: &'a Evidence, clock: Option<BookClock<'a>>) -> Self {
        Self { evidence, membership: evidence.membership(), clock }
    }

    /// The version that ended a member: the lowest of those that say so.
    fn ending_version(&self, member: &MemberCode) -> CharterVersion {
        let trust = self.evidence.trust();
        let ended_by =
            self.membership.member(member).map(|view| view.ended_by.as_slice()).unwrap_or_default();
        let versions =
            ended_by.iter().filter_map(|id| trust.charter(id)).map(|charter| charter.payload().version);
        versions.min().unwrap_or_else(|| self.membership.version())
    }
}

impl Book for EvidenceBook<'_> {
    fn member_status(&self, member: &MemberCode) -> MemberStatus {
        match self.membership.member(member).map(|view| view.status) {
            None => MemberStatus::Unknown,
            Some(CharterStatus::Active) => MemberStatus::Active,
            Some(CharterStatus::Suspended) => MemberStatus::Suspended(self.ending_version(member)),
            Some(CharterStatus::Withdrawn) => MemberStatus::Withdrawn(self.ending_version(member)),
        }
    }

    fn working_group(&self, member: &MemberCode) -> Option<WorkingGroup> {
        self.membership.member(member).map(|view| view.group)
    }

    fn active_nodes(&self, member: &MemberCode) -> Vec<NodeKey> {
        self.membership.active_nodes(member)
    }

    fn lists(&self, member: &MemberCode, node: &NodeKey) -> bool {
        self.membership.node_of(member, node).is_some()
    }

    fn sealing_key(&self, member: &MemberCode, node: &NodeKey, now: Timestamp) -> Option<SealingKeyEntry> {
        let listing = self.evidence.listing(member, *node)?;
        self.evidence.directory().sealing_key(listing, now).cloned()
    }

    fn signer_standing(&self, member: &MemberCode, signer: &NodeKey) -> SignerStanding {
        self.membership.node_of(member, signer).map_or(SignerStanding::Unknown, standing)
    }

    /// As many members' clocks are near this one as are asked, which after a while is one: a country may reach
    /// no more.
    fn applies_expiry(&self) -> bool {
        let Some(BookClock { witnesses, own, started, now }) = &self.clock else { return false };
        let asked = self.membership.witnesses_asked(own);
        let asked = if now.since(*started) >= RESUME_WAIT { asked.min(1) } else { asked };
        witnesses.confirm(*now, asked)
    }
}

fn standing(standing: &NodeStanding) -> SignerStanding {
    match standing.state {
        KeyState::Active => SignerStanding::Active,
        KeyState::Retired { at } | KeyState::LeftOut { at } => SignerStanding::Retired(at),
        KeyState::Compromised { since } => SignerStanding::Compromised(since),
        // Which of the disputed documents is true is not known: what such a key signed is shown as unproven.
        KeyState::Disputed | KeyState::RootDisputed => SignerStanding::Compromised(Timestamp::default()),
        KeyState::MemberSuspended
        | KeyState::MemberWithdrawn
        | KeyState::RootReplaced
        | KeyState::AwaitingAdmission => SignerStanding::Ended,
    }
}
