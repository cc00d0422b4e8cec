//! Requests to be dialled back, and to dial back.

use std::time::Instant;

use libp2p::request_response::Event;
use refpoint_protocol::ids::NodeKey;

use super::{
    Actor,
    asking::{Asked, Reply},
};
use crate::network::dial_back::{DialBackAnswer, DialBackRequest, Done, Progress};

impl Actor {
    /// Asks a connected node to dial this one back.
    pub(super) fn ask_dial_back(&mut self, by: NodeKey, reply: Reply<DialBackAnswer>) {
        let connected = self.connections.get(by).map(|_| by);
        let protocol = &mut self.swarm.behaviour_mut().dial_back;
        self.asking_back.ask(connected, reply, |peer| protocol.send_request(peer, DialBackRequest {}));
    }

    pub(super) fn on_dial_back(&mut self, event: Event<DialBackRequest, DialBackAnswer>) {
        let Some(Asked { from, channel, .. }) = self.asking_back.on_event(event) else { return };
        // The record's own addresses alone: the request names none.
        let addresses = self.dialler.addresses(from).to_vec();
        if let Some(busy) = self.dial_backs.take(from, &addresses, channel, Instant::now()) {
            self.answer_dial_back(busy);
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
