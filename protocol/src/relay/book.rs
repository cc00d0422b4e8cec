//! What the relay must know of the directory, asked at the moment of use.

use crate::{
    directory::node_record::SealingKeyEntry,
    ids::{CharterVersion, MemberCode, NodeKey},
    membership::charter::WorkingGroup,
    time::Timestamp,
};

/// The directory as the relay sees it. Answers may differ from call to call: nothing is remembered.
pub trait Book {
    /// What the charter says of a member.
    fn member_status(&self, member: &MemberCode) -> MemberStatus;

    /// The active node keys of a member, in any order; none if its key set is not held.
    fn active_nodes(&self, member: &MemberCode) -> Vec<NodeKey>;

    /// Whether a key set of the member lists this node, whatever the key's state. Others may list it too.
    fn lists(&self, member: &MemberCode, node: &NodeKey) -> bool;

    /// The working group of a member, for the choice of custodians; `None` if it has none or is not known.
    fn working_group(&self, member: &MemberCode) -> Option<WorkingGroup> {
        let _unknown = member;
        None
    }

    /// The sealing key to use for a member's node now; one past its days if there is no newer; `None` if no
    /// record is held that the node signed for that member.
    fn sealing_key(&self, member: &MemberCode, node: &NodeKey, now: Timestamp) -> Option<SealingKeyEntry>;

    /// Whether a key counts as a node of the member, for a header that it signed.
    fn signer_standing(&self, member: &MemberCode, signer: &NodeKey) -> SignerStanding;

    /// Whether this node's clock may end messages: not while it is more than
    /// [`crate::limits::CLOCK_SKEW_MAX`] from the median of three members.
    fn applies_expiry(&self) -> bool {
        true
    }
}

/// What the charter says of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberStatus {
    /// In good standing.
    Active,
    /// Suspended by this charter version.
    Suspended(CharterVersion),
    /// Withdrawn by this charter version.
    Withdrawn(CharterVersion),
    /// No charter version held here lists it.
    Unknown,
}

/// What the member's key sets say of a node key that signed a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerStanding {
    /// In use.
    Active,
    /// Out of use since then: counts for what was created before. A key that a later key set leaves out
    /// counts as retired at that set's issue time.
    Retired(Timestamp),
    /// In strange hands since then: what comes now is kept, and shown as unproven.
    Compromised(Timestamp),
    /// No key set held here lists it; a newer one may.
    Unknown,
    /// The root behind the key set that listed it is ended: it counts for nothing any more.
    Ended,
}
