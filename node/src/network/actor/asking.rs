//! What this node asks of others one by one, each with somebody who waits for the answer.

use std::collections::HashMap;

use libp2p::{
    PeerId,
    request_response::{Event, Message, OutboundRequestId, ResponseChannel},
};
use refpoint_protocol::ids::NodeKey;
use tokio::sync::oneshot;

use crate::network::{
    event::RequestFailed,
    identity::{node_key, peer_id},
};

/// Who waits for an answer.
pub(super) type Reply<A> = oneshot::Sender<Result<A, RequestFailed>>;

/// The requests of one protocol that are under way.
pub(super) struct Asking<A> {
    /// What is asked, for the log.
    what: &'static str,
    waiting: HashMap<OutboundRequestId, Reply<A>>,
}

/// What another node asks of this one, and the way back to it.
pub(super) struct Asked<Q, A> {
    pub(super) from: NodeKey,
    pub(super) request: Q,
    pub(super) channel: ResponseChannel<A>,
}

impl<A> Asking<A> {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, waiting: HashMap::new() }
    }

    /// Has a node asked by `send`, unless it is not connected or too much is under way.
    pub(super) fn ask(
        &mut self,
        connected: Option<NodeKey>,
        reply: Reply<A>,
        send: impl FnOnce(&PeerId) -> OutboundRequestId,
    ) {
        match connected.and_then(peer_id) {
            Some(peer) if self.waiting.len() < ASKED_MAX => {
                self.waiting.insert(send(&peer), reply);
            }
            // A requester that went away is nobody's loss.
            Some(_) => drop(reply.send(Err(RequestFailed::TooMany))),
            None => drop(reply.send(Err(RequestFailed::NotConnected))),
        }
    }

    /// Hands answers and failures to those who wait; gives back what is asked of this node.
    pub(super) fn on_event<Q>(&mut self, event: Event<Q, A>) -> Option<Asked<Q, A>> {
        let (id, result) = match event {
            Event::Message { peer, message: Message::Request { request, channel, .. }, .. } => {
                return Some(Asked { from: node_key(&peer)?, request, channel });
            }
            Event::Message { message: Message::Response { request_id, response }, .. } => {
                (request_id, Ok(response))
            }
            Event::OutboundFailure { request_id, error, .. } => (request_id, Err(error.into())),
            Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "{} was not served", self.what);
                return None;
            }
            Event::ResponseSent { .. } => return None,
        };
        if let Some(reply) = self.waiting.remove(&id) {
            drop(reply.send(result));
        }
        None
    }
}

/// Requests of one protocol under way: an operator asks one after another, a round of witnesses three at once.
const ASKED_MAX: usize = 8;
