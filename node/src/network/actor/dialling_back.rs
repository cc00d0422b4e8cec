//! Requests to be dialled back, and to dial back.

use std::time::Instant;

use libp2p::request_response::{Event, Message};
use refpoint_protocol::ids::NodeKey;
use tokio::sync::oneshot;

use super::Actor;
use crate::network::{
    dial_back::{DialBackAnswer, DialBackRequest, Done, Progress},
    event::RequestFailed,
    identity::{node_key, peer_id},
};

impl Actor {
    /// Asks a connected node to dial this one back.
    pub(super) fn ask_dial_back(
        &mut self,
        by: NodeKey,
        reply: oneshot::Sender<Result<DialBackAnswer, RequestFailed>>,
    ) {
        let connected = self.connections.get(by).is_some();
        match peer_id(by).filter(|_| connected && self.asked_back.len() < ASKED_MAX) {
            Some(peer) => {
                let id = self.swarm.behaviour_mut().dial_back.send_request(&peer, DialBackRequest {});
                self.asked_back.insert(id, reply);
            }
            None => {
                let why = if connected { RequestFailed::TooMany } else { RequestFailed::NotConnected };
                // A requester that went away is nobody's loss.
                drop(reply.send(Err(why)));
            }
        }
    }

    pub(super) fn on_dial_back(&mut self, event: Event<DialBackRequest, DialBackAnswer>) {
        match event {
            Event::Message { peer, message: Message::Request { channel, .. }, .. } => {
                let Some(from) = node_key(&peer) else { return };
                // The record's own addresses alone: the request names none.
                let addresses = self.dialler.addresses(from).to_vec();
                if let Some(busy) = self.dial_backs.take(from, &addresses, channel, Instant::now()) {
                    self.answer_dial_back(busy);
                }
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                if let Some(reply) = self.asked_back.remove(&request_id) {
                    drop(reply.send(Ok(response)));
                }
            }
            Event::OutboundFailure { request_id, error, .. } => {
                if let Some(reply) = self.asked_back.remove(&request_id) {
                    drop(reply.send(Err(error.into())));
                }
            }
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a request to dial back was not served");
            }
            Event::ResponseSent { .. } => {}
        }
    }

    /// A dial back went on, or is over.
    pub(super) fn on_dialled_back(&mut self, progress: Progress) {
        match progress {
            Progress::Ourselves => self.twin.on_dialled(Instant::now()),
            Progress::Done(done) => {
                self.dial_backs.on_done();
                self.answer_dial_back(done);
            }
        }
    }

    /// Answers whoever asked to be dialled back.
    pub(super) fn answer_dial_back(&mut self, Done { channel, answer }: Done) {
        if self.swarm.behaviour_mut().dial_back.send_response(channel, answer).is_err() {
            tracing::debug!("whoever asked to be dialled back was gone before the answer");
        }
    }
}

/// Requests of this node's own under way: an operator asks one after another.
const ASKED_MAX: usize = 8;
