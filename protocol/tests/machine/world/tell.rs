//! What a test tells a node without a connection: a clock, a twin.

use refpoint_protocol::{machine::Input, time::Timestamp};

use super::World;

impl World {
    /// Lets a node hear another's clock, as it is told in an introduction, and nothing else.
    pub(crate) fn hear(&mut self, at: usize, other: usize, remote_time: Timestamp) {
        let (node, member) = (self.key(other), self.member(other));
        self.queue.push_back((at, Input::Connected { node, member, remote_time, dialled: false }));
        self.settle();
    }

    pub(crate) fn meet_twin(&mut self, at: usize) {
        self.queue.push_back((at, Input::TwinMet));
        self.settle();
    }
}
