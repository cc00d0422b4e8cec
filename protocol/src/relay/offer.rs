//! Comparing after a connect: what one side keeps and holds `delivered` for, against what the other has.
//!
//! One hash tells that nothing changed; where it does not, the ids follow, and what is lacking is sealed and
//! sent anew. So a dead, rebuilt or rolled-back disk needs no detection.
//!
//! A frame of this exchange may be lost with a stream while both sides stay connected, and nothing answers the
//! last one. So what is kept is offered again while the connection lasts, ever more seldom; where nothing is
//! lacking that costs one hash.

use std::{collections::BTreeMap, time::Duration};

use sha2::{Digest, Sha256};

use super::{
    exchange::{Outgoing, RelayFault},
    frame::{Lacking, Offer, OfferIds},
    parcel::Class,
    retry::Timer,
    turn::Turn,
};
use crate::{
    ids::{ContentHash, MessageId, NodeKey},
    limits::{OFFER_AGAIN_FIRST, OFFER_AGAIN_MAX, OFFER_FRAMES_MAX, OFFER_IDS_MAX},
    time::Timestamp,
};

/// The offers of every peer.
#[derive(Default)]
pub(super) struct Offers {
    peers: BTreeMap<NodeKey, Exchange>,
}

/// One peer's offers, this connection's and what is remembered from earlier ones.
#[derive(Default)]
struct Exchange {
    /// The last offer of the peer's whose ids were all here, in this run.
    complete: Option<ContentHash>,
    /// The offer whose ids are being read.
    reading: Option<Reading>,
    /// Whether this node's ids were sent since it offered last.
    told: bool,
    /// When this node offers again, and how long it has waited for that.
    again: Option<(Timestamp, Duration)>,
}

struct Reading {
    offer: Offer,
    hasher: Sha256,
    last: Option<MessageId>,
    frames: usize,
    lacking: bool,
}

impl Offers {
    /// A node connected: it is told what is kept for it, if anything is.
    pub(super) fn on_connected(
        &mut self,
        turn: &mut Turn<'_>,
        node: NodeKey,
        kept: impl Iterator<Item = MessageId>,
    ) {
        // What the peer offers may have come before the news that it is here: its ids are still read.
        self.tell(turn, node, OFFER_AGAIN_FIRST, kept);
        while self.peers.len() > EXCHANGES_MAX {
            // Forgetting an offer costs one exchange of ids.
            let other = self.peers.keys().find(|other| **other != node).copied();
            let forgotten = other.and_then(|other| Some((other, self.peers.remove(&other)?)));
            if let Some((other, mut exchange)) = forgotten {
                exchange.stop(turn, other);
            }
        }
    }

    /// A node is gone: it is told again when it connects.
    pub(super) fn on_disconnected(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        if let Some(exchange) = self.peers.get_mut(&node) {
            exchange.stop(turn, node);
        }
    }

    /// It may be time to tell a connected node again; says whether it was told.
    pub(super) fn on_timer(
        &mut self,
        turn: &mut Turn<'_>,
        at: Timestamp,
        node: NodeKey,
        kept: impl Iterator<Item = MessageId>,
    ) -> bool {
        let again = self.peers.get(&node).and_then(|exchange| exchange.again);
        let Some((_, waited)) = again.filter(|(due, _)| *due == at) else { return false };
        self.tell(turn, node, (waited * 2).min(OFFER_AGAIN_MAX), kept);
        true
    }

    /// Offers what is kept for a node, if anything is, and does so again after `wait`.
    fn tell(
        &mut self,
        turn: &mut Turn<'_>,
        node: NodeKey,
        wait: Duration,
        kept: impl Iterator<Item = MessageId>,
    ) {
        let exchange = self.peers.entry(node).or_default();
        exchange.told = false;
        exchange.stop(turn, node);
        let offer = summary(kept);
        if offer.count > 0 {
            turn.send(node, Class::Normal, Outgoing::Offer(offer));
            let at = turn.now.after(wait);
            exchange.again = Some((at, wait));
            turn.timers.set(at, Timer::Offer(node));
        }
    }

    /// The peer says what it keeps for this node.
    pub(super) fn on_offer(&mut self, turn: &mut Turn<'_>, from: NodeKey, offer: Offer) {
        if offer.count > (OFFER_IDS_MAX * OFFER_FRAMES_MAX) as u64 {
            return turn.fault(from, RelayFault::Offer);
        }
        let exchange = self.peers.entry(from).or_default();
        if exchange.complete == Some(offer.hash) {
            return;
        }
        // One that is being read may have lost its ids with a connection that the peer has replaced.
        exchange.reading =
            Some(Reading { offer, hasher: Sha256::new(), last: None, frames: 0, lacking: false });
        turn.send(from, Class::Normal, Outgoing::OfferUnknown(offer));
    }

    /// The peer does not know this node's offer: it gets the ids, once for each offer.
    pub(super) fn on_unknown(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeKey,
        kept: impl Iterator<Item = MessageId>,
    ) {
        let exchange = self.peers.entry(from).or_default();
        if std::mem::replace(&mut exchange.told, true) {
            return;
        }
        let ids: Vec<MessageId> = kept.take(OFFER_IDS_MAX * OFFER_FRAMES_MAX).collect();
        let frames = ids.chunks(OFFER_IDS_MAX).count();
        for (at, ids) in ids.chunks(OFFER_IDS_MAX).enumerate() {
            let frame = OfferIds { ids: ids.to_vec(), more: at + 1 < frames };
            turn.send(from, Class::Normal, Outgoing::OfferIds(frame));
        }
    }

    /// The ids behind the peer's offer: what is not here is asked for.
    pub(super) fn on_ids(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeKey,
        frame: &OfferIds,
        has: impl Fn(&MessageId) -> bool,
    ) {
        // Without an offer they are what a connection brought that was replaced meanwhile.
        let Some(exchange) = self.peers.get_mut(&from) else { return };
        let Some(mut reading) = exchange.reading.take() else { return };
        let sorted = frame.ids.is_sorted_by(|one, next| one < next);
        let follows = reading.last.is_none_or(|last| frame.ids.first().is_some_and(|first| last < *first));
        reading.frames += 1;
        if !sorted || !follows || frame.ids.len() > OFFER_IDS_MAX || reading.frames > OFFER_FRAMES_MAX {
            return turn.fault(from, RelayFault::Offer);
        }
        frame.ids.iter().for_each(|id| reading.hasher.update(id.as_bytes()));
        reading.last = frame.ids.last().copied().or(reading.last);
        let ids: Vec<MessageId> = frame.ids.iter().filter(|id| !has(id)).copied().collect();
        if !ids.is_empty() {
            reading.lacking = true;
            turn.send(from, Class::Normal, Outgoing::Lacking(Lacking { ids }));
        }
        if frame.more {
            exchange.reading = Some(reading);
        } else if !reading.lacking {
            let hash = ContentHash::from_bytes(reading.hasher.finalize().into());
            exchange.complete = (hash == reading.offer.hash).then_some(hash);
        }
    }
}

impl Exchange {
    /// Makes no further offer by itself.
    fn stop(&mut self, turn: &mut Turn<'_>, node: NodeKey) {
        if let Some((at, _)) = self.again.take() {
            turn.timers.clear(at, Timer::Offer(node));
        }
    }
}

/// SHA-256 of the concatenated sorted ids, and their number.
fn summary(ids: impl Iterator<Item = MessageId>) -> Offer {
    let (mut hasher, mut count) = (Sha256::new(), 0);
    for id in ids.take(OFFER_IDS_MAX * OFFER_FRAMES_MAX) {
        hasher.update(id.as_bytes());
        count += 1;
    }
    Offer { hash: ContentHash::from_bytes(hasher.finalize().into()), count }
}

/// Peers whose last complete offer is remembered: twice the nodes connected at once.
const EXCHANGES_MAX: usize = 2 * crate::limits::CONNECTED_NODES_MAX;
