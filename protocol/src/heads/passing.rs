//! Who passes a head on: enough nodes, and no more.

use sha2::{Digest, Sha256};

use crate::{
    ids::{HeadId, NodeKey},
    limits::HEAD_PASSED_BY_ALL_MAX,
};

/// Whether the node `own`, with so many nodes `connected`, passes on a head that is news to it.
///
/// A signer tells its head to all whom it is connected with. One whom others can dial reaches nearly everybody so, and
/// half of those who hear it, drawn anew for each head, bring it to the rest (Haas, Halpern and Li, *Gossip-based ad
/// hoc routing*, INFOCOM 2002). One whom nobody can dial, and a node that few are connected with, need everybody.
#[must_use]
pub fn passes_on(own: &NodeKey, head: &HeadId, signer_is_dialable: bool, connected: usize) -> bool {
    if !signer_is_dialable || connected <= HEAD_PASSED_BY_ALL_MAX {
        return true;
    }
    let draw: [u8; 32] =
        Sha256::new().chain_update(own.as_bytes()).chain_update(head.as_bytes()).finalize().into();
    draw[0] < 0x80
}
