//! A member that says it has what the other has, and hands out nothing.

use refpoint_protocol::evidence::repair::{Digest, Documents, RepairRequest, RepairResponse};

use crate::sim::Sim;

pub(super) fn answer(sim: &Sim, node: usize, request: &RepairRequest) -> Option<RepairResponse> {
    let time = sim.nodes[node].clock.at(sim.now);
    Some(match request {
        RepairRequest::Digest(theirs) => RepairResponse::Digest(Digest { roots: theirs.roots.clone(), time }),
        RepairRequest::Fetch(_) | RepairRequest::Chains(_) => RepairResponse::Documents(Documents::default()),
        RepairRequest::Positions(_) | RepairRequest::Give(_) => return None,
    })
}
