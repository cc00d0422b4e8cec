//! Requests to cosign a journal's checkpoint: of this node's own, and of others.

use libp2p::request_response::{Event, Message};
use refpoint_protocol::{
    audit::witness::{CosignAnswer, CosignRequest},
    ids::NodeKey,
};
use tokio::sync::oneshot;

use super::Actor;
use crate::network::{
    event::{Fault, NetworkEvent, RequestFailed},
    identity::{node_key, peer_id},
    witness::{Asked, CosignAsked, CosignToken},
};

impl Actor {
    /// Asks a connected node to cosign.
    pub(super) fn ask_cosign(
        &mut self,
        by: NodeKey,
        request: Box<CosignRequest>,
        reply: oneshot::Sender<Result<CosignAnswer, RequestFailed>>,
    ) {
        let connected = self.connections.get(by).is_some();
        match peer_id(by).filter(|_| connected && self.cosigning.len() < ASKED_MAX) {
            Some(peer) => {
                let id = self.swarm.behaviour_mut().witness.send_request(&peer, Asked::Request(request));
                self.cosigning.insert(id, reply);
            }
            None => {
                let why = if connected { RequestFailed::TooMany } else { RequestFailed::NotConnected };
                // A requester that went away is nobody's loss.
                drop(reply.send(Err(why)));
            }
        }
    }

    pub(super) fn on_witness(&mut self, event: Event<Asked, CosignAnswer>) {
        match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                let Some(from) = node_key(&peer) else { return };
                match request {
                    Asked::Request(request) => {
                        let asked = CosignAsked { from, request, token: CosignToken(channel) };
                        if self.out.offer(NetworkEvent::CosignAsked(asked)).is_some() {
                            tracing::debug!(node = %from.short(), "a request to cosign is not taken: too many wait");
                        }
                    }
                    Asked::Broken(why) => self.on_fault(Some(from), None, Fault::WitnessRequest(why)),
                }
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                if let Some(reply) = self.cosigning.remove(&request_id) {
                    drop(reply.send(Ok(response)));
                }
            }
            Event::OutboundFailure { request_id, error, .. } => {
                if let Some(reply) = self.cosigning.remove(&request_id) {
                    drop(reply.send(Err(error.into())));
                }
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a request to cosign was not served");
            }
            Event::ResponseSent { .. } => {}
        }
    }

    /// Answers whoever asked for a cosignature.
    pub(super) fn answer_cosign(&mut self, CosignToken(channel): CosignToken, answer: CosignAnswer) {
        if self.swarm.behaviour_mut().witness.send_response(channel, answer).is_err() {
            tracing::debug!("whoever asked for a cosignature was gone before the answer");
        }
    }
}

/// Requests of this node's own under way: a round asks three at once.
const ASKED_MAX: usize = 8;
