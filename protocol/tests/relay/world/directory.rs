//! The directory of the virtual network: as a test sets it.

use std::collections::BTreeMap;

use refpoint_protocol::{
    directory::node_record::SealingKeyEntry,
    ids::{MemberCode, NodeKey},
    membership::charter::WorkingGroup,
    relay::book::{Book, MemberStatus, SignerStanding},
    time::Timestamp,
};

/// What all nodes know of each other, unless a test gives one its own.
#[derive(Clone, Default)]
pub(in super::super) struct Directory {
    pub(in super::super) status: BTreeMap<MemberCode, MemberStatus>,
    pub(in super::super) nodes: BTreeMap<NodeKey, (MemberCode, SignerStanding, Option<SealingKeyEntry>)>,
    /// Nodes that a member's key set lists and that are another's.
    pub(in super::super) claims: Vec<(MemberCode, NodeKey)>,
    pub(in super::super) groups: BTreeMap<MemberCode, WorkingGroup>,
    pub(in super::super) clock_is_wrong: bool,
}

impl Book for Directory {
    fn member_status(&self, member: &MemberCode) -> MemberStatus {
        self.status.get(member).copied().unwrap_or(MemberStatus::Unknown)
    }

    fn active_nodes(&self, member: &MemberCode) -> Vec<NodeKey> {
        if self.member_status(member) != MemberStatus::Active {
            return Vec::new();
        }
        let active = |(m, standing, _): &(MemberCode, SignerStanding, _)| {
            m == member && *standing == SignerStanding::Active
        };
        let own = self.nodes.iter().filter(|(_, node)| active(node)).map(|(key, _)| *key);
        own.chain(self.claims.iter().filter(|(m, _)| m == member).map(|(_, key)| *key)).collect()
    }

    fn lists(&self, member: &MemberCode, node: &NodeKey) -> bool {
        self.nodes.get(node).is_some_and(|(listed, ..)| listed == member)
            || self.claims.contains(&(member.clone(), *node))
    }

    fn sealing_key(&self, member: &MemberCode, node: &NodeKey, _: Timestamp) -> Option<SealingKeyEntry> {
        self.nodes.get(node).filter(|(listed, ..)| listed == member)?.2.clone()
    }

    fn working_group(&self, member: &MemberCode) -> Option<WorkingGroup> {
        self.groups.get(member).copied()
    }

    fn signer_standing(&self, member: &MemberCode, signer: &NodeKey) -> SignerStanding {
        let listed = self.nodes.get(signer).filter(|(listed, ..)| listed == member);
        listed.map_or(SignerStanding::Unknown, |(_, standing, _)| *standing)
    }

    fn applies_expiry(&self) -> bool {
        !self.clock_is_wrong
    }
}
