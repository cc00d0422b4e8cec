//! Requests to cosign a journal's checkpoint: of this node's own, and of others.

use libp2p::request_response::Event;
use refpoint_protocol::{
    audit::witness::{CosignAnswer, CosignRequest},
    ids::NodeKey,
};

use super::{
    Actor,
    asking::{Asked, Reply},
};
use crate::network::{
    event::{Fault, NetworkEvent},
    witness::{self, CosignAsked, CosignToken},
};

impl Actor {
    /// Asks a connected node to cosign.
    pub(super) fn ask_cosign(
        &mut self,
        by: NodeKey,
        request: Box<CosignRequest>,
        reply: Reply<CosignAnswer>,
    ) {
        let connected = self.connections.get(by).map(|_| by);
        let (protocol, request) = (&mut self.swarm.behaviour_mut().witness, witness::Asked::Request(request));
        self.cosigning.ask(connected, reply, |peer| protocol.send_request(peer, request));
    }

    pub(super) fn on_witness(&mut self, event: Event<witness::Asked, CosignAnswer>) {
        let Some(Asked { from, request, channel }) = self.cosigning.on_event(event) else { return };
        match request {
            witness::Asked::Request(request) => {
                let asked = CosignAsked { from, request, token: CosignToken(channel) };
                if self.out.offer(NetworkEvent::CosignAsked(asked)).is_some() {
                    tracing::debug!(node = %from.short(), "a request to cosign is not taken: too many wait");
                }
            }
            witness::Asked::Broken(why) => self.on_fault(Some(from), None, Fault::WitnessRequest(why)),
        }
    }

    /// Answers whoever asked for a cosignature.
    pub(super) fn answer_cosign(&mut self, CosignToken(channel): CosignToken, answer: CosignAnswer) {
        if self.swarm.behaviour_mut().witness.send_response(channel, answer).is_err() {
            tracing::debug!("whoever asked for a cosignature was gone before the answer");
        }
    }
}
