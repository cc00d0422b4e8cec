//! The table of connections: at most two a pair for a moment, and the rule that closes the spare.
//!
//! Both sides apply one rule to the same facts: of two connections that different sides dialled, the lower
//! node's stays; of two that one side dialled, the newer, since nobody keeps two that it dialled with one
//! node ([`super::one_dial`]). The spare is closed only when the one that stays has answered a ping since both were there, so a
//! dead connection never costs a live one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use libp2p::swarm::ConnectionId;
use refpoint_protocol::{
    ids::{MemberCode, NodeKey},
    time::Timestamp,
};

use super::event::{Connected, Direction};

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) facts: Connected,
    pub(super) latency: Option<Duration>,
    /// When the last ping was answered.
    answered: Option<Instant>,
}

/// A node with at least one connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) member: MemberCode,
    pub(super) subscribed: bool,
    /// Whether a missing subscription matters: not for programs without gossip, which repair serves.
    pub(super) gossips: bool,
    /// Why this side closes it, until it is closed.
    pub(super) closing: Option<String>,
    /// When it was last heard of, if that is known to be long before its connection is closed.
    heard: Option<Timestamp>,
    connections: Vec<Connection>,
    /// When the latest connection came up.
    latest: Instant,
    /// When one last came up beside another.
    crowded: Option<Instant>,
}

/// All nodes that are connected.
#[derive(Debug)]
pub(super) struct Connections {
    me: NodeKey,
    peers: BTreeMap<NodeKey, Peer>,
    last_contact: BTreeMap<NodeKey, Timestamp>,
}

/// What a closed connection leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Another connection with the node.
    Spare,
    /// Nothing; with the reason that this side gave, if it closed it.
    Last { member: MemberCode, why: Option<String> },
    /// It was not in the table.
    Unknown,
}

impl Connections {
    pub(super) const fn new(me: NodeKey) -> Self {
        Self { me, peers: BTreeMap::new(), last_contact: BTreeMap::new() }
    }

    /// Enters a connection; whether it is the node's first.
    pub(super) fn on_established(&mut self, id: ConnectionId, facts: Connected, now: Instant) -> bool {
        let node = facts.node;
        let connection = Connection { id, latency: None, answered: None, facts };
        match self.peers.get_mut(&node) {
            Some(peer) => {
                peer.latest = now;
                peer.crowded = Some(now);
                peer.connections.push(connection);
                false
            }
            None => {
                let peer = Peer {
                    member: connection.facts.member.clone(),
                    subscribed: false,
                    gossips: true,
                    closing: None,
                    heard: None,
                    latest: now,
                    crowded: None,
                    connections: vec![connection],
                };
                self.peers.insert(node, peer);
                true
            }
        }
    }

    /// Removes a connection. `at` is this node's clock.
    pub(super) fn on_closed(&mut self, node: NodeKey, id: ConnectionId, at: Timestamp) -> Closed {
        let Some(peer) = self.peers.get_mut(&node) else {
            return Closed::Unknown;
        };
        peer.connections.retain(|connection| connection.id != id);
        if !peer.connections.is_empty() {
            return Closed::Spare;
        }
        if self.last_contact.len() < LAST_CONTACT_MAX || self.last_contact.contains_key(&node) {
            self.last_contact.insert(node, peer.heard.unwrap_or(at));
        }
        match self.peers.remove(&node) {
            Some(peer) => Closed::Last { member: peer.member, why: peer.closing },
            None => Closed::Unknown,
        }
    }

    /// Notes a ping's answer.
    pub(super) fn on_ping(&mut self, node: NodeKey, id: ConnectionId, round_trip: Duration, now: Instant) {
        let connection = self
            .peers
            .get_mut(&node)
            .and_then(|peer| peer.connections.iter_mut().find(|connection| connection.id == id));
        if let Some(connection) = connection {
            connection.latency = Some(round_trip);
            connection.answered = Some(now);
        }
    }

    /// A connection answers no ping. If a node has no other, it will be closed, and was last heard of when it last
    /// answered one, or when it came up. `at` is this node's clock.
    pub(super) fn on_silent(&mut self, node: NodeKey, id: ConnectionId, now: Instant, at: Timestamp) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let [connection] = peer.connections.as_slice() else { return };
        if connection.id == id {
            let answered = connection.answered.map(|answered| at.before(now.duration_since(answered)));
            peer.heard = Some(answered.unwrap_or(connection.facts.local_time));
            peer.closing.get_or_insert_with(|| "it does not answer pings".to_owned());
        }
    }

    /// The connection that can be closed now, if a node has two and the one that stays is alive.
    pub(super) fn spare(&self, node: NodeKey) -> Option<ConnectionId> {
        let peer = self.peers.get(&node)?;
        let kept = self.kept(node)?;
        if kept.answered? < peer.latest {
            return None;
        }
        peer.connections.iter().map(|connection| connection.id).find(|id| *id != kept.id)
    }

    /// The connection of a node that stays.
    pub(super) fn kept(&self, node: NodeKey) -> Option<&Connection> {
        let lower = if self.me < node { Direction::Outbound } else { Direction::Inbound };
        let connections = &self.peers.get(&node)?.connections;
        let by_lower = connections.iter().rev().find(|connection| connection.facts.direction == lower);
        by_lower.or_else(|| connections.last())
    }

    /// The nodes that have not subscribed on any connection, though the latest has been up for `grace`: one that stays
    /// when the other ends may be younger than its node's subscription was.
    pub(super) fn deaf(&self, now: Instant, grace: Duration) -> Vec<NodeKey> {
        let deaf = |peer: &Peer| peer.gossips && !peer.subscribed && peer.closing.is_none();
        let waited = |peer: &Peer| now.duration_since(peer.latest) > grace;
        self.peers.iter().filter(|(_, peer)| deaf(peer) && waited(peer)).map(|(node, _)| *node).collect()
    }

    /// Whether a node has, or had a moment ago, more than one connection: then its streams may be those of several.
    pub(super) fn is_crowded(&self, node: NodeKey, now: Instant) -> bool {
        self.peers.get(&node).is_some_and(|peer| {
            let was = peer.crowded.is_some_and(|at| now.duration_since(at) <= CROWDED);
            peer.connections.len() > 1 || was
        })
    }

    pub(super) fn get(&self, node: NodeKey) -> Option<&Peer> {
        self.peers.get(&node)
    }

    pub(super) fn get_mut(&mut self, node: NodeKey) -> Option<&mut Peer> {
        self.peers.get_mut(&node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeKey, &Peer)> {
        self.peers.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn last_contact(&self, node: NodeKey) -> Option<Timestamp> {
        self.last_contact.get(&node).copied()
    }
}

/// Nodes whose last contact is remembered: four for each member that a charter can hold.
const LAST_CONTACT_MAX: usize = 1_024;

/// How long streams of a connection that is gone may linger: as long as a ping takes to find it dead, twice.
const CROWDED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::network::{Address, KeyExchange};

    fn facts(direction: Direction) -> Connected {
        Connected {
            node: NodeKey::from_bytes([2; 32]),
            member: MemberCode::new("KE").unwrap(),
            direction,
            remote_time: Timestamp::default(),
            local_time: Timestamp::default(),
            wire: 1,
            group: KeyExchange::HYBRID,
            address: Address::memory(1),
        }
    }

    fn table(me: u8) -> Connections {
        Connections::new(NodeKey::from_bytes([me; 32]))
    }

    const THEM: NodeKey = NodeKey::from_bytes([2; 32]);

    #[test]
    fn of_two_crossing_dials_both_sides_keep_the_lower_nodes() {
        for (me, kept, spare) in [(1, Direction::Outbound, 1), (3, Direction::Inbound, 0)] {
            let mut table = table(me);
            let now = Instant::now();
            let ids = [ConnectionId::new_unchecked(0), ConnectionId::new_unchecked(1)];
            assert!(table.on_established(ids[0], facts(Direction::Outbound), now));
            assert!(!table.on_established(ids[1], facts(Direction::Inbound), now));
            assert_eq!(table.kept(THEM).unwrap().facts.direction, kept);
            assert_eq!(table.spare(THEM), None, "not before the other one has answered");
            table.on_ping(THEM, table.kept(THEM).unwrap().id, Duration::from_millis(1), now);
            assert_eq!(table.spare(THEM), Some(ids[spare]));
        }
    }

    #[test]
    fn of_two_dials_by_one_side_the_newer_stays_once_it_has_answered() {
        let mut table = table(1);
        let now = Instant::now();
        let ids = [ConnectionId::new_unchecked(0), ConnectionId::new_unchecked(1)];
        table.on_established(ids[0], facts(Direction::Inbound), now);
        table.on_ping(THEM, ids[0], Duration::from_millis(1), now);
        let later = now + Duration::from_secs(5);
        table.on_established(ids[1], facts(Direction::Inbound), later);
        table.on_ping(THEM, ids[0], Duration::from_millis(1), later);
        assert_eq!(table.spare(THEM), None);
        table.on_ping(THEM, ids[1], Duration::from_millis(1), later);
        assert_eq!(table.spare(THEM), Some(ids[0]));
    }

    #[test]
    fn a_node_is_crowded_while_it_has_two_connections_and_a_minute_longer() {
        let (mut table, now) = (table(1), Instant::now());
        let ids = [ConnectionId::new_unchecked(0), ConnectionId::new_unchecked(1)];
        table.on_established(ids[0], facts(Direction::Inbound), now);
        assert!(!table.is_crowded(THEM, now));
        table.on_established(ids[1], facts(Direction::Inbound), now);
        assert!(table.is_crowded(THEM, now + CROWDED * 2));
        table.on_closed(THEM, ids[0], Timestamp::from_millis(5));
        assert!(table.is_crowded(THEM, now + CROWDED));
        assert!(!table.is_crowded(THEM, now + CROWDED * 2));
    }

    #[test]
    fn a_young_connection_has_its_own_time_to_subscribe() {
        let (mut table, now, grace) = (table(1), Instant::now(), Duration::from_secs(30));
        let ids = [ConnectionId::new_unchecked(0), ConnectionId::new_unchecked(1)];
        table.on_established(ids[0], facts(Direction::Inbound), now);
        assert_eq!(table.deaf(now + grace, grace), []);
        assert_eq!(table.deaf(now + grace * 2, grace), [THEM]);
        table.get_mut(THEM).unwrap().subscribed = true;
        assert_eq!(table.deaf(now + grace * 2, grace), []);
        // The older one, on which it had subscribed, ends just after the younger came up.
        table.on_established(ids[1], facts(Direction::Inbound), now + grace * 2);
        table.on_closed(THEM, ids[0], Timestamp::from_millis(5));
        table.get_mut(THEM).unwrap().subscribed = false;
        assert_eq!(table.deaf(now + grace * 3, grace), []);
        assert_eq!(table.deaf(now + grace * 4, grace), [THEM]);
    }

    #[test]
    fn an_old_answer_does_not_speak_for_a_connection_that_may_have_died_since() {
        let mut table = table(1);
        let now = Instant::now();
        let ids = [ConnectionId::new_unchecked(0), ConnectionId::new_unchecked(1)];
        table.on_established(ids[0], facts(Direction::Outbound), now);
        table.on_ping(THEM, ids[0], Duration::from_millis(1), now);
        table.on_established(ids[1], facts(Direction::Inbound), now + Duration::from_secs(5));
        assert_eq!(table.spare(THEM), None);
    }

    #[test]
    fn the_last_connection_closed_ends_the_peer_and_leaves_the_time() {
        let mut table = table(1);
        let now = Instant::now();
        let ids = [ConnectionId::new_unchecked(0), ConnectionId::new_unchecked(1)];
        table.on_established(ids[0], facts(Direction::Inbound), now);
        table.on_established(ids[1], facts(Direction::Outbound), now);
        table.get_mut(THEM).unwrap().closing = Some("asked to".into());
        assert_eq!(table.on_closed(THEM, ids[0], Timestamp::from_millis(5)), Closed::Spare);
        let member = MemberCode::new("KE").unwrap();
        let last = Closed::Last { member, why: Some("asked to".into()) };
        assert_eq!(table.on_closed(THEM, ids[1], Timestamp::from_millis(6)), last);
        assert_eq!(table.on_closed(THEM, ids[1], Timestamp::from_millis(7)), Closed::Unknown);
        assert_eq!(table.last_contact(THEM), Some(Timestamp::from_millis(6)));
    }
    #[test]
    fn a_node_that_fell_silent_was_last_heard_of_when_it_last_answered() {
        let (mut table, now) = (table(1), Instant::now());
        let id = ConnectionId::new_unchecked(0);
        table.on_established(id, facts(Direction::Inbound), now);
        table.on_ping(THEM, id, Duration::from_millis(1), now);
        let silent = Duration::from_secs(40);
        table.on_silent(THEM, id, now + silent, Timestamp::from_millis(50_000));
        let closed = table.on_closed(THEM, id, Timestamp::from_millis(50_001));
        assert!(matches!(closed, Closed::Last { why: Some(why), .. } if why.contains("pings")));
        assert_eq!(table.last_contact(THEM), Some(Timestamp::from_millis(10_000)));
    }
}
