//! Finds a connected node that dials this one back.

use refpoint_protocol::ids::MemberCode;

use super::refusals::unavailable;
use crate::{
    api::{
        backend::BackendError,
        views::dial_back::{DialBackReply, Outcome, Seen},
    },
    network::{self, Network, dial_back},
};

/// Asks connected nodes of other members, one after another, until one dials.
pub(super) async fn by_others(network: &Network, own: &MemberCode) -> Result<DialBackReply, BackendError> {
    let mut peers: Vec<network::PeerRow> = network.peers().await.map_err(|_| unavailable())?;
    peers.retain(|peer| peer.connection.is_some() && peer.member != *own);
    // Another one each time, so that no member answers for all.
    let first = usize::try_from(getrandom::u32().unwrap_or_default()).unwrap_or_default();
    let count = peers.len();
    if count > 0 {
        peers.rotate_left(first % count);
    }
    let (mut why, mut knows_none) = (None, None);
    for peer in peers.into_iter().take(ASKED_MAX) {
        match network.dial_back(peer.node).await.map_err(|_| unavailable())? {
            Ok(answer) if answer.busy => {
                why = Some(format!("{} has dialled back within a minute already", peer.member));
            }
            // Another may hold the record that this one has not yet.
            Ok(answer) if answer.seen.is_empty() => knows_none = Some(peer.member),
            Ok(answer) => {
                let seen = answer.seen.into_iter().map(view).collect();
                return Ok(DialBackReply { asked: Some(peer.member), why: None, seen });
            }
            Err(error) => why = Some(format!("{}: {error}", peer.member)),
        }
    }
    Ok(DialBackReply { asked: knows_none, why, seen: Vec::new() })
}

fn view(dial_back::Seen { address, outcome }: dial_back::Seen) -> Seen {
    let outcome = match outcome {
        dial_back::Outcome::Reached => Outcome::Reached,
        dial_back::Outcome::OtherNode => Outcome::OtherNode,
        dial_back::Outcome::Refused => Outcome::Refused,
        dial_back::Outcome::TimedOut => Outcome::TimedOut,
        dial_back::Outcome::Unreachable => Outcome::Unreachable,
        dial_back::Outcome::NotDialled => Outcome::NotDialled,
    };
    Seen { address, outcome }
}

/// Nodes that are asked before it is given up: those that are too busy or too old answer at once.
const ASKED_MAX: usize = 8;
