//! The names under which this node's protocols and topic are negotiated.
//!
//! Each carries the federation id and a version: nodes of two federations find nothing in common even
//! where they meet, and two adjacent versions can be served during an upgrade.

use libp2p::{StreamProtocol, gossipsub::IdentTopic};
use refpoint_protocol::{ids::FederationId, relay::parcel::Class};

/// The request-response protocol of repair: `/refpoint/<federation id>/repair/1`.
#[must_use]
pub fn repair(federation: FederationId) -> StreamProtocol {
    owned(format!("/refpoint/{federation}/repair/1"))
}

/// The request-response protocol by which a node is dialled back: `/refpoint/<federation id>/dial-back/1`.
#[must_use]
pub fn dial_back(federation: FederationId) -> StreamProtocol {
    owned(format!("/refpoint/{federation}/dial-back/1"))
}

/// The request-response protocol by which journals are cosigned: `/refpoint/<federation id>/witness/1`.
#[must_use]
pub fn witness(federation: FederationId) -> StreamProtocol {
    owned(format!("/refpoint/{federation}/witness/1"))
}

/// The kept streams of the relay, one name a class: `/refpoint/<federation id>/relay/urgent/1` and
/// `…/relay/normal/1`.
#[must_use]
pub fn relay(federation: FederationId, class: Class) -> StreamProtocol {
    let class = match class {
        Class::Urgent => "urgent",
        Class::Normal => "normal",
    };
    owned(format!("/refpoint/{federation}/relay/{class}/1"))
}

/// The gossip topic of the directory's evidence: `/refpoint/<federation id>/evidence/1`.
#[must_use]
pub fn evidence_topic(federation: FederationId) -> IdentTopic {
    IdentTopic::new(format!("/refpoint/{federation}/evidence/1"))
}

#[expect(clippy::expect_used, reason = "each name above is built to start with a slash, the only rule")]
fn owned(name: String) -> StreamProtocol {
    StreamProtocol::try_from_owned(name).expect("the name starts with a slash")
}
