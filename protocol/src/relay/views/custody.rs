//! What is shown of custody: who keeps this node's parcels, and what this node keeps for others.

use serde::Serialize;

use crate::{
    ids::{MemberCode, MessageId, NodeKey},
    relay::{Relay, book::Book, custody::Kept, outbox::Entry, parcel::Class, rows::CustodyKey},
    time::Timestamp,
};

/// A node that keeps a parcel for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CustodianView {
    /// The custodian.
    pub node: NodeKey,
    /// Its member.
    pub member: MemberCode,
    /// When it said so, by its clock.
    pub at: Timestamp,
}

/// A parcel that this node keeps for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldView {
    /// The message.
    pub message: MessageId,
    /// Who handed it over.
    pub by: MemberCode,
    /// For whom.
    pub member: MemberCode,
    /// For which node.
    pub node: NodeKey,
    /// Whether it goes before others.
    pub class: Class,
    /// Bytes of the parcel.
    pub size: u64,
    /// Since when it is kept.
    pub since: Timestamp,
    /// When its sender stops waiting.
    pub expires: Timestamp,
    /// Whether no active node can open it as it is; only its sender can help, by sealing it anew.
    pub key_lost: bool,
}

impl Relay {
    /// Parcels that this node keeps for others, oldest first.
    #[must_use]
    pub fn held(&self, book: &dyn Book) -> Vec<HeldView> {
        let held = self.machines.custody.kept().filter(|(_, kept)| kept.holds_parcel());
        let view = |(key, kept): (&CustodyKey, &Kept)| HeldView {
            message: key.message,
            by: kept.row.by.clone(),
            member: kept.row.member.clone(),
            node: key.node,
            class: kept.row.class,
            size: kept.row.size,
            since: kept.row.since,
            expires: kept.row.expires,
            key_lost: kept.is_key_lost(key, book),
        };
        let mut views: Vec<_> = held.map(view).collect();
        views.sort_by_key(|view| (view.since, view.message, view.node));
        views
    }
}

pub(super) fn custodians(entry: &Entry, node: &NodeKey) -> Vec<CustodianView> {
    let rows = entry.row.custodians.iter().filter(|row| row.node == *node);
    rows.map(|row| CustodianView { node: row.custodian, member: row.member.clone(), at: row.at }).collect()
}
