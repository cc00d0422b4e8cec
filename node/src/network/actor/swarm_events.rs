//! What libp2p reports, in our words.

use std::time::{Duration, Instant};

use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    gossipsub, ping, request_response,
    swarm::{ConnectionError, ConnectionId, DialError, ListenError, SwarmEvent},
};
use refpoint_protocol::{evidence::repair::RepairResponse, ids::NodeKey};

use super::{Actor, draw};
use crate::network::{
    Address,
    behaviour::BehaviourEvent,
    connections::Closed,
    event::{Direction, Fault, GossipToken, NetworkEvent, RequestFailed, ResponseToken},
    gossip::Heard,
    identity::node_key,
    plain_words::{self, Failure},
    repair::{Asked, RepairFault},
};

impl Actor {
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        // What an introduction brought was sent before its outcome, and is handed on before it.
        while let Ok(learned) = self.learned.try_recv() {
            self.on_learned(learned);
        }
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Repair(event)) => self.on_repair(event),
            SwarmEvent::Behaviour(BehaviourEvent::DialBack(event)) => self.on_dial_back(event),
            SwarmEvent::Behaviour(BehaviourEvent::Witness(event)) => self.on_witness(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                self.on_closed(&peer_id, connection_id, cause.as_ref());
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failed(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                self.on_caller_failed(&send_back_addr, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Some(address) = Address::from_multiaddr(&address) {
                    tracing::info!(%address, "listening");
                    self.out.push(NetworkEvent::Listening(address));
                }
            }
            SwarmEvent::ListenerClosed { reason, addresses, .. } => {
                let why = reason.err().map_or_else(|| "it was closed".to_owned(), |error| error.to_string());
                tracing::error!(?addresses, why, "a listener is gone");
                self.out.push(NetworkEvent::ListenerLost { why });
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "the listener could not take a connection");
            }
            // Nothing here concerns anyone: dials are ours, and observed addresses are not believed.
            _ => {}
        }
    }

    fn on_established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let attempt = self.attempts.remove(&id);
        let Some(facts) = self.admissions.take(peer, endpoint) else {
            tracing::error!(%peer, "a connection came up without an introduction; closing it");
            self.swarm.close_connection(id);
            return;
        };
        let (node, now) = (facts.node, Instant::now());
        if let Some(attempt) = attempt {
            self.dialler.on_reached(attempt.id, node, now, draw());
        }
        self.summary.dialled_in |= facts.direction == Direction::Inbound;
        if !self.connections.on_established(id, facts.clone(), now) {
            tracing::debug!(node = %node.short(), member = %facts.member, "a second connection; the spare will go");
            return;
        }
        tracing::info!(
            node = %node.short(), member = %facts.member, direction = %facts.direction,
            address = %facts.address, group = %facts.group, "connected"
        );
        self.dialler.on_connected(node, now);
        self.lanes.open(node, peer);
        self.out.push(NetworkEvent::Connected(facts));
    }

    fn on_closed(&mut self, peer: &PeerId, id: ConnectionId, cause: Option<&ConnectionError>) {
        let Some(node) = node_key(peer) else {
            return;
        };
        match self.connections.on_closed(node, id, (self.clock)()) {
            Closed::Unknown => {}
            Closed::Spare => {
                self.note_subscription(peer, node);
                self.tell_again(node);
            }
            Closed::Last { member, why } => {
                let why = why.unwrap_or_else(|| plain_words::of_close(cause));
                tracing::info!(node = %node.short(), %member, why, "disconnected");
                self.faults.remove(&node);
                self.lanes.close(node);
                self.dialler.on_disconnected(node, &why, Instant::now(), draw());
                self.out.push(NetworkEvent::Disconnected { node, member, why });
            }
        }
    }

    /// A connection that closes takes along what was on it, and the node at its other end may have started
    /// anew behind the one that stays: the machine compares with it as with one that just came.
    fn tell_again(&mut self, node: NodeKey) {
        let Some(kept) = self.connections.kept(node) else { return };
        let (mut facts, now) = (kept.facts.clone(), (self.clock)());
        facts.remote_time = facts.remote_time.after(now.since(facts.local_time));
        facts.local_time = now;
        self.out.push(NetworkEvent::Connected(facts));
    }

    pub(super) fn on_dial_failed(&mut self, id: ConnectionId, error: &DialError) {
        let failure = plain_words::of_dial(error);
        if failure.ourselves {
            self.twin.on_dialled(Instant::now());
        }
        let Some(attempt) = self.attempts.remove(&id) else {
            // Not our dial: a frame or request for a node that has just gone made libp2p look for it.
            return;
        };
        self.admissions.forget(&attempt.address.multiaddr());
        let Failure { why, node, refusal, fault, ourselves, no_memory } = failure;
        if no_memory {
            self.on_refused_for_memory(&why);
        }
        if ourselves {
            self.dialler.on_self(attempt.id, Instant::now());
            return;
        }
        tracing::debug!(node = ?attempt.node, address = %attempt.address, why, "a dial failed");
        self.dialler.on_failed(attempt.id, &why, Instant::now(), draw());
        if let Some(fault) = fault {
            self.on_fault(node, Some(attempt.address.clone()), fault);
        }
        let event = NetworkEvent::DialFailed { node: attempt.node, address: attempt.address, why, refusal };
        // A refusal must reach the runtime; any other failure is news for as long as there is room.
        if matches!(&event, NetworkEvent::DialFailed { refusal: Some(_), .. }) {
            self.out.push(event);
        } else {
            self.out.offer(event);
        }
    }

    fn on_caller_failed(&mut self, from: &Multiaddr, error: &ListenError) {
        self.admissions.forget(from);
        let Failure { why, node, fault, ourselves, no_memory, .. } = plain_words::of_listen(error);
        if ourselves {
            self.twin.on_called(Instant::now());
            return;
        }
        if no_memory {
            self.on_refused_for_memory(&why);
            return;
        }
        let address = Address::from_multiaddr(from);
        match fault {
            Some(fault) => self.on_fault(node, address, fault),
            None if self.stranger_lines > 0 => {
                self.stranger_lines -= 1;
                tracing::info!(%from, node = ?node, why, "a caller did not come in");
            }
            None => tracing::trace!(%from, node = ?node, why, "a caller did not come in"),
        }
    }

    /// Whom it concerns is every caller and every dial alike: logged once in a while, shown in `status`.
    fn on_refused_for_memory(&mut self, why: &str) {
        let now = (self.clock)();
        let last = self.summary.refused_for_memory.replace(now);
        if last.is_none_or(|last| now.since(last) >= MEMORY_LINE_EVERY) {
            tracing::warn!(why, "a connection was refused");
        }
    }

    /// Logs and reports a broken rule; a connected node that breaks many is cut off.
    pub(super) fn on_fault(&mut self, node: Option<NodeKey>, address: Option<Address>, fault: Fault) {
        self.summary.faults = self.summary.faults.saturating_add(1);
        let connected = node.filter(|node| self.connections.get(*node).is_some());
        // A connected node's faults are summed up by the machine, over all its connections.
        if connected.is_none() && self.stranger_lines > 0 {
            self.stranger_lines -= 1;
            tracing::warn!(node = ?node, address = ?address, rule = fault.rule(), %fault, "a caller broke a rule");
        }
        if let Some(node) = connected {
            let count = self.faults.entry(node).or_default();
            *count += 1;
            if *count >= FAULTS_MAX {
                self.disconnect(node, format!("it broke rules of the wire {FAULTS_MAX} times, last {fault}"));
            }
        }
        // Counted and logged above; the runtime need not have each of a flood.
        self.out.offer(NetworkEvent::Fault { node, address, fault });
    }

    fn on_gossip(&mut self, Heard { node: peer, event }: Heard) {
        let Some(node) = node_key(&peer) else {
            return;
        };
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let token = GossipToken { message: message_id.clone(), source: propagation_source };
                let event = NetworkEvent::Gossip { source: node, token, data: message.data };
                if self.out.offer(event).is_some() {
                    self.summary.gossip_dropped = self.summary.gossip_dropped.saturating_add(1);
                    let gossip = &mut self.swarm.behaviour_mut().gossip;
                    gossip.judge(&message_id, &propagation_source, gossipsub::MessageAcceptance::Ignore);
                }
            }
            gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. } => {
                self.note_subscription(&peer, node);
                self.publish_waiting();
            }
            gossipsub::Event::GossipsubNotSupported { .. } => {
                if let Some(peer) = self.connections.get_mut(node) {
                    peer.gossips = false;
                }
            }
            gossipsub::Event::SlowPeer { .. } => {
                tracing::debug!(node = %node.short(), "gossip for a slow peer was dropped; repair will bring it");
            }
        }
    }

    fn note_subscription(&mut self, peer: &PeerId, node: NodeKey) {
        let subscribed = self.swarm.behaviour().gossip.is_subscribed(peer);
        if let Some(peer) = self.connections.get_mut(node) {
            peer.subscribed = subscribed;
        }
    }

    fn on_repair(&mut self, event: request_response::Event<Asked, RepairResponse>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request, channel, .. } => {
                    let Some(from) = node_key(&peer) else {
                        return;
                    };
                    // Dropped, the requester sees a failure at once and asks again later.
                    let token = ResponseToken(channel);
                    match request {
                        Asked::Request(request) => {
                            let event = NetworkEvent::RepairRequested { from, token, request };
                            if self.out.offer(event).is_some() {
                                tracing::debug!(node = %from.short(), "a repair request is not taken: too many wait");
                            }
                        }
                        Asked::Broken(fault) => {
                            self.on_fault(Some(from), None, Fault::RepairRequest(fault.to_string()));
                        }
                    }
                }
                request_response::Message::Response { request_id, response } => {
                    self.on_answer(request_id, Ok(response));
                }
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                let broken = match &error {
                    request_response::OutboundFailure::Io(cause) => RepairFault::find(cause),
                    _ => None,
                };
                let failed = match broken.map(ToString::to_string) {
                    Some(why) => {
                        self.on_fault(node_key(&peer), None, Fault::RepairResponse(why.clone()));
                        RequestFailed::Invalid(why)
                    }
                    None => error.into(),
                };
                self.on_answer(request_id, Err(failed));
            }
            request_response::Event::InboundFailure { peer, error, .. } => {
                tracing::debug!(%peer, %error, "a repair request of a peer's was not served");
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn on_answer(
        &mut self,
        id: request_response::OutboundRequestId,
        result: Result<RepairResponse, RequestFailed>,
    ) {
        if let Some((from, ticket)) = self.requests.remove(&id) {
            self.out.push(NetworkEvent::RepairAnswered { from, ticket, result });
        }
    }

    fn on_ping(&mut self, event: ping::Event) {
        let Some(node) = node_key(&event.peer) else {
            return;
        };
        match event.result {
            Ok(round_trip) => {
                self.connections.on_ping(node, event.connection, round_trip, Instant::now());
                if let Some(spare) = self.connections.spare(node) {
                    tracing::debug!(node = %node.short(), "closing the spare of two connections");
                    self.swarm.close_connection(spare);
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(failure) => {
                tracing::debug!(node = %node.short(), %failure, "a connection answers no ping; closing it");
                self.connections.on_silent(node, event.connection, Instant::now(), (self.clock)());
                self.swarm.close_connection(event.connection);
            }
        }
    }
}

/// Broken rules on one connection past which it is closed: one may be a bug, this many are no accident.
const FAULTS_MAX: u32 = 8;

/// How often the log says that connections are refused for want of memory.
const MEMORY_LINE_EVERY: Duration = Duration::from_secs(60);
